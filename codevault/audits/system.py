# ruff: noqa: SLF001
# multiprocessing, asyncio and pickle keep their defaults under private names.
"""Checks of what belongs to the operating system: variables, folder, signals, limits, clocks."""

from __future__ import annotations

import contextlib
from typing import Any, Final

from codevault.audits.check import ABSENT, Check, attributes, entries, setting

_AREA: Final = "operating system"
_ENVIRON: Final = (r"['\"]{key}['\"]", r"\benviron\.update\b", r"\bload_dotenv\b")


def _put_variable(os: Any, name: str, value: Any) -> None:
    if value is ABSENT:
        os.environ.pop(name, None)
    else:
        os.environ[name] = value


def _read_signals(signal: Any) -> dict[str, Any]:
    return {_signal_name(signal, n): signal.getsignal(n) for n in range(1, signal.NSIG)}


def _signal_name(signal: Any, number: int) -> str:
    return _names.get(number) or _names.setdefault(number, _named(signal, number))


def _named(signal: Any, number: int) -> str:
    try:
        return str(signal.Signals(number).name)
    except ValueError:
        return f"signal {number}"


_names: Final[dict[int, str]] = {}


def _put_signal(signal: Any, name: str, handler: Any) -> None:
    number = next(number for number, known in _names.items() if known == name)
    signal.signal(number, handler)  # None, a handler that C put in, is refused


def _read_locale(locale: Any) -> dict[str, str]:
    names = ("LC_CTYPE", "LC_COLLATE", "LC_TIME", "LC_MONETARY", "LC_MESSAGES", "LC_NUMERIC")
    return {n: locale.setlocale(getattr(locale, n)) for n in names if hasattr(locale, n)}


def _put_zone(time: Any, before: Any) -> None:
    if time.tzname != before:
        time.tzset()  # after the variable TZ was put back


_status = (0, -1)
"""This process's id, and its open status file: it is read at the begin and the end of each load."""


def _umask(os: Any) -> str | None:
    """As the kernel tells it: `os.umask` cannot be read without being set."""
    global _status
    process, fd = _status
    text = b""
    if process == os.getpid():
        with contextlib.suppress(OSError):
            text = os.pread(fd, 512, 0)
    if not text.startswith(b"Name:"):  # the first time, after a fork, or somebody closed it
        fd = os.open("/proc/self/status", os.O_RDONLY | os.O_CLOEXEC)
        _status = (os.getpid(), fd)
        text = os.pread(fd, 512, 0)
    for line in text.splitlines():
        if line.startswith(b"Umask:"):
            return line.split()[1].decode()
    return None


def _rlimits(resource: Any) -> dict[str, tuple[int, int]]:
    names = (
        "RLIMIT_AS",
        "RLIMIT_CORE",
        "RLIMIT_CPU",
        "RLIMIT_DATA",
        "RLIMIT_NOFILE",
        "RLIMIT_NPROC",
    )
    found = [*names, "RLIMIT_STACK", "RLIMIT_MEMLOCK", "RLIMIT_FSIZE"]
    return {n: resource.getrlimit(getattr(resource, n)) for n in found if hasattr(resource, n)}


def _timers(signal: Any) -> tuple[str, ...]:
    names = ("ITIMER_REAL", "ITIMER_VIRTUAL", "ITIMER_PROF")
    return tuple(name for name in names if signal.getitimer(getattr(signal, name))[0])


def _start_method(context: Any) -> Any:
    return context._default_context.get_start_method(allow_none=True)


def _put_start_method(context: Any, before: Any) -> None:
    context._default_context.set_start_method(before, force=True)


def _decimal(decimal: Any) -> dict[str, Any]:
    context = decimal.getcontext()
    traps = frozenset(trap.__name__ for trap, on in context.traps.items() if on)
    names = ("prec", "rounding", "Emin", "Emax", "capitals", "clamp")
    return {**{name: getattr(context, name) for name in names}, "traps": traps}


def _put_decimal(decimal: Any, name: str, value: Any) -> None:
    context = decimal.getcontext()
    if name == "traps":
        for trap in context.traps:
            context.traps[trap] = trap.__name__ in value
    else:
        setattr(context, name, value)


def _policy(events: Any) -> Any:
    return events._event_loop_policy


def _affinity(os: Any) -> Any:
    return frozenset(os.sched_getaffinity(0))


def _word(*words: str) -> tuple[str, ...]:
    return tuple(rf"\b{word}\b" for word in words)


CHECKS: Final[tuple[Check, ...]] = (
    Check(
        "environment variables",
        _AREA,
        "os",
        lambda os: dict(os.environ),
        _put_variable,
        blame=_ENVIRON,
        hidden=True,
    ),
    setting("working folder", _AREA, "os", lambda os: os.getcwd(), lambda os, old: os.chdir(old)),
    setting(
        "umask", _AREA, "os", _umask, lambda os, old: os.umask(int(old, 8)), blame=_word("umask")
    ),
    setting(
        "processor affinity", _AREA, "os", _affinity, lambda os, old: os.sched_setaffinity(0, old)
    ),
    setting("niceness", _AREA, "os", lambda os: os.getpriority(os.PRIO_PROCESS, 0)),
    Check("signal handlers", _AREA, "signal", _read_signals, _put_signal, blame=_word("signal")),
    setting("interval timers", _AREA, "signal", _timers, blame=_word("setitimer", "alarm")),
    Check(
        "resource limits",
        _AREA,
        "resource",
        _rlimits,
        lambda r, name, old: r.setrlimit(getattr(r, name), old),
    ),
    Check(
        "locale",
        _AREA,
        "locale",
        _read_locale,
        lambda locale, name, old: locale.setlocale(getattr(locale, name), old),
    ),
    setting("time zone", _AREA, "time", lambda time: time.tzname, _put_zone, blame=_word("tzset")),
    setting(
        "socket timeout",
        _AREA,
        "socket",
        lambda socket: socket.getdefaulttimeout(),
        lambda socket, old: socket.setdefaulttimeout(old),
        fresh=None,
    ),
    setting(
        "start method of processes",
        _AREA,
        "multiprocessing.context",
        _start_method,
        _put_start_method,
        fresh=None,
        blame=_word("set_start_method", "get_context", "multiprocessing"),
    ),
    entries(
        "reducers of multiprocessing",
        _AREA,
        "multiprocessing.reduction",
        lambda m: m.ForkingPickler._extra_reducers,
        alters="replaced",
        blame=_word("ForkingPickler"),
    ),
    setting(
        "event loop policy",
        _AREA,
        "asyncio.events",
        _policy,
        lambda events, old: setattr(events, "_event_loop_policy", old),
        fresh=None,
        blame=_word("set_event_loop_policy", "install"),
    ),
    Check("decimal context", _AREA, "decimal", _decimal, _put_decimal, "always"),
    attributes("folder of temporary files", _AREA, "tempfile", "tempdir", blame=_word("tempdir")),
    setting(
        "csv dialects",
        _AREA,
        "csv",
        lambda csv: frozenset(csv.list_dialects()),
        blame=_word("register_dialect"),
    ),
    setting(
        "csv field limit",
        _AREA,
        "csv",
        lambda csv: csv.field_size_limit(),
        lambda csv, old: csv.field_size_limit(old),
        fresh=131072,
    ),
    setting(
        "https certificates",
        _AREA,
        "ssl",
        lambda ssl: ssl._create_default_https_context,
        lambda ssl, old: setattr(ssl, "_create_default_https_context", old),
        blame=_word("_create_default_https_context"),
    ),
)
