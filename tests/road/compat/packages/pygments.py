# mypy: ignore-errors
"""Calls into Pygments: modules that replace themselves, lexers found by tables of strings."""

import pickle

import pygments
import pygments.formatters
import pygments.lexers
import pygments.styles
from pygments import highlight, token
from pygments.filters import get_all_filters
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer, get_lexer_by_name, guess_lexer

CODE = "class A(B):\n    '''doc'''\n    def f(self): return f'{self!r:>{10}}' + 0x1F\n"


def run():
    yield type(pygments.lexers).__name__, type(pygments.formatters).__name__
    for name in ("python", "rst", "html+jinja", "c++", "rust", "sql", "bash"):
        lexer = get_lexer_by_name(name)
        yield type(lexer).__name__, [(str(t), v) for t, v in lexer.get_tokens(CODE)][:12]
    for name in ("html", "latex", "terminal256", "svg", "rtf", "bbcode"):
        formatter = pygments.formatters.get_formatter_by_name(name)
        out = highlight(CODE, PythonLexer(), formatter)
        yield name, type(formatter).__name__, out if isinstance(out, str) else repr(out)
    yield type(guess_lexer("#!/usr/bin/python3\nprint(1)")).__name__
    yield [pygments.styles.get_style_by_name(n).__name__ for n in ("monokai", "vs", "default")]
    yield HtmlFormatter(style="friendly").get_style_defs(".x")[:300]
    yield sorted(get_all_filters()), token.Token.Name.Function in token.Token.Name
    yield pickle.loads(pickle.dumps(token.Token.Text)) is token.Token.Text
    for wrong in (lambda: get_lexer_by_name("nope"), lambda: pygments.lexers.NoSuchLexer):
        try:
            wrong()
        except Exception as error:
            yield type(error).__name__
    yield pygments.lexers.JavaLexer.__name__, pygments.lexers.find_lexer_class("Go").__name__
