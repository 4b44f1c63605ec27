"""What is imported when: the package itself, a warm load, and verbs that never need torch."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import torch

import codevault

if TYPE_CHECKING:
    from pathlib import Path

HEAVY = ("torch", "pydantic", "dulwich", "fsspec", "safetensors", "rich", "click", "yaml")


def imported_after(code: str, *arguments: str) -> set[str]:
    program = f"import json, sys\n{code}\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_import_codevault_imports_nothing_heavy() -> None:
    assert imported_after("import codevault").isdisjoint(HEAVY)


def test_all_public_names_are_there() -> None:
    for name in codevault.__all__:
        assert getattr(codevault, name) is not None
    assert set(codevault.__all__) <= set(dir(codevault))


def test_names_of_functions_are_not_hidden_by_modules() -> None:
    code = (
        "import codevault.load, codevault.save, codevault.cli, codevault.verify\n"
        "import codevault.prefetching, codevault.provenances\n"
        "for name in codevault.__all__:\n"
        "    assert type(getattr(codevault, name)) is not type(sys), name"
    )
    imported_after(code)


def test_warm_load_uses_no_network_library(walker: Any, tmp_path: Path) -> None:
    path = str(tmp_path / "best.mpt")
    codevault.save_policy(path, walker.net.Walker(), probe=torch.ones(1, 4))
    load = "import codevault; codevault.load_policy(sys.argv[1])"
    imported_after(load, path)
    found = imported_after(load, path)
    assert found.isdisjoint({"dulwich", "fsspec", "rich", "click", "urllib3", "aiohttp"})
    assert not {name for name in found if name.startswith("codevault.evolve")}


def test_prefetch_show_and_cache_never_import_torch(walker: Any, tmp_path: Path) -> None:
    path = str(tmp_path / "best.mpt")
    codevault.save_policy(path, walker.net.Walker(), probe=torch.ones(1, 4))
    for verb in (
        ["prefetch", path],
        ["show", path],
        ["cache", "ls"],
        ["cache", "verify"],
        ["publish", path, "--to", str(tmp_path / "mirror")],
    ):
        code = (
            "from codevault.cli import main\n"
            "try: main(sys.argv[1:])\nexcept SystemExit as e: assert not e.code, e.code"
        )
        assert {"torch", "ray"}.isdisjoint(imported_after(code, *verb)), verb


def test_a_command_that_needs_torch_says_so_where_there_is_none() -> None:
    code = (
        "import sys\n"
        "class Without:\n"
        "    @staticmethod\n"
        "    def find_spec(name, path=None, target=None):\n"
        "        if name == 'torch':\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, Without)\n"
        "from codevault.cli import main\n"
        "main()"
    )
    for words in (["diagnose", "best.mpt"], ["verify", "best.mpt", "--json"]):
        command = [sys.executable, "-c", code, *words]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 1
        assert "needs the package 'torch'" in done.stderr
        assert f"do:  {sys.executable} -m pip install torch" in done.stderr
        assert "Traceback" not in done.stderr
        if "--json" in words:
            assert json.loads(done.stdout)["error"]["reference"] == "missing-package"
