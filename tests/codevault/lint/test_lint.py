"""`codevault lint`: each kind of finding has a line that it finds, and one that it leaves alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from codevault.cli import main
from codevault.errors import CodeError, CodevaultError
from codevault.lint import graph
from codevault.lint.linting import lint
from codevault.lint.project import project_at
from codevault.lint.strings import reading

if TYPE_CHECKING:
    from pathlib import Path

PYPROJECT = """
    [project]
    name = "robots"
    version = "1"
    dependencies = ["torch>=2", "PyYAML"]

    [tool.codevault]
    roots = ["agent/src", "."]
    shared = ["arena.interface"]
    policies = ["walker"]
"""
CLEAN: dict[str, str | bytes | None] = {
    "pyproject.toml": PYPROJECT,
    "agent/src/walker/__init__.py": "",
    "agent/src/walker/net.py": """
        import json
        import torch
        import yaml
        from arena.interface import Env
        from walker.scale import SCALE

        class Walker(torch.nn.Module):
            def __init__(self, env: Env) -> None:
                super().__init__()
    """,
    "agent/src/walker/scale.py": "SCALE = 2.0\n",
    "arena/__init__.py": "",
    "arena/interface.py": """
        class Env:
            def __init__(self, width: int) -> None:
                self.width = width

        class Policy:
            def act(self, obs, greedy=False):
                raise NotImplementedError
    """,
    "arena/match.py": """
        import numpy
        from arena.interface import Env, Policy

        def play(policy):
            assert isinstance(policy, Policy)
    """,
    "arena/train.py": "from arena import match\n",
    "play.py": "import arena.match\n",
    "tests/test_walker.py": "from walker.net import Walker\n",
}


def run(project: Any, *more: str) -> Any:
    return CliRunner().invoke(main, ["lint", str(project.top), *more], catch_exceptions=False)


def found(project: Any, **files: str) -> set[tuple[str, str, int]]:
    """Kind, path and line of what is found when some modules of the clean project are these."""
    project.write(CLEAN)
    project.write({path.replace("__", "/") + ".py": text for path, text in files.items()})
    return {(f.kind, f.path, f.line) for f in lint(str(project.top)).findings}


def test_clean(project: Any) -> None:
    project.write(CLEAN)
    report = lint(str(project.top))
    assert report.findings == ()
    assert report.modules == {"policy": 3, "shared": 1, "application": 4}
    assert run(project).exit_code == 0


WALKER = "agent__src__walker__more"

CASES: dict[str, tuple[str, str, str, int]] = {
    "undeclared": (WALKER, "x = 1\nimport scipy.signal\n", "third-party", 2),
    "undeclared in a function": (WALKER, "def f():\n    from scipy import x\n", "third-party", 2),
    "upwards": (WALKER, "from arena import match\n", "policy-imports-application", 1),
    "upwards to a file": (WALKER, "import play\n", "policy-imports-application", 1),
    "by class": ("arena__more", "from walker.net import Walker\n", "application-imports-policy", 1),
    "by module": ("arena__more", "import walker.net as n\n", "application-imports-policy", 1),
    "by a file": ("show", "import walker.net\n", "application-imports-policy", 1),
    "typed": (
        "arena__more",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from walker.net import Walker\n",
        "application-imports-policy",
        3,
    ),
    "text": ("arena__more", "a = 1\nPATH = 'walker.net.Walker'\n", "concrete-class", 2),
    "text with colon": ("arena__more", "PATH = 'walker.net:Walker'\n", "concrete-class", 1),
    "sys.modules": (WALKER, "import sys\ngetattr(sys, 'modules')\n", "string-unfollowed", 2),
    "star": (WALKER, "from pickle import *\n", "string-unfollowed", 1),
    "exec of many": (WALKER, "def f(a):\n    exec(*a)\n", "string-unfollowed", 2),
    "eval as a value": (WALKER, "list(map(eval, ['1']))\n", "string-unfollowed", 1),
    "module as a value": (WALKER, "import pickle\nprint(pickle)\n", "string-unfollowed", 2),
    "by string": (
        WALKER,
        "import importlib\ndef f(n):\n    return importlib.import_module(n)\n",
        "string-unseen",
        3,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_each_kind(project: Any, case: str) -> None:
    module, text, kind, line = CASES[case]
    path = module.replace("__", "/") + ".py"
    assert found(project, **{module: text}) == {(kind, path, line)}


@pytest.mark.parametrize(
    "text",
    [
        "import sys\nsys.modules['a']\ngetattr(sys, 'path')\n",
        "import pickle\npickle.loads(b'')\n",
        "import importlib\nimportlib.import_module('walker.net')\n",
        "exec('x = 1')\neval('1')\n",
        "import os, json, dataclasses, __future__\n",
        "from . import scale\nfrom .scale import SCALE\n",
        "from arena.interface import Policy\nisinstance(1, Policy)\n",
        '"""walker.net.Walker"""\n',
    ],
)
def test_policy_code_that_is_fine(project: Any, text: str) -> None:
    assert found(project, **{WALKER: text}) == set()


@pytest.mark.parametrize(
    "text",
    [
        "import scipy\n",
        "x = 'walker.scale.SCALE'\ny = 'walker.net'\n",
        "import sys\nf = getattr(sys, 'modules')\n",
        '"""walker.net.Walker"""\nclass A:\n    """walker.net.Walker"""\n',
    ],
)
def test_application_code_that_is_fine(project: Any, text: str) -> None:
    assert found(project, arena__more=text) == set()


@pytest.mark.parametrize(
    "asked",
    ["Walker", "(int, Walker)", "Walker | None", "net.Walker"],
)
def test_isinstance_of_a_concrete_class(project: Any, asked: str) -> None:
    head = "from walker import net\nfrom walker.net import Walker\n"
    assert found(project, arena__more=f"{head}isinstance(1, {asked})\n") == {
        ("application-imports-policy", "arena/more.py", 1),
        ("application-imports-policy", "arena/more.py", 2),
        ("concrete-class", "arena/more.py", 3),
    }


def test_other_ways_to_ask_for_a_concrete_class(project: Any) -> None:
    lines = [
        "from walker import net",
        "from walker.net import Walker",
        "type(1) is Walker  #",
        "type(1) in (int, Walker)  #",
        "(1).__class__ == net.Walker  #",
        "type(1).__name__ == 'Walker'  #",
        "(1).__class__.__qualname__ in {'Walker', 'Other'}  #",
        "match 1:",
        "    case Walker():  #",
        "        pass",
        "type(1) is int",
        "type(1).__name__ == 'Other'",
        "Walker.__name__ == 'Walker'",
        "type('W', (Walker,), {}) is None",
    ]
    kinds = found(project, arena__more="\n".join(lines) + "\n")
    wanted = {number for number, line in enumerate(lines, 1) if line.endswith("#")}
    assert {line for kind, _, line in kinds if kind == "concrete-class"} == wanted


def test_a_class_that_the_application_hands_on_is_the_same_class(project: Any) -> None:
    kinds = found(
        project,
        arena__hands="from walker.net import Walker\n",
        arena__more="from arena.hands import Walker\nisinstance(1, Walker)\n",
    )
    assert ("concrete-class", "arena/more.py", 2) in kinds


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("pyproject.toml", "\n[tool.poetry.dependencies]\npython = '^3.11'\nscipy = '*'\n"),
        ("pyproject.toml", "\n[tool.poetry.group.extra.dependencies]\nscipy = {version = '1'}\n"),
        ("setup.cfg", "[options]\ninstall_requires =\n    scipy>=1\n"),
        ("setup.cfg", "[options.extras_require]\nall =\n    scipy\n"),
        ("requirements.txt", "scipy\n"),
        ("setup.py", "setup(install_requires=['scipy'])\n"),
    ],
)
def test_wherever_packages_are_declared(project: Any, path: str, text: str) -> None:
    said = textwrap.dedent(PYPROJECT).replace('dependencies = ["torch>=2", "PyYAML"]', "")
    project.write(CLEAN | {"pyproject.toml": said})
    assert project_at(str(project.top)).packages is None
    project.write({path: said + text if path == "pyproject.toml" else text})
    assert project_at(str(project.top)).packages == frozenset({"scipy"})


def test_what_was_shared_still_counts(project: Any) -> None:
    """Old snapshots take it from the application, whatever is shared today."""
    before = project.commit(CLEAN)
    project.write(
        {
            "pyproject.toml": PYPROJECT.replace("arena.interface", "arena.other").replace(
                '"agent/src"', '"lib"'
            ),
            "arena/other.py": "",
            "arena/interface.py": "class Env: ...\n",
            "arena/match.py": "",
            "agent/src/walker/net.py": None,
            "lib/walker/net.py": "",
        }
    )
    findings = lint(str(project.top), against=before).findings
    assert {f.path for f in findings if f.kind == "shared-api"} == {"arena/interface.py"}


def test_a_class_that_a_package_hands_on_is_the_same_class(project: Any) -> None:
    project.write(CLEAN)
    project.write(
        {
            "agent/src/walker/__init__.py": "from walker.net import Walker as Best\n",
            "arena/more.py": "from walker import Best\nisinstance(1, Best)\n",
            "arena/text.py": "PATH = 'walker.Best'\n",
        }
    )
    found = {(f.kind, f.path, f.what) for f in lint(str(project.top)).findings}
    assert found == {
        ("application-imports-policy", "arena/more.py", "imports walker for Best"),
        ("concrete-class", "arena/more.py", "asks whether something is a walker.Best"),
        ("concrete-class", "arena/text.py", "names the class walker.Best"),
    }


def test_the_package_around_a_policy_may_be_imported_by_it(project: Any) -> None:
    project.write(
        {
            "pyproject.toml": "[tool.codevault]\nroots = ['.']\npolicies = ['robots.nets']\n",
            "robots/__init__.py": "",
            "robots/nets/__init__.py": "import robots\nfrom robots import nets\n",
            "robots/run.py": "import robots\n",
        }
    )
    assert lint(str(project.top)).findings == ()


def test_shared_modules_import_no_policies(project: Any) -> None:
    shared = "from walker.net import Walker\n"
    assert found(project, arena__interface=shared) == {
        ("shared-imports-policy", "arena/interface.py", 1)
    }


def test_without_stated_policies_the_roots_hold_them(project: Any) -> None:
    project.write(CLEAN)
    text = PYPROJECT.replace('policies = ["walker"]', "").replace('"agent/src", "."', '"agent/src"')
    project.write({"pyproject.toml": text, "show.py": "import walker.net\n"})
    report = lint(str(project.top))
    assert report.modules == {"policy": 3, "shared": 1, "application": 5}
    assert [f.kind for f in report.findings] == ["application-imports-policy"]


def test_namespaces_and_packages_over_several_roots_are_one_graph(project: Any) -> None:
    extend = "__path__ = __import__('pkgutil').extend_path(__path__, __name__)\n"
    project.write(
        {
            "pyproject.toml": "[tool.codevault]\nroots = ['a', 'b']\npolicies = ['m.agent']\n",
            "a/m/__init__.py": extend,
            "b/m/__init__.py": extend,
            "a/m/agent/net.py": "import m.tools.run\n",
            "b/m/tools/run.py": "from m.agent import net\n",
        }
    )
    kinds = [(f.kind, f.path) for f in lint(str(project.top)).findings]
    assert kinds == [
        ("policy-imports-application", "a/m/agent/net.py"),
        ("application-imports-policy", "b/m/tools/run.py"),
    ]


def test_nothing_of_the_project_runs(project: Any, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    runs = f"open({str(mark)!r}, 'w')\n"
    project.write(CLEAN)
    project.write({"arena/match.py": runs, "agent/src/walker/__init__.py": runs})
    project.commit()
    lint(str(project.top), against=project.git("rev-parse", "HEAD"))
    assert not mark.exists()


def test_api_of_shared_modules_against_a_commit(project: Any) -> None:
    before = project.commit(CLEAN)
    assert lint(str(project.top), against=before).findings == ()
    interface = """
        class Env:
            def __init__(self, width: int, height: int) -> None:
                self.width = width

        class Policy:
            def act(self, obs):
                raise NotImplementedError
    """
    project.write({"arena/interface.py": interface, "arena/match.py": "def other(): ...\n"})
    findings = lint(str(project.top), against=before).findings
    assert {(f.kind, f.path) for f in findings} == {("shared-api", "arena/interface.py")}
    texts = " ".join(f.what for f in findings)
    assert "arena.interface.Env" in texts
    assert "greedy" in texts or "act" in texts
    assert run(project, "--against", before).exit_code == 1


def test_a_shared_module_that_is_gone(project: Any) -> None:
    before = project.commit(CLEAN)
    gone = {"arena/interface.py": None, "arena/match.py": "", "agent/src/walker/net.py": ""}
    project.write(gone)
    (finding,) = lint(str(project.top), against=before).findings
    assert finding.kind == "shared-api"
    assert "arena.interface" in finding.what


def test_text_and_json(project: Any) -> None:
    project.write(CLEAN | {"arena/more.py": "import walker.net\n"})
    result = run(project)
    assert result.exit_code == 1
    assert "arena/more.py:1: imports walker.net [application-imports-policy]" in result.output
    assert "arena/more.py" not in run(project, "--stat").output
    data = json.loads(run(project, "--json").output)
    assert data.keys() == {"findings", "kinds", "modules", "imports", "declares", "ok"}
    assert data["findings"][0].keys() == {"kind", "path", "line", "module", "what"}
    assert data["kinds"] == {"application-imports-policy": 1}
    assert data["ok"] is False


def test_notes_are_no_finding(project: Any) -> None:
    project.write(CLEAN | {"arena/more.py": "def f(n):\n    return __import__(n)\n"})
    result = run(project)
    assert "note: __import__(n) [string-unseen]" in result.output
    assert result.exit_code == 0


def test_usage_and_errors(project: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(CodeError, match="no Python files"):
        lint(str(tmp_path / "empty"))
    assert CliRunner().invoke(main, ["lint", str(tmp_path / "nowhere")]).exit_code == 2
    project.write(CLEAN | {"pyproject.toml": PYPROJECT.replace("walker", "runner")})
    with pytest.raises(CodeError, match="no module runner"):
        lint(str(project.top))
    project.write(CLEAN | {"arena/bad.py": "def (:\n"})
    with pytest.raises(CodeError, match=r"arena.*bad"):
        lint(str(project.top))
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(CodevaultError, match="needs grimp") as caught:
        graph.need("grimp")
    assert "pip install 'codevault[lint]'" in caught.value.hint


def test_a_branch_to_compare_with_is_told_with_the_line_that_works(project: Any) -> None:
    head = project.commit(CLEAN)
    result = run(project, "--against", "main")
    assert result.exit_code == 2
    line = result.output.partition("do:  ")[2].splitlines()[0]
    done = subprocess.run(["sh", "-c", f"echo {line}"], capture_output=True, text=True, check=True)
    assert done.stdout.split()[-1] == head


def test_relative_imports_are_read_as_python_does() -> None:
    read = reading(b"from ..up import A\nfrom . import b\nimport c.d as e\n", "pkg.inner")
    assert read.names == {"A": "pkg.up.A", "b": "pkg.inner.b", "e": "c.d"}


def test_the_hook_runs_as_pre_commit_runs_it(project: Any, tmp_path: Path) -> None:
    from tests.docs.test_docs import TOP

    project.commit(CLEAN)
    hooks = type(project)(tmp_path / "hooks")
    rev = hooks.commit({".pre-commit-hooks.yaml": (TOP / ".pre-commit-hooks.yaml").read_bytes()})
    config = f"""
        repos:
          - repo: {hooks.top}
            rev: {rev}
            hooks:
              - id: codevault-lint
    """
    project.commit({".pre-commit-config.yaml": config})
    environment = {**os.environ, "PRE_COMMIT_HOME": str(tmp_path / "home")}
    environment["PATH"] = f"{os.path.dirname(sys.executable)}{os.pathsep}{os.environ['PATH']}"

    def pre_commit() -> Any:
        command = [sys.executable, "-m", "pre_commit", "run", "--all-files"]
        options: Any = {"cwd": project.top, "env": environment}
        return subprocess.run(command, capture_output=True, text=True, **options)

    done = pre_commit()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "codevault lint" in done.stdout
    assert "Passed" in done.stdout
    project.commit({"arena/more.py": "import walker.net\n"})
    done = pre_commit()
    assert done.returncode == 1
    assert "application-imports-policy" in done.stdout


def test_the_ci_snippet_runs(project: Any) -> None:
    import re

    import yaml

    from tests.docs.test_docs import TOP, blocks

    (steps,) = [b for b in blocks(TOP / "docs/lint.md", "yaml") if "steps:" in b]
    lines = [step["run"] for step in yaml.safe_load(steps)["steps"] if "run" in step]
    before = project.commit(CLEAN)
    (line,) = [re.sub(r"\$\{\{.*?\}\}", before, line) for line in lines if "lint ." in line]
    words = [str(project.top) if word == "." else word for word in line.split()[1:]]
    assert CliRunner().invoke(main, words, catch_exceptions=False).exit_code == 0
    extra = [line for line in lines if "pip install" in line]
    assert extra == ["python -m pip install 'codevault[lint]'"]
