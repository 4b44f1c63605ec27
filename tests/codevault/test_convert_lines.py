"""The lines that refusals print: whoever follows them, filling in capitals, gets a checkpoint."""

from __future__ import annotations

import pickle
import shlex
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import torch
from click.testing import CliRunner

import codevault
from codevault.cli import main
from codevault.errors import LegacyFormError
from tests.codevault import old_files
from tests.codevault.old_files import run

if TYPE_CHECKING:
    from pathlib import Path

OBS = torch.arange(8.0).reshape(2, 4)
SPEC = "gait.nets.Net(inputs=4, widths=[6])"


def follow(line: str, gait: Any, new: Path) -> int:
    """Runs a line, and the lines that its refusals name; how many it took."""
    known = {
        "URL_OR_PATH": str(gait.top),
        "SHA": gait.head,
        "OBS": "float32[1,4]",
        "pkg.mod:Class": "gait.nets:Net",
        "pkg.mod:Policy": "gait.nets:Net",
        "new.mpt": str(new),
    }
    for count in range(1, 5):
        words = [known.get(word, word) for word in shlex.split(line, comments=True)]
        assert words[:2] == ["codevault", "convert"]
        extra = [*old_files.ROOTS] if "--roots" not in words else []
        if "gait.nets:Net" in words and "--arg" not in words:
            extra += ["--arg", "inputs=4", "--arg", "widths=[6]"]
        result = CliRunner().invoke(main, [*words[1:], *extra])
        if result.exit_code == 0:
            return count
        line = result.stderr.partition("do:  ")[2].strip()
        assert line, result.output
    raise AssertionError(f"it goes on and on: {line}")


def write(form: str, net: Any, folder: Path) -> Path:
    path, state = folder / "it's old", net.state_dict()
    if form == "metta":
        old_files.metta(path, SPEC, state)
    elif form == "bundle":
        said = {"class_path": "gait.nets.Net", "init_kwargs": {"inputs": 4, "widths": [6]}}
        old_files.bundle(path, state, **said)
    elif form == "metta-pickle":
        old_files.zipped(path, {"policy.pt": old_files.torch_bytes(net)})
    elif form == "state":
        torch.save(state, path)
    elif form == "policy":
        torch.save(net, path)
    elif form == "early":
        torch.save(net, path, _use_new_zipfile_serialization=False)
    elif form == "pickle":
        path.write_bytes(pickle.dumps(net))
    else:
        path.write_bytes(old_files.safe(state))
    return path


FORMS = ("metta", "bundle", "metta-pickle", "state", "policy", "early", "pickle", "safetensors")


@pytest.mark.parametrize("form", FORMS)
def test_the_line_of_a_refused_load(gait: Any, tmp_path: Path, form: str) -> None:
    net, new = gait.net.Net(4, [6]), tmp_path / "new.mpt"
    with pytest.raises(LegacyFormError) as caught:
        codevault.load_policy(write(form, net, tmp_path))
    assert follow(caught.value.hint, gait, new) <= 2
    assert torch.equal(codevault.load_policy(new)(OBS), net(OBS))


def test_the_line_of_a_torchscript_archive(
    gait: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    net, new = gait.net.Net(4, [6]), tmp_path / "new.mpt"
    with pytest.warns(DeprecationWarning, match="torch.jit"):
        torch.jit.trace(net, OBS).save("it's.ts")  # type: ignore[no-untyped-call]
    with pytest.raises(LegacyFormError) as caught:
        codevault.load_policy("it's.ts")
    words = shlex.split(caught.value.hint, comments=True)
    assert words[0] == "python"
    subprocess.run([sys.executable, "-W", "ignore", *words[1:]], check=True)
    run(
        "weights.pt",
        "-o",
        new,
        *gait.code,
        "--class",
        "gait.nets:Net",
        "--arg",
        "inputs=4",
        "--arg",
        "widths=[6]",
        "--probe",
        "float32[1,4]",
    )
    assert torch.equal(codevault.load_policy(new)(OBS), net(OBS))


def test_a_policy_that_plays_by_another_method(gait: Any, tmp_path: Path) -> None:
    net, new = gait.net.Actor(), tmp_path / "new.mpt"
    torch.save({"model_state_dict": net.state_dict(), "iter": 3}, tmp_path / "model_3.pt")
    options = ("--class", "gait.nets:Actor", "--probe", "float32[1,4]")
    result = run(tmp_path / "model_3.pt", "-o", new, *gait.code, *options, code=1)
    assert "plays by another method" in result.stderr
    (tmp_path / "play").mkdir()
    (tmp_path / "play/player.py").write_text(
        "from gait.nets import Actor\n\nclass Player(Actor):\n"
        "    def forward(self, obs): return self.act_inference(obs)\n"
    )
    line = result.stderr.partition("do:  ")[2].strip()
    line = line.replace("FOLDER", str(tmp_path / "play")).replace("pkg.mod:Class", "player:Player")
    # The laid file stands at the top of the tree, which is a root then.
    run(*shlex.split(line)[2:], "--roots", ".")
    assert torch.equal(codevault.load_policy(new)(OBS), net.act_inference(OBS))
