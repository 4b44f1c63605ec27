"""Where the loaded policies of this process came from; holds the public `provenance`."""

from __future__ import annotations

import shlex
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from codevault.errors import CodevaultError

if TYPE_CHECKING:
    from codevault.audit import Audit
    from codevault.contract import Contract
    from codevault.manifest import Manifest
    from codevault.probe import Replay
    from codevault.splint import Splint


@dataclass(frozen=True, slots=True)
class Provenance:
    """What is known of a policy that was loaded from a checkpoint.

    Attributes:
        uri: Where the checkpoint was read.
        path: The local file with its bytes.
        recorded: The checkpoint's manifest, or None for an old file; see `manifest`.
        architecture: The architecture that was built, plain data: as it stands in the checkpoint,
            or as rules made it.
        splint: The code the policy runs; None if it was built with the current code.
        allowed: Why its code was allowed to run.
        probe: The replay of the probe; None if there was none to replay or it was not asked for.
        packages: What was found against its packages and the shared names it uses, a text each.
        audit: What its code had changed in this process by then; None if it has no splint.
        contract: The contract that it was loaded with, or None.
        version: The version of its interface, by that contract.
        env: The recorded environment description likewise.
    """

    uri: str
    path: str
    recorded: Manifest | None
    architecture: dict[str, Any]
    splint: Splint | None
    allowed: str
    probe: Replay | None
    packages: tuple[str, ...] = ()
    audit: Audit | None = None
    contract: Contract | None = None
    version: str | None = None
    env: Any = None

    @property
    def manifest(self) -> Manifest:
        """The checkpoint's manifest.

        Raises:
            CodevaultError: It was no checkpoint but an old file, which has none.
        """
        if self.recorded is None:
            raise CodevaultError(
                f"{self.uri} is an old file, which says nothing of its code",
                "it was loaded with code of the caller",
                f"codevault convert {shlex.quote(self.uri)} -o new.mpt --repo URL --commit SHA",
            )
        return self.recorded


_known: dict[int, tuple[weakref.ref[Any], Provenance]] = {}


def remember(policy: Any, provenance: Provenance) -> None:
    """Keeps the provenance of `policy` for as long as the policy lives."""
    key = id(policy)
    _known[key] = (weakref.ref(policy, lambda _: _known.pop(key, None)), provenance)


def recall(policy: Any) -> Provenance | None:
    """The provenance of `policy`, or None."""
    entry = _known.get(id(policy))
    return entry[1] if entry is not None and entry[0]() is policy else None


def provenance(policy: Any) -> Provenance:
    """Where `policy` came from.

    Raises:
        CodevaultError: It was not loaded by `load_policy` in this process (a copy of such a policy
            is another object).
    """
    found = recall(policy)
    if found is None:
        raise CodevaultError(
            f"nothing is known of this {type(policy).__qualname__}",
            "it was not loaded by codevault.load_policy in this process, or it is a copy",
            "codevault show URI  # what a checkpoint says of itself",
        )
    return found
