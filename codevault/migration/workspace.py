"""Lays out all that a person or a coding assistant needs to move a policy that is hard to move."""

from __future__ import annotations

import os
import shlex
import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from codevault import weights
from codevault.checkpoint import open_checkpoint
from codevault.checkpointcode import CachePath, open_cache
from codevault.diff.difference import difference
from codevault.diff.sides import is_commit
from codevault.downloads import local_copy
from codevault.errors import CodevaultError, UsageError
from codevault.evolve.diagnose import diagnose
from codevault.migration.suggestion import Suggestion, suggest_rules
from codevault.uri import local_path, shown
from codevault_cache import find_worktree

if TYPE_CHECKING:
    from collections.abc import Sequence

    from codevault.diff.difference import Difference
    from codevault.evolve.codediff import Files
    from codevault.migration.request import Request
    from codevault.trust import Trust

_README: Final = """\
# Move {uri} to newer code

`./check` exits with 0 only when the newer code, with these rules, gives the outputs that the policy
gave when it was saved. Nothing else counts. It writes nothing; run it after each change.

1. `diagnosis.txt` says what is different, `code.diff` what changed in the modules that are loaded.
2. `rules.toml` is what could be known: {note}.
   Answer each `OPEN` in it: uncomment one line, or write rules.
3. {edit}
4. When `./check` passes: {write}

| here | what |
|---|---|
| `old/`, `new/` | both trees, for reading; nothing here is imported |
| `code.diff` | old against new, own modules of the policy only |
| `diagnosis.txt` | config, keys, shapes, packages, probe |
| `keys.txt` | key, shape and dtype of all old weights, in order |
| `rules.toml` | the rules so far |

A rule is a `[[rule]]` with one of: `rename = "old"`, `to = "new"` (whole segments, `*` is any
one); `copy`, `to = [...]`; `reshape`, `shape`; `transpose`, `dims = [0, 1]`; `squeeze` and
`unsqueeze`, `dim`; `split`, `to = [...]`, `dim`; `concat = [...]`, `to`, `dim`; `drop`; `fill`,
`with = "zeros"`, `"ones"`, a number, `"normal"` or `"constructor"`; `call = "pkg.mod:function"`,
`take = [...]`: a function of the newer code, from a dict of old tensors to a dict of new ones.
`[names]` says where classes went, `[architecture]` has `rename`, `set` and `remove` for
arguments.
"""


@dataclass(frozen=True, slots=True)
class Workspace:
    """What was laid out.

    Attributes:
        folder: Where.
        check: The script that passes only when the probe does.
        suggestion: What could be known of the rules.
    """

    folder: str
    check: str
    suggestion: Suggestion


def lay_out(
    asked: Request, folder: str | os.PathLike[str], *, trust: Trust = None, cache: CachePath = None
) -> Workspace:
    """Writes a workspace into an empty or new folder.

    Args:
        asked: What shall be moved, and where; an overlay is a folder here, so that the script can
            name it.
        folder: Where it is written.
        trust: As for `suggest_rules`.
        cache: As for `load_policy`.

    Raises:
        UsageError: The folder has something in it, or nobody says which newer code is meant.
        CodevaultError: As for `suggest_rules`.
    """
    place = os.path.abspath(folder)
    if os.path.isdir(place) and os.listdir(place):
        raise UsageError(f"{place} is not empty", "", asked.command("--workspace", "NEW"))
    asked = _anywhere(asked)
    source, target = asked.uri, asked.to or ""
    vault = open_cache(cache)
    between = difference(source, target, roots=asked.roots or (), cache=vault)
    found = suggest_rules(
        source,
        to=target,
        rules=asked.rules,
        roots=asked.roots,
        overlay=asked.overlay,
        trust=trust,
        cache=vault,
    )
    os.makedirs(place, exist_ok=True)
    _tree(os.path.join(place, "old"), between.old.tree)
    _tree(os.path.join(place, "new"), between.new.tree)
    line = asked.words("--rules", "rules.toml")
    texts = {
        "README.md": _readme(source, target, line, found),
        "code.diff": _diff(between),
        "diagnosis.txt": _diagnosis(source, target, trust, vault),
        "keys.txt": _keys(source, vault.roots[0]),
        "rules.toml": found.text,
        "check": _script([*line, "--dry-run"]),
    }
    for name, text in texts.items():
        _write(os.path.join(place, name), text.encode())
    check = os.path.join(place, "check")
    os.chmod(check, 0o700)
    return Workspace(place, check, found)


def _anywhere(asked: Request) -> Request:
    """What is asked in words that mean the same in another folder."""
    overlay = asked.overlay
    return replace(
        asked,
        uri=_absolute(asked.uri),
        to=_named(asked.to),
        rules=None if asked.rules is None else [os.path.abspath(path) for path in asked.rules],
        overlay=os.path.abspath(overlay) if isinstance(overlay, str | os.PathLike) else overlay,
    )


def _absolute(uri: str) -> str:
    path = local_path(uri)
    return uri if path is None else os.path.abspath(path)


def _named(to: str | None) -> str:
    """The newer code in words that mean the same in another folder."""
    here = find_worktree(os.getcwd())
    if to is None or is_commit(to):
        if here is None:
            raise UsageError(
                "nobody says which newer code is meant",
                "this folder is in no git work tree",
                "codevault migrate URI --workspace FOLDER --to CODE",
            )
        return here if to is None else f"{here}@{to}"
    path, at, commit = to.rpartition("@")
    if at and os.path.isdir(path):
        return f"{os.path.abspath(path)}@{commit}"
    return find_worktree(to) or os.path.abspath(to) if os.path.isdir(to) else to


def _readme(source: str, target: str, line: Sequence[str], found: Suggestion) -> str:
    place = "a newer commit: name that with --to"
    if os.path.isdir(target):
        place = f"{target}, where `check` takes it from"
    edit = f"A function that a rule calls, or a fix of the newer code, goes into {place}."
    write = f"`codevault {shlex.join([*line, '-o', 'new.mpt'])}`"
    return _README.format(uri=shown(source), edit=edit, write=write, note=found.note)


def _diff(between: Difference) -> str:
    return "\n".join(change.diff.rstrip("\n") for change in between.modules) + "\n"


def _diagnosis(source: str, target: str, trust: Trust, vault: CachePath) -> str:
    try:
        return f"{diagnose(source, target, trust=trust, cache=vault)}\n"
    except CodevaultError as error:
        return f"there is no diagnosis: {error}\n"


def _keys(source: str, folder: str) -> str:
    checkpoint = open_checkpoint(local_copy(source, folder), source)
    rows = weights.map_weights(checkpoint).items()
    return "".join(f"{key} {list(value.shape)} {value.dtype}\n" for key, value in rows)


def _script(words: Sequence[str]) -> str:
    return (
        "#!/bin/sh\n# Passes only when the probe does.\n"
        f'cd "$(dirname "$0")" && exec {shlex.join([sys.executable, "-m", "codevault", *words])}\n'
    )


def _tree(folder: str, tree: Files) -> None:
    for path in tree.paths:
        _write(os.path.join(folder, path), tree.read(path))


def _write(path: str, data: bytes) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "xb") as file:
        file.write(data)
