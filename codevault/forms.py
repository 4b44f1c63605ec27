"""The forms of file that are no checkpoint, so that each refusal names what the file is."""

from __future__ import annotations

import os
import shlex
import stat
from typing import TYPE_CHECKING, Final

from codevault.archive import LOCAL, RESTORE
from codevault.errors import CheckpointError, LegacyFormError, TruncatedError

if TYPE_CHECKING:
    from collections.abc import Callable


def _has(*names: str) -> Callable[[set[str]], bool]:
    return lambda members: any(
        all(any(m == n or m.endswith(f"/{n}") for m in members) for n in name.split("+"))
        for name in names
    )


# The first form that fits is named: TorchScript's and rsl_rl's files are torch.save zips as well.
_FORMS: Final = (
    ("a TorchScript archive", _has("constants.pkl+data.pkl+version")),
    ("a Metta `.mpt` of 2025", _has("weights.safetensors+modelarchitecture.txt", "policy.pt")),
    ("a Metta `policy_spec.json` bundle", _has("policy_spec.json")),
    ("a Stable-Baselines3 zip", _has("policy.pth+data", "policy.pth+pytorch_variables.pth")),
    ("a file of torch.save", _has("data.pkl")),
)


def refuse_strangers(where: str, status: os.stat_result, head: bytes) -> None:
    """Refuses everything that does not start like a zip file.

    Args:
        where: The file, for messages.
        status: Its status.
        head: Its first bytes; empty unless it is a regular file.

    Raises:
        CheckpointError: It is no zip file.
        LegacyFormError: It is a checkpoint of another kind.
        TruncatedError: It ends within the first four bytes.
    """
    why = "a checkpoint is a zip file written by codevault.save_policy"
    hint = f"head -c 64 {shlex.quote(where)}  # to see what it is"
    if stat.S_ISDIR(status.st_mode):
        if os.path.exists(os.path.join(where, "policy_spec.json")):
            raise _legacy(where, "a Metta `policy_spec.json` bundle")
        why, hint = f"it is a folder; {why}", f"ls {shlex.quote(where)}"
    elif not stat.S_ISREG(status.st_mode):
        why = f"it is no regular file; {why}"
    elif not head:
        why, hint = "it is empty", RESTORE
    elif head.startswith(LOCAL):
        return
    elif head.startswith(b"version https://git-lfs"):
        why, hint = "it is a pointer of Git LFS, not the file itself", "git lfs pull"
    elif len(LOCAL) > len(head) and LOCAL.startswith(head):
        raise TruncatedError(f"{where} is incomplete", f"{len(head)} bytes", RESTORE)
    elif head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        raise _legacy(where, "a bare pickle")
    elif head[8:10] == b'{"' and 0 < int.from_bytes(head[:8], "little") < 100_000_000:
        raise _legacy(where, "a bare safetensors file")
    elif os.path.basename(where) == "policy_spec.json":
        raise _legacy(os.path.dirname(where) or ".", "a Metta `policy_spec.json` bundle")
    raise CheckpointError(f"{where} is not a checkpoint", why, hint)


def refuse_forms(where: str, names: set[str], needed: tuple[str, ...]) -> None:
    """Refuses zip files that are no checkpoint, and names the form where it is known.

    Args:
        where: The file, for messages.
        names: Its members.
        needed: The members that every checkpoint has, the manifest first.

    Raises:
        CheckpointError: It is some other zip file.
        LegacyFormError: It is a checkpoint of another kind.
    """
    missing = [name for name in needed if name not in names]
    if not missing:
        return
    for form, fits in _FORMS:
        if needed[0] in missing and fits(names):
            raise _legacy(where, form)
    raise CheckpointError(
        f"{where} is not a checkpoint: it is a zip file without {', '.join(missing)}", "", RESTORE
    )


def _legacy(where: str, form: str) -> LegacyFormError:
    source = shlex.quote(where)
    return LegacyFormError(
        f"{where} is {form}, not a codevault checkpoint",
        "it names no code to run it with, and a pickle runs code when it is read",
        f"codevault convert {source} -o new.mpt --repo URL_OR_PATH --commit SHA",
    )
