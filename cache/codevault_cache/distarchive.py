"""A wheel or an sdist as a source of files, never unpacked by an archive library."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from codevault_cache import limits
from codevault_cache.errors import CacheError, HostileObject, RepositoryNotFound
from codevault_cache.source import FILE, LINK, PROGRAM, Item, item_with

if TYPE_CHECKING:
    import tarfile
    import zipfile
    from collections.abc import Callable, Iterator
    from typing import Self

_WAY = "repo=PATH of a repository, a folder, a wheel or an sdist"


class ArchiveSource:
    """The files of an archive, all in memory."""

    def __init__(self, files: dict[str, tuple[int, bytes]]) -> None:
        self._files = files

    def walk(self, descends: Callable[[str], bool]) -> Iterator[tuple[str, Item]]:
        """All files below the folders that `descends` lets in."""
        for path, (mode, content) in self._files.items():
            folders = [path[:i] for i, char in enumerate(path) if char == "/"]
            if all(descends(folder) for folder in ["", *folders]):
                yield path, item_with(mode, content)


def archive_source(path: str) -> ArchiveSource:
    """Open an archive.

    Args:
        path: A `.whl` or `.zip`, or a `.tar.gz`, `.tgz`, `.tar.bz2`, `.tar.xz` or `.tar`.

    Returns:
        Its files; those of an sdist without the folder that it wraps around them.

    Raises:
        RepositoryNotFound: It is no such file.
        HostileObject: It is malformed.
    """
    import tarfile
    import zipfile

    name = os.path.basename(path).lower()
    if not os.path.isfile(path):
        why = "A path on this machine is named, and nothing lies there."
        raise RepositoryNotFound(f"There is nothing at {path!r}.", why, _WAY)
    try:
        if name.endswith((".whl", ".zip")):
            with zipfile.ZipFile(path) as opened:
                return ArchiveSource(_unzipped(opened))
        if name.endswith((".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar")):
            with tarfile.open(path, tarinfo=_member()) as tar:
                return ArchiveSource(_unwrapped(_untarred(tar)))
    except CacheError:
        raise
    except Exception as error:  # the libraries raise nearly anything over bytes that are no archive
        why = f"{type(error).__name__}: {error}"
        raise HostileObject(
            f"The archive {path!r} cannot be read.", why, "fetch it again"
        ) from error
    raise RepositoryNotFound(
        f"{path!r} is no repository, folder, wheel or sdist.",
        "Its name ends in neither .whl, .zip, .tar.gz, .tgz, .tar.bz2, .tar.xz nor .tar.",
        _WAY,
    )


def _add(
    files: dict[str, tuple[int, bytes]], path: str, mode: int, content: bytes, total: int
) -> int:
    if path in files:
        raise HostileObject(f"The archive holds {ascii(path)[:200]} twice.")
    files[path] = (mode, content)
    limits.refuse_above(limits.FILES, len(files), "files")
    limits.refuse_above(limits.TOTAL_BYTES, total + len(content), "bytes")
    return total + len(content)


def _unzipped(opened: zipfile.ZipFile) -> dict[str, tuple[int, bytes]]:
    files: dict[str, tuple[int, bytes]] = {}
    total = 0
    for info in opened.infolist():
        if info.is_dir():
            continue
        limits.refuse_above(limits.TOTAL_BYTES, total + info.file_size, "bytes")
        if info.flag_bits & 1:
            raise HostileObject(f"The archive's {ascii(info.filename)[:200]} is encrypted.")
        bits = info.external_attr >> 16
        mode = LINK if stat.S_ISLNK(bits) else PROGRAM if bits & 0o100 else FILE
        with opened.open(info) as member:
            # A header can lie about the size; one byte more shows it.
            content = member.read(info.file_size + 1)
        if len(content) != info.file_size:
            raise HostileObject(f"The archive lies about the size of {ascii(info.filename)[:200]}.")
        total = _add(files, info.orig_filename, mode, content, total)
    return files


def _member() -> type[tarfile.TarInfo]:
    """The library's class for a member, which reads no endless name and goes in no circle."""
    import tarfile

    named = [tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK]
    named += [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE]

    class Member(tarfile.TarInfo):
        @classmethod
        def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
            found = super().frombuf(buf, encoding, errors)
            if found.size < 0 or (found.type in named and found.size > limits.FILE_BYTES):
                raise HostileObject("The archive lies about the size of a member.")
            return found

    return Member


def _untarred(opened: tarfile.TarFile) -> dict[str, tuple[int, bytes]]:
    files: dict[str, tuple[int, bytes]] = {}
    total = 0
    for count, info in enumerate(opened):
        limits.refuse_above(limits.FILES, count, "members of the archive")
        path = info.name.removeprefix("./")
        if info.issym():
            total = _add(files, path, LINK, info.linkname.encode("utf-8", "surrogateescape"), total)
        elif info.islnk():  # a further name of a file before it
            target = info.linkname.removeprefix("./")
            if target not in files:
                raise HostileObject(f"The archive lacks {ascii(target)[:200]}, which it links to.")
            total = _add(files, path, *files[target], total)
        elif info.isreg():
            limits.refuse_above(limits.TOTAL_BYTES, total + info.size, "bytes")
            member = opened.extractfile(info)
            content = member.read() if member is not None else b""
            mode = PROGRAM if info.mode & 0o100 else FILE
            total = _add(files, path, mode, content, total)
    return files


def _unwrapped(files: dict[str, tuple[int, bytes]]) -> dict[str, tuple[int, bytes]]:
    tops = {path.split("/", 1)[0] for path in files}
    if len(tops) != 1 or any("/" not in path for path in files):
        return files
    return {path.split("/", 1)[1]: value for path, value in files.items()}
