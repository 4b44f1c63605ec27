"""`codevault migrate --suggest`: rules as far as they can be known, the rest as questions."""

from __future__ import annotations

import json
import sys
import textwrap
import tomllib
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner

import codevault
from codevault.cli import main
from tests.codevault.conftest import WALKER
from tests.codevault.migration.test_migrate import TODAY

NETS = str(TODAY["src/walker/nets.py"])
MOVED = {**TODAY, "src/walker/nets.py": NETS.replace("class Policy", "class Walker")}
"""The newer code, whose class kept its name."""
TWINS = """
    import torch

    class Twins(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.body = torch.nn.Linear(4, 8)
            self.{0} = torch.nn.Linear(8, 2)
            self.{1} = torch.nn.Linear(8, 2)

        def forward(self, obs):
            hidden = self.body(obs)
            return self.{0}(hidden) - 2 * self.{1}(hidden){2}
"""


DETACHED = TWINS.replace("return ", "return (").replace("(hidden){2}", "(hidden)).detach()")
"""Twins of which only the probe can tell: their outputs have no gradient."""


def saved(project: Any, tmp_path: Path, files: dict[str, Any], name: str) -> Any:
    project.commit(files)
    policy = getattr(project.load("walker.net"), name)()
    codevault.save_policy(tmp_path / "a.mpt", policy, probe=torch.randn(3, 4))
    return policy


def suggested(tmp_path: Path, project: Any) -> Any:
    found = codevault.suggest_rules(tmp_path / "a.mpt", to=project.top)
    (tmp_path / "r.toml").write_text(found.text)
    tomllib.loads(found.text)
    return found


def test_what_is_certain_becomes_rules_that_migrate_takes(project: Any, tmp_path: Path) -> None:
    saved(project, tmp_path, dict(WALKER), "Walker")
    project.commit(MOVED)
    found = suggested(tmp_path, project)
    assert found.agrees is True, found.text
    assert found.automatic["body.weight"] == "encoder.weight"
    assert '"walker.net:Walker" = "walker.nets:Walker"  # a guess by its name' in found.text
    assert 'fill = "steps"\nwith = "constructor"' in found.text
    assert 'rename = "body"\nto = "encoder"\nhits = 2' in found.text
    done = codevault.migrate(tmp_path / "a.mpt", to=project.top, rules=[tmp_path / "r.toml"])
    assert done.drift == ""


def test_what_twins_do_tells_them_apart(project: Any, tmp_path: Path) -> None:
    saved(
        project, tmp_path, {**WALKER, "src/walker/net.py": TWINS.format("up", "down", "")}, "Twins"
    )
    project.commit({"src/walker/net.py": TWINS.format("beta", "alpha", "")})
    found = suggested(tmp_path, project)
    assert found.automatic["up.weight"] == "beta.weight"
    assert found.automatic["down.bias"] == "alpha.bias"
    assert found.agrees is True


def test_the_probe_decides_between_twins(project: Any, tmp_path: Path) -> None:
    files = {**WALKER, "src/walker/net.py": DETACHED.format("up", "down")}
    saved(project, tmp_path, files, "Twins")
    project.commit({"src/walker/net.py": DETACHED.format("beta", "alpha")})
    found = suggested(tmp_path, project)
    assert found.taken == {
        "up.weight": "beta.weight",
        "up.bias": "beta.bias",
        "down.weight": "alpha.weight",
        "down.bias": "alpha.bias",
    }
    assert found.agrees is True
    assert "# the probe decided between candidates" in found.text
    codevault.migrate(tmp_path / "a.mpt", to=project.top, rules=[tmp_path / "r.toml"])


def test_what_the_probe_cannot_see_is_asked(project: Any, tmp_path: Path) -> None:
    unseen = TWINS.replace("- 2 * self.{1}(hidden)", "").replace("self.{0}(hidden)", "hidden")
    saved(
        project, tmp_path, {**WALKER, "src/walker/net.py": unseen.format("up", "down", "")}, "Twins"
    )
    project.commit({"src/walker/net.py": unseen.format("beta", "alpha", "")})
    found = suggested(tmp_path, project)
    assert found.agrees is None
    assert set(found.asked) == {"up.weight", "up.bias", "down.weight", "down.bias"}
    assert set(found.asked["up.weight"]) == {"beta.weight", "alpha.weight"}
    assert "# OPEN: which of these is up.weight?" in found.text
    with pytest.raises(codevault.CodevaultError, match="4 old keys without a place"):
        codevault.migrate(tmp_path / "a.mpt", to=project.top, rules=[tmp_path / "r.toml"])


def test_a_new_parameter_is_open_and_no_random_number_is_taken(
    project: Any, tmp_path: Path
) -> None:
    saved(
        project, tmp_path, {**WALKER, "src/walker/net.py": TWINS.format("up", "down", "")}, "Twins"
    )
    more = TWINS.format("up", "down", " + self.extra(hidden)").replace(
        "self.body =", "self.extra = torch.nn.Linear(8, 2); self.body ="
    )
    project.commit({"src/walker/net.py": more})
    found = suggested(tmp_path, project)
    assert found.open == ("extra.weight", "extra.bias")
    assert '# fill = "extra.weight"' in found.text
    answered = found.text.replace("# [[rule]]", "[[rule]]")
    for line in ("fill = ", "with = "):
        answered = answered.replace(f"# {line}", line)
    (tmp_path / "r.toml").write_text(answered)
    done = codevault.migrate(tmp_path / "a.mpt", to=project.top, rules=[tmp_path / "r.toml"])
    assert done.weights["extra.weight"] == ()


def test_a_class_that_is_gone_is_asked(project: Any, tmp_path: Path) -> None:
    saved(project, tmp_path, dict(WALKER), "Walker")
    project.commit(TODAY)
    found = suggested(tmp_path, project)
    assert found.agrees is None
    assert '# "walker.net:Walker" = "pkg.mod:Class"' in found.text


def test_answers_are_applied_before_the_rest_is_suggested(project: Any, tmp_path: Path) -> None:
    saved(project, tmp_path, dict(WALKER), "Walker")
    project.commit(TODAY)
    answers, rest = tmp_path / "answers.toml", tmp_path / "rest.toml"
    answers.write_text(
        '[names]\n"walker.net:Walker" = "walker.nets:Policy"\n'
        '[[rule]]\nrename = "head"\nto = "actor"\n'
    )
    found = codevault.suggest_rules(tmp_path / "a.mpt", to=project.top, rules=[answers])
    assert found.agrees is True, found.text
    assert found.text.splitlines()[0].endswith(", after answers.toml")
    assert "actor" not in found.text
    rest.write_text(found.text)
    done = codevault.migrate(tmp_path / "a.mpt", to=project.top, rules=[answers, rest])
    assert done.weights["actor.weight"] == ("head.weight",)


def test_old_code_that_stands_in_for_a_package_does_not_reach_the_newer(
    project: Any, tmp_path: Path
) -> None:
    net = textwrap.dedent(str(WALKER["src/walker/net.py"]))
    stub = "import sys, types\nsys.modules.setdefault('tabulated', types.ModuleType('t'))\n"
    meets = "import importlib.util\nassert importlib.util.find_spec('tabulated') is None\n"
    saved(project, tmp_path, {**WALKER, "src/walker/net.py": stub + net}, "Walker")
    del sys.modules["tabulated"]
    project.commit({"src/walker/net.py": meets + net})
    assert suggested(tmp_path, project).agrees is True
    sys.modules.pop("tabulated", None)


def test_weights_that_have_no_place_are_counted_also_where_the_probe_agrees(
    project: Any, tmp_path: Path
) -> None:
    more = str(WALKER["src/walker/net.py"]).replace(
        "self.act = act", "self.act = act; self.critic = torch.nn.Linear(8, 3)"
    )
    saved(project, tmp_path, {**WALKER, "src/walker/net.py": more}, "Walker")
    project.commit({"src/walker/net.py": WALKER["src/walker/net.py"]})
    found = suggested(tmp_path, project)
    assert found.agrees is True
    assert found.note == "with these rules the probe agrees; 2 old keys are dropped"
    assert 'drop = "critic.weight"' in found.text


def test_a_default_that_changed_is_put_back(project: Any, tmp_path: Path) -> None:
    scaled = """
        import torch

        class Scaled(torch.nn.Linear):
            def __init__(self, scale={}):
                super().__init__(4, 2)
                self.scale = scale

            def forward(self, obs):
                return self.scale * super().forward(obs)
    """
    saved(project, tmp_path, {**WALKER, "src/walker/net.py": scaled.format("2.0")}, "Scaled")
    project.commit({"src/walker/net.py": scaled.format("3.0")})
    found = suggested(tmp_path, project)
    assert 'set = { "scale" = 2.0 }' in found.text
    assert found.agrees is True


def test_code_that_builds_nothing_is_said_with_its_line(project: Any, tmp_path: Path) -> None:
    saved(project, tmp_path, dict(WALKER), "Walker")
    source = str(WALKER["src/walker/net.py"])
    project.commit({"src/walker/net.py": source.replace("super().__init__()", "raise OSError(5)")})
    found = suggested(tmp_path, project)
    assert "the newer code builds no policy: OSError: 5" in found.note
    assert "raise OSError(5)" in found.text


def test_without_a_grant_for_the_old_code_names_and_shapes_must_do(
    project: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved(project, tmp_path, dict(WALKER), "Walker")
    project.commit(MOVED)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "somebody-else"))
    assert suggested(tmp_path, project).automatic["body.weight"] == "encoder.weight"


def run(*words: str) -> Any:
    return CliRunner().invoke(main, ["migrate", *words])


def test_command(project: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved(project, tmp_path, dict(WALKER), "Walker")
    project.commit(MOVED)
    monkeypatch.chdir(project.top)
    path = str(tmp_path / "a.mpt")
    done = run(path, "--suggest")
    assert done.exit_code == 0, done.output
    assert done.output == "wrote rules.toml: with these rules the probe agrees\n"
    again = run(path, "--suggest")
    assert again.exit_code == 2
    assert "rules.toml is there already" in again.output
    data = json.loads(run(path, "--suggest", str(tmp_path / "r.toml"), "--json").output)
    assert set(data) == {
        *("rules", "text", "automatic", "taken", "asked", "open", "agrees", "note"),
    }
    assert Path(data["rules"]).read_text() == data["text"]
    project.commit({"src/walker/nets.py": NETS.replace("super().__init__()", "raise OSError(5)")})
    broken = run(path, "--suggest", "other.toml")
    assert broken.exit_code == 1
    assert "builds no policy" in broken.output
