"""Whether the policy that was built does what the one in the old file does."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from codevault.convert.observations import NONE
from codevault.errors import ConvertError
from codevault.manifest import escaped
from codevault.probe import replay
from codevault.probefile import from_bytes

if TYPE_CHECKING:
    from codevault.convert.parent import Unpickled
    from codevault.convert.request import Request


def proven(request: Request, policy: Any, found: Unpickled) -> tuple[str, ...]:
    """Compares the policy with the one in the file, where there was one.

    Raises:
        ConvertError: They differ, or they cannot be compared and arguments were guessed.
    """
    facts = found.facts
    if "class" not in facts:
        return ("the file holds no policy to compare with: the probe is what it gives today",)
    guess = facts.get("guess") or {}
    words = [
        w for n, d in guess.get("arguments", {}).items() for w in ("--arg", f"{n}={json.dumps(d)}")
    ]
    line = request.line("--class", guess["class_path"], *words) if guess else request.line()
    if found.probe is not None:
        compared = replay(policy, from_bytes(found.probe))
        if not compared.ok:
            raise ConvertError(
                "the policy that was built does not give what the one in the file gives",
                f"{compared}; built with {json.dumps(guess.get('arguments', request.arguments))}",
                line,
            )
        return ("it gives what the policy in the file gives",)
    why = escaped(str(facts.get("probe_error", "there is no probe")))
    if guess and guess.get("arguments") and request.probe != NONE:
        raise ConvertError("the policy in the file could not be run to compare with it", why, line)
    return (f"not compared with the policy in the file: {why}",)
