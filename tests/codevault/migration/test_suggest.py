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
from codevault.errors import FetchError, ProbeError, RulesError
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


FIRST = """
[names]
"walker.net" = "walker.nets"

[[rule]]
rename = "body"
to = "encoder"

[[rule]]
rename = "head"
to = "actor"

[[rule]]
fill = "steps"
with = "zeros"
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


def test_weights_without_a_place_that_the_probe_does_not_see_are_asked(
    project: Any, tmp_path: Path
) -> None:
    more = str(WALKER["src/walker/net.py"]).replace(
        "self.act = act", "self.act = act; self.critic = torch.nn.Linear(8, 3)"
    )
    more = more.replace(
        "3)\n", "3)\n                self.critic.register_buffer('mean', torch.ones(5))\n"
    )
    saved(project, tmp_path, {**WALKER, "src/walker/net.py": more}, "Walker")
    project.commit({"src/walker/net.py": WALKER["src/walker/net.py"]})
    found = suggested(tmp_path, project)
    assert found.agrees is None
    assert found.asked == {"critic.weight": (), "critic.bias": (), "critic.mean": ()}
    assert found.note.endswith("agrees; 3 old keys have no place, and are asked")
    assert "# OPEN: critic and all in it, 3 keys, has no place" in found.text
    with pytest.raises(codevault.CodevaultError, match="3 old keys without a place"):
        codevault.migrate(tmp_path / "a.mpt", to=project.top, rules=[tmp_path / "r.toml"])
    answered = found.text.replace(
        '# [[rule]]\n# drop = "critic"\n# hits', "[[rule]]\ndrop = 'critic'\nhits"
    )
    (tmp_path / "r.toml").write_text(answered)
    done = codevault.migrate(tmp_path / "a.mpt", to=project.top, rules=[tmp_path / "r.toml"])
    assert set(done.dropped) == {"critic.weight", "critic.bias", "critic.mean"}


def test_weights_without_a_place_that_the_outputs_do_not_need_are_dropped(
    project: Any, tmp_path: Path
) -> None:
    more = str(WALKER["src/walker/net.py"]).replace(
        "self.act = act", "self.act = act; self.spare = torch.nn.Linear(4, 3)"
    )
    more = more.replace(
        "3)\n", "3)\n                self.spare.register_buffer('mean', torch.ones(5))\n"
    )
    more = more.replace("return ", "self.spare(obs) + self.spare.mean[:3]; return ")
    saved(project, tmp_path, {**WALKER, "src/walker/net.py": more}, "Walker")
    project.commit({"src/walker/net.py": WALKER["src/walker/net.py"]})
    found = suggested(tmp_path, project)
    assert found.agrees is True
    assert found.note.endswith("agrees; 3 old keys are dropped, which its outputs do not need")
    assert '\ndrop = "spare"\nhits = 3' in found.text


def test_without_a_probe_nothing_is_dropped(project: Any, tmp_path: Path) -> None:
    more = str(WALKER["src/walker/net.py"]).replace(
        "self.act = act", "self.act = act; self.critic = torch.nn.Linear(8, 3)"
    )
    project.commit({**WALKER, "src/walker/net.py": more})
    codevault.save_policy(tmp_path / "a.mpt", project.load("walker.net").Walker())
    project.commit({"src/walker/net.py": WALKER["src/walker/net.py"]})
    found = suggested(tmp_path, project)
    assert found.asked == {"critic.weight": (), "critic.bias": ()}
    assert '# drop = "critic"' in found.text


@pytest.mark.parametrize("to", ["{top}", "{top}@{head}"])
def test_a_suggestion_comes_after_the_rules_of_the_repository(
    project: Any, tmp_path: Path, to: str
) -> None:
    saved(project, tmp_path, dict(WALKER), "Walker")
    pyproject = '[tool.codevault]\nroots = ["src"]\nmigrations = "moves"\n'
    project.commit({**MOVED, "pyproject.toml": pyproject, "moves/0001-nets.toml": FIRST})
    tower = str(MOVED["src/walker/nets.py"]).replace("self.encoder", "self.tower")
    to = to.format(top=project.top, head=project.commit({"src/walker/nets.py": tower}))
    found = codevault.suggest_rules(tmp_path / "a.mpt", to=to)
    assert found.agrees is True, found.text
    assert '\nafter = ["0001-nets.toml"]\n' in found.text
    assert 'rename = "encoder"\nto = "tower"' in found.text
    (tmp_path / "r.toml").write_text(found.text)
    done = codevault.migrate(
        tmp_path / "a.mpt", tmp_path / "b.mpt", to=to, rules=[tmp_path / "r.toml"]
    )
    assert done.rules == ("moves/0001-nets.toml", "r.toml")
    assert done.weights["tower.weight"] == ("body.weight",)
    again = codevault.migrate(tmp_path / "b.mpt", to=to, rules=[tmp_path / "r.toml"])
    assert again.rules == ("r.toml",), "a checkpoint that was saved with the first needs it no more"
    bare = project.commit({"pyproject.toml": '[tool.codevault]\nroots = ["src"]\n'})
    with pytest.raises(RulesError, match=r"r.toml comes after 0001-nets.toml, which the newer"):
        codevault.migrate(
            tmp_path / "a.mpt", to=f"{project.top}@{bare}", rules=[tmp_path / "r.toml"]
        )


def test_a_weight_of_another_shape_is_asked(project: Any, tmp_path: Path) -> None:
    saved(project, tmp_path, dict(WALKER), "Walker")
    wider = str(WALKER["src/walker/net.py"]).replace("Linear(8, actions)", "Linear(8, actions + 1)")
    project.commit({"src/walker/net.py": wider})
    found = suggested(tmp_path, project)
    assert found.agrees is None
    assert found.asked == {"head.weight": ("head.weight",), "head.bias": ("head.bias",)}
    assert "# OPEN: head.weight is [2, 8], and [3, 8] in the newer code" in found.text
    answered = "".join(
        line.removeprefix("# ") if line.startswith(("# [[", "# drop", "# fill", "# with")) else line
        for line in found.text.splitlines(keepends=True)
    )
    (tmp_path / "r.toml").write_text(answered)
    with pytest.raises(ProbeError):
        codevault.migrate(tmp_path / "a.mpt", to=project.top, rules=[tmp_path / "r.toml"])


def test_keys_that_the_newer_code_ties_need_no_answer(project: Any, tmp_path: Path) -> None:
    saved(project, tmp_path, dict(WALKER), "Walker")
    tied = str(WALKER["src/walker/net.py"]).replace(
        "self.act = act", "self.act = act; self.alias = self.head"
    )
    project.commit({"src/walker/net.py": tied})
    found = suggested(tmp_path, project)
    assert (found.agrees, found.open) == (True, ()), found.text
    done = codevault.migrate(tmp_path / "a.mpt", to=project.top, rules=[tmp_path / "r.toml"])
    assert done.weights["alias.weight"] == ("head.weight",)


def test_a_new_parameter_that_looks_like_an_old_one_is_open(project: Any, tmp_path: Path) -> None:
    """Where the probe gave the old one another place, nobody says what this one is."""
    source = (
        str(WALKER["src/walker/net.py"])
        .replace("return SCALE * ", "return ")
        .replace("(obs)))", "(obs))).detach()")
    )
    saved(project, tmp_path, {**WALKER, "src/walker/net.py": source}, "Walker")
    more = source.replace("self.head", "self.beta").replace(
        "self.act = act", "self.act = act; self.zeta = torch.nn.Linear(8, actions)"
    )
    project.commit({"src/walker/net.py": more})
    found = suggested(tmp_path, project)
    assert found.taken | found.automatic != {}, found.text
    assert found.agrees is None, found.text
    assert set(found.open) == {"zeta.weight", "zeta.bias"}, found.text
    assert '# fill = "zeta.weight"' in found.text


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


def test_where_the_old_code_cannot_be_had_names_and_shapes_must_do(
    project: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved(project, tmp_path, dict(WALKER), "Walker")
    project.commit(MOVED)

    def gone(*_: Any) -> Any:
        raise FetchError("the code could not be had", "no origin has it")

    monkeypatch.setattr("codevault.migration.suggestion.use_code", gone)
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
    line = f"codevault migrate {path} --rules rules.toml -o new.mpt"
    told = f"wrote rules.toml: with these rules the probe agrees\nto move on   {line}\n"
    assert done.output == told
    assert run(*line.split()[2:]).exit_code == 0
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
