"""gymnasium's registry of environments as the old code of one mount sees it."""

from __future__ import annotations

import sys
from collections.abc import Iterator, MutableMapping
from typing import TYPE_CHECKING, Any

import codevault_importhook as hook
from codevault.registries import ledger

if TYPE_CHECKING:
    from codevault_importhook import Mount

_MODULE = "gymnasium.envs.registration"


def stand_in() -> None:
    """Registers the stand-in; it takes effect in code that is mounted from then on."""
    for module in ("gymnasium", "gymnasium.envs", _MODULE):
        hook.stand_in(f"{module}.registry", Environments)


class Environments(MutableMapping[str, Any]):
    """Without the environments of other versions and of the application.

    Old code asks whether an id is taken before it registers. It is told what it would be told
    alone, so that it registers, and the registration is compared rather than passed over.
    """

    def __init__(self, mount: Mount) -> None:
        self._mount = mount

    @property
    def _real(self) -> dict[str, Any]:
        registry: dict[str, Any] = sys.modules[_MODULE].registry
        return registry

    def _is_hidden(self, name: str) -> bool:
        entry = getattr(self._real.get(name), "entry_point", None)
        if isinstance(entry, str) and not ledger.registrants(("gymnasium", name)):
            return self._mount.claims(entry.partition(":")[0])
        return ledger.is_others(("gymnasium", name), [entry], self._mount.name)

    def __getitem__(self, name: str) -> Any:
        if self._is_hidden(name):
            raise KeyError(name)
        return self._real[name]

    def __setitem__(self, name: str, spec: Any) -> None:
        self._real[name] = spec

    def __delitem__(self, name: str) -> None:
        if self._is_hidden(name):
            raise KeyError(name)
        del self._real[name]

    def __iter__(self) -> Iterator[str]:
        return (name for name in list(self._real) if not self._is_hidden(name))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def copy(self) -> dict[str, Any]:
        """As `dict.copy`."""
        return dict(self)
