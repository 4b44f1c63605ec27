"""`PolicyMetadata`: a dict of facts on a policy, whose keys are attributes too."""

from __future__ import annotations

from typing import Any, ClassVar, Self

from codevault.compat.deprecation import deprecated, inside


class PolicyMetadata(dict[str, Any]):
    """Facts on a policy; four of them are always there."""

    _REQUIRED_FIELDS: ClassVar = frozenset({"agent_step", "epoch", "generation", "train_time"})

    def __init__(
        self,
        agent_step: int = 0,
        epoch: int = 0,
        generation: int = 0,
        train_time: float = 0.0,
        **kwargs: Any,
    ) -> None:
        deprecated("PolicyMetadata", "codevault.save_policy(..., metadata={...})")
        super().__init__(
            agent_step=agent_step, epoch=epoch, generation=generation, train_time=train_time
        )
        self.update(kwargs)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """The metadata of a dict.

        Raises:
            ValueError: A field that is always there is missing.
        """
        missing = cls._REQUIRED_FIELDS - data.keys()
        if missing:
            raise ValueError(f"Missing required fields: {', '.join(sorted(missing))}")
        deprecated("PolicyMetadata", "codevault.save_policy(..., metadata={...})")
        with inside():
            return cls(**data)

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            kind = type(self).__name__
            raise AttributeError(f"{kind!r} object has no attribute {name!r}") from None

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith("_"):
            super().__setattr__(name, value)
        else:
            self[name] = value

    def __delattr__(self, name: str) -> None:
        try:
            del self[name]
        except KeyError as error:
            raise AttributeError(str(error.args[0])) from None

    def __delitem__(self, key: str) -> None:
        if key in self._REQUIRED_FIELDS:
            raise KeyError(f"Cannot delete required field: {key}")
        super().__delitem__(key)

    def pop(self, key: str, *default: Any) -> Any:
        """Takes a field out; those that are always there stay.

        Raises:
            KeyError: There is no such field, or it is one of those.
        """
        if key in self._REQUIRED_FIELDS:
            raise KeyError(f"Cannot pop required field: {key}")
        return super().pop(key, *default)

    def __repr__(self) -> str:
        first = sorted(self._REQUIRED_FIELDS)
        names = [*first, *sorted(self.keys() - self._REQUIRED_FIELDS)]
        return f"PolicyMetadata({', '.join(f'{name}={self[name]!r}' for name in names)})"
