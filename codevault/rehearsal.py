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
codevault.load_policy(sys.argv[1], trust=["sha256:" + sys.argv[2]])
"""
_SECONDS: Final = 600


def rehearse(path: str, manifest: Manifest) -> None:
    """Loads the checkpoint at `path` and replays its probe, in a process that knows nothing else.

    What is shared stays the application's: where there is such code, it finds what this process
    finds. Own names are never looked up there.

    Raises:
        CaptureError: That failed; the child's last words are in the message.
    """
    with tempfile.TemporaryDirectory(prefix="codevault-rehearsal-") as folder:
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        for name in ("CODEVAULT_CACHE", "XDG_STATE_HOME", "XDG_CONFIG_HOME"):
            environment[name] = os.path.join(folder, name)
        shared = [os.path.abspath(entry) for entry in sys.path] if manifest.shared else []
        paths = json.dumps([our_folders(), shared])
        arguments = [os.path.abspath(path), manifest.checkpoint_digest, paths]
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
        _make_removable(folder)
    if done.returncode:
        raise CaptureError(
            "the checkpoint does not load in a fresh process, so it was not kept",
            "\n".join(done.stderr.strip().splitlines()[-12:]),
            "capture what is missing (include=, roots=), or save with rehearse=False",
        )


def our_folders() -> list[str]:
    """Where this codevault is imported from, unless it is installed like any package."""
    files = (__file__, codevault_cache.__file__, codevault_importhook.__file__)
    tops = [os.path.dirname(os.path.dirname(file or "")) for file in files]
    return [top for top in dict.fromkeys(tops) if os.path.basename(top) != "site-packages"]


def _make_removable(folder: str) -> None:
    """The cache's folders are read-only."""
    for here, _, _ in os.walk(folder):
        os.chmod(here, 0o700)
