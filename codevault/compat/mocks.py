"""Policies and records for tests: they do nothing, with the interface of real ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import torch

from codevault.compat.deprecation import deprecated, inside
from codevault.compat.records import PolicyRecord
from codevault.compat.store import PolicyStore

if TYPE_CHECKING:
    from codevault.compat.metadata import PolicyMetadata

_UNKNOWN: Final = 255
_INSTEAD: Final = "a policy of your tests' own"


class MockPolicy(torch.nn.Module):
    """A small network with the parts that reports look for."""

    def __init__(self) -> None:
        deprecated("MockPolicy", _INSTEAD)
        super().__init__()
        self.fc = torch.nn.Linear(10, 10)
        self.components = torch.nn.ModuleDict(
            {
                "_core_": torch.nn.LSTM(10, 10),
                "_value_": torch.nn.Linear(10, 1),
                "_action_": torch.nn.Linear(10, 5),
            }
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """One layer: float [..., 10] to [..., 10]."""
        found: torch.Tensor = self.fc(x)
        return found


class MockAgent(torch.nn.Module):
    """A policy that always does nothing, and maps feature ids as real ones do.

    Its actions are int64 [B], or [B, 2] after `initialize_to_environment` in its older form.
    """

    def __init__(self, policy_env_info: Any = None) -> None:
        deprecated("MockAgent", _INSTEAD)
        super().__init__()
        self.policy_env_info = policy_env_info
        self.components_with_memory: list[str] = []
        self.components = torch.nn.ModuleDict()
        self.policy = None
        self.original_feature_mapping: dict[str, int] | None = None
        self.feature_id_remap: dict[int, int] = {}
        self._device = torch.device("cpu")
        self._two_numbers = False

    @property
    def device(self) -> torch.device:
        """Where its actions are."""
        return self._device

    @property
    def total_params(self) -> int:
        """How many parameters it has."""
        return sum(p.numel() for p in self.parameters())

    def forward(self, td: Any, action: torch.Tensor | None = None) -> Any:
        """Puts `actions` of zeros into a TensorDict (or dict) that may have `env_obs` [B, …]."""
        batch = td["env_obs"].shape[0] if "env_obs" in td.keys() else None  # noqa: SIM118
        if batch is None:
            batch = td.batch_size[0] if getattr(td, "batch_size", ()) else 1
        shape = (batch, 2) if self._two_numbers else (batch,)
        td["actions"] = torch.zeros(shape, dtype=torch.long)
        return td

    def initialize_to_environment(
        self,
        policy_env_info: Any = None,
        *args: Any,
        features: dict[str, dict[str, Any]] | None = None,
        action_names: list[str] | None = None,
        action_max_params: list[int] | None = None,
        device: Any = None,
        is_training: bool | None = None,
    ) -> None:
        """Takes an environment's features and actions.

        Two forms: `(policy_env_info, device, *, is_training)`, and the older
        `(features, action_names, action_max_params, device, is_training)`.
        """
        if features is None and isinstance(policy_env_info, dict):
            features, policy_env_info = policy_env_info, None
        if features is None:
            device = args[0] if args else device
            self.action_names: list[str] | None = [
                action.name for action in policy_env_info.actions.actions()
            ]
            rows = {
                feature.name: {"id": feature.id, "normalization": feature.normalization}
                for feature in policy_env_info.obs_features
            }
        else:
            given = dict(zip(_OLDER, args, strict=False))
            self.action_names = given.get("action_names", action_names)
            self.action_max_params = given.get("action_max_params", action_max_params)
            device = given.get("device", device)
            is_training = given.get("is_training", is_training)
            rows = features
            self._two_numbers = True
        self._device = torch.device(device or "cpu")
        self.training = self.training if is_training is None else is_training
        self._take(rows)

    def _take(self, features: dict[str, dict[str, Any]]) -> None:
        self.feature_id_to_name = {row["id"]: name for name, row in features.items()}
        self.feature_normalizations = {
            row["id"]: row["normalization"] for row in features.values() if "normalization" in row
        }
        if self.original_feature_mapping is None:
            self.original_feature_mapping = {name: row["id"] for name, row in features.items()}
            return
        self.feature_id_remap = {}
        for name, row in features.items():
            before = self.original_feature_mapping.get(name)
            if before is not None and before != row["id"]:
                self.feature_id_remap[row["id"]] = before
            elif before is None and self.training:
                self.original_feature_mapping[name] = row["id"]
            elif before is None:
                self.feature_id_remap[row["id"]] = _UNKNOWN
        if self.feature_id_remap:
            self._remap({row["id"] for row in features.values()})

    def _remap(self, current: set[int]) -> None:
        table = torch.arange(256, dtype=torch.uint8, device=self._device)
        for old, new in self.feature_id_remap.items():
            table[old] = new
        for original in (self.original_feature_mapping or {}).values():
            if original not in current and original < 256:
                table[original] = _UNKNOWN
        for name, component in self.components.items():
            update: Any = getattr(component, "update_feature_remapping", None)
            if name.startswith("_obs_") and update is not None:
                update(table)

    def get_original_feature_mapping(self) -> dict[str, int] | None:
        """Feature ids of the first environment, by name."""
        return dict(self.original_feature_mapping) if self.original_feature_mapping else None

    def reset_memory(self) -> None:
        """Nothing: it has no memory."""

    def get_memory(self) -> dict[str, Any]:
        """An empty dict."""
        return {}


_OLDER: Final = ("action_names", "action_max_params", "device", "is_training")


class MockPolicyRecord(PolicyRecord):
    """A record whose policy is a mock."""

    def __init__(
        self,
        policy_store: PolicyStore | None = None,
        run_name: str = "mock_run",
        uri: str | None = "mock://policy",
        metadata: PolicyMetadata | dict[str, Any] | None = None,
        *,
        epoch: int | None = None,
        score: float | None = None,
    ) -> None:
        deprecated("MockPolicyRecord", _INSTEAD)
        facts = {"epoch": epoch, "score": score}
        with inside():
            store = PolicyStore() if policy_store is None else policy_store
            super().__init__(store, run_name, uri, metadata)
        self.metadata.update({k: v for k, v in facts.items() if v is not None})

    @classmethod
    def from_key_and_version(
        cls,
        policy_key: str = "",
        policy_version: int = 0,
        policy_store: PolicyStore | None = None,
        run_name: str = "test_run",
        *,
        key: str | None = None,
        version: int | None = None,
    ) -> MockPolicyRecord:
        """A record with this address and epoch; the last class called them `key` and `version`."""
        deprecated("MockPolicyRecord", _INSTEAD)
        uri, epoch = policy_key if key is None else key, policy_version
        with inside():
            return cls(policy_store, run_name, uri, epoch=epoch if version is None else version)

    @property
    def policy(self) -> Any:
        """A `MockAgent` where there is no address, else a `MockPolicy`."""
        if self._cached_policy is None:
            with inside():
                self._cached_policy = MockAgent() if self.uri is None else MockPolicy()
        return self._cached_policy

    @policy.setter
    def policy(self, policy: Any) -> None:
        self._cached_policy = policy
