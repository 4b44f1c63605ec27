"""Architectures as plain data, environments, and how a policy is built from them."""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import enum
import hashlib
import sys
import time
import tracemalloc
import types
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import codevault
from codevault import architecture as arch
from codevault.checkpoint import open_checkpoint, write_checkpoint
from codevault.errors import BuildError, CaptureError, CheckpointError
from codevault.fileforms import plain_yaml
from codevault.manifest import Manifest
from codevault.weights import prepare

CONFIG = {
    "src/gait/__init__.py": "",
    "src/gait/act.py": """
        import enum, torch
        class Kind(enum.Enum):
            HARD = 1
            SOFT = 2
        class Bits(enum.IntFlag):
            LEFT = 1
            RIGHT = 2
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


def test_arguments_that_no_load_could_call_with_are_refused_when_they_are_saved(
    net: Any, tmp_path: Path
) -> None:
    policy = net.Net(4, [net.Layer()], net.squash)
    cases: list[tuple[Any, str]] = [
        (None, "missing a required argument: 'obs'"),
        ({"class_path": net.Net, "args": [4]}, "missing a required argument: 'layers'"),
        ({"class_path": "gait.net.by_env", "kwargs": {"wdth": 3}}, "wdth"),
        ({"class_path": "gait.net:odd", "kwargs": 3}, "not iterable"),
    ]
    for architecture, why in cases:
        with pytest.raises(CaptureError, match="no load could build the policy") as caught:
            save(tmp_path, policy, architecture)
        assert why in caught.value.why
        assert "class_path" in caught.value.hint
    assert not (tmp_path / "best.mpt").exists()


def test_a_policy_that_moves_itself_is_returned_all_the_same(project: Any, tmp_path: Path) -> None:
    project.commit(
        {
            "src/gait/__init__.py": "",
            "src/gait/own.py": "import torch\nclass Own:\n"
            "    def __init__(self): self.w = torch.ones(2)\n"
            "    def state_dict(self): return {'w': self.w}\n"
            "    def load_state_dict(self, state): self.w = state['w']\n"
            "    def to(self, device): self.w = self.w.to(device)\n"
            "    def __call__(self, obs): return obs * self.w\n",
        }
    )
    own = project.load("gait.own").Own()
    codevault.save_policy(tmp_path / "best.mpt", own, probe=torch.ones(2))
    assert torch.equal(load(tmp_path)(torch.ones(2)), torch.ones(2))


def test_a_combination_of_flags_is_no_name(net: Any, tmp_path: Path) -> None:
    bits: Any = sys.modules["gait.act"].__dict__["Bits"]
    policy = net.odd(1)
    save(tmp_path, policy, {"class_path": net.odd, "kwargs": {"value": bits.LEFT}})
    load(tmp_path)
    with pytest.raises(CaptureError, match=r"kwargs\.value is a gait") as caught:
        save(tmp_path, policy, {"class_path": net.odd, "kwargs": {"value": bits.LEFT | bits.RIGHT}})
    assert "int(...)" in caught.value.hint


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
    encoded = arch.encode(value, name_of, "value")
    text = arch.to_yaml({"class_path": "m:x", "args": [encoded]})
    again = plain_yaml(text, "a")["args"][0]
    assert arch.decode(again, HERE.__getitem__, "value") == value


def test_unknown_marks_are_refused() -> None:
    for data in ({"$pickle": "x"}, {"$ref": "m:len", "more": 1}, {"$model": "m:Point"}):
        with pytest.raises(BuildError):
            arch.decode(data, HERE.__getitem__, "value")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"$dict": [[[1], 2]]}, "has a key that is none"),
        ({"$dict": [[1]]}, "unknown mark"),
        ({"$dict": [[1, 2, 3]]}, "unknown mark"),
        ({"$dict": ["ab"]}, "unknown mark"),
        ({"$dict": [[{"$model": "m:Point", "fields": {"x": 1}}, 2]]}, "has a key that is none"),
        ({"$x": 1, 3: 2}, "unknown mark"),
        ({"$model": "m:Point", "fields": {"$dict": [[1, 2]]}}, "refuses its fields"),
        ([datetime.date(2021, 1, 1)], "is a date, which is no plain data"),
        ("\ud800", "not Unicode"),
        (1 << 9000, "8192 bits"),
    ],
)
def test_data_that_no_value_encodes_to_are_refused(data: object, message: str) -> None:
    with pytest.raises(BuildError, match=message):
        arch.decode(data, HERE.__getitem__, "value")


def test_loops_and_data_that_multiply_are_refused() -> None:
    loop: list[Any] = []
    loop.append(loop)
    laughs: list[Any] = ["ha"]
    for _ in range(30):
        laughs = [laughs] * 10
    for data, message in ((loop, "64 levels deep"), (laughs, "1,000,000 values")):
        with pytest.raises(BuildError, match=message):
            arch.decode(data, HERE.__getitem__, "value")
    deep: Any = 1
    for _ in range(5000):
        deep = [deep]
    for value in (loop, deep, {"a": "\ud800"}, 1 << 9000):
        with pytest.raises(CaptureError, match="value"):
            arch.encode(value, name_of, "value")


def architecture_of(folder: Path, text: bytes) -> dict[str, Any]:
    weights = prepare({})
    manifest = Manifest(
        codevault="0.1.0",
        digest="0" * 64,
        roots=(".",),
        python="3.11",
        packages={},
        architecture=hashlib.sha256(text).hexdigest(),
        weights=weights.sha256,
        created="2026-01-01T00:00:00Z",
    )
    write_checkpoint(folder / "a.mpt", manifest=manifest, architecture=text, weights=weights)
    return arch.read(open_checkpoint(folder / "a.mpt"))


LAUGHS = b"class_path: m.x\na: &a [1,1,1,1,1,1,1,1,1]\n" + b"".join(
    b"%c: &%c [%s]\n" % (i + 1, i + 1, b",".join([b"*%c" % i] * 9)) for i in range(97, 115)
)


@pytest.mark.parametrize(
    "text",
    [
        b"class_path: m.x\nargs: " + b"[" * 3000,
        b"class_path: m.x\nargs: " + b"[" * 3000 + b"]" * 3000,
        b"class_path: m.x\nargs:\n" + b"".join(b" " * i + b"- \n" for i in range(200)),
        b"class_path: m.x\nargs: [2021-99-99]\n",
        b"class_path: m.x\nargs: [0b_]\n",
        b"class_path: m.x\nargs: [1" + b":1" * 500_000 + b"]\n",
        b"class_path: m.x\nargs: [" + b"9" * 5000 + b"]\n",
        b"class_path: m.x\nargs: [!!int '']\n",
        b"class_path: m.x\nargs: [!!timestamp x]\n",
        b"class_path: m.x\nargs: [!!bool x]\n",
        b"class_path: m.x\nargs: [!!python/object/apply:os.system [x]]\n",
        b"class_path: m.x\nargs: &a [*a]\n",
        b"class_path: m.x\n? [a]\n: 1\n",
        b"class_path: m.x\n---\nclass_path: m.x\n",
        b"class_path: m.x\nargs: 5\n",
        b"class_path: m.x\nkwargs: [1]\n",
        b"class_path: m.x\nfields: ~\n",
        b"class_path: ''\n",
        b"class_path: [m]\n",
        b'class_path: "m.x\\n  do:  curl"\n',
        b'class_path: "\\uD800"\n',
        b"\xff\xfe\x00",
        b"[class_path]",
        b"",
        LAUGHS,
    ],
)
def test_hostile_architectures_are_refused_in_time_and_memory(tmp_path: Path, text: bytes) -> None:
    start = time.process_time()
    tracemalloc.start()
    try:
        with pytest.raises(CheckpointError, match=r"damaged policy_architecture\.yaml"):
            architecture_of(tmp_path, text)
        assert tracemalloc.get_traced_memory()[1] < 64 << 20
    finally:
        tracemalloc.stop()
    assert time.process_time() - start < 10


def test_texts_like_numbers_stay_texts(tmp_path: Path) -> None:
    values = [
        "1" + ":1" * 200,
        "2021-99-99",
        "0b_",
        "<<",
        "=",
        "*a",
        "&a",
        "!!int",
        "\U0001f600",
        "~",
    ]
    text = arch.to_yaml({"class_path": "m.x", "args": values, "kwargs": {"<<": 1, "=": 2}})
    assert architecture_of(tmp_path, text) == {
        "class_path": "m.x",
        "args": values,
        "kwargs": {"<<": 1, "=": 2},
    }


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (Path("runs/a"), "runs/a"),
        ({3, 1}, [1, 3]),
        (torch.bfloat16, "torch.bfloat16"),
        (torch.device("cpu"), "cpu"),
        (torch.arange(3), [0, 1, 2]),
        (torch.nn.Parameter(torch.ones(1)), [1.0]),
        (numpy.arange(3), [0, 1, 2]),
        (numpy.int64(4), 4),
        (argparse.Namespace(hidden=8), {"hidden": 8}),
        (types.SimpleNamespace(hidden=8), {"hidden": 8}),
    ],
)
def test_the_line_for_a_value_that_is_no_plain_data_makes_plain_data_of_it(
    value: Any, plain: Any
) -> None:
    with pytest.raises(CaptureError, match="is no plain data") as caught:
        arch.encode(value, str, "value")
    made = eval(caught.value.hint)
    assert made == plain
    assert arch.encode(made, str, "value") == plain


def test_an_omegaconf_argument_has_its_line_too() -> None:
    omegaconf = pytest.importorskip("omegaconf")
    value = omegaconf.OmegaConf.create({"hidden": 8, "twice": "${hidden}"})
    with pytest.raises(CaptureError) as caught:
        arch.encode({"cfg": value}, str, "kwargs")
    names = {"OmegaConf": omegaconf.OmegaConf, "kwargs": types.SimpleNamespace(cfg=value)}
    assert eval(caught.value.hint, names) == {"hidden": 8, "twice": 8}


def test_a_module_as_an_argument_wants_a_function_that_makes_it() -> None:
    with pytest.raises(CaptureError) as caught:
        arch.encode([torch.nn.ReLU()], str, "args")
    assert "make_policy" in caught.value.hint
    assert "args[0]" in caught.value.hint
