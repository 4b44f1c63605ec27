"""Run a trained policy with the code it was trained on, next to today's code, in one process.

    policy = codevault.load_policy("best.mpt")        old code, today's torch, no name clash
    codevault.save_policy("best.mpt", policy, ...)    names its repository, commit and changes
    splint = codevault.load_code(repo, commit)        a version of some code, as modules
    codevault.prefetch(uris)                          so that later loads need no network

Importing this package imports nothing heavy; each name is loaded when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from codevault.agents import DynamicAgentLoader
    from codevault.errors import (
        AuditWarning,
        CodeChangedWarning,
        CodevaultError,
        CodevaultWarning,
        PackagesWarning,
        ProbeWarning,
    )
    from codevault.evolve.diagnose import diagnose
    from codevault.evolve.diagnosis import Diagnosis
    from codevault.evolve.gradients import parameter_roles
    from codevault.evolve.match import Match, match_state_dicts
    from codevault.load import load_code, load_policy
    from codevault.manifest import Manifest
    from codevault.migration.migrating import Migration, migrate
    from codevault.migration.suggestion import Suggestion, suggest_rules
    from codevault.prefetching import PrefetchReport, prefetch
    from codevault.provenances import Provenance, provenance
    from codevault.save import save_policy
    from codevault.show import read_manifest
    from codevault.splint import Splint
    from codevault.training import CheckpointManager

_HOME = {
    "AuditWarning": "errors",
    "CheckpointManager": "training",
    "CodeChangedWarning": "errors",
    "CodevaultError": "errors",
    "CodevaultWarning": "errors",
    "Diagnosis": "evolve.diagnosis",
    "DynamicAgentLoader": "agents",
    "Manifest": "manifest",
    "Match": "evolve.match",
    "Migration": "migration.migrating",
    "PackagesWarning": "errors",
    "PrefetchReport": "prefetching",
    "ProbeWarning": "errors",
    "Provenance": "provenances",
    "Splint": "splint",
    "Suggestion": "migration.suggestion",
    "diagnose": "evolve.diagnose",
    "load_code": "load",
    "load_policy": "load",
    "match_state_dicts": "evolve.match",
    "migrate": "migration.migrating",
    "parameter_roles": "evolve.gradients",
    "prefetch": "prefetching",
    "provenance": "provenances",
    "read_manifest": "show",
    "save_policy": "save",
    "suggest_rules": "migration.suggestion",
}

_MODULES = frozenset({"compat", "contract"})

__all__ = [
    "AuditWarning",
    "CheckpointManager",
    "CodeChangedWarning",
    "CodevaultError",
    "CodevaultWarning",
    "Diagnosis",
    "DynamicAgentLoader",
    "Manifest",
    "Match",
    "Migration",
    "PackagesWarning",
    "PrefetchReport",
    "ProbeWarning",
    "Provenance",
    "Splint",
    "Suggestion",
    "diagnose",
    "load_code",
    "load_policy",
    "match_state_dicts",
    "migrate",
    "parameter_roles",
    "prefetch",
    "provenance",
    "read_manifest",
    "save_policy",
    "suggest_rules",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"codevault.{name}")
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'codevault' has no attribute {name!r}")
    value = getattr(import_module(f"codevault.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
