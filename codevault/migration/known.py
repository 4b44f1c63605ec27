"""What is known of the values of a newer policy before anything is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from codevault.evolve.match import Match


class Known:
    """Values of the newer policy.

    Attributes:
        squeezed: Old key to new key, where only dimensions of one element came or went.
        resized: Old keys that only a key of their name and another shape could be.
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
        tied: Sequence[Sequence[str]],
    ) -> None:
        self._state, self._after, self._other = state, after, other
        self._match, self._tied = match, tied
        self.squeezed = {
            key: match.asked[key][0].key
            for key in match.asked
            if _is_squeeze(state[key], after[match.asked[key][0].key])
        }
        self.resized = [
            key
            for key, candidates in match.asked.items()
            if key not in self.squeezed
            and all(after[c.key].shape != state[key].shape for c in candidates)
        ]
        rest = {*self.squeezed, *self.resized}
        self.asked = [key for key in match.asked if key not in rest]
        self.fills, self.open = self.unset({}, [*self.resized, *self.asked])

    def unset(
        self, taken: Mapping[str, str], left: Collection[str]
    ) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """New keys that nothing becomes: what `fills` and `open` are, once some keys are decided.

        Args:
            taken: Old key to new key, for asked keys that were decided.
            left: Old keys that stay asked: their candidates may still be what they became.
        """
        goals = {*self._match.automatic.values(), *self.squeezed.values(), *taken.values()}
        goals |= {c.key for key in left for c in self._match.asked[key]}
        # A copy has the value of what it is tied to.
        copies = {key for group in self._tied if goals & set(group) for key in group}
        copies |= {key for group in self._tied for key in group[1:]}
        free = [key for key in self._after if key not in goals | copies]
        # Mostly what no random number decides; a constructor that seeds itself looks like that.
        fills = tuple(key for key in free if torch.equal(self._after[key], self._other[key]))
        return fills, tuple(key for key in free if key not in fills)

    def placed(
        self, places: Mapping[str, str], changed: Collection[str]
    ) -> dict[str, torch.Tensor]:
        """The newer policy's state_dict with asked keys assigned so, some with other values."""
        moves = {**self._match.automatic, **self.squeezed, **places}
        made = {key: tensor.clone() for key, tensor in self._after.items()}
        for old, new in moves.items():
            value = self._state[old].reshape(made[new].shape)
            made[new] = value + 1 if old in changed else value
        for group in self._tied:
            there = next((key for key in group if key in moves.values()), group[0])
            made |= dict.fromkeys(group, made[there])
        return made


def _is_squeeze(old: torch.Tensor, new: torch.Tensor) -> bool:
    """Whether only dimensions of one element came or went."""
    ours, theirs = ([n for n in tensor.shape if n != 1] for tensor in (old, new))
    return old.shape != new.shape and ours == theirs
