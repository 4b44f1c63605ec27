"""Old code under torch.compile resolves its imports as it does in eager mode."""

from __future__ import annotations

import importlib
import io
import pickle
from typing import TYPE_CHECKING, Any

import pytest

from codevault_importhook import CodePack
from tests.importhook.pictures import NAME

if TYPE_CHECKING:
    from tests.importhook.conftest import Put

torch = pytest.importorskip("torch")

NET = """
    import torch
    import pkg.constants
    from pkg.constants import scaled
    from pkg import constants as c

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(4, 2)
        def forward(self, x):
            return scaled(self.layer(x)) * pkg.constants.SCALE * c.SCALE

    class Lazy(torch.nn.Module):
        def __init__(self, kind):
            super().__init__()
            self.kind = kind
        def forward(self, x):
            return getattr(self, self.kind)(x)
        def from_import(self, x):
            from pkg.constants import SCALE
            return x * SCALE
        def chain(self, x):
            import pkg.constants
            return x * pkg.constants.SCALE
        def alias(self, x):
            import pkg.constants as q
            return x * q.SCALE
        def top(self, x):
            import pkg
            return x * pkg.constants.SCALE
        def relative(self, x):
            from .constants import SCALE
            return x * SCALE
        def shared(self, x):
            from pkg.shared import SCALE
            return x * SCALE / 5 * 3
        def library(self, x):
            import math
            return x * math.floor(3.5)
    """
HOST = {
    "pkg/__init__.py": "",
    "pkg/constants.py": "SCALE = 77.0\ndef scaled(x): return x * SCALE\n",
    "pkg/shared.py": "SCALE = 5.0\n",
    "pkg/net.py": "raise RuntimeError('the host ran')\n",
}
OLD = {
    "pkg/__init__.py": "",
    "pkg/constants.py": "SCALE = 3.0\ndef scaled(x): return x * SCALE\n",
    "pkg/shared.py": "raise RuntimeError('it ran')\n",
    "pkg/net.py": NET,
}
KINDS = ["from_import", "chain", "alias", "top", "relative", "shared", "library"]


@pytest.fixture(autouse=True)
def fresh_dynamo() -> None:
    torch._dynamo.reset()


@pytest.fixture(params=["twin-imported", "twin-importable"])
def net(request: pytest.FixtureRequest, put: Put, host: Any) -> Any:
    host(HOST)
    if request.param == "twin-imported":
        for name in ("pkg", "pkg.constants", "pkg.shared"):
            importlib.import_module(name)
    mount = put(OLD, shared=["pkg.shared"])
    mount.use(CodePack(mount.compile(), mount.tag))
    return importlib.import_module(f"{NAME}.pkg.net")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_own_or_fail_function_level_imports_when_compiled(kind: str, net: Any) -> None:
    lazy = net.Lazy(kind)
    x = torch.ones(3)
    eager = lazy(x)
    assert eager.tolist() == [3.0] * 3
    compiled = torch.compile(lazy, fullgraph=True, backend="eager")
    assert torch.equal(compiled(x), eager)
    torch._dynamo.reset()
    first = torch.compile(net.Lazy(kind), fullgraph=True, backend="eager")
    assert torch.equal(first(x), eager)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_own_or_fail_a_compiled_forward_does_not_compile_again(net: Any) -> None:
    graphs = []

    def backend(graph: Any, inputs: Any) -> Any:
        graphs.append(graph)
        return graph.forward

    model = net.Net()
    compiled = torch.compile(model, fullgraph=True, backend=backend)
    x = torch.ones(2, 4)
    for _ in range(3):
        assert torch.equal(compiled(x), model(x))
    assert len(graphs) == 1


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_twelve_versions_of_the_same_file_compile_to_twelve_graphs(put: Put) -> None:
    """With shared code objects the ninth version would meet torch's limit and run uncompiled."""
    graphs = []

    def backend(graph: Any, inputs: Any) -> Any:
        graphs.append(graph)
        return graph.forward

    for version in range(12):
        constants = f"SCALE = {version}.0\ndef scaled(x): return x * SCALE\n"
        mount = put(
            {**OLD, "pkg/constants.py": constants, "pkg/shared.py": ""},
            name=f"_splint_{version:012x}_{0:012x}",
        )
        mount.use(CodePack(mount.compile(), mount.tag))
        lazy = importlib.import_module(f"{mount.name}.pkg.net").Lazy("from_import")
        compiled = torch.compile(lazy, fullgraph=True, backend=backend)
        assert compiled(torch.ones(1)).item() == version
    assert len(graphs) == 12


def test_state_dicts_have_no_prefix_and_cross_versions(net: Any) -> None:
    state = net.Net().state_dict()
    assert list(state) == ["layer.weight", "layer.bias"]
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    assert torch.load(buffer, weights_only=True).keys() == state.keys()


def test_whole_modules_pickle_inside_the_process(net: Any) -> None:
    model = net.Net()
    again = pickle.loads(pickle.dumps(model))
    assert type(again) is net.Net
    buffer = io.BytesIO()
    torch.save(model, buffer)
    buffer.seek(0)
    assert type(torch.load(buffer, weights_only=False)) is net.Net


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_scripted_and_traced_modules(net: Any) -> None:
    model, x = net.Net(), torch.ones(1, 4)
    traced = torch.jit.trace(model, x)
    assert torch.equal(traced(x), model(x))
    graph = torch.fx.symbolic_trace(model)
    assert torch.equal(graph(x), model(x))


NAMED = """
    import importlib, importlib.util, sys, torch

    class Named(torch.nn.Module):
        def __init__(self, kind):
            super().__init__()
            self.kind = kind
        def forward(self, x):
            return x * getattr(self, self.kind)()
        def import_module(self):
            return importlib.import_module("pkg.constants").SCALE
        def import_function(self):
            return __import__("pkg.constants", fromlist=["SCALE"]).SCALE
        def modules(self):
            import pkg.constants
            return sys.modules["pkg.constants"].SCALE
        def text(self):
            space = {}
            exec("from pkg.constants import SCALE", space)
            return space["SCALE"]
        def spec(self):
            return 3.0 if "old" in importlib.util.find_spec("pkg.constants").origin else 0.0
        def spelled(self):
            return 3.0 if f"{type(self).__module__}" == "pkg.named" else 0.0
    """


@pytest.mark.filterwarnings("ignore")
def test_strings_named_modules_when_compiled(put: Put, host: Any) -> None:
    """The graph breaks there, and the old code's are found: see docs/limits.md."""
    host(HOST)
    importlib.import_module("pkg.constants")
    put(
        {f"old/{path}": text for path, text in OLD.items()} | {"old/pkg/named.py": NAMED},
        roots=["old"],
    )
    named = importlib.import_module(f"{NAME}.pkg.named")
    for kind in ("import_module", "import_function", "modules", "text", "spec", "spelled"):
        torch._dynamo.reset()
        policy = named.Named(kind)
        compiled = torch.compile(policy, backend="eager")
        assert policy(torch.ones(1)).item() == compiled(torch.ones(1)).item() == 3.0, kind
