from __future__ import annotations

import contextlib
import importlib
import marshal
import sys
import threading
import time
import warnings
from typing import TYPE_CHECKING, Any

import pytest

from codevault_importhook import CodePack, codepack
from codevault_importhook.rewrite import Rules, compile_module
from tests.importhook.pictures import NAME, OTHER, Folder

if TYPE_CHECKING:
    from tests.importhook.conftest import Lay, Put

RULES = Rules(frozenset({"pkg"}))
PICTURE = {
    "pkg/__init__.py": "",
    "pkg/a.py": "import pkg.b\nfrom pkg.b import f\ndef g():\n    import pkg.b as m\n    return m",
    "pkg/b.py": "def f(): return __name__\n",
}


def make(source: Folder, rules: Rules = RULES) -> bytes:
    return codepack.make(source, source.paths, rules)


def pack(source: Folder) -> codepack.CodePack:
    return codepack.CodePack(make(source), codepack.tag(RULES))


def test_one_compilation_serves_every_name(lay: Lay) -> None:
    source = lay(PICTURE)
    shared = pack(source)
    del source.reads[:]
    for name in (NAME, OTHER):
        code = shared.code("pkg/a.py", name, "/there/a.py")
        assert code is not None
        assert code.co_names[0] == f"{name}.pkg.b"
        assert code.co_filename == "/there/a.py"
        inner = next(c for c in code.co_consts if hasattr(c, "co_filename"))
        assert inner.co_filename == "/there/a.py"
    assert source.reads == []


def test_each_call_gives_code_objects_of_its_own(lay: Lay) -> None:
    shared = pack(lay(PICTURE))
    assert shared.code("pkg/b.py", NAME, "b") is not shared.code("pkg/b.py", NAME, "b")


def test_the_same_blob_mounted_twice_gives_distinct_functions(put: Put) -> None:
    functions = []
    for name in (NAME, OTHER):
        mount = put(PICTURE, name=name)
        mount.use(CodePack(mount.compile(), mount.tag))
        functions.append(importlib.import_module(f"{name}.pkg.b").f)
    one, two = functions
    assert one.__code__ is not two.__code__
    assert (one(), two()) == (f"{NAME}.pkg.b", f"{OTHER}.pkg.b")


def test_a_mounted_pack_reads_no_source(put: Put) -> None:
    mount = put(PICTURE)
    mount.use(CodePack(mount.compile(), mount.tag))
    assert isinstance(mount.source, Folder)
    del mount.source.reads[:]
    importlib.import_module(f"{NAME}.pkg.a").g()
    assert mount.source.reads == []


def test_packs_are_reproducible(lay: Lay) -> None:
    assert make(lay(PICTURE)) == make(lay(dict(reversed(PICTURE.items()))))


def test_unchanged_files_are_taken_from_an_earlier_pack(
    lay: Lay, monkeypatch: pytest.MonkeyPatch
) -> None:
    earlier = pack(lay(PICTURE))
    changed = lay({**PICTURE, "pkg/b.py": "def f(): return 2\n", "pkg/c.py": "x = 1\n"})
    expected = make(changed)
    compiled: list[str] = []

    def counting(source: bytes, filename: str, rules: Rules, prefix: str) -> object:
        compiled.append(filename)
        return compile_module(source, filename, rules, prefix)

    monkeypatch.setattr(codepack, "compile_module", counting)
    assert codepack.make(changed, changed.paths, RULES, earlier) == expected
    assert compiled == ["pkg/b.py", "pkg/c.py"]


MANY = {f"pkg/m{n}.py": f"def f{n}(): return {n}, __name__\nimport pkg\n" * 9 for n in range(30)}


def opened(data: bytes, *below: CodePack) -> CodePack:
    return CodePack(data, codepack.tag(RULES), {pack.tree: pack for pack in below}.get)


@pytest.mark.parametrize(
    "text",
    [
        b"# -*- coding: utf-7 -*-\nx = '+ADw-'\n",
        b"# coding: no-such-codec\nx = 1\n",
        b"x = 1\0\n",
        b"x = " + b"(" * 100_000 + b")" * 100_000,
        b"x = " + b"-" * 100_000 + b"1",
        b"x = [" + b"1, " * 300_000 + b"]\n",
        b"\xff\xfex = 1\n",
    ],
    ids=["utf-7", "no codec", "nul", "parentheses", "minus", "one line", "utf-16"],
)
def test_own_or_fail_a_hostile_source_harms_no_other(text: bytes, put: Put) -> None:
    mount = put({"pkg/__init__.py": "", "pkg/bad.py": text, "pkg/good.py": "v = 1"})
    mount.use(CodePack(mount.compile(), mount.tag))
    assert importlib.import_module(f"{NAME}.pkg.good").v == 1
    with contextlib.suppress(SyntaxError, ValueError, RecursionError, MemoryError):
        importlib.import_module(f"{NAME}.pkg.bad")


def test_a_further_version_costs_what_changed(lay: Lay) -> None:
    first = pack(lay(MANY))
    changed = lay({**MANY, "pkg/m7.py": "import pkg\nx = 7\n", "pkg/new.py": "import pkg.m7\n"})
    data = codepack.make(changed, changed.paths, RULES, first)
    assert len(data) < len(make(changed)) / 2
    second, whole = opened(data, first), opened(make(changed))
    assert second.base is first
    for path in changed.paths:
        found, expected = (p.code(path, OTHER, "/at") for p in (second, whole))
        assert found == expected
        assert found is not None

    # A third one rests on the first too: no chain grows, whatever was compiled last.
    third = lay({**MANY, "pkg/m7.py": "import pkg\nx = 7\n", "pkg/m8.py": "y = 8\n"})
    again = opened(codepack.make(third, third.paths, RULES, second), first)
    assert again.base is first
    assert again.code("pkg/m8.py", NAME, "m8") is not None
    assert again.code("pkg/new.py", NAME, "new") is None


def test_a_version_that_differs_much_is_whole(lay: Lay) -> None:
    first = pack(lay(MANY))
    changed = lay({path: text + "z = 1\n" * (n % 3) for n, (path, text) in enumerate(MANY.items())})
    assert codepack.make(changed, changed.paths, RULES, first) == make(changed)


def test_a_pack_whose_base_is_gone_or_another_is_refused(lay: Lay) -> None:
    first = pack(lay(MANY))
    changed = lay({**MANY, "pkg/m7.py": "x = 7\n"})
    data = codepack.make(changed, changed.paths, RULES, first)
    with pytest.raises(ValueError, match="which is gone"):
        opened(data)
    with pytest.raises(ValueError, match="which is gone"):
        CodePack(data, codepack.tag(RULES), lambda _: pack(lay(PICTURE)))


def test_a_module_that_spells_a_placeholder_keeps_its_text(lay: Lay) -> None:
    text = f"seen = '_splint_{'0' * 12}_{'0' * 12}', '{NAME}'\nimport pkg.b\n"
    code = pack(lay({"pkg/a.py": text})).code("pkg/a.py", OTHER, "a")
    assert code is not None
    assert (f"_splint_{'0' * 12}_{'0' * 12}", NAME) in code.co_consts


def test_a_file_that_does_not_compile_fails_when_it_is_imported(put: Put) -> None:
    mount = put({**PICTURE, "pkg/bad.py": "import pkg.a\nx = = 1\n"})
    mount.use(CodePack(mount.compile(), mount.tag))
    importlib.import_module(f"{NAME}.pkg.a")
    with pytest.raises(SyntaxError) as caught:
        importlib.import_module(f"{NAME}.pkg.bad")
    assert caught.value.filename == mount.source.location("pkg/bad.py")
    assert caught.value.lineno == 2
    assert caught.value.text == "x = = 1\n"
    assert f"{NAME}.pkg.bad" not in sys.modules


@pytest.mark.parametrize(
    "data",
    [b"", b"x", marshal.dumps({}), b"codevault-codepack-1\n" + bytes(8)],
    ids=["empty", "short", "marshal", "older"],
)
def test_foreign_bytes_are_refused_before_marshal_sees_them(
    data: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def loads(_: object) -> None:
        raise AssertionError("marshal saw it")

    monkeypatch.setattr(marshal, "loads", loads)
    with pytest.raises(ValueError, match="not a code pack for"):
        codepack.CodePack(data, codepack.tag(RULES))


def test_a_pack_for_other_rules_is_refused(put: Put, lay: Lay) -> None:
    mount = put(PICTURE)
    other = make(lay(PICTURE), Rules(frozenset({"pkg", "more"}), mount.rules.stand_ins))
    with pytest.raises(ValueError, match="not a code pack for"):
        CodePack(other, mount.tag)


def test_the_tag_names_what_decides_the_code() -> None:
    tags = {codepack.tag(Rules(frozenset(own))) for own in ("", "a", "b", "ab")}
    tags.add(codepack.tag(Rules(frozenset("a"), frozenset("b"))))
    assert len(tags) == 5
    assert all(
        tag.startswith(f"cpython-{sys.version_info[0]}{sys.version_info[1]}-") for tag in tags
    )
    assert codepack.tag(Rules(frozenset("ab"))) == codepack.tag(Rules(frozenset("ba")))


def test_a_pack_leaves_memory_once_all_was_imported_and_comes_back_when_asked(put: Put) -> None:
    mount = put({"pkg/a.py": "v = 1", "pkg/b.py": "v = 2"})
    pack, asked = mount.compile(), []

    def again() -> CodePack | None:
        asked.append(1)
        return CodePack(pack, mount.tag) if len(asked) == 1 else None

    mount.use(CodePack(pack, mount.tag), again)
    held = sys.getrefcount(pack)
    importlib.import_module(f"{NAME}.pkg.a")
    assert (sys.getrefcount(pack), asked) == (held, [])
    b = importlib.import_module(f"{NAME}.pkg.b")
    assert (sys.getrefcount(pack), asked) == (held - 1, [])
    assert importlib.reload(b).v == 2
    assert (sys.getrefcount(pack), asked) == (held, [1])
    mount.release()
    assert sys.getrefcount(pack) == held - 1
    assert importlib.reload(b).v == 2  # it is gone: compiled from the verified source
    assert asked == [1, 1]


def test_compiling_in_threads_leaves_warnings_as_they_were(
    lay: Lay, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = iter([0.02, 0.06, 0.01, 0.05, 0.03, 0.04])

    def slow(*args: Any) -> Any:
        time.sleep(next(waits))
        return compile_module(*args)

    monkeypatch.setattr(codepack, "compile_module", slow)
    source = lay({"pkg/a.py": "if 1 is 1: pass\n", "pkg/b.py": ""})
    before = list(warnings.filters)
    threads = [threading.Thread(target=make, args=[source]) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert warnings.filters == before
