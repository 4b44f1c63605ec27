"""[audit] Whose change it is: the old code's, or that of a library that was first imported."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING, Any

import gymnasium  # noqa: F401 - a first import meanwhile would take the blame
import pytest
import torch

import codevault
from codevault import audit
from tests.codevault.audit_cases import Planter

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# What libraries do when they are first imported.
LIBRARY = """
import atexit, copyreg, gymnasium, json, logging, os, sys, threading, torch, warnings
class Own: pass
os.environ["LIBRARY_LOADED"] = "1"
warnings.filterwarnings("ignore", module="library")
logging.getLogger("library").addHandler(logging.NullHandler())
copyreg.pickle(Own, str)
torch.utils._pytree._private_register_pytree_node(Own, lambda o: ([], None), lambda v, c: Own())
gymnasium.register("Library-v0", entry_point="library:Env")
logging.root.manager.emittedNoHandlerWarning = True
logging.addLevelName(17, "LIBRARY")
logging.Logger.library = logging.Logger.info
json.loads = (lambda real: lambda text: real(text))(json.loads)
"""
UNDO = """
import copyreg, gymnasium, json, library, logging, os, torch
del os.environ["LIBRARY_LOADED"], copyreg.dispatch_table[library.Own]
torch.utils._pytree._deregister_pytree_node(library.Own)
del gymnasium.registry["Library-v0"], logging.Logger.library, logging._levelToName[17]
json.loads = json.loads.__closure__[0].cell_contents
"""


@pytest.fixture
def planter(tmp_path: Path) -> Iterator[Planter]:
    planter = Planter(tmp_path)
    yield planter
    planter.forget()


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    file = tmp_path / "site" / "library.py"
    file.parent.mkdir()
    file.write_text(LIBRARY)
    monkeypatch.syspath_prepend(str(file.parent))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    importlib.invalidate_caches()
    yield file
    exec(UNDO)
    sys.modules.pop("library", None)


def names(found: audit.Audit) -> set[str]:
    return {finding.name for finding in found.findings}


def test_audit_does_not_blame_old_code_for_what_libraries_do(
    library: Path, planter: Planter
) -> None:
    assert not planter.plant("import library")


def test_audit_knows_what_is_new_where_something_was_taken_out(
    library: Path, planter: Planter
) -> None:
    found = planter.plant("import sys; del sys.modules['textwrap']; import library")
    assert found.restore() == ()
    assert names(found) == {"modules in sys.modules"}


def test_audit_sees_old_code_beside_a_library(library: Path, planter: Planter) -> None:
    text = """
        import copyreg, gymnasium, json, library, logging, math, os, torch
        os.environ["MINE"] = "1"
        gymnasium.register("Mine-v0", entry_point="mine:Env")
        def mine(thing): return "mine"
        copyreg.pickle(math.__class__, mine)
        logging.getLogger("gymnasium").setLevel(5)
        math.tau = 6.0
        torch.set_num_threads(torch.get_num_threads() + 1)
        torch.nn.functional.relu = torch.nn.functional.gelu
    """
    found = planter.plant(text)
    assert found.restore() == ()
    assert {f.name: f.after for f in found.findings} == {
        "environment variables": "MINE set",
        "gymnasium environments": "Mine-v0: a EnvSpec",
        "copyreg reducers": "builtins.module: planted0.mine",
        "loggers": "gymnasium: (5, True, False, (), ())",
        "patched library code": "math.tau: 6.0, torch.nn.functional.relu: torch._C._nn.gelu",
        "torch threads": str(torch.get_num_threads() + 1),
    }


def test_audit_tells_what_changes_results_whoever_did_it(library: Path, planter: Planter) -> None:
    library.write_text(LIBRARY + "torch.set_default_dtype(torch.float64)\n")
    found = planter.plant("import library")
    assert found.restore() == ()
    assert names(found) == {"torch default dtype"}


# -- shared code ----------------------------------------------------------------------------------

COMPAT = """
    MODE, _counter, _cache = "slow", 0, None
    def scale(x): return x
    def configure():
        import os
        os.environ["COMPAT"] = "1"
    def fill():
        global _counter, _cache
        _counter, _cache = _counter + 1, {}
        globals()["lazy"] = lambda: 2
    def lazy(): return 1
    class Policy:
        limit = 3
        registry = {}
        def act(self): return 1
"""


@pytest.fixture
def compat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    (tmp_path / "gait").mkdir()
    (tmp_path / "gait" / "__init__.py").write_text("")
    (tmp_path / "gait" / "compat.py").write_text(textwrap.dedent(COMPAT))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    importlib.invalidate_caches()
    yield importlib.import_module("gait.compat")
    for name in ("gait", "gait.compat"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize(
    ("change", "key", "after"),
    [
        ("gait.compat.scale = lambda x: 2 * x", "gait.compat.scale", "planted0.<lambda>"),
        ("gait.compat.scale = abs", "gait.compat.scale", "builtins.abs"),
        ("gait.compat.Policy.act = lambda self: 2", "gait.compat.Policy.act", "planted0.<lambda>"),
        ("gait.compat.MODE = 'fast'", "gait.compat.MODE", "fast"),
        ("setattr(gait.compat.Policy, 'limit', 4)", "gait.compat.Policy.limit", "4"),
        ("class Other: pass\ngait.compat.Policy = Other", "gait.compat.Policy", "planted0.Other"),
        ("gait.compat.max = min", "gait.compat.max", "builtins.min"),
        ("del gait.compat.lazy", "gait.compat.lazy", "none"),
    ],
)
def test_audit_sweeps_shared_code(
    change: str, key: str, after: str, compat: Any, planter: Planter
) -> None:
    found = planter.plant(f"import gait.compat\n{change}", shared=("gait.compat",))
    assert [(f.name, f.after, f.changes_results) for f in found.findings] == [
        ("patched shared code", f"{key}: {after}", True)
    ]
    assert found.restore() == ()
    assert not planter.look_again()


def test_audit_lets_shared_code_fill_in_its_own_names(compat: Any, planter: Planter) -> None:
    text = """
        import gait.compat
        gait.compat.fill()
        class Mine(gait.compat.Policy): pass
        gait.compat.Policy.registry["mine"] = Mine
    """
    assert not planter.plant(text, shared=("gait.compat",))


def test_audit_tells_what_shared_code_did_for_old_code(compat: Any, planter: Planter) -> None:
    found = planter.plant("import gait.compat; gait.compat.configure()", shared=("gait.compat",))
    assert found.restore() == ()
    assert names(found) == {"environment variables"}


def test_audit_does_not_sweep_what_is_not_shared(compat: Any, planter: Planter) -> None:
    assert not planter.plant("import gait.compat; gait.compat.MODE = 'fast'", shared=("gai",))


# -- in a process of its own ----------------------------------------------------------------------

ALONE = """
import json, sys, types
sys.path[:0] = sys.argv[2:]
{first}
from codevault import audit
name = "_splint_aaaaaaaaaaaa_bbbbbbbbbbbb"
module = sys.modules[name] = types.ModuleType(name)
loaded = set(sys.modules)
before = audit.take(name)
assert set(sys.modules) == loaded, set(sys.modules) - loaded
exec(sys.argv[1], vars(module))
loaded = set(sys.modules)
found = audit.compare(before)
stuck = found.restore()
assert set(sys.modules) == loaded, set(sys.modules) - loaded
print(json.dumps([[f.name, f.before, f.after] for f in found.findings]))
"""


def alone(text: str, first: str = "") -> list[Any]:
    program = ALONE.replace("{first}", first)
    paths = [entry for entry in sys.path if entry]
    command = [sys.executable, "-W", "ignore", "-c", program, text, *paths]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found: list[Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_audit_imports_nothing_and_needs_no_torch() -> None:
    assert alone("import os; os.environ['NEW'] = '1'") == [
        ["environment variables", "NEW not set", "NEW set"]
    ]


def test_audit_takes_lazy_imports_of_real_libraries_for_no_change() -> None:
    text = (
        "import torch._dynamo, torch._inductor.config, torch.distributed, tensordict.nn\n"
        "import gymnasium, multiprocessing.pool, asyncio, decimal, ssl, pandas, matplotlib.pyplot\n"
        "torch.compile(torch.nn.Linear(3, 3), backend='eager')(torch.rand(2, 3))"
    )
    assert alone(text, "import torch") == []


def test_audit_of_torch_itself_first_imported_finds_nothing() -> None:
    assert alone("import torch; torch.nn.Linear(3, 3)") == []


def test_audit_sees_one_change_where_torch_imports_inductor_for_it() -> None:
    text = "import torch; torch.use_deterministic_algorithms(True)"
    assert alone(text, "import torch") == [
        ["torch deterministic algorithms", "(False, False)", "(True, False)"]
    ]


def test_audit_finds_settings_of_the_compiler() -> None:
    text = "import torch; torch._dynamo.config.suppress_errors = True"
    assert alone(text, "import torch._dynamo") == [
        ["settings of torch._dynamo.config", "suppress_errors: False", "suppress_errors: True"]
    ]


def test_audit_finds_custom_operators() -> None:
    define = (
        "import torch\n@torch.library.custom_op('planted::two', mutates_args=())\n"
        "def two(x: torch.Tensor) -> torch.Tensor: return x * {}\n"
    )
    added = alone(define.format(2), "import torch")
    assert ["torch custom operators", "planted::two: none", "planted::two: a CustomOpDef"] in added
    first = f"exec({define.format(2)!r})"
    assert alone(define.format(3), first) == [
        ["torch custom operators", "planted::two: a CustomOpDef", "planted::two: a CustomOpDef"]
    ]


def test_audit_knows_fresh_settings_of_modules_that_old_code_loads_first() -> None:
    text = "import socket; socket.setdefaulttimeout(3)"
    assert alone(text) == [["socket timeout", "None", "3.0"]]


# -- a real splint --------------------------------------------------------------------------------


def test_audit_of_a_real_splint(project: Any) -> None:
    commit = project.commit(
        {
            "src/walker/__init__.py": "",
            "src/walker/net.py": "import torch\ntorch.set_default_dtype(torch.float64)\n"
            "from walker import hooks\n",
            "src/walker/hooks.py": "import torch\ndef to(self): return self\n"
            "torch.nn.Module.to = to\n",
        }
    )
    splint = codevault.load_code(project.top, commit)
    with audit.watching(splint.name, splint.snapshot.shared, (audit.RANDOM,)) as watch:
        splint.import_module("walker.net")
    found = {f.name: f.after for f in watch.audit.findings}
    assert watch.audit.restore() == ()
    assert found == {
        "torch default dtype": "torch.float64",
        "patched library code": "torch.nn.modules.Module.to: walker.hooks.to",
    }
    audit.forget(splint.name)
    splint.unload()


def test_audit_of_a_clean_splint(walker: Any) -> None:
    splint = codevault.load_code(walker.top, walker.head)
    with audit.watching(splint.name, splint.snapshot.shared) as watch:
        splint.load_symbol("walker.net:Walker")()(torch.ones(1, 4))
    assert not watch.audit
    splint.unload()
