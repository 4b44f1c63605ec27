# mypy: ignore-errors
"""Calls into Hydra: `_target_` strings, the plugin namespace, a config store, packaged configs."""

import os
import tempfile

import hydra
from hydra import compose, initialize, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from hydra.utils import get_class, get_method, instantiate


class Thing:
    def __init__(self, size, inner=None):
        self.size, self.inner = size, inner


def run():
    here = f"{Thing.__module__}.Thing".rpartition("compat_exercise")
    target = "".join(here[1:])
    made = instantiate({"_target_": target, "size": 3, "inner": {"_target_": target, "size": 4}})
    yield made.size, made.inner.size, type(made) is Thing, type(made.inner) is Thing
    yield get_class("hydra.core.config_store.ConfigStore") is ConfigStore
    yield get_method("hydra.utils.instantiate") is instantiate
    yield instantiate({"_target_": "hydra.utils.get_class", "path": target}) is Thing
    part = instantiate({"_target_": target, "_partial_": True, "size": 1})
    yield type(part).__name__, part.func is Thing
    plugins = Plugins.instance()
    yield sorted(plugin.__name__ for plugin in plugins.discover())
    store = ConfigStore.instance()
    store.store(
        name="base", node={"rate": 0.5, "thing": {"_target_": target, "size": "${oc.decode:'7'}"}}
    )
    GlobalHydra.instance().clear()
    with initialize(version_base=None):
        config = compose("base", overrides=["rate=2", "+extra=[1,2]"])
        yield dict(config, thing=None), instantiate(config.thing).size
    with initialize(version_base=None):
        whole = compose("base", return_hydra_config=True)
        yield sorted(whole.hydra), whole.hydra.sweeper._target_, whole.hydra.job_logging.version
    with tempfile.TemporaryDirectory() as folder:
        with open(os.path.join(folder, "top.yaml"), "w") as file:
            file.write("defaults:\n  - base\n  - _self_\nrate: 3\n")
        with initialize_config_dir(folder, version_base=None):
            yield compose("top").rate
    GlobalHydra.instance().clear()
    yield hydra.__version__
