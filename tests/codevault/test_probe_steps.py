"""Probes of several steps: memory carried on, in the policy or from hand to hand; old files."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import codevault
from codevault import probe as probes
from codevault import probefile
from codevault.errors import CaptureError, CheckpointError, ProbeError
from codevault.tensorfile import parse, prepare

OBS = [torch.linspace(-1, 1, 12).reshape(4, 3) * step for step in (1, 2, 3)]
ASSETS = Path(__file__).parents[1] / "assets"


class Memory(nn.Module):
    """Keeps its memory in itself."""

    def __init__(self, keeps: float = 1.0) -> None:
        super().__init__()
        self.core = nn.LSTM(3, 5)
        self.keeps = keeps
        self.hidden: Any = None

    def forward(self, obs: Any) -> Any:
        out, (h, c) = self.core(obs[None], self.hidden)
        self.hidden = h * self.keeps, c * self.keeps
        return out


class Handed(nn.Module):
    """Is given its memory, and gives it back last."""

    def __init__(self) -> None:
        super().__init__()
        self.core = nn.LSTM(3, 5)

    def forward(self, obs: Any, state: Any) -> Any:
        out, state = self.core(obs[None], state)
        return out, out.argmax(-1), state


class Entry(nn.Module):
    """Has its memory in an entry of a dict or TensorDict."""

    def __init__(self, below_next: bool) -> None:
        super().__init__()
        self.core, self.below_next = nn.GRUCell(3, 5), below_next

    def forward(self, entries: Any) -> Any:
        hidden = self.core(entries["obs"], entries["hidden"])
        entries["logits"] = hidden * 2
        if self.below_next:
            entries["next"] = {"hidden": hidden}
        else:
            entries["hidden"] = hidden
        return entries


def made(make: Any) -> Any:
    torch.manual_seed(0)
    return make()


def again(recorded: probes.Probe) -> probes.Probe:
    data = probefile.to_bytes(recorded)
    read = probefile.from_bytes(data)
    assert probefile.to_bytes(read) == data
    return read


def test_memory_is_carried_over_the_steps() -> None:
    policy = made(Memory)
    recorded = again(probes.record(policy, OBS))
    assert policy.hidden is None
    assert len(recorded.inputs) == len(recorded.outputs) == 3
    hidden = None
    for obs, outputs in zip(OBS, recorded.outputs, strict=True):
        with torch.no_grad():
            out, hidden = policy.core(obs[None], hidden)
        (given,) = outputs.tensors.values()
        assert torch.equal(given, out)
    assert probes.check(policy, recorded, "a.mpt").compared == 3


def test_only_several_steps_find_that_memory_is_lost() -> None:
    forgets = made(lambda: Memory(keeps=0.0))
    assert probes.check(forgets, probes.record(made(Memory), OBS[0]), "a.mpt").ok
    with pytest.raises(ProbeError, match=r"at out\.[12]"):
        probes.check(forgets, probes.record(made(Memory), OBS), "a.mpt")


def test_a_list_of_one_is_one_step() -> None:
    policy = made(Memory)
    one, other = probes.record(policy, OBS[:1]), probes.record(policy, OBS[0])
    assert probefile.to_bytes(one) == probefile.to_bytes(other)


def test_arguments_left_out_are_the_end_of_what_was_returned() -> None:
    policy = made(Handed)
    recorded = again(probes.record(policy, [(OBS[0], None), OBS[1], (OBS[2],)]))
    by_hand = [(OBS[0], None)]
    for obs in OBS[1:]:
        with torch.no_grad():
            by_hand.append((obs, policy(*by_hand[-1])[-1]))
    with torch.no_grad():
        expected = [policy(*arguments)[0] for arguments in by_hand]
    for step, out in enumerate(expected):
        assert torch.equal(recorded.outputs[step].tensors[f"out.{step}.0"], out)
    assert probes.check(policy, recorded, "a.mpt").ok

    def forgets(obs: Any, state: Any) -> Any:
        out, greedy, state = policy(obs, state)
        return out, greedy, tuple(torch.zeros_like(part) for part in state)

    assert not probes.replay(forgets, recorded).ok


def test_a_step_without_what_it_needs_is_refused() -> None:
    with pytest.raises(CaptureError, match="step 1 has 1 of 2 arguments") as caught:
        probes.record(lambda obs, state: obs, [(OBS[0], None), OBS[1]])
    assert "Tensor" in caught.value.why
    with pytest.raises(CaptureError, match="no observations"):
        probes.record(made(Memory), [])
    with pytest.raises(CaptureError, match=r"in\.1\.0 \(object\)"):
        probes.record(made(Memory), [(OBS[0],), (object(),)])


@pytest.mark.parametrize("below_next", [False, True])
@pytest.mark.parametrize("kind", ["dict", "tensordict"])
def test_entries_left_out_are_those_that_were_returned(kind: str, below_next: bool) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tensordict = pytest.importorskip("tensordict")

    def given(entries: dict[str, Any]) -> Any:
        return entries if kind == "dict" else tensordict.TensorDict(entries, batch_size=[4])

    policy = made(lambda: Entry(below_next))
    steps = [given({"obs": OBS[0], "hidden": torch.zeros(4, 5)})]
    steps += [given({"obs": obs}) for obs in OBS[1:]]
    recorded = again(probes.record(policy, steps))
    hidden = torch.zeros(4, 5)
    for step, obs in enumerate(OBS):
        with torch.no_grad():
            hidden = policy.core(obs, hidden)
        assert torch.equal(recorded.outputs[step].tensors[f"out.{step}.logits"], hidden * 2)
    assert probes.check(policy, recorded, "a.mpt").ok


def test_a_loaded_policy_replays_all_steps(project: Any, tmp_path: Path) -> None:
    project.commit(
        {
            "src/gait/__init__.py": "",
            "src/gait/net.py": """
                import torch

                class Net(torch.nn.Module):
                    def __init__(self):
                        super().__init__()
                        self.core, self.spare = torch.nn.RNNCell(3, 5), torch.nn.Linear(2, 2)
                        self.hidden = None

                    def forward(self, obs):
                        self.hidden = self.core(obs, self.hidden)
                        return self.hidden
            """,
        }
    )
    net = project.load("gait.net").Net()
    manifest = codevault.save_policy(tmp_path / "best.mpt", net, probe=OBS)
    assert manifest.probe is not None
    assert (manifest.probe.steps, manifest.probe.inputs, manifest.probe.outputs) == (3, 3, 3)
    assert manifest.probe.untouched == ("spare.weight", "spare.bias")
    policy = codevault.load_policy(tmp_path / "best.mpt")
    known = codevault.provenance(policy)
    assert known.probe is not None
    assert known.probe.compared == 3
    assert known.manifest == manifest
    assert policy.hidden is None


# -- files of earlier formats ----------------------------------------------------------------------


class Golden(nn.Module):
    """The policy of `tests/assets/*/probe.safetensors`."""

    def __init__(self) -> None:
        super().__init__()
        self.core = nn.Linear(3, 2)
        with torch.no_grad():
            self.core.weight.copy_(torch.arange(6.0).reshape(2, 3) / 4)
            self.core.bias.copy_(torch.tensor([0.5, -0.5]))
        self.hidden: Any = None

    def forward(self, obs: Any) -> Any:
        given = self.core(obs["x"])
        self.hidden = given if self.hidden is None else self.hidden + given
        greedy, noise = self.hidden.argmax(-1), torch.rand(2)
        return {"logits": self.hidden, "greedy": greedy, "noise": noise, "n": 3}


@pytest.mark.parametrize(("form", "steps"), [(1, 1), (2, 3)])
def test_probes_of_each_format_load_for_ever(form: int, steps: int) -> None:
    data = (ASSETS / str(form) / "probe.safetensors").read_bytes()
    recorded = probefile.from_bytes(data)
    assert probefile.to_bytes(recorded) == data
    assert len(recorded.inputs) == steps
    found = probes.check(Golden(), recorded, "a.mpt")
    assert found.restored == ("hidden",)
    assert found.compared == 4 * steps
    policy = Golden()
    policy.core.bias.data += 0.01
    assert not probes.replay(policy, recorded).ok


@pytest.mark.parametrize(
    "change",
    [
        lambda raw: raw.update(format=3),
        lambda raw: raw.update(format=1),
        lambda raw: raw.update(inputs=raw["inputs"][:1], outputs=raw["outputs"][:1]),
        lambda raw: raw.update(inputs=raw["inputs"][:2]),
        lambda raw: raw.update(inputs=raw["inputs"][::-1]),
        lambda raw: raw.update(inputs=raw["inputs"] * 4096, outputs=raw["outputs"] * 4096),
        lambda raw: raw.update(inputs={}, outputs={}),
    ],
    ids=["format-3", "format-1", "one-step", "fewer-inputs", "reversed", "too-many", "no-list"],
)
def test_probes_of_several_steps_that_lie_are_refused(change: Any) -> None:
    data = (ASSETS / "2" / "probe.safetensors").read_bytes()
    tensors, metadata = parse(bytearray(data), 0, len(data), "a")
    raw = json.loads(metadata["probe"])
    change(raw)
    text = b"".join(map(bytes, prepare(tensors, {"probe": json.dumps(raw)}).chunks()))
    with pytest.raises(CheckpointError, match="probe is damaged"):
        probefile.from_bytes(text)


# -- near ties ------------------------------------------------------------------------------------


class Chooser(nn.Module):
    """Two actions whose logits differ by `gap`; gives the choice, as a tensor and as a number."""

    def __init__(self, gap: float, answers: bool = True) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.tensor([1.0, 1.0 + gap]))
        self.answers = answers

    def forward(self, obs: Any) -> Any:
        logits = self.logits + obs * 0
        chosen = logits.argmax(-1)
        return logits, chosen, int(chosen), bool(self.answers)


@pytest.mark.parametrize(("gap", "same"), [(1e-6, True), (2e-5, True), (1e-3, False)])
def test_choices_between_near_ties_are_no_difference(gap: float, same: bool) -> None:
    recorded = probes.record(Chooser(gap), torch.zeros(1))
    other = Chooser(-gap)
    found = probes.replay(other, recorded)
    assert found.ok is same
    if same:
        assert [text.endswith("(near ties)") for text in found.skipped] == [True, True]
        assert torch.equal(other.logits.detach(), torch.tensor([1.0, 1.0 - gap]))


def test_a_choice_that_is_no_tie_is_a_fault_however_close_the_rest() -> None:
    recorded = probes.record(lambda obs: (obs, obs.argmax(-1)), torch.tensor([1.0, 2.0]))
    found = probes.replay(lambda obs: (obs, obs.argmin(-1)), recorded)
    assert found.faults == ("out.1 differs in 1 of 1 int64 values",)
    answers = probes.replay(Chooser(1e-6, False), probes.record(Chooser(1e-6), torch.zeros(1)))
    assert answers.faults == ("out.3 is False, and was True",)
