"""Servers as they are: moved, behind proxies, strict, slow, and asking who is there."""

from __future__ import annotations

import contextlib
import io
import os
import re
import shutil
import socket
import subprocess
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from codevault_cache import Cache, Wanted, errors, is_reachable, limits, warm
from codevault_cache.address import address_of
from codevault_cache.credentials import token_variable
from codevault_cache.gitconfig import http_settings
from codevault_cache.wire import wire

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def folder(sample: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to serve, with the sample repository; no home, no settings of this machine."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name.endswith("_TOKEN") or name.startswith("GIT_SSL"):
            monkeypatch.delenv(name)
    served = tmp_path / "served"
    served.mkdir()
    sample.head = sample.git("rev-parse", "HEAD")
    sample.bare(served / "r.git")
    return served


def gitconfig(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str) -> None:
    (tmp_path / "gitconfig").write_text(text)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))


def fetched(cache: Cache, url: str, commit: str, **more: Any) -> Any:
    (snapshot,) = warm(cache, [Wanted(url, commit, roots=("src",), **more)])
    tree = cache.tree(snapshot.digest)
    assert tree.read("src/agent/net.py") == b"width = 3\n"
    tree.close()
    return snapshot


# -- where a repository is now --------------------------------------------------------------------


def test_a_moved_host_is_found_by_insteadof(
    folder: Path, sample: Any, http_server: Any, cache: Cache, tmp_path: Path, monkeypatch: Any
) -> None:
    url = http_server(folder).url
    gitconfig(monkeypatch, tmp_path, f'[url "{url}/"]\n\tinsteadOf = https://gone.example/o/\n')
    snapshot = fetched(cache, "https://gone.example/o/r.git", sample.head)
    assert snapshot.repo == "https://gone.example/o/r.git"
    assert is_reachable(cache, "https://gone.example/o/r.git", sample.head)


def test_insteadof_may_name_a_clone_on_this_machine_and_wins_by_length(
    folder: Path, sample: Any, cache: Cache, tmp_path: Path, monkeypatch: Any
) -> None:
    lines = (
        '[url "https://127.0.0.1:9/"]\n\tinsteadOf = https://gone.example/\n'
        f'[url "file://{folder}/"]\n\tinsteadOf = https://gone.example/o/\n'
    )
    gitconfig(monkeypatch, tmp_path, lines)
    monkeypatch.setenv("CODEVAULT_OFFLINE", "1")
    assert fetched(cache, "https://gone.example/o/r.git", sample.head)


def test_insteadof_is_parsed_as_strictly_as_any_address(
    folder: Path, sample: Any, cache: Cache, tmp_path: Path, monkeypatch: Any
) -> None:
    gitconfig(
        monkeypatch,
        tmp_path,
        '[url "ext::sh -c touch%20x "]\n\tinsteadOf = https://gone.example/\n',
    )
    with pytest.raises(errors.UnsafeUrl):
        fetched(cache, "https://gone.example/o/r.git", sample.head)


# -- servers that give less than they have --------------------------------------------------------


@pytest.mark.parametrize("kind", ["http", "git"])
def test_an_old_commit_of_a_server_that_refuses_unadvertised_ids(
    kind: str, folder: Path, sample: Any, cache: Cache, request: Any, monkeypatch: Any
) -> None:
    sample.commit({"src/agent/net.py": "width = 4\n"})
    sample.git("push", "-q", str(folder / "r.git"), "main")
    server = request.getfixturevalue({"http": "http_server", "git": "git_daemon"}[kind])(folder)
    server.version = 0
    if kind == "git":
        # The daemon would speak version 2, which checks nothing: the client asks for less.
        import dulwich.client

        monkeypatch.setattr(dulwich.client, "DEFAULT_GIT_PROTOCOL_VERSION_FETCH", 0)
    assert fetched(cache, server.url + "/r.git", sample.head)
    with pytest.raises(errors.CommitNotFound):
        fetched(cache, server.url + "/r.git", "1" * 40)


@pytest.mark.parametrize("filters", ["true", "false"])
def test_servers_with_and_without_filters(
    filters: str, folder: Path, sample: Any, http_server: Any, cache: Cache
) -> None:
    config = ["git", "-C", str(folder / "r.git"), "config", "uploadpack.allowFilter", filters]
    subprocess.run(config, check=True)
    server = http_server(folder)
    assert fetched(cache, server.url + "/r.git", sample.head)
    # Without filters the first answer holds everything.
    assert len(server.requests) == {"true": 6, "false": 3}[filters]


# -- who is there ---------------------------------------------------------------------------------


@pytest.fixture
def locked(folder: Path, http_server: Any) -> Any:
    server = http_server(folder)
    server.auth = "me:topsecrettoken"
    return server


def test_nothing_known_says_what_was_asked(locked: Any, sample: Any, cache: Cache) -> None:
    with pytest.raises(errors.CredentialsMissing, match=r"\.netrc"):
        fetched(cache, locked.url + "/r.git", sample.head)


def test_netrc(
    locked: Any, sample: Any, cache: Cache, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    netrc = tmp_path / "home" / ".netrc"
    netrc.write_text("machine 127.0.0.1 login me password topsecrettoken\n")
    netrc.chmod(0o600)
    assert fetched(cache, locked.url + "/r.git", sample.head)
    assert "topsecret" not in "".join(capfd.readouterr())


def test_the_default_of_netrc_goes_to_nobody_but_by_git(
    locked: Any, sample: Any, cache: Cache, tmp_path: Path, monkeypatch: Any
) -> None:
    netrc = tmp_path / "home" / ".netrc"
    netrc.write_text("default login me password topsecrettoken\n")
    netrc.chmod(0o600)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(errors.CredentialsMissing):
        fetched(cache, locked.url + "/r.git", sample.head)


def test_a_credential_helper_of_git(
    locked: Any, sample: Any, cache: Cache, tmp_path: Path, monkeypatch: Any
) -> None:
    store = tmp_path / "stored"
    store.write_text(locked.url.replace("http://", "http://me:topsecrettoken@") + "\n")
    gitconfig(monkeypatch, tmp_path, f"[credential]\n\thelper = store --file {store}\n")
    assert fetched(cache, locked.url + "/r.git", sample.head)
    assert is_reachable(cache, locked.url + "/r.git", sample.head)


def test_a_token_in_the_environment_and_wrong_ones_before_it(
    locked: Any, sample: Any, cache: Cache, tmp_path: Path, monkeypatch: Any
) -> None:
    locked.auth = "me:fromnetrc"
    monkeypatch.setenv("CODEVAULT_TOKEN_127_0_0_1", "stale-token")
    netrc = tmp_path / "home" / ".netrc"
    netrc.write_text("machine 127.0.0.1 login me password fromnetrc\n")
    netrc.chmod(0o600)
    assert fetched(cache, locked.url + "/r.git", sample.head)
    locked.auth = "x-access-token:stale-token"
    assert fetched(Cache.open(tmp_path / "c2"), locked.url + "/r.git", sample.head)


def test_headers_for_one_server_are_not_told_to_another(
    folder: Path,
    sample: Any,
    http_server: Any,
    cache: Cache,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A server that sends elsewhere would have the tokens that were meant for it arrive there."""
    first, second = http_server(folder), http_server(folder)
    lines = "".join(f"\textraHeader = {name}: s3cret\n" for name in ("Authorization", "Job-Token"))
    gitconfig(monkeypatch, tmp_path, f'[http "{first.url}"]\n{lines}')
    first.trouble = [f"302 to {second.url}/r.git/info/refs?service=git-upload-pack"] * 9
    assert fetched(cache, first.url + "/r.git", sample.head)
    assert all(text.count("s3cret") == 2 for text in first.told)
    assert [request.partition(" ")[0] for request in second.requests].count("POST") > 0
    assert not [text for text in second.told if "s3cret" in text]


def test_tokens_are_for_one_host_each() -> None:
    assert token_variable("git.example.org") == "CODEVAULT_TOKEN_GIT_EXAMPLE_ORG"
    assert token_variable("git-example.org") == "CODEVAULT_TOKEN_GIT__EXAMPLE_ORG"
    assert token_variable("git_example.org") is None
    assert token_variable("a.-b") is None
    assert token_variable("::1") is None


def test_credentials_that_the_library_cannot_do_are_left_to_git(
    folder: Path, sample: Any, http_server: Any, cache: Cache, tmp_path: Path, monkeypatch: Any
) -> None:
    """Digest authentication stands for all of them: git can do it."""
    server = http_server(folder)
    server.digest = "me:topsecrettoken"
    store = tmp_path / "stored"
    store.write_text(server.url.replace("http://", "http://me:topsecrettoken@") + "\n")
    gitconfig(monkeypatch, tmp_path, f"[credential]\n\thelper = store --file {store}\n")
    sample.commit({"README.md": "newer"})
    sample.git("push", "-q", str(folder / "r.git"), "main")
    assert fetched(cache, server.url + "/r.git", sample.head)
    assert is_reachable(cache, server.url + "/r.git", sample.head)
    assert not is_reachable(cache, server.url + "/r.git", "1" * 40)
    with pytest.raises(errors.CommitNotFound):
        fetched(cache, server.url + "/r.git", "1" * 40)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(errors.CredentialsMissing):
        fetched(Cache.open(tmp_path / "c2"), server.url + "/r.git", sample.head)


# -- ways to a server -----------------------------------------------------------------------------


class Proxy:
    """The least proxy: it forwards requests for absolute URLs, or refuses them."""

    def __init__(self, user: str | None = None) -> None:
        self.seen: list[str] = []
        self.user = user
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                with near:
                    self._one(near)

    def _one(self, near: socket.socket) -> None:
        data = b""
        while b"\r\n\r\n" not in data:
            more = near.recv(65536)
            if not more:
                return
            data += more
        head, _, body = data.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: (\d+)", head)
        while length is not None and len(body) < int(length[1]):
            body += near.recv(65536)
        line = head.split(b"\r\n", 1)[0].decode()
        self.seen.append(line)
        if self.user is not None and b"Proxy-Authorization: Basic" not in head.title():
            near.sendall(b"HTTP/1.1 407 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            return
        match = re.match(r"(\w+) http://([^:/]+):(\d+)(\S*) ", line)
        assert match is not None, line
        first = f"{match[1]} {match[4]} HTTP/1.1\r\n".encode()
        rest = head.split(b"\r\n", 1)[1] + b"\r\nConnection: close\r\n\r\n"
        with socket.create_connection((match[2], int(match[3]))) as far:
            far.sendall(first + rest.replace(b"Connection: keep-alive\r\n", b"") + body)
            answer = b"".join(iter(lambda: far.recv(65536), b""))
        near.sendall(answer.replace(b"\r\n", b"\r\nConnection: close\r\n", 1))

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    running = Proxy()
    yield running
    running.close()


@pytest.mark.parametrize("how", ["http_proxy", "all_proxy", "ALL_PROXY", "http.proxy", "url"])
def test_proxies_of_the_environment_and_of_git(
    how: str, proxy: Proxy, folder: Path, sample: Any, http_server: Any, cache: Cache,
    tmp_path: Path, monkeypatch: Any,
) -> None:  # fmt: skip
    server = http_server(folder)
    if how == "http.proxy":
        monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # git's own setting wins
        gitconfig(monkeypatch, tmp_path, f"[http]\n\tproxy = http://{proxy.url}\n")
    elif how == "url":
        text = (
            f'[http]\n\tproxy = http://127.0.0.1:9\n[http "{server.url}/"]\n\tproxy = {proxy.url}'
        )
        gitconfig(monkeypatch, tmp_path, text.replace("= 127", "= http://127"))
    else:
        monkeypatch.setenv(how, f"http://{proxy.url}")
    assert fetched(cache, server.url + "/r.git", sample.head)
    assert len(proxy.seen) == len(server.requests) > 0


def test_a_socks_proxy_is_an_error_with_a_way_out(
    folder: Path, sample: Any, http_server: Any, cache: Cache, monkeypatch: Any
) -> None:
    server = http_server(folder)
    monkeypatch.setenv("all_proxy", "socks5://user:hidden@127.0.0.1:9")
    with pytest.raises(errors.Unreachable, match="socks5") as caught:
        fetched(cache, server.url + "/r.git", sample.head)
    assert "repo=PATH" in str(caught.value)
    assert "hidden" not in str(caught.value)
    assert not server.requests


def test_a_proxy_that_asks_who_is_there(
    proxy: Proxy, folder: Path, sample: Any, http_server: Any, cache: Cache, monkeypatch: Any
) -> None:
    proxy.user = "me"
    server = http_server(folder)
    monkeypatch.setenv("http_proxy", f"http://{proxy.url}")
    with pytest.raises(errors.CacheError) as caught:
        fetched(cache, server.url + "/r.git", sample.head)
    assert not server.requests
    monkeypatch.setenv("http_proxy", f"http://me:topsecret@{proxy.url}")
    assert fetched(cache, server.url + "/r.git", sample.head)
    assert "topsecret" not in str(caught.value)


def test_what_no_proxy_names_is_asked_directly(
    proxy: Proxy, folder: Path, sample: Any, http_server: Any, cache: Cache, monkeypatch: Any
) -> None:
    monkeypatch.setenv("http_proxy", f"http://{proxy.url}")
    monkeypatch.setenv("NO_PROXY", "localhost,127.0.0.1")
    assert fetched(cache, http_server(folder).url + "/r.git", sample.head)
    assert proxy.seen == []


def test_settings_follow_git(
    folder: Path, sample: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del folder, sample
    text = (
        "[http]\n\tsslCAInfo = ~/all.pem\n\textraHeader = A: 1\n"
        '[http "https://h.example/o"]\n\tsslCAInfo = /o.pem\n\textraHeader = B: 2\n'
        '[http "https://other.example"]\n\tsslVerify = false\n'
    )
    gitconfig(monkeypatch, tmp_path, text)
    settings = http_settings("https://h.example/o/r.git")
    assert (settings.ca, settings.verify, settings.headers) == (
        "/o.pem",
        True,
        {"A": "1", "B": "2"},
    )
    assert http_settings("https://h.example/p").ca == str(tmp_path / "home" / "all.pem")
    assert not http_settings("https://other.example/r").verify
    monkeypatch.setenv("GIT_SSL_CAINFO", "/env.pem")
    assert http_settings("https://h.example/o/r.git").ca == "/env.pem"
    monkeypatch.setenv("HTTPS_PROXY", "p.example:8080")
    assert http_settings("https://h.example/").proxy == "http://p.example:8080"
    assert http_settings("http://h.example/").proxy is None
    monkeypatch.setenv("HTTP_PROXY", "p.example:8080")
    assert http_settings("http://h.example/").proxy is None
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "http.proxy")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "")
    assert http_settings("https://h.example/").proxy is None


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl to make certificates")
def test_a_bundle_of_certificates(
    folder: Path, sample: Any, http_server: Any, cache: Cache, tmp_path: Path, monkeypatch: Any
) -> None:
    import ssl

    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    make = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    make += ["-subj", "/CN=localhost", "-addext"]
    names = ["subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(["openssl", *make, *names], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = http_server(folder, tls=context)
    with pytest.raises(errors.Unreachable, match="certificate"):
        fetched(cache, server.url + "/r.git", sample.head)
    monkeypatch.setenv("GIT_SSL_CAINFO", str(certificate))
    assert fetched(cache, server.url + "/r.git", sample.head)


# -- patience -------------------------------------------------------------------------------------


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    from codevault_cache import wire

    monkeypatch.setattr(wire, "RETRY_SECONDS", (0.01, 0.01, 0.01))
    assert len(limits.RETRY_SECONDS) == 3


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("trouble", ["503", "429", "cut", "drop"])
def test_what_passes_is_tried_again(
    trouble: str, folder: Path, sample: Any, http_server: Any, cache: Cache
) -> None:
    server = http_server(folder)
    server.trouble = [trouble] * 2
    assert fetched(cache, server.url + "/r.git", sample.head)
    assert server.trouble == []


@pytest.mark.usefixtures("hasty")
def test_patience_ends(folder: Path, sample: Any, http_server: Any, cache: Cache) -> None:
    server = http_server(folder)
    server.trouble = ["503"] * 100
    with pytest.raises(errors.Unreachable, match="503"):
        fetched(cache, server.url + "/r.git", sample.head)
    assert len(server.trouble) == 96
    server.trouble = ["404"]
    with pytest.raises(errors.RepositoryNotFound):
        fetched(cache, server.url + "/r.git", sample.head)
    assert server.trouble == []


def test_a_server_that_wants_too_long_a_pause_is_not_waited_for(
    folder: Path, sample: Any, http_server: Any, cache: Cache
) -> None:
    server = http_server(folder)
    server.trouble = ["429 after 100000"]
    began = time.monotonic()
    with pytest.raises(errors.Unreachable, match="429"):
        fetched(cache, server.url + "/r.git", sample.head)
    assert time.monotonic() - began < 600


@pytest.mark.parametrize("scheme", ["git", "http"])
@pytest.mark.parametrize("drip", [b"0005x", b"x"])
def test_a_server_that_trickles_meets_the_deadline(scheme: str, drip: bytes) -> None:
    """Small packets, or one large packet or header, byte by byte."""
    begin = {"git": b"000eversion 2\n", "http": b"HTTP/1.1 200 OK\r\nX: "}[scheme]
    begin += b"fff0" if drip == b"x" else b""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        stop = threading.Event()

        def trickle() -> None:
            with contextlib.suppress(OSError):
                near, _ = listener.accept()
                with near:
                    near.sendall(begin)
                    while not stop.wait(0.02):
                        near.sendall(drip)

        thread = threading.Thread(target=trickle, daemon=True)
        thread.start()
        url = f"{scheme}://127.0.0.1:{listener.getsockname()[1]}/r.git"
        began = time.monotonic()
        with wire(address_of(url), 0.3) as server, pytest.raises(errors.Unreachable):
            server.fetch(io.BytesIO(), ["a" * 40])
        assert time.monotonic() - began < 30
        stop.set()
        thread.join(10)


# -- ssh ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], str]]:
    """A real sshd on the loopback; gives an ssh command that reaches it as host `there`."""
    program = shutil.which("sshd") or shutil.which("sshd", path="/usr/sbin:/usr/local/sbin")
    if program is None or shutil.which("ssh-keygen") is None:
        pytest.skip("no sshd on this machine")
    work = tmp_path_factory.mktemp("sshd")
    work.chmod(0o700)
    for name in ("host", "user", "stranger"):
        make = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(work / name)]
        subprocess.run(make, check=True)
    if os.geteuid() == 0:
        os.makedirs("/run/sshd", mode=0o755, exist_ok=True)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    (work / "sshd_config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {work}/host\nPidFile none\n"
        f"AuthorizedKeysFile {work}/user.pub\nStrictModes no\nUsePAM no\n"
        "PasswordAuthentication no\nKbdInteractiveAuthentication no\n"
        "PermitRootLogin prohibit-password\nAcceptEnv GIT_PROTOCOL\n"
    )
    host = (work / "host.pub").read_text().split()
    (work / "known").write_text(f"[127.0.0.1]:{port} {host[0]} {host[1]}\n")
    daemon = subprocess.Popen(
        [program, "-D", "-e", "-f", str(work / "sshd_config")],
        stderr=subprocess.DEVNULL,
    )
    for _ in range(250):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            break
        time.sleep(0.02)

    def command(identity: str) -> str:
        config = work / f"config-{identity}"
        lines = (
            f"IdentityFile {work}/{identity}\nIdentitiesOnly yes\n" if identity != "agent" else ""
        )
        config.write_text(
            f"Host there\nHostName 127.0.0.1\nPort {port}\n{lines}"
            f"UserKnownHostsFile {work}/known\nStrictHostKeyChecking yes\n"
        )
        command.key = str(work / "user")  # type: ignore[attr-defined]
        return f"ssh -F {config}"

    yield command
    daemon.terminate()
    daemon.wait()


@pytest.mark.parametrize("form", ["there:{}", "ssh://there{}"])
def test_ssh_with_a_key(
    form: str, sshd: Any, folder: Path, sample: Any, cache: Cache, monkeypatch: Any
) -> None:
    monkeypatch.setenv("GIT_SSH_COMMAND", sshd("user"))
    url = form.format(folder / "r.git")
    assert fetched(cache, url, sample.head)
    assert is_reachable(cache, url, sample.head)
    with pytest.raises(errors.CommitNotFound):
        fetched(cache, url, "1" * 40)
    with pytest.raises(errors.RepositoryNotFound):
        fetched(cache, url + "-gone", "1" * 40)


def test_ssh_with_an_agent(
    sshd: Any, folder: Path, sample: Any, cache: Cache, monkeypatch: Any, tmp_path: Path
) -> None:
    monkeypatch.setenv("GIT_SSH_COMMAND", sshd("agent"))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    with pytest.raises(errors.Unreachable, match="Permission denied"):
        fetched(cache, f"there:{folder}/r.git", sample.head)
    place = str(tmp_path / "agent")
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", place], stdout=subprocess.DEVNULL)
    try:
        for _ in range(250):
            if os.path.exists(place):
                break
            time.sleep(0.02)
        monkeypatch.setenv("SSH_AUTH_SOCK", place)
        subprocess.run(["ssh-add", "-q", sshd.key], check=True)
        assert fetched(cache, f"there:{folder}/r.git", sample.head)
    finally:
        agent.terminate()
        agent.wait()


def test_ssh_says_what_is_wrong_and_asks_nobody(
    sshd: Any, folder: Path, sample: Any, cache: Cache, monkeypatch: Any
) -> None:
    monkeypatch.setenv("GIT_SSH_COMMAND", sshd("stranger"))
    with pytest.raises(errors.Unreachable, match="Permission denied"):
        fetched(cache, f"there:{folder}/r.git", sample.head)
    monkeypatch.setenv("GIT_SSH_COMMAND", sshd("user") + " -o UserKnownHostsFile=/dev/null")
    with pytest.raises(errors.Unreachable, match="Host key verification failed"):
        fetched(cache, f"there:{folder}/r.git", sample.head)
