"""A checkpoint's policy in newer code, and what its probe says of it."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import torch

from codevault import architecture as arch
from codevault import coverage
from codevault.build import build, check_kept, environment
from codevault.checkpoint import PROBE, Checkpoint, read_member
from codevault.errors import BuildError, CodeError, CodevaultError, ProbeError, StateDictError
from codevault.evolve.moves import ANEW, Moved, unmoved
from codevault.evolve.sides import Side, told
from codevault.manifest import escaped
from codevault.probe import Probe, record, replay
from codevault.probecopy import device_of
from codevault.probefile import from_bytes
from codevault.restoring import Plan, apply_rules, assign_weights
from codevault.splint import Splint
from codevault.tensortree import unpack
from codevault.uri import shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from codevault.comparison import Replay
    from codevault.evolve.rules import Rules
    from codevault.migration.request import Request

SEED: Final = 0
"""Of what the newer code's constructor draws, so that a second run gives the same."""
_DRIFT: Final = 2000
"""How much of what differs is recorded."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """A policy with its weights, before anybody judged it.

    Attributes:
        policy: The policy.
        plan: How it was built.
        moved: What became of which key.
        probe: The recorded probe, or None.
    """

    policy: Any
    plan: Plan
    moved: Moved
    probe: Probe | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the probe says.

    Attributes:
        replay: The replay of the recorded probe; None without one.
        drift: What differs, if that was accepted; empty if nothing does.
        probe: The probe from now on: the recorded one as long as it agrees.
    """

    replay: Replay | None
    drift: str
    probe: Probe | None


def built(
    checkpoint: Checkpoint, splint: Splint, chain: Sequence[Rules], seed: int = SEED
) -> tuple[Any, Plan]:
    """A checkpoint's policy as the newer code's constructor leaves it, and how it was built.

    Raises:
        BuildError: The architecture does not go with the newer code.
        CodeError: The newer code lacks what is named.
    """
    plan = apply_rules(arch.read(checkpoint), checkpoint.manifest.env, chain, splint)
    torch.manual_seed(seed)
    policy = build(plan.description, splint, environment(plan.env, splint))
    check_kept(policy, plan.description["class_path"])
    return policy, plan


def attempted(
    checkpoint: Checkpoint, side: Side, chain: Sequence[Rules], asked: Request
) -> Attempt:
    """A checkpoint's policy in newer code, with its weights.

    Raises:
        BuildError: The architecture does not go with the newer code, or that raised.
        CodeError: The newer code lacks what is named.
        StateDictError: Keys are unaccounted for, or a rule does not go with the weights.
    """
    assert isinstance(side.code, Splint)
    hint = asked.command("--suggest", *(["rest.toml"] if asked.rules else []))
    try:
        policy, plan = built(checkpoint, side.code, chain)
    except BuildError as error:
        if "URI" not in error.hint:  # else it names a fault of a rules file
            error.hint = hint
        raise
    except CodeError as error:
        error.hint = _diagnose(asked)
        raise
    except (CodevaultError, Warning):
        raise
    except Exception as error:
        raise BuildError(
            f"the newer code builds no policy for {shown(asked.uri)}",
            told(error, side),
            _diagnose(asked),
        ) from error
    try:
        moved = assign_weights(policy, checkpoint, shown(asked.uri), hint, side.code, plan.chain)
    except StateDictError as error:
        if error.hint == ANEW:  # what is wrong is a rule: with it nothing can be suggested
            anew = replace(asked, rules=None).command("--suggest", "anew.toml")
            error.hint = anew if asked.rules else _diagnose(asked)
        raise
    return Attempt(policy, plan, moved or unmoved(policy.state_dict()), recorded(checkpoint))


def _diagnose(asked: Request) -> str:
    against = () if asked.to is None else ("--against", asked.to)
    return shlex.join(["codevault", "diagnose", shown(asked.uri), *against])


def recorded(checkpoint: Checkpoint) -> Probe | None:
    """The probe of a checkpoint, or None."""
    if checkpoint.manifest.probe is None:
        return None
    return from_bytes(read_member(checkpoint, PROBE))


def judged(attempt: Attempt, asked: Request, *, accept_drift: bool) -> Verdict:
    """Replays the recorded probe.

    Raises:
        ProbeError: The policy raises; or its outputs differ, or there is no probe, and that is not
            accepted.
    """
    probe, policy = attempt.probe, attempt.policy
    if probe is None:
        if not accept_drift:
            why = "it has no probe, so that nothing can be compared"
            raise _unproven(asked, why, "--accept-drift", "-o", "new.mpt")
        return Verdict(None, "it had no probe", None)
    try:
        found = replay(policy, probe)
    except Exception as error:
        why = f"it raised {type(error).__name__} on its recorded observations: {error}"
        raise _unproven(asked, why) from error
    if found.ok:
        unseen = coverage.untouched(policy, probe.inputs, probe.seed, device_of(policy))
        return Verdict(found, "", replace(probe, untouched=unseen))
    if not accept_drift:
        raise _unproven(asked, f"outputs differ: {found}")
    anew = record(policy, [unpack(nest, {}) for nest in probe.inputs])
    return Verdict(found, escaped(str(found))[:_DRIFT], anew)


def _unproven(asked: Request, why: str, *options: str) -> ProbeError:
    return ProbeError(
        f"nothing shows that the policy of {shown(asked.uri)} behaves in the newer code as it was "
        "saved",
        why,
        asked.command(*(options or ("--workspace", "FOLDER"))),
    )
