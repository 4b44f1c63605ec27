"""Generated packages for the import benchmarks, and the smallest source that serves one."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def write_tree(top: Path, modules: int) -> None:
    """A package of `modules` modules of 100 lines, and one of 2,000, importing earlier ones."""
    choose = random.Random(0)
    for sub in range(10):
        (top / f"src/big/s{sub}").mkdir(parents=True, exist_ok=True)
        (top / f"src/big/s{sub}/__init__.py").write_text("")
    (top / "src/big/__init__.py").write_text("")
    names = [f"big.s{i % 10}.m{i}" for i in range(modules)]
    forms = (
        "from {0} import C0 as D{1}",
        "import {0}",
        "import {0} as m{1}",
        "from {2} import m{1}",
    )
    for i, name in enumerate(names):
        lines = ["from __future__ import annotations", "import os, math, logging"]
        for j in sorted(choose.sample(range(i), min(3, i))):
            lines.append(choose.choice(forms).format(names[j], j, names[j].rpartition(".")[0]))
        for k in range(143 if i == modules - 1 else 7):
            lines += _block(i, k)
        (top / "src" / (name.replace(".", "/") + ".py")).write_text("\n".join(lines) + "\n")
    text = "\n".join(f"import {name}" for name in names)
    uses = f"""
def from_import():
    from {names[0]} import C0
def host_import():
    from json import dumps
"""
    (top / "src/big/main.py").write_text(text + uses)


def _block(i: int, k: int) -> list[str]:
    return [
        f"class C{k}:",
        f"    '''Doc of class {k} in module {i}.'''",
        f"    name: str = 'c{k}_{i}'",
        "    def __init__(self, a: int, b: float = 0.5, *, c=None):",
        "        self.a = a; self.b = b",
        f"        self.c = c or {{'k{k}': {k}, 'v': [1, 2, {k * 7 + 1000}]}}",
        "    def step(self, x, y):",
        "        z = [q * self.a for q in x if q > y]",
        f"        return sum(z) + len(z) * {k}.5",
        f"def f{k}(x, n={k}):",
        "    for j in range(n):",
        "        x = x + j if j % 2 else x - j",
        "    return x",
        "",
    ]


def write_flat_tree(top: Path, modules: int) -> None:
    """The same code as the files of one folder that import each other relatively.

    It is all that transformers' dynamic modules can serve.
    """
    folder = top / "src/big"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "__init__.py").write_text("")
    choose = random.Random(0)
    for i in range(modules):
        lines = ["from __future__ import annotations", "import os, math, logging"]
        lines += [
            f"from .m{j} import C0 as D{j}" for j in sorted(choose.sample(range(i), min(3, i)))
        ]
        for k in range(143 if i == modules - 1 else 7):
            lines += _block(i, k)
        (folder / f"m{i}.py").write_text("\n".join(lines) + "\n")
    text = "\n".join(f"from .m{i} import C0 as C{i}" for i in range(modules))
    (folder / "main.py").write_text(f"{text}\nclass Main:\n    pass\n")


class Folder:
    """The smallest `ModuleSource`; only the code pack's bytes are read and verified."""

    def __init__(self, top: str) -> None:
        self._top = top
        with open(f"{top}/listing.json", "rb") as file:
            listing = json.loads(file.read())
        self.digest: str = listing["digest"]
        self.paths: frozenset[str] = frozenset(listing["paths"])

    def read(self, path: str) -> bytes:
        """Not verified: only the preparation reads sources."""
        with open(f"{self._top}/{path}", "rb") as file:
            return file.read()

    def location(self, path: str) -> str:
        """Where the file lies."""
        return f"{self._top}/{path}" if path else self._top
