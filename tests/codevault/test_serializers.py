"""[strings] [clean-names] Old code loads its own classes, and saves them under original names."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest
import torch

import codevault
from codevault_importhook import registry

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def tidy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names like `torch` and `pickle` are nobody's own in the tests that follow."""
    monkeypatch.setattr(registry, "own_names", registry.own_names)


KEEPER = """
    import torch
    import torch as t
    from torch import load as get
    from walker.net import Walker

    def read(path, **options):
        return torch.load(path, **options)

    def read_as(path, **options):
        import pickle
        return (
            t.load(path, None, **options),
            get(path, "cpu", **options),
            torch.serialization.load(path, **options),
            torch.load(path, "cpu", pickle, **options),
            torch.load(path, pickle_module=pickle, **options),
        )

    def write(policy, path):
        torch.save(policy, path)
        torch.save(policy, path, _use_new_zipfile_serialization=False)
        torch.save(policy, path, __import__("pickle"), 2, False)
        torch.save(policy, path)

    def sent(policy):
        import cloudpickle, io
        file = io.BytesIO()
        cloudpickle.dump(policy, file)
        return file.getvalue(), cloudpickle.dumps(policy)

    def received(data):
        import cloudpickle
        return cloudpickle.loads(data)

    def read_named(path, cls):
        with torch.serialization.safe_globals([(cls, "walker.net.Walker")]):
            return torch.load(path, weights_only=True)

    def read_declared(path):
        with torch.serialization.safe_globals([Walker]):
            return torch.load(path)
"""


@pytest.fixture
def keeper(walker: Any, tmp_path: Path, request: pytest.FixtureRequest) -> Any:
    """Old code that loads, a file with original names, and a twin in the host or none."""
    walker.write({"src/walker/net.py": MODULE})
    commit = walker.commit({"src/walker/keeper.py": KEEPER})
    net = walker.load("walker.net")
    walker.policy, walker.file = net.Walker(), tmp_path / "old.pt"
    torch.save(walker.policy, walker.file)
    walker.commit({"src/walker/scale.py": "SCALE = 77.0\n"})
    if request.param:
        walker.load("walker.net")
    else:
        for name in [n for n in sys.modules if n.partition(".")[0] == "walker"]:
            del sys.modules[name]
    splint = codevault.load_code(walker.top, commit)
    walker.splint, walker.keeper = splint, splint.import_module("walker.keeper")
    return walker


MODULE = """
    import torch
    from walker.scale import SCALE

    class Walker(torch.nn.Module):
        scale = SCALE
        def forward(self, obs):
            return SCALE * obs
"""
twin = pytest.mark.parametrize("keeper", [True, False], indirect=True, ids=["twin", "no-twin"])


@twin
def test_strings_torch_load_gives_the_old_class(keeper: Any) -> None:
    old = keeper.splint.load_symbol("walker.net:Walker")
    for policy in (
        keeper.keeper.read(keeper.file, weights_only=False),
        *keeper.keeper.read_as(keeper.file, weights_only=False),
    ):
        assert type(policy) is old
        assert float(policy(torch.ones(1))) == 2.0


@twin
def test_strings_torch_load_of_weights_only_needs_the_class_declared(keeper: Any) -> None:
    import pickle

    with pytest.raises(pickle.UnpicklingError, match="Weights only load failed"):
        keeper.keeper.read(keeper.file)


def test_strings_the_hosts_torch_load_is_the_hosts(walker: Any, tmp_path: Path) -> None:
    before = torch.load
    codevault.load_code(walker.top, walker.head).import_module("walker.net")
    torch.save(walker.net.Walker(act=torch.relu), tmp_path / "new.pt")
    assert torch.load is before
    assert type(torch.load(tmp_path / "new.pt", weights_only=False)) is walker.net.Walker


@twin
def test_strings_torch_load_of_weights_only_finds_declared_classes(keeper: Any) -> None:
    """`weights_only=True` allows by name: the name in the file is the original one."""
    with torch.serialization.safe_globals([set]):
        policy = keeper.keeper.read_declared(keeper.file)
    assert type(policy) is keeper.splint.load_symbol("walker.net:Walker")


@twin
def test_strings_torch_load_of_weights_only_takes_what_the_old_code_declared(keeper: Any) -> None:
    """Whatever the application has declared under the same name."""
    from torch import serialization

    others: list[Any] = [(type(f"Twin{n}", (), {}), "walker.net.Walker") for n in range(20)]
    declared = keeper.splint.load_symbol("walker.net:Walker")
    serialization.add_safe_globals(others)
    before = set(serialization.get_safe_globals())
    try:
        assert type(keeper.keeper.read_declared(keeper.file)) is declared
        assert set(serialization.get_safe_globals()) == before
    finally:
        serialization.clear_safe_globals()


@twin
def test_strings_torch_load_of_weights_only_with_a_class_for_a_name(keeper: Any) -> None:
    """Torch's own way, in old code and in the application."""
    old = keeper.splint.load_symbol("walker.net:Walker")
    assert type(keeper.keeper.read_named(keeper.file, old)) is old
    with torch.serialization.safe_globals([(old, "walker.net.Walker")]):
        assert type(torch.load(keeper.file, weights_only=True)) is old


@twin
def test_clean_names_torch_save_of_old_code(keeper: Any, tmp_path: Path) -> None:
    path = tmp_path / "again.pt"
    old = keeper.splint.load_symbol("walker.net:Walker")
    keeper.keeper.write(old(), path)
    unsafe = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    assert unsafe == ["walker.net.Walker"]
    assert type(keeper.keeper.read(path, weights_only=False)) is old


@twin
def test_clean_names_an_applications_torch_save_with_the_splints_pickle(
    keeper: Any, tmp_path: Path
) -> None:
    path = tmp_path / "again.pt"
    splint = keeper.splint
    old = splint.load_symbol("walker.net:Walker")
    torch.save(old(), path, pickle_module=splint.pickle)
    assert torch.serialization.get_unsafe_globals_in_checkpoint(path) == ["walker.net.Walker"]
    policy = torch.load(path, weights_only=False, pickle_module=splint.pickle)
    assert type(policy) is old
    assert type(splint.pickle.loads(splint.pickle.dumps(old))) is type
    assert splint.pickle.loads(splint.pickle.dumps(old)) is old


@twin
def test_clean_names_cloudpickle_of_old_code(keeper: Any) -> None:
    pytest.importorskip("cloudpickle")
    old = keeper.splint.load_symbol("walker.net:Walker")
    for data in keeper.keeper.sent([old(), old]):
        assert keeper.splint.name.encode() not in data
        policy, cls = keeper.keeper.received(data)
        assert type(policy) is cls is old


@pytest.mark.parametrize("library", ["cloudpickle", "pickle"])
def test_own_or_fail_a_library_that_the_tree_brings_is_its_own(project: Any, library: str) -> None:
    """[own-or-fail] Nothing stands in for the functions of the tree's own copy."""
    text = "def dumps(value): return ('own', value)\n"
    use = f"import {library}\nfrom {library} import dumps\n"
    use += f"def both(): return {library}.dumps(1), dumps(2)\n"
    splint = codevault.load_code(
        project.top, project.commit({f"src/{library}.py": text, "src/walker/use.py": use})
    )
    assert splint.import_module("walker.use").both() == (("own", 1), ("own", 2))


def test_clean_names_a_stray_folder_of_a_librarys_name_changes_nothing(project: Any) -> None:
    use = "import torch\nsave = torch.save\n"
    files = {"src/walker/use.py": use, "src/torch/notes.txt": "no code"}
    splint = codevault.load_code(project.top, project.commit(files))
    assert splint.import_module("walker.use").save is not torch.save
