"""One side of a comparison: a version of the code, what it built, or why it could not."""

from __future__ import annotations

import linecache
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from codevault.build import build, check_kept, own
from codevault.errors import CodevaultError
from codevault.manifest import escaped
from codevault.probe import SEED
from codevault.probecopy import seeded
from codevault_importhook import strip

if TYPE_CHECKING:
    from codevault.build import CodeVersion

_MOST: Final = 300


@dataclass(frozen=True, slots=True)
class Side:
    """A version of the code.

    Attributes:
        code: Where names are looked up; None if the code could not be had.
        label: What it is, for people.
        failure: Why the code could not be had; empty if it could.
        place: The repository that the caller named, as a path; None where it has another address.
        is_folder: Whether that place is meant as it is now, and no commit of it.
        fresh: Whether the splint was mounted for the diagnosis, and goes when that is made.
    """

    code: CodeVersion | None
    label: str
    failure: str = ""
    place: str | None = None
    is_folder: bool = False
    fresh: bool = False

    def find(self, name: str) -> Any:
        """The class or function of that name, or raises whatever looking for it raises."""
        if self.code is None:
            raise CodevaultError(f"{self.label} is not there", self.failure)
        with self.code.resolving():
            return own(self.code, name)

    def is_own(self, module: str) -> bool:
        """Whether a loaded module's name is this code's own, or shared."""
        return self.code is not None and self.code.defines(module)


@dataclass(frozen=True, slots=True)
class Built:
    """What a side built.

    Attributes:
        policy: The policy; None if it could not be built.
        failure: Why not: the error, and the line of the code that raised it.
    """

    policy: Any
    failure: str = ""


def built(side: Side, description: dict[str, Any], env: Any) -> Built:
    """Builds a policy; what the code raises is the failure.

    Args:
        side: Where its code is.
        description: What `architecture.describe` gave, or an edit of it.
        env: The environment as recorded, or an object of the side's own.
    """
    if side.code is None:
        return Built(None, side.failure)
    try:
        with seeded(SEED):  # what both sides draw is no difference
            policy = build(description, side.code, env)
        check_kept(policy, description["class_path"])
    except Exception as error:
        return Built(None, told(error, side))
    return Built(policy)


def told(error: BaseException, side: Side) -> str:
    """An error in one line, and the deepest line of the side's own code that it came through."""
    if isinstance(error, CodevaultError):
        text = f"{error.what}: {error.why}" if error.why else error.what
    else:
        text = f"{type(error).__name__}: {error}"
    text = escaped(" ".join(text.split()))[:_MOST]
    for frame, line in reversed(list(traceback.walk_tb(error.__traceback__))):
        module = str(frame.f_globals.get("__name__", ""))
        if side.is_own(module):
            code = linecache.getline(frame.f_code.co_filename, line, frame.f_globals).strip()
            return f"{text}\n  {strip(module)}:{line}: {escaped(code)}"
    return text
