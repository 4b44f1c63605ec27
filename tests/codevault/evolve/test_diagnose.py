"""Diagnosis: each cause alone, all at once, none; nothing runs without a grant."""

from __future__ import annotations

import importlib
import json
import shlex
import sys
import warnings
from typing import TYPE_CHECKING, Any

import pytest
import torch
from click.testing import CliRunner

import codevault
from codevault import packages
from codevault.build import CurrentCode
from codevault.cli import main
from codevault.errors import FetchError, RefusedError

if TYPE_CHECKING:
    from pathlib import Path

NET = "src/walker/net.py"

SOURCE = """
import torch
from dataclasses import dataclass, field

@dataclass
class Noise:
    scale: float = 0.5

class Walker(torch.nn.Module):
    def __init__(self, inputs=4, hidden=8, noise=Noise()):
        super().__init__()
        self.body = torch.nn.Linear(inputs, hidden)
        self.act = torch.nn.Tanh()
        self.norm = torch.nn.LayerNorm(hidden)
        self.head = torch.nn.Linear(hidden, 2)
        self.gain = 2.0

    def forward(self, obs):
        return self.gain * self.head(self.norm(self.act(self.body(obs))))
"""


@pytest.fixture
def best(project: Any, tmp_path: Path) -> str:
    project.commit({"src/walker/__init__.py": "", NET: SOURCE})
    net = project.load("walker.net")
    torch.manual_seed(0)
    kwargs = {"inputs": 4, "hidden": 8}
    codevault.save_policy(
        tmp_path / "best.mpt",
        net.Walker(**kwargs),
        architecture={"class_path": "walker.net:Walker", "kwargs": kwargs},
        probe=torch.ones(2, 4),
    )
    return str(tmp_path / "best.mpt")


def changed(project: Any, *edits: tuple[str, str]) -> str:
    text = SOURCE
    for old, new in edits:
        assert old in text
        text = text.replace(old, new)
    commit: str = project.commit({NET: text})
    return commit


def against(project: Any, best: str) -> codevault.Diagnosis:
    return codevault.diagnose(best, against=project.top)


def kinds(found: codevault.Diagnosis) -> list[tuple[str, str, str]]:
    return [(cause.family, cause.kind, cause.name) for cause in found.causes]


def test_nothing_is_found_where_nothing_changed(
    project: Any, best: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pinned = f"{project.top}@{changed(project)}"
    for target in (project.top, "current", pinned):
        found = codevault.diagnose(best, target)
        assert not found, str(found)
        assert "reproduced" in found.checked["probe"]
        assert found.works == f"codevault.load_policy({best!r})"
        place = pinned if target == pinned else project.top
        assert found.next == f"codevault migrate {best} --to {place} -o best.new.mpt"
    monkeypatch.chdir(tmp_path)
    assert CliRunner().invoke(main, shlex.split(found.next)[1:]).exit_code == 0
    assert codevault.read_manifest("best.new.mpt").commit == pinned.rpartition("@")[2]


@pytest.mark.parametrize(
    ("edits", "expected"),
    [
        ([("hidden=8", "width=8"), ("hidden)", "width)"), ("(hidden,", "(width,")],
         [("config", "renamed", "hidden")]),
        ([("inputs=4, ", ""), ("(inputs,", "(4,")], [("config", "removed", "inputs")]),
        ([("noise=Noise()", "noise=Noise(), layers=3")], [("config", "added", "layers")]),
        ([("scale: float = 0.5", "scale: float = 0.7")], [("config", "default", "noise.scale")]),
        ([("LayerNorm(hidden)", "LayerNorm(hidden, eps=0.1)")],
         [("config", "value", "norm.eps"), ("probe", "differs", "out")]),
        ([("Tanh", "ReLU")], [("config", "value", "act"), ("probe", "differs", "out")]),
        ([("self.gain = 2.0", "self.gain = 3.0")],
         [("config", "value", "gain"), ("probe", "differs", "out")]),
        ([("self.body", "self.encoder")], [("keys", "renamed", "body.*")]),
        ([("Linear(hidden, 2)", "Linear(hidden, 3)")],
         [("shapes", "code", "head.weight"), ("shapes", "code", "head.bias")]),
        ([("return self.gain *", "return 3.0 *")], [("probe", "differs", "out")]),
        ([("class Walker", "class Runner")], [("config", "moved", "walker.net:Walker")]),
        ([("class Walker", "class Jog: pass\nclass Runner")],
         [("config", "gone", "walker.net:Walker")]),
        ([("import torch\n", "import torch\nimport walker.none\n")],
         [("config", "raised", "walker.net:Walker")]),
        ([("self.gain = 2.0", "raise RuntimeError('no actuator')")],
         [("config", "raised", "new code")]),
    ],
)  # fmt: skip
def test_each_cause_alone(project: Any, best: str, edits: Any, expected: Any) -> None:
    changed(project, *edits)
    found = against(project, best)
    assert kinds(found) == expected, str(found)
    assert found.works is not None
    assert found.next == f"codevault migrate {best} --to {project.top} --suggest best.toml"


def test_all_at_once(project: Any, best: str) -> None:
    changed(
        project,
        ("inputs=4", "obs_dim=4"),
        ("inputs,", "obs_dim,"),
        ("noise=Noise()", "noise=Noise(), layers=3"),
        ("scale: float = 0.5", "scale: float = 0.7"),
        ("LayerNorm(hidden)", "LayerNorm(hidden, eps=0.1)"),
        ("self.body", "self.encoder"),
        ("Linear(hidden, 2)", "Linear(hidden, 3)"),
    )
    found = against(project, best)
    assert kinds(found) == [
        ("config", "renamed", "inputs"),
        ("config", "added", "layers"),
        ("config", "default", "noise.scale"),
        ("config", "value", "norm.eps"),
        ("keys", "renamed", "body.*"),
        ("shapes", "code", "head.weight"),
        ("shapes", "code", "head.bias"),
    ]
    assert found.checked["probe"] == "not replayed: keys or shapes do not fit"
    text = str(found)
    assert len(text.splitlines()) <= 40
    assert found.works is not None
    assert found.works in text
    assert torch.is_tensor(codevault.load_policy(best)(torch.ones(1, 4)))


def test_command_and_its_json(project: Any, best: str) -> None:
    changed(project, ("self.body", "self.encoder"))
    result = CliRunner().invoke(main, ["diagnose", best, "--against", str(project.top), "--json"])
    assert result.exit_code == 1
    data = json.loads(result.output)
    types = {key: type(value) for key, value in data.items()}
    assert types == {
        "ok": bool, "uri": str, "old": str, "new": str, "causes": list, "checked": dict,
        "works": str, "proof": str, "next": str, "history": str,
    }  # fmt: skip
    (cause,) = data["causes"]
    assert cause == {
        "family": "keys",
        "kind": "renamed",
        "name": "body.*",
        "text": "body.* -> encoder.*  (2 keys)",
        "old": ["body.weight", "body.bias"],
        "new": ["encoder.weight", "encoder.bias"],
        "introduced": cause["introduced"],
        "suspects": [],
    }
    assert list(data["checked"]) == ["config", "keys", "shapes", "packages", "probe"]
    text = CliRunner().invoke(main, ["diagnose", best, "--against", str(project.top)])
    assert text.exit_code == 1
    assert "[2] keys     body.* -> encoder.*  (2 keys)" in text.output
    changed(project)
    none = CliRunner().invoke(main, ["diagnose", best, "--against", str(project.top)])
    assert none.exit_code == 0, none.output


def test_nothing_runs_without_a_grant(
    project: Any, best: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "somebody"))
    changed(project, ("import torch\n", "raise SystemError('ran')\n"))
    with pytest.raises(RefusedError):
        codevault.diagnose(best, against=project.top)
    assert CliRunner().invoke(main, ["diagnose", best]).exit_code == 4


def test_what_names_no_code_is_refused(best: str) -> None:
    with pytest.raises(codevault.CodevaultError, match="neither a folder nor a full commit"):
        codevault.diagnose(best, against="main")


STEPS = [
    ("Rename inputs", [("inputs=4", "obs_dim=4"), ("inputs,", "obs_dim,")]),
    ("Speak of walking", [("import torch\n", "# walking\nimport torch\n")]),
    ("More noise", [("scale: float = 0.5", "scale: float = 0.7")]),
    ("Softer norm", [("LayerNorm(hidden)", "LayerNorm(hidden, eps=0.1)")]),
    ("Speak of noise", [("class Noise:\n", "class Noise:\n    # loud\n")]),
    ("Encoder", [("self.body", "self.encoder")]),
    ("Three actions", [("Linear(hidden, 2)", "Linear(hidden, 3)")]),
    ("Rename hidden", [("hidden=8", "width=8"), ("(hidden", "(width"), (" hidden)", " width)")]),
    ("Unrelated", []),
]


def history(project: Any, steps: Any = STEPS) -> dict[str, str]:
    commits, text = {}, SOURCE
    for number, (subject, edits) in enumerate(steps):
        for old, new in edits:
            assert old in text
            text = text.replace(old, new)
        project.write({NET: text, "unrelated.txt": str(number)})
        project.git("add", "--all")
        project.git("commit", "--quiet", "--message", subject)
        commits[subject] = project.git("rev-parse", "HEAD")
    return commits


def dates(found: codevault.Diagnosis) -> dict[str, str | None]:
    return {c.name: c.introduced.subject if c.introduced else None for c in found.causes}


def test_each_cause_names_the_commit_that_brought_it(project: Any, best: str) -> None:
    commits = history(project)
    expected = {
        "inputs": "Rename inputs",
        "noise.scale": "More noise",
        "norm.eps": "Softer norm",
        "body.*": "Encoder",
        "hidden": "Rename hidden",
        "head.weight": "Three actions",
        "head.bias": "Three actions",
    }
    named = f"{project.top}@{commits['Unrelated']}"
    for target in (project.top, named):
        found = codevault.diagnose(best, target)
        assert dates(found) == expected
        assert found.history == f"9 commits of {project.top} searched"
    project.load("walker.net")
    assert dates(codevault.diagnose(best)) == expected
    introduced = found.causes[0].introduced
    assert introduced is not None
    assert introduced.commit == commits["Rename inputs"]
    assert f"since {introduced.commit[:10]} {introduced.date} Rename inputs" in str(found)


def test_a_commit_is_named_for_the_probe_only_where_it_is_the_only_one(
    project: Any, best: str
) -> None:
    louder = ("Louder", [("return self.gain *", "return 3.0 *")])
    history(project, [STEPS[1], louder, STEPS[4]])
    assert dates(against(project, best)) == {"out": "Louder"}
    history(project, [STEPS[1], ("Softer", [("return self.gain *", "return 2.5 *")])])
    found = against(project, best)
    (cause,) = found.causes
    assert cause.introduced is None
    # Back to the start, and on.
    assert [each.subject for each in cause.suspects] == ["Louder", "Speak of walking", "Softer"]
    commits = ", ".join(each.commit[:10] for each in cause.suspects)
    assert f"since one of {commits}" in str(found)


def test_uncommitted_changes_have_no_commit(project: Any, best: str) -> None:
    history(project, [STEPS[1]])
    project.write({NET: SOURCE.replace("self.body", "self.encoder")})
    found = against(project, best)
    assert dates(found) == {"body.*": None}
    assert "uncommitted changes have no commit" in found.history


def test_a_branch_is_searched_where_it_left_the_main_line(project: Any, best: str) -> None:
    project.git("branch", "side")
    history(project, STEPS[:3])
    merged = "Merge side"
    project.git("checkout", "--quiet", "side")
    project.commit({"unrelated.txt": "side"})
    project.git("checkout", "--quiet", "main")
    project.git("merge", "--quiet", "-X", "ours", "--no-edit", "-m", merged, "side")
    assert dates(against(project, best)) == {
        "inputs": "Rename inputs",
        "noise.scale": "More noise",
    }


def test_without_a_clone_it_says_so(
    project: Any, best: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed(project, ("self.body", "self.encoder"))
    (tmp_path / "export").mkdir()
    project.git("archive", "--output", str(tmp_path / "export.tar"), "HEAD")
    import tarfile

    with tarfile.open(tmp_path / "export.tar") as archive:
        archive.extractall(tmp_path / "export", filter="data")
    monkeypatch.chdir(tmp_path)
    found = codevault.diagnose(best, tmp_path / "export")
    assert dates(found) == {"body.*": None}
    assert found.history == "not searched: no clone with both commits is at hand"


def test_what_one_version_does_to_the_process_is_no_fault_of_the_other(
    project: Any, tmp_path: Path
) -> None:
    """rsl_rl 1 and 2: the one replaces a function of torch by False, the other calls it."""
    normal: Any = torch.distributions.Normal
    setting = "torch.distributions.Normal.set_default_validate_args"
    files = {"src/walker/__init__.py": "", "src/walker/scale.py": "", NET: SOURCE}
    files[NET] = SOURCE.replace("self.gain = 2.0", f"self.gain = 2.0\n        {setting} = False")
    project.commit(files)
    net = project.load("walker.net")
    before = normal.set_default_validate_args
    codevault.save_policy(tmp_path / "old.mpt", net.Walker(), probe=torch.ones(2, 4))
    normal.set_default_validate_args = before
    changed(project, ("self.gain = 2.0", f"self.gain = 2.0\n        {setting}(True)"))
    mounted = {name for name in sys.modules if name.startswith("_splint_")}
    found = codevault.diagnose(tmp_path / "old.mpt", project.top)
    assert not found, str(found)
    assert normal.set_default_validate_args == before
    assert {name for name in sys.modules if name.startswith("_splint_")} == mounted


def test_current_code_that_python_does_not_find(
    project: Any, best: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("walker", "walker.net"):
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if not p.startswith(str(project.top))])
    result = CliRunner().invoke(main, ["diagnose", best])
    assert result.exit_code == 1
    assert "this Python does not find walker; --against DIR takes a folder" in " ".join(
        result.output.split()
    )


def test_what_is_not_found_here_is_held_against_no_commit(
    project: Any, best: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clone may be at hand; its commits brought neither an empty folder nor a bare Python."""
    (tmp_path / "empty").mkdir()
    changed(project, ("self.body", "self.encoder"))
    monkeypatch.chdir(project.top)
    for name in ("walker", "walker.net"):
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if "project" not in p])
    for where in (tmp_path / "empty", "current"):
        found = codevault.diagnose(best, where)
        assert found.causes[0].kind == "gone"
        assert all(not c.introduced and not c.suspects for c in found.causes), str(found)
        assert found.history == "not searched: no clone with both commits is at hand"


def test_a_shared_module_that_the_application_lacks_is_told_with_the_line_that_helps(
    project: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.commit(
        {
            "pyproject.toml": '[tool.codevault]\nroots = ["src", "."]\nshared = ["arena"]\n',
            "arena.py": """
                import dataclasses
                @dataclasses.dataclass
                class Arena:
                    size: int = 4
            """,
            "src/walker/__init__.py": "",
            NET: SOURCE.replace(
                "import torch\n", "import torch\nfrom arena import Arena\n"
            ).replace("inputs=4", "arena=Arena(), inputs=4"),
        }
    )
    net = project.load("walker.net", "src", ".")
    best = tmp_path / "best.mpt"
    given = {"class_path": "walker.net:Walker", "kwargs": {"arena": net.Arena()}}
    codevault.save_policy(best, net.Walker(), architecture=given, probe=torch.ones(2, 4))
    project.commit({"notes.txt": ""})
    for name in ("arena", "walker", "walker.net"):
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if not p.startswith(str(project.top))])
    found = codevault.diagnose(best, project.top)
    assert found.works is None
    assert found.next == (
        f"PYTHONPATH={project.top} codevault diagnose {best} --against {project.top}"
    )
    assert all(not c.introduced and not c.suspects for c in found.causes), str(found)
    assert "near: arena" not in str(found)
    monkeypatch.setattr(warnings, "warn", lambda *_: None)  # that it is lacking is told, too
    with pytest.raises(codevault.CodevaultError, match="shares 'arena' with the appl") as caught:
        codevault.load_policy(best)
    assert caught.value.hint == "export PYTHONPATH=FOLDER_WITH_arena"
    monkeypatch.chdir(project.top / "src")
    with pytest.raises(codevault.CodevaultError) as caught:
        codevault.load_policy(best)
    assert caught.value.hint == f"export PYTHONPATH={project.top}"
    monkeypatch.syspath_prepend(str(project.top))
    assert not codevault.diagnose(best, project.top)


def test_old_code_that_cannot_be_had_is_a_cause_and_the_rest_is_told(
    project: Any, best: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed(project, ("self.body", "self.encoder"))
    monkeypatch.setattr("codevault.evolve.diagnose.use_code", _no_code)
    found = against(project, best)
    assert kinds(found) == [("config", "raised", "old code"), ("keys", "renamed", "body.*")]
    assert found.works is None
    assert "nothing that was tried" in str(found)
    assert "no origin has it" in str(found)


def _no_code(*_: Any) -> Any:
    raise FetchError("the code could not be had", "no origin has it")


ENV = """
from dataclasses import dataclass

@dataclass
class Env:
    actions: int = 2
"""
FOR_ENV = SOURCE.replace("noise=Noise()", "noise=Noise(), env=None").replace(
    "Linear(hidden, 2)", "Linear(hidden, env.actions)"
)


def test_who_changed_a_shape_is_told_by_building(project: Any, tmp_path: Path) -> None:
    project.commit({"src/walker/__init__.py": "", NET: FOR_ENV, "src/walker/env.py": ENV})
    net = project.load("walker.net")
    env = importlib.import_module("walker.env")
    best = str(tmp_path / "best.mpt")
    walker = net.Walker(env=env.Env())
    codevault.save_policy(
        best, walker, architecture={"class_path": net.Walker}, env=env.Env(), probe=torch.ones(2, 4)
    )
    today = codevault.diagnose(best, env=env.Env(actions=5))
    assert kinds(today)[-2:] == [
        ("shapes", "environment", "head.weight"),
        ("shapes", "environment", "head.bias"),
    ]
    assert "environment, not code" in str(today)
    assert "output side was 2, like the recorded outputs" in str(today)
    assert not codevault.diagnose(best)
    project.write({NET: FOR_ENV.replace("env.actions)", "env.actions + 1)")})
    project.load("walker.net")
    code = codevault.diagnose(best)
    assert kinds(code) == [("shapes", "code", "head.weight"), ("shapes", "code", "head.bias")]


def test_a_shape_that_shared_code_changed_is_held_against_neither(
    project: Any, tmp_path: Path
) -> None:
    files = {
        "src/walker/__init__.py": "",
        NET: "from shared_env import ACTIONS\n" + SOURCE.replace("hidden, 2)", "hidden, ACTIONS)"),
        "src/shared_env.py": "ACTIONS = 2\n",
        "pyproject.toml": "[tool.codevault]\nshared = ['shared_env']\nroots = ['src']\n",
    }
    project.commit(files)
    net = project.load("walker.net")
    best = str(tmp_path / "best.mpt")
    codevault.save_policy(best, net.Walker(), probe=torch.ones(2, 4))
    sys.modules["shared_env"].ACTIONS = 3  # type: ignore[attr-defined]
    found = codevault.diagnose(best, project.top)
    assert kinds(found) == [
        ("shapes", "outside", "head.weight"),
        ("shapes", "outside", "head.bias"),
    ]
    assert found.works is None


def test_packages_are_judged_as_a_load_does(
    project: Any, best: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packages, "installed", lambda name: None if name == "torch" else "1.0")
    found = against(project, best)
    (cause,) = found.of("packages")
    assert (cause.kind, cause.name) == ("missing", "torch")


MODELS = {
    "pydantic": """
        import pydantic
        class Config(pydantic.BaseModel):
            hidden: int = 8
            eps: float = 1e-5
            act: str = "tanh"
    """,
    "attrs": """
        import attrs
        @attrs.frozen
        class Config:
            hidden: int = 8
            eps: float = 1e-5
            act: str = "tanh"
    """,
    "dataclass": """
        import dataclasses
        @dataclasses.dataclass
        class Config:
            hidden: int = 8
            eps: float = 1e-5
            act: str = "tanh"
    """,
}
BY_CONFIG = """
import torch
from walker.config import Config

class Walker(torch.nn.Module):
    def __init__(self, config: Config = None):
        super().__init__()
        self.config = config or Config()
        self.body = torch.nn.Linear(4, self.config.hidden)
        self.head = torch.nn.Linear(self.config.hidden, 2)

    def forward(self, obs):
        return self.head(getattr(torch, self.config.act)(self.body(obs)))
"""


CONFIG = "src/walker/config.py"


def by_config(project: Any, tmp_path: Path, text: str, hidden: int | None = None) -> str:
    """A checkpoint of a policy that takes a config, recorded where `hidden` is given."""
    project.commit({"src/walker/__init__.py": "", NET: BY_CONFIG, CONFIG: text})
    net = project.load("walker.net")
    policy, given = net.Walker(), None
    if hidden is not None:
        policy = net.Walker(sys.modules["walker.config"].Config(hidden=hidden))
        given = {"class_path": net.Walker, "kwargs": {"config": policy.config}}
    best = str(tmp_path / "best.mpt")
    codevault.save_policy(best, policy, architecture=given, probe=torch.ones(2, 4))
    return best


@pytest.mark.parametrize("kind", MODELS)
def test_default_drift_of_a_config_that_was_never_passed(
    project: Any, tmp_path: Path, kind: str
) -> None:
    best = by_config(project, tmp_path, MODELS[kind])
    louder = project.commit({CONFIG: MODELS[kind].replace('"tanh"', '"relu"')})
    project.commit({CONFIG: MODELS[kind].replace('"tanh"', '"relu"').replace("1e-5", "1e-3")})
    found = codevault.diagnose(best, project.top)
    assert kinds(found) == [
        ("config", "value", "config.eps"),
        ("config", "value", "config.act"),
        ("probe", "differs", "out"),
    ], str(found)
    act = found.causes[1]
    assert (act.old, act.new) == ("tanh", "relu")
    assert act.introduced is not None
    assert act.introduced.commit == louder


def test_a_recorded_model_meets_renamed_fields(project: Any, tmp_path: Path) -> None:
    text = MODELS["dataclass"]
    best = by_config(project, tmp_path, text, hidden=6)
    project.commit(
        {
            NET: BY_CONFIG.replace("config.hidden", "config.width"),
            CONFIG: text.replace("hidden", "width").replace("eps: float = 1e-5", "seed: int = 3"),
        }
    )
    found = codevault.diagnose(best, project.top)
    assert kinds(found) == [
        ("config", "renamed", "config.hidden"),
        ("config", "removed", "config.eps"),
        ("config", "added", "config.seed"),
    ], str(found)
    assert "reproduced" in found.checked["probe"]


def test_a_nested_config_that_became_a_field_of_another_name(project: Any, tmp_path: Path) -> None:
    text = MODELS["dataclass"]
    best = by_config(project, tmp_path, text, hidden=6)
    source = BY_CONFIG.replace("Config", "Body").replace("config: Body", "body: Body")
    source = source.replace("config or", "body or")
    project.commit({NET: source, CONFIG: text.replace("Config", "Body")})
    found = codevault.diagnose(best, project.top)
    assert ("config", "renamed", "config") in kinds(found), str(found)
    text = text.replace("Config", "Body").replace("hidden: int = 8", "width: str = ''")
    source = BY_CONFIG.replace("import Config", "import Body, Config")
    source = source.replace("config: Config = None", "config=None, extra=Body()")
    project.commit({NET: source, CONFIG: MODELS["dataclass"] + text})
    found = codevault.diagnose(best, project.top)
    assert "extra is new; its default is Body(width='', eps=1e-05, act='tanh')" in str(found)


def test_the_command_looks_at_the_work_tree_around_this_folder(
    project: Any, best: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed(project, ("self.body", "self.encoder"))
    elsewhere = json.loads(CliRunner().invoke(main, ["diagnose", best, "--json"]).output)
    assert (elsewhere["ok"], elsewhere["new"]) == (
        True,
        f"the application's current modules, {project.top / 'src'}",
    )
    monkeypatch.chdir(project.top / "src")
    here = json.loads(CliRunner().invoke(main, ["diagnose", best, "--json"]).output)
    assert (here["ok"], here["new"].partition(" ")[0]) == (False, str(project.top))
    assert CliRunner().invoke(main, ["diagnose", best, "--against", "main"]).exit_code == 2


def test_the_command_to_move_on_works(
    project: Any, best: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed(project, ("self.body", "self.encoder"))
    monkeypatch.chdir(tmp_path)
    words = shlex.split(against(project, best).next)
    result = CliRunner().invoke(main, words[1:], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert "encoder" in (tmp_path / "best.toml").read_text()


def test_what_a_constructor_draws_is_no_drift(project: Any, best: str, tmp_path: Path) -> None:
    drawn = "self.gain = 2.0\n        self.jitter = [torch.rand(3), random.random()]"
    source = SOURCE.replace("self.gain = 2.0", drawn).replace("torch\n", "torch, random\n", 1)
    source = source.replace("self.body =", "self.memory = torch.nn.LSTM(4, 3)\n        self.body =")
    project.commit({NET: source})
    net = project.load("walker.net")
    codevault.save_policy(tmp_path / "drawn.mpt", net.Walker(), probe=torch.ones(2, 4))
    found = codevault.diagnose(tmp_path / "drawn.mpt", project.top)
    assert not found, str(found)


def test_a_grant_for_the_repository_covers_its_commits_and_not_the_folder(
    fleet: Any, walker: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stranger's checkpoint chooses what is called, and what it calls shared is in its reach."""
    (path,) = fleet.named(0)
    trust = [fleet.repo]
    found = codevault.diagnose(path, fleet.commits[3], trust=trust)
    assert kinds(found) == [("probe", "differs", "out")]
    for target in (walker.top, f"{walker.top}@{fleet.commits[3]}", "current"):
        with pytest.raises(RefusedError, match="may not choose what runs"):
            codevault.diagnose(path, target, trust=trust)
    own = f"sha256:{codevault.read_manifest(path).checkpoint_digest}"
    assert kinds(codevault.diagnose(path, walker.top, trust=[own])) == kinds(found)
    unmerged = walker.commit({"src/walker/scale.py": "raise SystemError"})
    walker.git("push", "--quiet", "origin", "HEAD:refs/pull/1/head")
    with pytest.raises(RefusedError, match="on no branch or tag"):
        codevault.diagnose(path, unmerged, trust=trust)


def twins_swapped(project: Any, tmp_path: Path, sum_: str) -> codevault.Diagnosis:
    """Twins with other names, in another order; `sum_` is what the policy makes of both."""
    twins = SOURCE.replace(
        "self.gain =",
        "self.left, self.right = (torch.nn.Linear(2, 2) for _ in range(2))\n        self.gain =",
    )
    twins = twins.replace("return self.gain *", f"return {sum_} +")
    project.commit({"src/walker/__init__.py": "", NET: twins})
    net = project.load("walker.net")
    best = str(tmp_path / "twins.mpt")
    codevault.save_policy(best, net.Walker(), probe=torch.ones(2, 4))
    swapped = twins.replace("self.left, self.right =", "self.beta, self.alpha =")
    project.commit(
        {NET: swapped.replace("self.left(", "self.alpha(").replace("self.right(", "self.beta(")}
    )
    return codevault.diagnose(best, project.top)


def test_what_cannot_be_told_apart_is_asked_with_its_candidates(
    project: Any, tmp_path: Path
) -> None:
    found = twins_swapped(project, tmp_path, "self.left(obs[:, :2]) + self.right(obs[:, :2])")
    asked = [cause for cause in found.causes if cause.kind == "asked"]
    assert sorted(cause.name for cause in asked) == ["left.*", "right.*"], str(found)
    for cause in asked:
        for candidates in cause.new:
            assert {key.partition(".")[0] for key in candidates} == {"alpha", "beta"}
    assert found.checked["probe"] == "not replayed: which key became which is not certain"


def test_what_twins_do_tells_them_apart(project: Any, tmp_path: Path) -> None:
    found = twins_swapped(project, tmp_path, "self.left(obs[:, :2]) - self.right(obs[:, 2:])")
    assert kinds(found) == [("keys", "renamed", "left.*"), ("keys", "renamed", "right.*")]
    assert [cause.new[0] for cause in found.causes] == ["alpha.weight", "beta.weight"]
    assert found.checked["probe"].startswith("equal")


@pytest.mark.parametrize("current", [False, True])
def test_what_moved_to_another_module_is_followed(
    project: Any, tmp_path: Path, current: bool
) -> None:
    text = MODELS["dataclass"]
    best = by_config(project, tmp_path, text, hidden=6)
    moved = BY_CONFIG.replace("walker.config", "walker.settings.model").replace(
        "self.body", "self.encoder"
    )
    files = {CONFIG: None, "src/walker/settings/__init__.py": "", NET: moved}
    commit = project.commit(files | {"src/walker/settings/model.py": text})
    project.load("walker.net")
    found = codevault.diagnose(best, "current" if current else project.top)
    assert kinds(found) == [
        ("config", "moved", "walker.config:Config"),
        ("keys", "renamed", "body.*"),
    ], str(found)
    assert found.causes[0].new == "walker.settings.model:Config"
    assert {c.introduced.commit for c in found.causes if c.introduced} == {commit}
    assert "reproduced" in found.checked["probe"]


def test_the_log_of_loads_has_it(project: Any, best: str) -> None:
    against(project, best)
    log = json.loads(CliRunner().invoke(main, ["trust", "log", "--json"]).output)
    assert log[-1]["uri"] == best


def test_a_layer_of_an_own_class_is_found_where_it_is_held(project: Any, best: str) -> None:
    own = ("@dataclass", "class Layer(torch.nn.Linear): pass\n\n@dataclass")
    added = ("self.gain =", "self.spare = Layer(2, 2)\n        self.gain =")
    commits = history(project, [STEPS[0], ("A layer", [own]), ("Held", [added]), STEPS[2]])
    found = codevault.diagnose(best, f"{project.top}@{commits['More noise']}")
    assert dates(found)["spare.*"] == "Held"


def test_a_value_is_no_fault_of_the_commit_that_renamed_its_class(
    project: Any, tmp_path: Path
) -> None:
    text = MODELS["dataclass"]
    best = by_config(project, tmp_path, text)
    to = "Settings"
    renamed = project.commit(
        {NET: BY_CONFIG.replace("Config", to), CONFIG: text.replace("Config", to)}
    )
    by_system = "import os\n" + BY_CONFIG.replace("Config()", 'Config(eps=float(os.sep == "/"))')
    project.commit({NET: by_system.replace("Config", to)})
    kind, eps = codevault.diagnose(best, project.top).causes
    assert (kind.name, kind.old, kind.new) == ("config", "Config", "Settings")
    assert kind.introduced is not None
    assert kind.introduced.commit == renamed
    assert (eps.name, eps.new, eps.introduced) == ("config.eps", 1.0, None)
    assert len(eps.suspects) == 2


def test_current_code_has_what_the_checkpoint_shares(project: Any, tmp_path: Path) -> None:
    """The environment's description is shared code as a rule: both sides meet there."""
    project.commit(
        {
            "pyproject.toml": '[tool.codevault]\nroots = ["src", "."]\n'
            'shared = ["shared_env.face"]\n',
            "shared_env/__init__.py": "",
            "shared_env/face.py": """
                import dataclasses
                @dataclasses.dataclass
                class Arena:
                    inputs: int = 4
            """,
            "src/walker/__init__.py": "",
            NET: SOURCE.replace("inputs=4", "env, inputs=4"),
        }
    )
    net, face = project.load("walker.net", "src", "."), importlib.import_module("shared_env.face")
    best = tmp_path / "best.mpt"
    given = {"class_path": "walker.net:Walker", "kwargs": {}}
    policy = net.Walker(face.Arena())
    codevault.save_policy(
        best, policy, architecture=given, env=face.Arena(), probe=torch.ones(2, 4)
    )
    assert isinstance(codevault.load_policy(best, code="current"), net.Walker)
    found = codevault.diagnose(best)
    assert not found, str(found)
    code = CurrentCode(["walker.net"], ["shared_env.face"])
    assert (code.defines("shared_env.face.more"), code.defines("shared_env.facet")) == (True, False)
    with pytest.raises(codevault.CodevaultError, match="is not a name of the checkpoint's own"):
        code.load_symbol("arena.other:f")
