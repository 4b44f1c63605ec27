"""The probe: what it records, what it finds, and that the policy stays as it was."""

from __future__ import annotations

import copy
import dataclasses
import json
import random
import threading
import warnings
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from codevault import probe as probes
from codevault import probecopy, probefile
from codevault.comparison import Comparison
from codevault.errors import CaptureError, CheckpointError, ProbeError
from codevault.tensorfile import parse, prepare
from codevault.tensortree import equal, pack, unpack

if TYPE_CHECKING:
    from collections.abc import Callable

    Change = Callable[[dict[str, Any]], object]

OBS = torch.linspace(-1, 1, 32).reshape(4, 8)


class Output(NamedTuple):
    logits: torch.Tensor
    value: torch.Tensor


@dataclasses.dataclass
class Step:
    action: torch.Tensor
    info: dict[str, Any]


class Mlp(nn.Module):
    """Two heads over a normalised observation."""

    def __init__(self, slope: float = 0.1) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(8))
        self.net = nn.Sequential(nn.Linear(8, 16), nn.LeakyReLU(slope), nn.Dropout(0.5))
        self.logits, self.value = nn.Linear(16, 5), nn.Linear(16, 5)

    def forward(self, obs: Any) -> Any:
        hidden = self.net(obs - self.mean)
        return Output(self.logits(hidden), self.value(hidden))


class Recurrent(nn.Module):
    """Keeps its state in an attribute, in a dict, in a buffer and in a counter."""

    trace: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.core, self.head = nn.LSTM(8, 16, batch_first=True), nn.Linear(16, 3)
        self.hidden: Any = None
        self.seen: dict[str, Any] = {}
        self.steps = 0
        self.register_buffer("trace", torch.zeros(16), persistent=False)

    def forward(self, obs: Any) -> Any:
        out, self.hidden = self.core(obs, self.hidden)
        self.seen["last"] = out + self.seen.get("last", 0)
        self.steps += 1
        self.trace.mul_(0.5).add_(out.mean(0))
        return self.head(out) + self.trace.sum() + self.seen["last"].sum() + self.steps


class Sampler(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(8, 64)

    def forward(self, obs: Any) -> Any:
        dist: Any = torch.distributions.Categorical(logits=self.net(obs))
        action = dist.sample()
        return {"action": action, "noise": torch.rand(4), "dist": dist, "greedy": dist.mode}


class Norm(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.Linear(8, 2))
        self.count: Any = nn.Parameter(torch.zeros(1), requires_grad=False)

    def forward(self, obs: Any) -> Any:
        self.count += 1  # a parameter that a forward pass writes to
        return self.net(obs)


class Uncopyable(Recurrent):
    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.Lock()
        self.generator = torch.Generator().manual_seed(1)
        self.log: list[int] = []
        self.scratch = torch.zeros(3)

    def forward(self, obs: Any) -> Any:
        self.log.append(1)
        self.scratch += 1
        self.fresh = obs
        noise = torch.rand(1, generator=self.generator)
        return super().forward(obs) + noise


class Closure(nn.Module):
    """Calls itself through a function, which a copy would share."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(8, 4), nn.Dropout(0.5))
        self.call: Any = lambda obs: self.net(obs)

    def forward(self, obs: Any) -> Any:
        return self.call(obs)


def transformer() -> nn.Module:
    return nn.TransformerEncoderLayer(8, 2, 16, dropout=0.3, batch_first=True)


def made(make: Callable[[], nn.Module], seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return make()


def state(policy: nn.Module) -> dict[str, Any]:
    """All state of a policy, as values that can be compared."""
    found: dict[str, Any] = {}
    for path, module in policy.named_modules():
        parts = {**module._parameters, **module._buffers, **vars(module)}
        for name, value in parts.items():
            if name.startswith("_") or name == "lock":
                continue
            if isinstance(value, torch.Generator):
                value = value.get_state()
            nest = pack(value, "x")
            found[f"{path}.{name}"] = (
                nest.structure,
                {key: tensor.tolist() for key, tensor in nest.tensors.items()},
            )
    return found


def randomness() -> list[Any]:
    return [
        torch.random.get_rng_state().tolist(),
        random.getstate(),
        repr(numpy.random.get_state(legacy=False)),
    ]


ALL: list[Callable[[], nn.Module]] = [
    Mlp,
    Recurrent,
    Sampler,
    Norm,
    Uncopyable,
    Closure,
    transformer,
]


@pytest.mark.parametrize("make", ALL)
def test_a_rebuilt_policy_gives_the_recorded_outputs(make: Callable[[], nn.Module]) -> None:
    policy = made(make)
    data = probefile.to_bytes(probes.record(policy, OBS))
    fresh = made(make, seed=1)
    fresh.load_state_dict(policy.state_dict())
    replay = probes.check(fresh, probefile.from_bytes(data), "best.mpt")
    assert replay.ok
    assert (replay.difference, replay.faults) == (0.0, ())
    with pytest.raises(ProbeError, match="outputs differ"):
        probes.check(made(make, seed=1), probefile.from_bytes(data), "best.mpt")


@pytest.mark.parametrize("make", ALL)
def test_the_policy_stays_as_it_was(make: Callable[[], nn.Module]) -> None:
    policy = made(make)
    policy(OBS)  # in training mode, with state, and noise in the generators
    next(policy.children()).eval()
    before, streams, grad = state(policy), randomness(), torch.is_grad_enabled()
    objects = {name: id(p) for name, p in policy.named_parameters()}
    recorded = probes.record(policy, OBS)
    assert probes.replay(policy, recorded).ok
    assert state(policy) == before
    assert randomness() == streams
    assert torch.is_grad_enabled() == grad
    assert objects == {name: id(p) for name, p in policy.named_parameters()}
    assert [p.grad for p in policy.parameters()] == [None] * len(objects)


@pytest.mark.parametrize("make", [Uncopyable, Closure])
def test_those_that_cannot_be_copied_run_themselves(make: Callable[[], nn.Module]) -> None:
    policy = made(make)
    with probecopy.understudy_of(policy, 0) as stage:
        assert stage.policy is policy
        assert not stage.isolated
        assert not any(module.training for module in policy.modules())
    assert all(module.training for module in policy.modules())
    with probecopy.understudy_of(made(Mlp), 0) as stage:
        assert stage.isolated


def test_what_slots_hold_is_part_of_a_policy() -> None:
    class Slotted(Mlp):
        __slots__ = ("count",)
        count: torch.Tensor

        def forward(self, obs: torch.Tensor) -> Any:
            self.count = self.count + 1
            return super().forward(obs).logits + self.count

    policy = made(Slotted)
    policy.count = torch.full((), 3.0)
    recorded = probes.record(policy, OBS)
    assert policy.count == 3.0
    fresh = made(Slotted)
    fresh.count = torch.zeros(())
    assert probes.check(fresh, probefile.from_bytes(probefile.to_bytes(recorded)), "a.mpt").ok
    assert fresh.count == 0.0


def test_a_policy_that_raises_stays_as_it_was() -> None:
    class Failing(Uncopyable):
        def forward(self, obs: Any) -> Any:
            super().forward(obs)
            raise ZeroDivisionError("no")

    policy = made(Failing)
    before, streams = state(policy), randomness()
    with pytest.raises(CaptureError, match="ZeroDivisionError"):
        probes.record(policy, OBS)
    assert (state(policy), randomness()) == (before, streams)
    recorded = probes.record(made(Mlp), OBS)
    with pytest.raises(ProbeError, match="ZeroDivisionError"):
        probes.check(policy, recorded, "a.mpt")


def test_large_parameters_are_shared_and_small_ones_are_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(probecopy, "_ALL", 0)
    monkeypatch.setattr(probecopy, "_LARGE", 100)
    policy: Any = made(Norm)
    with probecopy.understudy_of(policy, 0) as stage:
        assert stage.policy.net[0].weight is policy.net[0].weight
        assert stage.policy.count is not policy.count
        assert stage.policy.net[1].running_mean is not policy.net[1].running_mean


def test_recurrent_state_that_was_there_when_saved_is_part_of_the_probe() -> None:
    policy = made(Recurrent)
    for _ in range(3):
        policy(OBS)
    recorded = probefile.from_bytes(probefile.to_bytes(probes.record(policy, OBS)))
    fresh: Any = made(Recurrent)
    replay = probes.check(fresh, recorded, "a.mpt")
    assert set(replay.restored) == {"hidden", "seen", "steps", "trace"}
    assert fresh.hidden is None
    assert fresh.steps == 0
    other = probes.replay(made(Mlp), recorded)
    assert not other.ok


class Dicey(nn.Module):
    """Draws from generators of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(8, 4)
        self.noise = torch.Generator().manual_seed(1)
        self.dice, self.rolls = random.Random(1), numpy.random.default_rng(1)

    def forward(self, obs: Any) -> Any:
        drawn = torch.rand(4, generator=self.noise) + self.dice.random() + self.rolls.random()
        return self.net(obs) * drawn


def test_generators_of_its_own_go_on_from_where_they_were_when_saved() -> None:
    """A policy that was trained for a while is not the one that its class makes."""
    policy, fresh = made(Dicey), made(Dicey)
    policy(OBS)
    recorded = probefile.from_bytes(probefile.to_bytes(probes.record(policy, OBS)))
    for _ in range(2):  # and the policy that was loaded keeps its own
        replay = probes.check(fresh, recorded, "a.mpt")
        assert replay.difference == 0.0
    names = {f"{name}.<generator>" for name in ("noise", "dice", "rolls")}
    assert set(replay.restored) == names
    assert torch.equal(fresh(OBS), made(Dicey)(OBS))
    other = probes.replay(made(Mlp), recorded)
    assert {text.partition(" ")[0] for text in other.skipped} == {f"state.{n}" for n in names}


def test_a_state_attribute_without_a_place_is_listed() -> None:
    class Outer(nn.Module):
        def __init__(self, part: nn.Module) -> None:
            super().__init__()
            self.part = part

        def forward(self, obs: Any) -> Any:
            return self.part(obs)

    policy = made(lambda: Outer(Recurrent()))
    recorded = probes.record(policy, OBS)
    assert recorded.state.structure["keys"][0] == "part.hidden"
    replay = probes.replay(Outer(made(Mlp)).part, recorded)
    assert any("no place" in text for text in replay.skipped)


# -- planted faults -------------------------------------------------------------------------------


def plant_swapped_heads(policy: Any) -> None:
    policy.logits, policy.value = policy.value, policy.logits


def plant_changed_default(policy: Any) -> None:
    policy.net[1] = nn.LeakyReLU(0.11)


def plant_dropped_buffer(policy: Any) -> None:
    policy.mean = torch.zeros(8)


def plant_scaled_weight(policy: Any) -> None:
    policy.logits.weight.data *= 1.01


def plant_one_weight(policy: Any) -> None:
    policy.value.weight.data[0, 0] += 0.01


def plant_double(policy: Any) -> None:
    policy.double()


@pytest.mark.parametrize(
    "plant",
    [
        plant_swapped_heads,
        plant_changed_default,
        plant_dropped_buffer,
        plant_scaled_weight,
        plant_one_weight,
    ],
)
def test_planted_faults_are_found(plant: Callable[[Any], None]) -> None:
    policy: Any = made(Mlp)
    policy.mean += 0.3
    recorded = probes.record(policy, OBS)
    broken = copy.deepcopy(policy)
    plant(broken)
    with pytest.raises(ProbeError) as caught:
        probes.check(broken, recorded, "best.mpt")
    text = str(caught.value)
    assert "outputs differ: max " in text
    assert " at out." in text
    assert "scale" in text
    assert "tolerance" in text
    assert "codevault.load_policy('best.mpt', probe=False)" in text
    assert probes.replay(policy, recorded).ok


def test_batch_statistics_that_were_not_loaded_are_found() -> None:
    policy: Any = made(Norm)
    policy.net[1].running_mean += 1
    recorded = probes.record(policy, OBS)
    fresh = made(Norm)
    fresh.load_state_dict({**policy.state_dict(), "net.1.running_mean": torch.zeros(8)})
    assert not probes.replay(fresh, recorded).ok


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (lambda x: x, lambda x: x.double(), "has float64, and had float32"),
        (lambda x: x, lambda x: x[:, :3], r"has shape \[4, 3\], and had \[4, 8\]"),
        (lambda x: (x, x), lambda x: [x, x], "is a list, and was a tuple"),
        (lambda x: {"a": x, "b": x}, lambda x: {"a": x}, "lacks b"),
        (lambda x: {"a": x}, lambda x: {"a": x, "c": x}, "has c besides"),
        (lambda x: (x, 3), lambda x: (x, 4), "out.1 is 4, and was 3"),
        (lambda x: (x, 1), lambda x: (x, True), "out.1 is True, and was 1"),
        (lambda x: (x, "a"), lambda x: (x, "b"), "out.1 is 'b'"),
        (lambda x: (x, None), lambda x: (x, x), "is a tensor, and was a value"),
        (lambda x: (x, 0.5), lambda x: (x, 0.6), "max 0.1 at out.1"),
        (lambda x: x > 0, lambda x: x > 0.5, "out differs in .* of 32 bool values"),
        (lambda x: x / 0, lambda x: x, "max inf at out"),
        (lambda x: x, lambda x: x * float("nan"), "max inf"),
        (lambda x: Output(x, x), lambda x: Output(x, -x), r"at out\.value"),
        (lambda x: Step(x, {"a": 1}), lambda x: Step(x, {"a": 2}), r"out\.info\.a is 2"),
        (lambda x: x.numpy(), lambda x: x.numpy() + 1, "max 1 at out"),
    ],
)
def test_changed_outputs_are_described(
    old: Callable[[Any], Any], new: Callable[[Any], Any], message: str
) -> None:
    recorded = probefile.from_bytes(probefile.to_bytes(probes.record(old, OBS)))
    assert probes.check(old, recorded, "a.mpt").ok
    with pytest.raises(ProbeError, match=message):
        probes.check(new, recorded, "a.mpt")


@pytest.mark.parametrize(
    ("dtype", "inside", "outside"),
    [
        (torch.float64, 1e-10, 1e-7),
        (torch.float32, 5e-5, 1e-3),
        (torch.float16, 1e-2, 1e-1),
        (torch.bfloat16, 1e-2, 1e-1),
        (torch.complex64, 5e-5, 1e-3),
    ],
)
def test_tolerances_are_relative_to_the_scale(
    dtype: torch.dtype, inside: float, outside: float
) -> None:
    base = torch.tensor([1.0, -1000.0, 3.0]).to(dtype)
    recorded = probes.record(lambda _: base, OBS)
    assert probes.replay(lambda _: base * (1 + inside), recorded).ok
    assert not probes.replay(lambda _: base * (1 + outside), recorded).ok


def test_infinities_and_nan_equal_themselves() -> None:
    odd = torch.tensor([float("nan"), float("inf"), -float("inf"), 1.0])
    recorded = probefile.from_bytes(
        probefile.to_bytes(probes.record(lambda _: (odd, float("nan")), OBS))
    )
    assert probes.check(lambda _: (odd, float("nan")), recorded, "a").ok
    assert not probes.replay(lambda _: (-odd, float("nan")), recorded).ok


def test_a_probe_that_could_never_fail_is_refused() -> None:
    for give in (lambda _: None, lambda _: 3, lambda _: object(), lambda _: torch.zeros(0)):
        with pytest.raises(CaptureError, match="never fail"):
            probes.record(give, OBS)


# -- forms of call --------------------------------------------------------------------------------


def test_observations_of_every_form() -> None:
    def take(*args: Any, **named: Any) -> Any:
        assert not named
        return torch.tensor(float(len(args))), [type(arg).__name__ for arg in args]

    cases: list[tuple[Any, list[str]]] = [
        (OBS, ["Tensor"]),
        ((OBS, None, 3, 0.5, True, "x"), ["Tensor", "NoneType", "int", "float", "bool", "str"]),
        ({"a": OBS, 3: [OBS, (OBS,)]}, ["dict"]),
        (([OBS, OBS],), ["list"]),
        ((numpy.arange(3.0),), ["ndarray"]),
        (lambda: (OBS, {"deep": {"er": OBS}}), ["Tensor", "dict"]),
    ]
    for observations, names in cases:
        recorded = probefile.from_bytes(probefile.to_bytes(probes.record(take, observations)))
        assert probes.check(take, recorded, "a").ok
        assert unpack(recorded.outputs[0], {})[1] == names
    assert len(recorded.inputs) == 1
    with pytest.raises(CaptureError, match=r"in\.1 \(object\)"):
        probes.record(take, (OBS, object()))
    with pytest.raises(CaptureError, match=r"in \(Output\)"):
        probes.record(take, Output(OBS, OBS))
    with pytest.raises(CaptureError, match="sparse"):
        probes.record(take, torch.eye(3).to_sparse())


def test_a_policy_that_writes_to_its_observations_does_not_change_the_probe() -> None:
    def greedy(obs: Any) -> Any:
        obs["x"] += 1
        obs["new"] = obs["x"] * 2
        return obs

    given = {"x": OBS.clone(), "untouched": OBS.clone()}
    recorded = probes.record(greedy, given)
    assert torch.equal(given["x"], OBS)
    assert set(recorded.outputs[0].tensors) == {"out.x", "out.new"}
    for _ in range(2):
        assert probes.check(greedy, recorded, "a").ok
    with pytest.raises(ProbeError, match=r"max 1 at out\.x"):
        probes.check(lambda obs: obs | {"new": (obs["x"] + 1) * 2}, recorded, "a")

    def other(obs: Any) -> Any:
        obs["untouched"] = -obs["untouched"]
        return greedy(obs)

    with pytest.raises(ProbeError, match="has untouched besides"):
        probes.check(other, recorded, "a")


def test_tensordict_policies() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tensordict = pytest.importorskip("tensordict")
        from tensordict.nn import TensorDictModule
    policy: Any = TensorDictModule(made(Mlp), in_keys=["obs"], out_keys=["logits", "value"])
    given = tensordict.TensorDict(
        {"obs": OBS.clone(), "meta": {"id": torch.arange(4)}}, batch_size=[4]
    )
    recorded = probefile.from_bytes(probefile.to_bytes(probes.record(policy, given)))
    assert sorted(str(key) for key in given.keys()) == ["meta", "obs"]  # noqa: SIM118
    assert set(recorded.outputs[0].tensors) == {"out.logits", "out.value"}
    rebuilt = unpack(recorded.inputs[0], {})
    assert rebuilt.batch_size == torch.Size([4])
    assert torch.equal(rebuilt["meta", "id"], torch.arange(4))
    assert probes.check(policy, recorded, "a").ok
    swapped: Any = TensorDictModule(made(Mlp), in_keys=["obs"], out_keys=["value", "logits"])
    with pytest.raises(ProbeError, match=r"at out\.(logits|value)"):
        probes.check(swapped, recorded, "a")


def test_distributions_are_compared_by_their_parameters() -> None:
    d = torch.distributions

    def give(shift: float) -> Callable[[Any], Any]:
        return lambda obs: {
            "normal": d.Normal(obs + shift, torch.ones_like(obs)),
            "independent": d.Independent(d.Normal(obs, torch.ones_like(obs)), 1),
            "squashed": d.TransformedDistribution(
                d.Normal(obs, torch.ones_like(obs)), [d.TanhTransform()]
            ),
            "multi": d.MultivariateNormal(torch.zeros(2), torch.eye(2)),
        }

    recorded = probefile.from_bytes(probefile.to_bytes(probes.record(give(0), OBS)))
    assert probes.check(give(0), recorded, "a").skipped == ()
    with pytest.raises(ProbeError, match=r"max 0.5 at out\.normal\.loc"):
        probes.check(give(0.5), recorded, "a")


def test_what_cannot_be_compared_is_listed() -> None:
    recorded = probes.record(lambda x: (x, object(), torch.eye(2).to_sparse()), OBS)
    replay = probes.replay(lambda x: (x, object(), None), recorded)
    assert replay.ok
    assert replay.compared == 1
    assert [text.split(" ")[0] for text in replay.skipped] == ["out.1", "out.2"]


# -- random numbers -------------------------------------------------------------------------------


def test_sampled_outputs_are_known_and_skipped_on_another_kind_of_device() -> None:
    policy = made(Sampler)
    recorded = probefile.from_bytes(probefile.to_bytes(probes.record(policy, OBS)))
    assert recorded.drawn
    assert set(recorded.sampled) == {"out.action", "out.noise"}
    torch.manual_seed(99)
    assert probes.check(policy, recorded, "a").compared == 5
    assert not probes.record(made(Mlp), OBS).drawn

    elsewhere = dataclasses.replace(recorded, device="cuda")
    replay = probes.check(policy, elsewhere, "a")
    skipped = {text.split(" ")[0] for text in replay.skipped}
    assert skipped == {"out.action", "out.noise", "out.greedy"}
    assert replay.compared == 2


def test_python_and_numpy_random_numbers_are_seeded_too() -> None:
    def give(obs: Any) -> Any:
        return obs * random.random() * float(numpy.random.rand())

    recorded = probes.record(give, OBS)
    assert recorded.drawn
    assert recorded.sampled == ("out",)
    random.random(), numpy.random.rand()
    assert probes.check(give, recorded, "a").difference == 0


def test_nothing_comparable_is_a_mismatch() -> None:
    empty = pack(object(), "out")
    comparison = Comparison({})
    comparison.run(empty, empty)
    assert not comparison.result(()).ok


# -- bytes ----------------------------------------------------------------------------------------

leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=5),
    st.tuples(
        st.sampled_from([torch.float32, torch.int64, torch.bool, torch.bfloat16]),
        st.lists(st.integers(0, 3), max_size=3),
    ).map(lambda drawn: torch.ones(drawn[1], dtype=drawn[0])),
)
keys = st.one_of(st.text(max_size=4), st.integers(0, 9))
trees = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(keys, inner, max_size=3),
    ),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(trees)
def test_any_nested_value_comes_back(tree: Any) -> None:
    nest = pack(tree, "in")
    again = pack(unpack(nest, {}), "in")
    assert equal(nest, again)
    assert json.loads(json.dumps(nest.structure)) == nest.structure
    recorded = probes.record(lambda *args: (OBS, args), tree if type(tree) is tuple else (tree,))
    data = probefile.to_bytes(recorded)
    read = probefile.from_bytes(data)
    assert probefile.to_bytes(read) == data
    assert all(map(equal, read.inputs, recorded.inputs))
    assert all(map(equal, read.outputs, recorded.outputs))
    assert probes.replay(lambda *args: (OBS, args), read).ok


def test_damaged_probes_are_refused() -> None:
    data = probefile.to_bytes(probes.record(made(Mlp), OBS))
    for length in range(0, len(data), 97):
        with pytest.raises(CheckpointError):
            probefile.from_bytes(data[:length])
    for text in ("", "{", "[]", "null", '{"format": 2}', '{"format": 1}'):
        prepared = prepare({"in": OBS}, {"probe": text})
        with pytest.raises(CheckpointError):
            probefile.from_bytes(b"".join(map(bytes, prepared.chunks())))
    with pytest.raises(CheckpointError):
        probefile.from_bytes(b"".join(map(bytes, prepare({}, {}).chunks())))
    for place in range(0, len(data), 31):
        flipped = bytearray(data)
        flipped[place] ^= 4
        try:
            probes.replay(made(Mlp), probefile.from_bytes(bytes(flipped)))
        except CheckpointError:
            continue


def edited(change: Change) -> bytes:
    """A probe whose JSON was changed, with everything else in order."""
    text = probefile.to_bytes(probes.record(made(Mlp), OBS))
    tensors, metadata = parse(bytearray(text), 0, len(text), "a")
    raw = json.loads(metadata["probe"])
    change(raw)
    return b"".join(map(bytes, prepare(tensors, {"probe": json.dumps(raw)}).chunks()))


def deep(raw: dict[str, Any]) -> None:
    for _ in range(50):
        raw["inputs"] = {"kind": "list", "path": "in", "items": [raw["inputs"]]}


CHANGES: list[Change] = [
    lambda raw: raw.update(seed=float("inf")),
    lambda raw: raw.update(seed="7"),
    lambda raw: raw.update(seed=1 << 32),
    lambda raw: raw.update(seed=-1),
    lambda raw: raw.update(sampled=[["out"]]),
    lambda raw: raw.update(sampled="out", device=7),
    lambda raw: raw.update(tolerances={"float32": [10**400, 1]}),
    lambda raw: raw.update(tolerances={"float32": [1]}),
    lambda raw: raw.update(tolerances=[]),
    lambda raw: raw.update(drawn="yes"),
    lambda raw: raw.update(format=[2]),
    lambda raw: raw.update(state=raw["inputs"]),
    lambda raw: raw["state"].update(keys=[1], items=[{"kind": "value", "path": "x", "value": 1}]),
    lambda raw: raw.update(inputs={"kind": "other", "path": "in", "type": "x"}),
    lambda raw: raw.update(inputs={"kind": "value", "path": "in", "value": [1]}),
    lambda raw: raw.update(inputs={"kind": "float", "path": "in", "value": 1.0}),
    lambda raw: raw.update(inputs={"kind": "float", "path": "in", "value": "one"}),
    lambda raw: raw.update(inputs={"kind": ["list"], "path": "in", "items": []}),
    lambda raw: raw.update(inputs={"kind": "list", "path": ["in"], "items": []}),
    lambda raw: raw.update(inputs={"kind": "list", "path": "in", "items": {}}),
    lambda raw: raw.update(inputs={"kind": "list", "path": "in", "items": [], "batch": [1]}),
    lambda raw: raw.update(inputs={"kind": "dict", "path": "in", "keys": [[]], "items": [1]}),
    lambda raw: raw.update(
        inputs={
            "kind": "dict",
            "path": "in",
            "keys": ["a", "a"],
            "items": [{"kind": "value", "path": "x", "value": 1}] * 2,
        }
    ),
    lambda raw: raw.update(inputs={"kind": "tensor", "path": "out", "device": "cpu"}),
    lambda raw: raw.update(inputs={"kind": "tensor", "path": "in", "device": ["cpu"]}),
    deep,
]


@pytest.mark.parametrize("change", CHANGES, ids=map(str, range(len(CHANGES))))
def test_probes_that_lie_are_refused(change: Change) -> None:
    with pytest.raises(CheckpointError, match="probe is damaged") as caught:
        probefile.from_bytes(edited(change))
    assert caught.value.why.isprintable()
    assert caught.value.hint.startswith("codevault.load_policy(uri, probe=False)")


def test_what_a_probe_says_of_itself_is_shown_in_one_line() -> None:
    read = probefile.from_bytes(
        edited(lambda raw: raw.update(torch="2\n  do:  curl", device="cpu"))
    )
    assert read.torch == "2\\n  do:  curl"


def test_defaults_of_the_process_are_left_alone() -> None:
    torch.set_default_dtype(torch.float64)
    try:
        policy = made(Mlp)
        recorded = probes.record(policy, OBS.double())
        assert torch.get_default_dtype() is torch.float64
        assert probes.check(policy, recorded, "a").ok
    finally:
        torch.set_default_dtype(torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        recorded = probes.record(made(Mlp), OBS)
        assert torch.is_autocast_enabled("cpu")
    assert recorded.outputs[0].tensors["out.logits"].dtype is torch.float32
