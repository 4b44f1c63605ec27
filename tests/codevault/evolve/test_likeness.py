"""A removed field and a new one: what is worth a guess, and what is not."""

from __future__ import annotations

import dataclasses
from typing import Any

from codevault.evolve.fields import Fields
from codevault.evolve.likeness import likely_renames


def guesses(ours: dict[str, Any], theirs: dict[str, Any]) -> dict[str, tuple[str, str]]:
    gone = [name for name in ours if name not in theirs]
    come = [name for name in theirs if name not in ours]
    return likely_renames(Fields(ours, False), Fields(theirs, False), gone, come)


def test_the_only_two_at_one_place_are_a_guess_whatever_their_defaults() -> None:
    found = guesses({"obs": 6, "hidden": 32}, {"obs": 6, "width": 64})
    assert found == {"hidden": ("width", "same place, no other went or came")}


def test_one_of_several_needs_more_than_its_place() -> None:
    assert guesses({"hidden": 32, "eps": 0.1}, {"width": 64, "scale": 7.0}) == {}
    assert guesses({"hidden": 32, "eps": 0.1}, {"width": 32, "scale": 7.0}).keys() == {"hidden"}


def test_another_place_or_type_is_no_guess() -> None:
    assert guesses({"hidden": 32, "obs": 6}, {"obs": 6, "width": 64}) == {}
    assert guesses({"hidden": 32}, {"activation": "relu"}) == {}


def test_a_nested_config_of_another_class_object_is_of_one_kind() -> None:
    """The two versions' classes are never the same object, also where nothing changed."""
    old = dataclasses.make_dataclass("Memory", [("hidden", int, 16), ("residual", bool, True)])
    new = dataclasses.make_dataclass("Core", [("hidden", int, 16), ("residual", bool, True)])
    found = guesses({"memory": old(), "aux": True}, {"core": new()})
    assert found == {"memory": ("core", "same place, same default")}
    assert guesses({"memory": old(), "aux": True}, {"core": new(hidden=8)}) == {}
