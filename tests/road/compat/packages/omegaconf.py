# mypy: ignore-errors
"""Calls into OmegaConf: resolvers in a registry, a grammar, structured and pickled configs."""

import pickle
from dataclasses import dataclass, field
from enum import Enum

from omegaconf import MISSING, DictConfig, ListConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, ValidationError


class Kind(Enum):
    A = 1
    B = 2


@dataclass
class Inner:
    kind: Kind = Kind.A
    rates: list[float] = field(default_factory=lambda: [0.1, 0.2])


@dataclass
class Outer:
    name: str = MISSING
    inner: Inner = field(default_factory=Inner)
    copy: str = "${name}-${inner.kind}"


def run():
    config = OmegaConf.create({"a": 1, "b": "${a}", "c": ["${oc.env:HOPE_UNSET,9}", "${b}"]})
    yield OmegaConf.to_container(config, resolve=True), OmegaConf.to_yaml(config)
    outer = OmegaConf.structured(Outer)
    try:
        print(outer.name)
    except MissingMandatoryValue as error:
        yield str(error)
    outer.merge_with({"name": "n", "inner": {"kind": "B"}})
    yield outer.copy, OmegaConf.get_type(outer, "inner").__name__, repr(OmegaConf.to_object(outer))
    try:
        outer.inner.rates = "none"
    except ValidationError as error:
        yield str(error).splitlines()[0]
    OmegaConf.register_new_resolver("twice", lambda x: 2 * x, replace=True)
    yield OmegaConf.create({"x": 4, "y": "${twice:${x}}"}).y, OmegaConf.has_resolver("twice")
    again = pickle.loads(pickle.dumps(outer))
    yield again == outer, type(again) is DictConfig, type(again.inner.rates) is ListConfig
    yield OmegaConf.from_dotlist(["p.q=[1,2]", "p.r={u: 3}"]).p.r.u
    yield OmegaConf.merge({"a": {"b": 1}}, {"a": {"c": 2}}), OmegaConf.is_missing(outer, "name")
