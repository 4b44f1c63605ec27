"""The weights: laid out, verified, mapped, and assigned with the result of a plain load."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import subprocess
import sys
import threading
import tracemalloc
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from codevault import tensorfile, weights
from codevault.archive import Member
from codevault.checkpoint import Checkpoint, open_checkpoint, write_checkpoint
from codevault.errors import CaptureError, CheckpointError, StateDictError, WeightsDigestError
from codevault.manifest import Manifest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

ROOT = Path(__file__).parents[2]
ARCHITECTURE = b"class_path: agent.Policy\n"


def save(path: Path, state: Mapping[str, Any]) -> Checkpoint:
    prepared = weights.prepare(state)
    manifest = Manifest(
        codevault="0.1.0",
        digest="0" * 64,
        roots=(".",),
        python="3.11",
        packages={},
        architecture=hashlib.sha256(ARCHITECTURE).hexdigest(),
        weights=prepared.sha256,
        created="2026-01-01T00:00:00Z",
    )
    write_checkpoint(path, manifest=manifest, architecture=ARCHITECTURE, weights=prepared)
    return open_checkpoint(path)


def content(prepared: weights.Prepared) -> bytes:
    return b"".join(map(bytes, prepared.chunks()))


def bits(tensor: torch.Tensor) -> bytes:
    return bytes(tensor.detach().contiguous().reshape(-1).view(torch.uint8).tolist())


# -- the file -------------------------------------------------------------------------------------

tensors_strategy = st.dictionaries(
    st.text(min_size=1, max_size=12).filter(lambda name: name != "__metadata__"),
    st.tuples(
        st.sampled_from([*sorted(tensorfile.DTYPES), "pairs"]),
        st.lists(st.integers(0, 5), max_size=3),
        st.integers(0, 2**31),
    ),
    max_size=8,
)


@settings(max_examples=80, deadline=None)
@given(tensors_strategy)
def test_any_tensors_come_back_bit_by_bit(drawn: dict[str, tuple[str, list[int], int]]) -> None:
    state = {}
    for name, (dtype, shape, seed) in drawn.items():
        kind = tensorfile.DTYPES.get(dtype, torch.complex128)  # which is written as pairs
        generator = torch.Generator().manual_seed(seed)
        size = [*shape, kind.itemsize]
        high = 2 if kind is torch.bool else 256
        raw = torch.randint(0, high, size, generator=generator, dtype=torch.uint8)
        state[name] = raw.view(kind).view(shape) if raw.numel() else torch.empty(shape, dtype=kind)
    prepared = weights.prepare(state)
    data = content(prepared)
    assert (len(data), hashlib.sha256(data).hexdigest()) == (prepared.size, prepared.sha256)
    for shift in (0, 1):
        read, _ = tensorfile.parse(bytearray(bytes(shift) + data), shift, len(data), "test")
        assert {n: (t.dtype, t.shape, bits(t)) for n, t in read.items()} == {
            n: (t.dtype, t.shape, bits(t)) for n, t in state.items()
        }
    if not any(dtype == "F8_E8M0" for dtype, _, _ in drawn.values()):
        theirs = safetensors.torch.load(data)
        assert {n: bits(t) for n, t in theirs.items()} == {n: bits(t) for n, t in state.items()}


def test_what_safetensors_wrote_is_read() -> None:
    state = {
        "a": torch.randn(3, 5),
        "b": torch.arange(7, dtype=torch.int16),
        "c": torch.zeros(0, 4),
    }
    data = bytearray(safetensors.torch.save(state, {"by": "them"}))
    read, metadata = tensorfile.parse(data, 0, len(data), "test")
    assert metadata == {"by": "them"}
    assert all(torch.equal(read[name], tensor) for name, tensor in state.items())


def test_every_tensor_is_aligned_and_most_to_64(tmp_path: Path) -> None:
    state = {f"{i}": torch.zeros(i + 1, 64, dtype=torch.float16) for i in range(5)}
    state |= {f"odd{i}": torch.zeros(i, dtype=torch.uint8) for i in (1, 3, 5)}
    state |= {"double": torch.zeros(3, dtype=torch.float64), "half": torch.zeros(3).half()}
    mapped = weights.map_weights(save(tmp_path / "a", state))
    for name, tensor in mapped.items():
        aligned = 64 if name.isdigit() else tensor.itemsize
        assert tensor.data_ptr() % aligned == 0


def test_views_strides_and_lazy_conjugates_are_saved_by_value(tmp_path: Path) -> None:
    base = torch.randn(6, 4)
    state = {
        "t": base.t(),
        "part": base[1:3],
        "last": base.contiguous(memory_format=torch.contiguous_format)[:, ::2],
        "conj": torch.randn(3, dtype=torch.complex64).conj(),
        "image": torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last),
    }
    mapped = weights.map_weights(save(tmp_path / "a", state))
    assert all(torch.equal(mapped[name], tensor) for name, tensor in state.items())
    assert all(tensor.is_contiguous() for tensor in mapped.values())


def test_tied_entries_are_stored_once_and_come_back_as_one_object(tmp_path: Path) -> None:
    table = torch.randn(100, 16)
    checkpoint = save(tmp_path / "a", {"out": table, "in": table, "copy": table.clone()})
    assert checkpoint.members["weights.safetensors"].size < 2.5 * table.nbytes
    mapped = weights.map_weights(checkpoint)
    assert mapped["out"] is mapped["in"]
    assert mapped["copy"] is not mapped["in"]
    assert all(torch.equal(tensor, table) for tensor in mapped.values())


def test_copies_of_entries_that_were_tied_before_are_two() -> None:
    """The memory of an earlier copy is used once, also where two names had it."""
    tied = torch.ones(3)
    before = weights.copied({"a": tied, "b": tied}, {})
    assert before["a"] is before["b"]
    after = weights.copied({"a": torch.zeros(3), "b": torch.full((3,), 2.0)}, before)
    assert [tensor.tolist() for tensor in after.values()] == [[0.0] * 3, [2.0] * 3]


def test_what_cannot_be_saved_is_named_at_once() -> None:
    state = {
        "ok": torch.zeros(1),
        "sparse": torch.eye(2).to_sparse(),
        "meta": torch.zeros(1, device="meta"),
        "wide": torch.empty(1, dtype=torch.bits8),
        "lazy": nn.LazyLinear(3).weight,
    }
    with pytest.raises(CaptureError) as caught:
        weights.prepare(state)
    for name in ("sparse has layout", "meta is on", "wide has dtype", "lazy is not initialised"):
        assert name in caught.value.why
    with pytest.raises(CaptureError, match=r"extra\._extra_state is a dict"):
        weights.prepare({"extra._extra_state": {"a": 1}})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        quantized = torch.quantize_per_tensor(torch.zeros(3), 0.1, 0, torch.qint8)
    with pytest.raises(CaptureError, match="q is quantized"):
        weights.prepare({"q": quantized})

    class Shard(torch.Tensor):
        pass

    with pytest.raises(CaptureError, match=r"s is a .*Shard"):
        weights.prepare({"s": torch.zeros(2).as_subclass(Shard)})


@pytest.mark.parametrize(
    "entry",
    [
        {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [-1], "data_offsets": [0, -4]},
        {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]},
        {"dtype": "F99", "shape": [1], "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [True], "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": "1", "data_offsets": [0, 4]},
        {"shape": [1]},
        7,
    ],
)
def test_a_damaged_header_is_refused(entry: object) -> None:
    text = json.dumps({"w": entry}).encode()
    data = bytearray(len(text).to_bytes(8, "little") + text + bytes(4))
    with pytest.raises(CheckpointError, match="damaged header"):
        tensorfile.parse(data, 0, len(data), "test")
    for broken in (b"", b"\xff" * 20, b"\3\0\0\0\0\0\0\0[[[", (1 << 20).to_bytes(8, "little") * 2):
        with pytest.raises(CheckpointError, match="damaged header"):
            tensorfile.parse(bytearray(broken), 0, len(broken), "test")
    deep = b"[" * 100_000
    data = bytearray(len(deep).to_bytes(8, "little") + deep)
    with pytest.raises(CheckpointError, match="damaged header"):
        tensorfile.parse(data, 0, len(data), "test")


# -- verified -------------------------------------------------------------------------------------


def test_a_changed_weight_is_found_by_its_digest(tmp_path: Path) -> None:
    checkpoint = save(tmp_path / "a", {"w": torch.zeros(64)})
    weights.verify_digest(checkpoint)
    member = checkpoint.members["weights.safetensors"]
    data = bytearray((tmp_path / "a").read_bytes())
    data[member.offset + member.size - 1] ^= 1
    (tmp_path / "a").write_bytes(data)
    with pytest.raises(WeightsDigestError, match="sha256"):
        weights.verify_digest(open_checkpoint(tmp_path / "a"))


def test_a_file_is_verified_once_until_it_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint, marks = save(tmp_path / "a", {"w": torch.zeros(64)}), tmp_path / "marks"
    marks.mkdir()
    runs: list[int] = []
    real = weights._verify

    def counted(*args: Any) -> None:
        runs.append(1)
        real(*args)

    monkeypatch.setattr(weights, "_verify", counted)
    monkeypatch.setattr(weights, "_settled", lambda _: False)
    weights.verify_digest_once(checkpoint, str(marks))
    assert os.listdir(marks) == []  # a file that was just written may yet change unseen
    monkeypatch.setattr(weights, "_settled", lambda _: True)
    for _ in range(3):
        weights.verify_digest_once(checkpoint, str(marks))
    assert len(runs) == 2
    (mark,) = os.listdir(marks)
    assert (marks / mark).stat().st_mode & 0o777 == 0o600
    member = checkpoint.members["weights.safetensors"]
    with open(tmp_path / "a", "r+b") as file:
        file.seek(member.offset + member.size - 1)
        file.write(b"\1")
    with pytest.raises(WeightsDigestError):
        weights.verify_digest_once(open_checkpoint(tmp_path / "a"), str(marks))
    assert os.listdir(marks) == [mark]


def test_each_node_verifies_for_itself_where_they_share_a_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint, marks = save(tmp_path / "a", {"w": torch.zeros(64)}), tmp_path / "marks"
    marks.mkdir()
    monkeypatch.setattr(weights, "_settled", lambda _: True)
    for node in ("one", "two", "one"):
        monkeypatch.setattr(os, "uname", lambda node=node: SimpleNamespace(nodename=node))
        weights.verify_digest_once(checkpoint, str(marks))
    assert len(os.listdir(marks)) == 2


def test_an_unusable_marks_folder_means_verifying_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = save(tmp_path / "a", {"w": torch.zeros(64)})
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(weights, "_settled", lambda _: True)
    for marks in ("", str(tmp_path / "nowhere"), str(tmp_path / "a")):
        weights.verify_digest_once(checkpoint, marks)
    assert os.listdir(tmp_path) == ["a"]


def test_a_mark_must_be_a_file_of_the_user(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("file")
    assert [weights._is_mark(str(tmp_path / n)) for n in ("file", "folder", "link", "gone")] == [
        True,
        False,
        False,
        False,
    ]


# -- mapped ---------------------------------------------------------------------------------------


def test_writing_to_mapped_weights_never_reaches_the_file(tmp_path: Path) -> None:
    checkpoint = save(tmp_path / "a", {"w": torch.ones(1000)})
    before = (tmp_path / "a").read_bytes()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        first, second = weights.map_weights(checkpoint), weights.map_weights(checkpoint)
    first["w"] += 1
    assert torch.equal(second["w"], torch.ones(1000))
    assert (tmp_path / "a").read_bytes() == before


def test_an_unaligned_member_is_read_all_the_same(tmp_path: Path) -> None:
    state = {"w": torch.randn(33), "d": torch.randn(5, dtype=torch.float64)}
    checkpoint = save(tmp_path / "a", state)
    member = checkpoint.members["weights.safetensors"]
    data = (tmp_path / "a").read_bytes()[member.offset :][: member.size]
    for shift in (1, 4, 4099):
        (tmp_path / "b").write_bytes(bytes(shift) + data)
        status = os.stat(tmp_path / "b")
        identity = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
        members = {"weights.safetensors": Member(shift, len(data), len(data), True, 0)}
        moved = Checkpoint(str(tmp_path / "b"), checkpoint.manifest, members, identity)
        mapped = weights.map_weights(moved)
        assert all(torch.equal(mapped[name], tensor) for name, tensor in state.items())
        assert all(tensor.data_ptr() % tensor.itemsize == 0 for tensor in mapped.values())


# -- assigned -------------------------------------------------------------------------------------


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Linear(16, 32)
        self.core = nn.LSTM(32, 32, num_layers=2)
        self.head = nn.Linear(32, 4)

    def forward(self, x: Any) -> Any:
        return self.head(self.core(self.encoder(x))[0])


class Normed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.Flatten())
        self.register_buffer("scratch", torch.full((3,), 5.0), persistent=False)
        self.register_buffer("scale", torch.rand(16))
        self.frozen = nn.Parameter(torch.rand(16), requires_grad=False)

    def forward(self, x: Any) -> Any:
        return self.net(x.reshape(-1, 1, 4, 4).expand(-1, 3, -1, -1)) * self.frozen.sum()


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(16, 16, bias=False)
        self.out = nn.Linear(16, 16, bias=False)
        self.out.weight = self.embed.weight
        self.again = self.embed

    def forward(self, x: Any) -> Any:
        return self.again(self.out(self.embed(x)))


class Untied(nn.Module):
    """Has the keys of `Tied`, each with a parameter of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.out, self.again = (nn.Linear(16, 16, bias=False) for _ in range(3))

    def forward(self, x: Any) -> Any:
        return self.again(self.out(self.embed(x)))


class Viewed(nn.Module):
    """Keeps views of its parameters, made when it was built."""

    table: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.rand(16, 16))
        self.view = self.weight.detach()[:4]
        self.register_buffer("table", torch.rand(16, 16))
        self.register_buffer("row", self.table[0], persistent=False)
        self.array = self.table.numpy()

    def forward(self, x: Any) -> Any:
        return x @ self.weight + self.view.sum() + self.row + float(self.array.sum())


class Hooked(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lin = nn.Linear(16, 16)
        self.loaded = 0
        register: Any = self.register_load_state_dict_post_hook
        register(lambda module, _: setattr(module, "loaded", 7))

    def forward(self, x: Any) -> Any:
        return self.lin(x) + self.loaded


class Scalars(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.temperature = nn.Parameter(torch.rand(()))
        self.empty = nn.Parameter(torch.rand(0, 3))
        self.odd = nn.Parameter(torch.rand(7, 3))
        self.last = nn.Parameter(torch.rand(2, 4, 4, 4).to(memory_format=torch.channels_last))
        self.gone: nn.Module | None = nn.Linear(2, 2)
        self.gone = None
        self.register_parameter("nothing", None)

    def forward(self, x: Any) -> Any:
        return x * self.temperature + self.odd.sum() + self.last.sum()


def weight_normed() -> nn.Module:
    return nn.Sequential(torch.nn.utils.parametrizations.weight_norm(nn.Linear(16, 16)))


def spectral() -> nn.Module:
    return nn.Sequential(torch.nn.utils.parametrizations.spectral_norm(nn.Linear(16, 16)))


def half() -> nn.Module:
    return nn.Sequential(nn.Linear(16, 16)).to(torch.float16)


def lazy() -> nn.Module:
    return nn.Sequential(nn.LazyLinear(16), nn.LazyBatchNorm1d())


def channels_last() -> nn.Module:
    policy: Any = nn.Sequential(nn.Unflatten(-1, (1, 4, 4)), nn.Conv2d(1, 4, 3))
    converted: nn.Module = policy.to(memory_format=torch.channels_last)
    return converted


def attention() -> nn.Module:
    return nn.Sequential(nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True))


def trained(make: Callable[[], nn.Module]) -> nn.Module:
    policy = make()
    with torch.no_grad():
        if any(nn.parameter.is_lazy(p) for p in policy.parameters()):
            policy(torch.rand(5, 16))
        for tensor in policy.state_dict().values():
            if tensor.is_floating_point():
                tensor.copy_(torch.rand(tensor.shape))
            else:
                tensor.fill_(3)
    return policy


def facts(policy: nn.Module) -> dict[str, Any]:
    """All that can be told apart: values, flags, strides, ties and plain attributes."""
    found: dict[str, Any] = {}
    names: dict[int, str] = {}
    for path, module in policy.named_modules(remove_duplicate=False):
        for name, value in {**module._parameters, **module._buffers, **vars(module)}.items():
            key = f"{path}.{name}"
            if isinstance(value, torch.Tensor):
                found[key] = (bits(value), value.dtype, tuple(value.shape), value.stride())
                found[f"{key} flags"] = (type(value), value.requires_grad, value.is_leaf)
                found[f"{key} is"] = names.setdefault(id(value), key)
            elif isinstance(value, int | float | str | bool | None):
                found[key] = value
            elif name == "array":
                found[key] = value.tobytes()
            elif name == "_flat_weights":
                found[key] = [names.get(id(item)) for item in value]
    return found


POLICIES: list[tuple[Callable[[], nn.Module], Callable[[], nn.Module], bool]] = [
    (Recurrent, Recurrent, True),
    (Normed, Normed, True),
    (Tied, Tied, True),
    (Tied, Untied, True),
    (Untied, Tied, True),
    (Viewed, Viewed, False),
    (Hooked, Hooked, False),
    (Scalars, Scalars, False),
    (weight_normed, weight_normed, False),
    (spectral, spectral, True),
    (half, lambda: nn.Sequential(nn.Linear(16, 16)), False),
    (lazy, lazy, False),
    (channels_last, channels_last, False),
    (attention, attention, True),
]


@pytest.mark.parametrize(("old", "new", "shares"), POLICIES)
def test_assigning_equals_a_plain_load(
    tmp_path: Path, old: Callable[[], nn.Module], new: Callable[[], nn.Module], shares: bool
) -> None:
    torch.manual_seed(1)
    source = trained(old)
    checkpoint = save(tmp_path / "a", source.state_dict())
    torch.manual_seed(2)
    assigned = new()
    torch.manual_seed(2)
    plain = new()
    known = {name: id(p) for name, p in assigned.named_parameters()}
    tensors = weights.map_weights(checkpoint)
    places = {tensor.data_ptr() for tensor in tensors.values()}
    values = {name: tensor.clone() for name, tensor in tensors.items()}
    weights.assign(assigned, tensors, where="test")
    del tensors
    plain.load_state_dict(values, strict=True)
    assert facts(assigned) == facts(plain)
    assert known == {name: id(p) for name, p in assigned.named_parameters()}
    largest = max(assigned.parameters(), key=lambda parameter: parameter.nbytes)
    assert (largest.data_ptr() in places) == shares

    x = torch.rand(5, 16)
    for policy in (assigned, plain):
        torch.manual_seed(3)
        optimizer = torch.optim.SGD((p for p in policy.parameters() if p.requires_grad), lr=0.1)
        for _ in range(2):
            optimizer.zero_grad()
            policy(x).float().square().mean().backward()
            optimizer.step()
    assert facts(assigned) == facts(plain)


def test_two_policies_never_share_what_they_were_given(tmp_path: Path) -> None:
    checkpoint = save(tmp_path / "a", trained(Recurrent).state_dict())
    tensors = weights.map_weights(checkpoint)
    one, two = Recurrent(), Recurrent()
    weights.assign(one, tensors, where="test")
    weights.assign(two, tensors, where="test")
    before = copy.deepcopy(two.state_dict())
    with torch.no_grad():
        for parameter in one.parameters():
            parameter.zero_()
    assert all(torch.equal(before[name], tensor) for name, tensor in two.state_dict().items())


def test_an_assigned_policy_can_be_copied_pickled_and_shared(tmp_path: Path) -> None:
    policy = Recurrent()
    weights.assign(
        policy,
        weights.map_weights(save(tmp_path / "a", trained(Recurrent).state_dict())),
        where="t",
    )
    x = torch.rand(5, 16)
    expected = policy(x)
    assert torch.equal(copy.deepcopy(policy)(x), expected)
    torch.save(policy.state_dict(), tmp_path / "b")
    assert torch.load(tmp_path / "b")["head.weight"].shape == (4, 32)
    policy.share_memory()
    weight: Any = policy.head.weight
    assert weight.is_shared()
    assert torch.equal(policy(x), expected)


def test_all_that_does_not_fit_is_named_and_nothing_changed(tmp_path: Path) -> None:
    state = trained(Recurrent).state_dict()
    state["head.weight"] = torch.zeros(9, 32)
    state["ghost"] = torch.zeros(1)
    del state["encoder.bias"]
    tensors = weights.map_weights(save(tmp_path / "a", state))
    policy = Recurrent()
    before = facts(policy)
    with pytest.raises(StateDictError) as caught:
        weights.assign(policy, tensors, where="best.mpt", hint="do this")
    assert facts(policy) == before
    text = str(caught.value)
    for part in (
        "missing in file: encoder.bias",
        "unexpected in file: ghost",
        "head.weight [9,32] in file, [4,32] in code",
        "3 faults",
        "best.mpt",
        "do this",
    ):
        assert part in text
    assert "strict" not in text
    with pytest.raises(KeyError):
        weights.assign(policy, {}, where="best.mpt")


def test_a_long_list_of_faults_is_cut() -> None:
    with pytest.raises(StateDictError, match="and 8 more") as caught:
        weights.assign(Recurrent(), {"x": torch.zeros(1)}, where="t")
    assert str(caught.value).count("\n    ") == 2
    assert "13 faults" in str(caught.value)


def test_policies_with_loaders_of_their_own_say_what_does_not_fit() -> None:
    with pytest.raises(StateDictError, match=r"lin\.weight"):
        weights.assign(Hooked(), {}, where="t")
    with pytest.raises(StateDictError, match="meta device"):
        weights.assign(Hooked().to("meta"), {}, where="t")
    with pytest.raises(StateDictError, match="meta device"):
        weights.assign(nn.Linear(2, 2, device="meta"), {}, where="t")


def test_objects_that_are_no_modules() -> None:
    class Table:
        state: dict[str, torch.Tensor] | None = None

        def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
            if "w" not in state:
                raise KeyError("w")
            self.state = state

    table = Table()
    weights.assign(table, {"w": torch.ones(2)}, where="t")
    assert table.state is not None
    with pytest.raises(StateDictError, match="w"):
        weights.assign(table, {}, where="t")
    weights.assign(object(), {}, where="t")
    with pytest.raises(StateDictError, match="no load_state_dict"):
        weights.assign(object(), {"w": torch.ones(2)}, where="t")


def test_a_buffer_that_takes_no_copy_is_a_fault_and_not_a_strangers_error() -> None:
    class Expanded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("rows", torch.rand(1, 4).expand(3, 4))

    with pytest.raises(StateDictError, match=r"rows(.|\n)*single memory location"):
        weights.assign(Expanded(), {"rows": torch.zeros(3, 4)}, where="t")


def test_keys_below_an_absent_submodule_are_taken_as_torch_takes_them() -> None:
    policy = Scalars()
    state = dict(policy.state_dict()) | {"gone.weight": torch.zeros(2)}
    Scalars().load_state_dict(state, strict=True)
    weights.assign(policy, state, where="t")


def test_a_batch_norm_without_its_counter_and_a_scalar_of_one_element() -> None:
    norm = nn.BatchNorm1d(4)
    state = dict(nn.BatchNorm1d(4).state_dict())
    del state["num_batches_tracked"]
    weights.assign(norm, state, where="t")
    policy = Scalars()
    state = dict(policy.state_dict()) | {"temperature": torch.tensor([4.0])}
    weights.assign(policy, state, where="t")
    assert policy.temperature.item() == 4.0


def test_assigning_beside_a_busy_thread_keeps_values(tmp_path: Path) -> None:
    """The proof by counting owners holds while other threads make and drop tensors."""
    checkpoint = save(tmp_path / "a", trained(Recurrent).state_dict())
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            torch.empty(16).view(4, 4).untyped_storage()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        for _ in range(20):
            policy = Recurrent()
            tensors = weights.map_weights(checkpoint)
            values = {name: tensor.clone() for name, tensor in tensors.items()}
            weights.assign(policy, tensors, where="t")
            assert all(torch.equal(values[n], t) for n, t in policy.state_dict().items())
    finally:
        stop.set()
        thread.join()


MEMORY = """
import re, sys, torch
from torch import nn
from codevault import weights
from codevault.checkpoint import open_checkpoint
def anonymous():
    return int(re.search(r"RssAnon:\\s+(\\d+)", open("/proc/self/status").read())[1]) << 10
# Memory that nobody wrote to is not resident: as in a policy that is built without initialisers.
make = nn.utils.skip_init
policy = nn.Sequential(*[make(nn.Linear, 2560, 2560) for _ in range(8)])
size = sum(p.nbytes for p in policy.parameters())
policy[0].weight.data_ptr(), torch.ones(64).sum()
base = anonymous()
weights.assign(policy, weights.map_weights(open_checkpoint(sys.argv[1])), where="t")
total = sum(float(p.detach().sum()) for p in policy.parameters())
print((anonymous() - base) / size, size >> 20, total)
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="needs /proc")
def test_mapping_takes_no_memory_of_its_own(tmp_path: Path) -> None:
    policy = nn.Sequential(*[nn.Linear(2560, 2560) for _ in range(8)])
    with torch.no_grad():
        for index, parameter in enumerate(policy.parameters()):
            parameter.fill_(index / 1024)
    save(tmp_path / "a", policy.state_dict())
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, str(tmp_path / "a")],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    ratio, size, total = map(float, done.stdout.split())
    assert size >= 200
    assert total == pytest.approx(sum(float(p.detach().sum()) for p in policy.parameters()))
    assert ratio < 0.05, ratio


# -- hostile headers ------------------------------------------------------------------------------


def parsed(entries: Any, content: bytes = b"", **more: Any) -> Any:
    text = entries if isinstance(entries, bytes) else json.dumps(entries).encode()
    data = bytearray(more.get("length", len(text)).to_bytes(8, "little") + text + content)
    return tensorfile.parse(data, 0, len(data), "t")


def entry(shape: Any, low: Any, high: Any, dtype: Any = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [low, high]}


@pytest.mark.parametrize(
    ("entries", "size"),
    [
        ({"a": entry({}, 0, 4)}, 4),
        ({"a": entry("", 0, 4)}, 4),
        ({"a": entry([True], 0, 4)}, 4),
        ({"a": entry([1.0], 0, 4)}, 4),
        ({"a": entry([-1], 0, -4)}, 0),
        ({"a": entry([-1, -1], 0, 4)}, 4),
        ({"a": entry([2**61, 2**61, 0], 0, 0)}, 0),
        ({"a": entry([2**62, 0], 0, 0)}, 0),
        ({"a": entry([2**63, 0], 0, 0)}, 0),
        ({"a": entry([1] * 65, 0, 4)}, 4),
        ({"a": entry([1], -4, 0)}, 0),
        ({"a": entry([1], 4, 0)}, 4),
        ({"a": entry([1], 0, 4), "b": entry([1], 0, 4)}, 4),
        ({"a": entry([2], 0, 8), "b": entry([1], 4, 8)}, 8),
        ({"a": entry([1], 0, 4), "b": entry([1], 8, 12)}, 12),
        ({"a": entry([1], 0, 4)}, 8),
        ({"a": entry([1], 0, 4)}, 0),
        ({"a": {"dtype": "F32", "shape": [1], "data_offsets": "01"}}, 0),
        ({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4, 8]}}, 4),
        ({"a": entry([1], 0, 4, [])}, 4),
        ({"a": entry([1], 0, 4, "F4\n")}, 4),
        ({"a": []}, 0),
        ({"\ud800": entry([1], 0, 4)}, 4),
        ({"__metadata__": ["x"]}, 0),
        ({"__metadata__": {"x": 1}}, 0),
        ([], 0),
        (b"", 0),
        (b"[" * 100_000, 0),
        (b'{"a":' * 100_000, 0),
        (b'{"a": 1' + b"0" * 5000 + b"}", 0),
    ],
)
def test_headers_that_lie_are_refused(entries: Any, size: int) -> None:
    with pytest.raises(CheckpointError, match="damaged header") as caught:
        parsed(entries, bytes(size))
    assert caught.value.why.isprintable()


def test_huge_headers_are_refused_before_they_are_parsed() -> None:
    many = b'{"a":' + b"{}," * 5_000_000
    for text in (many, b'{"a":"' + b"x" * (17 << 20) + b'"}'):
        tracemalloc.start()
        try:
            with pytest.raises(CheckpointError, match="damaged header"):
                parsed(text)
            assert tracemalloc.get_traced_memory()[1] < 64 << 20
        finally:
            tracemalloc.stop()
    with pytest.raises(CheckpointError, match="it states"):
        parsed({}, length=2**64 - 1)


def test_what_could_not_be_read_again_is_not_written() -> None:
    with pytest.raises(CaptureError, match="no Unicode"):
        weights.prepare({"\ud800": torch.zeros(1)})
    with pytest.raises(CaptureError, match="too many to be read"):
        tensorfile.prepare({"a": torch.zeros(1)}, {"x": "y" * (17 << 20)})


def test_empty_tensors_of_any_shape_come_back(tmp_path: Path) -> None:
    state = {"a": torch.empty(0, 1 << 40), "b": torch.empty(3, 0, 2), "c": torch.tensor(1.0)}
    again = weights.map_weights(save(tmp_path / "a", state))
    assert {name: tensor.shape for name, tensor in again.items()} == {
        name: tensor.shape for name, tensor in state.items()
    }


def compiled(policy: nn.Module, *parts: str) -> nn.Module:
    for part in parts:
        setattr(policy, part, torch.compile(getattr(policy, part), backend="eager"))
    return policy


@pytest.mark.parametrize("there", [(), ("head",), ("encoder", "core")])
@pytest.mark.parametrize("here", [(), ("head",), ("encoder", "head")])
def test_parts_that_are_compiled_on_one_side_only_take_their_weights(
    tmp_path: Path, there: tuple[str, ...], here: tuple[str, ...]
) -> None:
    """`torch.compile` of a part renames its weights, which makes them no other weights."""
    source = trained(Recurrent)
    checkpoint = save(tmp_path / "a", compiled(copy.deepcopy(source), *there).state_dict())
    policy, filled = compiled(Recurrent(), *here), compiled(Recurrent(), *here)
    weights.assign(policy, weights.map_weights(checkpoint), where="t")
    weights.fill(filled, checkpoint)
    for loaded in (policy, filled):
        values = [bits(tensor) for tensor in loaded.state_dict().values()]
        assert values == [bits(tensor) for tensor in source.state_dict().values()]


def test_names_that_are_two_without_the_compilers_mark_are_not_joined() -> None:
    both = {"head._orig_mod.weight": torch.ones(4, 32), "head.weight": torch.zeros(4, 32)}
    with pytest.raises(StateDictError, match=r"unexpected in file: head\._orig_mod\.weight"):
        weights.assign(Recurrent(), {**Recurrent().state_dict(), **both}, where="t")
