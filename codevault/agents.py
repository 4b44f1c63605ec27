"""The name under which evaluation code asks for agents; the same load as `load_policy`."""

from __future__ import annotations

from codevault.load import load_policy


class DynamicAgentLoader:
    """`DynamicAgentLoader.from_mpt("checkpoint.mpt")` is `load_policy("checkpoint.mpt")`."""

    from_mpt = staticmethod(load_policy)
