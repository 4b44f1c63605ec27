"""Which parameters a probe covers; and that float32 is float32 while it runs."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from codevault import coverage
from codevault import probe as probes
from codevault.precision import full_precision

OBS = torch.ones(2, 4)


class Parts(nn.Module):
    """One head is used, one only in training, one by its memory alone, one is shared."""

    def __init__(self) -> None:
        super().__init__()
        self.used, self.training_only = nn.Linear(4, 3), nn.Linear(4, 3)
        self.by_data, self.none = nn.Linear(4, 3, bias=False), nn.Linear(4, 3)
        self.alias = self.used
        self.empty = nn.Parameter(torch.empty(0))

    def forward(self, obs: Any) -> Any:
        out = self.alias(obs) + obs @ self.by_data.weight.data.T
        return out + self.training_only(obs) if self.training else out


def test_parameters_that_no_operation_touches_are_listed() -> None:
    expected = ("training_only.weight", "training_only.bias", "none.weight", "none.bias")
    assert probes.record(Parts(), OBS).untouched == expected
    policy = Parts()

    def call(obs: Any) -> Any:
        return policy(obs)

    found = probes.record(call, OBS).untouched
    assert found is not None
    assert [name.partition(".")[2] for name in found] == list(expected)
    assert probes.record(lambda obs: obs, OBS).untouched == ()


def test_a_later_step_covers_too() -> None:
    class Second(Parts):
        def forward(self, obs: Any) -> Any:
            return self.used(obs) if obs.sum() < 9 else self.none(obs)

    assert "none.weight" in (probes.record(Second(), [OBS, OBS]).untouched or ())
    assert "none.weight" not in (
        probes.record(Second(), [OBS, OBS * 2]).untouched or ("none.weight",)
    )


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (lambda: nn.LSTM(4, 5, num_layers=2), (3, 2, 4)),
        (lambda: nn.TransformerEncoderLayer(4, 2, 8, batch_first=True), (2, 3, 4)),
        (lambda: nn.Sequential(nn.Conv2d(3, 4, 2), nn.BatchNorm2d(4), nn.Flatten()), (1, 3, 4, 4)),
        (lambda: nn.Sequential(nn.Embedding(9, 4), nn.LayerNorm(4)), None),
        (lambda: torch.jit.script(nn.Sequential(nn.Linear(4, 4), nn.Tanh())), (2, 4)),
        (lambda: nn.utils.parametrizations.weight_norm(nn.Linear(4, 4)), (2, 4)),
    ],
    ids=["lstm", "transformer", "convolution", "embedding", "scripted", "weight_norm"],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_every_parameter_of_common_layers_is_seen(make: Any, shape: tuple[int, ...] | None) -> None:
    obs = torch.ones(shape) if shape else torch.arange(6).reshape(2, 3)
    assert probes.record(make(), obs).untouched == ()


def test_what_cannot_be_watched_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(*_: Any) -> Any:
        raise RuntimeError("no")

    monkeypatch.setattr(coverage, "tree_leaves", refuses)
    assert probes.record(Parts(), OBS).untouched is None


def test_float32_is_not_rounded_while_a_probe_runs() -> None:
    seen = []

    def policy(obs: Any) -> Any:
        seen.append(_precisions())
        return obs

    torch.set_float32_matmul_precision("high")
    try:
        before = _precisions()
        probes.record(policy, OBS)
        assert _precisions() == before
        assert torch.get_float32_matmul_precision() == "high"
        with pytest.raises(ZeroDivisionError), full_precision():
            raise ZeroDivisionError
        assert _precisions() == before
    finally:
        torch.set_float32_matmul_precision("highest")
    assert all(values == ["ieee"] * 6 for values in seen)
    assert "tf32" in before


def _precisions() -> list[str]:
    b: Any = torch.backends
    places = (b.cuda.matmul, b.cudnn.conv, b.cudnn.rnn)
    return [p.fp32_precision for p in (*places, b.mkldnn.matmul, b.mkldnn.conv, b.mkldnn.rnn)]
