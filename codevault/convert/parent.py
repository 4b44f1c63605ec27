"""Starts the process that unpickles an old file, and reads what it left as a stranger's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from codevault import tensorfile
from codevault.errors import ConvertError
from codevault.manifest import escaped, plain_json
from codevault.rehearsal import our_folders

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import torch

    from codevault.convert.request import Request
    from codevault.oldforms import OldFile
    from codevault.splint import Splint
    from codevault_cache import Cache

_CHILD: Final = """\
import sys
sys.path[:0] = sys.argv[2:]
from codevault.convert.child import main
main(sys.argv[1])
"""
_SECONDS: Final = 600
_KEPT: Final = ("PATH", "PYTHONPATH", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH", "OMP_NUM_THREADS")


@dataclass(frozen=True, slots=True)
class Unpickled:
    """What the process gave.

    Attributes:
        state: The weights.
        facts: Plain data: what it found.
        probe: The bytes of a probe that the policy in the file gave, or None.
    """

    state: Mapping[str, torch.Tensor]
    facts: Mapping[str, Any]
    probe: bytes | None


def unpickled(
    old: OldFile, splint: Splint, vault: Cache, names: Sequence[str], request: Request
) -> Unpickled:
    """Unpickles an old file in a process of its own.

    Args:
        old: The file.
        splint: Its code.
        vault: The cache that holds the code.
        names: What its pickles look up.
        request: What the user asked for.

    Raises:
        ConvertError: It cannot be read, or the process failed; says which option would help.
    """
    task = {
        "path": os.path.abspath(old.path),
        "form": old.form,
        "weights": old.weights,
        "snapshot": splint.snapshot.to_json().decode(),
        "caches": vault.roots,
        "names": names,
        "state": request.state,
        "class_path": request.class_path,
        "arguments": request.arguments,
        "probe": _absolute(request.probe),
        "allow_pickle": request.allow_pickle,
    }
    with tempfile.TemporaryDirectory(prefix="codevault-convert-") as folder:
        with open(os.path.join(folder, "task.json"), "w", encoding="utf-8") as file:
            json.dump(task, file)
        _run(folder)
        facts = _facts(folder, request)
        data = bytearray(_read(folder, "weights.safetensors") or b"")
        state = tensorfile.parse(data, 0, len(data), old.path)[0]
        return Unpickled(state, facts, _read(folder, "probe.safetensors"))


def _facts(folder: str, request: Request) -> dict[str, Any]:
    """What the process found out; raises ConvertError for what it says went wrong."""
    try:
        facts = plain_json(_read(folder, "facts.json") or b"")
        if not isinstance(facts, dict):
            raise TypeError("it is no mapping")
        error = facts.get("error")
        if error is None:
            return facts
        what, why, hint = (escaped(error[key]) for key in ("what", "why", "hint"))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        why = escaped(str(error))
        raise ConvertError(
            "the process that unpickles left nothing that can be read", why
        ) from None
    raise ConvertError(what, why, _whole(hint, request))


def _whole(hint: str, request: Request) -> str:
    """An option as the whole line that has it."""
    if not hint.startswith("--"):
        return hint
    words, comment = hint.partition("  # ")[::2]
    return request.line(*words.split()) + (f"  # {comment}" if comment else "")


def _run(folder: str) -> None:
    environment = {name: os.environ[name] for name in _KEPT if name in os.environ}
    for name in ("HOME", "TMPDIR", "XDG_STATE_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"):
        environment[name] = os.path.join(folder, name.lower())
        os.mkdir(environment[name])
    environment |= {"CODEVAULT_OFFLINE": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-c", _CHILD, folder, *our_folders()],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ConvertError(f"unpickling did not end within {_SECONDS} s") from None
    if done.returncode:
        lines = escaped("; ".join(done.stderr.strip().splitlines()[-6:]))
        raise ConvertError("the process that unpickles failed", lines[-1500:])


def _read(folder: str, name: str) -> bytes | None:
    path = os.path.join(folder, name)
    if os.path.islink(path) or not os.path.isfile(path):
        return None
    with open(path, "rb") as file:
        return file.read()


def _absolute(probe: str | None) -> str | None:
    file = probe is not None and probe.endswith(".safetensors")
    return os.path.abspath(probe) if file and probe else probe
