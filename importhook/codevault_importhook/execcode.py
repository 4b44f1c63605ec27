"""Code that old code runs from a text: `exec`, `eval` and `compile` follow the mount's rules."""

from __future__ import annotations
import __future__

import ast
import copy
import functools
from sys import _getframe
from typing import TYPE_CHECKING, Any, Final

from codevault_importhook.rewrite import compile_tree, rewrite

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from codevault_importhook.mount import Mount

_FUTURES: Final = sum(getattr(__future__, f).compiler_flag for f in __future__.all_feature_names)


def _tree(mount: Mount, source: Any, mode: str) -> Any:
    """The rewritten tree of a text that may import; anything else as it is."""
    modules = {name.partition(".")[0] for name in mount.rules.stand_ins} - {"builtins", "object"}
    if isinstance(source, str | bytes | bytearray):
        text = source if isinstance(source, str) else source.decode(errors="replace")
        if any(word in text for word in ("import", "module", *modules)):
            try:
                source = ast.parse(text.lstrip(" \t") if mode == "eval" else source, mode=mode)
            except (SyntaxError, ValueError):
                return source  # the builtin says what is wrong
    elif isinstance(source, ast.AST):
        source = copy.deepcopy(source)
    if isinstance(source, ast.AST):
        rewrite(source, mount.rules, mount.name, frozenset(modules))
    return source


def _code(mount: Mount, source: Any, mode: str, frame: FrameType) -> Any:
    """What `exec` or `eval`, called from `frame`, gets in place of `source`."""
    tree = _tree(mount, source, mode)
    if not isinstance(tree, ast.AST):
        return tree
    return compile_tree(tree, "<string>", mode, frame.f_code.co_flags & _FUTURES)


def code_of(mount: Mount, mode: str) -> Callable[[Any], Any]:
    """What `exec` or `eval` in a mount's code gets in place of its first argument."""
    return lambda source: _code(mount, source, mode, _getframe(1))


def function_of(mount: Mount, builtin: Callable[..., Any]) -> Callable[..., Any]:
    """The `exec` or `eval` of a mount's code where it is a value."""

    @functools.wraps(builtin)
    def run(source: Any, /, globals: Any = None, locals: Any = None, *, closure: Any = None) -> Any:
        frame = _getframe(1)
        if globals is None:
            globals = frame.f_globals
            locals = frame.f_locals if locals is None else locals
        code = _code(mount, source, builtin.__name__, frame)
        more = {} if closure is None else {"closure": closure}
        return builtin(code, globals, locals, **more)

    return run


def compile_of(mount: Mount) -> Callable[..., Any]:
    """The `compile` of a mount's code."""

    @functools.wraps(compile)
    def compile_(
        source: Any,
        filename: Any,
        mode: str,
        flags: int = 0,
        dont_inherit: bool = False,
        optimize: int = -1,
        **options: Any,
    ) -> Any:
        if not dont_inherit:
            flags |= _getframe(1).f_code.co_flags & _FUTURES
        if flags & ast.PyCF_ONLY_AST:  # the tree of what was written; running it comes here again
            return compile(source, filename, mode, flags, True, optimize, **options)
        tree = _tree(mount, source, mode)
        if isinstance(tree, ast.AST) and not isinstance(source, ast.AST) and not options:
            return compile_tree(tree, filename, mode, flags, optimize)
        return compile(tree, filename, mode, flags, True, optimize, **options)

    return compile_
