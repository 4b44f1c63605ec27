"""Architectures as plain data, environments, and how a policy is built from them."""

from __future__ import annotations

import dataclasses
import enum
from typing import TYPE_CHECKING, Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import codevault
from codevault import architecture as arch
from codevault.errors import BuildError, CaptureError

if TYPE_CHECKING:
    from pathlib import Path

CONFIG = {
    "src/gait/__init__.py": "",
    "src/gait/act.py": """
        import enum, torch
        class Kind(enum.Enum):
            HARD = 1
            SOFT = 2
        def squash(x):
            return torch.tanh(x)
    """,
    "src/gait/api.py": """
        import pydantic
        class Env(pydantic.BaseModel):
            obs: int
            names: list[str] = []
    """,
    "src/gait/net.py": """
        import dataclasses
        from typing import Any
        import pydantic, torch
        from gait.act import Kind, squash
        from gait.api import Env

        @dataclasses.dataclass
        class Layer:
            width: int = 8
            kind: Kind = Kind.HARD

        class Net(torch.nn.Module):
            def __init__(self, obs, layers, act):
                super().__init__()
                self.a = torch.nn.Linear(obs, layers[0].width)
                self.act, self.layers = act, layers
            def forward(self, obs):
                return self.act(self.a(obs))

        class Config(pydantic.BaseModel):
            layers: list[Any] = [Layer()]
            act: Any = squash
            scale: tuple[float, int] = (1.0, 2)
            late: str = pydantic.Field("x", alias="lateName")
            def make_policy(self, env):
                if env is None:
                    raise TypeError("no env")
                return Net(env.obs, self.layers, self.act)

        def by_env(env, width):
            return Net(env.obs, [Layer(width)], squash)

        def odd(value, **rest):
            return torch.nn.Identity()
    """,
}


@pytest.fixture
def net(project: Any) -> Any:
    project.commit(CONFIG)
    return project.load("gait.net")


def save(path: Path, policy: Any, architecture: Any, **more: Any) -> Any:
    return codevault.save_policy(
        path / "best.mpt", policy, architecture=architecture, probe=torch.ones(2, 4), **more
    )


def load(path: Path, **more: Any) -> Any:
    return codevault.load_policy(path / "best.mpt", **more)


def test_model_with_make_policy_and_recorded_env(net: Any, tmp_path: Path) -> None:
    config = net.Config(layers=[net.Layer(5, net.Kind.SOFT)])
    env = net.Env(obs=4, names=["a"])
    policy = config.make_policy(env)
    manifest = save(tmp_path, policy, config, env=env)
    assert manifest.env == {"$model": "gait.api:Env", "fields": {"obs": 4, "names": ["a"]}}
    old = load(tmp_path)
    assert torch.equal(old(torch.ones(1, 4)), policy(torch.ones(1, 4)))
    splint = codevault.provenance(old).splint
    assert old.layers[0].kind is splint.load_symbol("gait.act:Kind.SOFT")  # type: ignore[union-attr]
    assert type(old.layers[0]).__module__.startswith("_splint_")
    # the whole configuration is recorded, also what was at its default
    description = codevault.provenance(old).architecture
    assert set(description["fields"]) == {"layers", "act", "scale", "late"}
    assert description["fields"]["scale"] == {"$tuple": [1.0, 2]}


def test_env_given_at_load_wins(net: Any, tmp_path: Path) -> None:
    env = net.Env(obs=4)
    save(tmp_path, net.Config().make_policy(env), net.Config())
    with pytest.raises(BuildError, match="needs an environment description") as caught:
        load(tmp_path)
    assert "env=" in caught.value.hint
    assert load(tmp_path, env=net.Env(obs=4)).a.in_features == 4


def test_function_with_a_parameter_env_gets_it(net: Any, tmp_path: Path) -> None:
    env = net.Env(obs=4)
    architecture = {"class_path": "gait.net.by_env", "kwargs": {"width": 3}}
    save(tmp_path, net.by_env(env, 3), architecture, env=env)
    assert load(tmp_path).a.out_features == 3
    save(tmp_path, net.by_env(env, 3), architecture)
    with pytest.raises(BuildError, match="does not take the recorded arguments") as caught:
        load(tmp_path)
    assert caught.value.hint == "codevault.load_policy(uri, env=...)"


@pytest.mark.parametrize(
    ("value", "named"),
    [
        (torch.nn.ReLU, "kwargs.value is torch"),
        (torch.zeros(1), "kwargs.value is a torch.Tensor"),
        (object(), "kwargs.value is a builtins.object"),
        (lambda: 0, "kwargs.value is .*no import can reach"),
        ([{"a": {1, 2}}], r"kwargs.value\[0\].a is a builtins.set"),
        (b"bytes", "kwargs.value is a builtins.bytes"),
    ],
)
def test_what_is_no_plain_data_is_refused_by_argument(
    value: object, named: str, net: Any, tmp_path: Path
) -> None:
    architecture = {"class_path": "gait.net:odd", "kwargs": {"value": value}}
    with pytest.raises(CaptureError, match=named):
        save(tmp_path, net.Net(4, [net.Layer()], net.squash), architecture)
    assert not (tmp_path / "best.mpt").exists()


@pytest.mark.parametrize(
    "architecture",
    [
        7,
        {},
        {"class_path": "gait.net:Net", "other": 1},
        {"class_path": "gait.net:Net", "fields": {}, "args": []},
        {"class_path": "gait.net:Missing"},
        {"class_path": "gait.nothere:Net"},
    ],
)
def test_architectures_that_say_nothing_are_refused(
    architecture: Any, net: Any, tmp_path: Path
) -> None:
    with pytest.raises(CaptureError):
        save(tmp_path, net.Net(4, [net.Layer()], net.squash), architecture)


class Colour(enum.Enum):
    RED = 1


@dataclasses.dataclass
class Point:
    x: Any
    y: Any = 0


HERE = {"m:Colour": Colour, "m:Colour.RED": Colour.RED, "m:Point": Point, "m:len": len}


def name_of(thing: Any, _: str) -> str:
    return f"m:{thing.__name__}"


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.sampled_from([Colour.RED, Point, len]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text(max_size=3), inner, max_size=3)
        | st.dictionaries(st.integers() | st.just("$ref"), inner, max_size=2)
        | st.builds(Point, inner, inner)
    ),
    max_leaves=8,
)


@given(values)
def test_plain_data_comes_back_as_it_was(value: Any) -> None:
    import yaml

    encoded = arch.encode(value, name_of, "value")
    text = arch.to_yaml({"class_path": "m:x", "args": [encoded]})
    again = yaml.safe_load(text)["args"][0]
    assert arch.decode(again, HERE.__getitem__, "value") == value


def test_unknown_marks_are_refused() -> None:
    for data in ({"$pickle": "x"}, {"$ref": "m:len", "more": 1}, {"$model": "m:Point"}):
        with pytest.raises(BuildError):
            arch.decode(data, HERE.__getitem__, "value")
