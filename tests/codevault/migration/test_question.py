"""Asked keys: what the probe singles out is taken, what it does not notice stays asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from codevault.evolve.candidates import Candidate
from codevault.migration.question import answered

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from codevault.migration.question import Agrees


def asked(*pairs: tuple[str, list[str]]) -> dict[str, tuple[Candidate, ...]]:
    return {old: tuple(Candidate(new, ()) for new in news) for old, news in pairs}


def replaying(truth: Mapping[str, str], unseen: Collection[str] = ()) -> Agrees:
    """A probe that notices any other place or value of the keys that it sees."""

    def agrees(places: Mapping[str, str], changed: Collection[str]) -> bool:
        return all(
            old in unseen or (places[old] == new and old not in changed)
            for old, new in truth.items()
        )

    return agrees


HEADS = asked(
    ("left.w", ["a.w", "b.w"]),
    ("right.w", ["a.w", "b.w"]),
)


def test_the_probe_decides_between_heads_of_one_shape() -> None:
    truth = {"left.w": "b.w", "right.w": "a.w"}
    assert answered(HEADS, replaying(truth)).taken == truth


def test_what_the_probe_does_not_notice_stays_asked() -> None:
    truth = {"left.w": "a.w", "right.w": "b.w"}
    found = answered(HEADS, replaying(truth, unseen=truth))
    assert found.taken == {}
    assert "does not tell 2 others apart" in found.text


def test_a_lone_candidate_is_taken_only_if_the_probe_sees_it() -> None:
    lone = asked(("old.w", ["new.w"]))
    assert answered(lone, replaying({"old.w": "new.w"})).taken == {"old.w": "new.w"}
    assert answered(lone, replaying({"old.w": "new.w"}, unseen=["old.w"])).taken == {}


def test_equal_layers_move_alike_so_that_a_few_trials_do() -> None:
    roles, layers = ("q", "k", "v"), range(12)
    pairs = [
        (f"l.{n}.{role}.w", [f"l.{m}.to_{other}.w" for m in layers for other in roles])
        for n in layers
        for role in roles
    ]
    truth = {f"l.{n}.{role}.w": f"l.{n}.to_{role}.w" for n in layers for role in roles}
    trials = []
    replay = replaying(truth)

    def agrees(places: Mapping[str, str], changed: Collection[str]) -> bool:
        trials.append(places)
        return replay(places, changed)

    found = answered(asked(*pairs), agrees)
    assert set(found.taken.items()) <= set(truth.items())
    assert len(trials) < 700


def test_renumbered_twins_are_found_module_by_module() -> None:
    twins = asked(
        *((f"q{n}.{i}.w", [f"qf{m}.{i}.w" for m in (0, 1)]) for n in (1, 2) for i in (0, 2))
    )
    truth = {f"q{n}.{i}.w": f"qf{n - 1}.{i}.w" for n in (1, 2) for i in (0, 2)}
    assert answered(twins, replaying(truth)).taken == truth


def test_no_assignment_that_agrees() -> None:
    found = answered(HEADS, lambda places, changed: False)
    assert found.taken == {}
    assert found.text == "none of 4 assignments tried agrees"
