# mypy: ignore-errors
"""Calls into Rich: lazily imported parts, tables of cells, a traceback with its source."""

import io
from dataclasses import dataclass

from rich import box
from rich.console import Console
from rich.markdown import Markdown
from rich.panel import Panel
from rich.pretty import pretty_repr
from rich.progress import track
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text
from rich.tree import Tree


@dataclass
class Thing:
    name: str
    parts: list


def shown(*things, **options):
    console = Console(
        file=io.StringIO(),
        width=60,
        force_terminal=True,
        color_system="truecolor",
        legacy_windows=False,
        _environ={},
    )
    for thing in things:
        console.print(thing, **options)
    return console.file.getvalue()


def run():
    table = Table("a", "b", title="T", box=box.ROUNDED)
    table.add_row("[bold red]1[/]", "日本語 :sparkles:")
    yield shown(table), shown(Panel.fit("x", title="y")), shown("1.5 None True 'q'")
    yield shown(Markdown("# H\n\n- a\n- `b`\n\n| x | y |\n|---|---|\n| 1 | 2 |\n"))
    yield shown(Syntax("def f():\n    return 1", "python", line_numbers=True, theme="monokai"))
    tree = Tree("root")
    tree.add("[green]leaf").add(Text("deep", style="italic"))
    yield shown(tree), pretty_repr(Thing("n", [Thing("m", list(range(30)))]), max_width=40)
    try:
        {}["missing"]
    except KeyError:
        console = Console(file=io.StringIO(), width=70, _environ={}, record=True)
        console.print_exception(show_locals=False)
        yield [line for line in console.file.getvalue().splitlines() if "missing" in line]
    yield console.export_html()[:100], list(track([1, 2], console=console, disable=True))
    from rich.logging import RichHandler

    yield RichHandler.__name__, Text.from_ansi("\x1b[1mx\x1b[0m").markup
