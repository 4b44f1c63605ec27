"""Matching: what is certain, what is asked, and that each old key is accounted for once."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import codevault
from benchmarks.matching import runs
from codevault.evolve.rows import rows

if TYPE_CHECKING:
    import random

CASES = sorted((Path(__file__).parent / "cases").glob("**/*.json"))

unhurried = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
segment = st.sampled_from(["actor", "critic", "net", "0", "1", "2", "q1", "q2", "fc", "weight"])
key = st.lists(segment, min_size=1, max_size=4).map(".".join)
entry = st.tuples(
    key,
    st.sampled_from([(), (1,), (4,), (8,), (4, 8), (8, 8)]),
    st.sampled_from(["float32", "int64"]),
    st.sampled_from(["Linear", "LayerNorm"]),
)
state_dict = st.lists(entry, max_size=14, unique_by=lambda row: row[0])


def linear(name: str, out: int, into: int) -> list[tuple[str, tuple[int, ...], str, str]]:
    return [
        (f"{name}.weight", (out, into), "float32", "Linear"),
        (f"{name}.bias", (out,), "float32", "Linear"),
    ]


def mlp(name: str) -> list[tuple[str, tuple[int, ...], str, str]]:
    return linear(f"{name}.0", 8, 4) + linear(f"{name}.2", 8, 8)


@unhurried
@given(state_dict, state_dict)
def test_every_key_is_accounted_for_once(old: list[Any], new: list[Any]) -> None:
    match = codevault.match_state_dicts(old, new)
    stands = [*match.automatic, *match.asked, *match.dropped]
    assert sorted(stands) == sorted(row[0] for row in old)
    targets = list(match.automatic.values())
    assert len(targets) == len(set(targets))
    candidates = {c.key for found in match.asked.values() for c in found}
    assert not candidates & set(targets)
    assert set(targets) | candidates | set(match.added) <= {row[0] for row in new}
    assert not set(match.added) & (candidates | set(targets))
    assert all(match.asked.values())


@unhurried
@given(state_dict, state_dict)
def test_what_is_automatic_fits(old: list[Any], new: list[Any]) -> None:
    shapes = {row[0]: row[1:3] for row in new}
    kinds = {row[0]: row[1:3] for row in old}
    for source, target in codevault.match_state_dicts(old, new).automatic.items():
        assert kinds[source] == shapes[target]


@unhurried
@given(state_dict, st.randoms(use_true_random=False))
def test_kept_names_stay_in_any_order(old: list[Any], chance: random.Random) -> None:
    new = list(old)
    chance.shuffle(new)
    match = codevault.match_state_dicts(old, new)
    assert match.automatic == {row[0]: row[0] for row in old}
    assert match.added == ()


@unhurried
@given(st.permutations(["alpha", "beta", "gamma"]))
def test_equal_twins_with_new_names_are_asked(order: list[str]) -> None:
    old = mlp("left") + mlp("middle") + mlp("right")
    new = [row for name in order for row in mlp(name)]
    match = codevault.match_state_dicts(old, new)
    assert match.automatic == {}
    assert all(len(candidates) >= 3 for candidates in match.asked.values())


def test_twins_that_changed_places_are_not_swapped() -> None:
    """Names say one thing and the order another."""
    old = mlp("actor") + mlp("critic")
    new = mlp("critic.mlp") + mlp("actor.mlp")
    match = codevault.match_state_dicts(old, new)
    assert match.automatic == {}
    for source, candidates in match.asked.items():
        best = source.replace("actor", "actor.mlp").replace("critic", "critic.mlp")
        assert best in [c.key for c in candidates[:2]]


def test_renumbered_twins_go_by_rank_where_the_order_agrees() -> None:
    old, new = mlp("critic.q1_net") + mlp("critic.q2_net"), mlp("critic.qf0") + mlp("critic.qf1")
    match = codevault.match_state_dicts(old, new)
    assert match.automatic == {
        source: source.replace("q1_net", "qf0").replace("q2_net", "qf1")
        for source in (row[0] for row in old)
    }
    swapped = mlp("critic.qf1") + mlp("critic.qf0")
    assert codevault.match_state_dicts(old, swapped).automatic == {}


def test_kept_names_are_asked_where_a_sibling_was_inserted() -> None:
    old = linear("net.0", 8, 8) + linear("net.1", 8, 8)
    new = old + linear("net.2", 8, 8)
    match = codevault.match_state_dicts(old, new)
    assert match.automatic == {}
    assert match.asked["net.0.weight"][0].key == "net.0.weight"


def test_a_weight_never_becomes_a_bias() -> None:
    old = [("norm.weight", (8,), "float32", "LayerNorm")]
    new = [("norm.bias", (8,), "float32", "LayerNorm")]
    match = codevault.match_state_dicts(old, new)
    assert match.automatic == {}
    assert [c.key for c in match.asked["norm.weight"]] == ["norm.bias"]


def test_another_shape_or_dtype_is_asked_and_said() -> None:
    old = [("head.weight", (9, 8), "float32", "Linear"), ("n", (3,), "int32", "")]
    new = [("head.weight", (14, 8), "float32", "Linear"), ("n", (3,), "int64", "")]
    match = codevault.match_state_dicts(old, new)
    assert match.automatic == {}
    assert match.asked["head.weight"][0].evidence == ("owner", "other shape")
    assert match.asked["n"][0].evidence == ("owner", "other dtype")


def test_tied_copies_are_not_added() -> None:
    old = mlp("actor")
    new = mlp("actor") + mlp("both.actor")
    tied = [(row[0], f"both.{row[0]}") for row in old]
    match = codevault.match_state_dicts(old, new, tied=tied)
    assert match.automatic == {row[0]: row[0] for row in old}
    assert match.added == ()
    assert len(codevault.match_state_dicts(old, new).added) == len(old)


def test_copies_of_both_versions_find_each_other() -> None:
    old = [
        ("body.emb.weight", (8, 4), "float32", "E"),
        ("body.head.weight", (8, 4), "float32", "L"),
    ]
    new = [("net.body.emb.weight", *old[0][1:]), ("net.head.weight", *old[1][1:])]
    match = codevault.match_state_dicts(old, new, tied=[[row[0] for row in new]])
    assert match.automatic == {
        "body.emb.weight": "net.body.emb.weight",
        "body.head.weight": "net.head.weight",
    }


def test_equal_blocks_keep_their_numbers_under_a_new_prefix() -> None:
    """Each block equals the others; the whole that moved along tells which is which."""
    blocks = [row for i in range(2) for row in mlp(f"blocks.{i}")]
    visual = [row for i in range(3) for row in linear(f"visual.conv{i}", 5, 6 + i)]
    moved = [(f"text.{row[0]}", *row[1:]) for row in blocks]
    match = codevault.match_state_dicts(blocks + visual, visual + moved)
    places = {row[0]: f"text.{row[0]}" for row in blocks}
    assert match.automatic == {row[0]: places.get(row[0], row[0]) for row in blocks + visual}


def test_keys_of_one_tensor_are_found_whatever_else_there_is() -> None:
    import torch

    from codevault.evolve.keys import tied

    one = torch.nn.Linear(2, 2)
    state = torch.nn.ModuleDict({"a": one, "b": one, "c": torch.nn.Linear(2, 2)}).state_dict()
    odd = {"lazy": torch.nn.UninitializedParameter(), "sparse": torch.eye(2).to_sparse(), "n": 3}
    odd |= {"meta": torch.empty(2, device="meta"), "empty": torch.empty(0), "e2": torch.empty(0)}
    assert tied({**state, **odd}) == [["a.weight", "b.weight"], ["a.bias", "b.bias"]]


def test_state_dicts_as_they_are_do_not_tell_enough() -> None:
    for state in ({"a.weight": 1}, [("a.weight", (1,))], ["four"]):
        with pytest.raises(ValueError, match=r"rows of \(key, shape, dtype, owner class name\)"):
            codevault.match_state_dicts(state, state)


def test_a_key_given_twice_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'a\.weight' stands twice"):
        codevault.match_state_dicts([], [("a.weight", (1,), "float32", "")] * 2)


def test_dtypes_are_read_with_and_without_torch() -> None:
    assert rows([("a", [1, 2], "torch.float32", "Linear")])[0].dtype == "float32"


def test_no_torch_is_imported() -> None:
    program = (
        "import sys, codevault; codevault.match_state_dicts([], [])\n"
        "assert not {'torch', 'numpy', 'pydantic'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_no_published_rename_is_matched_wrongly(path: Path) -> None:
    case = json.loads(path.read_text())
    for roles in (None, runs(case)):
        match = codevault.match_state_dicts(case["old"], case["new"], roles=roles)
        wrong = {
            source: target
            for source, target in match.automatic.items()
            if target not in case["truth"].get(source, [])
        }
        assert wrong == {}
        assert not set(match.dropped) & set(case["truth"])


def test_the_rest_of_a_module_goes_along() -> None:
    """A lone number in a buffer has no shape or order of its own."""
    old = [*linear("norm_a", 8, 4), ("norm_a.count", (), "int64", "Linear")]
    new = [("other.steps", (), "int64", ""), *linear("a.norm", 8, 4)]
    new.append(("a.norm.count", (), "int64", "Linear"))
    match = codevault.match_state_dicts(old, new)
    assert match.automatic["norm_a.weight"] == "a.norm.weight"
    assert match.automatic["norm_a.count"] == "a.norm.count"


def test_numbered_layers_that_became_fewer_are_asked() -> None:
    """A release turned norm2 into norm_cross, and norm3 into norm2; names and order deceive."""

    def norms(*names: str) -> list[tuple[str, tuple[int, ...], str, str]]:
        return [(f"block.{name}.weight", (8,), "float32", "LayerNorm") for name in names]

    old, new = norms("norm1", "norm2", "norm3"), norms("norm1", "norm2", "norm_cross")
    match = codevault.match_state_dicts(old, new)
    assert match.automatic == {}
    assert set(match.asked) == {row[0] for row in old}


NAMES = ["actor", "critic", "encoder", "head", "policy", "value", "torso", "memory"]
trees = st.recursive(
    st.sampled_from([4, 8]),
    lambda part: st.dictionaries(st.sampled_from(NAMES), part, min_size=1, max_size=3),
    max_leaves=7,
)


def leaves(tree: Any, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    if isinstance(tree, int):
        return [path]
    return [leaf for name, part in tree.items() for leaf in leaves(part, (*path, name))]


@unhurried
@given(
    trees,
    st.sampled_from(["{}_net", "{}.mlp", "model.{}"]),
    st.none() | st.randoms(use_true_random=False),
)
def test_where_names_carry_the_answer_nothing_is_matched_wrongly(
    tree: Any, rename: str, chance: random.Random | None
) -> None:
    """Each module is renamed alike, and registered in the same order or another."""
    paths = leaves(tree)
    if chance is not None:
        chance.shuffle(paths)
    new_names = {path: rename.format(".".join(path) or "net") for path in paths}
    old = [row for path in leaves(tree) for row in linear(".".join(path) or "net", 8, 4)]
    new = [row for path in paths for row in linear(new_names[path], 8, 4)]
    truth = {
        f"{'.'.join(path) or 'net'}.{leaf}": f"{new_names[path]}.{leaf}"
        for path in paths
        for leaf in ("weight", "bias")
    }
    match = codevault.match_state_dicts(old, new)
    assert {k: t for k, t in match.automatic.items() if truth[k] != t} == {}
    assert not match.dropped
    if chance is None:
        assert match.automatic == truth
