"""`DynamicAgentLoader`, the name under which evaluation code knows `load_policy`."""

from __future__ import annotations

from codevault.load import load_policy


class DynamicAgentLoader:
    """`DynamicAgentLoader.from_mpt("checkpoint.mpt")` is `load_policy("checkpoint.mpt")`."""

    from_mpt = staticmethod(load_policy)
