"""What stands in, in old code, for functions and registries of libraries: one list of them all."""

from __future__ import annotations

from codevault import registries, serializers


def register() -> None:
    """Registers them; they take effect in code that is mounted, or compiled, from then on."""
    serializers.stand_in()
    registries.stand_in()
