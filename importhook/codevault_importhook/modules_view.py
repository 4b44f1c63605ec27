"""`sys.modules` as the old code of one mount knows it."""

from __future__ import annotations

import sys
from collections.abc import Iterator, MutableMapping
from types import ModuleType
from typing import TYPE_CHECKING

from codevault_importhook.rewrite import STAND_INS

if TYPE_CHECKING:
    from codevault_importhook.mount import Mount


class Modules(MutableMapping[str, ModuleType]):
    """A view in which own names mean own modules, and the host's of these names are not seen."""

    def __init__(self, mount: Mount) -> None:
        self._mount = mount

    def _key(self, key: str, value: object = None) -> str:
        inner = f"{self._mount.name}.{key}"
        if self._mount.inside(key) == inner or inner in sys.modules:
            return inner
        return inner if getattr(value, "__name__", None) == inner else key

    def __getitem__(self, key: str) -> ModuleType:
        try:
            return sys.modules[self._key(key)]
        except KeyError:
            raise KeyError(key) from None

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and self._key(key) in sys.modules

    def __setitem__(self, key: str, value: ModuleType) -> None:
        sys.modules[self._key(key, value)] = value

    def __delitem__(self, key: str) -> None:
        try:
            del sys.modules[self._key(key)]
        except KeyError:
            raise KeyError(key) from None

    def __iter__(self) -> Iterator[str]:
        start = f"{self._mount.name}."
        for name in list(sys.modules):
            if name.startswith(start):
                if name != start + STAND_INS:
                    yield name[len(start) :]
            elif name + "." != start and self._key(name) == name:
                yield name

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def copy(self) -> dict[str, ModuleType]:
        """As `dict.copy`."""
        return dict(self)
