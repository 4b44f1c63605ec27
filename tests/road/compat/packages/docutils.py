# mypy: ignore-errors
"""Calls into Docutils: readers, parsers, writers and languages are modules named by strings."""

import docutils.core
import docutils.nodes
from docutils.parsers.rst import Directive, directives, roles

TEXT = """
Title
=====

.. contents::
.. shout:: a *b*

   ================  =====
   left              right
   ================  =====
   :loud:`one`       two |now|
   ================  =====

.. |now| replace:: later
.. note:: Some [#]_ note with ``code`` and `link <https://example.org>`_.
.. math:: \\frac{a}{b}
.. code:: python

   def f(): return 1

.. [#] A foot.
"""


class Shout(Directive):
    has_content = True
    required_arguments = 1
    final_argument_whitespace = True

    def run(self):
        box = docutils.nodes.container(classes=["loud"])
        self.state.nested_parse(self.content, self.content_offset, box)
        return [docutils.nodes.paragraph(text=self.arguments[0].upper()), box]


def loud(name, rawtext, text, lineno, inliner, options=None, content=()):
    return [docutils.nodes.strong(rawtext, text.upper())], []


def run():
    directives.register_directive("shout", Shout)
    roles.register_local_role("loud", loud)
    quiet = {"report_level": 5, "datestamp": None, "generator": None, "_disable_config": True}
    for writer in ("pseudoxml", "html5", "html4css1", "latex", "xml", "manpage", "xetex"):
        out = docutils.core.publish_string(
            TEXT, writer_name=writer, settings_overrides={**quiet, "output_encoding": "unicode"}
        )
        yield writer, out.splitlines()[-40:] if out else out
    for reader, parser in (("standalone", "restructuredtext"), ("standalone", "null")):
        tree = docutils.core.publish_doctree(
            "*x*", reader_name=reader, parser_name=parser, settings_overrides=quiet
        )
        yield reader, type(tree).__name__, len(tree.children)
    german = docutils.core.publish_string(
        ".. achtung:: Hallo",
        writer_name="pseudoxml",
        settings_overrides={**quiet, "language_code": "de", "output_encoding": "unicode"},
    )
    yield german
    try:
        docutils.core.publish_string("x", writer_name="no_such_writer", settings_overrides=quiet)
    except ImportError as error:
        yield type(error).__name__
