"""The errors a caller may catch: each says what happened, why, and one thing that works today."""

from __future__ import annotations

import errno
import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from codevault.evolve.diagnosis import Diagnosis

OK, FINDING, USAGE, FETCH, REFUSED = 0, 1, 2, 3, 4
"""Exit codes of the command line."""


class CodevaultError(Exception):
    """Base of all errors that codevault raises on purpose.

    Attributes:
        reference: Kebab-case name of the kind of error; stable, for scripts and searches.
        what: What happened, in one sentence.
        why: The cause, with the values that decide it.
        hint: One command or line that works today; may be empty.
        exit_code: What the command line exits with.
        diagnosis: All that keeps a checkpoint from running in the current code, where a load with
            that failed; else None.
    """

    reference = "error"
    exit_code = FINDING
    diagnosis: Diagnosis | None = None

    def __init__(self, what: str, why: str = "", hint: str = "") -> None:
        self.what, self.why, self.hint = what, why, hint
        super().__init__(what, why, hint)

    def diagnostics(self) -> dict[str, str]:
        """The parts of the error as plain data, for ``--json``."""
        return {
            "reference": self.reference,
            "what": self.what,
            "why": self.why,
            "hint": self.hint,
        }

    def __str__(self) -> str:
        lines = [f"{self.what} [{self.reference}]"]
        if self.why:
            lines.append(f"  why: {self.why}")
        if self.hint:
            lines.append(f"  do:  {self.hint}")
        return "\n".join(lines)


class UsageError(CodevaultError, ValueError):
    """What was asked for does not say enough, or goes against itself."""

    reference = "usage"
    exit_code = USAGE


class ContractError(CodevaultError, LookupError):
    """Two versions of the interface to the application cannot be joined."""

    reference = "contract"


class CheckpointError(CodevaultError, ValueError):
    """The file is no checkpoint, or a damaged one."""

    reference = "not-a-checkpoint"


class MissingCheckpointError(CheckpointError, FileNotFoundError):
    """There is no such file."""

    reference = "missing-checkpoint"

    def __init__(self, what: str, why: str = "", hint: str = "") -> None:
        super().__init__(what, why, hint)
        self.errno = errno.ENOENT


class TruncatedError(CheckpointError):
    """The checkpoint ends too early."""

    reference = "truncated-checkpoint"


class FormatVersionError(CheckpointError):
    """The checkpoint's format is newer than this codevault."""

    reference = "unknown-format-version"


class LegacyFormError(CheckpointError):
    """The file is a checkpoint of another kind: it needs `codevault convert` or code.

    Attributes:
        form: What it is, in words.
    """

    reference = "legacy-form"

    def __init__(self, what: str, why: str = "", hint: str = "", form: str = "") -> None:
        super().__init__(what, why, hint)
        self.form = form


class ConvertError(CodevaultError, ValueError):
    """An old file could not be made into a checkpoint."""

    reference = "convert"


class WeightsDigestError(CheckpointError):
    """The weights are not the bytes that were saved."""

    reference = "weights-digest"


class FetchError(CodevaultError, OSError):
    """The code could not be had from any origin."""

    reference = "fetch"
    exit_code = FETCH


def offline_line(error: CodevaultError, name: str) -> CodevaultError:
    """The error; where it is that fetching is forbidden, its line has all that a name needs.

    Args:
        error: What was raised, somewhere below where the name is known.
        name: What `prefetch` takes: a checkpoint's address, or a commit.
    """
    if error.reference != "offline":
        return error
    hint = f"CODEVAULT_OFFLINE=0 codevault prefetch {shlex.quote(name)}"
    found = FetchError(error.what, error.why, hint)
    found.reference = error.reference
    return found


class CodeError(CodevaultError, LookupError):
    """The code was found, but what was asked for is not in it or cannot be served."""

    reference = "code"


class RefusedError(CodevaultError, PermissionError):
    """Nothing grants this code the right to run here."""

    reference = "not-granted"
    exit_code = REFUSED


class CaptureError(CodevaultError, ValueError):
    """A live policy could not be turned into a checkpoint."""

    reference = "capture"


class BuildError(CodevaultError, TypeError):
    """The architecture could not be built into a policy."""

    reference = "build"


class StateDictError(CodevaultError, KeyError):
    """Weights and policy do not fit: keys missing or unexpected, or other shapes."""

    reference = "state-dict"
    __str__ = CodevaultError.__str__


class RulesError(CodevaultError, ValueError):
    """A rules file says what none may say, or cannot be read."""

    reference = "rules"
    exit_code = USAGE


class ProbeError(CodevaultError, RuntimeError):
    """The policy was loaded, but does not give the recorded outputs."""

    reference = "probe-mismatch"


class RegistrationError(CodevaultError, RuntimeError):
    """A process-wide registry holds other code under the name that this code registers."""

    reference = "registration-conflict"


class CodevaultWarning(UserWarning):
    """Base of findings that do not stop a load; `simplefilter("error", ...)` is the strict mode."""


class CodeChangedWarning(CodevaultWarning):
    """The work tree was edited after its modules were imported: the file may hold other code."""


class PackagesWarning(CodevaultWarning):
    """Installed packages differ from the recorded ones in a way that is known to matter."""


class AuditWarning(CodevaultWarning):
    """The old code changed process-wide state that can change results."""


class ProbeWarning(CodevaultWarning):
    """The probe could not be replayed, so nothing shows that the policy behaves as saved."""
