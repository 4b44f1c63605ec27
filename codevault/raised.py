"""An exception of the code that a load runs: whose code raised it, and what helps."""

from __future__ import annotations

import contextlib
import os
import shlex
from typing import TYPE_CHECKING, Final

from codevault import packages
from codevault.errors import CodeError, CodevaultError, CodevaultWarning
from codevault.sharedpath import path_line
from codevault.splint import Splint
from codevault_cache import find_worktree

if TYPE_CHECKING:
    from collections.abc import Iterator

    from codevault.build import CodeVersion
    from codevault.manifest import Manifest

_OWN: Final = "codevault.load_policy(uri)  # runs it with its own code"


@contextlib.contextmanager
def explained(manifest: Manifest, code: CodeVersion) -> Iterator[None]:
    """Says of a module that is missing while code runs whose it is and what helps.

    Other exceptions of that code pass as they are, with a note of which code raised them.

    Args:
        manifest: Of the checkpoint.
        code: The version of the code that runs.

    Raises:
        CodeError: A module is missing.
    """
    try:
        yield
    except (CodevaultError, CodevaultWarning):
        raise
    except ModuleNotFoundError as error:
        raise _missing(error, manifest, code) from error
    except Exception as error:
        error.add_note(f"raised by {_whose(manifest, code)}")
        raise


def _whose(manifest: Manifest, code: CodeVersion) -> str:
    if not isinstance(code, Splint):
        return "the application's current code"
    place = f"commit {code.snapshot.commit or 'none'} of {code.snapshot.repo or 'no repository'}"
    if code.snapshot.digest != manifest.digest:
        return f"the code that was given: {place}"
    if manifest.repo is None:
        place = f"commit {manifest.commit} of code that travels in the checkpoint"
    return f"the checkpoint's own code: {place}"


def _missing(error: ModuleNotFoundError, manifest: Manifest, code: CodeVersion) -> CodeError:
    name = error.name or ""
    top = name.partition(".")[0]
    tops = {module.partition(".")[0] for module in manifest.modules}
    if not isinstance(code, Splint):
        if top in tops:
            what = f"the application's current code has no module {name!r}"
            return CodeError(what, str(error), _OWN)
        return _not_installed(error, top, "the application's current code", {})
    is_shared = any(f"{name}.".startswith(f"{shared}.") for shared in code.snapshot.shared)
    if is_shared and top not in manifest.packages:
        return CodeError(
            f"the checkpoint's code shares {name!r} with the application, which does not have it",
            str(error),
            f"export {path_line(top, find_worktree(os.getcwd()), manifest.roots)}",
        )
    if "in snapshot" not in str(error) and top not in tops:
        return _not_installed(error, top, "the checkpoint's code", manifest.packages)
    if code.snapshot.digest != manifest.digest:
        what = f"the code that was given has no module {name!r}"
        return CodeError(what, str(error), _OWN)
    lost = [path for path in manifest.left_out if path.endswith(".py")]
    return CodeError(
        f"the checkpoint's code needs its module {name!r}, which was not captured",
        f"{error}" + (f"; left out when it was saved: {', '.join(lost[:5])}" if lost else ""),
        "codevault.load_policy(uri, code=codevault.load_code(repo, commit, overlay={...}))",
    )


def _not_installed(
    error: ModuleNotFoundError, top: str, whose: str, recorded: dict[str, str]
) -> CodeError:
    """What names the distributions that may bring a module: an import's name is not theirs."""
    lacked = {n: version for n, version in recorded.items() if packages.installed(n) is None}
    same = {n: v for n, v in lacked.items() if packages.normal(n) == packages.normal(top)}
    wanted = [shlex.quote(f"{n}=={version}") for n, version in (same or lacked).items()]
    hint = f"python -m pip install {' '.join(wanted)}"
    return CodeError(
        f"{whose} needs the module {top!r}, which is not installed here",
        str(error),
        hint if wanted else f"install the distribution that brings {top!r}",
    )
