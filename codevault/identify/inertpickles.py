"""Reads pickles with hollow classes: what they name is not looked up, only written down.

No name of a pickle is imported and nothing it names is called: each becomes a class of no
behaviour, whose instances hold what the pickle puts into them. What comes out has the shape of what
was saved.
"""

from __future__ import annotations

import io
import pickle
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final

from codevault.archive import RESTORE
from codevault.convert.listing import today
from codevault.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_MAGIC: Final = 0x1950A86A20F9469CFC6C
"""The first value of files that torch.save wrote before 1.6."""


class Hollow:
    """An instance of a class that is only named.

    Attributes:
        home: The class, as module and qualified name.
        args: What it was made with.
        state: What was put into it; None if nothing was.
        items: What was appended or set in it.
    """

    home: tuple[str, str] = ("", "")

    def __new__(cls, *args: Any, **_: Any) -> Hollow:
        """An instance that only keeps its arguments."""
        made = object.__new__(cls)
        made.args, made.state, made.items = args, None, []
        return made

    args: tuple[Any, ...]
    state: Any
    items: list[Any]

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __setitem__(self, key: Any, value: Any) -> None:
        self.items.append((key, value))

    def append(self, value: Any) -> None:
        """As a list, or whatever is like one, is filled by a pickle."""
        self.items.append(value)

    def extend(self, values: Any) -> None:
        """Likewise."""
        self.items.extend(values)

    def add(self, value: Any) -> None:
        """As a set is filled."""
        self.items.append(value)


class _Unpickler(pickle._Unpickler):  # noqa: SLF001
    """The one in Python: no memory but for what the file holds, and nothing hidden in C."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file, encoding="latin1")
        self.kinds: dict[tuple[str, str], Any] = {}

    if TYPE_CHECKING:  # what typeshed leaves out
        proto: int
        append: Callable[[Any], None]

    def find_class(self, module: str, name: str) -> Any:
        full = today(module, name, self.proto)
        home = (full[: -len(name) - 1], name) if full.endswith(f".{name}") else (module, name)
        if home == ("collections", "OrderedDict"):
            return OrderedDict
        if home not in self.kinds:
            self.kinds[home] = type("Hollow", (Hollow,), {"home": home})
        return self.kinds[home]

    def persistent_load(self, pid: Any) -> Any:
        # Before 1.6 torch.save put the source of a module's class beside it.
        if isinstance(pid, tuple) and len(pid) == 4 and pid[0] == "module":
            return pid[1]
        return pid

    def get_extension(self, code: int) -> None:
        """A number for a class stands in this process's own tables, which are none of its."""
        self.append(type("Hollow", (Hollow,), {"home": ("", f"extension {code}")}))


def read(data: bytes, where: str) -> tuple[Any, list[tuple[str, str]]]:
    """What a pickle holds, and the names that it looks up as module and qualified name.

    Of files of torch.save before 1.6 the object is read, not the magic number before it.

    Raises:
        CheckpointError: It is damaged.
    """
    file = io.BytesIO(data)
    names: dict[tuple[str, str], None] = {}
    try:
        thing = _one(file, names)
        if thing == _MAGIC:
            _one(file, names)  # protocol
            _one(file, names)  # system
            thing = _one(file, names)
    except Exception as error:  # a damaged file may raise whatever Python's own parts raise
        why = f"{type(error).__name__}: {error}"[:200]
        raise CheckpointError(f"{where} has a damaged pickle", why, RESTORE) from None
    return thing, list(names)


def _one(file: io.BytesIO, names: dict[tuple[str, str], None]) -> Any:
    unpickler = _Unpickler(file)
    thing = unpickler.load()
    names |= dict.fromkeys(unpickler.kinds)
    return thing


def shape_of(thing: Any) -> tuple[int, ...] | None:
    """The shape of a tensor or parameter; None for anything else."""
    if not isinstance(thing, Hollow) or thing.home[0] != "torch._utils":
        return None
    if thing.home[1].startswith("_rebuild_parameter"):
        return shape_of(thing.args[0]) if thing.args else None
    if not thing.home[1].startswith("_rebuild_") or len(thing.args) < 3:
        return None
    size = thing.args[2]
    size = size.args[0] if isinstance(size, Hollow) and size.args else size
    whole = isinstance(size, tuple | list) and all(isinstance(n, int) for n in size)
    return tuple(size) if whole else None


def fields_of(thing: Hollow) -> Mapping[str, Any]:
    """The attributes of an instance, as its class's `__dict__` had them."""
    state = thing.state
    if isinstance(state, tuple) and len(state) == 2:  # with slots
        parts = [part for part in state if isinstance(part, dict)]
        state = {name: value for part in parts for name, value in part.items()}
    if isinstance(state, dict) and isinstance(state.get("__dict__"), dict):  # pydantic's models
        state = state["__dict__"]
    return state if isinstance(state, dict) else {}


def walk(thing: Any, visit: Callable[[Any, str], None]) -> None:
    """Calls `visit` with each part of what was read, once, and the names that lead to it."""
    waiting, seen = [(thing, "")], set[int]()
    while waiting:
        part, path = waiting.pop()
        if id(part) in seen:
            continue
        seen.add(id(part))
        visit(part, path)
        inner: list[tuple[Any, Any]] = []
        if isinstance(part, dict):
            inner = list(part.items())
        elif isinstance(part, list | tuple):
            inner = list(enumerate(part))
        elif isinstance(part, Hollow):
            inner = [("", part.args), ("", part.state), ("", part.items)]
        waiting += [(value, f"{path}.{key}" if key != "" else path) for key, value in inner]
