"""Rules: whole segments, one pass, nothing twice, and every key accounted for."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from codevault.errors import BuildError, RulesError, StateDictError
from codevault.evolve.edits import edited, edited_env, name_of
from codevault.evolve.fitting import fitted
from codevault.evolve.moves import Moved, concerned, move, unmoved
from codevault.evolve.patterns import match, write
from codevault.evolve.rules import _VERBS, parse

if TYPE_CHECKING:
    from collections.abc import Mapping


def state(**shapes: Any) -> dict[str, torch.Tensor]:
    """Tensors of these shapes with values of their own; `__` stands for a dot."""
    made = {}
    for number, (key, shape) in enumerate(shapes.items(), 1):
        made[key.replace("__", ".")] = (
            torch.arange(float(torch.Size(shape).numel())).reshape(shape) + 100 * number
        )
    return made


def applied(
    text: str, old: Mapping[str, torch.Tensor], new: Mapping[str, torch.Tensor], **functions: Any
) -> Moved:
    rules = parse(text.encode(), "r.toml").rules
    return move(unmoved(old), rules, new, lambda name: functions[name.partition(":")[2]])


def test_patterns_take_whole_segments() -> None:
    assert match("model", "smp_model.0.weight") is None
    assert match("model", "model.0.weight") is not None
    assert match("critic.q1", "critic.q10.weight") is None
    found = match("layers.*.mlp.fc_1", "layers.3.mlp.fc_1.weight")
    assert found is not None
    assert write("blocks.*.0", found) == "blocks.3.0.weight"
    everything = match("*", "a.b")
    assert everything is not None
    assert write("net.*", everything) == "net.a.b"


@given(st.lists(st.sampled_from(["a", "b", "7"]), min_size=1, max_size=4), st.data())
def test_a_pattern_writes_back_what_it_took(segments: list[str], data: Any) -> None:
    stars = data.draw(st.lists(st.booleans(), max_size=len(segments), min_size=1))
    pattern = ".".join("*" if s else x for s, x in zip(stars, segments, strict=False))
    found = match(pattern, ".".join(segments))
    assert found is not None
    assert write(pattern, found) == ".".join(segments)


def test_the_first_rule_takes_a_key_and_no_rule_sees_what_another_made() -> None:
    text = """
        [[rule]]
        rename = "a"
        to = "b"
        [[rule]]
        rename = "b"
        to = "a"
        [[rule]]
        rename = "a.deep"
        to = "c"
    """
    old = state(a__w=(2,), b__w=(2,))
    with pytest.raises(StateDictError, match=r"rule 3 .*does not go"):
        applied(text, {**old, "a.deep.w": torch.ones(2)}, old)
    swapped = applied(text.rpartition("[[rule]]")[0], old, old)
    assert torch.equal(swapped.state["a.w"], old["b.w"])
    assert torch.equal(swapped.state["b.w"], old["a.w"])
    assert old["a.w"][0] == 100


def test_an_index_shift_reuses_old_names() -> None:
    text = "".join(f'[[rule]]\nrename = "l.{n}.down"\nto = "l.{n + 1}.down"\n' for n in range(3))
    old = state(l__0__down=(1,), l__1__down=(1,), l__2__down=(1,))
    moved = applied(text, old, {})
    assert [int(moved.state[f"l.{n}.down"]) for n in (1, 2, 3)] == [100, 200, 300]
    with pytest.raises(StateDictError, match="takes 0 keys"):  # applied again: refused
        move(moved, parse(text.encode(), "r").rules, {}, lambda _: None)


@pytest.mark.parametrize(
    "text",
    [
        '[[rule]]\nrename = "net"\nto = "body"',
        '[[rule]]\ndrop = "net.gone"\n[[rule]]\nrename = "net"\nto = "net2"',
        '[[rule]]\ntranspose = "net.w"\ndims = [0, 1]\nto = "t.w"\n[[rule]]\ndrop = "net"',
        '[[rule]]\nfill = "extra"\nwith = "zeros"',
        '[[rule]]\nrename = "net"\nto = "net.mlp"',
        '[[rule]]\nrename = "net"\nto = "net.mlp"\n[[rule]]\nfill = "more"\nwith = "ones"',
    ],
)
def test_idempotent(text: str) -> None:
    old = state(net__w=(2, 3), net__gone=(1,))
    new = {"extra": torch.ones(2), "more.w": torch.ones(2), "more.b": torch.ones(1)}
    rules = parse(text.encode(), "r.toml").rules
    assert concerned(rules, old, new)
    once = move(unmoved(old), rules, new, lambda _: None)
    assert not concerned(rules, once.state, new)


def test_a_module_that_holds_one_of_its_name_is_renamed_again_where_that_is_meant() -> None:
    rules = parse(b'[[rule]]\nrename = "net"\nto = "net.net"', "r.toml").rules
    old = state(net__net__w=(2,))
    assert concerned(rules, old, state(net__net__net__w=(2,)))
    assert not concerned(rules, old, old)
    assert concerned(rules, {**old, "net.b": torch.ones(1)}, old)


def test_collisions_are_refused_and_name_both() -> None:
    text = '[[rule]]\nrename = "a"\nto = "c"\n[[rule]]\nrename = "b"\nto = "c"'
    with pytest.raises(StateDictError, match=r"c.w, which is there already: a.w and b.w would"):
        applied(text, state(a__w=(2,), b__w=(2,)), {})
    with pytest.raises(StateDictError, match=r"a.w and b.w would be one"):
        applied('[[rule]]\nrename = "a"\nto = "b"', state(a__w=(2,), b__w=(2,)), {})


def test_hits_are_counted() -> None:
    old = state(q__0=(1,), q__1=(1,))
    rule = '[[rule]]\nrename = "q"\nto = "p"\nhits = '
    assert set(applied(rule + "2", old, {}).state) == {"p.0", "p.1"}
    with pytest.raises(StateDictError, match="takes 2 keys, and says hits = 6"):
        applied(rule + "6", old, {})


def test_every_operation() -> None:
    text = """
        [[rule]]
        copy = "one"
        to = ["a", "b"]
        [[rule]]
        reshape = "flat"
        shape = [2, 3]
        [[rule]]
        transpose = "wide.w"
        dims = [0, 1]
        to = "tall.w"
        [[rule]]
        squeeze = "std"
        dim = 0
        [[rule]]
        unsqueeze = "bare"
        dim = 0
        [[rule]]
        split = "h.*.qkv"
        to = ["h.*.q", "h.*.k", "h.*.v"]
        dim = 0
        [[rule]]
        split = "uneven"
        to = ["u.a", "u.b"]
        dim = 1
        sizes = [1, 2]
        [[rule]]
        concat = ["x.*.l", "x.*.r"]
        to = "x.*.lr"
        dim = 0
        [[rule]]
        drop = "gone"
        [[rule]]
        fill = "zero"
        with = "zeros"
        [[rule]]
        fill = "half"
        with = 0.5
        [[rule]]
        fill = "drawn"
        with = "normal"
        std = 0.1
        seed = 3
        [[rule]]
        fill = "mask"
        with = "constructor"
        [[rule]]
        call = "walker.moves:double"
        take = ["odd"]
    """
    old = state(one=(2,), flat=(6,), wide__w=(2, 3), std=(1,), bare=(), h__0__qkv__w=(6, 2))
    old |= state(
        h__0__qkv__b=(6,), uneven=(2, 3), x__0__l=(1,), x__0__r=(1,), gone__w=(1,), odd=(2,)
    )
    new = state(zero=(2,), half=(3,), drawn=(1000,), mask=(2, 2))
    kept = {key: value.clone() for key, value in old.items()}
    moved = applied(text, old, new, double=lambda given: {"even": 2 * given["odd"]})
    got = moved.state
    assert torch.equal(got["a"], old["one"])
    assert torch.equal(got["b"], old["one"])
    assert got["flat"].shape == (2, 3)
    assert torch.equal(got["tall.w"], old["wide.w"].T)
    assert got["std"].shape == ()
    assert got["bare"].shape == (1,)
    assert torch.equal(got["h.0.k.w"], old["h.0.qkv.w"][2:4])
    assert torch.equal(got["h.0.v.b"], old["h.0.qkv.b"][4:])
    assert torch.equal(got["u.b"], old["uneven"][:, 1:])
    assert got["x.0.lr"].tolist() == [old["x.0.l"].item(), old["x.0.r"].item()]
    assert moved.dropped == ("gone.w",)
    assert got["zero"].tolist() == [0, 0]
    assert got["half"].tolist() == [0.5] * 3
    assert 0.09 < got["drawn"].std() < 0.11
    assert torch.equal(got["drawn"], applied(text, old, new, double=lambda g: g).state["drawn"])
    assert torch.equal(got["mask"], new["mask"])
    assert torch.equal(got["even"], 2 * old["odd"])
    assert moved.origin["even"] == ("odd",)
    assert moved.origin["x.0.lr"] == ("x.0.l", "x.0.r")
    assert moved.origin["zero"] == ()
    assert all(torch.equal(old[key], kept[key]) for key in kept)


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ('reshape = "a"\nshape = [4]', r"rule 1 [^$]*shape '.4.' is invalid"),
        ('squeeze = "a"\ndim = 0', "dim 0 is not 1"),
        ('split = "a"\nto = ["x", "y"]\ndim = 1\nsizes = [1, 1]', "split_with_sizes"),
        ('transpose = "a"\ndims = [0, 5]', "out of range"),
        ('concat = ["a", "b"]\nto = "c"\ndim = 0', "lacks b"),
        ('call = "m:f"\ntake = ["a"]', "gave no dict of tensors"),
        ('fill = "n"\nwith = "constructor"\nshape = [1]', "constructor does not make it"),
    ],
)
def test_what_does_not_fit_is_refused_by_rule(rule: str, said: str) -> None:
    with pytest.raises(StateDictError, match=said):
        applied(f"[[rule]]\n{rule}", state(a=(2, 3)), {}, f=lambda given: None)


def test_a_function_that_raises_is_named_by_its_rule() -> None:
    def broken(given: object) -> object:
        raise ZeroDivisionError("by zero")

    rule = '[[rule]]\ncall = "m:f"\ntake = ["a"]'
    with pytest.raises(StateDictError, match="calls m:f, which raised ZeroDivisionError: by zero"):
        applied(rule, state(a=(1,)), {}, f=broken)
    edits = parse(b'[architecture]\ncall = "m:f"', "r")
    with pytest.raises(BuildError, match="calls m:f, which raised ZeroDivisionError: by zero"):
        edited({"class_path": "m:C"}, edits, lambda _: broken)


def test_every_key_is_accounted_for() -> None:
    old = {f"old.{n}": torch.ones(1) for n in range(12)} | {"kept": torch.ones(2)}
    moved = applied('[[rule]]\nrename = "old.0"\nto = "typo.0"', old, {})
    new = {f"new.{n}": torch.ones(1) for n in range(11)} | {"kept": torch.ones(3)}
    with pytest.raises(StateDictError) as caught:
        fitted(moved, new, "a.mpt", "hint")
    text = str(caught.value)
    assert all(f"old.{n}" in text for n in range(12))
    assert "typo.0 (was old.0)" in text
    assert all(f"new.{n}" in text for n in range(11))
    assert "kept [2] against [3]" in text


def test_tied_keys_of_the_new_code_need_no_rule() -> None:
    shared = torch.ones(2)
    new = {"head.w": shared, "alias.w": shared, "other": torch.ones(2)}
    moved = fitted(unmoved(state(head__w=(2,), other=(2,))), new, "a.mpt", "hint")
    assert torch.equal(moved.state["alias.w"], moved.state["head.w"])
    assert list(moved.state) == list(new)
    assert moved.origin["alias.w"] == ("head.w",)


def test_a_float_never_becomes_an_integer() -> None:
    with pytest.raises(StateDictError, match=r"n torch\.float32 against torch\.int64"):
        fitted(unmoved({"n": torch.ones(1)}), {"n": torch.ones(1, dtype=torch.int64)}, "a.mpt", "")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[rule]\n", r"r\.toml is no TOML"),
        ('[[rule]]\nrename = "a"', r"rule 1 \(line 1\) does not say 'to'"),
        ('[names]\n\n[[rule]]\ndrop = "a"\n[[rule]]\nrenam = "a"', r"rule 2 \(line 5\) says renam"),
        ('[[rule]]\ndrop = "a"\nrename = "b"', r"says drop and rename"),
        ('[[rule]]\nrename = "a*"\nto = "b"', r"a \* that is not a whole segment"),
        ('[[rule]]\nrename = "a..b"\nto = "b"', "an empty segment"),
        ('[[rule]]\nrename = "a.*"\nto = "b"', "others in 'b'"),
        ('[[rule]]\nconcat = ["a.*", "b"]\nto = "c.*"\ndim = 0', "more and with fewer stars"),
        ('[[rule]]\nfill = "a"\nwith = "random"', "with is 'random'"),
        ('[[rule]]\ndrop = "a"\nhits = 0', "hits is 0"),
        ('[[rule]]\ndrop = "a"\nextra = 1', "has extra"),
        ('[[rule]]\ncall = "os"\ntake = ["a"]', "call is 'os'"),
        ('[[rule]]\ntranspose = "a"\ndims = [0]', "has 1 dims"),
        ("[architecture]\nset = 3", r"\[architecture\]: set is no table"),
        ('[architecture]\nremove = "x"', "remove is no list of texts"),
        ("rules = 1", "has rules"),
        ("rule = 1", "is no list of tables"),
    ],
)
def test_faults_of_a_file_name_rule_and_line(text: str, said: str) -> None:
    with pytest.raises(RulesError, match=said):
        parse(text.encode(), "r.toml")


WORDS = st.sampled_from([*_VERBS, "to", "dim", "dims", "with", "take", "shape", "hits", "x", "a.*"])
VALUES = st.recursive(
    st.one_of(
        st.booleans(), st.integers(-3, 3), st.floats(-1, 1), WORDS, st.just("m:f"), st.just("")
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=2),
    max_leaves=5,
)


KEYS = st.sampled_from(["x", "a", "a.x", "*", "a.*", "b.*", "to"])
KINDS: dict[str, Any] = {
    "a key": KEYS,
    "a list of keys": st.lists(KEYS, min_size=1, max_size=3),
    "a whole number": st.integers(-3, 3),
    "a list of whole numbers": st.lists(st.integers(-3, 3), max_size=3),
    "a number": st.floats(-1, 1),
    "pkg.mod:function": st.just("m:f"),
}


@st.composite
def plausible(draw: Any) -> dict[str, Any]:
    verb = draw(st.sampled_from(list(_VERBS)))
    kind, needed, optional = _VERBS[verb]
    some = draw(st.sets(st.sampled_from(list(optional)))) if optional else set()
    kinds = {verb: kind, **needed, **{key: optional[key] for key in some}}
    fills = st.sampled_from(["zeros", "ones", "normal", "constructor", 0.5])
    return {key: draw(KINDS.get(what, fills)) for key, what in kinds.items()}


def toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f'"{key}" = {toml(item)}' for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return str(value).lower() if isinstance(value, bool) else repr(value)


@given(
    st.lists(plausible() | st.dictionaries(WORDS, VALUES, max_size=4), max_size=3),
    st.dictionaries(st.sampled_from(["for", "names", "architecture", "env"]), VALUES),
)
def test_any_file_is_read_or_refused_and_any_rules_move_or_refuse(
    entries: list[dict[str, Any]], top: dict[str, Any]
) -> None:
    lines = [f'"{key}" = {toml(value)}' for key, value in top.items()]
    for entry in entries:
        lines += ["[[rule]]", *(f'"{key}" = {toml(value)}' for key, value in entry.items())]
    try:
        rules = parse("\n".join(lines).encode(), "r")
    except RulesError:
        return
    old = state(x=(2,), a__x=(2, 1), a__to=(1,))
    with contextlib.suppress(StateDictError):
        move(unmoved(old), rules.rules, state(x=(2,), a__b=(1,)), lambda _: lambda given: given)
    with contextlib.suppress(BuildError):
        edited({"class_path": "m:C", "kwargs": {"x": [{"to": 1}]}}, rules, lambda _: lambda d: d)


def test_names_move_with_all_that_is_in_them() -> None:
    names = {"walker": "robots.walker", "walker.net:Walker": "robots.net:Policy", "net": "net.v2"}
    assert name_of("walker.net:Walker", names) == "robots.net:Policy"
    assert name_of("walker.scale:SCALE", names) == "robots.walker.scale:SCALE"
    assert name_of("walkers:A", names) == "walkers:A"
    assert name_of(name_of("net:A", names), names) == "net.v2:A"


def test_architectures_are_edited() -> None:
    text = """
        [names]
        "walker.net:Walker" = "walker.nets:Policy"
        "walker.act" = "walker.acts"
        [architecture]
        rename = { hidden = "width", "body.depth" = "body.layers" }
        remove = ["legacy"]
        set = { activation = "relu", "body.bias" = true }
        call = "walker.moves:more"
        [env]
        rename = { obs = "features" }
    """
    rules = parse(text.encode(), "r.toml")
    old = {
        "class_path": "walker.net:Walker",
        "kwargs": {
            "hidden": 8,
            "legacy": None,
            "act": {"$ref": "walker.act:tanh"},
            "body": {"$model": "walker.net:Body", "fields": {"depth": 2}},
        },
    }
    functions = {"walker.moves:more": lambda d: {**d, "kwargs": {**d["kwargs"], "more": 1}}}
    made = edited(old, rules, functions.__getitem__)
    assert made == {
        "class_path": "walker.nets:Policy",
        "kwargs": {
            "width": 8,
            "act": {"$ref": "walker.acts:tanh"},
            "body": {"$model": "walker.net:Body", "fields": {"layers": 2, "bias": True}},
            "activation": "relu",
            "more": 1,
        },
    }
    assert old["class_path"] == "walker.net:Walker"
    assert edited(made, rules, functions.__getitem__) == made
    env = {"$model": "walker.act:Env", "fields": {"obs": 3}}
    assert edited_env(env, rules, functions.__getitem__) == {
        "$model": "walker.acts:Env",
        "fields": {"features": 3},
    }
    assert edited_env(None, rules, functions.__getitem__) is None


def test_edits_reach_into_lists_of_models() -> None:
    rules = parse(
        b'[architecture]\nset = { "blocks[1].width" = 3 }\nrename = { "blocks[0].a" = "b" }', "r"
    )
    made = edited(
        {"class_path": "m:C", "kwargs": {"blocks": [{"a": 1}, {"$model": "m:B", "fields": {}}]}},
        rules,
        lambda _: None,
    )
    blocks = [{}, {"$model": "m:B", "fields": {"width": 3}}]
    assert made["kwargs"] == {"blocks": blocks, "b": 1}
    beyond = parse(b'[architecture]\nset = { "blocks[7].width" = 3 }', "r")
    with pytest.raises(BuildError, match="there is no 7 with names in it"):
        edited(made, beyond, lambda _: None)


def test_edits_that_would_overwrite_are_refused() -> None:
    rules = parse(b'[architecture]\nrename = { a = "b" }', "r.toml")
    with pytest.raises(BuildError, match="renames a to b, and both are there"):
        edited({"class_path": "m:C", "kwargs": {"a": 1, "b": 2}}, rules, lambda _: None)
    rules = parse(b'[architecture]\nset = { "a.b" = 1 }', "r.toml")
    with pytest.raises(BuildError, match="which ends in no table of names"):
        edited({"class_path": "m:C", "kwargs": {"a": 1}}, rules, lambda _: None)
    rules = parse(b'[architecture]\ncall = "m:f"', "r.toml")
    with pytest.raises(BuildError, match="calls m:f, which gave no architecture"):
        edited({"class_path": "m:C"}, rules, lambda _: lambda description: None)


def test_the_file_in_the_documentation_is_read() -> None:
    page = (Path(__file__).parents[3] / "docs/migrate.md").read_text()
    blocks = re.findall(r"^```toml\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    rules = parse(blocks[0].encode(), "docs")
    assert [rule.verb for rule in rules.rules] == ["rename", "split", "fill"]
    table = re.findall(r"^\| (`.*?) \|", page, re.MULTILINE)
    told = {word for row in table for word in re.findall(r"`(\w+)", row)}
    assert told >= set(_VERBS)
