"""Registries in processes of their own: what was registered before codevault was used, and how."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

OPERATOR = """
import torch

@torch.library.custom_op("mylib::scale", mutates_args=())
def scale(x: torch.Tensor) -> torch.Tensor:
    return x * FACTOR

@scale.register_fake
def _(x):
    return torch.empty_like(x)

def backward(ctx, grad):
    return grad * FACTOR

scale.register_autograd(backward)
"""
RAW = """
import torch

lib = torch.library.Library("mylib", "DEF")
lib.define("scale(Tensor x) -> Tensor")

def scale(x):
    return x * FACTOR

lib.impl("scale", scale, "CPU")
"""
HEADER = """
import importlib, sys
sys.dont_write_bytecode = True

def host(folder, module="ops"):
    sys.path.insert(0, folder)
    importlib.invalidate_caches()
    sys.modules.pop(module, None)
    found = importlib.import_module(module)
    sys.path.remove(folder)
    return found

def version(folder, module="ops"):
    import codevault
    from codevault import registries
    registries.install()
    return codevault.load_code(folder).import_module(module)

def refused(call, *args):
    from codevault.registries import RegistrationError
    try:
        call(*args)
    except RegistrationError as error:
        return str(error)
    raise AssertionError("was not refused")
"""


def run(tmp_path: Path, code: str, **files: str) -> None:
    """Runs `code` in a process of its own; each file becomes `<name>/ops.py`."""
    for name, text in files.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "ops.py").write_text(textwrap.dedent(text))
    program = HEADER + textwrap.dedent(code)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        cwd=tmp_path,
        env=dict(os.environ),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def at(text: str, factor: float) -> str:
    return text.replace("FACTOR", str(factor))


def test_registries_measured_case_of_the_operator_that_gave_another_versions_result(
    tmp_path: Path,
) -> None:
    code = """
        one = version("v1")
        import torch
        x = torch.ones(1)
        assert one.scale(x) == 1.0
        text = refused(version, "v2")
        assert text.count("ops of _splint_") == 2 and "registration-conflict" in text, text
        assert "v1.scale" not in text and "mylib::scale" in text
        assert one.scale(x) == torch.ops.mylib.scale(x) == 1.0
        assert torch.compile(one.scale, fullgraph=True, backend="eager")(x) == 1.0
    """
    run(tmp_path, code, v1=at(OPERATOR, 1.0), v2=at(OPERATOR, 2.0))


def test_registries_operator_of_the_host_from_before_codevault(tmp_path: Path) -> None:
    code = """
        mine = host("host")
        import torch
        x = torch.ones(1, requires_grad=True)
        text = refused(version, "v2")
        assert "ops of the application" in text and "ops of _splint_" in text, text
        same = version("v1")
        assert same.scale is mine.scale
        mine.scale(x).sum().backward()
        assert x.grad == 1.0
        text = refused(host, "v2")
        assert "ops of the application" in text and "ops of _splint_" in text, text
    """
    run(tmp_path, code, host=at(OPERATOR, 1.0), v1=at(OPERATOR, 1.0), v2=at(OPERATOR, 2.0))


def test_registries_function_that_torch_does_not_give_out_is_refused(tmp_path: Path) -> None:
    code = """
        mine = host("host")
        text = refused(version, "v1")
        assert "registered before codevault was used" in text, text
        assert "ops of the application (/" in text, text
        assert 'shared=["ops"]' in text
        import torch
        assert torch.ops.mylib.scale(torch.ones(1)) == 1.0
    """
    run(tmp_path, code, host=at(RAW, 1.0), v1=at(RAW, 1.0))


def test_registries_function_that_was_imported_before_codevault_is_guarded(tmp_path: Path) -> None:
    pytest.importorskip("gymnasium")
    early = """
        from copyreg import pickle
        from torch.utils._pytree import register_pytree_node
        real = register_pytree_node
        from gymnasium import register
        from torch.library import custom_op
        import torch
        def again():
            @custom_op("mylib::scale", mutates_args=())
            def scale(x: torch.Tensor) -> torch.Tensor:
                return x * 2.0
    """
    code = """
        import early
        one = version("v1")
        text = refused(early.again)
        assert "early of the application" in text and "ops of _splint_" in text, text
        import copyreg, gymnasium, torch
        assert early.pickle is copyreg.pickle and early.register is gymnasium.register
        from torch.utils import _pytree
        taken = early.register_pytree_node
        assert taken is _pytree.register_pytree_node is not early.real
        assert one.scale(torch.ones(1)) == 1.0
    """
    (tmp_path / "early.py").write_text(textwrap.dedent(early))
    run(tmp_path, "sys.path.insert(0, '.')\n" + textwrap.dedent(code), v1=at(OPERATOR, 1.0))


def test_registries_install_loads_no_library_and_guards_it_later(tmp_path: Path) -> None:
    code = """
        from codevault import registries
        before = set(sys.modules)
        registries.install()
        registries.install()
        tops = {n.partition(".")[0] for n in set(sys.modules) - before}
        assert not tops & {"torch", "optree", "gymnasium", "omegaconf", "hydra", "numpy"}, tops
        import codevault_importhook as hook
        one = version("v1")
        import inspect, torch
        from torch._library.custom_ops import CustomOpDef
        assert hasattr(CustomOpDef.register_fake, "__wrapped__")
        assert not hasattr(CustomOpDef.register_fake.__wrapped__, "__wrapped__")
        assert list(inspect.signature(torch.library.Library.impl).parameters)[:3] == [
            "self", "op_name", "fn"]
        refused(version, "v2")
    """
    run(tmp_path, code, v1=at(OPERATOR, 1.0), v2=at(OPERATOR, 2.0))


def test_registries_pass_over_what_only_says_that_it_is_a_module(tmp_path: Path) -> None:
    code = """
        from types import ModuleType

        class Lib:  # as cffi's compiled libraries, which `import cryptography` may leave there
            __slots__ = ()
            __class__ = property(lambda self: ModuleType)

        sys.modules["lib"] = Lib()
        assert isinstance(sys.modules["lib"], ModuleType)
        assert version("v1").scale.__name__ == "scale"
    """
    run(tmp_path, code, v1="def scale(x): return x\n")


def test_registries_optree_node_of_tensordict_by_two_commits(tmp_path: Path) -> None:
    pytest.importorskip("optree")
    pytest.importorskip("tensordict")
    text = """
        import optree
        from tensordict import TensorDict, TensorDictBase

        def _flatten(td):
            keys = tuple(sorted(td.keys()))
            return [td.get(k) for k in keys], (keys, td.batch_size, EXTRA)

        def _unflatten(context, leaves):
            keys, batch, _ = context
            return TensorDict(dict(zip(keys, leaves)), batch_size=batch)

        if not globals().get("_REGISTERED"):
            optree.register_pytree_node(TensorDictBase, _flatten, _unflatten, namespace="torch")
            _REGISTERED = True

        def leaves(td):
            return optree.tree_leaves(td, namespace="torch")
    """
    code = """
        one, two = version("v1"), version("v2")
        import torch
        from tensordict import TensorDict
        td = TensorDict({"b": torch.ones(2), "a": torch.zeros(2)}, batch_size=[2])
        for module in (one, two):
            assert sorted(float(leaf[0]) for leaf in module.leaves(td)) == [0.0, 1.0]
        text = refused(version, "v3")
        assert "TensorDictBase in namespace torch" in text and "its code" not in text, text
    """
    one = text.replace("EXTRA", "0")
    run(tmp_path, code, v1=one, v2=one + "\n        # later\n", v3=text.replace("EXTRA", "1"))


def test_registries_helper_of_a_library_registers_for_who_gave_the_function(
    tmp_path: Path,
) -> None:
    helper = """
        import copyreg
        def register(cls, function):
            copyreg.pickle(cls, function)
        class Thing:
            pass
        def first(thing):
            return Thing, ()
        def second(thing):
            return Thing, (), {}
        copyreg.pickle(Thing, first)
        def again():
            copyreg.pickle(Thing, second)
    """
    ops = """
        import library
        def reduce(thing):
            return library.Thing, (), FACTOR
        library.register(library.Thing, reduce)
    """
    code = """
        sys.path.insert(0, "site-packages")
        text = refused(version, "v1")
        assert "library of a library" in text and 'overlay={"ops.py"' in text, text
        import copyreg, library
        del copyreg.dispatch_table[library.Thing]
        one = version("v1")
        text = refused(version, "v2")
        assert text.count("ops of _splint_") == 2, text
        library.again()  # its own business
        assert copyreg.dispatch_table[library.Thing] is library.second
    """
    (tmp_path / "site-packages").mkdir()
    (tmp_path / "site-packages" / "library.py").write_text(textwrap.dedent(helper))
    run(tmp_path, code, v1=at(ops, 1), v2=at(ops, 2))


def test_registries_a_library_that_old_code_imports_registers_for_itself(tmp_path: Path) -> None:
    pytest.importorskip("gymnasium")
    ops = "import gymnasium\n"
    code = """
        version("v1")
        import gymnasium, warnings
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            gymnasium.register("CartPole-v1", entry_point="another:Env")
        assert gymnasium.registry["CartPole-v1"].entry_point == "another:Env"
    """
    run(tmp_path, code, v1=ops)


def test_registries_entry_points_by_string_are_each_versions_own(tmp_path: Path) -> None:
    pytest.importorskip("gymnasium")
    ops = """
        import gymnasium

        class Env(gymnasium.Env):
            factor = FACTOR
            observation_space = action_space = gymnasium.spaces.Discrete(2)

        gymnasium.register("Own-v0", entry_point="ops:Env", max_episode_steps=STEPS)

        def make():
            return gymnasium.make("Own-v0", disable_env_checker=True).unwrapped
    """
    ops = ops.replace("STEPS", "5")
    code = """
        one, two = version("v1"), version("v2")
        assert (one.make().factor, two.make().factor) == (1, 2)
        assert type(one.make()) is one.Env and type(two.make()) is two.Env
        text = refused(version, "v3")
        assert "max_episode_steps is 5 in one and 6 in the other" in text, text
    """
    other = at(ops, 1).replace("5", "6")
    run(tmp_path, code, v1=at(ops, 1), v2=at(ops, 2), v3=other)


def test_registries_shared_module_registers_for_the_host(tmp_path: Path) -> None:
    (tmp_path / "shared_ops.py").write_text(at(OPERATOR, 1.0))
    ops = "from shared_ops import scale\n"
    code = """
        sys.path.insert(0, ".")
        import codevault
        from codevault import registries
        registries.install()
        one = codevault.load_code("v1", shared=["shared_ops"]).import_module("ops")
        import shared_ops, torch
        assert one.scale is shared_ops.scale
        text = refused(version, "v2")
        assert "shared_ops of the application" in text, text
    """
    run(tmp_path, code, v1=ops, v2=at(OPERATOR, 2.0))


def test_registries_outlive_the_version_that_registered(tmp_path: Path) -> None:
    code = """
        import codevault, gc, torch
        from codevault import registries
        registries.install()
        splint = codevault.load_code("v1")
        one = splint.import_module("ops")
        two = version("v2")
        del one.lib, one
        splint.unload()
        gc.collect()
        assert torch.ops.mylib.scale(torch.ones(1)) == 1.0
        assert "ops of _splint_" in refused(version, "v3")
    """
    run(tmp_path, code, v1=at(RAW, 1.0), v2=at(RAW, 1.0) + "# later\n", v3=at(RAW, 3.0))


def test_registries_operators_of_a_library_object_that_is_gone_are_free(tmp_path: Path) -> None:
    code = """
        import codevault, gc, torch
        from codevault import registries
        registries.install()
        one = codevault.load_code("v1").import_module("ops")
        del one.lib
        gc.collect()
        three = version("v3")
        assert torch.ops.mylib.scale(torch.ones(1)) == 3.0
    """
    run(tmp_path, code, v1=at(RAW, 1.0), v3=at(RAW, 3.0))


def test_registries_kernel_of_another_version_is_not_put_before_the_first(tmp_path: Path) -> None:
    more = """
@torch.library.register_kernel("mylib::scale", "cpu")
def faster(x):
    return x * 5
"""
    raw = at(RAW, 1.0).replace('"CPU"', '"CompositeExplicitAutograd"').replace("DEF", "FRAGMENT")
    code = """
        import torch
        one = version("v1")
        text = refused(version, "v2")
        assert "mylib::scale for cpu" in text, text
        assert torch.ops.mylib.scale(torch.ones(1)) == 1.0
    """
    run(tmp_path, code, v1=at(OPERATOR, 1.0), v2=at(OPERATOR, 1.0) + more)
    (tmp_path / "raw").mkdir()
    code = code.replace("for cpu", "for CPU")
    run(tmp_path / "raw", code, v1=raw, v2=raw + more)


def test_registries_host_errors_and_sources_are_torchs_own(tmp_path: Path) -> None:
    code = """
        import torch
        from codevault import registries
        registries.install()
        mine = host("host")
        from torch._library.simple_registry import singleton
        @torch.library.register_fake("mylib::raw", lib=mine.lib)
        def fake(x): return x
        source = singleton.find("mylib::raw").fake_impl.kernel.source
        assert source.startswith("<string>:"), source
        source = singleton.find("mylib::scale").fake_impl.kernel.source
        assert "ops.py" in source, source
        for call in (
            lambda: torch.library.Library("mylib", "WRONG"),
            lambda: mine.lib.impl("raw", 3),
            lambda: mine.lib.define("raw(Tensor x) -> Tensor"),
            lambda: torch.library.custom_op("mylib::x", mutates_args=())(lambda x: x),
        ):
            try: call()
            except (ValueError, TypeError, RuntimeError) as error:
                assert "codevault/registries" not in str(error), error
                assert "ops.py" in str(error) or "multiple times" not in str(error), error
            else: raise AssertionError
    """
    more = """
lib = torch.library.Library("mylib", "FRAGMENT")
lib.define("raw(Tensor x) -> Tensor")
"""
    run(tmp_path, code, host=at(OPERATOR, 1.0) + more)


def test_registries_of_an_unknown_version_of_a_library_do_not_break_its_import(
    tmp_path: Path,
) -> None:
    (tmp_path / "omegaconf").mkdir()
    (tmp_path / "omegaconf" / "__init__.py").write_text("from omegaconf.omegaconf import OmegaConf")
    (tmp_path / "omegaconf" / "omegaconf.py").write_text("class OmegaConf:\n    pass\n")
    code = """
        sys.path.insert(0, ".")
        import warnings
        from codevault import registries
        registries.install()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            import omegaconf
        assert omegaconf.OmegaConf
        (warning,) = caught
        assert "omegaconf.omegaconf keeps its registry in another way" in str(warning.message)
    """
    run(tmp_path, code)
