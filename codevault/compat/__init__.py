"""Old names for policies and their files, working over today's functions; each warns once a call.

PolicyStore, PolicyRecord, PolicyMetadata    codevault.load_policy, save_policy, provenance
SimpleCheckpointManager                      codevault.CheckpointManager
MockAgent, MockPolicyRecord                  a policy of your tests' own
"""

from codevault.compat.checkpoints import SimpleCheckpointManager
from codevault.compat.metadata import PolicyMetadata
from codevault.compat.mocks import MockAgent, MockPolicy, MockPolicyRecord
from codevault.compat.records import PolicyRecord
from codevault.compat.store import PolicyMissingError, PolicyStore

__all__ = [
    "MockAgent",
    "MockPolicy",
    "MockPolicyRecord",
    "PolicyMetadata",
    "PolicyMissingError",
    "PolicyRecord",
    "PolicyStore",
    "SimpleCheckpointManager",
]
