"""The forms of file that are no checkpoint, so that each refusal names what the file is.

And the form of YAML that an architecture may have: that of plain data.
"""

from __future__ import annotations

import os
import re
import shlex
import stat
from typing import TYPE_CHECKING, Any, Final

from codevault.archive import LOCAL, RESTORE
from codevault.errors import CheckpointError, LegacyFormError, TruncatedError
from codevault.manifest import DEPTH, VALUES, escaped

if TYPE_CHECKING:
    from collections.abc import Callable

    from codevault_cache import Snapshot


def _has(*names: str) -> Callable[[set[str]], bool]:
    return lambda members: any(
        all(any(m == n or m.endswith(f"/{n}") for m in members) for n in name.split("+"))
        for name in names
    )


# Reading one takes time that grows with the square of its length.
_SIXTIES: Final = re.compile(r"[-+]?[0-9][0-9_]*(?::[0-9_.]+){99,}")

METTA: Final = "a Metta `.mpt` of 2025"
METTA_PICKLE: Final = "a Metta `.mpt` of 2025 that holds a pickle"
BUNDLE: Final = "a Metta `policy_spec.json` bundle"
SB3: Final = "a Stable-Baselines3 zip"
TORCH: Final = "a file of torch.save"
PICKLE: Final = "a bare pickle"
SAFETENSORS: Final = "a bare safetensors file"
TORCHSCRIPT: Final = "a TorchScript archive"
"""What old files are called in messages, and in the manifests of what is made of them."""

# The first form that fits is named: TorchScript's and rsl_rl's files are torch.save zips as well.
_FORMS: Final = (
    (TORCHSCRIPT, _has("constants.pkl+data.pkl+version")),
    (METTA, _has("weights.safetensors+modelarchitecture.txt")),
    (BUNDLE, _has("policy_spec.json")),
    (METTA_PICKLE, _has("policy.pt")),
    (SB3, _has("policy.pth+data", "policy.pth+pytorch_variables.pth")),
    (TORCH, _has("data.pkl")),
)


def refuse_strangers(where: str, mode: int, head: bytes) -> None:
    """Refuses everything that does not start like a zip file.

    Args:
        where: The file, for messages.
        mode: Its type, as `st_mode`.
        head: Its first bytes; empty unless it is a regular file.

    Raises:
        CheckpointError: It is no zip file.
        LegacyFormError: It is a checkpoint of another kind.
        TruncatedError: It ends within the first four bytes.
    """
    why = "a checkpoint is a zip file written by codevault.save_policy"
    hint = f"head -c 64 {shlex.quote(where)}  # to see what it is"
    if "://" in where:
        hint = "download it, and look at its first bytes: head -c 64 FILE"
    if stat.S_ISDIR(mode):
        if os.path.exists(os.path.join(where, "policy_spec.json")):
            raise legacy(where, BUNDLE)
        why, hint = f"it is a folder; {why}", f"ls {shlex.quote(where)}"
    elif not stat.S_ISREG(mode):
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
        raise legacy(where, PICKLE)
    elif head[8:10] == b'{"' and 0 < int.from_bytes(head[:8], "little") < 100_000_000:
        raise legacy(where, SAFETENSORS)
    elif os.path.basename(where) == "policy_spec.json" and "://" not in where:
        raise legacy(os.path.dirname(where) or ".", BUNDLE)
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
            raise legacy(where, form)
    raise CheckpointError(
        f"{where} is not a checkpoint: it is a zip file without {', '.join(missing)}", "", RESTORE
    )


def plain_yaml(data: bytes, where: str) -> Any:
    """YAML without anchors, tags, depth or number beyond what plain data have.

    Args:
        data: The text.
        where: What it is, for messages.

    Raises:
        CheckpointError: It is other YAML, or none.
    """
    import yaml

    # The one in C is ten times as fast, and reads the same.
    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    depth = count = 0
    try:
        for event in yaml.parse(data, Loader=loader):
            depth += isinstance(event, yaml.CollectionStartEvent)
            depth -= isinstance(event, yaml.CollectionEndEvent)
            count += 1
            if getattr(event, "anchor", None) or getattr(event, "tag", None):
                raise ValueError("plain data have no anchors, aliases and tags")
            if depth > DEPTH + 1 or count > VALUES:
                raise ValueError("it is nested too deeply, or has too many values")
            plain = event.value if isinstance(event, yaml.ScalarEvent) and not event.style else ""
            if _SIXTIES.fullmatch(plain):
                raise ValueError("it has a number of base 60")
        return yaml.load(data, Loader=loader)  # noqa: S506 -- one of the two safe ones
    except (yaml.YAMLError, ArithmeticError, LookupError, ValueError, TypeError) as error:
        why = str(error)
    except (AttributeError, RecursionError) as error:
        why = f"{type(error).__name__}: {error}"
    raise CheckpointError(where, escaped(why)[:500], RESTORE)


def code_options(snapshot: Snapshot) -> str:
    """The options of `codevault convert` that name a snapshot's code."""
    words = ["--repo", snapshot.repo or "URL_OR_PATH"]
    words += ["--commit", snapshot.commit] if snapshot.commit else []
    for option, values in (("--roots", snapshot.roots), ("--shared", snapshot.shared)):
        for value in values:
            words += [option, value]
    return shlex.join(words)


def legacy(where: str, form: str, code: str = "--repo URL_OR_PATH --commit SHA") -> LegacyFormError:
    """The refusal of a known form, with the line that makes a checkpoint of it.

    Args:
        where: The file.
        form: What it is.
        code: The options that name its code.
    """
    hint = f"codevault convert {shlex.quote(where)} -o new.mpt {code}"
    if form in (METTA, BUNDLE):
        hint += " --probe OBS"
    elif form == SAFETENSORS:
        hint += " --class pkg.mod:Policy --probe OBS"
    elif form == TORCHSCRIPT:
        script = f"import torch; torch.save(torch.jit.load({where!r}).state_dict(), 'weights.pt')"
        hint = f"python -c {shlex.quote(script)}  # if you trust it; then convert weights.pt"
    pickled = form not in (METTA, BUNDLE, SAFETENSORS)
    return LegacyFormError(
        f"{where} is {form}, not a codevault checkpoint",
        f"it names no code to run it with{', and a pickle runs code when it is read' * pickled}",
        hint,
        form,
    )
