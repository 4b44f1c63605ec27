"""Causes in the behaviour: the old weights in the new code, held against the recorded outputs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from codevault.errors import CodevaultError
from codevault.evolve.diagnosis import Cause
from codevault.evolve.places import Found, Place
from codevault.evolve.sides import told
from codevault.probe import replay
from codevault.weights import assign

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch

    from codevault.evolve.sides import Side
    from codevault.probe import Probe


def fitted(policy: Any, weights: Mapping[str, torch.Tensor], renames: Mapping[str, str]) -> str:
    """Gives a policy a file's weights, renamed, which belong to it then; why not, or nothing."""
    try:
        assign(policy, {renames.get(k, k): t for k, t in weights.items()}, where="the file")
    except CodevaultError as error:
        return error.what
    return ""


def replayed(policy: Any, probe: Probe, side: Side) -> tuple[tuple[Found, ...], str]:
    """Replays a probe in a policy that has its weights.

    Returns:
        What was found, and what was looked at, for people.
    """
    place = Place(())
    try:
        found = replay(policy, probe)
    except Exception as error:
        text = f"the new code raised on the recorded observations: {told(error, side)}"
        return (Found(Cause("probe", "raised", type(error).__name__, text), place),), ""
    if found.ok:
        return (), f"equal: {found.compared} recorded outputs reproduced"
    text = f"other outputs: {found}"
    cause = Cause("probe", "differs", found.worst, text, found.scale, found.difference)
    return (Found(cause, place),), ""
