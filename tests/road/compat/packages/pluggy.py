# mypy: ignore-errors
"""Calls into pluggy: hooks that are called by what a frame and a signature say."""

import sys
import types

import pluggy

spec, impl = pluggy.HookspecMarker("p"), pluggy.HookimplMarker("p")


class Specs:
    @spec
    def gather(self, value, extra):
        pass

    @spec(firstresult=True)
    def first(self, value):
        pass

    @spec(historic=True)
    def told(self, value):
        pass


class One:
    @impl(tryfirst=True)
    def gather(self, value):
        return f"one {value}"

    @impl(hookwrapper=True)
    def first(self, value):
        outcome = yield
        outcome.force_result((outcome.get_result(), "wrapped"))

    @impl
    def told(self, value):
        return value


def run():
    manager = pluggy.PluginManager("p")
    manager.add_hookspecs(Specs)
    manager.hook.told.call_historic(kwargs={"value": 5}, result_callback=(seen := []).append)
    module = types.ModuleType("plugin_module")
    module.gather = impl(lambda value, extra: f"two {value + extra}")
    module.first = impl(lambda value: value * 2)
    manager.register(One(), "one")
    manager.register(module)
    yield manager.hook.gather(value=1, extra=2), manager.hook.first(value=3), seen
    yield sorted(map(str, dict(manager.list_name_plugin()))), manager.has_plugin("one")
    trace = []
    manager.trace.root.setwriter(trace.append)
    undo = manager.enable_tracing()
    manager.hook.gather(value=4, extra=5)
    undo()
    yield [line.strip() for line in trace][:4]
    try:
        manager.register(type("Bad", (), {"gather": impl(lambda self, other: None)})())
    except pluggy.PluginValidationError as error:
        yield str(error).splitlines()[-2:]
    manager.set_blocked("third")
    yield manager.register(One(), "third"), manager.is_blocked("third")
    yield manager.subset_hook_caller("gather", [module])(value=1, extra=1)
    yield (
        manager.load_setuptools_entrypoints("no.such.group"),
        sorted(h.name for h in manager.get_hookcallers(module)),
    )
    yield sys.modules["pluggy"] is pluggy
