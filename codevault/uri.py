"""Where a checkpoint lies: a local path as it is, anything else through fsspec."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
import shlex
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlsplit

from codevault.errors import CheckpointError, CodevaultError, FetchError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_SCHEME = re.compile(r"(?:[A-Za-z][A-Za-z0-9+.-]*::)*[A-Za-z][A-Za-z0-9+.-]*://")
_USER = re.compile(r"(?<=://)[^\s/?#'\"<>]*@")
_QUERY = re.compile(r"(?<=\?)[^\s'\"<>]+")
_PACKAGES: Final = {
    "s3": "s3fs",
    "gs": "gcsfs",
    "http": "aiohttp",
    "https": "aiohttp",
    "az": "adlfs",
    "abfs": "adlfs",
    "sftp": "paramiko",
}
"""The package that knows a scheme."""
_CONSTANT: Final = re.compile(
    "name|key|size|type|kind|url|mime.*|content.?type|partial|storage.?class|is_?link|mode|[ug]id"
    "|nlink|a?time|.*access.*",
    re.IGNORECASE,
)
"""What a store says of an object that stays as it is when the content changes, or changes alone."""


def local_path(uri: str | os.PathLike[str]) -> str | None:
    """The path behind a local URI (`file://` or a plain path); None for a remote one.

    Raises:
        CheckpointError: A `file://` address cannot be read, or names another machine.
    """
    text = os.fspath(uri)
    if text.startswith("file://"):
        try:
            parts = urlsplit(text)
        except ValueError as error:
            why = _scrubbed(str(error), text)
            raise CheckpointError(f"{_scrubbed(text, text)} is no address", why, "") from None
        if parts.netloc not in ("", "localhost"):
            place = _scrubbed(text, text)
            raise CheckpointError(f"{place} names a host", "file:// is for this machine", "")
        return unquote(parts.path)
    return None if _SCHEME.match(text) else os.path.expanduser(text)


def shown(uri: str | os.PathLike[str]) -> str:
    """A URI as it may be printed: of a remote one neither user info nor query."""
    text = os.fspath(uri)
    return text if local_path(text) is not None else _scrubbed(text, text)


def fetched(uri: str | os.PathLike[str], folder: str) -> str:
    """A local file with the checkpoint's bytes: the file itself, or a copy made in `folder`.

    A copy is named by the address and all that the store says of the content (size, times, etag),
    so that a changed object is fetched again and an unchanged one is not. Where the store says
    nothing but the size, it is fetched each time.

    Raises:
        FetchError: The store does not answer, has no such object, or gave only a part of it.
    """
    path = local_path(uri)
    if path is not None:
        return path
    text = os.fspath(uri)
    with _explained(text):
        store, inner = _store(text)
        size, version = _state(store, inner)
        key = hashlib.sha256(f"{text}\n{size}\n{version}".encode("utf-8", "replace")).hexdigest()
        final = os.path.join(folder, f"{key}.mpt")
        if version and os.path.exists(final) and size in (None, os.path.getsize(final)):
            return final
        os.makedirs(folder, exist_ok=True)
        temporary = os.path.join(folder, f".{key}.{os.getpid()}-{secrets.token_hex(6)}")
        try:
            store.get_file(inner, temporary)
            got = os.path.getsize(temporary)
            if size not in (None, got):
                raise OSError(f"{got} bytes came, and the store states {size}")
            if _state(store, inner) != (size, version):
                raise OSError("it changed while it was fetched")
            os.replace(temporary, final)
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)
    return final


@contextlib.contextmanager
def opened(uri: str | os.PathLike[str]) -> Iterator[Any]:
    """A seekable binary file over a remote checkpoint, read by ranges where the store can.

    Raises:
        FetchError: The store does not answer, or has no such object.
    """
    text = os.fspath(uri)
    with _explained(text):
        store, inner = _store(text)
        with contextlib.closing(store.open(inner, "rb", block_size=1 << 16)) as file:
            yield file


def _store(text: str) -> tuple[Any, str]:
    import fsspec

    store, inner = fsspec.url_to_fs(text)
    return store, inner


def _state(store: Any, inner: str) -> tuple[int | None, str]:
    """The size of an object, and what tells its content from another of that size; "" if nothing.

    `store.ukey` would not do: fsspec's HTTP store takes it that objects never change.
    """
    # A listing that the store remembers may be older than the object.
    store.invalidate_cache(inner)
    info: Mapping[str, Any] = store.info(inner)
    if info.get("type") == "directory":
        raise IsADirectoryError("it is a folder")
    said = {k: v for k, v in info.items() if v and not _CONSTANT.fullmatch(k)}
    size = info.get("size")
    return (size if isinstance(size, int) else None), repr(sorted(said.items())) if said else ""


@contextlib.contextmanager
def _explained(text: str) -> Iterator[None]:
    """Says of whatever a store raises which address it was, without its secrets."""
    try:
        yield
    except CodevaultError:
        raise
    except Exception as error:
        scheme = text.partition("://")[0].lower()
        hint = "check the address, and try again"
        if isinstance(error, ImportError):
            package = error.name or _PACKAGES.get(scheme, scheme)
            hint = f"python -m pip install {shlex.quote(package)}"
        why = _scrubbed(f"{type(error).__name__}: {error}", text)
        # Not `from error`: a traceback would print the address with its secrets.
        raise FetchError(f"{_scrubbed(text, text)} could not be read", why, hint) from None


def _scrubbed(message: str, uri: str) -> str:
    """A message without the user info and the queries of all addresses, and of `uri` anywhere."""
    user = (_USER.search(uri) or [""])[0][:-1]
    query = (_QUERY.search(uri) or [""])[0]
    values = [user.partition(":")[2], *(part.partition("=")[2] for part in query.split("&"))]
    # A short value would also be found inside innocent words.
    secret = {user, query, *(value for value in values if len(value) > 3)} - {""}
    for text in sorted(secret | {unquote(text) for text in secret}, key=len, reverse=True):
        message = message.replace(text, "…")
    return _QUERY.sub("…", _USER.sub("", message))
