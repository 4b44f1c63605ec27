"""The verdicts, and that a slowdown which is really there is found."""

from __future__ import annotations

import itertools

from benchmarks import paired
from benchmarks.paired import Ratio


def test_verdicts() -> None:
    one, wide = Ratio(1.001, 0.998, 1.004), Ratio(1.0, 0.95, 1.05)
    slow, off = Ratio(1.025, 1.02, 1.03), Ratio(1.02, 1.005, 1.03)
    assert paired.judge(one, slow, one) == "equal"
    assert paired.judge(one, slow, slow) == "slower by 2.5%"
    assert paired.judge(one, slow, wide) == "unresolved"
    assert paired.judge(one, slow, Ratio(1.004, 1.001, 1.012)) == "unresolved"
    assert paired.judge(off, slow, slow).startswith("unresolved: the control")
    assert paired.judge(wide, slow, one).startswith("unresolved: the control")
    assert paired.judge(one, wide, one).startswith("unresolved: the planted")
    # Seen, but as equal: then nothing within 1% could be told from it.
    assert paired.judge(one, Ratio(1.004, 1.001, 1.008), one).startswith("unresolved: the planted")


def test_known_times_give_the_known_verdict() -> None:
    def arm(level: float, seed: int) -> object:
        noise = itertools.cycle([*[0.999, 1.0, 1.001, 1.0005, 0.9995][seed:], 1.0])
        return lambda: level * 1e5 * next(noise)

    def run(isolated: float) -> paired.Comparison:
        levels = {"native": 1.0, "again": 1.0, "isolated": isolated, "planted": isolated * 1.02}
        arms = {name: arm(level, i) for i, (name, level) in enumerate(levels.items())}
        return paired.compare(arms, 50, 0)  # type: ignore[arg-type]

    assert run(1.0).verdict == "equal"
    slower = run(1.05)
    assert slower.verdict == "slower by 5.0%"
    assert slower.isolated is not None
    assert abs(slower.isolated.median - 1.05) < 0.002
