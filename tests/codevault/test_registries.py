"""Process-wide registries: equal code of two versions is accepted, other code refused by name."""

from __future__ import annotations

import copy
import importlib
import itertools
import sys
import textwrap
import threading
import types
import warnings
from typing import TYPE_CHECKING, Any

import pytest

import codevault
from codevault import registries
from codevault.errors import AuditWarning, CodevaultError
from codevault.registries import RegistrationError
from codevault.registries.guard import Rule, guard
from codevault.registries.ledger import Claim

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

registries.install()
_numbers = itertools.count()


class Third:
    """Stands for a third-party class."""

    def __init__(self, value: float = 1.0) -> None:
        self.value = value


class World:
    """One name that versions and the application register code for."""

    def __init__(self, top: Path, case: str) -> None:
        self.top, self.text = top, textwrap.dedent(case)
        self.name = f"registered{next(_numbers)}"
        self.third = type("Third", (Third,), {"__module__": f"third_{self.name}"})
        library = types.ModuleType(f"third_{self.name}")
        vars(library)["Third"] = self.third
        sys.modules[library.__name__] = library

    def write(self, folder: str, factor: float, extra: str = "") -> Path:
        top = self.top / folder
        top.mkdir()
        text = self.text.replace("NAME", self.name).replace("FACTOR", str(factor))
        (top / f"code_{self.name}.py").write_text(f"{extra}\n{text}")
        return top

    def version(self, folder: str, factor: float, extra: str = "") -> Any:
        """A snapshot's module, registered now."""
        top = self.write(folder, factor, extra)
        return codevault.load_code(top).import_module(f"code_{self.name}")

    def host(self, factor: float, folder: str = "host") -> Any:
        """The application's module of the same name, registered now."""
        top = str(self.write(folder, factor))
        sys.modules.pop(f"code_{self.name}", None)
        sys.path.insert(0, top)
        importlib.invalidate_caches()
        try:
            return importlib.import_module(f"code_{self.name}")
        finally:
            sys.path.remove(top)


CUSTOM_OP = """
    import torch

    @torch.library.custom_op("NAME::scale", mutates_args=())
    def scale(x: torch.Tensor) -> torch.Tensor:
        return times(x)

    @scale.register_fake
    def _(x):
        return torch.empty_like(x)

    @scale.register_kernel("cpu")
    def _(x):
        return times(x)

    def setup(ctx, inputs, output):
        pass

    def backward(ctx, grad):
        return grad * FACTOR

    scale.register_autograd(backward, setup_context=setup)

    @scale.register_vmap
    def _(info, in_dims, x):
        return scale(x), in_dims[0]

    def times(x):
        return x * FACTOR

    def use():
        x = torch.ones(2, requires_grad=True)
        y = scale(x)
        y.sum().backward()
        assert x.grad[0] == y[0]
        return y[0].item()
"""
TRITON_OP = """
    import torch

    @torch.library.triton_op("NAME::scale", mutates_args=())
    def scale(x: torch.Tensor) -> torch.Tensor:
        return x * FACTOR

    def use():
        return float(torch.ops.NAME.scale(torch.ones(2))[0])
"""
LIBRARY = """
    import torch

    lib = torch.library.Library("NAME", "DEF")
    lib.define("scale(Tensor x) -> Tensor")

    @torch.library.impl(lib, "scale", "CPU")
    def scale(x):
        return x * FACTOR

    @torch.library.register_fake("NAME::scale", lib=lib)
    def fake(x):
        return torch.empty_like(x)

    def use():
        assert torch.ops.NAME.scale(torch.ones(3, device="meta")).shape == (3,)
        return float(torch.ops.NAME.scale(torch.ones(2))[0])
"""
FRAGMENT = """
    import torch

    torch.library.define("NAME::scale", "(Tensor x) -> Tensor")

    @torch.library.impl("NAME::scale", "default")
    def scale(x):
        return x * FACTOR

    @torch.library.register_fake("NAME::scale")
    def fake(x):
        return torch.empty_like(x)

    def setup(ctx, inputs, output):
        pass

    def backward(ctx, grad):
        return grad * FACTOR

    torch.library.register_autograd("NAME::scale", backward, setup_context=setup)

    @torch.library.register_vmap("NAME::scale")
    def vmap(info, in_dims, x):
        return x * FACTOR, in_dims[0]

    def use():
        x = torch.ones(2, requires_grad=True)
        y = torch.ops.NAME.scale(x)
        y.sum().backward()
        assert x.grad[0] == y[0] == torch.vmap(torch.ops.NAME.scale)(x)[0]
        return y[0].item()
"""
DISPATCH = """
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode
    from third_NAME import Third

    if not hasattr(Third, "Mode"):
        class Mode(TorchDispatchMode):
            def __torch_dispatch__(self, func, types, args=(), kwargs=None):
                return func(*args, **(kwargs or {}))
        Third.Mode = Mode

    @torch.library.custom_op("NAME::scale", mutates_args=())
    def scale(x: torch.Tensor) -> torch.Tensor:
        return x.clone()

    @torch.library.register_torch_dispatch("NAME::scale", Third.Mode)
    def rule(mode, func, types, args, kwargs):
        return args[0] * FACTOR

    def use():
        with Third.Mode():
            return float(scale(torch.ones(2))[0])
"""
TORCH_TREE = """
    from torch.utils import _pytree
    from third_NAME import Third

    def flatten(thing):
        return [thing.value * FACTOR], None

    def unflatten(leaves, context):
        return Third(*leaves)

    _pytree.register_pytree_node(Third, flatten, unflatten)

    def use():
        return _pytree.tree_leaves(Third())[0]
"""
PRIVATE_TREE = TORCH_TREE.replace("_pytree.register", "_pytree._private_register")
OPTREE = """
    import optree
    from third_NAME import Third

    def flatten(thing):
        return [thing.value * FACTOR], None

    def unflatten(context, leaves):
        return Third(*leaves)

    optree.register_pytree_node(Third, flatten, unflatten, namespace="torch")

    def use():
        return optree.tree_leaves(Third(), namespace="torch")[0]
"""
GYMNASIUM = """
    import gymnasium
    from third_NAME import Third

    if not hasattr(Third, "Env"):
        class Env(gymnasium.Env):
            observation_space = action_space = gymnasium.spaces.Discrete(2)
            def __init__(self, factor=0):
                self.factor = factor
        Third.Env = Env

    def make():
        return Third.Env(FACTOR)

    gymnasium.register("NAME-v0", entry_point=make, disable_env_checker=True, order_enforce=False)

    def use():
        return gymnasium.make("NAME-v0").unwrapped.factor
"""
RESOLVER = """
    from omegaconf import OmegaConf

    OmegaConf.register_new_resolver("NAME", lambda x: x * FACTOR, replace=True)

    def use():
        return OmegaConf.create({"a": "${NAME:1}"}).a
"""
LEGACY_RESOLVER = """
    from omegaconf import OmegaConf

    OmegaConf.legacy_register_resolver("NAME", lambda x: int(x) * FACTOR)

    def use():
        return OmegaConf.create({"a": "${NAME:1}"}).a
"""
CONFIG = """
    from dataclasses import dataclass, field
    from hydra.core.config_store import ConfigStore

    @dataclass
    class Inner:
        factor: float = FACTOR

    @dataclass
    class Config:
        inner: Inner = field(default_factory=Inner)

    ConfigStore.instance().store(group="model", name="NAME", node=Config)

    def use():
        return ConfigStore.instance().load("model/NAME.yaml").node.inner.factor
"""
PLAIN_CONFIG = CONFIG.replace("node=Config", 'node={"inner": {"factor": FACTOR}}')
COPYREG = """
    import copy, copyreg
    from third_NAME import Third

    def reduce(thing):
        return Third, (thing.value * FACTOR,)

    copyreg.pickle(Third, reduce)

    def use():
        return copy.copy(Third()).value
"""
CASES = {name: text for name, text in globals().items() if name.isupper() and "NAME" in str(text)}
NEEDS = {
    "CONFIG": "hydra",
    "GYMNASIUM": "gymnasium",
    "LEGACY_RESOLVER": "omegaconf",
    "OPTREE": "optree",
    "PLAIN_CONFIG": "hydra",
    "RESOLVER": "omegaconf",
}
RAISES_ITSELF = {"LIBRARY", "FRAGMENT", "LEGACY_RESOLVER", "OPTREE", "TORCH_TREE"}
"""Registries that refuse a second registration in a process, whoever makes it."""
DANGLING = {"CUSTOM_OP", "TRITON_OP", "DISPATCH"}
"""torch frees an operator that is replaced: calling the old one is undefined."""


@pytest.fixture(params=CASES)
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    if request.param in NEEDS:
        pytest.importorskip(NEEDS[request.param])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="You are using a Python version|.*CUDA")
        yield World(tmp_path, CASES[request.param])


EXTRA = "# what an unrelated change looks like\ndef unrelated():\n    return 'new'\n"


def refused(name: str, *parties: str) -> Any:
    """The next registration is refused, naming both parties, the module and the name."""
    pattern = rf"(?s)registered[0-9].*code_{name} of {parties[0]} .*code_{name} of {parties[1]} "
    return pytest.raises(RegistrationError, match=pattern)


def test_registries_equal_code_of_two_versions_is_accepted(world: World) -> None:
    first = world.version("v1", 3.0)
    second = world.version("v2", 3.0, EXTRA)
    assert first.__name__ != second.__name__
    assert first.use() == second.use() == 3.0


def test_registries_other_code_of_a_second_version_is_refused(world: World) -> None:
    first = world.version("v1", 1.0)
    with refused(world.name, "_splint_.*", "_splint_.*"):
        world.version("v2", 2.0)
    assert first.use() == 1.0


def test_registries_host_then_version(world: World) -> None:
    host = world.host(1.0)
    with refused(world.name, "the application", "_splint_.*") as raised:
        world.version("v2", 2.0)
    assert f'shared=["code_{world.name}"]' in raised.value.hint
    assert host.use() == 1.0
    assert world.version("v1", 1.0, EXTRA).use() == host.use() == 1.0


def test_registries_version_then_host(world: World) -> None:
    version = world.version("v1", 1.0)
    with refused(world.name, "_splint_.*", "the application"):
        world.host(2.0)
    assert version.use() == 1.0
    assert world.host(1.0, "equal").use() == version.use() == 1.0


def test_registries_host_alone_is_untouched(
    world: World, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """As without codevault: the registry refuses by itself, or the newest registration counts."""
    case = request.node.callspec.params["world"]
    first = world.host(1.0)
    if case in RAISES_ITSELF:
        with pytest.raises((RuntimeError, ValueError, AssertionError)) as raised:
            world.host(2.0, "again")
        assert not isinstance(raised.value, CodevaultError)
        assert first.use() == 1.0
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        second = world.host(2.0, "again")
    assert second.use() == 2.0
    if case not in DANGLING:
        assert first.use() == 2.0


def test_registries_three_parties_share_one_registration(world: World) -> None:
    first = world.version("v1", 1.0)
    host = world.host(1.0)
    third = world.version("v3", 1.0, EXTRA)
    with pytest.raises(RegistrationError):
        world.version("v4", 4.0)
    assert first.use() == host.use() == third.use() == 1.0


def test_registries_a_version_that_was_unloaded_may_come_again(world: World) -> None:
    top = world.write("v1", 1.0)
    for _ in range(3):
        splint = codevault.load_code(top)
        assert splint.import_module(f"code_{world.name}").use() == 1.0
        splint.unload()
    assert world.version("v2", 1.0, EXTRA).use() == 1.0
    assert codevault.load_code(top).import_module(f"code_{world.name}").use() == 1.0


asking = {
    "omegaconf": """
        from omegaconf import OmegaConf

        assert OmegaConf.has_resolver("oc.env")
        if not OmegaConf.has_resolver("NAME"):
            OmegaConf.register_new_resolver("NAME", lambda x: x * FACTOR)

        def use():
            assert OmegaConf.has_resolver("NAME")
            return OmegaConf.create({"a": "${NAME:1}"}).a
    """,
    "gymnasium": GYMNASIUM.replace(
        "    gymnasium.register(",
        """
    from gymnasium.envs.registration import registry
    assert "CartPole-v1" in registry and "CartPole-v1" in list(gymnasium.envs.registry)
    if "NAME-v0" not in gymnasium.registry:
        gymnasium.register(""",
    ).replace(
        "    def use():",
        """
    def use():
        assert registry["NAME-v0"].id in registry.copy()
        assert len(registry) == len(list(registry))""",
    ),
}


@pytest.mark.parametrize("library", asking)
def test_registries_who_asks_first_is_told_what_it_would_be_alone(
    library: str, tmp_path: Path
) -> None:
    """Else it would pass its registration over, and use another version's."""
    pytest.importorskip(library)
    world = World(tmp_path, asking[library])
    first, second = world.version("v1", 1.0), world.version("v2", 1.0, EXTRA)
    with refused(world.name, "_splint_.*", "_splint_.*"):
        world.version("v3", 2.0)
    assert first.use() == second.use() == 1.0
    if library == "omegaconf":  # gymnasium's is a dictionary, which the application sees as it is
        with refused(world.name, "_splint_.*", "the application"):
            world.host(2.0)
    assert world.host(1.0, "equal").use() == 1.0


@pytest.mark.parametrize("library", asking)
def test_registries_who_asks_after_the_host_is_compared(library: str, tmp_path: Path) -> None:
    pytest.importorskip(library)
    world = World(tmp_path, asking[library])
    host = world.host(1.0)
    with refused(world.name, "the application", "_splint_.*"):
        world.version("v2", 2.0)
    assert world.version("v1", 1.0, EXTRA).use() == host.use() == 1.0


OWN_CLASSES = """
    import copy, copyreg
    from torch.utils import _pytree

    class Own:
        def __init__(self, value=1.0):
            self.value = value

    def flatten(thing):
        return [thing.value * FACTOR], None

    _pytree.register_pytree_node(Own, flatten, lambda leaves, _: Own(*leaves))
    copyreg.pickle(Own, lambda thing: (Own, (thing.value * FACTOR,)))

    def use():
        assert copy.copy(Own()).value == FACTOR
        assert type(copy.copy(Own())) is Own
        return _pytree.tree_leaves(Own())[0]
"""


def test_registries_own_classes_are_each_versions_own(tmp_path: Path) -> None:
    world = World(tmp_path, OWN_CLASSES)
    modules = [world.version("v1", 1.0), world.version("v2", 2.0), world.host(3.0)]
    assert [module.use() for module in modules] == [1.0, 2.0, 3.0]


SAFE_GLOBAL = """
    import torch

    class Point:
        factor = FACTOR

    torch.serialization.add_safe_globals([(Point, "NAME.Point"), Point])
"""
EFFECT = """
    import torch
    from torch._library.effects import EffectType

    torch.library.define("NAME::scale", "(Tensor x) -> Tensor")
    effect = EffectType.ORDERED if FACTOR == 1 else None
    torch.library._register_effectful_op("NAME::scale", effect)
"""


@pytest.mark.parametrize("case", [SAFE_GLOBAL, EFFECT], ids=["safe global", "effect"])
def test_registries_of_torch_without_functions(tmp_path: Path, case: str) -> None:
    world = World(tmp_path, case)
    world.version("v1", 1.0)
    world.version("v2", 1.0, EXTRA)
    with refused(world.name, "_splint_.*", "_splint_.*"):
        world.version("v3", 2.0)
    with refused(world.name, "_splint_.*", "the application"):
        world.host(2.0)


AGAIN = """
    def again():
        return torch.library.custom_op("NAME::scale", twenty_times, mutates_args=())

    def twenty_times(x: torch.Tensor) -> torch.Tensor:
        return x * 20
"""


def test_registries_a_version_may_register_again_itself(tmp_path: Path) -> None:
    first = World(tmp_path, CUSTOM_OP + AGAIN).version("v1", 1.0)
    import torch

    assert first.again()(torch.ones(1)) == 20


def test_registries_a_shared_registration_stays_as_it_is(tmp_path: Path) -> None:
    world = World(tmp_path, CUSTOM_OP + AGAIN)
    first, second = world.version("v1", 1.0), world.version("v2", 1.0, EXTRA)
    for module in (first, second):
        with pytest.raises(RegistrationError):
            module.again()
    assert first.use() == second.use() == 1.0


def test_registries_a_refused_import_leaves_the_first_whole(tmp_path: Path) -> None:
    """The operator is equal, its formula for gradients is not."""
    world = World(tmp_path, CUSTOM_OP)
    first = world.version("v1", 1.0)
    world.text = world.text.replace("grad * FACTOR", "grad * 7")
    with pytest.raises(RegistrationError, match="scale for autograd"):
        world.version("v2", 1.0)
    assert first.use() == 1.0


def test_registries_a_refusal_that_old_code_passes_over_is_told(tmp_path: Path) -> None:
    text = COPYREG.replace("copyreg.pickle(Third, reduce)", "REGISTER")
    world = World(tmp_path, text.replace("REGISTER", "copyreg.pickle(Third, reduce)"))
    world.version("v1", 1.0)
    register = """
    try:
        copyreg.pickle(Third, reduce)
    except Exception:
        pass
    """
    world.text = textwrap.dedent(text).replace("REGISTER", textwrap.dedent(register))
    pattern = "reduction function 'third_.*' of code_.* of _splint_.*: none -> .*that of code_"
    with pytest.warns(AuditWarning, match=pattern):
        second = world.version("v2", 2.0)
    assert second.use() == 1.0


ASKED = """
    import torch

    if not QUESTION:
        @torch.library.custom_op("NAME::scale", mutates_args=())
        def scale(x: torch.Tensor) -> torch.Tensor:
            return x * FACTOR

    def use():
        return torch.ops.NAME.scale(torch.ones(1)).item()
"""
questions = (
    'hasattr(torch.ops.NAME, "scale")',
    "getattr(torch.ops.NAME, 'scale', None)",
    'torch._C._dispatch_has_kernel("NAME::scale")',
)


@pytest.mark.parametrize("question", questions)
def test_registries_an_operator_of_another_version_is_told_of(
    question: str, tmp_path: Path
) -> None:
    """Who asks torch first never registers, so that there is nothing to compare."""
    world = World(tmp_path, ASKED.replace("QUESTION", question))
    world.version("v1", 1.0)
    pattern = rf"torch operator '{world.name}::scale': its own -> that of code_.* of _splint_"
    with pytest.warns(AuditWarning, match=pattern):
        assert world.version("v2", 2.0).use() == 1.0
    assert World(tmp_path / "v1", "def use():\n    return 'NAME'").version("other", 0.0).use()


def test_registries_an_operator_of_the_application_is_told_of(tmp_path: Path) -> None:
    world = World(tmp_path, ASKED.replace("QUESTION", questions[0]))
    world.host(1.0)
    pattern = rf"torch operator '{world.name}::scale': its own -> that of code_.* of the appl"
    with pytest.warns(AuditWarning, match=pattern):
        world.version("v2", 2.0)


def test_registries_operators_of_shared_modules_are_no_news(tmp_path: Path) -> None:
    world = World(tmp_path, ASKED.replace("QUESTION", questions[0]))
    world.host(1.0)
    module = f"code_{world.name}"
    top = tmp_path / "user"
    top.mkdir()
    (top / "user.py").write_text(f"import {module}, torch\nscale = torch.ops.{world.name}.scale\n")
    assert codevault.load_code(top, shared=[module]).import_module("user").scale


def test_registries_operators_can_be_copied(tmp_path: Path) -> None:
    scale = World(tmp_path, CUSTOM_OP).version("v1", 3.0).scale
    assert vars(copy.copy(scale)) == vars(scale)


def test_registries_error_is_a_codevault_error_with_a_reference(tmp_path: Path) -> None:
    world = World(tmp_path, COPYREG)
    world.version("v1", 1.0)
    with pytest.raises(CodevaultError) as raised:
        world.version("v2", 2.0)
    error = raised.value
    assert isinstance(error, RuntimeError)
    assert error.reference == "registration-conflict"
    assert str(tmp_path) not in error.hint
    assert error.what.count(f"code_{world.name}.py:") == 2


def test_registries_one_of_two_threads_is_first() -> None:
    """The second thread's version arrives while the first one's is being registered."""
    held: dict[str, Any] = {}
    inside, go = threading.Semaphore(0), threading.Event()

    def real(name: str, function: Any) -> None:
        inside.release()
        go.wait(10)
        held[name] = function

    def read(name: str, function: Any) -> Iterator[Claim]:
        existing = {"function": held[name]} if name in held else None
        yield Claim("thing", name, ("threads", name), {"function": function}, existing)

    register = guard(real, Rule(read), ())
    errors: list[RegistrationError] = []

    def version(number: int) -> None:
        space = {"__name__": f"_splint_{number:012x}_{number:012x}.ops", "register": register}
        try:
            exec(f"register('scale', lambda: {number})", space)
        except RegistrationError as error:
            errors.append(error)

    threads = [threading.Thread(target=version, args=(number,)) for number in (1, 2)]
    for thread in threads:
        thread.start()
        inside.acquire(timeout=0.3)
    go.set()
    for thread in threads:
        thread.join()
    assert len(errors) == 1
    assert held["scale"]() == 1
