"""What a save found out about the code of a policy."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import codevault_importhook as hook
from codevault.errors import CaptureError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import ModuleType

    from codevault_cache import Snapshot


@dataclass(frozen=True, slots=True)
class Selection:
    """The caller's word on where the code is and what is taken; None where nothing was said."""

    repo: str | None
    roots: Sequence[str] | None
    shared: Sequence[str] | None
    include: Sequence[str] | None


@dataclass(frozen=True, slots=True)
class Captured:
    """The code of a live policy, as a checkpoint records it.

    Attributes:
        snapshot: All that decides what code runs.
        repo: The URL to record, without user info; None where the code travels.
        base: Newest ancestor of the commit that the remote has.
        tree: git's id of the commit's tree.
        overlay: Uncommitted changes, one entry a file.
        pack: git objects that must travel, or None.
        diff: The same as text for people, or None.
        modules: Own modules that the policy uses, by original name.
        renamed: Loaded name of each own module (`__main__`, say) to its name in the snapshot.
        contract: Version of the interface to the application that the code states.
        migrations: Names of the rules files that its repository has; None where it states none.
    """

    snapshot: Snapshot
    repo: str | None
    base: str | None
    tree: str | None
    overlay: tuple[dict[str, Any], ...]
    pack: bytes | None
    diff: bytes | None
    modules: tuple[str, ...]
    renamed: Mapping[str, str]
    contract: str | None = None
    migrations: tuple[str, ...] | None = None

    def loaded(self) -> list[ModuleType]:
        """The own modules as they are loaded now."""
        outside = {inside: name for name, inside in self.renamed.items()}
        pairs = ((f"{self.snapshot.name}.{name}", outside.get(name, name)) for name in self.modules)
        found = [sys.modules.get(inside) or sys.modules.get(name) for inside, name in pairs]
        return [module for module in found if module is not None]

    def name_of(self, thing: Any, where: str) -> str:
        """The importable name of a class or function of this code, for `architecture.describe`.

        Raises:
            CaptureError: It is neither the code's own nor shared, or no import can reach it.
        """
        module, name = getattr(thing, "__module__", None), getattr(thing, "__qualname__", "")
        label = f"{module}.{name}"
        if not isinstance(module, str) or "<" in name:
            raise CaptureError(
                f"{where} is {label}, which no import can reach",
                "it was made inside a function",
                f"define what {where} names at the top of a module",
            )
        inside = hook.strip(self.renamed.get(module, module))
        shared = any(inside == s or inside.startswith(f"{s}.") for s in self.snapshot.shared)
        if not shared and inside not in self.modules:
            raise CaptureError(
                f"{where} is {label}, which is neither the policy's own code nor shared",
                "a checkpoint names only classes and functions of its own code, so that a load "
                "never calls anything else",
                f"wrap {name} in a function of your own code, and name that",
            )
        return f"{inside}:{name}"
