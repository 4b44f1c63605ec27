# mypy: ignore-errors
"""Calls into attrs: generated methods, their sources, pickles, names that resolve types."""

import inspect
import linecache
import pickle

import attr
import attr.validators


@attr.s(auto_attribs=True, order=True, slots=True)
class Point:
    x: int = attr.ib(converter=int)
    y: "list[Point]" = attr.Factory(list)
    z: float = attr.ib(default=1.5, validator=attr.validators.instance_of(float))


@attr.define(frozen=True)
class Frozen:
    name: str
    inner: Point = attr.field(factory=lambda: Point("3"))


def run():
    point = Point("1", [Point(2)])
    yield repr(point), point == Point(1, [Point(2)]), point < Point(2)
    yield attr.asdict(point), attr.astuple(Frozen("n"))
    yield [(field.name, repr(field.default)) for field in attr.fields(Frozen)]
    yield attr.evolve(Frozen("a"), name="b").name
    try:
        Point(1, [], 2)
    except TypeError as error:
        yield error.args[0]
    try:
        Frozen("n").name = "m"
    except attr.exceptions.FrozenInstanceError as error:
        yield str(error)
    yield pickle.loads(pickle.dumps(Frozen("p"))) == Frozen("p")
    attr.resolve_types(Point)
    yield attr.fields(Point).y.type == list[Point]
    yield (
        str(inspect.signature(Frozen)),
        "self.name" in "".join(linecache.getlines(Frozen.__init__.__code__.co_filename))
        or "_setattr" in inspect.getsource(Frozen.__init__),
    )
    yield attr.make_class("Made", ["a", "b"])(1, 2).b
