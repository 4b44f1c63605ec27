# mypy: ignore-errors
"""Calls into Lark: grammars as package data, parsers that are pickled and generated as source."""

import io

import lark
from lark import Lark, Transformer, Tree, v_args
from lark.indenter import PythonIndenter

GRAMMAR = """
?start: sum
?sum: product | sum "+" product -> add | sum "-" product -> sub
?product: atom | product "*" atom -> mul
?atom: NUMBER -> number | "-" atom -> neg | "(" sum ")"
%import common.NUMBER
%import common.WS_INLINE
%ignore WS_INLINE
"""


@v_args(inline=True)
class Calculate(Transformer):
    from operator import add, mul, neg, sub

    number = float


def run():
    for options in ({"parser": "lalr"}, {"parser": "earley"}, {"parser": "lalr", "lexer": "basic"}):
        tree = Lark(GRAMMAR, **options).parse("1 + 2 * -(3 - 4)")
        yield tree.pretty(), Calculate().transform(tree), type(tree) is Tree
    yield Lark(GRAMMAR, parser="lalr", transformer=Calculate()).parse("2 * 3 + 4")
    buffer = io.BytesIO()
    Lark(GRAMMAR, parser="lalr").save(buffer)
    buffer.seek(0)
    yield Lark.load(buffer).parse("1+1").pretty()
    python = Lark.open_from_package(
        "lark",
        "python.lark",
        ["grammars"],
        parser="lalr",
        postlex=PythonIndenter(),
        start="file_input",
    )
    yield python.parse("def f(x):\n    return x ** 2\n").pretty()[:200]
    try:
        Lark(GRAMMAR, parser="lalr").parse("1 + + 2")
    except lark.UnexpectedInput as error:
        yield type(error).__name__, error.get_context("1 + + 2"), sorted(error.accepts or ())
    from lark.reconstruct import Reconstructor

    parser = Lark(
        'start: "a" WORD ";"\n%import common.WORD\n', parser="lalr", maybe_placeholders=False
    )
    yield Reconstructor(parser).reconstruct(parser.parse("abc;"))
    from lark.tools.standalone import gen_standalone

    out = io.StringIO()
    made = Lark('start: "x"+\n', parser="lalr")
    gen_standalone(made, out=out)
    space = {"__name__": "standalone"}
    exec(out.getvalue(), space)
    yield str(space["Lark_StandAlone"]().parse("xx"))
