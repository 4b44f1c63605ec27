# mypy: ignore-errors
# ruff: noqa: TC003, UP045
"""Calls into pydantic v1: annotations that are strings, import strings, models made at run time."""

from __future__ import annotations

import json
import pickle
from datetime import datetime
from typing import Generic, Optional, TypeVar

import pydantic
from pydantic import BaseModel, Field, PyObject, ValidationError, create_model, validator
from pydantic.dataclasses import dataclass
from pydantic.generics import GenericModel

T = TypeVar("T")


class Node(BaseModel):
    name: str
    children: list[Node] = []
    made: datetime | None = None
    call: PyObject = "pydantic.BaseModel"

    class Config:
        validate_all = True

    @validator("name")
    def upper(cls, value):
        return value.upper()


class Page(GenericModel, Generic[T]):
    items: list[T] = Field(..., title="All")


@dataclass
class Point:
    x: int
    y: float = 0.5


def run():
    node = Node(name="a", children=[{"name": "b"}], made="2020-01-02T03:04:05")
    yield node.dict(exclude={"call"}, exclude_unset=True), node.call is BaseModel
    yield node.json(exclude={"call": True, "children": {"__all__": {"call"}}})
    yield Node(name="z", call="compat_exercise.Point").call is Point
    yield json.loads(Page[int](items=["1", 2]).json()), Page[int].__name__
    yield type(Page[Node](items=[{"name": "q"}]).items[0]) is Node
    try:
        Node(name=[], children=[{"made": "never"}])
    except ValidationError as error:
        yield str(error), error.json()
    yield Page[int].schema()
    yield repr(Point("3")), Point.__pydantic_model__.schema()
    Made = create_model("Made", base=(int, 3), other=(Optional[str], None))
    yield Made(base="4").dict(), Made.__fields__["other"].required
    yield pickle.loads(pickle.dumps(node)) == node, type(pickle.loads(pickle.dumps(node))) is Node
    yield pydantic.VERSION, pydantic.compiled, pydantic.parse_obj_as(list[Point], [{"x": 1}])[0].x
