# mypy: ignore-errors
# ruff: noqa: RUF012
"""Calls into traitlets: classes named by strings, lazily resolved, and configuration files."""

import os
import tempfile

import traitlets
from traitlets import (
    Bool,
    Dict,
    Enum,
    Float,
    HasTraits,
    Instance,
    Int,
    List,
    TraitError,
    Type,
    Unicode,
    default,
    link,
    observe,
    validate,
)
from traitlets.config import Application, Config, Configurable, PyFileConfigLoader
from traitlets.utils.importstring import import_item


class Engine(Configurable):
    power = Float(1.0, help="Power.").tag(config=True)
    kind = Enum(["a", "b"], "a").tag(config=True)


class Car(HasTraits):
    engine = Instance("compat_exercise.Engine", ())
    engine_class = Type("compat_exercise.Engine", "traitlets.config.Configurable")
    wheels = List(Int(), [1, 2])
    names = Dict()
    changes = List()

    @default("names")
    def _names(self):
        return {"a": "b"}

    @validate("wheels")
    def _check(self, proposal):
        if len(proposal.value) > 4:
            raise TraitError("too many")
        return proposal.value

    @observe("wheels")
    def _seen(self, change):
        self.changes = [*self.changes, (change.old, change.new)]


class App(Application):
    name = Unicode("app")
    verbose = Bool(False).tag(config=True)
    classes = [Engine]
    aliases = {"power": "Engine.power"}
    flags = {"v": ({"App": {"verbose": True}}, "talk")}


def run():
    car = Car(wheels=[3])
    yield type(car.engine) is Engine, car.engine_class is Engine, car.names, car.changes
    for wrong in ({"wheels": [1] * 5}, {"wheels": ["x"]}, {"engine": 3}, {"engine_class": int}):
        try:
            Car(**wrong)
        except TraitError as error:
            yield str(error)
    yield (
        import_item("traitlets.config.Application") is Application,
        import_item("traitlets") is traitlets,
    )
    one, two = Car(), Car()
    link((one, "wheels"), (two, "wheels"))
    one.wheels = [9]
    yield two.wheels, sorted(Car.class_traits())
    with tempfile.TemporaryDirectory() as folder:
        with open(os.path.join(folder, "c.py"), "w") as file:
            file.write("c = get_config()\nc.Engine.power = 7.5\nc.Engine.kind = 'b'\n")
        loaded = PyFileConfigLoader("c.py", folder).load_config()
    engine = Engine(config=loaded)
    yield engine.power, engine.kind, type(loaded) is Config, dict(loaded)
    app = App()
    app.initialize(["--power=2.5", "-v", "--Engine.kind=b"])
    yield app.verbose, Engine(parent=app).power, Engine(parent=app).kind
    yield app.generate_config_file()[:300] if hasattr(app, "generate_config_file") else None
