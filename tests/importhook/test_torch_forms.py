"""Scripted, traced, exported, differentiated and distributed: old code under the tools of torch."""

from __future__ import annotations

import copy
import importlib
import io
import socket
from typing import TYPE_CHECKING, Any

import pytest

from tests.importhook.pictures import NAME, OTHER

if TYPE_CHECKING:
    from pathlib import Path

    from tests.importhook.conftest import Put

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")

NET = """
    from typing import NamedTuple
    import torch
    import torch.fx
    from pkg.constants import SCALE, scaled

    class Out(NamedTuple):
        value: torch.Tensor
        twice: torch.Tensor

    def helper(x: torch.Tensor) -> Out:
        return Out(scaled(x), 2 * x)

    class Scripted(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(4, 2)
        def forward(self, x: torch.Tensor) -> Out:
            return helper(self.layer(x))

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(4, 2)
        def forward(self, x):
            from pkg.constants import scaled
            return scaled(self.layer(x)) * SCALE

    @torch.fx.wrap
    def leaf(x):
        return x * SCALE

    class Wrapped(torch.nn.Module):
        def forward(self, x):
            return leaf(x) + 1

    class Times(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            from pkg.constants import SCALE
            ctx.save_for_backward(x)
            return x * SCALE
        @staticmethod
        def backward(ctx, gradient):
            import pkg.constants
            return gradient * pkg.constants.SCALE

    class Differentiated(torch.nn.Module):
        def forward(self, x):
            return Times.apply(x)
    """


def tree(scale: float) -> dict[str, str]:
    constants = f"""
        import torch
        SCALE = {scale}
        def scaled(x: torch.Tensor) -> torch.Tensor:
            return x * {scale}
        """
    return {"pkg/__init__.py": "", "pkg/constants.py": constants, "pkg/net.py": NET}


@pytest.fixture(autouse=True)
def fresh_dynamo() -> None:
    torch._dynamo.reset()


@pytest.fixture
def both(put: Put, host: Any) -> list[tuple[float, Any]]:
    """Two versions beside the host's, which has other values: the scale of each, and its module."""
    host(tree(77.0))
    importlib.import_module("pkg.net")
    versions = []
    for name, scale in ((NAME, 3.0), (OTHER, 5.0)):
        put(tree(scale), name=name)
        versions.append((scale, importlib.import_module(f"{name}.pkg.net")))
    return versions


X = [[1.0, 2.0, 3.0, 4.0]]


def test_torch_script_of_two_versions(both: Any, tmp_path: Path) -> None:
    for scale, net in both:
        model = net.Scripted()
        torch.jit.script(model).save(tmp_path / "scripted.pt")
        x = torch.tensor(X)
        for scripted in (torch.jit.script(model), torch.jit.load(tmp_path / "scripted.pt")):
            value, twice = scripted(x)
            assert torch.equal(value, model.layer(x) * scale)
            assert torch.equal(twice, 2 * model.layer(x))


def test_torch_trace_of_two_versions(both: Any, tmp_path: Path) -> None:
    x = torch.tensor(X)
    for scale, net in both:
        model = net.Net()
        torch.jit.trace(model, x).save(tmp_path / "traced.pt")
        assert torch.equal(torch.jit.load(tmp_path / "traced.pt")(x), model(x))
        assert torch.equal(model(x), model.layer(x) * scale * scale)


def test_torch_export_of_two_versions(both: Any, tmp_path: Path) -> None:
    x = torch.tensor(X)
    for scale, net in both:
        model = net.Net()
        program = torch.export.export(model, (x,))
        torch.export.save(program, tmp_path / "exported.pt2")
        for exported in (program, torch.export.load(tmp_path / "exported.pt2")):
            assert torch.equal(exported.module()(x), model.layer(x) * scale * scale)


def test_torch_fx_of_two_versions(both: Any) -> None:
    import pickle

    x = torch.tensor(X)
    for scale, net in both:
        graph = torch.fx.symbolic_trace(net.Wrapped())
        assert "leaf" in graph.code
        assert torch.equal(graph(x), x * scale + 1)
        assert torch.equal(pickle.loads(pickle.dumps(graph))(x), x * scale + 1)


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
def test_torch_autograd_function_of_two_versions(both: Any, compiled: bool) -> None:
    for scale, net in both:
        model = net.Differentiated()
        if compiled:
            model = torch.compile(model, backend="aot_eager", fullgraph=True)
        x = torch.tensor(X, requires_grad=True)
        out = model(x)
        out.sum().backward()
        assert torch.equal(out, x * scale)
        assert torch.equal(x.grad, torch.full_like(x, scale))


def test_torch_deepcopy_keeps_the_class_and_the_result(both: Any) -> None:
    x = torch.tensor(X)
    for _, net in both:
        model = net.Net()
        again = copy.deepcopy(model)
        assert type(again) is net.Net
        assert torch.equal(again(x), model(x))


def test_torch_safetensors_carry_weights_from_version_to_version(both: Any, tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors.torch")
    (_, one), (_, two) = both
    model, again = one.Net(), two.Net()
    safetensors.save_model(model, str(tmp_path / "w.safetensors"))
    assert b"_splint_" not in (tmp_path / "w.safetensors").read_bytes()
    safetensors.load_model(again, str(tmp_path / "w.safetensors"))
    assert torch.equal(again.layer.weight, model.layer.weight)


def test_torch_distributed_data_parallel_in_one_process(both: Any) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    distributed = torch.distributed
    distributed.init_process_group(
        "gloo", init_method=f"tcp://127.0.0.1:{port}", rank=0, world_size=1
    )
    try:
        x = torch.tensor(X)
        for scale, net in both:
            model = net.Net()
            parallel = torch.nn.parallel.DistributedDataParallel(model)
            parallel(x).sum().backward()
            assert torch.equal(parallel(x), model.layer(x) * scale * scale)
            assert model.layer.weight.grad is not None
            file = io.BytesIO()
            torch.save(parallel.state_dict(), file)
            assert b"_splint_" not in file.getvalue()
    finally:
        distributed.destroy_process_group()
