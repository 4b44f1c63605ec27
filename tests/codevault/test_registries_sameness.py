"""What counts as equal code, compared between two snapshots and with the application's twin."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

import pytest

from codevault.registries.ledger import Unreadable
from codevault.registries.sameness import difference
from tests.codevault.test_registries import World

if TYPE_CHECKING:
    from pathlib import Path

BASE = """
    import functools, logging, threading, math
    import math as m

    log = logging.getLogger(__name__)
    lock = threading.Lock()
    SCALE = 2.0
    TABLE = {"a": [1, 2.5], "b": {3, 4}}

    class Own:
        __slots__ = ("x",)
        limit = 3
        def __init__(self, x=1):
            self.x = x
        @property
        def twice(self):
            return self.x * 2
        @classmethod
        def make(cls):
            return cls(cls.limit)
        @staticmethod
        def inner(y):
            return helper(y)

    OBJECT = Own(5)

    def helper(y):
        return y + 1

    @functools.lru_cache
    def cached(y):
        return y * 3

    def around(function):
        @functools.wraps(function)
        def wrapped(*args):
            with lock:
                log.debug("called")
                return function(*args)
        return wrapped

    @around
    def used(x, times=2, *, more=(1, 2)):
        "Says what it does."
        total = sum(v for v in TABLE["a"]) * SCALE + math.floor(m.pi)
        total += Own.make().twice + OBJECT.x + cached(2) + helper(1)
        try:
            return [f"{k}" for k in TABLE] or total
        except ValueError:
            return used(x)
"""


def two(tmp_path: Path, *changes: tuple[str, str], text: str = BASE, host: bool = False) -> Any:
    """Where `used` of a text and of the changed text differ."""
    world = World(tmp_path, text)
    first = world.host(0) if host else world.version("v1", 0)
    for old, new in changes:
        assert old in world.text
        world.text = world.text.replace(old, new)
    second = world.version("v2", 0, "# another file\n")
    found = difference({"f": first.used}, {"f": second.used})
    assert bool(found) == bool(difference({"f": second.used}, {"f": first.used}))
    return found


@pytest.mark.parametrize("host", [False, True])
def test_registries_same_equal_text(tmp_path: Path, host: bool) -> None:
    assert two(tmp_path, host=host) is None


@pytest.mark.parametrize(
    "change",
    [
        ("Says what it does.", "Says it in other words."),
        ("SCALE = 2.0", "UNUSED = 1\nSCALE = 2.0"),
        ("def helper(y):", "def helper(y: int) -> int:  # annotated"),
    ],
)
def test_registries_same_what_does_not_run(tmp_path: Path, change: tuple[str, str]) -> None:
    assert two(tmp_path, change) is None


@pytest.mark.parametrize(
    ("change", "where"),
    [
        (("SCALE = 2.0", "SCALE = 2"), "SCALE is of float in one and of int in the other"),
        (("SCALE = 2.0", "SCALE = 2.5"), "SCALE is 2.0 in one and 2.5 in the other"),
        (("[1, 2.5]", "[1, 2.5, 3]"), "TABLE"),
        (("{3, 4}", "{3, 5}"), "TABLE"),
        (("limit = 3", "limit = 4"), "limit"),
        (("return self.x * 2", "return self.x * 3"), "twice"),
        (("return cls(cls.limit)", "return cls(-cls.limit)"), "make"),
        (("def __init__(self, x=1)", "def __init__(self, x=2)"), "defaults"),
        (("OBJECT = Own(5)", "OBJECT = Own(6)"), "OBJECT"),
        (("return y + 1", "return y - 1"), "helper"),
        (("return y * 3", "return y * 4"), "cached"),
        (("times=2", "times=3"), "defaults"),
        (("more=(1, 2)", "more=(1, 3)"), "defaults"),
        (("except ValueError", "except TypeError"), "code"),
        (("sum(v for", "sum(-v for"), "code"),
        (("import math as m", "import cmath as m"), "math"),
        (("getLogger(__name__)", "getLogger('mine')"), "log"),
        (("with lock:", "if True:"), "code"),
    ],
)
def test_registries_differs(tmp_path: Path, change: tuple[str, str], where: str) -> None:
    found = two(tmp_path, change)
    assert found is not None
    assert where in found


INSIDE = """
    import sys

    def used(x):
        import helpers_NAME.deep
        from helpers_NAME import deep as d
        from helpers_NAME.deep import factor
        return helpers_NAME.deep.factor * d.factor * factor * x, sys.modules["helpers_NAME"]
"""


@pytest.mark.parametrize("loaded", [False, True])
@pytest.mark.parametrize("host", [False, True])
@pytest.mark.parametrize("equal", [False, True])
def test_registries_imports_inside_functions(
    tmp_path: Path, host: bool, equal: bool, loaded: bool
) -> None:
    text = "import helpers_NAME.deep\n" + textwrap.dedent(INSIDE) if loaded else INSIDE
    world = World(tmp_path, text)
    write = world.write

    def with_helpers(folder: str, factor: float, extra: str = "") -> Path:
        top = write(folder, factor, extra)
        package = top / f"helpers_{world.name}"
        package.mkdir()
        (package / "__init__.py").write_text("")
        (package / "deep.py").write_text(f"factor = {factor}\n")
        return top

    world.write = with_helpers  # type: ignore[method-assign]
    first = world.host(1) if host else world.version("v1", 1)
    second = world.version("v2", 1 if equal else 2)
    found = difference({"f": first.used}, {"f": second.used})
    if equal and not (host and not loaded):
        assert found is None
    else:
        assert "helpers_" in str(found)


def test_registries_what_cannot_be_compared_is_different() -> None:
    def one() -> Any:
        return iter(())

    assert "cannot be read back" in str(difference({"f": Unreadable}, {"f": one}))
    pair = [(x for x in range(2)) for _ in "ab"]
    assert "cannot be compared" in str(difference({"f": pair[0]}, {"f": pair[1]}))
    assert "in the other" in str(difference({"f": one}, {"f": None}))
    assert difference({"f": float("nan")}, {"f": float("nan")}) is None


def test_registries_compares_tensors_and_arrays_by_content() -> None:
    import numpy as np
    import torch

    for make in (torch.arange, np.arange):
        assert difference({"f": make(3)}, {"f": make(3)}) is None
        assert difference({"f": make(3)}, {"f": make(3) + 1}) is not None


def test_registries_objects_with_cycles_and_depth_end() -> None:
    def chain(end: int) -> Any:
        ring: list[Any] = []
        ring.append(ring)
        inner: Any = end
        for _ in range(5_000):
            inner = [inner]
        return [ring, inner]

    assert difference({"f": chain(1)}, {"f": chain(1)}) is None
    assert "1 in one and 2 in the other" in str(difference({"f": chain(1)}, {"f": chain(2)}))
    wide = [[[x] for x in range(30_000)] for _ in "ab"]
    assert "too large" in str(difference({"f": wide[0]}, {"f": wide[1]}))


KINDS = """
    import collections, typing
    import pydantic

    T = typing.TypeVar("T")

    class Bag(list):
        pass

    class Count(int):
        pass

    class Base(typing.Generic[T]):
        pass

    class Model(pydantic.BaseModel):
        limit: int = 1

        @pydantic.field_validator("limit")
        @classmethod
        def check(cls, value):
            return value + 1

    def one():
        return 1

    def two():
        return 2

    def made(cls, value):
        thing = cls(value)
        thing.extra = "extra"
        return thing

    one.weight = "weight"
    FILLED = collections.defaultdict(lambda: "filled")
    QUEUE = collections.deque([1], maxlen=3)
    ORDERED = {"a": 1, "b": 2}
    BAG, COUNT = made(Bag, "x"), made(Count, 1)
    KEYS = {one: 1, two: 2}
    EITHER = Bag | None

    def used():
        return Base, Model, one.weight, FILLED, QUEUE, ORDERED, BAG, COUNT, KEYS, used.own, EITHER

    used.own = "own"
"""


@pytest.mark.parametrize("host", [False, True])
def test_registries_same_objects_of_many_kinds(tmp_path: Path, host: bool) -> None:
    assert two(tmp_path, text=KINDS, host=host) is None


@pytest.mark.parametrize(
    "change",
    [
        ('one.weight = "weight"', 'one.weight = "other"'),
        ('lambda: "filled"', 'lambda: "other"'),
        ("maxlen=3", "maxlen=4"),
        ('"a": 1, "b": 2', '"b": 2, "a": 1'),
        ('thing.extra = "extra"', 'thing.extra = "other"'),
        ("limit: int = 1", "limit: int = 2"),
        ("return value + 1", "return value + 2"),
        ("Bag | None", "Count | None"),
        ('used.own = "own"', 'used.own = "other"'),
    ],
)
def test_registries_differs_in_what_objects_hold_besides(
    tmp_path: Path, change: tuple[str, str]
) -> None:
    assert two(tmp_path, change, text=KINDS) is not None
