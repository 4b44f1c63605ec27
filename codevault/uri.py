"""Where a checkpoint lies: a local path as it is, anything else through fsspec."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from typing import Any
from urllib.parse import unquote, urlsplit

from codevault.errors import CheckpointError, FetchError

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


def local_path(uri: str | os.PathLike[str]) -> str | None:
    """The path behind a local URI (`file://` or a plain path); None for a remote one."""
    text = os.fspath(uri)
    if text.startswith("file://"):
        parts = urlsplit(text)
        if parts.netloc not in ("", "localhost"):
            raise CheckpointError(
                f"{text} names the host {parts.netloc!r}", "file:// is for this machine", ""
            )
        return unquote(parts.path)
    return None if _SCHEME.match(text) else os.path.expanduser(text)


def fetched(uri: str | os.PathLike[str], folder: str) -> str:
    """A local file with the checkpoint's bytes: the file itself, or a copy made in `folder`.

    A copy is named by the address and what the store says of the content (size, time, etag), so
    that a changed object is fetched again and an unchanged one is not.

    Raises:
        FetchError: The store does not answer, or has no such object.
    """
    path = local_path(uri)
    if path is not None:
        return path
    text = os.fspath(uri)
    try:
        store, inner = _store(text)
        info = store.info(inner)
        version = [str(info.get(key)) for key in ("size", "ETag", "etag", "mtime", "LastModified")]
        name = hashlib.sha256("\n".join([text, *version]).encode()).hexdigest()
        final = os.path.join(folder, f"{name}.mpt")
        if os.path.exists(final):
            return final
        os.makedirs(folder, exist_ok=True)
        temporary = os.path.join(folder, f".{name}.{os.getpid()}-{secrets.token_hex(6)}")
        try:
            store.get_file(inner, temporary)
            os.replace(temporary, final)
        finally:
            if os.path.exists(temporary):
                os.unlink(temporary)
    except (OSError, ImportError, ValueError) as error:
        raise _failed(text, error) from error
    return final


def opened(uri: str | os.PathLike[str]) -> Any:
    """A seekable binary file over a remote checkpoint, read by ranges where the store can.

    Raises:
        FetchError: The store does not answer, or has no such object.
    """
    text = os.fspath(uri)
    try:
        store, inner = _store(text)
        return store.open(inner, "rb", block_size=1 << 16)
    except (OSError, ImportError, ValueError) as error:
        raise _failed(text, error) from error


def _store(text: str) -> tuple[Any, str]:
    import fsspec

    store, inner = fsspec.url_to_fs(text)
    return store, inner


def _failed(text: str, error: Exception) -> FetchError:
    hint = "check the address, and try again"
    if isinstance(error, ImportError):
        hint = f"python -m pip install {getattr(error, 'name', None) or 's3fs gcsfs aiohttp'}"
    shown = re.sub(r"//[^/@]*@", "//", text)
    return FetchError(f"{shown} could not be read", f"{type(error).__name__}: {error}", hint)
