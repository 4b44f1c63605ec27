"""A project as `[tool.codevault]` divides it: policy code, shared modules, and the application."""

from __future__ import annotations

import ast
import configparser
import os
import re
import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from codevault.errors import CodeError
from codevault.evolve.ownimports import modules_of
from codevault_cache.selection import default_roots, stated_in

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Part = Literal["policy", "shared", "application"]
_SKIPPED: Final = frozenset({"__pycache__", "node_modules", "build", "dist", "tests", "test"})
_TEST: Final = re.compile(r"(test_.*|.*_test|conftest|setup|noxfile)\.py")
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True, slots=True)
class Project:
    """A folder with code.

    Attributes:
        top: The folder.
        roots: Folders of the policies' import path, in order.
        shared: Dotted prefixes of modules that application and policies share.
        policies: Dotted prefixes of policy code; empty for all that the roots hold.
        modules: Path of each module below `top`, by its name.
        packages: Distributions that it declares, normalised; None if it declares none at all.
    """

    top: str
    roots: tuple[str, ...]
    shared: tuple[str, ...]
    policies: tuple[str, ...]
    modules: Mapping[str, str]
    packages: frozenset[str] | None

    def part(self, module: str) -> Part:
        """Whose a module is."""
        if within(module, self.shared):
            return "shared"
        if self.policies:
            return "policy" if within(module, self.policies) else "application"
        path = self.modules[module]
        rooted = any(root == "." or path.startswith(f"{root}/") for root in self.roots)
        return "policy" if rooted else "application"

    def read(self, module: str) -> bytes:
        """The source of a module."""
        with open(os.path.join(self.top, self.modules[module]), "rb") as file:
            return file.read()


def within(module: str, prefixes: tuple[str, ...]) -> bool:
    """Whether a dotted name is one of some, or lies below one."""
    return any(module == prefix or module.startswith(f"{prefix}.") for prefix in prefixes)


def project_at(top: str) -> Project:
    """Reads a project's folder; tests are left aside, since they may reach everything.

    Raises:
        CodeError: It has no Python files, or states prefixes that nothing has.
    """
    paths = sorted(_files(top))
    if not paths:
        raise CodeError(f"{top} has no Python files", "", "codevault lint FOLDER")
    content = _content(os.path.join(top, "pyproject.toml"))
    stated = stated_in(content)
    roots = stated.roots or default_roots(paths)
    policies = _policies(content)
    every = modules_of(paths, [*roots, *(["."] if "." not in roots else [])])
    by_path: dict[str, str] = {}
    for name in sorted(every, key=lambda name: (len(name), name)):
        by_path.setdefault(every[name], name)
    modules = {name: path for path, name in by_path.items()}
    for prefix in policies:
        if not any(within(name, (prefix,)) for name in modules):
            raise CodeError(
                f"{top} has no module {prefix}, which [tool.codevault] policies names",
                f"its top-level names: {', '.join(sorted({n.partition('.')[0] for n in modules}))}",
                f"edit {os.path.join(top, 'pyproject.toml')}",
            )
    shared = stated.shared or ()
    return Project(top, roots, shared, policies, modules, _declared(top, roots))


def _files(top: str) -> Iterator[str]:
    for here, folders, names in os.walk(top):
        folders[:] = [
            folder
            for folder in folders
            if not folder.startswith(".")
            and folder not in _SKIPPED
            and not os.path.exists(os.path.join(here, folder, "pyvenv.cfg"))
        ]
        for name in names:
            if name.endswith(".py") and not _TEST.fullmatch(name):
                yield os.path.relpath(os.path.join(here, name), top).replace(os.sep, "/")


def _content(path: str) -> bytes | None:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return None


def _table(content: bytes | None) -> dict[str, Any]:
    try:
        return tomllib.loads((content or b"").decode())
    except (ValueError, RecursionError):
        return {}


def _policies(content: bytes | None) -> tuple[str, ...]:
    stated: Any = _table(content).get("tool", {})
    found = stated.get("codevault", {}).get("policies", []) if isinstance(stated, dict) else []
    return tuple(found) if isinstance(found, list) and all(map(_text, found)) else ()


def _text(value: object) -> bool:
    return isinstance(value, str)


def _declared(top: str, roots: tuple[str, ...]) -> frozenset[str] | None:
    """Distributions that the project, and the folders around its roots, say they need."""
    folders = {""}
    for root in roots:
        parts = [] if root == "." else root.split("/")
        folders |= {"/".join(parts[:end]) for end in range(len(parts) + 1)}
    lines: list[str] = []
    for folder in folders:
        place = os.path.join(top, folder)
        table = _table(_content(os.path.join(place, "pyproject.toml")))
        lines += [*_of_pyproject(table), *_of_poetry(table)]
        lines += _of_setup_cfg(_content(os.path.join(place, "setup.cfg")))
        lines += _of_setup(_content(os.path.join(place, "setup.py")))
        said = _content(os.path.join(place, "requirements.txt")) or b""
        lines += said.decode("utf-8", "replace").splitlines()
    names = (_NAME.match(line.strip()) for line in lines)
    found = frozenset(normal(match[0]) for match in names if match)
    return found or None


def _of_pyproject(table: dict[str, Any]) -> list[str]:
    said = table.get("project", {})
    groups = [said.get("dependencies", []), *said.get("optional-dependencies", {}).values()]
    groups += table.get("dependency-groups", {}).values()
    return [line for group in groups if isinstance(group, list) for line in filter(_text, group)]


def _of_poetry(table: dict[str, Any]) -> list[str]:
    said = table.get("tool", {}).get("poetry", {})
    groups = [said.get("dependencies", {}), said.get("dev-dependencies", {})]
    groups += [group.get("dependencies", {}) for group in said.get("group", {}).values()]
    return [name for group in groups for name in group if name != "python"]


def _of_setup_cfg(content: bytes | None) -> list[str]:
    """What a setup.cfg lists as `install_requires` and extras."""
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string((content or b"").decode())
    except (configparser.Error, UnicodeDecodeError):
        return []
    texts = [parser.get("options", "install_requires", fallback="")]
    if parser.has_section("options.extras_require"):
        texts += [text for _, text in parser.items("options.extras_require")]
    return [line for text in texts for line in text.splitlines()]


def _of_setup(content: bytes | None) -> list[str]:
    """What a setup.py writes out as `install_requires` or `extras_require`."""
    try:
        tree = ast.parse(content or b"")
    except (SyntaxError, ValueError):
        return []
    wanted = [
        keyword.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        for keyword in node.keywords
        if keyword.arg in ("install_requires", "extras_require")
    ]
    inner = (node for value in wanted for node in ast.walk(value))
    return [n.value for n in inner if isinstance(n, ast.Constant) and isinstance(n.value, str)]


def normal(name: str) -> str:
    """The normalised name of a distribution."""
    return re.sub(r"[-_.]+", "-", name).lower()
