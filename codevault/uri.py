"""Where a checkpoint lies: a local path as it is, anything else through fsspec."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlsplit

from codevault.errors import CheckpointError, CodevaultError, FetchError
from codevault_cache.errors import CacheError
from codevault_cache.traffic import count

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_SCHEME = re.compile(r"(?:[A-Za-z][A-Za-z0-9+.-]*::)*[A-Za-z][A-Za-z0-9+.-]*://")
_USER = re.compile(r"(?<=://)[^\s/?#'\"<>]*@")
_QUERY = re.compile(r"(?<=\?)[^\s'\"<>]+")
_CONNECT: Final = 20.0
"""Seconds in which a web server must take a connection."""
_SILENCE: Final = 60.0
"""Seconds without a byte after which it counts as gone."""
_PACKAGES: Final = {
    "s3": "s3fs",
    "gs": "gcsfs",
    "http": "aiohttp",
    "https": "aiohttp",
    "az": "adlfs",
    "abfs": "adlfs",
    "sftp": "paramiko",
    "hf": "huggingface_hub",
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


def target(uri: str | os.PathLike[str]) -> str:
    """The local path that something is written to.

    Raises:
        CheckpointError: It lies elsewhere, where nothing can be put in place in one step.
    """
    path = local_path(uri)
    if path is None:
        raise CheckpointError(
            f"{shown(uri)} cannot be written: it is no local path",
            "a checkpoint is written to disk, whole or not at all",
            "save it to a local path, and copy the file there",
        )
    return path


def shown(uri: str | os.PathLike[str]) -> str:
    """A URI as it may be printed: of a remote one neither user info nor query."""
    text = os.fspath(uri)
    here = text.startswith(("file:///", "file://localhost/"))
    return text if here or not _SCHEME.match(text) else _scrubbed(text, text)


@contextlib.contextmanager
def reading(text: str) -> Iterator[tuple[Any, str]]:
    """The store behind an address, and the address inside it; says whose an error is.

    Raises:
        FetchError: The store does not answer, or has no such object.
    """
    with _explained(text):
        yield _store(text)


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
            blocks = getattr(file, "cache", None)
            if blocks is None:  # a store without ranges sends all that was read, at once
                count(requests=2, received=file.tell())
            else:
                count(requests=1 + blocks.miss_count, received=blocks.total_requested_bytes)


def _store(text: str) -> tuple[Any, str]:
    import fsspec

    store, inner = fsspec.url_to_fs(text, **_patience(text))
    return store, inner


def _patience(text: str) -> dict[str, Any]:
    """How long a web server is waited for, unless the user's fsspec configuration says so.

    Without it a whole answer has five minutes: too long for a server that says nothing, while which
    nothing else of a prefetch goes on, and too short for a large checkpoint.
    """
    if text.partition("://")[0].lower() not in ("http", "https"):
        return {}
    import aiohttp
    from fsspec.config import conf

    if any("client_kwargs" in conf.get(scheme, {}) for scheme in ("http", "https")):
        return {}
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT, sock_read=_SILENCE)
    return {"client_kwargs": {"timeout": timeout}}


def state_of(store: Any, inner: str) -> tuple[int | None, str]:
    """The size of an object, and what tells its content from another of that size; "" if nothing.

    `store.ukey` would not do: fsspec's HTTP store takes it that objects never change.
    """
    # A listing that the store remembers may be older than the object.
    store.invalidate_cache(inner)
    return state_in(store.info(inner))


def state_in(info: Mapping[str, Any]) -> tuple[int | None, str]:
    """The same, from what a store says of one object."""
    if info.get("type") == "directory":
        raise IsADirectoryError("it is a folder")
    said = {k: v for k, v in info.items() if v and not _CONSTANT.fullmatch(k)}
    size = info.get("size")
    return (size if isinstance(size, int) else None), repr(sorted(said.items())) if said else ""


def writing(text: str) -> contextlib.AbstractContextManager[None]:
    """Says whose an error is, where something is written to a store.

    Raises:
        FetchError: The store does not answer, or takes nothing.
    """
    return _explained(text, "written")


@contextlib.contextmanager
def _explained(text: str, done: str = "read") -> Iterator[None]:
    """Says of whatever a store raises which address it was, without its secrets."""
    try:
        yield
    except (CodevaultError, CacheError):
        raise
    except Exception as error:
        scheme = text.partition("://")[0].lower()
        hint = "check the address, and try again"
        if isinstance(error, ImportError):
            package = error.name or _PACKAGES.get(scheme, scheme)
            hint = f"python -m pip install {shlex.quote(package)}"
        elif scheme in ("http", "https"):
            hint = f"curl -I {shlex.quote(_scrubbed(text, text))}"
        elif type(error).__name__ == "NoCredentialsError":
            hint = "aws configure  # or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        elif isinstance(error, IsADirectoryError):
            folder = _scrubbed(text, text).rstrip("/") + "/"
            hint = f"codevault prefetch {shlex.quote(folder)}"
        cause: BaseException = error
        if isinstance(error, FileNotFoundError) and error.__cause__ is not None:
            cause = error.__cause__  # fsspec's HTTP store has no other word for any trouble
        why = _scrubbed(f"{type(cause).__name__}: {cause}", text)
        # Not `from error`: a traceback would print the address with its secrets.
        raise FetchError(f"{_scrubbed(text, text)} could not be {done}", why, hint) from None


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
