# mypy: ignore-errors
"""Calls into ruamel.yaml: a namespace package, tags that name Python objects, plug-ins by path."""

import io

import ruamel.yaml
from ruamel.yaml import YAML, YAMLError, yaml_object
from ruamel.yaml.comments import CommentedMap

TEXT = "# top\na: &x [1, 2]  # one\nb:\n  <<: {c: 3}\n  d: *x\ne: !!timestamp 2020-01-02\nf: 0x1F\n"


def run():
    yaml = YAML()
    data = yaml.load(TEXT)
    data["b"]["new"] = 1.50
    out = io.StringIO()
    yaml.dump(data, out)
    yield out.getvalue(), type(data) is CommentedMap, data.ca.comment is not None
    for kind in ("safe", "unsafe", "base"):
        yield kind, repr(YAML(typ=kind, pure=True).load(TEXT))
    shapes = YAML()

    @yaml_object(shapes)
    class Shape:
        yaml_tag = "!shape"

        def __init__(self, size):
            self.size = size

    out = io.StringIO()
    shapes.dump([Shape(3)], out)
    yield out.getvalue(), type(shapes.load(out.getvalue())[0]) is Shape
    try:
        yaml.load("a: [1")
    except YAMLError as error:
        yield type(error).__name__, str(error)
    unsafe = YAML(typ="unsafe", pure=True)
    named = unsafe.load("!!python/name:ruamel.yaml.comments.CommentedMap")
    yield named is CommentedMap, unsafe.load("!!python/name:compat_exercise.TEXT") is TEXT
    yield ruamel.yaml.version_info >= (0, 17), type(ruamel).__name__
