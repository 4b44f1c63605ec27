"""Pickles read with hollow classes: nothing is looked up, nothing is called, shapes are there."""

from __future__ import annotations

import collections
import copyreg
import dataclasses
import os
import pickle
from typing import TYPE_CHECKING, Any

import pydantic
import pytest
import torch
from torch import nn

from codevault.convert.making import recognised
from codevault.errors import CheckpointError
from codevault.identify.filefacts import traces_of
from codevault.identify.inertpickles import Hollow, fields_of, read

if TYPE_CHECKING:
    from pathlib import Path

HERE = __name__


class Runs:
    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.path}",)


class Policy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.BatchNorm1d(3))
        self.log_std = nn.Parameter(torch.zeros(2))
        self.register_buffer("scale", torch.ones(()))
        self.register_buffer("scratch", torch.ones(5), persistent=False)
        self.hidden = 3


class Slotted:
    __slots__ = ("x", "y")

    def __init__(self) -> None:
        self.x, self.y = 1, 2


@dataclasses.dataclass
class Config:
    hidden: int = 3


class Model(pydantic.BaseModel):
    width: int = 4


def shapes(policy: nn.Module) -> dict[str, tuple[int, ...]]:
    return {key: tuple(value.shape) for key, value in policy.state_dict().items()}


@pytest.mark.parametrize("protocol", range(6))
def test_nothing_runs(tmp_path: Path, protocol: int) -> None:
    mark = tmp_path / "mark"
    _, names = read(pickle.dumps(Runs(str(mark)), protocol), "x")
    assert not mark.exists()
    assert [name for _, name in names] == ["system"]


@pytest.mark.parametrize("protocol", range(6))
def test_what_was_put_in_is_there(protocol: int) -> None:
    if protocol < 2:
        held: Any = [Config(), Model(), collections.Counter("ab")]
    else:
        held = [Config(), Model(), collections.Counter("ab"), Slotted()]
    thing, names = read(pickle.dumps(held, protocol), "x")
    assert (HERE, "Config") in names
    found = {part.home[1]: part for part in thing if isinstance(part, Hollow)}
    if protocol >= 2:
        assert fields_of(found["Config"]) == {"hidden": 3}
        assert fields_of(found["Slotted"]) == {"x": 1, "y": 2}
        assert fields_of(found["Model"]) == {"width": 4}


def test_an_extension_code_reaches_no_class_of_this_process() -> None:
    copyreg.add_extension("builtins", "print", 201)
    try:
        data = pickle.dumps(print, 2)
        assert b"print" not in data
        pickle.loads(data)  # so that this process remembers the function behind the number
        thing, _ = read(data, "x")
        assert isinstance(thing, type)
        assert issubclass(thing, Hollow)
    finally:
        copyreg.remove_extension("builtins", "print", 201)
        copyreg.clear_extension_cache()


@pytest.mark.parametrize("damage", [b"", b"\x80\x04", b"junk", b"\x80\x04K\x01"])
def test_damage_is_said(damage: bytes) -> None:
    with pytest.raises(CheckpointError, match="damaged pickle"):
        read(damage, "x")


@pytest.mark.parametrize("new", [True, False])
def test_a_whole_policy(tmp_path: Path, new: bool) -> None:
    path, policy = str(tmp_path / "policy.pt"), Policy()
    torch.save(policy, path, _use_new_zipfile_serialization=new)
    traces = traces_of(recognised(path))
    assert traces.keys == shapes(policy)
    (fields,) = traces.attributes[HERE, "Policy"]
    assert {"body", "log_std", "scale", "scratch", "hidden"} <= fields


def test_weights_beside_an_optimizer(tmp_path: Path) -> None:
    path, policy = str(tmp_path / "model_3.pt"), Policy()
    moments = torch.optim.Adam(policy.parameters())
    sum(p.sum() for p in policy.parameters()).backward()  # type: ignore[union-attr]
    moments.step()
    held = {"model_state_dict": policy.state_dict(), "optimizer": moments.state_dict(), "iter": 3}
    torch.save(held, path)
    traces = traces_of(recognised(path))
    assert traces.keys == shapes(policy)
    assert traces.entries == ("model_state_dict", "optimizer", "iter")


def test_safetensors(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    path, policy = str(tmp_path / "weights.safetensors"), Policy()
    save_file(policy.state_dict(), path)
    assert traces_of(recognised(path)).keys == shapes(policy)
