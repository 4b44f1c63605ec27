"""What may run: every hole has a test that tries to get through it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shlex
import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING, Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import codevault
from codevault import grants, userdir
from codevault.errors import CodeError, CodevaultError, RefusedError, UsageError
from codevault.repositories import canonical

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

OBS = torch.linspace(-1, 1, 12).reshape(3, 4)


def save(path: Path, policy: Any, **more: Any) -> Any:
    return codevault.save_policy(path / "best.mpt", policy, **{"probe": OBS, **more})


def changed(path: Path, member: str, change: Callable[[bytes], bytes]) -> None:
    """Rewrites one member, as an attacker does who knows the format."""
    with zipfile.ZipFile(path) as old:
        members = {name: old.read(name) for name in old.namelist()}
    members[member] = change(members[member])
    with zipfile.ZipFile(path, "w") as new:
        for name, data in members.items():
            new.writestr(name, data)


@pytest.fixture
def foreign(walker: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A checkpoint that somebody else saved: this user's state knows nothing of it."""
    url = f"file://{tmp_path}/server.git"
    subprocess.run(["git", "init", "--quiet", "--bare", tmp_path / "server.git"], check=True)
    walker.git("remote", "add", "origin", url)
    walker.git("push", "--quiet", "origin", "main")

    def make(**more: Any) -> Any:
        with monkeypatch.context() as other:
            other.setenv("XDG_STATE_HOME", str(tmp_path / "somebody-else"))
            return save(tmp_path, walker.net.Walker(), **more)

    return make


def load(path: Path, **more: Any) -> Any:
    return codevault.load_policy(path / "best.mpt", **more)


EDITED = pytest.mark.filterwarnings("ignore:walker.net was edited:codevault.CodeChangedWarning")


@EDITED
def test_nothing_of_a_foreign_checkpoint_runs_without_a_grant(
    walker: Any, foreign: Any, tmp_path: Path
) -> None:
    walker.commit({"src/walker/net.py": "raise SystemExit('ran')"})
    walker.git("push", "--quiet", "origin", "main")
    manifest = foreign()
    with pytest.raises(RefusedError) as caught:
        load(tmp_path)
    assert caught.value.hint == f"codevault trust add {canonical(manifest.repo)}"
    assert caught.value.exit_code == 4
    with pytest.raises(RefusedError):
        codevault.load_policy(tmp_path / "best.mpt", code="current")


def test_repository_commit_and_checkpoint_grants(foreign: Any, tmp_path: Path) -> None:
    manifest = foreign()
    for grant in (
        manifest.repo,
        f"{manifest.repo}@{manifest.commit}",
        f"sha256:{manifest.checkpoint_digest}",
    ):
        assert torch.is_tensor(load(tmp_path, trust=[grant])(OBS))
    for grant in (manifest.repo + "-fork", f"{manifest.repo}@{'0' * 40}", f"sha256:{'0' * 64}"):
        with pytest.raises(RefusedError):
            load(tmp_path, trust=[grant])


def test_grants_of_the_user_file_and_the_environment(
    foreign: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = foreign()
    grants.add(manifest.repo)
    load(tmp_path)
    assert [str(g) for g in grants.user_grants()] == [canonical(manifest.repo)]
    grants.remove(manifest.repo)
    with pytest.raises(RefusedError):
        load(tmp_path)
    monkeypatch.setenv("CODEVAULT_TRUST", f"https://example.org/a {manifest.repo}")
    load(tmp_path)
    with pytest.raises(CodevaultError, match="is not granted"):
        grants.remove(manifest.repo)


def test_objects_that_travel_need_a_grant_for_the_checkpoint(
    walker: Any, foreign: Any, tmp_path: Path
) -> None:
    walker.write({"src/walker/scale.py": "SCALE = 9.0\n"})
    walker.net = walker.load("walker.net")
    manifest = foreign()
    with pytest.raises(RefusedError) as caught:
        load(tmp_path, trust=[manifest.repo, f"{manifest.repo}@{manifest.commit}"])
    assert caught.value.hint == f"codevault trust add sha256:{manifest.checkpoint_digest}"
    load(tmp_path, trust=[f"sha256:{manifest.checkpoint_digest}"])


@EDITED
def test_a_grant_for_a_commit_covers_its_objects_that_travel(
    walker: Any, foreign: Any, tmp_path: Path
) -> None:
    """They are what the commit's hash says, wherever they come from."""
    walker.commit({"src/walker/scale.py": "SCALE = 9.0\n"})
    walker.net = walker.load("walker.net")
    manifest = foreign()
    assert manifest.base != manifest.commit
    with pytest.raises(RefusedError):
        load(tmp_path, trust=[manifest.repo, f"{manifest.repo}@{manifest.base}"])
    granted = f"{manifest.repo}@{manifest.commit}"
    assert torch.is_tensor(load(tmp_path, trust=[granted])(OBS))


@EDITED
def test_code_in_the_file_is_not_taken_on_a_repository_grant(
    walker: Any, foreign: Any, tmp_path: Path
) -> None:
    """A commit that the granted repository does not have, put into the file with its name on it."""
    walker.commit({"src/walker/net.py": "raise SystemExit('ran')"})
    manifest = foreign(embed=True)

    def lie(data: bytes) -> bytes:
        stated = json.loads(data)
        stated["base"] = stated["commit"]  # "it is pushed"
        return json.dumps(stated).encode()

    changed(tmp_path / "best.mpt", "manifest.json", lie)
    with pytest.raises(RefusedError, match="no branch or tag"):
        load(tmp_path, trust=[manifest.repo])


def test_own_save_is_granted_and_another_manifest_is_not(walker: Any, tmp_path: Path) -> None:
    save(tmp_path, walker.net.Walker())
    load(tmp_path)
    changed(
        tmp_path / "best.mpt",
        "manifest.json",
        lambda data: data.replace(b'"shared": []', b'"shared": ["os"]'),
    )
    with pytest.raises(RefusedError):
        load(tmp_path)


def test_current_code_does_not_run_what_a_checkpoint_calls_its_own(
    foreign: Any, tmp_path: Path
) -> None:
    """A granted repository's name on a checkpoint that says `subprocess` is its own module."""
    manifest = foreign()
    proof = tmp_path / "it-ran"
    text = f"class_path: subprocess:run\nargs:\n- [touch, {proof}]\n".encode()
    changed(tmp_path / "best.mpt", "policy_architecture.yaml", lambda _: text)

    def lie(data: bytes) -> bytes:
        stated = json.loads(data)
        stated["architecture"] = hashlib.sha256(text).hexdigest()
        stated["modules"] = ["subprocess"]
        return json.dumps(stated).encode()

    changed(tmp_path / "best.mpt", "manifest.json", lie)
    with pytest.raises(CodeError):
        load(tmp_path, trust=[manifest.repo])
    with pytest.raises(RefusedError, match="may not choose what runs in the current code"):
        load(tmp_path, trust=[manifest.repo], code="current")
    assert not proof.exists()


@pytest.mark.parametrize("shared", ["posix", "os", "builtins", "torch", "walker"])
@pytest.mark.parametrize("scope", ["repository", "commit"])
def test_grant_for_code_does_not_cover_what_a_checkpoint_calls_shared(
    scope: str, shared: str, foreign: Any, tmp_path: Path
) -> None:
    """`shared=["posix"], class_path: posix:system` under a granted repository's name."""
    manifest = foreign()
    proof = tmp_path / "it-ran"
    text = f"class_path: {shared}:system\nargs: ['touch {proof}']\n".encode()
    changed(tmp_path / "best.mpt", "policy_architecture.yaml", lambda _: text)

    def lie(data: bytes) -> bytes:
        stated = json.loads(data)
        stated["architecture"] = hashlib.sha256(text).hexdigest()
        stated["shared"] = [shared]
        return json.dumps(stated).encode()

    changed(tmp_path / "best.mpt", "manifest.json", lie)
    grant = manifest.repo if scope == "repository" else f"{manifest.repo}@{manifest.commit}"
    with pytest.raises(RefusedError, match="shares"):
        load(tmp_path, trust=[grant])
    assert not proof.exists()


def test_shared_names_that_the_commit_states_are_covered(
    project: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.commit(
        {
            "pyproject.toml": '[tool.codevault]\nroots = ["src"]\nshared = ["gait.api"]\n',
            "src/gait/__init__.py": "",
            "src/gait/api.py": "class Env: pass\n",
            "src/gait/net.py": "import torch\nfrom gait.api import Env\n"
            "class Net(torch.nn.Linear):\n    env = Env\n"
            "    def __init__(self): super().__init__(4, 2)\n",
        }
    )
    bare = tmp_path / "server.git"
    subprocess.run(["git", "clone", "--quiet", "--bare", project.top, bare], check=True)
    project.git("remote", "add", "origin", f"file://{bare}")
    project.git("fetch", "--quiet", "origin")
    net = project.load("gait.net")
    with monkeypatch.context() as other:
        other.setenv("XDG_STATE_HOME", str(tmp_path / "somebody-else"))
        manifest = save(tmp_path, net.Net())
    assert load(tmp_path, trust=[manifest.repo]).env is net.Env


def test_folder_that_is_called_like_an_address_is_not_fetched_from(
    walker: Any, foreign: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`github.com:owner/repo` as a folder of the working folder."""
    working = tmp_path / "downloads"
    (working / "github.invalid:owner").mkdir(parents=True)
    monkeypatch.chdir(working)
    clone = ["git", "clone", "--quiet", "--bare", walker.top, "github.invalid:owner/repo"]
    subprocess.run([*clone[:-1], str(working / clone[-1])], check=True)
    manifest = foreign()
    changed(
        tmp_path / "best.mpt",
        "manifest.json",
        lambda data: data.replace(manifest.repo.encode(), b"github.invalid:owner/repo"),
    )
    monkeypatch.setenv("GIT_SSH_COMMAND", "false")
    with pytest.raises(CodevaultError) as caught:
        load(tmp_path, trust=["https://github.invalid/owner/repo"])
    assert caught.value.exit_code in (3, 4)
    assert not hasattr(caught.value, "splint")


@pytest.mark.parametrize("repo", ["walker", "../walker", "ext::sh -c true", "https://", "a\nb"])
def test_address_that_cannot_be_granted_is_a_refusal(
    repo: str, foreign: Any, tmp_path: Path
) -> None:
    manifest = foreign()
    changed(
        tmp_path / "best.mpt",
        "manifest.json",
        lambda data: data.replace(json.dumps(manifest.repo).encode(), json.dumps(repo).encode()),
    )
    with pytest.raises(CodevaultError) as caught:
        load(tmp_path, trust=["https://example.org/a/b"])
    assert "\n" not in caught.value.hint
    assert isinstance(caught.value, RefusedError) or repo == "a\nb"


def test_hints_can_be_pasted(foreign: Any, tmp_path: Path) -> None:
    manifest = foreign()
    evil = "https://example.org/o/r;touch evil|sh"
    changed(
        tmp_path / "best.mpt",
        "manifest.json",
        lambda data: data.replace(manifest.repo.encode(), evil.encode()),
    )
    with pytest.raises(RefusedError) as caught:
        load(tmp_path)
    assert shlex.split(caught.value.hint)[3:] == [evil]


def test_commit_that_no_branch_leads_to_is_not_covered_by_its_repository(
    walker: Any, foreign: Any, tmp_path: Path, daemon: Any
) -> None:
    """What a fork pushes is served under the parent's address."""
    url, folder, _ = daemon()
    subprocess.run(["git", "clone", "--quiet", "--bare", walker.top, folder / "w.git"], check=True)
    walker.git("remote", "set-url", "origin", f"{url}/w.git")
    walker.git("fetch", "--quiet", "origin")
    stranger = walker.commit({"src/walker/scale.py": "raise SystemExit('ran')"})
    walker.git("push", "--quiet", "origin", "HEAD:refs/pull/1/head")
    walker.git("update-ref", "refs/remotes/origin/x", stranger)
    manifest = foreign()
    assert manifest.commit == manifest.base == stranger
    with pytest.raises(RefusedError, match="no branch or tag") as caught:
        load(tmp_path, trust=[manifest.repo])
    assert caught.value.hint == f"codevault trust add {url}/w@{stranger}"
    with pytest.raises(SystemExit):  # a grant for the commit itself is the user's own word
        load(tmp_path, trust=[f"{manifest.repo}@{stranger}"])


def test_a_name_that_stands_for_other_code_in_the_cache_is_not_believed(
    walker: Any, foreign: Any, tmp_path: Path
) -> None:
    """48 bits of a commit or of changes can be made to collide; what only reads fills the cache."""
    from codevault.checkpointcode import snapshot_of
    from codevault_cache import Cache

    manifest = foreign()
    real, vault = snapshot_of(manifest), Cache.open()
    evil = {"src/walker/net.py": (0o100644, b"raise SystemExit('ran')")}
    digest = vault.publish(evil)
    twin = dataclasses.replace(real, commit=f"{str(real.commit)[:12]}{'0' * 28}", digest=digest)
    assert twin.name == real.name
    vault.record(twin)
    honest = (tmp_path / "best.mpt").read_bytes()
    changed(
        tmp_path / "best.mpt",
        "manifest.json",
        lambda data: data.replace(manifest.digest.encode(), digest.encode()),
    )
    with pytest.raises(CodevaultError):
        load(tmp_path, trust=[manifest.repo])
    (tmp_path / "best.mpt").write_bytes(honest)
    load(tmp_path, trust=[manifest.repo])


@pytest.mark.parametrize("path", ["walker.net:torch.load", "walker.net.torch", "walker.net:SCALE"])
def test_class_path_does_not_reach_what_own_modules_import(
    path: str, foreign: Any, tmp_path: Path
) -> None:
    manifest = foreign()

    def point_elsewhere(_: bytes) -> bytes:
        return f"class_path: {path!r}\n".encode()

    changed(tmp_path / "best.mpt", "policy_architecture.yaml", point_elsewhere)
    digest = hashlib.sha256(point_elsewhere(b"")).hexdigest()
    changed(
        tmp_path / "best.mpt",
        "manifest.json",
        lambda data: data.replace(manifest.architecture.encode(), digest.encode()),
    )
    changed_manifest = codevault.read_manifest(tmp_path / "best.mpt")
    for code in ("pinned", "current"):
        with pytest.raises(CodeError, match="no"):
            load(tmp_path, trust=[f"sha256:{changed_manifest.checkpoint_digest}"], code=code)


def test_working_folder_grants_nothing(
    foreign: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = foreign()
    (tmp_path / "pyproject.toml").write_text(f'[tool.codevault]\ntrust = ["{manifest.repo}"]\n')
    (tmp_path / "trust").write_text(manifest.repo)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RefusedError):
        load(tmp_path)


def test_state_that_others_could_write_is_not_used(walker: Any, tmp_path: Path) -> None:
    save(tmp_path, walker.net.Walker())
    folder = userdir.state_folder("saved")
    assert folder is not None
    os.chmod(folder, 0o777)
    with pytest.raises(RefusedError):
        load(tmp_path)
    os.chmod(folder, 0o700)
    load(tmp_path)


SAME = (
    "https://github.com/Metta-AI/metta",
    "https://GitHub.com/Metta-AI/metta.git",
    "https://github.com:443/Metta-AI/metta/",
    "https://token@github.com/Metta-AI/metta.git/",
    "git@github.com:Metta-AI/metta.git",
    "ssh://git@github.com/Metta-AI/metta",
    "ssh://git@github.com:22/Metta-AI//metta",
)


@pytest.mark.parametrize("url", SAME)
def test_spellings_of_one_repository(url: str) -> None:
    assert canonical(url) == "https://github.com/Metta-AI/metta"


@pytest.mark.parametrize(
    "url",
    [
        "http://github.com/Metta-AI/metta",
        "https://github.com.evil.org/Metta-AI/metta",
        "https://github.com:8443/Metta-AI/metta",
        "https://github.com/metta-ai/metta",
        "https://github.com/Metta-AI/metta/x",
        "https://evil.org/github.com/Metta-AI/metta",
        "https://github.com@evil.org/Metta-AI/metta",
        "https://xn--gthub-n4a.com/Metta-AI/metta",
        "https://gíthub.com/Metta-AI/metta",
        "git@github.com:2222/Metta-AI/metta",
    ],
)
def test_other_places_are_other_repositories(url: str) -> None:
    assert canonical(url) != "https://github.com/Metta-AI/metta"


def test_a_port_is_no_part_of_an_address_of_numbers() -> None:
    """`[::5]:8443` is a port of one machine, `[::5:8443]` another machine of its network."""
    granted = grants.grant("https://[fd00::5]:8443/o/r")
    assert granted.repo == "https://[fd00::5]:8443/o/r" != canonical("https://[fd00::5:8443]/o/r")
    assert canonical("https://[FD00::5]:443/o/r.git") == "https://[fd00::5]/o/r"
    assert grants.grant(str(granted)) == granted


@pytest.mark.parametrize(
    "url",
    [
        "https://github.com/a/../b",
        "https://github.com/a/%2e%2e/b",
        "https://github.com",
        "ext::sh -c true",
        "ftp://example.org/a",
        "https://[broken/a",
        "https://example.org/a?b=c",
        "https://example.org/owner/*",
        "https://example.org/owner/%2a",
        "git@example.org:owner/[ab]",
        "github.com/owner/repo",
        "sha256:abcd1234",
        "https://github.com/o/r@main",
        "",
        ".",
        "owner",
    ],
)
def test_addresses_that_cannot_be_granted(url: str) -> None:
    with pytest.raises(CodevaultError):
        grants.grant(url)


def test_a_line_for_what_is_no_grant_can_be_pasted() -> None:
    with pytest.raises(UsageError) as caught:
        grants.grant("github.com/owner/repo.git")
    line = shlex.split(caught.value.hint, comments=True)
    assert line[:3] == ["codevault", "trust", "add"]
    assert str(grants.grant(line[3])) == "https://github.com/owner/repo"
    with pytest.raises(UsageError) as caught:
        grants.grant("https://github.com/owner/*")
    assert shlex.split(caught.value.hint, comments=True)[3:] == ["https://host/owner/repo"]


@given(st.text(max_size=60))
def test_no_text_makes_a_grant_of_another_kind(text: str) -> None:
    try:
        grant = grants.grant(text)
    except CodevaultError:
        return
    assert (grant.checkpoint is None) != (grant.repo is None)
    assert grants.grant(str(grant)) == grant


def test_credentials_never_appear_in_a_refusal(foreign: Any, tmp_path: Path) -> None:
    manifest = foreign()
    changed(
        tmp_path / "best.mpt",
        "manifest.json",
        lambda data: data.replace(manifest.repo.encode(), b"https://me:s3cret@example.org/private"),
    )
    with pytest.raises(RefusedError) as caught:
        load(tmp_path)
    assert "s3cret" not in str(caught.value)


def test_grants_file_that_others_could_write_is_not_used(foreign: Any, tmp_path: Path) -> None:
    manifest = foreign()
    grants.add(manifest.repo)
    os.chmod(userdir.grants_file(), 0o666)
    with pytest.warns(codevault.CodevaultWarning, match="others could write it"):
        assert grants.user_grants() == []
    with pytest.raises(CodevaultError, match="chmod go-w"):
        grants.add("https://example.org/a/b")
    os.chmod(userdir.grants_file(), 0o600)
    load(tmp_path)


def test_broken_lines_do_not_stop_other_grants(foreign: Any, tmp_path: Path) -> None:
    manifest = foreign()
    grants.add(manifest.repo)
    with open(userdir.grants_file(), "a") as file:
        file.write("https://github.com\n\n# a comment\nnonsense  # and more\n")
    with pytest.warns(codevault.CodevaultWarning, match=r"trust:[25] is no grant"):
        load(tmp_path)
    grants.add("https://example.org/a/b")
    grants.remove("https://example.org/a/b")
    with open(userdir.grants_file()) as file:
        assert "# a comment\n" in file.readlines()


@pytest.mark.parametrize("content", [b"\xff\xfe", None])
def test_unreadable_grants_file_is_one_of_our_errors(content: bytes | None) -> None:
    path = userdir.grants_file()
    os.makedirs(os.path.dirname(path), 0o700)
    if content is None:
        os.mkdir(path)
    else:
        with open(path, "wb") as file:
            file.write(content)
    with pytest.raises(CodevaultError, match="cannot be read"):
        grants.add("https://example.org/a/b")


def test_two_commands_at_once_lose_no_grant() -> None:
    program = "import sys; from codevault import grants; grants.add(sys.argv[1])"
    urls = [f"https://example.org/a/{n}" for n in range(8)]
    running = [subprocess.Popen([sys.executable, "-c", program, url]) for url in urls]
    assert [process.wait() for process in running] == [0] * len(urls)
    assert sorted(str(grant) for grant in grants.user_grants()) == urls


def test_trust_is_a_list(foreign: Any, tmp_path: Path) -> None:
    manifest = foreign()
    with pytest.raises(CodevaultError, match="a list of them is meant"):
        load(tmp_path, trust=manifest.repo)


@EDITED
def test_code_that_ends_the_load_leaves_a_line_too(
    walker: Any, foreign: Any, tmp_path: Path
) -> None:
    """What ran is asked after the fact above all where it did not go well."""
    from codevault import loadlog

    walker.commit({"src/walker/net.py": "raise SystemExit('ran')"})
    walker.git("push", "--quiet", "origin", "main")
    manifest = foreign()
    with pytest.raises(SystemExit):
        load(tmp_path, trust=[manifest.repo])
    assert [line["commit"] for line in loadlog.lines()] == [manifest.commit]


def test_a_line_says_which_code_ran_where_the_caller_brought_it(
    walker: Any, foreign: Any, tmp_path: Path
) -> None:
    from codevault import loadlog

    manifest = foreign()
    other = walker.commit({"src/walker/note.py": ""})
    splint = codevault.load_code(walker.top, other)
    load(tmp_path, code=splint)
    (line,) = loadlog.lines()
    assert (line["commit"], line["splint"]) == (other, splint.name)
    assert (line["policy"], line["allowed"]) == (manifest.policy_digest, "given by the caller")


def test_no_lines_are_lost_where_two_processes_find_the_log_full(
    foreign: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from codevault import loadlog

    manifest, write = foreign(), os.write
    folder = userdir.state_folder("loads")
    assert folder is not None
    path = os.path.join(folder, "loads.jsonl")

    def other_process_is_faster(fd: int, data: bytes) -> int:
        monkeypatch.setattr(os, "write", write)
        count = write(fd, data)
        os.replace(path, f"{path}.1")
        loadlog.note("other", manifest, None, None, "")
        return count

    loadlog.note("first", manifest, None, None, "")
    monkeypatch.setattr(loadlog, "_LIMIT", os.path.getsize(path) + 9)
    monkeypatch.setattr(os, "write", other_process_is_faster)
    loadlog.note("second", manifest, None, None, "")
    assert [line["uri"] for line in loadlog.lines()] == ["first", "second", "other"]


def test_each_load_leaves_a_line_of_what_ran_and_why(
    foreign: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from click.testing import CliRunner

    from codevault import loadlog
    from codevault.cli import main

    manifest = foreign()
    with pytest.raises(RefusedError):
        load(tmp_path)
    assert loadlog.lines() == []
    for _ in range(2):
        policy = load(tmp_path, trust=[manifest.repo])
    found = loadlog.lines()
    assert len(found) == 2
    assert found[0]["commit"] == manifest.commit
    assert found[0]["policy"] == manifest.policy_digest
    assert found[0]["splint"] == type(policy).__module__.partition(".")[0]
    assert found[0]["allowed"] == f"{canonical(manifest.repo)} is granted"
    done = CliRunner().invoke(main, ["trust", "log"])
    assert done.output.count(str(manifest.commit)) == 2
    monkeypatch.setattr(loadlog, "_LIMIT", 100)
    load(tmp_path, trust=[manifest.repo])
    load(tmp_path, trust=[manifest.repo])
    assert len(loadlog.lines()) == 1  # of several, the newest full file is kept
    folder = userdir.state_folder("loads")
    assert folder is not None
    os.chmod(folder, 0o500)
    load(tmp_path, trust=[manifest.repo])
    os.chmod(folder, 0o777)  # others could have written it
    assert loadlog.lines() == []
    os.chmod(folder, 0o700)
