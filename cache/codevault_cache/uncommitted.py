"""The uncommitted changes of a work tree, read without touching the index or the object store."""

from __future__ import annotations

import fnmatch
import os
import stat
from typing import TYPE_CHECKING

from codevault_cache import limits
from codevault_cache.errors import CorruptEntry, SecretRefused
from codevault_cache.gitdir import gitdir_of
from codevault_cache.gitobjects import object_id
from codevault_cache.ignores import ignored_in
from codevault_cache.lineends import normaliser
from codevault_cache.source import FILE, GITLINK, LINK, PROGRAM, Absent, Item
from codevault_cache.treepaths import shown, spelled_out, typed

if TYPE_CHECKING:
    from dulwich.repo import Repo

    from codevault_cache.gittree import GitSource
    from codevault_cache.selection import Selection

SECRETS = (
    ".env", ".env.*", ".netrc", "_netrc", ".pgpass", ".npmrc", ".pypirc", ".git-credentials",
    ".boto", ".s3cfg", ".dockercfg", ".htpasswd", ".vault-token", "kubeconfig", "id_rsa", "id_dsa",
    "id_ecdsa", "id_ed25519", "*.pem", "*.key", "*.ppk", "*.p12", "*.pfx", "*.jks", "*.keystore",
    "*.kdbx", "credentials", "credentials.json", "credentials.ini", "client_secret*.json",
    "service_account*.json", "service-account*.json", "secrets.json", "secrets.y*ml",
    "secrets.toml",
)  # fmt: skip
"""Names of untracked files that never travel in a checkpoint."""

_SAFE_ENDINGS = (".example", ".sample", ".template", ".dist", ".py")


def looks_secret(path: str) -> bool:
    """Tell whether a file's name is one that secrets have."""
    name = path.rpartition("/")[2].lower()
    if name.endswith(_SAFE_ENDINGS):
        return False
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in SECRETS)


class _Index:
    """The index as a cache of file states: an unchanged file need not be hashed again."""

    def __init__(self, repo: Repo) -> None:
        from dulwich.errors import ChecksumMismatch

        path = repo.index_path()
        self.written = os.stat(path).st_mtime_ns if os.path.exists(path) else 0
        try:
            index = repo.open_index()
        except (ChecksumMismatch, ValueError, AssertionError) as error:
            # Without it, files that a sparse checkout keeps away would count as deleted.
            raise CorruptEntry(
                "The index of the work tree cannot be read.",
                f"{os.fsdecode(path)}: {type(error).__name__}; a sparse index is not understood.",
                "git sparse-checkout reapply --no-sparse-index",
            ) from None
        self.entries: dict[str, object] = {os.fsdecode(name): index[name] for name in index}

    def oid(self, path: str) -> str | None:
        """The blob id that is recorded of a path."""
        return bytes(getattr(self.entries.get(path), "sha", b"")).decode() or None

    def oid_if_unchanged(self, path: str, status: os.stat_result) -> str | None:
        """The blob id of a file whose state is the recorded one."""
        entry = self.entries.get(path)
        mtime, size = getattr(entry, "mtime", None), getattr(entry, "size", None)
        if mtime is None or size != status.st_size:
            return None
        then = mtime[0] * 10**9 + mtime[1] if isinstance(mtime, tuple) else int(mtime * 10**9)
        # A file as young as the index may have changed after it was recorded; git, too, looks at
        # whole seconds here.
        if then != status.st_mtime_ns or then // 10**9 >= self.written // 10**9:
            return None
        if getattr(entry, "ino", 0) not in (0, status.st_ino & 0xFFFFFFFF):
            return None
        return self.oid(path)

    def mode(self, path: str) -> int | None:
        """The mode that is recorded of a path."""
        found: int | None = getattr(self.entries.get(path), "mode", None)
        return found

    def absent_on_purpose(self, path: str) -> bool:
        """Tell whether a sparse checkout keeps the file out of the work tree."""
        return bool(getattr(self.entries.get(path), "extended_flags", 0) & 0x4000)


def uncommitted(
    repo: Repo, head: GitSource, selection: Selection
) -> tuple[dict[str, tuple[int, bytes] | None], list[str]]:
    """Find the wanted files that differ from the commit.

    Args:
        repo: The repository.
        head: The tree of its HEAD.
        selection: Which files are wanted.

    Returns:
        An overlay's files, and the paths that cannot be in one, spelled as text.

    Raises:
        SecretRefused: An untracked file among them looks like a secret.
    """
    top = os.path.abspath(os.fsdecode(repo.path))
    committed = {p: i for p, i in head.walk(selection.descends) if selection.takes(p)}
    index = _Index(repo)
    ignored = ignored_in(repo, top)
    # A file that was taken out of the index counts as untracked, whatever HEAD has.
    tracked = set(index.entries if index.written else committed)
    folders = {p[:i] for p in tracked for i, c in enumerate(p) if c == "/"}

    def recorded(path: str) -> bytes | None:
        oid = index.oid(path)
        try:
            return None if oid is None else head.objects.get(oid, "blob")
        except Absent:
            return None

    normal = normaliser(repo, recorded)
    has_modes = _flag(repo, b"filemode")
    literal = {glob for glob in selection.include if not any(c in glob for c in "*?[")}

    changed: dict[str, tuple[int, bytes] | None] = {}
    left_out: list[str] = []
    secrets: list[str] = []
    seen: set[str] = set()

    def look_at(path: str) -> None:
        status = os.lstat(os.path.join(top, path))
        if not (stat.S_ISREG(status.st_mode) or stat.S_ISLNK(status.st_mode)):
            return
        seen.add(path)
        before = committed.get(path)
        mode = _mode(status, index.mode(path), has_modes)
        same_mode = before is not None and before.mode == mode
        oid = index.oid_if_unchanged(path, status)
        if same_mode and before is not None and oid is not None and oid == before.oid:
            return
        if mode != LINK and status.st_size > limits.FILE_BYTES and not selection.named(path):
            left_out.append(spelled_out(path))
            if before is not None and _is_small(before):
                changed[path] = None
            return
        content = _content(os.path.join(top, path), mode)
        if mode != LINK:
            content = normal(path, content)
        sha256 = before is not None and len(before.oid or "") == 64
        if (
            same_mode
            and before is not None
            and object_id("blob", content, sha256=sha256) == before.oid
        ):
            return
        if path not in tracked and looks_secret(path):
            secrets.append(path)
            return
        changed[path] = (mode, content)

    def visit(folder: str, hidden: bool) -> None:
        with os.scandir(os.path.join(top, folder) if folder else top) as found:
            entries = sorted(found, key=lambda entry: entry.name)
        for entry in entries:
            path = f"{folder}/{entry.name}" if folder else entry.name
            if entry.name == ".git":
                continue
            if entry.is_dir(follow_symlinks=False):
                if not selection.descends(path):
                    continue
                if path not in folders and _is_repository(entry.path):
                    # git would record its commit alone, as a submodule's.
                    known = path in committed or hidden or ignored(path, True)
                    if selection.rooted(path) and not known:
                        left_out.append(spelled_out(path))
                    continue
                asked = any(glob.startswith(path + "/") for glob in literal)
                below = hidden or ignored(path, True)
                if path in folders or asked or not below:
                    visit(path, below)
            elif selection.takes(path) and (
                path in tracked or path in literal or not (hidden or ignored(path, False))
            ):
                look_at(path)

    visit("", False)
    for path, item in committed.items():
        if path not in seen and item.mode != GITLINK and not index.absent_on_purpose(path):
            changed[path] = None
    if secrets:
        raise SecretRefused(
            f"Untracked files look like secrets: {', '.join(shown(p) for p in sorted(secrets))}.",
            "Uncommitted files travel in the checkpoint, which others read.",
            f"echo {typed(min(secrets))} >> .gitignore",
        )
    return changed, left_out


def _mode(status: os.stat_result, recorded: int | None, has_modes: bool) -> int:
    if stat.S_ISLNK(status.st_mode):
        return LINK
    if not has_modes:
        return PROGRAM if recorded == PROGRAM else FILE
    return PROGRAM if status.st_mode & stat.S_IXUSR else FILE


def _is_repository(folder: str) -> bool:
    """Whether a folder is a work tree of its own; a `.git` that leads nowhere makes it none."""
    return os.path.lexists(os.path.join(folder, ".git")) and gitdir_of(folder) is not None


def _is_small(item: Item) -> bool:
    try:
        return len(item.read()) <= limits.FILE_BYTES
    except Absent:
        return False


def _content(path: str, mode: int) -> bytes:
    if mode == LINK:
        return os.fsencode(os.readlink(path))
    with open(path, "rb") as file:
        return file.read()


def _flag(repo: Repo, name: bytes) -> bool:
    return bool(repo.get_config_stack().get_boolean((b"core",), name, True))
