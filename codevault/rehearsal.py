"""The rehearsal of a load: in a fresh process with an empty cache, before a save returns."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING, Final

import codevault_cache
import codevault_importhook
from codevault.errors import CaptureError

if TYPE_CHECKING:
    from codevault.manifest import Manifest

_CHILD: Final = """\
import json, sys
ours, shared = json.loads(sys.argv[3])
sys.path[:] = [*ours, *sys.path, *shared]
import codevault
try:
    codevault.load_policy(sys.argv[1], trust=["sha256:" + sys.argv[2]])
except codevault.errors.CodevaultError as error:
    with open(sys.argv[4], "w", encoding="utf-8") as file:
        json.dump(error.diagnostics(), file)
    raise
"""
_SECONDS: Final = 600
_HINT: Final = "capture what is missing (include=, roots=), or save with rehearse=False"
_HINTS: Final = {
    "state-dict": "save_policy(..., architecture=...)  # with the arguments that it was made with",
    "probe-mismatch": "self.register_buffer(name, tensor)  # what is no parameter, buffer or "
    "argument of the architecture is not saved",
}
"""What helps, by the reference of the load's error: its own hint is about a file that is gone."""


def rehearse(path: str, manifest: Manifest) -> None:
    """Loads the checkpoint at `path` and replays its probe, in a process that knows nothing else.

    What is shared stays the application's: where there is such code, it finds what this process
    finds. Own names are never looked up there.

    Raises:
        CaptureError: That failed; the message says why, if need be in the child's last words.
    """
    with tempfile.TemporaryDirectory(prefix="codevault-rehearsal-") as folder:
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        for name in ("CODEVAULT_CACHE", "XDG_STATE_HOME", "XDG_CONFIG_HOME"):
            environment[name] = os.path.join(folder, name)
        shared = [os.path.abspath(entry) for entry in sys.path] if manifest.shared else []
        paths = json.dumps([our_folders(), shared])
        told = os.path.join(folder, "error.json")
        arguments = [os.path.abspath(path), manifest.checkpoint_digest, paths, told]
        try:
            done = subprocess.run(
                [sys.executable, "-P", "-c", _CHILD, *arguments],
                cwd=folder,
                env=environment,
                capture_output=True,
                text=True,
                timeout=_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise CaptureError(
                f"the rehearsal did not end within {_SECONDS} s", "", "save with rehearse=False"
            ) from None
        why, hint = _told(told, os.path.abspath(path))
        _make_removable(folder)
    if done.returncode:
        raise CaptureError(
            "the checkpoint does not load in a fresh process, so it was not kept",
            why or "\n".join(done.stderr.strip().splitlines()[-12:]),
            hint,
        )


def _told(file: str, path: str) -> tuple[str, str]:
    """Why the load failed, if by an error of ours, and what helps; `path` is gone by then."""
    try:
        with open(file, encoding="utf-8") as opened:
            error = json.load(opened)
    except (OSError, ValueError):
        return "", _HINT
    what = error["what"].replace(path, "the checkpoint")
    why = error["why"].replace(path, "the checkpoint")
    return f"{what}: {why}" if why else what, _HINTS.get(error["reference"], _HINT)


def our_folders() -> list[str]:
    """Where this codevault is imported from, unless it is installed like any package."""
    files = (__file__, codevault_cache.__file__, codevault_importhook.__file__)
    tops = [os.path.dirname(os.path.dirname(file or "")) for file in files]
    return [top for top in dict.fromkeys(tops) if os.path.basename(top) != "site-packages"]


def _make_removable(folder: str) -> None:
    """The cache's folders are read-only."""
    for here, _, _ in os.walk(folder):
        os.chmod(here, 0o700)
