"""What is known of the values of a newer policy before anything is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from codevault.evolve.keys import tied

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from codevault.evolve.match import Match


class Known:
    """Values of the newer policy.

    Attributes:
        squeezed: Old key to new key, where only dimensions of one element came or went.
        asked: Other old keys with candidates.
        fills: New keys whose value the constructor decides without random numbers.
        open: Other new keys.
    """

    def __init__(
        self,
        state: Mapping[str, torch.Tensor],
        after: Mapping[str, torch.Tensor],
        other: Mapping[str, torch.Tensor],
        match: Match,
    ) -> None:
        self._state, self._after, self._match = state, after, match
        self.squeezed = {
            key: match.asked[key][0].key
            for key in match.asked
            if _is_squeeze(state[key], after[match.asked[key][0].key])
        }
        self.asked = [key for key in match.asked if key not in self.squeezed]
        taken = set(self.squeezed.values())
        named = {copy for group in tied(after) for copy in group[1:]}
        added = [key for key in match.added if key not in taken | named]
        # What two constructions with other random numbers have in common, no random number decides.
        self.fills = [key for key in added if torch.equal(after[key], other[key])]
        self.open = tuple(key for key in added if key not in self.fills)

    def placed(
        self, places: Mapping[str, str], changed: Collection[str]
    ) -> dict[str, torch.Tensor]:
        """The newer policy's state_dict with asked keys assigned so, some with other values."""
        moves = {**self._match.automatic, **self.squeezed, **places}
        made = {key: tensor.clone() for key, tensor in self._after.items()}
        for old, new in moves.items():
            value = self._state[old].reshape(made[new].shape)
            made[new] = value + 1 if old in changed else value
        for group in tied(self._after):
            for copy in group[1:]:
                made[copy] = made[group[0]]
        return made


def _is_squeeze(old: torch.Tensor, new: torch.Tensor) -> bool:
    """Whether only dimensions of one element came or went."""
    ours, theirs = ([n for n in tensor.shape if n != 1] for tensor in (old, new))
    return old.shape != new.shape and ours == theirs
