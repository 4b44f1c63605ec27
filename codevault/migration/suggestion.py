"""Suggests a rules file: what is certain, what the probe decides, and what is left to a person."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from codevault import architecture as arch
from codevault import loadlog, weights
from codevault.checkpoint import open_checkpoint
from codevault.checkpointcode import CachePath, open_cache, use_code
from codevault.downloads import local_copy
from codevault.errors import CodevaultError
from codevault.evolve.configs import configs
from codevault.evolve.examination import alone
from codevault.evolve.gradients import probed_roles
from codevault.evolve.keys import rows_of, tied
from codevault.evolve.match import match_state_dicts
from codevault.evolve.rules import parse
from codevault.evolve.sides import Side, built, told
from codevault.migration.attempt import built as built_anew
from codevault.migration.attempt import recorded
from codevault.migration.known import Known
from codevault.migration.question import Answer, answered
from codevault.migration.renamed import roles_after, rows_after, touched
from codevault.migration.rulestext import Config, Weights, config_text, rules_text
from codevault.migration.target import Target, target_of
from codevault.pendingrules import chain_for
from codevault.probe import replay
from codevault.restoring import apply_rules, moved
from codevault.rng import kept_rng
from codevault.splint import mount
from codevault.trust import Trust, allow
from codevault.uri import shown

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import torch

    from codevault.checkpoint import Checkpoint
    from codevault.evolve.rules import Rules
    from codevault.load import Overlay
    from codevault.probe import Probe
    from codevault_cache import Cache


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A rules file, and how far it goes.

    Attributes:
        text: The file.
        automatic: Old key to new key, where independent evidence agrees.
        taken: Old key to new key, where the probe decided between candidates.
        asked: Old key to the candidates that a person must choose from, the best first; none where
            only a person knows whether it may be dropped.
        open: New keys that a person must say something about.
        agrees: Whether the probe agrees under this file; None if something is asked or open, or
            there is no probe.
        note: What was found, for people.
    """

    text: str
    automatic: Mapping[str, str]
    taken: Mapping[str, str]
    asked: Mapping[str, tuple[str, ...]]
    open: tuple[str, ...]
    agrees: bool | None
    note: str


def suggest_rules(
    uri: str | os.PathLike[str],
    *,
    to: str | os.PathLike[str] | None = None,
    rules: Sequence[str | os.PathLike[str]] | None = None,
    roots: Sequence[str] | None = None,
    overlay: Overlay = None,
    trust: Trust = None,
    cache: CachePath = None,
) -> Suggestion:
    """Suggests the rules that move a checkpoint to newer code; writes nothing.

    The policy is also built by its own code, where that can be had: its module tree is evidence.

    Args:
        uri: The checkpoint.
        to: The newer code, as for `migrate`.
        rules: Rules files that are applied first, as for `migrate`; what is suggested comes after.
        roots: As for `migrate`.
        overlay: As for `migrate`.
        trust: As for `migrate`.
        cache: As for `load_policy`.

    Raises:
        CheckpointError: The file is no checkpoint, or a damaged one.
        RefusedError: Nothing grants the checkpoint to choose what is called in the newer code.
        FetchError: The newer code could not be had.
        CodeError: It was found and cannot be served.
    """
    where, vault = shown(uri), open_cache(cache)
    checkpoint = open_checkpoint(local_copy(uri, vault.roots[0]), uri)
    weights.verify_digest(checkpoint)
    place = None if to is None else os.fspath(to)
    target = target_of(place, checkpoint.manifest, roots, overlay, trust, vault)
    old, new = _old_side(checkpoint, where, trust, vault), Side(target.splint, str(target))
    chain = chain_for(rules, target.migrations, checkpoint.manifest)
    known = () if rules is not None else tuple(os.path.basename(each.name) for each in chain)
    with kept_rng(), alone(new), contextlib.suppress(Exception):
        # First, so that stand-ins which old code puts into sys.modules are not what it imports.
        new.find(arch.read(checkpoint)["class_path"])
    with kept_rng(), alone(old):
        before = _before(old, checkpoint)
    with kept_rng(), alone(new):
        plan = apply_rules(arch.read(checkpoint), checkpoint.manifest.env, chain, target.splint)
        config = Config(plan, configs(old, new, plan.description, plan.env).found, known)
        first = f", after {', '.join(rules.name for rules in chain)}" if chain else ""
        head = f"{where} -> {target}{first}"
        try:
            edits = parse(config_text(config).encode(), "suggested")
            case = _Case(checkpoint, target, (*chain, edits))
            after, other = case.built(0), case.built(1)
        except Exception as error:
            note = f"the newer code builds no policy: {told(error, new)}"
            text = rules_text(head, note, config, None)
            return Suggestion(text, {}, {}, {}, (), None, note)
        return _suggested(head, case, config, before, (after, other))


@dataclass(frozen=True, slots=True)
class _Case:
    """A checkpoint, the newer code, and rules with edits for what it builds."""

    checkpoint: Checkpoint
    target: Target
    chain: tuple[Rules, ...]

    def built(self, seed: int) -> Any:
        """The newer code's policy as its constructor leaves it."""
        return built_anew(self.checkpoint, self.target.splint, self.chain, seed)[0]


def _old_side(checkpoint: Checkpoint, where: str, trust: Trust, vault: Cache) -> Side:
    manifest = checkpoint.manifest
    try:
        allowed = allow(manifest, trust)
        splint = use_code(checkpoint, allowed, vault, mount)[0]
        loadlog.note(where, manifest, manifest.policy_digest, splint, allowed.reason)
        return Side(splint, "its own code")
    except CodevaultError as error:
        return Side(None, "its own code", error.what)


def _before(old: Side, checkpoint: Checkpoint) -> Any:
    """The policy as its own code builds it, or None; only its module tree is looked at."""
    from codevault.build import environment

    if old.code is None:
        return None
    try:
        env = environment(checkpoint.manifest.env, old.code)
    except Exception:
        return None
    return built(old, arch.read(checkpoint), env).policy


def _suggested(
    head: str, case: _Case, config: Config, before: Any, pair: tuple[Any, Any]
) -> Suggestion:
    copies = tied(pair[0].state_dict())
    # Trials load weights into the policy itself: these are what its constructor left.
    after, other = ({k: v.clone() for k, v in p.state_dict().items()} for p in pair)
    file = weights.map_weights(case.checkpoint)
    there = moved(file, after, case.target.splint, case.chain)
    state = there.state
    probe = recorded(case.checkpoint)
    rows = rows_after(file, before, there), rows_of(after, pair[0])
    ran = probed_roles(before, pair[0], probe)
    roles = roles_after(ran, file, there)
    match = match_state_dicts(*rows, tied=copies, roles=roles)
    known = Known(state, after, other, match, copies)
    answer = Answer({}, "")
    if known.asked and probe is not None and not (known.open or known.resized):
        answer = answered(
            {key: match.asked[key] for key in known.asked},
            lambda places, changed: _agrees(pair[0], probe, known.placed(places, changed)),
        )
    agrees = None
    left = [*known.resized, *(key for key in known.asked if key not in answer.taken)]
    fills, unset = known.unset(answer.taken, left)
    if not left and not unset and probe is not None:
        agrees = _agrees(pair[0], probe, known.placed(answer.taken, ()))
    part = case.checkpoint.manifest.probe
    seen = touched(part.untouched, before, ran, there) if agrees and part else frozenset()
    homeless = tuple(key for key in match.dropped if key not in seen)
    note = _note(agrees, (len(left), len(unset), len(homeless)), answer.text)
    if dropped := len(match.dropped) - len(homeless):
        note += f"; {dropped} old keys are dropped, which its outputs do not need"
    found = Weights(
        match,
        answer.taken,
        fills,
        unset,
        known.squeezed,
        known.resized,
        homeless,
        state,
        after,
    )
    return Suggestion(
        text=rules_text(head, note, config, found),
        automatic=match.automatic,
        taken=answer.taken,
        asked={key: tuple(c.key for c in match.asked.get(key, ())) for key in (*left, *homeless)},
        open=unset,
        agrees=None if agrees and homeless else agrees,
        note=note,
    )


def _agrees(policy: Any, probe: Probe, state: Mapping[str, torch.Tensor]) -> bool:
    try:
        policy.load_state_dict(state)
        return replay(policy, probe).ok
    except Exception:
        return False  # what raises does not reproduce anything


def _note(agrees: bool | None, counts: tuple[int, int, int], answer: str) -> str:
    texts = "old keys are asked", "new keys are open", "old keys have no place, and are asked"
    parts = [f"{count} {text}" for count, text in zip(counts, texts, strict=True) if count]
    if agrees is not None:
        word = "agrees" if agrees else "does not agree: outputs differ"
        said = f"with these rules the probe {word}" + (f" ({answer})" if answer else "")
        return "; ".join([said, *parts])
    return "; ".join([*parts, *([answer] if answer else [])]) or "there is no probe to replay"
