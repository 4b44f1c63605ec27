"""What the user has told git about servers: moved hosts, proxies, certificates, the ssh program."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlparse

from dulwich.config import StackedConfig, apply_instead_of, env_config
from dulwich.credentials import match_urls

from codevault_cache.address import Address, address_of

if TYPE_CHECKING:
    from collections.abc import Iterator


def config() -> StackedConfig:
    """The user's and the machine's git configuration, with `GIT_CONFIG_COUNT` on top of them."""
    stack = StackedConfig.default()
    stated = env_config(os.environ)
    return stack if stated is None else StackedConfig([stated, *stack.backends])


def moved(repo: str) -> Address:
    """The address that a repository is reached at: `url.<base>.insteadOf` says that it moved.

    Args:
        repo: An address as it was recorded.

    Returns:
        Where to ask.

    Raises:
        UnsafeUrl: It moved to where codevault does not ask.
    """
    return address_of(apply_instead_of(config(), repo))


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """How one server is reached.

    Attributes:
        proxy: URL of the proxy, or None.
        ca: A file or folder of certificates that is trusted in place of the usual ones, or None.
        verify: Whether certificates are checked.
        headers: Extra headers, which may hold secrets.
    """

    proxy: str | None
    ca: str | None
    verify: bool
    headers: dict[str, str]


def http_settings(url: str) -> HttpSettings:
    """Look up how a server is reached, as git does: its configuration, then the environment.

    Args:
        url: The repository's address.

    Returns:
        The settings.
    """
    said: dict[bytes, list[bytes]] = {}
    for name, value in _http_lines(url):
        said.setdefault(name.lower(), []).append(value)

    def last(name: bytes) -> str | None:
        return said[name][-1].decode() if name in said else None

    headers: dict[str, str] = {}
    for line in said.get(b"extraheader", ()):
        header, colon, text = line.decode().partition(":")
        if colon:
            headers[header.strip()] = text.strip()
        else:
            headers.clear()  # an empty one takes the earlier ones back
    ca = os.environ.get("GIT_SSL_CAINFO") or last(b"sslcainfo")
    ca = ca or os.environ.get("GIT_SSL_CAPATH") or last(b"sslcapath")
    verify = (last(b"sslverify") or "true").lower() not in ("false", "no", "off", "0")
    proxy = last(b"proxy")
    if proxy is None:
        proxy = _proxy_of_environment(url)
    return HttpSettings(proxy or None, ca and os.path.expanduser(ca), verify, headers)


def _http_lines(url: str) -> Iterator[tuple[bytes, bytes]]:
    """The lines of all `http` and matching `http.<url>` sections, the most specific ones last."""
    parsed = urlparse(url)
    found: list[tuple[int, int, bytes, bytes]] = []
    # The last file of the stack is the farthest from the user.
    for i, backend in enumerate(reversed(config().backends)):
        for section in backend.sections():
            if section[0].lower() != b"http":
                continue
            place = section[1].decode() if len(section) > 1 else ""
            if place and not match_urls(parsed, urlparse(place)):
                continue
            found += [(len(place), i, name, value) for name, value in backend.items(section)]
    found.sort(key=lambda line: line[:2])
    return ((name, value) for _, _, name, value in found)


def _proxy_of_environment(url: str) -> str | None:
    """The proxy for a URL, by curl's rules; `HTTP_PROXY` is not one of them."""
    from urllib.request import proxy_bypass_environment  # type: ignore[attr-defined]

    parts = urlparse(url)
    names = [f"{parts.scheme}_proxy"]
    names += [names[0].upper()] if parts.scheme == "https" else []
    proxy = next(
        (os.environ[n] for n in (*names, "all_proxy", "ALL_PROXY") if os.environ.get(n)), ""
    )
    excepted = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    if not proxy or proxy_bypass_environment(parts.netloc, {"no": excepted}):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


def ssh_command() -> str:
    """The user's ssh, never asking questions that nobody answers."""
    stated = os.environ.get("GIT_SSH_COMMAND")
    if not stated:
        try:
            stated = config().get((b"core",), b"sshCommand").decode()
        except KeyError:
            stated = os.environ.get("GIT_SSH")
    return f"{stated or 'ssh -o ConnectTimeout=30'} -o BatchMode=yes"
