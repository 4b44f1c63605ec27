"""Grants that demand signed commits: an unsigned one is refused, whoever serves it."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import torch
from click.testing import CliRunner

import codevault
from codevault import grants
from codevault.cli import main
from codevault.errors import CodevaultError, RefusedError

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="OpenSSH is missing")
OBS = torch.ones(1, 4)


@pytest.fixture
def keys(tmp_path: Path) -> dict[str, str]:
    """Public keys by name; the private ones lie beside them."""
    for name in ("mine", "other"):
        path = str(tmp_path / name)
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "me", "-f", path]
        subprocess.run(command, check=True)
    return {n: (tmp_path / f"{n}.pub").read_text().strip() for n in ("mine", "other")}


@pytest.fixture
def foreign(
    walker: Any, tmp_path: Path, daemon: Any, keys: Any, monkeypatch: pytest.MonkeyPatch
) -> Any:
    """Saves a checkpoint of a pushed commit, signed with a key or not, as somebody else."""
    url, folder, _ = daemon()
    walker.git("remote", "add", "origin", f"{url}/w.git")
    walker.commit()
    subprocess.run(["git", "clone", "--quiet", "--bare", walker.top, folder / "w.git"], check=True)

    def make(key: str | None) -> Any:
        sign = ["-c", "gpg.format=ssh", "-c", f"user.signingkey={tmp_path / str(key)}.pub"]
        more = [*sign, "commit", "-S"] if key else ["commit"]
        walker.git(*more, "--quiet", "--allow-empty", "--message", f"by {key}")
        walker.git("push", "--quiet", str(folder / "w.git"), "HEAD:main")
        walker.git("update-ref", "refs/remotes/origin/main", "HEAD")
        with monkeypatch.context() as other:
            other.setenv("XDG_STATE_HOME", str(tmp_path / "somebody-else"))
            other.setenv("CODEVAULT_CACHE", str(tmp_path / "their-cache"))
            return codevault.save_policy(tmp_path / "best.mpt", walker.net.Walker(), probe=OBS)

    return make


def test_only_commits_signed_by_the_key_run(foreign: Any, keys: Any, tmp_path: Path) -> None:
    path = tmp_path / "best.mpt"
    for key, runs in (("mine", True), ("other", False), (None, False)):
        manifest = foreign(key)
        assert manifest.repo.startswith("git://")
        wanted = grants.signed(manifest.repo, keys["mine"])
        if runs:
            policy = codevault.load_policy(path, trust=[wanted])
            assert "signed by" in codevault.provenance(policy).allowed
            continue
        with pytest.raises(RefusedError, match="not signed as the grant") as caught:
            codevault.load_policy(path, trust=[wanted])
        assert keys["mine"].split()[1] in caught.value.why
        both = [wanted, grants.signed(manifest.repo, keys["other"])]
        if key == "other":
            codevault.load_policy(path, trust=both)  # any of the keys will do
        else:
            with pytest.raises(RefusedError):
                codevault.load_policy(path, trust=both)
        with pytest.raises(RefusedError):  # a plain grant beside it does not loosen it
            codevault.load_policy(path, trust=[manifest.repo, wanted])
        codevault.load_policy(path, trust=[f"{manifest.repo}@{manifest.commit}"])


def test_a_proof_is_needed_once(
    foreign: Any, keys: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trust = [grants.signed(foreign("mine").repo, keys["mine"])]
    codevault.load_policy(tmp_path / "best.mpt", trust=trust)
    monkeypatch.setenv("PATH", os.devnull)
    monkeypatch.setenv("CODEVAULT_OFFLINE", "1")
    codevault.load_policy(tmp_path / "best.mpt", trust=trust)


def test_without_openssh_nothing_counts_as_signed(
    foreign: Any, keys: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trust = [grants.signed(foreign("mine").repo, keys["mine"])]
    monkeypatch.setattr("codevault_cache.signatures.shutil.which", lambda name: None)
    with pytest.raises(CodevaultError, match="ssh-keygen is not on the PATH"):
        codevault.load_policy(tmp_path / "best.mpt", trust=trust)


def test_the_command_demands_signatures(keys: Any, tmp_path: Path) -> None:
    def run(*words: str) -> Any:
        return CliRunner().invoke(main, ["trust", *words])

    repo = "https://example.org/owner/repo"
    assert run("add", repo).exit_code == 0
    done = run("add", repo, "--signed-by", str(tmp_path / "mine.pub"))
    assert done.exit_code == 0, done.output
    assert run("add", repo, "--signed-by", keys["other"]).exit_code == 0
    found = grants.user_grants()
    assert [g.repo for g in found] == [repo] * 2  # the plain one is gone
    assert [g.signer for g in found] == [" ".join(keys[n].split()[:2]) for n in ("mine", "other")]
    assert grants.grant(str(found[0])) == found[0]
    assert run("rm", str(found[0])).exit_code == 0
    assert len(grants.user_grants()) == 1
    for wrong in (
        [repo, "--signed-by", "nothing"],
        [f"{repo}@{'a' * 40}", "--signed-by", keys["mine"]],
    ):
        done = run("add", *wrong)
        assert done.exit_code != 0
        assert "is no" in done.output
    run("add", f"{repo}@{'a' * 40}", f"{repo}2", f"sha256:{'1' * 64}")
    assert run("rm", repo).exit_code == 0  # what nobody can type goes by the repository's name
    left = [f"{repo}@{'a' * 40}", f"{repo}2", f"sha256:{'1' * 64}"]
    assert [str(g) for g in grants.user_grants()] == left
    assert run("rm", repo).exit_code == 1


@pytest.mark.parametrize("key", ["", "ssh-ed25519", "ssh-dss AAAA", "ssh-ed25519 short", "a\nb"])
def test_what_is_no_key_is_refused(key: str) -> None:
    with pytest.raises(CodevaultError, match="no OpenSSH public key"):
        grants.public_key(key)
    with pytest.raises(CodevaultError):
        grants.grant(f"https://example.org/o/r;signed-by={key}")
