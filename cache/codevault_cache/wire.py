"""Conversations with git servers: by full id, under a deadline, with errors that explain."""

from __future__ import annotations

import contextlib
import re
import time
from typing import IO, TYPE_CHECKING, Any

from dulwich.client import HTTPProxyUnauthorized, HTTPUnauthorized
from dulwich.config import StackedConfig
from dulwich.errors import HangupException, NotGitRepository
from dulwich.object_store import ObjectStoreGraphWalker

from codevault_cache.clients import (
    Ear,
    HttpClient,
    SshClient,
    TcpClient,
    Vendor,
    ssh_command,
)
from codevault_cache.credentials import credentials
from codevault_cache.errors import CacheError, CommitNotFound, RepositoryNotFound, Unreachable
from codevault_cache.limits import FETCH_SECONDS, PACK_BYTES, SILENCE_SECONDS, refuse_above

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from codevault_cache.address import Address

_NO_COMMIT = re.compile(
    "not our ref|not a valid object|no such (?:ref|object)|unadvertised object", re.I
)
_NO_REPOSITORY = re.compile(
    "repository not exported|repository not found|not appear to be a git repository"
    "|no such repository"
    "|project you were looking for|does not exist|access denied",
    re.I,
)


class Wire:
    """One server, asked for objects by id."""

    def __init__(self, address: Address, seconds: float = FETCH_SECONDS) -> None:
        self.address = address
        self.seconds = seconds
        self.ear = Ear(time.monotonic() + seconds)
        self._vendor: Vendor | None = None
        self._client = self._made()

    def _made(self) -> Any:
        address = self.address
        client: Any
        if address.kind == "http":
            known: dict[str, Any] = {"auth_callback": credentials}
            if address.user is not None:
                known = {"username": address.user, "password": address.password}
            client = HttpClient(
                address.base + "/",
                timeout=min(SILENCE_SECONDS, self.seconds),
                thin_packs=False,
                config=StackedConfig.default(),
                quiet=True,
                **known,
            )
        elif address.kind == "git":
            client = TcpClient(address.host, port=address.port, thin_packs=False, quiet=True)
            client.silence = min(SILENCE_SECONDS, self.seconds)
        else:
            self._vendor = Vendor(self.ear.deadline)
            client = SshClient(
                address.host,
                port=address.port,
                username=address.user,
                vendor=self._vendor,
                config=StackedConfig.default(),
                ssh_command=ssh_command(),
                thin_packs=False,
                quiet=True,
            )
        client.ear = self.ear
        return client

    def tips(self, prefixes: Sequence[bytes]) -> set[str]:
        """Ids that the server advertises under some prefixes of ref names; tags peeled as well.

        Raises:
            RepositoryNotFound: The server has no such repository.
            Unreachable: The server does not answer.
        """
        try:
            answer = self._client.get_refs(self.address.path, ref_prefix=list(prefixes))
        except Exception as error:
            raise self._explained(error, ["its refs"]) from error
        # A server of protocol 0 sends all refs, whatever prefixes are asked for.
        named = {name: oid for name, oid in answer.refs.items() if name.startswith(tuple(prefixes))}
        return {oid.decode() for oid in named.values() if oid is not None}

    def fetch(
        self,
        file: IO[bytes],
        wants: Sequence[str],
        *,
        depth: int | None = None,
        filter_spec: str | None = None,
        limit: int = PACK_BYTES,
    ) -> None:
        """Ask for objects.

        Args:
            file: Where their pack is written.
            wants: Full ids, of commits, trees or blobs.
            depth: How much history; 1 for a commit alone.
            filter_spec: What may be left behind; servers may ignore it.
            limit: Most bytes to take.

        Raises:
            CommitNotFound: The server does not have one of them.
            RepositoryNotFound: The server has no such repository.
            Unreachable: The server does not answer.
        """
        for attempt in (1, 2):
            try:
                return self._fetch(file, wants, depth, filter_spec, limit)
            except (HangupException, ConnectionResetError, BrokenPipeError) as error:
                # A dropped connection is worth a second try; an answer is not.
                if attempt == 2 or self.ear.words or time.monotonic() > self.ear.deadline:
                    raise self._explained(error, wants) from error
            except CacheError:
                raise
            except Exception as error:
                raise self._explained(error, wants) from error
        raise AssertionError

    def _fetch(
        self,
        file: IO[bytes],
        wants: Sequence[str],
        depth: int | None,
        filter_spec: str | None,
        limit: int,
    ) -> None:
        self.ear.last = b""
        received = 0
        file.seek(0)
        file.truncate()

        def write(data: bytes) -> int:
            nonlocal received
            received += len(data)
            refuse_above(limit, received, "bytes from the server")
            self._in_time()
            return file.write(data)

        self._client.fetch_pack(
            self.address.path,
            lambda refs, depth=None: [want.encode() for want in wants],
            ObjectStoreGraphWalker([], lambda _: [], shallow=set()),
            write,
            progress=self._in_time,
            depth=depth,
            ref_prefix=[b"HEAD"],
            filter_spec=None if filter_spec is None else filter_spec.encode(),
        )
        if received == 0:
            raise HangupException
        file.flush()

    def _in_time(self, _: object = None) -> None:
        if time.monotonic() > self.ear.deadline:
            raise TimeoutError("the deadline of the fetch has passed")

    def _explained(self, error: Exception, wants: Sequence[str]) -> CacheError:
        url = self.address.public
        said = self.ear.words or _scrubbed(f"{error}", self.address) or type(error).__name__
        if _NO_COMMIT.search(said):
            return CommitNotFound(
                f"{url} does not have {wants[0]}.",
                f"The server said: {said[:300]}",
                "git push, from a clone that has it; or name that clone: repo=PATH",
            )
        if isinstance(error, (HTTPUnauthorized, HTTPProxyUnauthorized)):
            return RepositoryNotFound(
                f"{url} asks for credentials, and accepts none that are known here.",
                "Asked: the address, ~/.netrc, git credential fill.",
                f"git ls-remote {url}",
            )
        if isinstance(error, NotGitRepository) or _NO_REPOSITORY.search(said):
            return RepositoryNotFound(
                f"There is no repository at {url}, or it is hidden from this user.",
                f"The server said: {said[:300]}",
                f"git ls-remote {url}",
            )
        return Unreachable(
            f"{url} cannot be reached, or stopped answering.",
            f"{type(error).__name__}: {said[:300]}",
            f"git ls-remote {url}",
        )

    def close(self) -> None:
        """End the conversation."""
        for timer, process in self._vendor.running if self._vendor is not None else []:
            timer.cancel()
            with contextlib.suppress(OSError):
                process.kill()
        for protocol in self.ear.opened:
            with contextlib.suppress(Exception):
                protocol.close()
        pool = getattr(self._client, "pool_manager", None)
        if pool is not None:
            with contextlib.suppress(Exception):
                pool.clear()


def _scrubbed(text: str, address: Address) -> str:
    """An error's text without the user info of the address."""
    for secret in (address.password, address.user):
        if secret is not None and len(secret) > 3:
            text = text.replace(secret, "…")
    return re.sub(r"//[^/@\s]+@", "//", text)


@contextlib.contextmanager
def wire(address: Address, seconds: float = FETCH_SECONDS) -> Iterator[Wire]:
    """A conversation that is ended, whatever happens."""
    opened = Wire(address, seconds)
    try:
        yield opened
    finally:
        opened.close()
