"""What stands against a load before old code runs: packages, and names that shared modules lack."""

from __future__ import annotations

import importlib
import importlib.util
import shlex
import sys
import warnings
from types import ModuleType
from typing import TYPE_CHECKING

from codevault import packages, uses
from codevault.errors import PackagesWarning

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from codevault.manifest import Manifest
    from codevault.splint import Splint
    from codevault.uses import Use
    from codevault_cache import Cache


def findings(manifest: Manifest, splint: Splint | None, cache: Cache) -> tuple[str, ...]:
    """All that is found at once, one text for each cause; nothing of the old code runs.

    Shared modules that the old code imports are imported: they are the application's.

    Args:
        manifest: Of the checkpoint.
        splint: The old code; None where the application's current code shall run.
        cache: Keeps what was read from the sources.
    """
    shared = () if splint is None else splint.snapshot.shared
    used: dict[str, Use] = {}
    verdicts = packages.judge(manifest.python, manifest.packages, None)
    crossed = any(verdict.word == "suspect" for verdict in verdicts)
    if splint is not None and (shared or crossed):
        tree = splint.tree
        derived = cache.derived(tree.digest, uses.TAG, lambda: uses.derive(tree))
        used = uses.uses_of(derived, manifest.modules, splint.snapshot.roots)
    if crossed:
        verdicts = packages.judge(manifest.python, manifest.packages, used)
    found = [str(verdict) for verdict in verdicts if verdict.word in ("suspect", "missing")]
    if lacks := lacking(used, shared):
        found.append("shared modules lack what the old code uses: " + ", ".join(lacks))
    return tuple(found)


def warn(manifest: Manifest, splint: Splint | None, cache: Cache, where: str) -> tuple[str, ...]:
    """Tells the caller's caller what `findings` gives, in one `PackagesWarning`; and gives it."""
    found = findings(manifest, splint, cache)
    if found:
        text = f"{where} was saved with other packages than there are here:"
        hint = f"do:  codevault show {shlex.quote(where)}"
        warnings.warn("\n  ".join((text, *found, hint)), PackagesWarning, 3)
    return found


def lacking(used: Mapping[str, Use], shared: Sequence[str]) -> list[str]:
    """The names that shared modules of the application do not have, each with its first use.

    Attributes of classes and of values are not followed. What only functions of the old code import
    is looked up, and not imported.
    """
    names = [n for n in sorted(used) if any(n == s or n.startswith(f"{s}.") for s in shared)]
    missing: list[str] = []
    for name in names:
        gone = _gone(name, eager=used[name].eager)
        if gone and not any(text.startswith(f"{gone} (") for text in missing):
            missing.append(f"{gone} ({used[name]})")
    return missing


def _gone(name: str, *, eager: bool) -> str:
    """The first part of a dotted name that the application does not have; or nothing."""
    parts = name.split(".")
    found: object = None
    for end in range(1, len(parts) + 1):
        dotted = ".".join(parts[:end])
        if found is not None:
            if not isinstance(found, ModuleType):
                return ""
            if hasattr(found, parts[end - 1]):
                found = getattr(found, parts[end - 1])
                continue
            if not hasattr(found, "__path__"):
                return dotted
        try:
            if dotted not in sys.modules and importlib.util.find_spec(dotted) is None:
                return dotted
            if dotted not in sys.modules and not eager:
                return ""
            found = importlib.import_module(dotted)
        except Exception:
            return ""  # the application's own trouble, which the load will meet and tell
    return ""
