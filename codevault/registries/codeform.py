"""Code objects in the form in which two versions of them are equal.

What does not run is left out: the file, lines, names of functions, docstrings, and the splint's
name in front of imported names.
"""

from __future__ import annotations

import dis
import re
import sys
from dataclasses import dataclass
from types import CodeType
from typing import Any, Final

_SPLINT: Final = re.compile(r"_splint_[0-9a-f]{12}_[0-9a-f]{12}\.?")
_FLAGS: Final = 0x3FF
"""How the code is called and run; higher bits are what `from __future__` and the compiler noted."""
_OPTIMIZED: Final = 0x01


def plain(text: str) -> str:
    """A text without splints' names."""
    return _SPLINT.sub("", text) if "_splint_" in text else text


def form(code: CodeType) -> tuple[Any, ...]:
    """What two code objects must have equal to do the same with equal names."""
    constants = code.co_consts
    if _has_docstring(code):
        constants = (None, *constants[1:])
    return (
        (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount),
        code.co_flags & _FLAGS,
        code.co_code,
        code.co_exceptiontable,
        tuple(map(plain, code.co_names)),
        (code.co_varnames, code.co_freevars, code.co_cellvars),
        tuple(map(_constant, constants)),
    )


def _has_docstring(code: CodeType) -> bool:
    """Whether the first constant is one: a flag says so since Python 3.14."""
    if sys.version_info >= (3, 14):
        return bool(code.co_flags & 0x4000000)
    first = code.co_consts[0] if code.co_consts else None
    function = code.co_flags & _OPTIMIZED and not code.co_name.startswith("<")
    return bool(function) and isinstance(first, str)


def _constant(value: Any) -> Any:
    if isinstance(value, CodeType):
        return form(value)
    if isinstance(value, str):
        return plain(value)
    if isinstance(value, tuple):
        return (tuple, *map(_constant, value))
    if isinstance(value, frozenset):
        return (frozenset, frozenset(map(_constant, value)))
    return (type(value), repr(value))


def nested(code: CodeType) -> list[CodeType]:
    """A code object and all that stand inside it."""
    found = [code]
    for outer in found:
        found += [inner for inner in outer.co_consts if isinstance(inner, CodeType)]
    return found


@dataclass(frozen=True, slots=True)
class Uses:
    """The names by which code reaches other code.

    Attributes:
        names: Global names and builtins.
        attributes: Attributes of whatever it is.
        imports: Module name, level and names, of each import statement.
    """

    names: frozenset[str]
    attributes: frozenset[str]
    imports: tuple[tuple[str, int, tuple[str, ...]], ...]


def uses(code: CodeType) -> Uses:
    """What `code` and the functions inside it look up by name."""
    names: set[str] = set()
    attributes: set[str] = set()
    imports = []
    for inner in nested(code):
        attributes.update(inner.co_names)
        instructions = [i for i in dis.get_instructions(inner) if i.opname != "EXTENDED_ARG"]
        for place, instruction in enumerate(instructions):
            if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
                names.add(instruction.argval)
            elif instruction.opname == "IMPORT_NAME":
                level, taken = (instructions[place - back].argval for back in (2, 1))
                imports.append((instruction.argval, level or 0, tuple(taken or ())))
    return Uses(frozenset(names), frozenset(attributes), tuple(imports))
