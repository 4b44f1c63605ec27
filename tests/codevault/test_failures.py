"""The failures that users of old checkpoints report: what each says, why, and a line that works."""

from __future__ import annotations

import ast
import inspect
import os
import pickle
import re
import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import pytest
import safetensors.torch
import torch
from click.testing import CliRunner

import codevault
from codevault import packages
from codevault.cli import main
from codevault.errors import (
    BuildError,
    CaptureError,
    CodeChangedWarning,
    CodeError,
    CodevaultError,
    FetchError,
    FormatVersionError,
    LegacyFormError,
    PackagesWarning,
    ProbeError,
    ProbeWarning,
    RefusedError,
    StateDictError,
    TruncatedError,
)
from codevault.manifest import parse

if TYPE_CHECKING:
    from collections.abc import Iterator

OBS = torch.ones(1, 4)
TOP = Path(__file__).parents[2]
ROOMS = ("codevault", "cache/codevault_cache", "importhook/codevault_importhook")


def told(error: CodevaultError, *parts: str) -> None:
    """What, why and one thing to do; short, and the line to do exists."""
    text = str(error)
    assert error.what
    assert error.why
    assert error.hint
    assert len(text.splitlines()) <= 10, text
    assert all(part in text for part in parts), text
    exists(error.hint)


def exists(hint: str) -> None:
    """Fails for a command, option, function or argument that there is not."""
    line = hint.partition("  # ")[0]
    if line.startswith("codevault "):
        words = shlex.split(line)[1:]
        command: Any = main
        while isinstance(command, click.Group):
            assert words[0] in command.commands, hint
            command = command.commands[words.pop(0)]
        command.parse_args(click.Context(command), words)
        return
    if line.startswith("python -m pip install "):
        return
    for call in re.findall(r"codevault\.\w+\(.*\)", line):
        for node in ast.walk(ast.parse(call)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                function = getattr(codevault, node.func.attr)
                known = inspect.signature(function).parameters
                assert {k.arg for k in node.keywords} <= known.keys(), hint


@pytest.fixture
def best(walker: Any, tmp_path: Path) -> str:
    policy = walker.net.Walker(inputs=4)
    described = {"class_path": "walker.net:Walker", "kwargs": {"inputs": 4}}
    codevault.save_policy(tmp_path / "best.mpt", policy, architecture=described, probe=OBS)
    return str(tmp_path / "best.mpt")


# -- loading with today's code ---------------------------------------------------------------------


def test_code_moved(best: str, walker: Any) -> None:
    walker.commit({"src/walker/net.py": "from walker.policies import Runner\n"})
    walker.commit({"src/walker/policies.py": "class Runner: pass\n"})
    walker.load("walker.net")
    with pytest.raises(CodeError) as caught:
        codevault.load_policy(best, code="current")
    told(
        caught.value,
        "the current code has no 'walker.net:Walker'",
        f"codevault.load_policy({best!r})",
    )
    codevault.load_policy(best)  # the line that it names


def test_config_changed(best: str, walker: Any) -> None:
    walker.refactor()
    with pytest.raises(BuildError) as caught:
        codevault.load_policy(best, code="current")
    told(caught.value, "walker.net:Walker does not take the recorded arguments", "inputs is now")
    told(caught.value, "keys: body.* -> encoder.*")


def test_keys_renamed(walker: Any, tmp_path: Path) -> None:
    codevault.save_policy(tmp_path / "best.mpt", walker.net.Walker(), probe=OBS)
    walker.refactor()
    with pytest.raises(StateDictError) as caught:
        codevault.load_policy(tmp_path / "best.mpt", code="current")
    told(caught.value, "keys: body.* -> encoder.*")
    assert caught.value.diagnosis is not None
    assert "works today" in str(caught.value.diagnosis)
    assert "strict=False" not in str(caught.value)


def test_shapes_changed(best: str, walker: Any) -> None:
    text = (walker.top / "src/walker/net.py").read_text()
    walker.commit({"src/walker/net.py": text.replace("actions=2", "actions=3")})
    walker.load("walker.net")
    with pytest.raises(StateDictError) as caught:
        codevault.load_policy(best, code="current")
    told(caught.value, "shapes: head.weight [2, 8] in file, [3, 8] in code")


def test_a_hundred_keys_are_a_short_message(project: Any, tmp_path: Path) -> None:
    source = (
        "import torch\nclass Net(torch.nn.Module):\n    def __init__(self):\n"
        "        super().__init__()\n        for n in range(100): setattr(self, f'%s{n}', "
        "torch.nn.Linear(1, 1))\n    def forward(self, obs): return obs\n"
    )
    project.commit({"src/gait/__init__.py": "", "src/gait/net.py": source % "old"})
    net = project.load("gait.net")
    codevault.save_policy(tmp_path / "best.mpt", net.Net(), probe=OBS)
    project.commit({"src/gait/net.py": source % "new"})
    project.load("gait.net")
    with pytest.raises(StateDictError) as caught:
        codevault.load_policy(tmp_path / "best.mpt", code="current")
    told(caught.value, "keys: old0.* -> new0.*", "and 95 more, which codevault diagnose prints")
    assert len(str(caught.value)) < 2000


# -- getting the code ------------------------------------------------------------------------------


def test_commit_is_not_on_the_remote_any_more(
    walker: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remote = tmp_path / "remote.git"
    walker.git("init", "--quiet", "--bare", str(remote))
    walker.git("remote", "add", "origin", remote.as_uri())
    walker.git("push", "--quiet", "origin", "main")
    codevault.save_policy(tmp_path / "best.mpt", walker.net.Walker(), probe=OBS)
    shutil.rmtree(remote)
    walker.git("init", "--quiet", "--bare", str(remote))
    walker.top.rename(tmp_path / "elsewhere")
    monkeypatch.setenv("CODEVAULT_CACHE", str(tmp_path / "empty"))
    with pytest.raises(FetchError) as caught:
        codevault.load_policy(tmp_path / "best.mpt")
    told(caught.value, walker.head[:12])
    assert caught.value.exit_code == 3


def test_offline(walker: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, daemon: Any) -> None:
    url, base, _ = daemon()
    walker.git("init", "--quiet", "--bare", str(base / "walker.git"))
    walker.git("remote", "add", "origin", f"{url}/walker.git")
    walker.git("push", "--quiet", "origin", "main")
    path = str(tmp_path / "best.mpt")
    codevault.save_policy(path, walker.net.Walker(), probe=OBS)
    monkeypatch.setenv("CODEVAULT_CACHE", str(tmp_path / "empty"))
    monkeypatch.setenv("CODEVAULT_OFFLINE", "1")
    with pytest.raises(FetchError) as caught:
        codevault.load_policy(path)
    told(caught.value, f"codevault prefetch {path}")
    with pytest.raises(FetchError) as caught:  # under a grant for the repository, unproven
        codevault.load_policy(path, trust=[f"{url}/walker.git"])
    told(caught.value, f"codevault prefetch {path}")
    (item,) = codevault.prefetch([path]).failures
    assert item.error is not None
    assert item.error.hint == caught.value.hint
    setting, program, *words = shlex.split(caught.value.hint)
    assert (setting, program) == ("CODEVAULT_OFFLINE=0", "codevault")
    monkeypatch.setenv(*setting.split("="))
    assert CliRunner().invoke(main, words).exit_code == 0
    monkeypatch.setenv("CODEVAULT_OFFLINE", "1")
    codevault.load_policy(path)


def test_moving_names_are_no_commits(walker: Any) -> None:
    with pytest.raises(CodevaultError) as caught:
        codevault.load_code(walker.top, "main")
    told(caught.value, "'main'")


def test_not_granted(best: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "somebody"))
    with pytest.raises(RefusedError) as caught:
        codevault.load_policy(best)
    told(caught.value, "has no grant", "codevault trust add sha256:")
    assert caught.value.exit_code == 4


LARGE = {
    "src/gait/__init__.py": "",
    "src/gait/large.py": "X = 1\n" + "# " + "x" * (1 << 20),
    "src/gait/net.py": """
        import importlib, os
        import torch

        class Net(torch.nn.Linear):
            def __init__(self):
                super().__init__(4, 2)
                if "NEEDED" in os.environ:
                    importlib.import_module("gait." + "large")
    """,
}


def test_a_module_was_not_captured(
    project: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.commit(LARGE)
    codevault.save_policy(tmp_path / "best.mpt", project.load("gait.net").Net(), probe=OBS)
    monkeypatch.setenv("NEEDED", "1")
    with pytest.raises(CodeError) as caught:
        codevault.load_policy(tmp_path / "best.mpt")
    told(caught.value, "gait.large", "left out when it was saved")


def test_a_module_that_would_not_be_captured(
    project: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rather when it is saved than when nobody can save it again."""
    project.commit(LARGE)
    monkeypatch.setenv("NEEDED", "1")
    policy = project.load("gait.net").Net()
    path = tmp_path / "best.mpt"
    with pytest.raises(CaptureError) as caught:
        codevault.save_policy(path, policy, probe=OBS)
    told(caught.value, "would lack gait.large", "larger than", "include=['src/gait/large.py']")
    with pytest.raises(CaptureError) as caught:
        codevault.save_policy(path, policy, include=["src/gait/large.py"], roots=["."])
    told(caught.value, "gait.net", "do not lead to src/gait/", "roots=['src']")
    codevault.save_policy(path, policy, probe=OBS, include=["src/gait/large.py"])
    codevault.load_policy(path)


def test_a_module_of_another_folder_would_not_be_captured(project: Any, tmp_path: Path) -> None:
    project.commit({"src/gait/net.py": "import torch, helping\nclass Net(torch.nn.Linear): pass\n"})
    other = tmp_path / "other"
    other.mkdir()
    (other / "helping.py").write_text("X = 1\n")
    sys.path.insert(0, str(other))
    try:
        net = project.load("gait.net")
        path, made = tmp_path / "best.mpt", {"class_path": "gait.net:Net", "args": [4, 2]}
        policy = net.Net(4, 2)
        with pytest.raises(CaptureError) as caught:
            codevault.save_policy(path, policy, architecture=made, repo=str(project.top))
        told(caught.value, "would lack helping", "is not in", "shared=['helping']")
        codevault.save_policy(
            path, policy, architecture=made, repo=str(project.top), shared=["helping"], probe=OBS
        )
        codevault.load_policy(path)
    finally:
        sys.path.remove(str(other))
        sys.modules.pop("helping", None)


# -- files -----------------------------------------------------------------------------------------


def test_pickle(tmp_path: Path, walker: Any) -> None:
    torch.save(walker.net.Walker(), tmp_path / "policy.pt")
    with pytest.raises(LegacyFormError) as caught:
        codevault.load_policy(tmp_path / "policy.pt")
    told(caught.value, "codevault convert")
    (tmp_path / "bare.pkl").write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(LegacyFormError) as caught:
        codevault.load_policy(tmp_path / "bare.pkl")
    told(caught.value, "codevault convert")


def test_cut_off(best: str) -> None:
    with open(best, "r+b") as file:
        file.truncate(os.path.getsize(best) - 100)
    with pytest.raises(TruncatedError) as caught:
        codevault.load_policy(best)
    told(caught.value, "best.mpt is incomplete")


def test_newer_format() -> None:
    with pytest.raises(FormatVersionError) as caught:
        parse(b'{"format": 9, "codevault": "3.0"}', "best.mpt")
    told(caught.value, "format 9", "codevault 3.0", "pip install --upgrade codevault")


# -- saving ----------------------------------------------------------------------------------------


def test_dirty_work_tree_travels(walker: Any, tmp_path: Path) -> None:
    walker.write({"src/walker/scale.py": "SCALE = 5.0\n"})
    net = walker.load("walker.net").Walker()
    manifest = codevault.save_policy(tmp_path / "best.mpt", net, probe=OBS)
    assert manifest.overlay is not None
    assert [file.path for file in manifest.overlay.files] == ["src/walker/scale.py"]
    codevault.load_policy(tmp_path / "best.mpt")  # the probe shows that 5.0 is used


def test_code_edited_after_it_was_imported(walker: Any, tmp_path: Path) -> None:
    policy = walker.net.Walker()
    text = (walker.top / "src/walker/net.py").read_text()
    walker.write({"src/walker/net.py": text.replace("SCALE * self", "-SCALE * self")})
    with pytest.warns(CodeChangedWarning, match=r"walker[./]net"):
        codevault.save_policy(tmp_path / "best.mpt", policy)


def test_code_that_is_in_no_file(tmp_path: Path) -> None:
    scope: dict[str, Any] = {"torch": torch, "__name__": "typed_in"}
    exec("class Net(torch.nn.Linear): pass", scope)
    with pytest.raises(CaptureError) as caught:
        codevault.save_policy(tmp_path / "best.mpt", scope["Net"](4, 2))
    told(caught.value, "Net was defined in typed_in, which is no file")


# -- behaviour -------------------------------------------------------------------------------------


def test_other_packages(best: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "installed", {"numpy": "2.4.6"}.get)
    with pytest.warns(PackagesWarning) as caught:
        codevault.load_policy(best)
    text = str(caught[0].message)
    assert "torch " in text
    assert "is not installed here" in text
    exists(re.findall(r"do:  (.*)", text)[0])


def test_loads_and_behaves_otherwise(best: str, walker: Any) -> None:
    changed = {"src/walker/scale.py": "SCALE = 2.1\n"}
    splint = codevault.load_code(walker.top, walker.head, overlay=changed)
    with pytest.raises(ProbeError) as caught:
        codevault.load_policy(best, code=splint)
    told(caught.value, "does not behave as it was saved", "max ", "scale ", "probe=False")


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_a_policy_that_was_cast_after_it_was_made(
    dtype: torch.dtype, walker: Any, tmp_path: Path
) -> None:
    policy, path = walker.net.Walker().to(dtype), str(tmp_path / "best.mpt")
    obs = torch.ones(2, 4, dtype=dtype)
    codevault.save_policy(path, policy, probe=obs)
    with pytest.raises(ProbeError) as caught:
        codevault.load_policy(path)
    assert f"saved in {dtype}, and its code makes it in torch.float32" in caught.value.why
    again = eval(caught.value.hint)
    assert torch.allclose(again(obs), policy(obs))


def test_a_policy_of_torchs_own_class(tmp_path: Path) -> None:
    with pytest.raises(CaptureError) as caught:
        codevault.save_policy(tmp_path / "a.mpt", torch.nn.Sequential(torch.nn.Linear(4, 2)))
    told(caught.value, "torch.nn.modules.container.Sequential", "architecture=", "your function")


def test_an_old_file_without_a_pickle_is_not_told_of_pickles(tmp_path: Path) -> None:
    path = tmp_path / "old.safetensors"
    safetensors.torch.save_file({"w": torch.ones(1)}, path)
    with pytest.raises(LegacyFormError) as caught:
        codevault.load_policy(path)
    assert "pickle" not in str(caught.value)


def test_no_probe(walker: Any, tmp_path: Path) -> None:
    codevault.save_policy(tmp_path / "best.mpt", walker.net.Walker())
    with pytest.warns(ProbeWarning, match="has no probe: nothing shows that it behaves"):
        codevault.load_policy(tmp_path / "best.mpt")


# -- every line that is printed --------------------------------------------------------------------


def spoken() -> Iterator[tuple[str, str]]:
    """Texts in the sources that start like a command or a call: each with its place."""
    for room in ROOMS:
        for file in sorted((TOP / room).rglob("*.py")):
            for node in ast.walk(ast.parse(file.read_text())):
                value = node.values[0] if isinstance(node, ast.JoinedStr) and node.values else node
                if isinstance(value, ast.Constant) and isinstance(value.value, str):
                    line = getattr(node, "lineno", 0)
                    if re.match(r"codevault[ .][a-z]", value.value):
                        yield value.value, f"{file.relative_to(TOP)}:{line}"


def test_every_command_and_function_that_a_message_names_exists() -> None:
    found = list(spoken())
    assert len(found) > 60
    for text, place in found:
        dotted = re.match(r"codevault\.(\w+)\(", text)
        if dotted:
            assert hasattr(codevault, dotted[1]), (text, place)
        verb = re.match(r"codevault ([a-z]+)(?: ([a-z]+)\b)?", text)
        if verb is None:
            continue
        assert verb[1] in main.commands, (text, place)
        command = main.commands[verb[1]]
        if isinstance(command, click.Group):
            assert verb[2] in command.commands, (text, place)
            command = command.commands[verb[2]]
        known = {option for parameter in command.params for option in parameter.opts} | {"--help"}
        assert set(re.findall(r"--[a-z-]+", text)) <= known, (text, place)
