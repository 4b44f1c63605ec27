"""Every way a snapshot can come into the cache gives the same snapshot."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from typing import TYPE_CHECKING, Any

import pytest

from codevault_cache import Cache, Overlay, Wanted, errors, overlay_of, warm

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ROOTS = ("src",)
EXPECTED = {"src/agent/__init__.py", "src/agent/net.py", "src/agent/data.json"}


def contents(cache: Cache, digest: str) -> dict[str, bytes]:
    tree = cache.tree(digest)
    try:
        return {path: tree.read(path) for path in tree.paths}
    finally:
        tree.close()


def at(kind: str, folder: Path, bare: Path, request: Any) -> str:
    """A bare repository at an address of any kind."""
    if kind == "bare":
        return str(bare)
    server = request.getfixturevalue({"http": "http_server", "git": "git_daemon"}[kind])(folder)
    return f"{server.url}/{bare.name}"


@pytest.fixture
def served(
    sample: Any, tmp_path: Path, http_server: Any, git_daemon: Any, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], str]:
    """The sample repository at an address of any kind."""
    folder = tmp_path / "served"
    folder.mkdir()
    bare = sample.bare(folder / "r.git")

    def address(kind: str) -> str:
        if kind == "http":
            return str(http_server(folder).url + "/r.git")
        if kind == "git":
            return str(git_daemon(folder).url + "/r.git")
        if kind == "ssh":
            fake = tmp_path / "ssh"
            fake.write_text(
                "#!/bin/sh\n"
                'for a; do case "$a" in "SetEnv "*) export "${a#SetEnv }";; esac; last="$a"; done\n'
                'eval "$last"\n'
            )
            fake.chmod(0o755)
            config = tmp_path / "gitconfig"
            config.write_text(f"[core]\n\tsshCommand = {fake}\n")
            monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))
            return f"ssh://git@127.0.0.1{bare}"
        return {
            "file": f"file://{bare}",
            "bare": str(bare),
            "worktree": str(sample.top),
            ".git": str(sample.top / ".git"),
        }[kind]

    return address


KINDS = ["http", "git", "ssh", "file", "bare", "worktree", ".git"]


@pytest.mark.parametrize("kind", KINDS)
def test_every_transport_gives_the_same_snapshot(
    kind: str, served: Any, sample: Any, cache: Cache
) -> None:
    head = sample.git("rev-parse", "HEAD")
    (snapshot,) = warm(cache, [Wanted(served(kind), head, roots=ROOTS, shared=(), include=())])
    assert set(contents(cache, snapshot.digest)) == EXPECTED
    assert snapshot.commit == head
    assert snapshot.left_out == ()
    (other,) = warm(Cache.open(cache.roots[0] + "-2"), [Wanted(str(sample.top), head, roots=ROOTS)])
    assert (other.digest, other.name) == (snapshot.digest, snapshot.name)


@pytest.mark.parametrize("kind", ["http", "git", "bare"])
def test_defaults_are_src_and_top(kind: str, served: Any, sample: Any, cache: Cache) -> None:
    (snapshot,) = warm(cache, [Wanted(served(kind), sample.git("rev-parse", "HEAD"))])
    assert snapshot.roots == ("src", ".")
    tree = cache.tree(snapshot.digest)
    assert tree.mode("tool.sh") == 0o100755
    assert tree.read("README.md") == b"read me\n"
    assert os.access(tree.location("tool.sh"), os.X_OK)
    tree.close()


@pytest.mark.parametrize("kind", ["http", "git", "bare"])
def test_include_takes_files_outside_of_the_roots(
    kind: str, served: Any, sample: Any, cache: Cache
) -> None:
    wanted = Wanted(
        served(kind), sample.git("rev-parse", "HEAD"), roots=ROOTS, include=("configs/**/*.yaml",)
    )
    (snapshot,) = warm(cache, [wanted])
    found = set(contents(cache, snapshot.digest))
    assert found == EXPECTED | {"configs/a.yaml", "configs/deep/b.yaml"}


@pytest.mark.parametrize("kind", ["http", "git", "bare"])
def test_large_files_are_left_out_unless_included(
    kind: str, sample: Any, served: Any, tmp_path: Path, cache: Cache, request: Any
) -> None:
    del served
    sample.commit(
        {"src/agent/big.bin": b"\0" * (1 << 20) + b"1", "src/agent/fits.bin": b"\1" * (1 << 20)}
    )
    folder = tmp_path / "big"
    folder.mkdir()
    bare = sample.bare(folder / "r.git")
    address = at(kind, folder, bare, request)
    head = sample.git("rev-parse", "HEAD")
    subprocess.run(["git", "-C", str(bare), "config", "uploadpack.allowFilter", "true"], check=True)
    (without,) = warm(cache, [Wanted(address, head, roots=ROOTS)])
    assert without.left_out == ("src/agent/big.bin",)
    assert "src/agent/fits.bin" in contents(cache, without.digest)
    (with_it,) = warm(cache, [Wanted(address, head, roots=ROOTS, include=("src/agent/*.bin",))])
    assert with_it.left_out == ()
    assert "src/agent/big.bin" in contents(cache, with_it.digest)


@pytest.mark.parametrize("kind", ["http", "git", "bare"])
def test_the_committed_pyproject_states_roots(
    kind: str, sample: Any, tmp_path: Path, cache: Cache, request: Any
) -> None:
    head = sample.commit(
        {
            "pyproject.toml": '[tool.codevault]\nroots=["src"]\n'
            'shared=["env"]\ninclude=["README*"]\n',
            "docs/x.txt": "x",
        }
    )
    folder = tmp_path / "stated"
    folder.mkdir()
    bare = sample.bare(folder / "r.git")
    address = at(kind, folder, bare, request)
    (snapshot,) = warm(cache, [Wanted(address, head)])
    assert (snapshot.roots, snapshot.shared, snapshot.include) == (("src",), ("env",), ("README*",))
    assert set(contents(cache, snapshot.digest)) == EXPECTED | {"README.md"}
    assert cache.find(Wanted(None, head)) == snapshot
    assert (
        cache.find(Wanted(None, head, roots=("src",), shared=("env",), include=("README*",)))
        == snapshot
    )


def test_only_the_wanted_folder_is_sent(
    make_repo: Any, tmp_path: Path, http_server: Any, cache: Cache
) -> None:
    repo = make_repo({"agent/a.py": "a = 1\n", "other/noise.bin": os.urandom(800_000)})
    folder = tmp_path / "served"
    folder.mkdir()
    bare = repo.bare(folder / "r.git")
    subprocess.run(["git", "-C", str(bare), "config", "uploadpack.allowFilter", "true"], check=True)
    url = http_server(folder).url + "/r.git"
    warm(cache, [Wanted(url, repo.git("rev-parse", "HEAD"), roots=("agent",))])
    size = sum(
        os.path.getsize(os.path.join(where, name))
        for where, _, names in os.walk(os.path.join(cache.roots[0], "v1", "git"))
        for name in names
    )
    assert size < 20_000


def test_several_commits_share_conversations(
    sample: Any, tmp_path: Path, http_server: Any, cache: Cache
) -> None:
    commits = [sample.git("rev-parse", "HEAD")]
    commits += [sample.commit({"src/agent/net.py": f"width = {i}\n"}) for i in range(4, 8)]
    folder = tmp_path / "served"
    folder.mkdir()
    bare = sample.bare(folder / "r.git")
    subprocess.run(["git", "-C", str(bare), "config", "uploadpack.allowFilter", "true"], check=True)
    server = http_server(folder)
    wanted = [Wanted(server.url + "/r.git", c, roots=ROOTS, shared=(), include=()) for c in commits]
    snapshots = warm(cache, wanted)
    assert [s.commit for s in snapshots] == commits
    assert len({s.digest for s in snapshots}) == 5
    assert len(server.requests) <= 6


def test_a_hit_needs_no_server_and_no_dulwich(
    sample: Any, tmp_path: Path, http_server: Any, cache: Cache, python: Any
) -> None:
    folder = tmp_path / "served"
    folder.mkdir()
    sample.bare(folder / "r.git")
    server = http_server(folder)
    head = sample.git("rev-parse", "HEAD")
    url = server.url + "/r.git"
    (first,) = warm(cache, [Wanted(url, head)])
    server.stop()
    asked = len(server.requests)
    assert warm(cache, [Wanted(url, head)]) == [first]
    assert len(server.requests) == asked
    out = python(
        "import sys\n"
        "from codevault_cache import Cache, Wanted, warm\n"
        "cache = Cache.open(sys.argv[1])\n"
        "snapshot, = warm(cache, [Wanted(sys.argv[2], sys.argv[3])])\n"
        "tree = cache.tree(snapshot.digest)\n"
        "cache.derived(snapshot.digest, 'cp', lambda: b'x')\n"
        "tree.read('README.md')\n"
        "heavy = 'dulwich fsspec urllib3 pydantic torch subprocess'.split()\n"
        "heavy += 'tempfile zipfile tarfile tomllib'.split()\n"
        "print(snapshot.name, sorted(set(heavy) & set(sys.modules)))\n",
        cache.roots[0],
        url,
        head,
        CODEVAULT_OFFLINE="1",
    )
    assert out == f"{first.name} []\n"


def test_offline_names_the_prefetch_line(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CODEVAULT_OFFLINE", "1")
    with pytest.raises(errors.Offline, match=r"codevault prefetch https://h\.example/r@a{40}"):
        warm(cache, [Wanted("https://user:tok@h.example/r", "a" * 40)])


def test_offline_still_reads_local_clones(
    sample: Any, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CODEVAULT_OFFLINE", "1")
    assert warm(cache, [Wanted(str(sample.top), sample.git("rev-parse", "HEAD"))])


@pytest.mark.parametrize("kind", ["http", "git", "ssh", "bare", "worktree"])
def test_a_commit_that_is_not_there(kind: str, served: Any, cache: Cache) -> None:
    with pytest.raises(errors.CommitNotFound, match="a" * 40):
        warm(cache, [Wanted(served(kind), "a" * 40)])


@pytest.mark.parametrize("kind", ["http", "git", "ssh", "bare"])
def test_a_repository_that_is_not_there(kind: str, served: Any, cache: Cache) -> None:
    with pytest.raises(errors.RepositoryNotFound):
        warm(cache, [Wanted(served(kind).replace("r.git", "gone.git"), "a" * 40)])


@pytest.mark.parametrize("scheme", ["http", "git"])
def test_a_server_that_is_not_there(scheme: str, cache: Cache) -> None:
    with pytest.raises(errors.Unreachable):
        warm(cache, [Wanted(f"{scheme}://127.0.0.1:9/r.git", "a" * 40)])


def test_credentials_of_the_address_work_and_are_kept_nowhere(
    sample: Any, tmp_path: Path, http_server: Any, cache: Cache
) -> None:
    folder = tmp_path / "served"
    folder.mkdir()
    sample.bare(folder / "r.git")
    server = http_server(folder)
    server.auth = "me:topsecrettoken"
    url = server.url.replace("http://", "http://me:topsecrettoken@") + "/r.git"
    (snapshot,) = warm(cache, [Wanted(url, sample.git("rev-parse", "HEAD"))])
    assert snapshot.repo == server.url + "/r.git"
    for where, _, names in os.walk(cache.roots[0]):
        for name in names:
            with open(os.path.join(where, name), "rb") as file:
                assert b"topsecrettoken" not in file.read()
    with pytest.raises(errors.CacheError) as caught:
        warm(cache, [Wanted(url.replace("topsecret", "wrongsecret"), "b" * 40)])
    assert "secret" not in str(caught.value)
    with pytest.raises(errors.CacheError) as caught:
        warm(cache, [Wanted(url, "b" * 40)])
    assert "secret" not in str(caught.value)
    server.stop()
    with pytest.raises(errors.Unreachable) as caught:
        warm(cache, [Wanted(url, "b" * 40)])
    assert "secret" not in str(caught.value)


def test_a_plain_folder(sample: Any, cache: Cache) -> None:
    shutil.rmtree(sample.top / ".git")
    wanted = Wanted(str(sample.top), roots=ROOTS)
    (snapshot,) = warm(cache, [wanted])
    assert snapshot.commit is None
    assert snapshot.name.startswith(f"_splint_{snapshot.digest[:12]}_")
    assert set(contents(cache, snapshot.digest)) == EXPECTED
    assert cache.find(wanted) is None
    by_digest = Wanted(None, digest=snapshot.digest, roots=ROOTS, shared=(), include=())
    assert cache.find(by_digest) == snapshot
    sample.write({"src/agent/net.py": "width = 4\n"})
    (changed,) = warm(cache, [wanted])
    assert changed.digest != snapshot.digest


def test_wheel_and_sdist(tmp_path: Path, cache: Cache) -> None:
    wheel = tmp_path / "agent-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as opened:
        opened.writestr("agent/__init__.py", "x = 1\n")
        opened.writestr("agent-1.0.dist-info/METADATA", "Name: agent\n")
    (snapshot,) = warm(cache, [Wanted(str(wheel))])
    assert snapshot.roots == (".",)
    assert contents(cache, snapshot.digest)["agent/__init__.py"] == b"x = 1\n"
    (tmp_path / "agent-1.0" / "src" / "agent").mkdir(parents=True)
    (tmp_path / "agent-1.0" / "src" / "agent" / "__init__.py").write_text("x = 1\n")
    (tmp_path / "agent-1.0" / "PKG-INFO").write_text("Name: agent\n")
    sdist = tmp_path / "agent-1.0.tar.gz"
    with tarfile.open(sdist, "w:gz") as tar:
        tar.add(tmp_path / "agent-1.0", "agent-1.0")
    (snapshot,) = warm(cache, [Wanted(str(sdist))])
    assert snapshot.roots == ("src", ".")
    assert set(contents(cache, snapshot.digest)) == {"PKG-INFO", "src/agent/__init__.py"}


def test_an_overlay_changes_adds_and_deletes(sample: Any, cache: Cache) -> None:
    head = sample.git("rev-parse", "HEAD")
    changed = overlay_of({"src/agent/net.py": "width = 9\n", "stand/in.py": "y = 1\n"})
    overlay = Overlay({**changed.files, "src/agent/data.json": None})
    wanted = Wanted(str(sample.top), head, roots=("src", "stand"), overlay=overlay)
    (snapshot,) = warm(cache, [wanted])
    found = contents(cache, snapshot.digest)
    assert found["src/agent/net.py"] == b"width = 9\n"
    assert set(found) == (EXPECTED - {"src/agent/data.json"}) | {"stand/in.py"}
    assert snapshot.overlay == overlay.digest
    assert cache.find(wanted) == snapshot


def test_an_overlay_alone_is_a_snapshot(cache: Cache) -> None:
    wanted = Wanted(None, overlay=overlay_of({"m.py": "x = 1\n"}))
    (snapshot,) = warm(cache, [wanted])
    assert snapshot.commit is None
    assert cache.find(wanted) == snapshot


def test_missing_roots_are_named(sample: Any, cache: Cache) -> None:
    with pytest.raises(errors.RootsMissing, match=r"'nope'(.|\n)*'configs', 'src'"):
        warm(
            cache, [Wanted(str(sample.top), sample.git("rev-parse", "HEAD"), roots=("nope", "src"))]
        )


def test_a_digest_that_differs_is_refused(sample: Any, cache: Cache) -> None:
    head = sample.git("rev-parse", "HEAD")
    with pytest.raises(errors.DigestMismatch):
        warm(cache, [Wanted(str(sample.top), head, digest="0" * 64)])
    assert cache.ls() == []


@pytest.mark.parametrize(
    "commit", ["main", "abc123", "A" * 40, "a" * 39, "a" * 41, "../../x", "--upload-pack=x", ""]
)
def test_moving_names_are_refused(commit: str) -> None:
    with pytest.raises(errors.BadCommit):
        Wanted("https://h.example/r", commit)


def test_linked_worktree_alternates_and_sha256(
    sample: Any, make_repo: Any, tmp_path: Path, cache: Cache
) -> None:
    head = sample.git("rev-parse", "HEAD")
    sample.git("worktree", "add", "-q", str(tmp_path / "linked"))
    sample.git("clone", "-q", "--shared", str(sample.top), str(tmp_path / "shared"))
    digests = {
        warm(Cache.open(tmp_path / f"c-{name}"), [Wanted(str(tmp_path / name), head)])[0].digest
        for name in ("linked", "shared")
    }
    assert len(digests) == 1
    newer = make_repo({"m.py": "x = 1\n"}, "newer", "--object-format=sha256")
    commit = newer.git("rev-parse", "HEAD")
    assert len(commit) == 64
    (snapshot,) = warm(cache, [Wanted(str(newer.top), commit)])
    assert contents(cache, snapshot.digest) == {"m.py": b"x = 1\n"}


def test_fetching_works_under_O(
    sample: Any, tmp_path: Path, http_server: Any, cache: Cache, python: Any
) -> None:
    folder = tmp_path / "served"
    folder.mkdir()
    sample.bare(folder / "r.git")
    head = sample.git("rev-parse", "HEAD")
    out = python(
        "import sys\n"
        "from codevault_cache import Cache, Wanted, warm\n"
        "print(__debug__, warm(Cache.open(sys.argv[1]), [Wanted(*sys.argv[2:])])[0].digest)\n",
        cache.roots[0],
        http_server(folder).url + "/r.git",
        head,
        flags=("-O",),
    )
    (local,) = warm(Cache.open(cache.roots[0] + "-2"), [Wanted(str(sample.top), head)])
    assert out.split() == ["False", local.digest]


def test_a_partial_server_leaves_files_out(sample: Any, tmp_path: Path, cache: Cache) -> None:
    head = sample.git("rev-parse", "HEAD")
    bare = sample.bare(tmp_path / "p.git")
    oid = sample.git("rev-parse", "HEAD:src/agent/data.json")
    subprocess.run(["git", "-C", str(bare), "unpack-objects", "-q"], input=b"", check=False)
    packs = list((bare / "objects" / "pack").glob("*.pack"))
    for pack in packs:
        moved = tmp_path / pack.name
        pack.rename(moved)
        pack.with_suffix(".idx").unlink()
        with open(moved, "rb") as file:
            subprocess.run(["git", "-C", str(bare), "unpack-objects", "-q"], stdin=file, check=True)
    (bare / "objects" / oid[:2] / oid[2:]).unlink()
    (snapshot,) = warm(cache, [Wanted(str(bare), head, roots=ROOTS)])
    assert snapshot.left_out == ("src/agent/data.json",)
    with pytest.raises(errors.LeftOut):
        warm(cache, [Wanted(str(bare), head, roots=ROOTS, include=("src/agent/data.json",))])


def test_shallow_and_partial_clones_are_read_as_far_as_they_go(
    sample: Any, tmp_path: Path, cache: Cache
) -> None:
    old = sample.git("rev-parse", "HEAD")
    head = sample.commit({"README.md": "newer"})
    bare = sample.bare(tmp_path / "r.git")
    sample.git("config", "uploadpack.allowFilter", "true")
    subprocess.run(["git", "-C", str(bare), "config", "uploadpack.allowFilter", "true"], check=True)
    for name, option in (("shallow", "--depth=1"), ("partial", "--filter=blob:none")):
        clone = ["git", "clone", "-q", "--no-checkout", option, f"file://{bare}"]
        subprocess.run([*clone, str(tmp_path / name)], check=True, capture_output=True)
    (snapshot,) = warm(cache, [Wanted(str(tmp_path / "shallow"), head)])
    (right,) = warm(Cache.open(tmp_path / "right"), [Wanted(str(sample.top), head)])
    assert snapshot.digest == right.digest
    with pytest.raises(errors.CommitNotFound):
        warm(cache, [Wanted(str(tmp_path / "shallow"), old)])
    # Nothing is fetched behind the user's back, and a snapshot without its modules is none.
    with pytest.raises(errors.CommitNotFound, match=r"partial or shallow(.|\n)*--refetch"):
        warm(Cache.open(tmp_path / "c2"), [Wanted(str(tmp_path / "partial"), head)])


_WORKER = """
import sys
from codevault_cache import Cache, Wanted, warm
cache = Cache.open(sys.argv[1])
for _ in range(3):
    s, = warm(cache, [Wanted(sys.argv[2], sys.argv[3])])
    t = cache.tree(s.digest)
    for p in t.paths:
        t.read(p)
        open(t.location(p), "rb").close()
print(s.digest)
"""


def test_I6_I16_six_processes_warm_one_commit(
    sample: Any, tmp_path: Path, http_server: Any, cache: Cache
) -> None:
    folder = tmp_path / "served"
    folder.mkdir()
    sample.bare(folder / "r.git")
    url = http_server(folder).url + "/r.git"
    head = sample.git("rev-parse", "HEAD")
    where = os.path.dirname(os.path.dirname(sys.modules["codevault_cache"].__file__ or ""))
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", _WORKER, cache.roots[0], url, head],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": where},
        )
        for _ in range(6)
    ]
    outs = [worker.communicate(timeout=120) for worker in workers]
    assert [err for _, err in outs] == [""] * 6
    assert len({out for out, _ in outs}) == 1
    assert cache.verify().ok
    assert os.listdir(os.path.join(cache.roots[0], "v1", "tmp")) == []
