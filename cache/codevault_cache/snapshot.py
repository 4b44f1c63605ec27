"""A snapshot as a value: all that decides what code runs, and the name that follows from it."""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from codevault_cache.errors import CorruptEntry

if TYPE_CHECKING:
    from collections.abc import Sequence

NAME = re.compile(r"_splint_[0-9a-f]{12}_[0-9a-f]{12}")
DIGEST = re.compile(r"[0-9a-f]{64}")
COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")

_FIELDS = ("commit", "digest", "include", "left_out", "overlay", "repo", "roots", "shared")


def read_bytes(path: str) -> bytes:
    """The bytes of a small file.

    Raises:
        OSError: It cannot be read.
    """
    return read_owned(path)[0]


def read_owned(path: str) -> tuple[bytes, int]:
    """The bytes of a small file and who owns it, with as few system calls as that takes.

    Raises:
        OSError: It cannot be read.
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        status = os.fstat(fd)
        pieces, left = [], status.st_size
        while left > 0 and (piece := os.read(fd, left)):
            pieces.append(piece)
            left -= len(piece)
        return b"".join(pieces), status.st_uid
    finally:
        os.close(fd)


def canonical(value: object) -> bytes:
    """JSON that is the same bytes in every process."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def spec12(
    roots: Sequence[str],
    shared: Sequence[str],
    include: Sequence[str],
    overlay_digest: str | None,
) -> str:
    """The half of a splint's name that says how the commit is looked at."""
    spec = {
        "include": list(include),
        "overlay": overlay_digest,
        "roots": list(roots),
        "shared": list(shared),
    }
    return hashlib.sha256(canonical(spec)).hexdigest()[:12]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that decides what code runs, and the digest of that code.

    Attributes:
        commit: Full lower-case git commit; None for code without a commit.
        roots: Tree folders in import order; "." is the top.
        shared: Dotted prefixes that are the host's module objects inside too.
        include: Globs of tree paths that are taken besides the roots' files.
        overlay: Digest of the overlay, or None.
        digest: sha256 of the listing (mode, sha256 and path of each file, overlay applied).
        repo: Where it came from; a hint, without user info.
        left_out: Tree paths that are not in the snapshot: too large, or absent on the remote. They
            are spelled as text.
    """

    commit: str | None
    roots: tuple[str, ...]
    shared: tuple[str, ...]
    include: tuple[str, ...]
    overlay: str | None
    digest: str
    repo: str | None = None
    left_out: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The import name of the splint: the same in every process."""
        head = (self.commit or self.digest)[:12]
        return f"_splint_{head}_{spec12(self.roots, self.shared, self.include, self.overlay)}"

    def to_json(self) -> bytes:
        """The snapshot as a record that notices any changed byte."""
        body: dict[str, Any] = {field: getattr(self, field) for field in _FIELDS}
        body["format"] = 1
        body["check"] = hashlib.sha256(canonical(body)).hexdigest()
        return canonical(body)

    @classmethod
    def from_json(cls, data: bytes) -> Snapshot:
        """Read a record back, strictly.

        Args:
            data: What `to_json` gave.

        Returns:
            The snapshot.

        Raises:
            CorruptEntry: The bytes are not exactly what `to_json` gives for the snapshot in them.
        """
        try:
            body = json.loads(data)
            snapshot = cls(
                commit=_text_or_none(body["commit"]),
                roots=_texts(body["roots"]),
                shared=_texts(body["shared"]),
                include=_texts(body["include"]),
                overlay=_text_or_none(body["overlay"]),
                digest=str(body["digest"]),
                repo=_text_or_none(body["repo"]),
                left_out=_texts(body["left_out"]),
            )
            good = (
                snapshot.to_json() == data
                and DIGEST.fullmatch(snapshot.digest) is not None
                and (snapshot.commit is None or COMMIT.fullmatch(snapshot.commit) is not None)
                and (snapshot.overlay is None or DIGEST.fullmatch(snapshot.overlay) is not None)
                and len(snapshot.roots) > 0
            )
        except (ValueError, KeyError, TypeError, RecursionError):
            good = False
        if not good:
            raise CorruptEntry("A snapshot record is damaged.", f"It has {len(data)} bytes.")
        return snapshot


def _text_or_none(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    raise TypeError


def _texts(value: object) -> tuple[str, ...]:
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return tuple(value)
    raise TypeError
