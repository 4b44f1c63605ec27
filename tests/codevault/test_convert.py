"""`codevault convert`, and loading, of old files that need no unpickler."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING, Any

import pytest
import torch

import codevault
from codevault.errors import (
    BuildError,
    CheckpointError,
    CodeError,
    CodevaultError,
    ConvertError,
    LegacyFormError,
    ProbeWarning,
    RefusedError,
    StateDictError,
)
from tests.codevault import old_files
from tests.codevault.old_files import run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

OBS = torch.arange(8.0).reshape(2, 4)


def env_file(folder: Path) -> str:
    path = folder / "env.json"
    path.write_text(json.dumps({"$model": "gait.info:Info", "fields": {"inputs": 4}}))
    return str(path)


PART = "{'class_path': 'gait.config.Part', 'width': 6}"
SPECS = {
    "plain": f"gait.config.Config(parts=[{PART}], scale=3.0)",
    "own reader": "gait.config.Later(parts=[{'width': 6}], scale=3.0)",
}


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_metta_zip(gait: Any, tmp_path: Path, spec: str) -> None:
    net = gait.net.Net(4, [6], 3.0)
    old = old_files.metta(tmp_path / "old.mpt", spec, net.state_dict())
    new = str(tmp_path / "new.mpt")
    run(old, "-o", new, *gait.code, "--env", env_file(tmp_path), "--probe", "float32[3,4]")
    policy = codevault.load_policy(new)
    assert type(policy).__module__.startswith("_splint_")
    assert torch.equal(policy(OBS), net(OBS))
    came = codevault.read_manifest(new).metadata["converted"]
    assert came["form"] == "Metta `.mpt` of 2025"
    assert came["unpickler"] == "none"
    import hashlib

    assert came["sha256"] == hashlib.sha256(old.read_bytes()).hexdigest()
    with pytest.warns(ProbeWarning, match="no probe"):
        loaded = codevault.load_policy(
            old, code=gait.splint, env=gait.splint.load_symbol("gait.info:Info")()
        )
    assert torch.equal(loaded(OBS), net(OBS))
    found = codevault.provenance(loaded)
    assert (found.uri, found.splint) == (str(old), gait.splint)
    with pytest.raises(CodevaultError, match="is an old file") as caught:
        _ = found.manifest
    assert caught.value.hint.startswith(f"codevault convert {old} ")
    codevault.save_policy(tmp_path / "again.mpt", loaded, probe=OBS)  # as it was loaded
    assert torch.equal(codevault.load_policy(tmp_path / "again.mpt")(OBS), net(OBS))


def test_metta_parts_become_the_classes_that_they_name(gait: Any, tmp_path: Path) -> None:
    spec = (
        "gait.config.Config(parts=[{'class_path': 'gait.config.Wide', 'width': 6}, {'width': 5}])"
    )
    net = gait.net.Net(4, [6, 5])
    old = old_files.metta(tmp_path / "old.mpt", spec, net.state_dict())
    new = str(tmp_path / "new.mpt")
    run(old, "-o", new, *gait.code, "--env", env_file(tmp_path), "--probe", "float32[3,4]")
    assert torch.equal(codevault.load_policy(new)(OBS), net(OBS))
    said = codevault.provenance(codevault.load_policy(new)).architecture
    assert [part["$model"] for part in said["fields"]["parts"]] == [
        "gait.config:Wide",
        "gait.config:Part",
    ]


@pytest.mark.parametrize("form", ["folder", "zip", "json"])
def test_bundle(gait: Any, tmp_path: Path, form: str) -> None:
    net = gait.net.Net(4, [6], 3.0)
    said = {"class_path": "gait.nets.Net", "init_kwargs": {"architecture_spec": SPECS["plain"]}}
    old = old_files.bundle(tmp_path / "run", net.state_dict(), **said)
    if form == "zip":
        names = ("policy_spec.json", "weights.safetensors")
        members = {f"run/{name}": (old / name).read_bytes() for name in names}
        old = old_files.zipped(tmp_path / "run.zip", members)
    elif form == "json":
        old = old / "policy_spec.json"
    new = str(tmp_path / "new.mpt")
    run(old, "-o", new, *gait.code, "--env", env_file(tmp_path), "--probe", "float32[3,4]")
    assert torch.equal(codevault.load_policy(new)(OBS), net(OBS))


def test_bundle_whose_class_takes_the_environment(gait: Any, tmp_path: Path) -> None:
    net = gait.net.Net(4, [6])
    said = {"class_path": "gait.nets.Wrapped", "init_kwargs": {"width": 6, "device": "cpu"}}
    old = old_files.bundle(tmp_path / "run", net.state_dict(), **said)
    new = str(tmp_path / "new.mpt")
    run(old, "-o", new, *gait.code, "--env", env_file(tmp_path), "--probe", "float32[3,4]")
    assert torch.equal(codevault.load_policy(new)(OBS), net(OBS))


def test_a_bundles_script_runs_only_where_allowed(gait: Any, tmp_path: Path) -> None:
    net = gait.net.Net(4, [6])
    said = {"class_path": "gait.nets.Net", "setup_script": "setup.py"}
    kwargs = {"inputs": 4, "widths": [6]}
    old = old_files.bundle(tmp_path / "run", net.state_dict(), init_kwargs=kwargs, **said)
    mark = tmp_path / "mark"
    (old / "setup.py").write_text(f"open({str(mark)!r}, 'w').close()")
    new = tmp_path / "new.mpt"
    result = run(old, "-o", new, *gait.code, "--probe", "float32[1,4]", code=4)
    assert not mark.exists()
    assert not new.exists()
    with pytest.raises(RefusedError, match="script of its own"):
        codevault.load_policy(old, code=gait.splint)
    assert not mark.exists()
    line = result.stderr.partition("do:  ")[2].partition("  #")[0]
    run(*shlex.split(line)[2:])
    assert mark.exists()
    assert torch.equal(codevault.load_policy(new)(OBS), net(OBS))


def test_bare_safetensors(gait: Any, tmp_path: Path) -> None:
    net = gait.net.Net(4, [6])
    old = tmp_path / "w.safetensors"
    old.write_bytes(old_files.safe(net.state_dict()))
    new = str(tmp_path / "new.mpt")
    arguments = ("--class", "gait.nets:Net", "--arg", "inputs=4", "--arg", "widths=[6]")
    run(old, "-o", new, *gait.code, *arguments, "--probe", "float32[3,4]")
    assert torch.equal(codevault.load_policy(new)(OBS), net(OBS))
    with pytest.raises(LegacyFormError, match=r"convert .* --class"):
        codevault.load_policy(old, code=gait.splint)


def test_the_line_that_is_missing_is_whole(gait: Any, tmp_path: Path) -> None:
    """Each refusal names the next line; with its capitals replaced, that line runs."""
    net = gait.net.Net(4, [6])
    old = tmp_path / "it's w.safetensors"
    old.write_bytes(old_files.safe(net.state_dict()))
    result = run(old, "-o", tmp_path / "new.mpt", code=1)
    assert "which code it runs, which class takes its weights, observations" in result.stderr
    line = result.stderr.partition("do:  ")[2].strip()
    for name, value in {
        "URL_OR_PATH": str(gait.top),
        "SHA": gait.head,
        "pkg.mod:Class": "gait.nets:Net",
        "OBS": "'float32[1,4]'",
    }.items():
        assert name in line
        line = line.replace(name, value)
    arguments = ["--arg", "inputs=4", "--arg", "widths=[6]", *old_files.ROOTS]
    run(*shlex.split(line)[2:], *arguments)
    assert torch.equal(codevault.load_policy(tmp_path / "new.mpt")(OBS), net(OBS))


def test_load_policy_names_the_line_with_the_code_that_it_was_given(
    gait: Any, tmp_path: Path
) -> None:
    net = gait.net.Net(4, [6])
    torch.save(net.state_dict(), tmp_path / "old.pt")
    with pytest.raises(LegacyFormError) as caught:
        codevault.load_policy(tmp_path / "old.pt", code=gait.splint)
    words = shlex.split(caught.value.hint)
    assert words[words.index("--commit") + 1] == gait.head
    assert words[words.index("--roots") + 1] == "agent/src"
    arguments = ["--class", "gait.nets:Net", "--arg", "inputs=4", "--arg", "widths=[6]"]
    words[words.index("new.mpt")] = str(tmp_path / "new.mpt")
    run(*words[2:], *arguments, "--probe", "float32[1,4]")
    assert torch.equal(codevault.load_policy(tmp_path / "new.mpt")(OBS), net(OBS))


FAULTS: list[tuple[str, type[Exception], str]] = [
    ("gait.config.Config(__import__('os'))", BuildError, "given by keyword"),
    ("gait.config.Config(scale=open('/etc/passwd').read())", BuildError, "cannot be read"),
    ("(lambda: 1)()", BuildError, "cannot be read"),
    ("os.system", CodeError, "os"),
    ("torch.nn.Linear(in_features=1, out_features=1)", CodeError, "torch"),
    ("gait.config.ast.parse(source='1')", CodeError, "not defined by"),
    ("gait.config.Gone()", CodeError, "Gone"),
    ("gait.config.Config(scale='x')", BuildError, "refuses its fields"),
    ("gait.config.Config(scale=2.0)", StateDictError, "widths|shape|body"),
]


@pytest.mark.parametrize(("spec", "kind", "words"), FAULTS, ids=[f[0][12:] for f in FAULTS])
def test_hostile_or_wrong_architectures_are_refused(
    gait: Any, tmp_path: Path, spec: str, kind: type[Exception], words: str
) -> None:
    old = old_files.metta(tmp_path / "old.mpt", spec, gait.net.Net(4, [6]).state_dict())
    info = gait.splint.load_symbol("gait.info:Info")()
    with pytest.raises(kind, match=words):
        codevault.load_policy(old, code=gait.splint, env=info)
    options = ["--env", env_file(tmp_path), "--probe", "float32[1,4]"]
    run(old, "-o", tmp_path / "new.mpt", *gait.code, *options, code=1)
    assert not (tmp_path / "new.mpt").exists()


def test_a_bundles_data_stays_in_the_bundle(gait: Any, tmp_path: Path) -> None:
    (tmp_path / "secret.safetensors").write_bytes(old_files.safe({"w": torch.ones(1)}))
    for path in ("../secret.safetensors", str(tmp_path / "secret.safetensors")):
        folder = tmp_path / f"run{len(path)}"
        said = {"class_path": "gait.nets.Net", "init_kwargs": {"inputs": 4}, "data_path": path}
        old = old_files.bundle(folder, {"w": torch.ones(1)}, **said)
        with pytest.raises(CheckpointError, match="leads out"):
            codevault.load_policy(old, code=gait.splint)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{", '{"class_path": 3}', '{"class_path": "a", "init_kwargs": 7}', "[" * 9999],
)
def test_damaged_bundles(gait: Any, tmp_path: Path, text: str) -> None:
    (tmp_path / "policy_spec.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"damaged policy_spec\.json"):
        codevault.load_policy(tmp_path, code=gait.splint)


def test_a_checkpoint_is_not_converted_again(gait: Any, tmp_path: Path) -> None:
    codevault.save_policy(
        tmp_path / "new.mpt",
        gait.net.Net(4),
        architecture={"class_path": gait.net.Net, "kwargs": {"inputs": 4}},
    )
    result = run(tmp_path / "new.mpt", "-o", tmp_path / "b.mpt", code=1)
    assert "is a codevault checkpoint already" in result.stderr


def test_json(gait: Any, tmp_path: Path) -> None:
    net = gait.net.Net(4, [6])
    said = {"class_path": "gait.nets.Net", "init_kwargs": {"inputs": 4, "widths": [6]}}
    old = old_files.bundle(tmp_path / "run", net.state_dict(), **said)
    new = tmp_path / "new.mpt"
    result = run(old, "-o", new, *gait.code, "--probe", "float32[1,4]", "--json")
    data = json.loads(result.stdout)
    assert data["checkpoint"] == codevault.read_manifest(new).checkpoint_digest
    assert data["unpickler"] == "none"


@pytest.fixture
def shapes() -> Callable[[str], Any]:
    from codevault.convert.observations import parse

    return parse


def test_observations(shapes: Callable[[str], Any], tmp_path: Path) -> None:
    assert shapes("float32[2,4]").shape == (2, 4)
    assert torch.equal(shapes("float32[2,4]"), shapes("float32[2,4]"))
    assert shapes("int64[50]<7").max() == 6
    assert shapes("uint8[9]").max() == 1
    one, two = shapes('["float32[1]", "bool[3]"]')
    assert (one.dtype, two.dtype) == (torch.float32, torch.bool)
    assert shapes('{"a": "float16[]", "n": 3}')["n"] == 3
    td = shapes('{"$tensordict": [2], "env_obs": "uint8[2,5]<20"}')
    assert td.batch_size == (2,)
    assert td["env_obs"].max() < 20
    path = tmp_path / "o.safetensors"
    for names, kind in ((["x"], torch.Tensor), (["0", "1"], tuple), (["a", "b"], dict)):
        path.write_bytes(old_files.safe({name: torch.ones(2) for name in names}))
        assert isinstance(shapes(str(path)), kind)


@pytest.mark.parametrize(
    "text",
    ["", "float32", "float99[2]", "float32[2]<3", "[1", "float32[99999,99999]", "int64[2]<0"],
)
def test_observations_that_say_nothing(shapes: Callable[[str], Any], text: str) -> None:
    with pytest.raises(ConvertError, match="describes no observations"):
        shapes(text)
