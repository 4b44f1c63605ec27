"""`PolicyRecord`: a policy's name, address and facts; the policy is loaded when asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from codevault.compat.deprecation import deprecated, inside
from codevault.compat.metadata import PolicyMetadata

if TYPE_CHECKING:
    from codevault.compat.store import PolicyStore

_INSTEAD = "codevault.load_policy(uri) and codevault.read_manifest(uri)"


class PolicyRecord:
    """A policy that may be loaded, and what is known of it."""

    def __init__(
        self,
        policy_store: PolicyStore | None = None,
        run_name: str = "",
        uri: str | None = None,
        metadata: PolicyMetadata | dict[str, Any] | None = None,
    ) -> None:
        deprecated("PolicyRecord", _INSTEAD)
        self._policy_store = policy_store
        self.run_name = run_name
        self.uri = uri
        self._cached_policy: Any = None
        self.metadata = {} if metadata is None else metadata

    @property
    def metadata(self) -> PolicyMetadata:
        """The facts; a dict that is assigned becomes a `PolicyMetadata`.

        Raises:
            AttributeError: An object of an older version that has none.
        """
        if "_metadata" not in self.__dict__:
            if "checkpoint" not in self.__dict__:
                raise AttributeError(
                    f"No metadata found under any known attribute names: {sorted(self.__dict__)}"
                )
            self.metadata = self.__dict__["checkpoint"]
        found: PolicyMetadata = self._metadata
        return found

    @metadata.setter
    def metadata(self, value: Any) -> None:
        if not isinstance(value, dict):
            kind = type(value).__name__
            raise TypeError(f"metadata must be PolicyMetadata or dict, got {kind}")
        with inside():
            self._metadata = value if isinstance(value, PolicyMetadata) else PolicyMetadata(**value)

    @property
    def file_path(self) -> str:
        """The path of a `file://` address.

        Raises:
            ValueError: There is no address, or one of another kind.
        """
        if self.uri is None:
            raise ValueError("Cannot get file_path without a valid URI.")
        if not self.uri.startswith("file://"):
            raise ValueError(f"file_path() only applies to file:// URIs, but got: {self.uri}.")
        return self.uri.removeprefix("file://")

    @property
    def policy(self) -> Any:
        """The policy, loaded with the code it was saved with when it is first asked for.

        Raises:
            ValueError: There is no address or no store to load it.
            CodevaultError: As `codevault.load_policy`.
        """
        if self._cached_policy is None:
            if self._policy_store is None:
                raise ValueError("Cannot load policy without a PolicyStore.")
            if self.uri is None:
                raise ValueError("Cannot load policy without a valid URI.")
            with inside():
                self._cached_policy = self._policy_store.load_from_uri(self.uri).policy
        return self._cached_policy

    @policy.setter
    def policy(self, policy: Any) -> None:
        self._cached_policy = policy

    def num_params(self) -> int:
        """How many parameters are trained."""
        return sum(p.numel() for p in self.policy.parameters() if p.requires_grad)

    def extract_wandb_run_info(self) -> tuple[str, str, str, str | None]:
        """Entity, project, name and version of a `wandb://` address.

        Raises:
            ValueError: It is no such address.
        """
        if self.uri is None or not self.uri.startswith("wandb://"):
            raise ValueError("Cannot get wandb info without a valid URI.")
        parts = self.uri.removeprefix("wandb://").split("/")
        if len(parts) != 3:
            raise ValueError(
                f"Failed to parse wandb URI: {self.uri}. "
                "Expected format: wandb://<entity>/<project>/<name>"
            )
        entity, project, name = parts
        name, colon, version = name.partition(":")
        return entity, project, name, version if colon else None

    def __repr__(self) -> str:
        known = [
            key for key in ("epoch", "agent_step", "generation", "score") if key in self.metadata
        ]
        facts = ", ".join(f"{key}={self.metadata[key]}" for key in known)
        return f"PolicyRecord(name={self.run_name}, uri={self.uri})\nMetadata: {facts}"
