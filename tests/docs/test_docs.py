"""README and docs are true: their commands and snippets run, their links lead somewhere."""

from __future__ import annotations

import json
import re
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from click.testing import CliRunner

import codevault
from codevault.cli import main

if TYPE_CHECKING:
    from collections.abc import Iterator

TOP = Path(__file__).parents[2]
PAGES = [TOP / "README.md", TOP / "CONTRIBUTING.md", *sorted((TOP / "docs").rglob("*.md"))]


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)


def lines(page: Path) -> list[str]:
    return [line for block in blocks(page, "sh") for line in block.splitlines() if line.strip()]


@pytest.fixture
def world(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Any]]:
    """What the snippets take for granted: a committed policy package, imported, and a policy."""
    import importlib
    import subprocess

    home = tmp_path_factory.mktemp("home")
    for name in ("XDG_STATE_HOME", "XDG_CONFIG_HOME", "CODEVAULT_CACHE"):
        monkeypatch.setenv(name, str(home / name))
    repo = tmp_path / "robots"
    (repo / "walker").mkdir(parents=True)
    (repo / "walker/__init__.py").write_text("")
    (repo / "walker/net.py").write_text(
        "import torch\nclass Walker(torch.nn.Linear):\n"
        "    def __init__(self): super().__init__(4, 2)\n"
        "    def act_inference(self, obs): return torch.nn.Linear.forward(self, obs)\n"
    )
    git = ["git", "-C", str(repo), "-c", "user.name=A", "-c", "user.email=a@example.org"]
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "first"]):
        subprocess.run([*git, *command], check=True)
    head = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True)
    monkeypatch.syspath_prepend(str(repo))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    for name in [name for name in sys.modules if name.partition(".")[0] == "walker"]:
        del sys.modules[name]  # of another test's project
    net = importlib.import_module("walker.net")
    commit = head.stdout.strip()
    yield {"policy": net.Walker(), "obs": torch.ones(1, 4), "repo": repo, "commit": commit}
    for name in ("walker", "walker.net"):
        del sys.modules[name]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_snippets_run(page: Path, world: dict[str, Any]) -> None:
    for snippet in blocks(page, "python"):
        exec(compile(snippet, str(page), "exec"), world)


def test_readme_snippet_loads_the_old_class(world: dict[str, Any]) -> None:
    (snippet,) = blocks(TOP / "README.md", "python")
    exec(compile(snippet, "README.md", "exec"), world)
    assert torch.equal(world["actions"], world["policy"](world["obs"]))
    assert type(world["old"]).__module__.startswith("_splint_")


def write_old_files(world: dict[str, Any]) -> None:
    """The files that docs/convert.md speaks of."""
    import gymnasium
    from safetensors.torch import save_file
    from stable_baselines3 import PPO

    from tests.codevault import old_files

    policy, state = world["policy"], world["policy"].state_dict()
    torch.save(state, "weights.pt")
    torch.save(policy, "policy.pt")
    torch.save({"state_dict": state, "act": torch.tanh}, "closure.pt")
    torch.save({"model_state_dict": state, "optimizer_state_dict": {}, "iter": 300}, "model_300.pt")
    old_files.metta(Path("run.mpt"), "walker.net.Walker()", state)
    save_file({"obs": world["obs"]}, "obs.safetensors")
    options: dict[str, Any] = {"n_steps": 8, "batch_size": 8, "policy_kwargs": {"net_arch": [8]}}
    PPO("MlpPolicy", gymnasium.make("CartPole-v1"), device="cpu", **options).save("ppo.zip")
    write_newer_code(world)
    (player,) = blocks(TOP / "docs/convert.md", "python")
    Path("play").mkdir()
    Path("play/player.py").write_text(player)


def write_newer_code(world: dict[str, Any]) -> None:
    """The newer code that docs/migrate.md speaks of, and rules that lead there."""
    import shutil

    shutil.copytree(world["repo"], "today")
    net = Path("today/walker/net.py")
    net.write_text(
        "import torch\nclass Policy(torch.nn.Module):\n    def __init__(self):\n"
        "        super().__init__()\n        self.head = torch.nn.Linear(4, 2)\n"
        "    def forward(self, obs): return self.head(obs)\n"
    )
    Path("rules.toml").write_text(
        '[names]\n"walker.net:Walker" = "walker.net:Policy"\n'
        '[[rule]]\nrename = "*"\nto = "head.*"\n'
    )


def test_commands_run(world: dict[str, Any]) -> None:
    codevault.save_policy("best.mpt", world["policy"], probe=world["obs"])
    write_old_files(world)
    for page in PAGES:
        for line in lines(page):
            if line.startswith("codevault "):
                words = shlex.split(line, comments=True)[1:]
                command = [re.sub(r"(^|@)SHA$", rf"\g<1>{world['commit']}", w) for w in words]
                result = CliRunner().invoke(main, command, catch_exceptions=False)
                assert result.exit_code == 0, (line, result.output)


def test_the_line_for_slurm_is_what_the_command_prints() -> None:
    (script,) = (b for b in blocks(TOP / "docs/cluster.md", "bash") if "srun" in b)
    (said,) = (line for line in lines(TOP / "docs/cluster.md") if "--slurm" in line)
    words = shlex.split(said, comments=True)[1:]
    printed = CliRunner().invoke(main, words, catch_exceptions=False).output.strip()
    assert printed in script.splitlines()


def test_the_init_container_runs_a_command_that_exists() -> None:
    import yaml

    (block,) = blocks(TOP / "docs/cluster.md", "yaml")
    spec = yaml.safe_load(block)
    (container,) = spec["initContainers"]
    program, verb, *rest = container["command"]
    assert program == "codevault"
    main.commands[verb].make_context(verb, rest)
    text = (TOP / "docs/decisions/0005-public-names.md").read_text()
    settings = {each["name"]: each["value"] for each in container["env"]}
    assert all(f"`{name}" in text for name in settings)
    (mount,) = container["volumeMounts"]
    assert mount["mountPath"] == settings["CODEVAULT_CACHE"]
    assert mount["name"] in [volume["name"] for volume in spec["volumes"]]


def test_sizes_for_a_cluster_are_the_measured_ones() -> None:
    text = " ".join((TOP / "docs/cluster.md").read_text().split())
    for name in ("storing", "storing-monorepo"):
        run = json.loads((TOP / f"benchmarks/results/{name}.json").read_text())["figures"]
        own = run["arms"]["codevault"]
        each = f"{own['inodes_each']:.0f} inodes and {own['compiled_mb_each']:.2f} MB of compiled"
        assert f"{own['mb']:.0f} MB in all, and {each} code each" in text
        assert run["commits"] == 50


def test_other_commands_are_what_ci_runs() -> None:
    """Installing and running this very test from within itself is CI's work."""
    script = (TOP / ".ci/run").read_text()
    for page in PAGES:
        for line in lines(page):
            for part in line.split(" && "):
                if not part.startswith("codevault "):
                    options = part.removeprefix("python -m pip install ").removeprefix("python -m ")
                    assert options in script, part


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_begins_with_its_title(page: Path) -> None:
    assert page.read_text().startswith("# ")


def test_readme_is_one_page() -> None:
    assert len((TOP / "README.md").read_text().splitlines()) <= 75


def test_public_names_have_a_decision() -> None:
    text = (TOP / "docs/decisions/0005-public-names.md").read_text()
    used = set()
    for folder in ("codevault", "importhook", "cache"):
        for path in (TOP / folder).rglob("*.p*"):
            if path.suffix in (".py", ".pth"):
                used |= set(re.findall(r"\bCODEVAULT_[A-Z]+\b", path.read_text()))
    for name in used:
        assert f"`{name}" in text, name
