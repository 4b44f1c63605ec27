"""What a load with the application's own code says where it fails: the diagnosis."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Final

from codevault.errors import (
    BuildError,
    CodeError,
    CodevaultError,
    ProbeError,
    RefusedError,
    StateDictError,
)

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Sequence

    from codevault.checkpointcode import CachePath
    from codevault.evolve.diagnosis import Diagnosis
    from codevault.evolve.rules import Rules
    from codevault.trust import Trust

_LINES: Final = 5
"""How many causes a message names; the error's `diagnosis` has all."""
_LEFT: Final = 400
"""How much is said of what is left after the rules."""
_KINDS = (CodeError, BuildError, StateDictError, ProbeError)


@contextlib.contextmanager
def diagnosed(
    uri: str | os.PathLike[str],
    env: Any,
    chain: Sequence[Rules],
    trust: Trust,
    cache: CachePath,
) -> Iterator[None]:
    """Turns what keeps a policy from running in the current code into all that does.

    The diagnosis is made without the rules of the repository, `chain`; the message says so.

    Raises:
        CodevaultError: Of the kind that was raised, with the diagnosis as its `diagnosis`; of the
            current code's own exceptions a BuildError. As it was, where there is no diagnosis.
    """
    try:
        yield
    except (RefusedError, Warning):
        raise
    except Exception as error:
        if isinstance(error, CodevaultError) and not isinstance(error, _KINDS):
            raise
        found = _diagnosis(uri, env, trust, cache)
        if not found:
            raise
        kind = type(error) if isinstance(error, _KINDS) else BuildError
        first = (
            error.what if isinstance(error, CodevaultError) else f"{type(error).__name__}: {error}"
        )
        names = ", ".join(rules.name for rules in chain)
        new = kind(
            f"{found.uri} does not run in the current code{names and f', by {names}'}: {first}",
            _after(error, names) + _causes(found),
            found.works or found.next,
        )
        new.diagnosis = found
        raise new from error


def _after(error: Exception, names: str) -> str:
    """What is left after the rules, if there are any."""
    if not names:
        return ""
    why = error.why if isinstance(error, CodevaultError) else ""
    left = f"{why[:_LEFT]}{'…' * (len(why) > _LEFT)}\n       " if why else ""
    return f"{left}before any rule: "


def _causes(found: Diagnosis) -> str:
    lines = [f"{cause.family}: {cause.text.splitlines()[0]}" for cause in found.causes]
    more = len(lines) - _LINES
    last = [f"and {more} more, which codevault diagnose prints"] if more > 0 else []
    return "\n       ".join([*lines[:_LINES], *last])


def _diagnosis(
    uri: str | os.PathLike[str], env: Any, trust: Trust, cache: CachePath
) -> Diagnosis | None:
    from codevault.evolve.diagnose import diagnose

    try:
        return diagnose(uri, env=env, trust=trust, cache=cache)
    except Exception:
        return None  # what was raised first says more than what kept it from being explained
