"""Makes the specs of a mount's modules: files, namespace packages, the host's own modules."""

from __future__ import annotations

import importlib.util
import sys
from functools import partial
from importlib._abc import Loader
from importlib._bootstrap_external import _NamespacePath  # type: ignore[attr-defined]
from importlib.machinery import ModuleSpec
from typing import TYPE_CHECKING

from codevault_importhook.extensions import CompiledLoader
from codevault_importhook.naming import WIDTH

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

    from codevault_importhook.mount import Mount


def find(mount: Mount, fullname: str, path: Sequence[str] | None) -> ModuleSpec | None:
    """The spec of the splint or of a module below it; None if there is none."""
    original = fullname[WIDTH + 1 :]
    if not original:
        spec = ModuleSpec(fullname, mount.loader, is_package=True)
        spec.submodule_search_locations = mount.locations()
        return spec
    if mount.is_host(original):
        return _of_host(fullname, original)
    found = mount.find(original.rpartition(".")[2], mount.locations() if path is None else path)
    if found is None:
        return None
    if found.path is None:
        spec = ModuleSpec(fullname, None, is_package=True)
        portions = [mount.source.location(folder) for folder in found.portions]
        # The import system's own class: NamespaceLoader and importlib.resources want it.
        spec.submodule_search_locations = _NamespacePath(fullname, portions, partial(find, mount))
        return spec
    if found.is_extension:
        location = mount.source.location(found.path)
        return importlib.util.spec_from_file_location(
            fullname, location, loader=CompiledLoader(mount, fullname, found.path)
        )
    return of_file(mount, fullname, found.path)


def of_file(
    mount: Mount, fullname: str, path: str, locations: list[str] | None = None
) -> ModuleSpec:
    """The spec of the source file at a tree path."""
    location = mount.source.location(path)
    spec = _SourceSpec(fullname, mount.loader, origin=location, loader_state=path)
    spec.has_location = True
    if path.endswith("/__init__.py"):
        spec.submodule_search_locations = [location[: -len("/__init__.py")]]
    if locations is not None:
        spec.submodule_search_locations = locations
    return spec


class _SourceSpec(ModuleSpec):
    """The spec of a file that has no bytecode file beside it."""

    cached = None


def _of_host(fullname: str, original: str) -> ModuleSpec | None:
    module = sys.modules.get(original)
    if module is not None:
        locations = getattr(module, "__path__", None)
    else:
        try:
            spec = importlib.util.find_spec(original)
        except ModuleNotFoundError as error:  # of a parent
            if not f"{original}.".startswith(f"{error.name}."):
                raise
            spec = None
        if spec is None:
            return None
        locations = spec.submodule_search_locations
    alias = ModuleSpec(fullname, AliasLoader(), origin="host", is_package=locations is not None)
    if locations is not None:
        alias.submodule_search_locations = list(locations)
    return alias


class AliasLoader(Loader):
    """Puts the host's own module under the splint's name, for shared names and third party.

    The host's module is never returned from `create_module`: the import system would write the
    prefixed spec into it.
    """

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """None: a throw-away module that `exec_module` replaces."""
        return None

    def exec_module(self, module: ModuleType) -> None:
        """Imports the host's module, past the seam in `stringimports`, and puts it in place."""
        original = module.__name__[WIDTH + 1 :]
        __import__(original)
        sys.modules[module.__name__] = sys.modules[original]
