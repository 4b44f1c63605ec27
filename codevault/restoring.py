"""A checkpoint's policy in some code: rules applied, weights assigned, probe replayed."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from codevault import userdir
from codevault.build import build, check_kept, own
from codevault.checkpoint import PROBE, WEIGHTS, read_member
from codevault.errors import ProbeError, ProbeWarning
from codevault.splint import Splint

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import torch

    from codevault.build import CodeVersion
    from codevault.checkpoint import Checkpoint
    from codevault.evolve.moves import Moved
    from codevault.evolve.rules import Rules
    from codevault.probe import Replay
    from codevault_cache import Cache

LARGE: Final = 64 << 20
"""Bytes of weights from which on initial weights cost enough to look whether they are needed."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is built, as rules made it.

    Attributes:
        description: The architecture, plain data.
        env: The recorded environment description, plain data or None.
        chain: The rules files that are for this policy, in order.
    """

    description: dict[str, Any]
    env: Any
    chain: tuple[Rules, ...] = ()


def apply_rules(
    description: dict[str, Any], env: Any, chain: Sequence[Rules], code: CodeVersion
) -> Plan:
    """The architecture and environment of a checkpoint after the names and edits of rules.

    Raises:
        BuildError: An edit does not go with them.
        CodeError: A rule names a function that the code does not define.
    """
    if not chain:
        return Plan(description, env)
    from codevault.evolve.edits import edited, edited_env

    taken = []
    for rules in chain:
        if rules.only_for and description["class_path"] not in rules.only_for:
            continue
        description = edited(description, rules, lambda name: own(code, name))
        env = edited_env(env, rules, lambda name: own(code, name))
        taken.append(rules)
    return Plan(description, env, tuple(taken))


def build_with_weights(
    plan: Plan,
    checkpoint: Checkpoint,
    code: CodeVersion,
    env: Any,
    *,
    settle: Callable[[], None],
    where: str,
    hint: str,
    cache: Cache | None,
) -> Any:
    """The policy of a plan with its checkpoint's weights; a large one is not filled before.

    Args:
        plan: What is built.
        checkpoint: Whose weights it gets.
        code: Builds it.
        env: Handed to what makes the policy.
        settle: Called when it is built, before it gets weights.
        where: The checkpoint, for messages.
        hint: What helps where the weights do not fit.
        cache: Keeps whether the code can do without initial weights; None where that is not known
            by the plan, because the caller gave `env`.

    Raises:
        BuildError: It could not be built.
        CodeError: A name is not in the code.
        WeightsDigestError: The weights are not the bytes that were saved.
        StateDictError: They do not fit, or a rule does not go with them.
    """

    def make() -> Any:
        policy = build(plan.description, code, env)
        settle()
        check_kept(policy, plan.description["class_path"])
        return policy

    def give(policy: Any) -> None:
        assign_weights(policy, checkpoint, where, hint, code, plan.chain)

    large = checkpoint.members[WEIGHTS].size >= LARGE
    if not large or cache is None or not isinstance(code, Splint):
        policy = make()
        give(policy)
        return policy
    from codevault import skipinit

    digest, tag = code.snapshot.digest, skipinit.tag(plan.description, plan.env)
    return skipinit.constructed(make, give, partial(cache.derived, digest, tag))


def assign_weights(
    policy: Any,
    checkpoint: Checkpoint,
    where: str,
    hint: str,
    code: CodeVersion,
    chain: Sequence[Rules] = (),
) -> Moved | None:
    """Gives a policy the weights of a checkpoint, moved by rules if there are any.

    Returns:
        What became of which key; None without rules.

    Raises:
        WeightsDigestError: The weights are not the bytes that were saved.
        StateDictError: They do not fit, or a rule does not go with them.
    """
    from codevault import weights

    weights.verify_digest_once(checkpoint, userdir.state_folder("verified") or "")
    state = weights.map_weights(checkpoint)
    if not chain:
        weights.assign(policy, state, where=where, hint=hint)
        return None
    from codevault.evolve.fitting import fitted

    target = policy.state_dict()
    result = fitted(moved(state, target, code, chain), target, where, hint)
    weights.assign(policy, result.state, where=where, hint=hint)
    return result


def moved(
    state: Mapping[str, torch.Tensor],
    target: Mapping[str, torch.Tensor],
    code: CodeVersion,
    chain: Sequence[Rules],
) -> Moved:
    """The weights after the rules of all files; whether they fit is not looked at.

    Raises:
        StateDictError: A rule does not go with them.
    """
    from codevault.evolve.moves import concerned, move, unmoved

    made = unmoved(state)
    for rules in chain:
        if concerned(rules.rules, made.state, target):
            made = move(made, rules.rules, target, lambda name: own(code, name))
    return made


def to_device(policy: Any, device: Any) -> Any:
    """The policy on a device; one of its own kind may move itself, and return nothing."""
    moved_there = policy.to(device) if hasattr(policy, "to") else None
    return policy if moved_there is None else moved_there


def replay_probe(policy: Any, checkpoint: Checkpoint, where: str, level: int) -> Replay | None:
    """Replays the probe of a checkpoint; warns if there is none, `level` frames up.

    Raises:
        ProbeError: The policy does not give the recorded outputs.
    """
    from codevault.probe import check
    from codevault.probefile import from_bytes

    if checkpoint.manifest.probe is None:
        text = f"{where} has no probe: nothing shows that it behaves"
        warnings.warn(text, ProbeWarning, level + 1)
        return None
    try:
        return check(policy, from_bytes(read_member(checkpoint, PROBE)), where)
    except ProbeError as error:
        raise _of_other_precision(error, policy, checkpoint, where) from error.__cause__


def _of_other_precision(
    error: ProbeError, policy: Any, checkpoint: Checkpoint, where: str
) -> ProbeError:
    """The error; where the policy was cast after it was made, with what casts it again."""
    from codevault import weights

    built = policy.state_dict()
    pairs = {
        (str(saved.dtype), str(built[key].dtype))
        for key, saved in weights.map_weights(checkpoint).items()
        if key in built and saved.is_floating_point() and saved.dtype != built[key].dtype
    }
    if len(pairs) != 1:
        return error
    ((saved_in, built_in),) = pairs
    why = f"{error.why}; its weights were saved in {saved_in}, and its code makes it in {built_in}"
    hint = f"codevault.load_policy({where!r}, probe=False).to({saved_in})"
    return ProbeError(error.what, why, hint)
