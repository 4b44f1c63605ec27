"""http and https, as git users expect them, and less trusting than libraries are."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import urllib3
from dulwich.client import (
    HTTPProxyUnauthorized,
    HTTPUnauthorized,
    Urllib3HttpGitClient,
    default_user_agent_string,
)
from dulwich.errors import GitProtocolError, NotGitRepository

from codevault_cache.errors import Unreachable
from codevault_cache.failures import Busy
from codevault_cache.traffic import count

if TYPE_CHECKING:
    from collections.abc import Mapping

    from codevault_cache.clients import Ear
    from codevault_cache.gitconfig import HttpSettings


class HttpClient(Urllib3HttpGitClient):
    """http and https: the smart protocol only, without detours that a server proposes."""

    ear: Ear
    extra: Mapping[str, str]
    """Headers of the user's for this server, which may hold secrets."""

    def _http_request(
        self,
        url: str,
        headers: dict[str, str] | None = None,
        data: Any = None,
        raise_for_status: bool = True,
    ) -> Any:
        # A GET of anything else is the dumb protocol, or a pack that lies at another address.
        asks = url.startswith(self._base_url) and "/info/refs?service=" in url
        if data is None and not asks:
            raise GitProtocolError("the server does not speak git's smart protocol")
        # What a server sends elsewhere is asked there, without what was meant for it.
        if url.startswith(self._base_url):
            headers = {**self.extra, **(headers or {})}
        count(requests=1)
        response, read = super()._http_request(url, headers, data, raise_for_status=False)
        self.ear.opened.append(response)
        landed = urlsplit(response.geturl() or url)
        if urlsplit(url).scheme == "https" and landed.scheme not in ("https", ""):
            raise GitProtocolError("the server redirects to an address without encryption")
        if response.status in (429, 500, 502, 503, 504):
            asked = str(response.headers.get("Retry-After", ""))
            raise Busy(response.status, float(asked) if asked.isdecimal() else 0.0)
        if response.status == 401:
            raise HTTPUnauthorized(response.headers.get("WWW-Authenticate"), url)
        if response.status == 407:
            raise HTTPProxyUnauthorized(response.headers.get("Proxy-Authenticate"), url)
        if response.status in (404, 410):
            raise NotGitRepository
        if response.status != 200 and raise_for_status:
            raise GitProtocolError(f"unexpected HTTP status {response.status}")
        return response, self.ear.on(read)


def pool_of(settings: HttpSettings, seconds: float) -> urllib3.PoolManager:
    """Connections to one server.

    Args:
        settings: How it is reached.
        seconds: Longest silence.

    Returns:
        The pool; it tries nothing twice by itself.
    """
    ca = settings.ca
    folder = ca is not None and os.path.isdir(ca)
    common: dict[str, Any] = {
        "headers": {"User-agent": default_user_agent_string()},
        "timeout": urllib3.Timeout(connect=min(30.0, seconds), read=seconds),
        "retries": urllib3.Retry(
            total=None,
            connect=0,
            read=0,
            other=0,
            status=0,
            redirect=5,
            remove_headers_on_redirect=[
                *urllib3.Retry.DEFAULT_REMOVE_HEADERS_ON_REDIRECT,
                *settings.headers,
            ],
        ),
        "cert_reqs": "CERT_REQUIRED" if settings.verify else "CERT_NONE",
        "ca_cert_dir" if folder else "ca_certs": ca,
    }
    if settings.proxy is None:
        return urllib3.PoolManager(**common)
    parts = urlsplit(settings.proxy)
    if parts.scheme not in ("http", "https"):
        raise Unreachable(
            f"The proxy is of the kind {parts.scheme!a}, which codevault does not speak to.",
            "It speaks to http and https proxies.",
            "git clone the repository through it, and name the clone: repo=PATH",
        )
    known = {}
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        known = urllib3.make_headers(proxy_basic_auth=pair)
    place = parts.netloc.rpartition("@")[2]
    return urllib3.ProxyManager(f"{parts.scheme}://{place}", proxy_headers=known, **common)
