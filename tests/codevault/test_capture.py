"""Where a policy's code is found when it is saved, and what travels."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING, Any

import pytest
import torch
from click.testing import CliRunner

import codevault
from codevault.cli import main
from codevault.errors import CaptureError, FetchError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

OBS = torch.linspace(-1, 1, 12).reshape(3, 4)


def save(path: Path, policy: Any, **more: Any) -> Any:
    return codevault.save_policy(path / "best.mpt", policy, **{"probe": OBS, **more})


def test_roots_are_where_the_modules_were_imported_from(walker: Any, tmp_path: Path) -> None:
    assert save(tmp_path, walker.net.Walker()).roots == ("src",)


def test_roots_shared_and_include_are_stated_by_the_repository(
    project: Any, tmp_path: Path
) -> None:
    project.commit(
        {
            "pyproject.toml": '[tool.codevault]\nroots = ["lib", "."]\nshared = ["gait.api"]\n'
            'include = ["data/big.bin"]\n',
            "lib/gait/__init__.py": "",
            "lib/gait/api.py": "class Env: pass",
            "lib/gait/net.py": "import torch\nfrom gait.api import Env\n"
            "class Net(torch.nn.Linear):\n    env = Env\n",
            "data/big.bin": bytes(2 << 20),
        }
    )
    net = project.load("gait.net", "lib")
    manifest = save(
        tmp_path, net.Net(4, 2), architecture={"class_path": "gait.net:Net", "args": [4, 2]}
    )
    assert manifest.roots == ("lib", ".")
    assert manifest.shared == ("gait.api",)
    assert manifest.include == ("data/big.bin",)
    old = codevault.load_policy(tmp_path / "best.mpt")
    assert old.env is net.Env  # [shared-alias]
    tree = codevault.provenance(old).splint.tree  # type: ignore[union-attr]
    assert "data/big.bin" in tree.paths


def test_uncommitted_changes_travel(walker: Any, tmp_path: Path) -> None:
    walker.write({"src/walker/scale.py": "SCALE = 5.0\n", "src/walker/extra.py": "X = 1\n"})
    net = walker.load("walker.net")
    policy = net.Walker()
    manifest = save(tmp_path, policy)
    assert manifest.commit == walker.head
    assert {f.path for f in manifest.overlay.files} == {
        "src/walker/scale.py",
        "src/walker/extra.py",
    }
    walker.git("checkout", "--quiet", "--", ".")
    old = codevault.load_policy(tmp_path / "best.mpt")
    assert torch.equal(old(OBS), policy(OBS))


@pytest.mark.parametrize("embed", [False, True])
def test_unpushed_commits_travel_and_pushed_ones_need_not(
    embed: bool, walker: Any, tmp_path: Path, daemon: Callable[[], Any]
) -> None:
    url, folder, stop = daemon()
    subprocess.run(["git", "init", "--quiet", "--bare", folder / "w.git"], check=True)
    walker.git("remote", "add", "origin", f"{url}/w.git")
    walker.git("push", "--quiet", "origin", "main")
    pushed = walker.head
    walker.commit({"src/walker/scale.py": "SCALE = 4.0\n"})
    walker.write({"src/walker/new.py": "Y = 1\n"})
    policy = walker.load("walker.net").Walker()
    manifest = save(tmp_path, policy, embed=embed)
    assert manifest.repo == f"{url}/w.git"
    assert manifest.base == pushed
    assert manifest.commit != pushed
    walker.top.rename(tmp_path / "moved-away")
    if embed:
        stop()
    old = codevault.load_policy(tmp_path / "best.mpt")
    assert torch.equal(old(OBS), policy(OBS))


def test_pushed_code_needs_the_server_once_and_never_again(
    walker: Any, tmp_path: Path, daemon: Callable[[], Any]
) -> None:
    url, folder, stop = daemon()
    subprocess.run(["git", "init", "--quiet", "--bare", folder / "w.git"], check=True)
    walker.git("remote", "add", "origin", f"{url}/w.git")
    walker.git("push", "--quiet", "origin", "main")
    save(tmp_path, walker.net.Walker())
    walker.top.rename(tmp_path / "moved-away")
    codevault.load_policy(tmp_path / "best.mpt")
    stop()
    codevault.load_policy(tmp_path / "best.mpt")
    with pytest.raises(FetchError) as caught:
        codevault.load_policy(tmp_path / "best.mpt", cache=tmp_path / "other")
    assert caught.value.reference == "origin-unreachable"


def test_url_is_saved_without_user_info(walker: Any, tmp_path: Path) -> None:
    walker.git("remote", "add", "origin", "https://me:s3cret@example.org/a/b.git")
    manifest = save(tmp_path, walker.net.Walker())
    assert manifest.repo == "https://example.org/a/b.git"
    assert b"s3cret" not in (tmp_path / "best.mpt").read_bytes()


@pytest.mark.parametrize(
    ("metadata", "named"),
    [({"reward": torch.ones(1)}, "metadata.reward"), ({"net": torch.nn.Linear}, "metadata.net")],
)
def test_metadata_is_plain_data(metadata: Any, named: str, walker: Any, tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match=named):
        save(tmp_path, walker.net.Walker(), metadata=metadata)


def test_module_that_no_import_finds_is_refused(walker: Any, tmp_path: Path) -> None:
    import importlib.util

    spec = importlib.util.spec_from_file_location("other", walker.top / "src/walker/net.py")
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["other"] = module
    spec.loader.exec_module(module)  # type: ignore[union-attr]
    try:
        with pytest.raises(CaptureError, match="no module that an import finds"):
            save(tmp_path, module.Walker())
        with pytest.raises(CaptureError, match="no module that an import finds"):
            save(tmp_path, walker.net.Walker(), shared=["walker"])
    finally:
        del sys.modules["other"]


@pytest.mark.parametrize("text", [b"\xff\xfe", b"tool = 3", b"[tool]\ncodevault = 3"])
def test_pyproject_that_says_nothing_is_no_error(text: bytes, walker: Any, tmp_path: Path) -> None:
    walker.commit({"pyproject.toml": text})
    assert save(tmp_path, walker.net.Walker()).roots == ("src",)


def test_policy_of_a_library_class_is_saved_again(project: Any, tmp_path: Path) -> None:
    project.commit(
        {
            "src/gait/__init__.py": "",
            "src/gait/net.py": "import torch\ndef make():\n"
            "    return torch.nn.Sequential(torch.nn.Linear(4, 2))\n",
        }
    )
    net = project.load("gait.net")
    first = save(tmp_path, net.make(), architecture={"class_path": "gait.net:make"})
    old = codevault.load_policy(tmp_path / "best.mpt")
    again = save(tmp_path, old)
    assert (again.commit, again.architecture) == (first.commit, first.architecture)
    assert torch.equal(codevault.load_policy(tmp_path / "best.mpt")(OBS), old(OBS))
    with pytest.raises(CaptureError, match="include cannot be chosen"):
        save(tmp_path, old, include=["*.md"])


def test_repo_may_be_said(walker: Any, tmp_path: Path) -> None:
    manifest = save(tmp_path, walker.net.Walker(), repo=walker.top)
    assert manifest.commit == walker.head
    manifest = save(tmp_path, walker.net.Walker(), repo="https://me:pw@example.org/said.git")
    assert manifest.repo == "https://example.org/said.git"
    with pytest.raises(CaptureError, match="no git work tree"):
        save(tmp_path, walker.net.Walker(), repo=tmp_path)


def test_generated_module_that_git_ignores_is_taken(project: Any, tmp_path: Path) -> None:
    project.commit(
        {
            ".gitignore": "_version.py\n",
            "src/gait/__init__.py": "",
            "src/gait/_version.py": "V = 3\n",
            "src/gait/net.py": "import torch\nfrom gait._version import V\n"
            "class Net(torch.nn.Linear):\n"
            "    def __init__(self): super().__init__(4, V)\n",
        }
    )
    net = project.load("gait.net")
    manifest = save(tmp_path, net.Net())
    assert "src/gait/_version.py" in manifest.include
    project.write({"src/gait/_version.py": "V = 4\n"})
    assert codevault.load_policy(tmp_path / "best.mpt").out_features == 3


def test_code_without_repository_is_embedded(project: Any, tmp_path: Path) -> None:
    project.write({f"src/{p}": t for p, t in _PLAIN.items()})
    net = project.load("gait.net")
    policy = net.Net()
    manifest = save(tmp_path, policy)
    assert (manifest.repo, manifest.commit) == (None, None)
    project.top.rename(tmp_path / "gone")
    old = codevault.load_policy(tmp_path / "best.mpt")
    assert torch.equal(old(OBS), policy(OBS))
    assert type(old).__module__.startswith(f"_splint_{manifest.digest[:12]}_")
    assert old.note == "read beside the code"


_PLAIN = {
    "gait/__init__.py": "",
    "gait/note.txt": "read beside the code",
    "gait/net.py": """
        import pathlib
        import torch
        class Net(torch.nn.Linear):
            note = pathlib.Path(__file__).with_name("note.txt").read_text()
            def __init__(self):
                super().__init__(4, 2)
    """,
}


def test_two_repositories_are_refused_by_name(project: Any, tmp_path: Path) -> None:
    project.commit(
        {
            "src/walker/__init__.py": "",
            "src/walker/net.py": "import torch\nimport gait\n"
            "class Walker(torch.nn.Linear):\n    other = gait\n",
        }
    )
    other = tmp_path / "elsewhere"
    (other / "gait").mkdir(parents=True)
    (other / "gait/__init__.py").write_text("")
    subprocess.run(["git", "init", "--quiet", str(other)], check=True)
    sys.path.insert(0, str(other))
    net = project.load("walker.net")
    architecture = {"class_path": "walker.net:Walker", "args": [4, 2]}
    with pytest.raises(CaptureError, match="more than one repository") as caught:
        save(tmp_path, net.Walker(4, 2), architecture=architecture)
    assert str(other) in str(caught.value)
    assert str(project.top) in str(caught.value)
    save(tmp_path, net.Walker(4, 2), architecture=architecture, shared=["gait"])
    assert codevault.load_policy(tmp_path / "best.mpt").other is sys.modules["gait"]


SCRIPT = """
    import sys
    import torch
    import codevault

    class Net(torch.nn.Linear):
        def __init__(self):
            super().__init__(4, 2)

    if __name__ == "__main__":
        policy = Net()
        manifest = codevault.save_policy(sys.argv[1], policy, probe=torch.ones(1, 4))
        print(manifest.modules, manifest.roots)
        old = codevault.load_policy(sys.argv[1])
        print(type(old).__module__.partition(".")[2], torch.equal(old.weight, policy.weight))
"""


def run(*command: str, cwd: Path, text: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command], cwd=cwd, input=text, capture_output=True, text=True
    )


def test_class_of_a_script_maps_to_its_file(project: Any, tmp_path: Path) -> None:
    project.commit({"tools/script.py": SCRIPT})
    done = run("tools/script.py", str(tmp_path / "best.mpt"), cwd=project.top)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["('script',) ('tools',)", "script True"]


def test_class_from_standard_input_is_refused(project: Any, tmp_path: Path) -> None:
    project.commit({"README": "x"})
    text = textwrap.dedent(SCRIPT)
    done = run("-", str(tmp_path / "best.mpt"), cwd=project.top, text=text)
    assert done.returncode != 0
    assert "put the policy's code into a .py file" in done.stderr
    assert not (tmp_path / "best.mpt").exists()


@pytest.fixture
def group(tmp_path: Path) -> Iterator[None]:
    """A process group of one."""
    import torch.distributed as dist

    store = f"file://{tmp_path}/process-group"
    dist.init_process_group("gloo", init_method=store, rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def test_wrappers_are_looked_through(group: None, walker: Any, tmp_path: Path) -> None:
    policy = walker.net.Walker()
    for wrapped in (
        torch.compile(policy, backend="eager"),
        torch.nn.DataParallel(policy),
        torch.nn.parallel.DistributedDataParallel(policy),
        torch.compile(torch.nn.parallel.DistributedDataParallel(policy), backend="eager"),
    ):
        save(tmp_path, wrapped)
        old = codevault.load_policy(tmp_path / "best.mpt")
        assert type(old).__name__ == "Walker"
        assert torch.equal(old(OBS), policy(OBS))


def test_sharded_policy_is_refused(group: None, walker: Any, tmp_path: Path) -> None:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    policy = walker.net.Walker()
    fully_shard(policy.body, mesh=init_device_mesh("cpu", (1,)))
    with pytest.raises(CaptureError, match="FSDP"):
        save(tmp_path, policy)
    assert not (tmp_path / "best.mpt").exists()


@pytest.mark.parametrize("rehearse", [False, True])
def test_rehearsal_finds_what_was_not_captured(
    rehearse: bool, project: Any, tmp_path: Path
) -> None:
    project.commit(
        {
            ".gitignore": "sizes.txt\n",
            "src/gait/__init__.py": "",
            "src/gait/sizes.txt": "2",
            "src/gait/net.py": """
                import pathlib
                import torch
                class Net(torch.nn.Linear):
                    def __init__(self):
                        sizes = pathlib.Path(__file__).with_name("sizes.txt").read_text()
                        super().__init__(4, int(sizes))
            """,
        }
    )
    policy = project.load("gait.net").Net()
    if not rehearse:
        save(tmp_path, policy)
        return
    with pytest.raises(CaptureError, match=r"sizes\.txt(.|\n)*include="):
        save(tmp_path, policy, rehearse=True)
    assert list(tmp_path.glob("best*")) == []
    save(tmp_path, policy, rehearse=True, include=["src/gait/sizes.txt"])
    assert codevault.load_policy(tmp_path / "best.mpt").out_features == 2


def test_installed_distribution_names_its_repository(project: Any, tmp_path: Path) -> None:
    """By PEP 610: a real `pip install git+file://…` in a folder of its own."""
    commit = project.commit(
        {
            "pyproject.toml": '[build-system]\nrequires = ["hatchling"]\n'
            'build-backend = "hatchling.build"\n[project]\nname = "gait"\nversion = "1"\n'
            '[tool.hatch.build.targets.wheel]\npackages = ["src/gait"]\n',
            "src/gait/__init__.py": "",
            "src/gait/net.py": "import torch\nclass Net(torch.nn.Linear):\n"
            "    def __init__(self): super().__init__(4, 2)\n",
        }
    )
    site = tmp_path / "lib" / "site-packages"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--target", site, f"git+file://{project.top}@{commit}"], check=True)
    direct = json.loads(next(site.glob("gait-*/direct_url.json")).read_text())
    assert direct["vcs_info"]["commit_id"] == commit
    script = f"""
        import torch
        import codevault
        import gait.net
        path, probe = {str(tmp_path / "best.mpt")!r}, torch.ones(1, 4)
        m = codevault.save_policy(path, gait.net.Net(), probe=probe)
        print(m.repo, m.commit, m.roots)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[:2] == [str(project.top), commit]
    assert "src" in done.stdout


@pytest.mark.parametrize("gone", [False, True])
def test_policy_of_a_splint_from_a_local_clone_travels_with_its_code(
    gone: bool, walker: Any, tmp_path: Path
) -> None:
    splint = codevault.load_code(walker.top, walker.head)
    policy = splint.load_symbol("walker.net:Walker")()
    if gone:
        walker.top.rename(tmp_path / "moved-away")
    manifest = save(tmp_path, policy)
    assert manifest.repo is None
    assert manifest.commit == (None if gone else walker.head)
    if not gone:
        walker.top.rename(tmp_path / "moved-away")
    again = codevault.load_policy(tmp_path / "best.mpt", cache=tmp_path / "empty")
    assert torch.equal(again(OBS), policy(OBS))
    assert manifest.digest == splint.snapshot.digest


def test_overlay_of_a_splint_is_kept_when_its_policy_is_saved(walker: Any, tmp_path: Path) -> None:
    overlay = {"src/walker/scale.py": "SCALE = 7.0\n"}
    splint = codevault.load_code(walker.top, walker.head, overlay=overlay)
    policy = splint.load_symbol("walker.net:Walker")()
    manifest = save(tmp_path, policy)
    assert manifest.commit == walker.head
    assert [file.path for file in manifest.overlay.files] == list(overlay)
    again = codevault.load_policy(tmp_path / "best.mpt", cache=tmp_path / "empty")
    assert torch.equal(again(OBS), policy(OBS))
    assert type(again) is type(policy)
    assert splint.import_module("walker.scale").SCALE == 7.0


@pytest.mark.parametrize(
    ("change", "said", "hint"),
    [
        ("policy.mean += 1", "does not behave as it was saved: outputs differ", "register_buffer"),
        ("policy.head = torch.nn.Linear(8, 3)", "head.bias [3] in file", "architecture="),
    ],
)
def test_rehearsal_says_what_the_load_would_and_what_helps(
    change: str, said: str, hint: str, project: Any, tmp_path: Path
) -> None:
    project.commit(
        {
            "src/gait/__init__.py": "",
            "src/gait/net.py": """
                import torch
                class Net(torch.nn.Module):
                    def __init__(self):
                        super().__init__()
                        self.head, self.mean = torch.nn.Linear(8, 2), torch.zeros(8)
                    def forward(self, obs):
                        return self.head(obs - self.mean)
            """,
        }
    )
    policy = project.load("gait.net").Net()
    exec(change, {"policy": policy, "torch": torch})
    with pytest.raises(CaptureError) as caught:
        save(tmp_path, policy, rehearse=True, probe=torch.rand(2, 8))
    text = str(caught.value)
    assert said in text
    assert hint in caught.value.hint
    assert "Traceback" not in text
    assert ".rehearsal" not in text  # that file is gone
    assert text.count("do: ") == 1


@pytest.mark.parametrize("epoch", ["9" * 14, "9" * 30, "²"])
def test_an_epoch_of_no_calendar_loses_no_checkpoint(
    epoch: str, walker: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", epoch)
    assert save(tmp_path, walker.net.Walker()).created.startswith("2")


def test_rehearsal_takes_what_is_shared_from_the_application(project: Any, tmp_path: Path) -> None:
    """It lies in the application's folder, where no fresh process would look by itself."""
    project.commit(
        {
            "src/gait/__init__.py": "",
            "src/gait/net.py": "import torch\nfrom shared_env import api\n"
            "class Net(torch.nn.Linear):\n    def __init__(self): super().__init__(4, api.SIZE)\n",
            "src/shared_env/__init__.py": "",
            "src/shared_env/api.py": "SIZE = 2\n",
        }
    )
    policy = project.load("gait.net").Net()
    assert save(tmp_path, policy, shared=["shared_env"], rehearse=True).shared == ("shared_env",)


NET_WITH_FILES = """
import os, torch
HERE = os.path.dirname(__file__)
class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.lin = torch.nn.Linear(4, 2)
        with open(os.path.join(os.fsencode(HERE), b"caf\\xe9.txt")) as file:
            self.scale = float(file.read())
        self.listed = sorted(os.listdir(os.path.join(os.fsencode(HERE), b"d\\xff")))
    def forward(self, x):
        return self.lin(x) * self.scale
"""


def test_files_whose_names_are_no_utf_8_are_there_in_a_fresh_process(
    project: Any, tmp_path: Path
) -> None:
    cafe, kept, gone, new = (
        os.fsdecode(b"src/gait/" + name)
        for name in (b"caf\xe9.txt", b"d\xff/kept\xfe", b"d\xff/gone\xfe", b"d\xff/new\xfe")
    )
    files = {"src/gait/__init__.py": "", "src/gait/net.py": NET_WITH_FILES, cafe: "2.0"}
    project.commit({**files, kept: "kept", gone: "gone"})
    project.write({cafe: "3.0", new: "new"})
    (project.top / gone).unlink()
    policy = project.load("gait.net").Net()
    manifest = save(tmp_path, policy)
    assert [file.path for file in manifest.overlay.files] == [
        r"src/gait/caf\xe9.txt", r"src/gait/d\xff/gone\xfe", r"src/gait/d\xff/new\xfe",
    ]  # fmt: skip
    project.top.rename(tmp_path / "moved-away")
    program = (
        "import sys, torch, codevault\n"
        "policy = codevault.load_policy(sys.argv[1])\n"
        "print(policy.scale, policy.listed)\n"
        "codevault.save_policy(sys.argv[2], policy, probe=torch.ones(1, 4))\n"
    )
    paths = [str(tmp_path / "best.mpt"), str(tmp_path / "again.mpt")]
    done = subprocess.run([sys.executable, "-c", program, *paths], capture_output=True, text=True)
    assert done.stdout == f"3.0 {[b'kept' + bytes([0xFE]), b'new' + bytes([0xFE])]}\n", done.stderr
    again = codevault.read_manifest(paths[1])
    assert (again.digest, again.overlay) == (manifest.digest, manifest.overlay)
    shown = CliRunner().invoke(main, ["show", paths[1]])
    assert r"caf\xe9.txt" in shown.stdout


def test_an_own_module_whose_name_is_no_utf_8_is_refused(project: Any, tmp_path: Path) -> None:
    project.commit(
        {
            "src/gait/__init__.py": "",
            "src/gait/net.py": "import importlib, torch\n"
            r"helper = importlib.import_module('gait.m\udcf6d')"
            "\nclass Net(torch.nn.Linear):\n    pass\n",
            os.fsdecode(b"src/gait/m\xf6d.py"): "x = 1\n",
        }
    )
    net = project.load("gait.net")
    with pytest.raises(CaptureError, match=r"'gait\.m\\udcf6d' is no UTF-8"):
        save(tmp_path, net.Net(4, 2), architecture={"class_path": net.Net, "args": [4, 2]})
