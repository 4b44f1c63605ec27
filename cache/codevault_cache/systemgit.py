"""The last origin: the user's own git, for credentials that the wire library cannot do.

Kerberos, digests, client certificates and the like: git is asked for whole commits in a repository
that is thrown away, and its pack is read as any other.
"""

from __future__ import annotations

import glob
import os
import shutil
import subprocess
import tempfile
from typing import IO, TYPE_CHECKING

from codevault_cache.errors import CommitNotFound, Unreachable
from codevault_cache.failures import explained
from codevault_cache.limits import FETCH_SECONDS, PACK_BYTES, refuse_above
from codevault_cache.traffic import count

if TYPE_CHECKING:
    from collections.abc import Sequence

    from codevault_cache.address import Address

# The repository is a stranger's: no hooks, no helpers, no other transports, no questions.
_SAFE = (
    *("-c", "core.hooksPath=/dev/null", "-c", "fetch.unpackLimit=1", "-c", "protocol.allow=never"),
    *("-c", "protocol.http.allow=always", "-c", "protocol.https.allow=always"),
    *("-c", "gc.auto=0", "-c", "maintenance.auto=false", "-c", "core.askPass=true"),
)
_QUIET = {"GIT_TERMINAL_PROMPT": "0", "GIT_ASKPASS": "true", "SSH_ASKPASS": "true"}


class SystemGit:
    """One server, asked by the user's git."""

    version = 2

    def __init__(self, address: Address, seconds: float = FETCH_SECONDS) -> None:
        self.address = address
        self.seconds = seconds

    def tips(self, prefixes: Sequence[bytes]) -> set[str]:
        """As `Wire.tips`."""
        count(requests=1)
        out = self._git("ls-remote", "--", self._url(), wants=["its refs"])
        rows = (line.split("\t", 1) for line in out.splitlines() if "\t" in line)
        return {oid for oid, name in rows if name.encode().startswith(tuple(prefixes))}

    def fetch(
        self,
        file: IO[bytes],
        wants: Sequence[str],
        *,
        depth: int | None = None,
        filter_spec: str | None = None,
        limit: int = PACK_BYTES,
    ) -> None:
        """As `Wire.fetch`, but for commits only, and always with all that is in them."""
        del filter_spec
        kind = "sha256" if len(wants[0]) == 64 else "sha1"
        with tempfile.TemporaryDirectory(prefix="codevault-git-") as top:
            self._git("init", "-q", "--bare", f"--object-format={kind}", top, wants=wants)
            deep = [] if depth is None else [f"--depth={depth}"]
            fetch = ("-C", top, "fetch", "-q", "--no-tags", "--no-write-fetch-head", *deep)
            count(requests=1)
            self._git(*fetch, "--", self._url(), *wants, wants=wants)
            packs = glob.glob(os.path.join(glob.escape(top), "objects", "pack", "*.pack"))
            if len(packs) != 1:
                raise CommitNotFound(
                    f"{self.address.public} does not have {wants[0]}.",
                    "git fetched, and nothing came.",
                    "git push, from a clone that has it; or name that clone: repo=PATH",
                )
            count(received=os.path.getsize(packs[0]))
            refuse_above(limit, os.path.getsize(packs[0]), "bytes from the server")
            with open(packs[0], "rb") as pack:
                shutil.copyfileobj(pack, file, 1 << 20)
        file.flush()

    def _url(self) -> str:
        user = f"{self.address.user}@" if self.address.user is not None else ""
        scheme, _, rest = self.address.public.partition("://")
        return f"{scheme}://{user}{rest}"

    def _git(self, *args: str, wants: Sequence[str]) -> str:
        try:
            done = subprocess.run(
                ["git", *_SAFE, *args],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=self.seconds,
                env={**os.environ, **_QUIET},
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise explained(error, self.address, "git took too long", wants) from None
        except OSError as error:
            raise Unreachable("git cannot be run.", str(error), "git --version") from None
        if done.returncode:
            words = done.stderr.decode("utf-8", "replace")[-2000:]
            raise explained(RuntimeError(words), self.address, "", wants)
        return done.stdout.decode("utf-8", "replace")
