# mypy: ignore-errors
"""Calls into cloudpickle: code by value, and functions found again by their module's name."""

import pickle
import types

import cloudpickle


def named(x):
    return x + 1


def run():
    offset = 3

    class Local:
        factor = 2

        def times(self, x):
            return self.factor * x + offset

    one = pickle.loads(cloudpickle.dumps(Local))()
    yield one.times(4), type(one).__name__
    yield cloudpickle.loads(cloudpickle.dumps(lambda x: named(x) * offset))(2)
    yield pickle.loads(cloudpickle.dumps(named)) is named
    made = types.ModuleType("made_module")
    exec("def f(): return 7", made.__dict__)
    yield cloudpickle.loads(cloudpickle.dumps(made)).f()
    yield b"compat_exercise" in cloudpickle.dumps(named)
    for thing in (cloudpickle.CloudPickler, cloudpickle.dumps):
        yield pickle.loads(cloudpickle.dumps(thing)) is thing
    cloudpickle.register_pickle_by_value(__import__("compat_exercise"))
    again = pickle.loads(cloudpickle.dumps(named))
    yield again is named, again(1), again.__module__.endswith("compat_exercise")
    cloudpickle.unregister_pickle_by_value(__import__("compat_exercise"))
