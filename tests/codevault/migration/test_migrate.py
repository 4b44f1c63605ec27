"""`codevault migrate`: a checkpoint in newer code, written only if its probe agrees."""

from __future__ import annotations

import json
import os
import shlex
from typing import TYPE_CHECKING, Any

import pytest
import torch
from click.testing import CliRunner

import codevault
from codevault.cli import main
from codevault.errors import ProbeError, RulesError, StateDictError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

TODAY: dict[str, str | bytes | None] = {
    "src/walker/net.py": None,
    "src/walker/nets.py": """
        import torch
        from walker.scale import SCALE

        class Policy(torch.nn.Module):
            def __init__(self, obs_dim=4, actions=2, act=torch.tanh):
                super().__init__()
                self.encoder = torch.nn.Linear(obs_dim, 8)
                self.actor = torch.nn.Linear(8, actions)
                self.register_buffer("steps", torch.zeros(()))
                self.act = act

            def forward(self, obs):
                return SCALE * self.actor(self.act(self.encoder(obs)))

        def doubled(weights):
            return {key.replace("body", "encoder"): value for key, value in weights.items()}
    """,
}
RULES = """
[names]
"walker.net:Walker" = "walker.nets:Policy"

[architecture]
rename = { inputs = "obs_dim" }

[[rule]]
rename = "body"
to = "encoder"
hits = 2

[[rule]]
rename = "head"
to = "actor"

[[rule]]
fill = "steps"
with = "zeros"
"""


@pytest.fixture
def old(walker: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A checkpoint of old code, the project with today's, and rules between them."""

    class World:
        path = str(tmp_path / "best.mpt")
        new = str(tmp_path / "new.mpt")
        rules = str(tmp_path / "r.toml")
        project = walker
        policy = walker.net.Walker(inputs=4)
        obs = torch.randn(3, 4)
        manifest: Any = None
        today = ""

    World.manifest = codevault.save_policy(
        World.path,
        World.policy,
        architecture={"class_path": "walker.net:Walker", "kwargs": {"inputs": 4}},
        probe=World.obs,
        metadata={"run": 7},
    )
    World.today = walker.commit(TODAY)
    (tmp_path / "r.toml").write_text(RULES)
    monkeypatch.chdir(walker.top)
    return World


def test_a_checkpoint_moves_to_the_work_tree_and_keeps_where_it_came_from(old: Any) -> None:
    done = codevault.migrate(old.path, old.new, rules=[old.rules])
    manifest = codevault.read_manifest(old.new)
    assert done.manifest == manifest
    assert manifest.commit == old.today
    assert manifest.metadata == {"run": 7}
    assert manifest.modules == ("walker", "walker.nets", "walker.scale")
    assert done.weights["encoder.weight"] == ("body.weight",)
    assert done.weights["steps"] == ()
    (move,) = manifest.migrated
    assert (move.commit, move.checkpoint) == (old.manifest.commit, old.manifest.checkpoint_digest)
    assert list(move.rules) == ["r.toml"]
    assert move.difference is not None
    assert move.difference < 1e-6
    assert move.drift == ""
    policy = codevault.load_policy(old.new)
    assert type(policy).__qualname__ == "Policy"
    assert torch.equal(policy(old.obs), old.policy(old.obs))
    replayed = codevault.provenance(policy).probe
    assert replayed is not None
    assert replayed.ok


def test_the_new_checkpoint_loads_elsewhere_and_can_be_moved_again(
    old: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    codevault.migrate(old.path, old.new, rules=[old.rules])
    again = codevault.migrate(old.new, tmp_path / "again.mpt", rules=[old.rules])
    assert again.weights == {key: (key,) for key in again.weights}, "rules are idempotent"
    assert again.manifest is not None
    assert [move.commit for move in again.manifest.migrated] == [old.manifest.commit, old.today]
    digest = again.manifest.checkpoint_digest
    monkeypatch.setenv("CODEVAULT_CACHE", str(tmp_path / "other"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    policy = codevault.load_policy(tmp_path / "again.mpt", trust=[f"sha256:{digest}"])
    assert torch.equal(policy(old.obs), old.policy(old.obs))
    assert (
        codevault.save_policy(tmp_path / "resaved.mpt", policy).migrated == again.manifest.migrated
    )


def test_uncommitted_changes_of_the_work_tree_travel(old: Any) -> None:
    old.project.write({"src/walker/more.py": "X = 1\n"})
    done = codevault.migrate(old.path, old.new, rules=[old.rules])
    assert done.manifest is not None
    assert done.manifest.commit == old.today
    assert done.manifest.overlay is not None
    assert [file.path for file in done.manifest.overlay.files] == ["src/walker/more.py"]
    assert torch.equal(codevault.load_policy(old.new)(old.obs), old.policy(old.obs))


@pytest.mark.parametrize("form", ["{today}", "{top}@{today}"])
def test_a_commit_can_be_the_target(old: Any, form: str) -> None:
    to = form.format(today=old.today, top=old.project.top)
    old.project.commit({"src/walker/nets.py": "raise RuntimeError('later')\n"})
    done = codevault.migrate(old.path, old.new, to=to, rules=[old.rules])
    assert done.manifest is not None
    assert done.manifest.commit == old.today
    assert torch.equal(codevault.load_policy(old.new)(old.obs), old.policy(old.obs))


def test_files_can_be_laid_over_a_commit_and_travel(
    old: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules = RULES.replace("walker.nets:Policy", "bridge:policy")
    (tmp_path / "r.toml").write_text(rules)
    bridge = {"src/bridge.py": "from walker.nets import Policy\ndef policy(obs_dim):\n"}
    bridge["src/bridge.py"] += "    return Policy(obs_dim)\n"
    with pytest.raises(UsageError, match="a folder as it is now"):
        codevault.migrate(old.path, rules=[old.rules], overlay=bridge)
    done = codevault.migrate(old.path, old.new, to=old.today, rules=[old.rules], overlay=bridge)
    assert done.manifest is not None
    assert done.manifest.commit == old.today
    assert done.class_path == "bridge:policy"
    monkeypatch.setenv("CODEVAULT_CACHE", str(tmp_path / "other"))
    assert torch.equal(codevault.load_policy(old.new)(old.obs), old.policy(old.obs))


def test_what_the_code_prints_is_none_of_the_result(old: Any) -> None:
    source = (old.project.top / "src/walker/nets.py").read_text()
    old.project.commit({"src/walker/nets.py": f"print('chatty')\n{source}"})
    done = run(old.path, "--rules", old.rules, "--dry-run", "--json")
    assert json.loads(done.stdout)["class_path"] == "walker.nets:Policy"
    assert "chatty" in done.stderr


def test_other_outputs_are_refused_unless_accepted_and_then_recorded(old: Any) -> None:
    old.project.commit({"src/walker/scale.py": "SCALE = 3.0\n"})
    with pytest.raises(ProbeError, match="outputs differ: max"):
        codevault.migrate(old.path, old.new, rules=[old.rules])
    assert not (old.project.top.parent / "new.mpt").exists()
    done = codevault.migrate(old.path, old.new, rules=[old.rules], accept_drift=True)
    assert done.manifest is not None
    (move,) = done.manifest.migrated
    assert move.drift.startswith("max ")
    expected = (old.policy(old.obs) / 2).abs().max().item()
    assert move.difference == pytest.approx(expected, rel=1e-4)
    policy = codevault.load_policy(old.new)  # by the outputs that it gives now
    assert torch.allclose(policy(old.obs), 1.5 * old.policy(old.obs))


def test_swapped_heads_are_caught_by_the_probe(walker: Any, tmp_path: Path) -> None:
    twin = """
        import torch

        class Walker(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.{0} = torch.nn.Linear(4, 2)
                self.{1} = torch.nn.Linear(4, 2)

            def forward(self, obs):
                return self.{0}(obs) - self.{1}(obs)
    """
    walker.commit({"src/walker/net.py": twin.format("left", "right")})
    net = walker.load("walker.net")
    codevault.save_policy(tmp_path / "a.mpt", net.Walker(), probe=torch.ones(1, 4))
    walker.commit({"src/walker/net.py": twin.format("a", "b")})
    wrong, right = tmp_path / "wrong.toml", tmp_path / "right.toml"
    rule = '[[rule]]\nrename = "{}"\nto = "{}"\n'
    wrong.write_text(rule.format("left", "b") + rule.format("right", "a"))
    right.write_text(rule.format("left", "a") + rule.format("right", "b"))
    with pytest.raises(ProbeError, match="outputs differ"):
        codevault.migrate(tmp_path / "a.mpt", to=walker.top, rules=[wrong])
    assert codevault.migrate(tmp_path / "a.mpt", to=walker.top, rules=[right]).drift == ""


def test_parameters_that_the_probe_does_not_touch_are_told(walker: Any, tmp_path: Path) -> None:
    critic = "                self.critic = torch.nn.Linear(8, 1)\n"
    source = (walker.top / "src/walker/net.py").read_text()
    line = "        self.act = act\n"
    walker.commit({"src/walker/net.py": source.replace(line, line + critic[8:])})
    net = walker.load("walker.net")
    codevault.save_policy(tmp_path / "a.mpt", net.Walker(), probe=torch.ones(1, 4))
    done = codevault.migrate(tmp_path / "a.mpt", to=walker.top)
    assert done.unseen == ("critic.weight", "critic.bias")


def test_without_a_probe_nothing_is_written_unless_that_is_accepted(
    walker: Any, tmp_path: Path
) -> None:
    codevault.save_policy(tmp_path / "a.mpt", walker.net.Walker())
    with pytest.raises(ProbeError, match="it has no probe"):
        codevault.migrate(tmp_path / "a.mpt", tmp_path / "b.mpt", to=walker.top)
    done = codevault.migrate(
        tmp_path / "a.mpt", tmp_path / "b.mpt", to=walker.top, accept_drift=True
    )
    assert done.manifest is not None
    (move,) = done.manifest.migrated
    assert (move.difference, move.drift) == (None, "it had no probe")


def test_keys_without_a_rule_are_all_named(old: Any, tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text(RULES.partition("[[rule]]")[0])
    with pytest.raises(StateDictError) as caught:
        codevault.migrate(old.path, rules=[old.rules])
    for key in ("body.weight", "head.bias", "encoder.bias", "actor.weight", "steps"):
        assert key in str(caught.value)
    assert caught.value.hint.startswith("codevault migrate ")


def test_a_rule_may_call_a_function_of_the_new_code_and_no_other(old: Any, tmp_path: Path) -> None:
    body = '[[rule]]\nrename = "body"\nto = "encoder"\nhits = 2\n'
    call = '[[rule]]\ncall = "{}"\ntake = ["body"]\n'
    assert body in RULES
    (tmp_path / "r.toml").write_text(RULES.replace(body, call.format("walker.nets:doubled")))
    assert codevault.migrate(old.path, rules=[old.rules]).weights["encoder.bias"] == (
        "body.weight",
        "body.bias",
    )
    (tmp_path / "r.toml").write_text(RULES.replace(body, call.format("walker.nets:torch.abs")))
    with pytest.raises(codevault.CodevaultError, match="is not defined by the checkpoint's own"):
        codevault.migrate(old.path, rules=[old.rules])


def test_rules_of_the_repository_are_chained(old: Any, tmp_path: Path) -> None:
    """Each version of the code brought its file; each checkpoint takes those that it lacks."""
    first, second = RULES, '[[rule]]\nrename = "encoder"\nto = "tower"\n'
    pyproject = '[tool.codevault]\nroots = ["src"]\nmigrations = "moves"\n'
    old.project.commit({"pyproject.toml": pyproject, "moves/0001-nets.toml": first})
    done = codevault.migrate(old.path, tmp_path / "one.mpt")
    assert done.rules == ("moves/0001-nets.toml",)
    assert done.manifest is not None
    assert done.manifest.migrations == ("0001-nets.toml",)
    source = (
        (old.project.top / "src/walker/nets.py").read_text().replace("self.encoder", "self.tower")
    )
    old.project.commit({"src/walker/nets.py": source, "moves/0002-tower.toml": second})
    both = codevault.migrate(old.path, tmp_path / "two.mpt")
    assert both.rules == ("moves/0001-nets.toml", "moves/0002-tower.toml")
    assert both.weights["tower.weight"] == ("body.weight",)
    last = codevault.migrate(tmp_path / "one.mpt", tmp_path / "three.mpt")
    assert last.rules == ("moves/0002-tower.toml",)
    assert last.weights["tower.weight"] == ("encoder.weight",)
    assert codevault.migrate(tmp_path / "two.mpt").rules == ()
    saved = codevault.save_policy(
        tmp_path / "again.mpt", codevault.load_policy(tmp_path / "two.mpt")
    )
    assert saved.migrations == ("0001-nets.toml", "0002-tower.toml")


def test_a_folder_of_a_work_tree_means_the_whole(old: Any) -> None:
    done = codevault.migrate(old.path, old.new, to=old.project.top / "src", rules=[old.rules])
    assert done.manifest is not None
    assert done.manifest.commit == old.today
    for to in ("main", "nowhere/robots"):
        with pytest.raises(UsageError, match="neither a folder nor a full commit"):
            codevault.migrate(old.path, to=to, rules=[old.rules])


def test_a_commit_brings_its_own_rules_files(old: Any) -> None:
    """Also where they lie outside of the roots; what came later does not count."""
    pyproject = '[tool.codevault]\nroots = ["src"]\nmigrations = "moves"\ncontract = "2"\n'
    old.project.write({"pyproject.toml": pyproject, "moves/0001-nets.toml": RULES})
    commit = old.project.commit({"moves/notes.txt": "", "moves/older/0.toml": "no rules"})
    old.project.commit({"moves/0001-nets.toml": "[[rule]]\ndrop = 'body'\n"})
    done = codevault.migrate(old.path, old.new, to=f"{old.project.top}@{commit}")
    assert done.rules == ("moves/0001-nets.toml",)
    assert done.manifest is not None
    assert done.manifest.migrations == ("0001-nets.toml",)
    assert done.manifest.contract == "2"
    assert codevault.migrate(old.new, to=commit).rules == ()
    bare = old.project.commit({"pyproject.toml": pyproject.replace("moves", "gone")})
    none = codevault.migrate(old.new, to=bare, rules=[old.rules])
    assert none.rules == ("r.toml",), "git keeps no empty folders"


def test_the_checkpoint_that_is_moved_is_not_written_over(old: Any, tmp_path: Path) -> None:
    (tmp_path / "link.mpt").symlink_to(old.path)
    for output in (old.path, tmp_path / "link.mpt", f"file://{old.path}"):
        with pytest.raises(UsageError, match="is the checkpoint that is moved") as caught:
            codevault.migrate(old.path, output, rules=[old.rules])
    assert codevault.read_manifest(old.path) == old.manifest
    assert run(*shlex.split(caught.value.hint)[2:]).exit_code == 0


def test_what_an_error_says_to_do_can_be_done(
    old: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # where nobody knows which code is meant
    ways = ["--to", str(old.project.top), "--rules", old.rules]
    (tmp_path / "r.toml").write_text(RULES.replace("head", "tail"))
    with pytest.raises(codevault.CodevaultError, match="rename tail takes 0 keys"):
        codevault.migrate(old.path, to=old.project.top, rules=[old.rules])
    (tmp_path / "r.toml").write_text(RULES.partition("[[rule]]")[0])
    with pytest.raises(StateDictError) as keys:
        codevault.migrate(old.path, to=old.project.top, rules=[old.rules])
    line = shlex.join(["codevault", "migrate", old.path, *ways, "--suggest", "rest.toml"])
    assert keys.value.hint == line
    assert run(*shlex.split(line)[2:]).exit_code == 0
    (tmp_path / "r.toml").write_text(RULES)
    old.project.write({"src/walker/scale.py": "SCALE = 3.0\n"})
    with pytest.raises(ProbeError) as drift:
        codevault.migrate(old.path, to=old.project.top, rules=[old.rules])
    assert drift.value.hint == line.replace("--suggest rest.toml", "--workspace FOLDER")
    codevault.save_policy("a.mpt", old.project.load("walker.nets").Policy())
    with pytest.raises(ProbeError) as unproven:
        codevault.migrate("a.mpt", to=old.project.top)
    assert run(*shlex.split(unproven.value.hint)[2:]).exit_code == 0
    assert codevault.read_manifest("new.mpt").migrated[0].drift == "it had no probe"


def test_an_architecture_that_does_not_go_says_the_line_that_finds_the_rules(
    old: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first thing that anybody tries: no rules at all, and names that cannot be."""
    monkeypatch.chdir(tmp_path)
    codevault.save_policy(
        "nested.mpt",
        old.project.load("walker.nets").Policy(),
        architecture={"class_path": "walker.nets:Policy", "kwargs": {"obs_dim": 4}},
        probe=torch.ones(1, 4),
    )
    source = (old.project.top / "src/walker/nets.py").read_text().replace("obs_dim", "width")
    old.project.commit({"src/walker/nets.py": source})
    done = run("nested.mpt", "--to", str(old.project.top), "--dry-run")
    assert done.exit_code == 1
    line = done.stderr.rpartition("do:  ")[2].strip()
    assert line.endswith("--suggest"), line
    assert run(*shlex.split(line)[2:]).exit_code == 0, line


def test_a_rule_that_calls_what_is_not_there_is_told_with_its_line(
    old: Any, tmp_path: Path
) -> None:
    to = str(old.project.top)
    call = '[[rule]]\ncall = "{}"\ntake = ["body"]\n'
    body = '[[rule]]\nrename = "body"\nto = "encoder"\nhits = 2\n'
    for name in ("walker.gone:f", "walker.nets:gone", "os:system"):
        (tmp_path / "r.toml").write_text(RULES.replace(body, call.format(name)))
        done = run(old.path, "--to", to, "--rules", old.rules, "--dry-run")
        assert done.exit_code == 1
        assert isinstance(done.exception, SystemExit), done.exception
        assert "r.toml, rule 1 (line 8) does not go with this checkpoint" in done.stderr
        assert f"calls {name}, which cannot be had" in done.stderr
        line = done.stderr.rpartition("do:  ")[2].strip().replace("anew.toml", f"{name}.toml")
        assert run(*shlex.split(line)[2:]).exit_code == 1, "something is left to say"
        assert (old.project.top / f"{name}.toml").exists(), line
    (tmp_path / "r.toml").write_text('[architecture]\ncall = "walker.gone:f"\n')
    done = run(old.path, "--to", to, "--rules", old.rules, "--dry-run")
    assert "calls walker.gone:f, which cannot be had" in done.stderr


def test_a_rules_file_that_cannot_be_written(old: Any, tmp_path: Path) -> None:
    lost = str(tmp_path / "gone" / "r.toml")
    done = run(old.path, "--to", str(old.project.top), "--suggest", lost)
    assert done.exit_code == 2
    assert "mkdir -p" in done.stderr


def test_a_bare_commit_is_one_of_the_checkpoints_repository(
    old: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As for `diagnose`; in a work tree it is one of that."""
    monkeypatch.chdir(tmp_path)
    done = run(old.path, "--to", old.today, "--dry-run")
    assert done.exit_code == 2
    assert f"codevault migrate {old.path} --to REPOSITORY@{old.today}" in done.stderr
    remote = tmp_path / "robots.git"
    old.project.git("clone", "--quiet", "--bare", str(old.project.top), str(remote))
    old.project.git("remote", "add", "origin", str(remote))
    old.project.git("fetch", "--quiet", "origin")
    path = str(tmp_path / "pushed.mpt")
    policy = old.project.load("walker.nets").Policy()
    assert codevault.save_policy(path, policy, probe=torch.ones(1, 4)).repo == str(remote)
    done = run(path, "--to", old.today, "--dry-run")
    assert done.exit_code == 0, done.stderr


def test_a_file_for_other_policies_is_passed_over(old: Any, tmp_path: Path) -> None:
    (tmp_path / "other.toml").write_text('for = "walker.net:Runner"\n[[rule]]\ndrop = "body"\n')
    done = codevault.migrate(old.path, rules=[tmp_path / "other.toml", old.rules])
    assert done.rules == ("r.toml",)


def test_current_code_takes_the_rules_of_its_repository(old: Any, tmp_path: Path) -> None:
    pyproject = '[tool.codevault]\nmigrations = "moves"\n'
    old.project.commit({"pyproject.toml": pyproject, "moves/0001-nets.toml": RULES})
    nets = old.project.load("walker.nets")
    policy = codevault.load_policy(old.path, code="current")
    assert type(policy) is nets.Policy
    assert torch.equal(policy(old.obs), old.policy(old.obs))
    found = codevault.provenance(policy)
    assert found.architecture == {"class_path": "walker.nets:Policy", "kwargs": {"obs_dim": 4}}
    saved = codevault.save_policy(tmp_path / "again.mpt", policy, probe=old.obs)
    assert saved.migrations == ("0001-nets.toml",)
    again = codevault.load_policy(tmp_path / "again.mpt", code="current")
    assert torch.equal(again(old.obs), old.policy(old.obs))


def test_rules_that_do_not_do_are_told_with_the_diagnosis(old: Any) -> None:
    pyproject = '[tool.codevault]\nmigrations = "moves"\n'
    short = RULES.replace('to = "actor"', 'to = "typo"')
    old.project.commit({"pyproject.toml": pyproject, "moves/0001-nets.toml": short})
    old.project.load("walker.nets")
    with pytest.raises(StateDictError, match=r"current code, by moves/0001-nets.toml: ") as caught:
        codevault.load_policy(old.path, code="current")
    assert "before any rule: config: walker.net:Walker" in caught.value.why
    assert "typo.weight (was head.weight)" in caught.value.why, "what is left after the rules"
    assert caught.value.diagnosis is not None
    assert caught.value.hint == f"codevault.load_policy({old.path!r})"


def run(*words: str) -> Any:
    return CliRunner().invoke(main, ["migrate", *words])


def test_command(old: Any) -> None:
    tried = run(old.path, "--rules", old.rules, "--dry-run")
    assert tried.exit_code == 0, tried.output
    assert "  body.weight -> encoder.weight" in tried.output
    assert "  filled steps" in tried.output
    assert "probe    agrees: 1 outputs, largest difference " in tried.output
    assert tried.output.endswith("nothing was written\n")
    done = run(old.path, "--rules", old.rules, "-o", old.new, "--json")
    data = json.loads(done.output)
    assert set(data) == {
        *("output", "source", "checkpoint", "policy", "target", "rules", "class_path", "weights"),
        *("dropped", "difference", "tolerance", "skipped", "drift", "unseen"),
    }
    assert data["weights"]["steps"] == []
    assert data["checkpoint"] == codevault.read_manifest(old.new).checkpoint_digest
    shown = CliRunner().invoke(main, ["show", old.new])
    assert f"moved       from {old.manifest.commit[:12]}" in shown.output


def test_newer_code_that_raises_is_named_with_its_line(old: Any) -> None:
    source = (old.project.top / "src/walker/nets.py").read_text()
    for line, said in (("raise OSError(5)", "OSError: 5"), ("import gone_away", "'gone_away'")):
        broken = source.replace("super().__init__()", line)
        old.project.commit({"src/walker/nets.py": broken})
        done = run(old.path, "--rules", old.rules, "--dry-run")
        assert done.exit_code == 1
        assert f"the newer code builds no policy for {old.path}" in done.stderr
        assert said in done.stderr
        assert f"walker.nets:6: {line}" in done.stderr


def test_exit_codes(old: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(old.path).exit_code == 2
    assert run(old.path, "--dry-run", "-o", old.new).exit_code == 2
    assert run(old.path, "--dry-run", "--rules", "gone.toml").exit_code == 2
    (tmp_path / "r.toml").write_text("[[rule]]\nrename = 3\n")
    assert run(old.path, "--dry-run", "--rules", old.rules).exit_code == 2
    (tmp_path / "r.toml").write_text(RULES.replace("actor", "typo"))
    assert run(old.path, "--dry-run", "--rules", old.rules).exit_code == 1
    assert run(old.path, "--dry-run", "--to", old.path).exit_code == 2
    assert run(old.path, "--dry-run", "--to", f"https://127.0.0.1:9/x@{'0' * 40}").exit_code == 3
    monkeypatch.chdir(tmp_path)
    lost = run(old.path, "--dry-run")
    assert lost.exit_code == 2
    assert f"codevault migrate {old.path} --to FOLDER" in lost.output


def test_a_rules_file_that_is_named_and_gone(old: Any) -> None:
    old.project.commit({"pyproject.toml": '[tool.codevault]\nmigrations = "moves"\n'})
    with pytest.raises(RulesError, match="no folder 'moves'"):
        codevault.migrate(old.path)


def test_a_rules_file_whose_name_is_no_utf_8(old: Any) -> None:
    stated = '[tool.codevault]\nmigrations = "moves"\n'
    old.project.commit({"pyproject.toml": stated, os.fsdecode(b"moves/\xff.toml"): ""})
    with pytest.raises(RulesError, match=r"'\\udcff.toml' in moves is no UTF-8"):
        codevault.migrate(old.path)
