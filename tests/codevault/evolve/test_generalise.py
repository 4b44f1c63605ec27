"""Suggested rename rules move each key as the mapping says, and take no other."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from codevault.evolve.generalise import generalised
from codevault.evolve.patterns import match, write

KEYS = st.lists(
    st.lists(st.sampled_from(["a", "b", "0", "1", "w"]), min_size=1, max_size=4).map(".".join),
    unique=True,
    max_size=8,
).map(lambda keys: [k for k in keys if not any(o.startswith(f"{k}.") for o in keys)])
"""No module of torch has a tensor and a submodule of one name."""


def test_one_rule_for_numbered_layers() -> None:
    moves: dict[str, str | None] = {
        f"layers.{n}.mlp.linear_1.{leaf}": f"layers.{n}.mlp.0.{leaf}"
        for n in range(3)
        for leaf in ("weight", "bias")
    }
    moves["layers.0.norm.weight"] = "layers.0.norm.weight"
    (rule,) = generalised(moves)
    assert (rule.old, rule.new, len(rule.keys)) == ("layers.*.mlp.linear_1", "layers.*.mlp.0", 6)


def test_a_pattern_takes_no_key_that_is_not_known() -> None:
    moves = {"q.0.weight": "p.0.weight", "q.0.bias": "p.0.bias", "q.1.weight": None}
    assert [(r.old, r.new) for r in generalised(moves)] == [("q.0", "p.0")]


def test_shifted_numbers_get_a_rule_each() -> None:
    moves: dict[str, str | None] = {f"l.{n}.down.w": f"l.{n + 1}.down.w" for n in range(2)}
    moves |= {f"l.{n}.up.w": f"l.{n}.up.w" for n in range(3)}
    assert [(r.old, r.new) for r in generalised(moves)] == [
        ("l.0.down", "l.1.down"),
        ("l.1.down", "l.2.down"),
    ]


@given(KEYS, st.data())
def test_rules_do_what_the_mapping_says(keys: list[str], data: st.DataObject) -> None:
    targets = data.draw(st.permutations(keys))
    unknown = data.draw(st.lists(st.booleans(), min_size=len(keys), max_size=len(keys)))
    moves = {
        key: None if hidden else target
        for key, target, hidden in zip(keys, targets, unknown, strict=True)
    }
    rules = generalised(moves)
    for key, target in moves.items():
        found = [(rule, match(rule.old, key)) for rule in rules]
        first = next(((rule, what) for rule, what in found if what is not None), None)
        if target is None:
            assert first is None
        elif first is not None:
            assert write(first[0].new, first[1]) == target
        else:
            assert target == key
