from __future__ import annotations

from benchmarks.baselines import names, order, shapes
from benchmarks.matching import DOC, page


def test_the_page_is_what_the_script_makes() -> None:
    assert DOC.read_text() == page()


def test_baselines_do_what_they_say() -> None:
    old = [["a.one", [2]], ["a.two", [3]], ["a.ten", [3]]]
    new = [["b.one", [2]], ["b.ten", [3]], ["b.two", [3]]]
    assert names(old, new) == {"a.one": "b.one", "a.two": "b.two", "a.ten": "b.ten"}
    assert order(old, new) == {"a.one": "b.one", "a.two": "b.ten", "a.ten": "b.two"}
    assert shapes(old, new) == {"a.one": "b.one", "a.two": "b.two", "a.ten": "b.ten"}
