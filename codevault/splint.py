"""A snapshot of the cache as modules of this process: where the cache and the hook meet."""

from __future__ import annotations

import contextlib
import sys
import threading
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

import codevault_importhook as hook
from codevault import audit as audits
from codevault import mountrecords, registries, standins
from codevault.errors import CodeError
from codevault_cache.derived import kept, newest, store
from codevault_cache.errors import CacheError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from contextlib import AbstractContextManager
    from types import ModuleType

    from codevault_cache import Cache, Overlay, Snapshot
    from codevault_importhook import ModuleSource, Mount


@dataclass(frozen=True, slots=True)
class Splint:
    """Code of one snapshot, mounted in this process beside every other version.

    Attributes:
        name: The import name, `_splint_<commit12>_<spec12>`: the same in every process.
        snapshot: What decides which code this is.
        overlay: Files that the caller laid over it, as far as they are known.
    """

    name: str
    snapshot: Snapshot
    _mount: Mount
    overlay: Overlay | None = None

    def import_module(self, module: str) -> ModuleType:
        """Imports a module by its original name.

        Args:
            module: Such as `"metta.agent.policy"`.

        Raises:
            ModuleNotFoundError: The snapshot does not have it; near names are in the message.
            CodeError: The name is neither the snapshot's own nor shared.
        """
        if not self._mount.rules.owns(module) and not self._mount.is_host(module):
            raise CodeError(
                f"{module!r} is not a module of {self.name}",
                f"its top-level name is not in the roots ({', '.join(self.snapshot.roots)}) "
                f"and not shared ({', '.join(self.snapshot.shared) or 'nothing is'})",
                f'importlib.import_module("{module}")  # if the host\'s own is meant',
            )
        name = f"{self.name}.{module}"
        if name in sys.modules:
            return import_module(name)
        with self._mount.lock, audits.watching(self.name, self.snapshot.shared) as watch:
            found = import_module(name)
        audits.warn(watch.audit, "splint.audit.restore()")
        return found

    def load_symbol(self, path: str) -> Any:
        """The object at `"pkg.mod:Class"` or `"pkg.mod.Class"`; nested names with further dots.

        Raises:
            ModuleNotFoundError: No module of that name is in the snapshot.
            CodeError: The module has no such attribute, or the name is not own or shared.
        """
        module, attributes = self._locate(path)
        found: Any = module
        for attribute in attributes:
            try:
                found = getattr(found, attribute)
            except AttributeError:
                raise CodeError(
                    f"{path!r} is not in {self.name}",
                    f"{hook.strip(module.__name__)} has no {'.'.join(attributes)!r}",
                    f"dir(splint.import_module({hook.strip(module.__name__)!r}))",
                ) from None
        return found

    def defines(self, module: str) -> bool:
        """Whether a loaded module's name is one of this splint's own, or shared."""
        parts = hook.split(module)
        if parts is not None:
            return parts[0] == self.name
        if module.partition(".")[0] in sys.stdlib_module_names:
            return False  # whatever is called shared: it could do anything
        return any(module == s or module.startswith(f"{s}.") for s in self.snapshot.shared)

    def resolving(self) -> AbstractContextManager[None]:
        """Lets strings that name own modules mean this splint, in this thread or task."""
        return hook.resolving(self._mount)

    @property
    def modules(self) -> Mapping[str, ModuleType]:
        """The own modules that are loaded now: original name to module."""
        return self._mount.modules()

    @property
    def tree(self) -> ModuleSource:
        """The verified files."""
        return self._mount.source

    @property
    def pickle(self) -> ModuleType:
        """A `pickle` in whose files this splint's classes have their original names.

        It serves wherever a library takes one. `torch.save(policy, path,
        pickle_module=splint.pickle)` writes what the old code alone would have written;
        `torch.load(path, weights_only=False, pickle_module=splint.pickle)` and
        `splint.pickle.load(file)` read what it wrote then. Like any pickle it runs what the file
        says: read only files that you trust.
        """
        return self._mount.pickle

    @property
    def audit(self) -> audits.Audit:
        """What its code changed in this process so far."""
        return audits.of(self.name)

    def unload(self) -> tuple[str, ...]:
        """Frees the modules.

        Returns:
            One line for each class or function that something outside still holds.
        """
        _mounted.pop(self.name, None)
        audits.forget(self.name)
        registries.leave(self.name)
        return hook.unload(self._mount)

    def _locate(self, path: str) -> tuple[ModuleType, list[str]]:
        if ":" in path:
            module, _, attributes = path.partition(":")
            return self.import_module(module), attributes.split(".")
        parts = path.split(".")
        for end in range(len(parts) - 1, 0, -1):
            name = ".".join(parts[:end])
            try:
                return self.import_module(name), parts[end:]
            except ModuleNotFoundError as error:
                above = hook.strip(error.name or "?")
                if end == 1 or not f"{name}.".startswith(f"{above}."):
                    raise
        raise CodeError(
            f"{path!r} names no object", "it has no module in front", 'write "pkg.mod:Class"'
        )


_mounted: dict[str, Splint] = {}
_mounting = threading.RLock()
"""One thread mounts at a time: two that want the same snapshot get the same splint."""


def mount(snapshot: Snapshot, cache: Cache, overlay: Overlay | None = None) -> Splint:
    """Mounts a snapshot that the cache holds; the same one twice is the same splint.

    Raises:
        CodeError: The cache does not hold it, or its name stands for other code already.
    """
    standins.register()
    registries.install()
    with _mounting, _explained(snapshot.name, "mounted"):
        tree = cache.tree(snapshot.digest)
        mounted = hook.mount(snapshot.name, tree, roots=snapshot.roots, shared=snapshot.shared)
        known = _mounted.get(snapshot.name)
        try:
            mounted.use(_code_pack(mounted, cache), partial(_kept_pack, mounted, cache))
        except BaseException:
            if known is None:  # the next try must not meet this damaged tree
                hook.unload(mounted)
            raise
        mountrecords.remember(snapshot, cache.roots)
        if known is None or (known.overlay is None and overlay is not None):
            known = _mounted[snapshot.name] = Splint(snapshot.name, snapshot, mounted, overlay)
        return known


@contextlib.contextmanager
def _explained(name: str, what: str) -> Iterator[None]:
    try:
        yield
    except (CacheError, ValueError) as error:
        raise CodeError(f"{name} cannot be {what}", str(error), "codevault cache verify") from error


def release(splint: Splint | None) -> None:
    """Lets go of compiled code in memory that was not imported; a later import reads it again."""
    if splint is not None:
        splint._mount.release()  # noqa: SLF001


def mounted() -> frozenset[str]:
    """The names of the splints of this process."""
    return frozenset(_mounted)


def mounted_as(name: str) -> Splint | None:
    """The splint of that name in this process, if there is one."""
    return _mounted.get(name)


def compile_code(snapshot: Snapshot, cache: Cache) -> None:
    """Compiles a snapshot's modules into the cache without mounting it.

    Raises:
        CodeError: The cache does not hold the snapshot.
    """
    standins.register()  # part of the rules that the compiled code follows
    with (
        _explained(snapshot.name, "compiled"),
        contextlib.closing(cache.tree(snapshot.digest)) as tree,
    ):
        _code_pack(hook.Mount(snapshot.name, tree, snapshot.roots, snapshot.shared), cache)


def _code_pack(mounted: Mount, cache: Cache) -> hook.CodePack:
    """The compiled code of a tree, kept or made now."""
    if (found := _kept_pack(mounted, cache)) is not None:
        return found
    # The tag holds the own names: the newest is most likely of the same repository.
    earlier = _opened(newest(cache.roots[0], mounted.tag), mounted.tag, cache)
    data = mounted.compile(earlier)
    store(cache.roots[0], mounted.source.digest, mounted.tag, data)
    return hook.CodePack(data, mounted.tag, lambda _: earlier and (earlier.base or earlier))


def _kept_pack(mounted: Mount, cache: Cache) -> hook.CodePack | None:
    return _opened(kept(cache.roots, mounted.source.digest, mounted.tag), mounted.tag, cache)


def _opened(data: bytes | None, tag: str, cache: Cache) -> hook.CodePack | None:
    """A code pack with the one that it rests on; None where either is missing."""

    def below(tree: str) -> hook.CodePack | None:
        data = kept(cache.roots, tree, tag)
        return None if data is None else hook.CodePack(data, tag)

    try:
        return None if data is None else hook.CodePack(data, tag, below)
    except ValueError:
        return None
