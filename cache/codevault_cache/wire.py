"""Conversations with git servers: by full id, under a deadline, with errors that explain."""

from __future__ import annotations

import contextlib
import time
from typing import IO, TYPE_CHECKING, Any, TypeVar

from dulwich.client import HTTPUnauthorized
from dulwich.errors import HangupException
from dulwich.object_store import ObjectStoreGraphWalker

from codevault_cache.atomicwrite import written
from codevault_cache.clients import Ear, SshClient, TcpClient, Vendor
from codevault_cache.credentials import credentials_for
from codevault_cache.errors import CacheError
from codevault_cache.failures import Busy, explained, may_pass
from codevault_cache.limits import (
    FETCH_SECONDS,
    PACK_BYTES,
    RETRY_SECONDS,
    SILENCE_SECONDS,
    refuse_above,
)
from codevault_cache.timeouts import within
from codevault_cache.traffic import count

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from codevault_cache.address import Address

T = TypeVar("T")


class Wire:
    """One server, asked for objects by id."""

    def __init__(self, address: Address, seconds: float = FETCH_SECONDS) -> None:
        self.address = address
        self.seconds = seconds
        self.ear = Ear(time.monotonic() + seconds)
        self._credentials = credentials_for(address)
        self._vendor: Vendor | None = None
        # As git does, a server is asked without credentials first, unless the address holds them.
        known = next(self._credentials, None) if address.password is not None else None
        self._client = self._made(known)

    @property
    def version(self) -> int:
        """The version of the protocol that the server speaks, once it was asked."""
        return int(self._client.protocol_version)

    def _made(self, known: tuple[str, str] | None) -> Any:
        address, silence = self.address, min(SILENCE_SECONDS, self.seconds)
        client: Any
        if address.kind == "http":
            from codevault_cache.gitconfig import http_settings
            from codevault_cache.httpclient import HttpClient, pool_of

            settings = http_settings(address.public)
            client = HttpClient(
                address.base + "/",
                pool_manager=pool_of(settings, silence),
                username=known[0] if known is not None else None,
                password=known[1] if known is not None else None,
                thin_packs=False,
                quiet=True,
            )
            client.extra = settings.headers
        elif address.kind == "git":
            client = TcpClient(address.host, port=address.port, thin_packs=False, quiet=True)
            client.silence = silence
        else:
            from codevault_cache.gitconfig import ssh_command

            self._vendor = Vendor(self.ear.deadline)
            client = SshClient(
                address.host,
                port=address.port,
                username=address.user,
                vendor=self._vendor,
                ssh_command=ssh_command(),
                thin_packs=False,
                quiet=True,
            )
        client.ear = self.ear
        return client

    def _tried(self, ask: Callable[[], T], wants: Sequence[str]) -> T:
        """Ask until there is an answer: again after a drop, and with other credentials."""
        waits = iter(RETRY_SECONDS)
        while True:
            self.ear.last, self.ear.heard = b"", 0
            if self.address.kind != "http":  # whose client counts its own
                count(requests=1)
            try:
                # Libraries wait for a whole packet, which a server can send byte by byte.
                return within(self.ear.deadline - time.monotonic(), ask)
            except CacheError:
                raise
            except HTTPUnauthorized as error:
                known = next(self._credentials, None)
                if known is None:
                    raise explained(error, self.address, "", wants) from error
                self._forget()
                self._client = self._made(known)
            except Exception as error:
                wait = next(waits, None) if may_pass(error) and not self.ear.words else None
                pause = 0.0 if wait is None else _pause(wait, error)
                if wait is None or time.monotonic() + pause > self.ear.deadline:
                    raise explained(error, self.address, self.ear.words, wants) from error
                time.sleep(pause)

    def tips(self, prefixes: Sequence[bytes]) -> set[str]:
        """Ids that the server advertises under some prefixes of ref names; tags peeled as well.

        Raises:
            RepositoryNotFound: The server has no such repository.
            Unreachable: The server does not answer.
        """
        answer = self._tried(
            lambda: self._client.get_refs(self.address.path, ref_prefix=list(prefixes)),
            ["its refs"],
        )
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
        self._tried(lambda: self._fetch(file, wants, depth, filter_spec, limit), wants)

    def _fetch(
        self,
        file: IO[bytes],
        wants: Sequence[str],
        depth: int | None,
        filter_spec: str | None,
        limit: int,
    ) -> None:
        received = 0
        with written("the folder for what comes"):
            file.seek(0)
            file.truncate()

        def write(data: bytes) -> int:
            nonlocal received
            received += len(data)
            count(received=len(data))
            self.ear.heard -= len(data)
            refuse_above(limit, received, "bytes from the server")
            self._in_time()
            with written("the folder for what comes"):
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
        with written("the folder for what comes"):
            file.flush()

    def _in_time(self, _: object = None) -> None:
        if time.monotonic() > self.ear.deadline:
            raise TimeoutError("the deadline of the fetch has passed")

    def close(self) -> None:
        """End the conversation."""
        for timer, process in self._vendor.running if self._vendor is not None else []:
            timer.cancel()
            with contextlib.suppress(OSError):
                process.kill()
        for protocol in self.ear.opened:
            with contextlib.suppress(Exception):
                # Somebody may still be reading who is no longer waited for.
                within(1.0, protocol.close)
        self._forget()

    def _forget(self) -> None:
        pool = getattr(self._client, "pool_manager", None)
        if pool is not None:
            with contextlib.suppress(Exception):
                pool.clear()


def _pause(seconds: float, error: Exception) -> float:
    from random import uniform

    # Many that were dropped together should not come back together.
    asked = error.after if isinstance(error, Busy) else 0.0
    return asked + seconds * uniform(0.5, 1.0)  # noqa: S311  (not a secret)


@contextlib.contextmanager
def wire(address: Address, seconds: float = FETCH_SECONDS) -> Iterator[Wire]:
    """A conversation that is ended, whatever happens."""
    opened = Wire(address, seconds)
    try:
        yield opened
    finally:
        opened.close()
