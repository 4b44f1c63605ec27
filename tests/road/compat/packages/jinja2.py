# mypy: ignore-errors
# ruff: noqa: RUF012
"""Calls into Jinja: templates become Python code, extensions are named by strings."""

import jinja2
import jinja2.sandbox
from jinja2 import nodes
from jinja2.ext import Extension

TEMPLATES = {
    "base": "<{% block body %}base{% endblock %}>",
    "page": "{% extends 'base' %}{% import 'macros' as m %}{% block body %}"
    "{{ super() }}{% for i in range(3) if i != 1 %}{{ m.twice(i) }}{{ loop.index }},{% endfor %}"
    "{% endblock %}",
    "macros": "{% macro twice(x) %}{{ x * 2 }}{% endmacro %}",
}


class Shout(Extension):
    tags = {"shout"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endshout"], drop_needle=True)
        return nodes.CallBlock(self.call_method("_shout"), [], [], body).set_lineno(line)

    def _shout(self, caller):
        return caller().upper()


def run():
    environment = jinja2.Environment(
        loader=jinja2.DictLoader(TEMPLATES),
        extensions=["jinja2.ext.do", "jinja2.ext.loopcontrols", Shout],
    )
    yield environment.get_template("page").render()
    yield environment.from_string("{% shout %}loud {{ x|join('-') }}{% endshout %}").render(x="abc")
    yield environment.from_string("{% set l = [] %}{% do l.append(1) %}{{ l }}").render()
    yield environment.compile("a{{ b }}", raw=True)
    sandbox = jinja2.sandbox.SandboxedEnvironment()
    try:
        sandbox.from_string("{{ ().__class__.__subclasses__() }}").render()
    except jinja2.exceptions.SecurityError as error:
        yield str(error)
    try:
        environment.from_string("{{ nothing.at.all }}").render()
    except jinja2.UndefinedError as error:
        yield str(error)
    native = __import__("jinja2.nativetypes", fromlist=["NativeEnvironment"]).NativeEnvironment()
    yield native.from_string("{{ [1, 2] + [x] }}").render(x=3)
    yield jinja2.PackageLoader("jinja2", "").list_templates()[:2]
