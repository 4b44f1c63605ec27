# mypy: ignore-errors
"""Calls into six: the modules that it makes up, and what it makes of classes."""

import importlib

import six
import six.moves.urllib.parse as parse
from six.moves import configparser
from six.moves import range as six_range
from six.moves.urllib.error import HTTPError


def run():
    yield parse.urlencode([("a", 1), ("b", "x y")])
    yield list(six_range(3)), configparser.__name__, HTTPError.__module__
    yield importlib.import_module("six.moves.urllib").__name__
    yield importlib.import_module("six.moves.html_parser").HTMLParser.__qualname__
    yield sorted(name for name in dir(six.moves) if not name.startswith("_"))

    class Meta(type):
        def __new__(cls, name, bases, space):
            return super().__new__(cls, name, bases, {**space, "made": name})

    @six.python_2_unicode_compatible
    class Made(six.with_metaclass(Meta, dict)):
        pass

    yield Made.made, Made.__mro__[1].__name__
    six.add_move(six.MovedModule("shelf", "shelve", "shelve"))
    from six.moves import shelf

    yield shelf.__name__
    six.remove_move("shelf")
