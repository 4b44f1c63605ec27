"""Checks of the random number generators: seeding is a change, drawing numbers is none.

Building a policy draws numbers, which is expected. All three generators are Mersenne Twisters
(MT19937), whose state moves on in blocks of 624 words. So a generator was seeded, or set, if its
state cannot be reached from the one before; torch's also tells its seed. A torch generator that was
given the very seed that it had already was seeded if it stands at the start of that seed's numbers,
and did not come there from where it was before.
"""

from __future__ import annotations

import random
import struct
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from codevault.audits.check import ABSENT, Change, Check, differing

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

AREA: Final = "random numbers"
_BLOCK: Final = 624
_FAR: Final = 4096
_NEAR: Final = 64
"""How many blocks a load may draw and still be followed; two and a half million words, where
nothing else tells whether they were drawn."""


@dataclass(frozen=True, slots=True)
class Stream:
    """A generator's state: `raw` is what puts it back, `seed` is torch's."""

    words: tuple[int, ...]
    position: int
    raw: Any
    seed: int | None = None

    @property
    def audit_text(self) -> str:
        """What to call it."""
        return "another state" if self.seed is None else f"seed {self.seed}"

    def leads_to(self, other: Stream, blocks: int) -> bool:
        """Whether drawing at most `blocks` blocks of numbers gives `other`."""
        if self.words == other.words:
            return self.position <= other.position
        wanted = _dice(other.words, 0).getrandbits(32 * _BLOCK)
        dice = _dice(self.words, _BLOCK)
        return any(dice.getrandbits(32 * _BLOCK) == wanted for _ in range(blocks))


def _dice(words: tuple[int, ...], position: int) -> random.Random:
    dice = random.Random()  # noqa: S311
    dice.setstate((3, (*words, position), None))
    return dice


def _of_random(random: Any) -> Mapping[str, Any]:
    return {"": random.getstate()}


def _of_numpy(numpy_random: Any) -> Mapping[str, Any]:
    kind, words, position, has_gauss, gauss = numpy_random.get_state()
    return {"": (kind, words.tobytes(), position, has_gauss, gauss)} if kind == "MT19937" else {}


def _put_numpy(numpy_random: Any, _: Any, stream: Stream) -> None:
    kind, _, *rest = stream.raw
    numpy_random.set_state((kind, stream.words, *rest))


def _of_torch(torch: Any) -> Mapping[str, Any]:
    return {"": torch.default_generator.get_state()}


def _python(before: Any, after: Any) -> Iterator[Change]:
    yield from _jumps(before, after, lambda raw: Stream(raw[1][:_BLOCK], raw[1][_BLOCK], raw))


def _numpy(before: Any, after: Any) -> Iterator[Change]:
    yield from _jumps(
        before, after, lambda raw: Stream(struct.unpack(f"{_BLOCK}I", raw[1]), raw[2], raw)
    )


def _jumps(before: Any, after: Any, stream: Any) -> Iterator[Change]:
    if "" in before and "" in after and before[""] != after[""]:
        old, new = stream(before[""]), stream(after[""])
        if not old.leads_to(new, _FAR):
            yield Change("", old, new)


def _torch(before: Any, after: Any) -> Iterator[Change]:
    if before[""].equal(after[""]):
        return
    old, new = _torch_stream(before[""]), _torch_stream(after[""])
    if old.seed == new.seed:
        start = _torch_stream(sys.modules["torch"].Generator().manual_seed(old.seed).get_state())
        if old.leads_to(new, _NEAR) or not start.leads_to(new, _NEAR):
            return
    yield Change("", old, new)


def _torch_stream(state: Any) -> Stream:
    seed, _left, _seeded, position, *words = struct.unpack_from(
        f"<QiiQ{_BLOCK}Q", bytes(state.tolist())
    )
    return Stream(tuple(words), position, state, seed)


def _of_cuda(cuda: Any) -> Mapping[int, int]:
    """Seeds by device; asked only where CUDA is in use, since asking would start it."""
    generators = cuda.default_generators if cuda.is_initialized() else ()
    return {device: generator.initial_seed() for device, generator in enumerate(generators)}


def _cuda(before: Any, after: Any) -> Iterator[Change]:
    yield from (change for change in differing(before, after) if change.before is not ABSENT)


CHECKS: Final[tuple[Check, ...]] = (
    Check(
        "Python's random numbers",
        AREA,
        "random",
        _of_random,
        lambda random, _, stream: random.setstate(stream.raw),
        "always",
        diff=_python,
        moves=True,
    ),
    Check(
        "numpy's random numbers",
        AREA,
        "numpy.random",
        _of_numpy,
        _put_numpy,
        "always",
        diff=_numpy,
        moves=True,
    ),
    Check(
        "torch's random numbers",
        AREA,
        "torch",
        _of_torch,
        lambda torch, _, stream: torch.default_generator.set_state(stream.raw),
        "always",
        diff=_torch,
        moves=True,
    ),
    Check("CUDA's random numbers", AREA, "torch.cuda", _of_cuda, None, "always", diff=_cuda),
)
