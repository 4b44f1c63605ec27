"""`codevault convert` of pickles: weights, whole policies, and files that would run code."""

from __future__ import annotations

import io
import os
import pickle
import shlex
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import torch

import codevault
from codevault.errors import LegacyFormError
from tests.codevault import old_files
from tests.codevault.old_files import run

if TYPE_CHECKING:
    from pathlib import Path

OBS = torch.arange(8.0).reshape(2, 4)
NET = ("--class", "gait.nets:Net", "--arg", "inputs=4", "--arg", "widths=[6]")
PROBE = ("--probe", "float32[3,4]")


def line(result: Any) -> list[str]:
    """The words of the line that a refusal names, after `codevault convert`."""
    hint = result.stderr.partition("do:  ")[2].partition("  #")[0]
    assert hint.startswith("codevault convert "), result.stderr
    return shlex.split(hint)[2:]


def state_forms(net: Any) -> dict[str, tuple[Any, tuple[str, ...], tuple[str, ...]]]:
    """Name to content, further options, and what is left out."""
    state = net.state_dict()
    optimizer = torch.optim.Adam(net.parameters()).state_dict()
    runner = {"model_state_dict": state, "optimizer_state_dict": optimizer, "iter": 3}
    two = {"actor_state_dict": state, "critic_state_dict": {"w": torch.ones(1)}}
    return {
        "bare": (state, (), ()),
        "dict": (dict(state), (), ()),
        "ddp": ({f"module._orig_mod.{k}": v for k, v in state.items()}, (), ()),
        "runner": (runner, (), ("optimizer_state_dict", "iter")),
        "normaliser": (
            runner | {"obs_norm_state_dict": {"mean": torch.zeros(4)}},
            (),
            ("optimizer_state_dict", "iter", "obs_norm_state_dict"),
        ),
        "two": (two, ("--state", "actor_state_dict"), ("critic_state_dict",)),
        "deep": ({"a": {"b": state}}, ("--state", "a.b"), ()),
    }


@pytest.mark.parametrize("name", ["bare", "dict", "ddp", "runner", "normaliser", "two", "deep"])
def test_state_dicts(gait: Any, tmp_path: Path, name: str) -> None:
    net = gait.net.Net(4, [6])
    content, options, left_out = state_forms(net)[name]
    old, new = tmp_path / "old.pt", tmp_path / "new.mpt"
    torch.save(content, old)
    run(old, "-o", new, *gait.code, *NET, *PROBE, *options)
    assert torch.equal(codevault.load_policy(new)(OBS), net(OBS))
    came = codevault.read_manifest(new).metadata["converted"]
    assert came["unpickler"] == "restricted"
    assert tuple(came["left_out"]) == left_out


def test_prefixes_of_wrappers_are_told(gait: Any, tmp_path: Path) -> None:
    content = state_forms(gait.net.Net(4, [6]))["ddp"][0]
    torch.save(content, tmp_path / "old.pt")
    new = tmp_path / "new.mpt"
    result = run(tmp_path / "old.pt", "-o", new, *gait.code, *NET, *PROBE)
    assert "names of weights: module., _orig_mod." in result.stdout


def test_what_a_file_says_cannot_write_to_the_terminal(gait: Any, tmp_path: Path) -> None:
    (tmp_path / "old.pkl").write_bytes(b"\x80\x02cos\x1b[2J\nsystem\n.")
    assert "\x1b" not in run(tmp_path / "old.pkl", "--list").output
    net = gait.net.Net(4, [6])
    torch.save({"model_state_dict": net.state_dict(), "\x1b[2J": 1}, tmp_path / "old.pt")
    new = tmp_path / "new.mpt"
    result = run(tmp_path / "old.pt", "-o", new, *gait.code, *NET, *PROBE)
    assert "left out: \\x1b[2J" in result.stdout
    assert "\x1b" not in result.output


def test_two_sets_of_weights_are_asked_about(gait: Any, tmp_path: Path) -> None:
    net = gait.net.Net(4, [6])
    torch.save(state_forms(net)["two"][0], tmp_path / "old.pt")
    result = run(tmp_path / "old.pt", "-o", tmp_path / "new.mpt", *gait.code, *NET, *PROBE, code=1)
    assert "weights are in actor_state_dict, critic_state_dict" in result.stderr
    run(*line(result))
    assert torch.equal(codevault.load_policy(tmp_path / "new.mpt")(OBS), net(OBS))


WAYS = ("torch.save", "legacy", "pickle", "protocol 4", "metta", "in a dict")


def write(thing: Any, way: str, path: Path) -> Path:
    if way == "torch.save":
        torch.save(thing, path)
    elif way == "legacy":
        torch.save(thing, path, _use_new_zipfile_serialization=False)
    elif way == "pickle":
        path.write_bytes(pickle.dumps(thing, 2))
    elif way == "protocol 4":
        path.write_bytes(pickle.dumps(thing, 4))
    elif way == "metta":
        old_files.zipped(path, {"policy.pt": old_files.torch_bytes(thing)})
    else:
        torch.save({"policy": thing, "epoch": 3}, path)
    return path


@pytest.mark.parametrize("way", WAYS)
def test_whole_policies_need_no_full_unpickler(gait: Any, tmp_path: Path, way: str) -> None:
    """The classes in the file are the snapshot's, whatever the application has by these names."""
    net = gait.net.Net(4, [6], 3.0)
    old, new = write(net, way, tmp_path / "old.mpt"), tmp_path / "new.mpt"
    expected = net(OBS)
    (gait.top / "agent/src/gait/nets.py").write_text("raise RuntimeError('the newer code ran')\n")
    result = run(old, "-o", new, *gait.code, *PROBE)
    assert "looks up gait.nets.Net" in result.stderr
    assert "it gives what the policy in the file gives" in result.stdout
    assert torch.equal(codevault.load_policy(new)(OBS), expected)
    said = codevault.provenance(codevault.load_policy(new)).architecture
    assert said["class_path"] == "gait.nets:Net"
    assert said["kwargs"]["widths"] == [6]
    assert said["kwargs"]["scale"] == 3.0
    with pytest.raises(LegacyFormError, match="codevault convert"):
        codevault.load_policy(old, code=gait.splint)


def test_a_function_in_the_file_needs_the_full_unpickler(gait: Any, tmp_path: Path) -> None:
    net = gait.net.Act()
    old, new = tmp_path / "old.pt", tmp_path / "new.mpt"
    torch.save(net, old)
    result = run(old, "-o", new, *gait.code, *PROBE, code=1)
    assert "builtins.getattr" in result.stderr
    assert not new.exists()
    run(*line(result))
    assert torch.equal(codevault.load_policy(new)(OBS), net(OBS))
    assert codevault.read_manifest(new).metadata["converted"]["unpickler"] == "full"


def test_a_policy_that_is_built_otherwise_is_refused(gait: Any, tmp_path: Path) -> None:
    old, new = tmp_path / "old.pt", tmp_path / "new.mpt"
    net = gait.net.Quiet(4, doubled=True)
    torch.save(net, old)
    result = run(old, "-o", new, *gait.code, *PROBE, code=1)
    assert "does not give what the one in the file gives" in result.stderr
    assert not new.exists()
    run(*line(result), "--arg", "doubled=true")
    assert torch.equal(codevault.load_policy(new)(OBS), net(OBS))


def test_an_argument_that_nothing_tells_is_asked_for(gait: Any, tmp_path: Path) -> None:
    old, new = tmp_path / "old.pt", tmp_path / "new.mpt"
    net = gait.net.Needs(4)
    torch.save(net, old)
    result = run(old, "-o", new, *gait.code, *PROBE, code=1)
    assert "missing: size" in result.stderr
    assert "body.0.weight [8, 4]" in result.stderr
    words = [word.replace("size=JSON", "size=4") for word in line(result)]
    run(*words)
    assert torch.equal(codevault.load_policy(new)(OBS), net(OBS))


def test_a_policy_that_cannot_run_is_not_guessed_at(gait: Any, tmp_path: Path) -> None:
    old, new = tmp_path / "old.pt", tmp_path / "new.mpt"
    net = gait.net.Net(4, [6])
    del net.body[0]._parameters["bias"]  # as modules of older torch lack what today's forward uses
    broken = gait.net.Net(4, [6])
    broken.__dict__["scale"] = None
    torch.save(broken, old)
    result = run(old, "-o", new, *gait.code, *PROBE, code=1)
    assert "could not be run to compare" in result.stderr
    words = [word.replace("scale=null", "scale=1.0") for word in line(result)]
    done = run(*words)
    assert "not compared with the policy in the file" in done.stdout
    assert codevault.read_manifest(new).probe is not None


def test_a_class_that_the_commit_lacks_is_named(gait: Any, tmp_path: Path) -> None:
    torch.save(gait.net.Net(4), tmp_path / "old.pt")
    data = (tmp_path / "old.pt").read_bytes().replace(b"Net\n", b"Nut\n")
    (tmp_path / "old.pt").write_bytes(_resealed(data))
    result = run(tmp_path / "old.pt", "-o", tmp_path / "new.mpt", *gait.code, *PROBE, code=1)
    assert "gait.nets.Nut" in result.stderr
    assert "--commit SHA" in result.stderr


def _resealed(data: bytes) -> bytes:
    """The zip with the CRC-32 of its members as they are now."""
    import binascii
    import struct
    import zipfile

    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for entry in archive.infolist():
            length = struct.unpack_from("<HH", data, entry.header_offset + 26)
            start = entry.header_offset + 30 + sum(length)
            crc = binascii.crc32(data[start : start + entry.file_size])
            data = data.replace(struct.pack("<I", entry.CRC), struct.pack("<I", crc))
    return data


class Evil:
    def __init__(self, code: str) -> None:
        self.code = code

    def __reduce__(self) -> Any:
        return exec, (self.code,)


HOSTILE = ("torch.save", "legacy", "pickle", "protocol 4", "metta", "in a dict")


@pytest.mark.parametrize("way", HOSTILE)
def test_what_a_file_says_is_listed_and_not_run(gait: Any, tmp_path: Path, way: str) -> None:
    mark = tmp_path / "mark"
    thing = {"w": torch.ones(1), "x": Evil(f"open({str(mark)!r}, 'w')")}
    old = write(thing, way, tmp_path / "old.mpt")
    listed = run(old, "--list")
    assert "looks up builtins.exec" in listed.stdout
    result = run(old, "-o", tmp_path / "new.mpt", *gait.code, *NET, *PROBE, code=1)
    assert "builtins.exec" in result.stderr
    assert "--allow-pickle" in result.stderr
    assert not mark.exists()
    with pytest.raises(LegacyFormError):
        codevault.load_policy(old, code=gait.splint)
    assert not mark.exists()


def allowed(gait: Any, tmp_path: Path, code: str) -> Any:
    """Converts a file that runs `code`, with --allow-pickle."""
    net = gait.net.Net(4, [6])
    torch.save({"policy": net, "x": Evil(code)}, tmp_path / "old.pt")
    new = tmp_path / "new.mpt"
    options = (*gait.code, *PROBE, "--allow-pickle")
    result = run(tmp_path / "old.pt", "-o", new, *options)
    assert torch.equal(codevault.load_policy(new)(OBS), net(OBS))
    return result


def test_an_allowed_pickle_runs_in_a_process_of_its_own(
    gait: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("CODEVAULT_TRUST", "https://example.org/a/b")
    mark = tmp_path / "mark"
    code = f"import os; open({str(mark)!r}, 'w').write(f'{{os.getpid()}} {{dict(os.environ)}}')"
    result = allowed(gait, tmp_path, code)
    assert "looks up builtins.exec" in result.stderr
    pid, _, environment = mark.read_text().partition(" ")
    assert int(pid) != os.getpid()
    assert "secret" not in environment
    assert "example.org" not in environment


DIAL = """
import socket
try:
    socket.create_connection(('127.0.0.1', {port}), 5).close()
    found = 'connected'
except OSError as error:
    found = repr(error)
with open({mark!r}, 'w') as file:
    file.write(found)
"""


def test_an_allowed_pickle_has_no_network(gait: Any, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    with socket.create_server(("127.0.0.1", 0)) as server:
        code = DIAL.format(port=server.getsockname()[1], mark=str(mark))
        exec(code)
        assert mark.read_text() == "connected"
        allowed(gait, tmp_path, code)
    assert "not use the network" in mark.read_text()


@pytest.mark.parametrize("without", ["the hook", "the kernel"])
def test_each_of_the_two_ways_takes_the_network_away(tmp_path: Path, without: str) -> None:
    part = {"the hook": "sys.addaudithook = print", "the kernel": "offline._unshared = bool"}
    mark = tmp_path / "mark"
    with socket.create_server(("127.0.0.1", 0)) as server:
        code = DIAL.format(port=server.getsockname()[1], mark=str(mark))
        start = f"import sys\nfrom codevault.convert import offline\n{part[without]}\n"
        start += "sys.exit(7) if not offline.cut() and offline._unshared is not bool else None\n"
        done = subprocess.run([sys.executable, "-c", start + code], check=False)
    if done.returncode == 7:
        pytest.skip("this machine's kernel does not permit it")
    assert done.returncode == 0
    assert mark.read_text() != "connected"


@pytest.mark.parametrize("text", ["", "[", "[]", '{"error": 1}', '{"error": {"what": 1}}'])
def test_what_an_allowed_pickle_leaves_is_a_strangers_word(
    gait: Any, tmp_path: Path, text: str
) -> None:
    """It knows its folder, may write its own results there, and end the process."""
    code = f"import os; open('facts.json', 'w').write({text!r}); os._exit(0)"
    torch.save({"policy": gait.net.Net(4), "x": Evil(code)}, tmp_path / "old.pt")
    options = (*gait.code, *PROBE, "--allow-pickle")
    result = run(tmp_path / "old.pt", "-o", tmp_path / "new.mpt", *options, code=1)
    assert "left nothing that can be read" in result.stderr


def test_names_that_were_not_listed_are_not_looked_up(gait: Any, tmp_path: Path) -> None:
    """A pickle that hides a name from the listing, by a stack that the listing does not follow."""
    mark = tmp_path / "mark"
    text = f"open({str(mark)!r}, 'w')"
    call = b"\x8c\x08builtins\x8c\x04exec"
    # `math` and `sin` are pushed and popped again: the two texts that count are the ones before.
    data = b"\x80\x04" + call + b"\x8c\x04math\x8c\x03sin00\x93"
    data += b"\x8c" + bytes([len(text)]) + text.encode() + b"\x85R."
    (tmp_path / "old.pkl").write_bytes(data)
    assert "builtins.exec" not in run(tmp_path / "old.pkl", "--list").stdout
    options = (*gait.code, *NET, *PROBE, "--allow-pickle")
    result = run(tmp_path / "old.pkl", "-o", tmp_path / "new.mpt", *options, code=1)
    assert "builtins.exec was not listed" in result.stderr
    assert not mark.exists()


@pytest.mark.parametrize("data", [b"\x80\x02", b"\x80\x04\x8c\xffabc", b"\x80\x02cos\n"])
def test_damaged_pickles(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "old.pkl").write_bytes(data)
    assert "damaged pickle" in run(tmp_path / "old.pkl", "--list", code=1).stderr


def test_an_own_function_is_not_called_by_the_file(gait: Any, tmp_path: Path) -> None:
    """Only classes of the old code are looked up: a function would be called as the file says."""
    mark = str(tmp_path / "mark").encode()
    call = b"\x80\x02cgait.nets\ntouch\nX" + len(mark).to_bytes(4, "little") + mark + b"\x85R0"
    (tmp_path / "old.pkl").write_bytes(call + pickle.dumps({"w": torch.ones(1)}, 2)[2:])
    result = run(tmp_path / "old.pkl", "-o", tmp_path / "new.mpt", *gait.code, *NET, *PROBE, code=1)
    assert "gait.nets.touch" in result.stderr
    assert not (tmp_path / "mark").exists()
