"""Writes this user's file of grants: one a line, comments after `#`, safe to edit by hand."""

from __future__ import annotations

import os
import secrets

from codevault import userdir
from codevault.errors import CodevaultError
from codevault.trust import Grant, grant


def add(text: str) -> Grant:
    """Adds a grant; one that is there already is no error.

    Raises:
        CodevaultError: The text is no grant.
    """
    new = grant(text)
    lines = _lines()
    if new not in [_parsed(line) for line in lines]:
        _write([*lines, str(new)])
    return new


def remove(text: str) -> Grant:
    """Takes a grant out.

    Raises:
        CodevaultError: The text is no grant, or there is no such grant.
    """
    old = grant(text)
    lines = _lines()
    kept = [line for line in lines if _parsed(line) != old]
    if len(kept) == len(lines):
        raise CodevaultError(f"{old} is not granted", userdir.grants_file(), "codevault trust ls")
    _write(kept)
    return old


def _lines() -> list[str]:
    try:
        with open(userdir.grants_file(), encoding="utf-8") as file:
            return file.read().splitlines()
    except FileNotFoundError:
        return []


def _parsed(line: str) -> Grant | None:
    text = line.partition("#")[0].strip()
    return grant(text) if text else None


def _write(lines: list[str]) -> None:
    path = userdir.grants_file()
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    temporary = f"{path}.{os.getpid()}-{secrets.token_hex(4)}"
    try:
        with open(temporary, "x", encoding="utf-8") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write("".join(f"{line}\n" for line in lines))
        os.replace(temporary, path)
    finally:
        if os.path.exists(temporary):
            os.unlink(temporary)
