# ruff: noqa: SLF001
# Level names and the flag for changed warning filters are private.
"""Checks of logging and warnings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from codevault.audits.check import ABSENT, Check, attributes, entries, setting

if TYPE_CHECKING:
    from collections.abc import Mapping

_AREA: Final = "logging"
_PLAIN: Final = (0, True, False, (), ())
_FILTERS: Final = (
    r"\b(filterwarnings|simplefilter|resetwarnings|captureWarnings)\b",
    r"warnings\.filters",
)
_LOGGERS: Final = (r"['\"]{key}['\"]", r"\bdictConfig\b|\bfileConfig\b|\bloggerDict\b")


def _logger(logger: Any) -> tuple[Any, ...]:
    handlers, filters = tuple(logger.handlers), tuple(logger.filters)
    return logger.level, logger.propagate, logger.disabled, handlers, filters


def _root(logging: Any) -> dict[str, Any]:
    return dict(
        zip(
            ("level", "propagate", "disabled", "handlers", "filters"),
            _logger(logging.root),
            strict=True,
        )
    )


def _put_root(logging: Any, name: str, value: Any) -> None:
    if name == "level":
        logging.root.setLevel(value)
    elif name in ("handlers", "filters"):
        getattr(logging.root, name)[:] = value
    else:
        setattr(logging.root, name, value)


def _loggers(logging: Any) -> Mapping[str, Any]:
    """Loggers that are set up in any way, except old code's own."""
    found = {}
    for name, logger in list(logging.root.manager.loggerDict.items()):
        if not name.startswith("_splint_") and hasattr(logger, "handlers"):
            state = _logger(logger)
            if state != _PLAIN:
                found[name] = state
    return found


def _put_logger(logging: Any, name: str, value: Any) -> None:
    logger = logging.getLogger(name)
    level, logger.propagate, logger.disabled, handlers, filters = (
        _PLAIN if value is ABSENT else value
    )
    logger.setLevel(level)
    logger.handlers[:], logger.filters[:] = handlers, filters


def _put_filters(warnings: Any, before: tuple[Any, ...]) -> None:
    warnings.filters[:] = before
    getattr(warnings, "_filters_mutated", getattr(warnings, "_filters_mutated_lock_held", int))()


CHECKS: Final[tuple[Check, ...]] = (
    Check("root logger", _AREA, "logging", _root, _put_root, blame=(r"\blogging\b",)),
    setting(
        "logging.disable",
        _AREA,
        "logging",
        lambda logging: logging.root.manager.disable,
        lambda logging, old: logging.disable(old),
    ),
    Check("loggers", _AREA, "logging", _loggers, _put_logger, blame=_LOGGERS),
    setting(
        "logger class",
        _AREA,
        "logging",
        lambda logging: logging.getLoggerClass(),
        lambda logging, old: logging.setLoggerClass(old),
        blame=(r"\bsetLoggerClass\b",),
    ),
    setting(
        "log record factory",
        _AREA,
        "logging",
        lambda logging: logging.getLogRecordFactory(),
        lambda logging, old: logging.setLogRecordFactory(old),
        blame=(r"\bsetLogRecordFactory\b",),
    ),
    entries(
        "names of log levels",
        _AREA,
        "logging",
        lambda logging: logging._levelToName,
        blame=(r"\baddLevelName\b",),
    ),
    attributes("logging's own errors", _AREA, "logging", "raiseExceptions", "lastResort"),
    setting(
        "warning filters",
        _AREA,
        "warnings",
        lambda w: tuple(w.filters),
        _put_filters,
        blame=_FILTERS,
    ),
)
