"""The examination of one checkpoint with both versions of its code: family by family."""

from __future__ import annotations

import os
import shlex
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from codevault import architecture as arch
from codevault import audit, preflight, userdir, weights
from codevault.build import environment
from codevault.checkpoint import PROBE, read_member
from codevault.evolve.behaviour import fitted, replayed
from codevault.evolve.configs import configs
from codevault.evolve.diagnosis import FAMILIES, Cause, Diagnosis, Family
from codevault.evolve.drift import drift
from codevault.evolve.introducedby import dated, own_worktree
from codevault.evolve.keys import keys
from codevault.evolve.nearby import unshared
from codevault.evolve.places import Found, Place
from codevault.evolve.shapes import Policies, shapes
from codevault.evolve.sides import Built, Side, built, told
from codevault.probefile import from_bytes
from codevault.rng import kept_rng
from codevault.sharedpath import path_line
from codevault.splint import Splint

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from codevault.checkpoint import Checkpoint
    from codevault.evolve.configs import Configs
    from codevault.evolve.keys import Keys
    from codevault.probe import Probe
    from codevault_cache import Cache

_BLOCKING = frozenset({"moved", "gone", "removed", "renamed", "required"})
"""Causes in the config that explain why the recorded architecture cannot be built."""
_AFTER: Final[tuple[Family, ...]] = ("keys", "shapes", "probe")


@dataclass(frozen=True, slots=True)
class _Case:
    """What is examined: a checkpoint, its two sides, and what was read of it."""

    checkpoint: Checkpoint
    where: str
    old: Side
    new: Side
    description: dict[str, Any]
    probe: Probe | None


def examined(
    checkpoint: Checkpoint, where: str, old: Side, new: Side, env: Any, vault: Cache
) -> Diagnosis:
    """The diagnosis of a checkpoint whose two versions of the code are at hand and may run.

    Raises:
        CheckpointError: It is damaged.
        WeightsDigestError: So are its weights.
    """
    weights.verify_digest_once(checkpoint, userdir.state_folder("verified") or "")
    probe = None
    if checkpoint.manifest.probe is not None:
        probe = from_bytes(read_member(checkpoint, PROBE))
    case = _Case(checkpoint, where, old, new, arch.read(checkpoint), probe)
    checked: dict[Family, str] = {}
    found = _packages(case, vault, checked)
    with kept_rng():
        # What one side's code does to this process must not be taken for a fault of the other's.
        with alone(old):
            before = _recorded(old, case.description, checkpoint)
            works, proof = _works(case, before)
        with alone(new):
            config = configs(old, new, case.description, checkpoint.manifest.env)
            checked["config"] = f"{config.fields} fields compared"
            newer, raised = _newer(case, config, env)
            found += [*config.found, *_failure("old", before), *raised]
            found += _weights(case, replace(newer, before=before.policy), found, checked)
    found, history = dated(found, old, new, checkpoint.manifest)
    return Diagnosis(
        uri=where,
        old=old.label,
        new=new.label,
        causes=tuple(sorted((each.cause for each in found), key=_rank)),
        checked={family: checked[family] for family in FAMILIES},
        works=works,
        proof=proof,
        next=_next(case, found),
        history=history,
    )


def _rank(cause: Cause) -> tuple[int, bool]:
    """By family; first what keeps the policy from being built."""
    return FAMILIES.index(cause.family), cause.kind not in (*_BLOCKING, "raised")


def _next(case: _Case, found: Sequence[Found]) -> str:
    """The command to move on with: it writes the rules, or the checkpoint where none are needed."""
    code, place = case.new.code, case.new.place
    if isinstance(code, Splint):
        commit = code.snapshot.commit
        target = place if case.new.is_folder or place is None else f"{place}@{commit}"
    else:
        target = own_worktree(case.checkpoint.manifest)
    if not found and (target is None or case.probe is None):
        return "nothing to do"
    name = os.path.splitext(os.path.basename(case.where))[0]
    words = ["codevault", "migrate", case.where, *(["--to", target] if target else [])]
    words += ["--suggest", f"{name}.toml"] if found else ["-o", f"{name}.new.mpt"]
    raised = any(each.cause.kind == "raised" for each in found)
    top = unshared(case.old.code, code) if raised else None
    if top is not None:  # the rules could not be found either
        words = ["codevault", "diagnose", case.where, *(["--against", target] if target else [])]
        roots = code.snapshot.roots if isinstance(code, Splint) else ()
        return f"{path_line(top, place, roots)} {shlex.join(words)}"
    return shlex.join(words)


@contextmanager
def alone(side: Side) -> Iterator[None]:
    """Puts back what a side's code changes in this process, if the side goes afterwards."""
    name: str | None = None
    shared: tuple[str, ...] = ()
    if isinstance(side.code, Splint):
        name, shared = side.code.name, side.code.snapshot.shared
    with audit.watching(name, shared, kept=(audit.RANDOM,)) as watch:
        yield
    if side.fresh:
        watch.audit.restore()


def _recorded(side: Side, description: dict[str, Any], checkpoint: Checkpoint) -> Built:
    """What a side builds with the recorded environment."""
    try:
        env = None if side.code is None else environment(checkpoint.manifest.env, side.code)
    except Exception as error:
        return Built(None, f"the recorded environment cannot be made: {told(error, side)}")
    return built(side, description, env)


def _failure(side: str, result: Built) -> list[Found]:
    if result.policy is not None:
        return []
    text = f"the {side} code builds no policy: {result.failure}"
    # No later commit has brought what the old code does.
    place = Place(()) if side == "new" else None
    return [Found(Cause("config", "raised", f"{side} code", text), place)]


def _works(case: _Case, before: Built) -> tuple[str | None, str]:
    """The line that runs the policy with its own code, if that is so, and what shows it."""
    line = f"codevault.load_policy({case.where!r})"
    if before.policy is None:
        return None, f"its own code builds no policy: {before.failure.splitlines()[0]}"
    wrong = fitted(before.policy, weights.map_weights(case.checkpoint), {})
    if wrong:
        return None, f"its own code: {wrong}"
    if case.probe is None:
        return line, "its own code; no probe was recorded, so nothing shows that it behaves"
    found, text = replayed(before.policy, case.probe, case.old)
    return (None if found else line), f"its own code; {found[0].cause.text if found else text}"


def _newer(case: _Case, config: Configs, env: Any) -> tuple[Policies, list[Found]]:
    """What the new code builds: as recorded, or as it would take it; and why not."""
    new, description = case.new, case.description
    first = _recorded(new, description, case.checkpoint)
    explained = any(each.cause.kind in _BLOCKING for each in config.found)
    if first.policy is None and explained:
        description, manifest = config.description, case.checkpoint.manifest
        adapted = manifest.model_copy(update={"env": config.env})
        second = _recorded(new, description, replace(case.checkpoint, manifest=adapted))
        # Where both fail, the recorded one's reason is told already, field by field.
        first = second
    lost = any(each.cause.kind in ("gone", "raised") for each in config.found)
    raised = [] if lost else _failure("new", first)
    given = first
    if env is not None:
        given = built(new, description, env)
        raised = _failure("new", given)
    return Policies(None, first.policy, given.policy), raised


def _weights(
    case: _Case, built_: Policies, known: Sequence[Found], checked: dict[Family, str]
) -> list[Found]:
    """What there is to say of keys, shapes, values and behaviour."""
    tensors = weights.map_weights(case.checkpoint)
    if built_.given is None:
        for family in _AFTER:
            checked[family] = "not compared: the new code builds no policy"
        return []
    names = keys(tensors, built_.before, built_.given, case.probe, case.old, case.new)
    causes = [each.cause for each in known]
    found: list[Found] = []
    if built_.before is not None:
        pair = built_.before, built_.given
        found += drift(pair, case.old, case.new, names.renames, causes)
    causes += [each.cause for each in found]
    resized = shapes(tensors, built_, case.probe, names.renames, case.new, causes)
    found += [*names.found, *resized]
    checked["keys"] = f"{len(tensors)} keys in the file"
    checked["shapes"] = "" if resized else "all equal"
    return found + _behaviour(case, built_.given, names, bool(resized), checked)


def _behaviour(
    case: _Case, policy: Any, names: Keys, resized: bool, checked: dict[Family, str]
) -> list[Found]:
    certain = not (names.match.asked or names.match.dropped or names.match.added)
    if case.probe is None:
        checked["probe"] = "none was recorded: nothing can show that it behaves"
        return []
    if resized or not (names.same or certain):
        unsure = names.match.asked and not (resized or names.match.dropped or names.match.added)
        why = "which key became which is not certain" if unsure else "keys or shapes do not fit"
        checked["probe"] = f"not replayed: {why}"
        return []
    renames = {} if names.same else names.renames
    wrong = fitted(policy, weights.map_weights(case.checkpoint), renames)
    if wrong:
        checked["probe"] = f"not replayed: {wrong}"
        return []
    found, text = replayed(policy, case.probe, case.new)
    checked["probe"] = f"{text} (keys renamed as above)".strip() if renames else text
    return list(found)


def _packages(case: _Case, vault: Cache, checked: dict[Family, str]) -> list[Found]:
    splint = case.old.code if isinstance(case.old.code, Splint) else None
    texts = preflight.findings(case.checkpoint.manifest, splint, vault)
    count = len(case.checkpoint.manifest.packages)
    checked["packages"] = f"{count} compared, by a table of known breaks"
    return [Found(_package(text)) for text in texts]


def _package(text: str) -> Cause:
    name = text.partition(" ")[0]
    kind = "missing" if text.endswith("is not installed here") else "suspect"
    if text.startswith("shared modules lack"):
        name, kind = "shared modules", "lacking"
    return Cause("packages", kind, name, text)
