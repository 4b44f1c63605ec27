"""The interface between an application and its policies, by version: steps that bridge two of them.

    CONTRACT = Contract(versions=("duck", "rules"), describe=..., inputs=..., wrappers=...)
    policy = codevault.load_policy(uri, env=env, contract=CONTRACT)    takes today's environment
    newer = codevault.contract.wrap(policy, "rules")                   takes today's calls

A policy states its version in its checkpoint: `contract = "rules"` under `[tool.codevault]` of the
repository's `pyproject.toml` when it was saved. Only consecutive versions have steps; longer ways
are chains of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from codevault.errors import ContractError
from codevault.provenances import provenance

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from codevault.manifest import Manifest

Pair = tuple[str, str]
Description = Any
"""An environment as plain data, in the terms of one version."""


@dataclass(frozen=True, slots=True)
class Contract:
    """The versions of an interface, and the steps between them.

    Attributes:
        versions: All versions, the oldest first; the last is the application's own.
        describe: Takes the application's environment apart into plain data.
        inputs: For (newer, older): the older version's description of what the newer one describes.
        builders: For a version: what its policies take as `env`, made of its description; the
            second argument is the policy's code, whose `load_symbol` gives the old code's own
            classes. Without one, policies take the description itself.
        wrappers: For (older, newer): what gives an older policy the newer interface: called with
            the policy, it returns what callers use instead.
        unstated: The version of a policy whose checkpoint states none, by a look at its code.
    """

    versions: tuple[str, ...]
    describe: Callable[[Any], Description] = lambda env: env
    inputs: Mapping[Pair, Callable[[Description], Description]] = field(default_factory=dict)
    builders: Mapping[str, Callable[[Description, Any], Any]] = field(default_factory=dict)
    wrappers: Mapping[Pair, Callable[[Any], Any]] = field(default_factory=dict)
    unstated: Callable[[Any], str | None] = lambda code: None

    def __post_init__(self) -> None:
        consecutive = set(pairwise(self.versions))
        wrong = [
            *(f"inputs[{p}]" for p in self.inputs if p[::-1] not in consecutive),
            *(f"wrappers[{p}]" for p in self.wrappers if p not in consecutive),
            *(f"builders[{v!r}]" for v in self.builders if v not in self.versions),
        ]
        if wrong or len(set(self.versions)) != len(self.versions) or not self.versions:
            raise ContractError(
                f"{', '.join(wrong) or f'versions={self.versions}'} cannot be part of a contract",
                "steps join consecutive versions: inputs (newer, older), wrappers (older, newer); "
                f"the versions, oldest first, are {', '.join(self.versions) or 'none'}",
                "name each version once, and give each step the two versions it joins",
            )

    def version_of(self, manifest: Manifest, code: Any) -> str:
        """The version that a checkpoint states, or that `unstated` finds in its code.

        Raises:
            ContractError: There is none, or one that this contract does not know.
        """
        found = manifest.contract or self.unstated(code)
        if found is None:
            raise ContractError(
                "the checkpoint states no version of its interface to the application",
                f"known versions, oldest first: {', '.join(self.versions)}",
                "Contract(..., unstated=lambda code: 'VERSION')",
            )
        self._known(found)
        return found

    def adapted(self, env: Any, version: str, code: Any) -> Any:
        """The application's environment as a policy of `version` takes it.

        Args:
            env: The application's.
            version: The policy's.
            code: The policy's code: a splint, or today's.

        Raises:
            ContractError: A step between the two versions is missing.
        """
        self._known(version)
        description = self.describe(env)
        newest_first = self.versions[self.versions.index(version) :][::-1]
        for pair in pairwise(newest_first):
            if pair not in self.inputs:
                raise _missing("inputs", pair, self.versions[-1], version)
            description = self.inputs[pair](description)
        build = self.builders.get(version)
        return description if build is None else build(description, code)

    def wrapped(self, policy: Any, version: str, target: str) -> Any:
        """A policy of `version` with the interface of the newer version `target`.

        Raises:
            ContractError: A step between the two versions is missing, or `target` is older.
        """
        for known in (version, target):
            self._known(known)
        start, end = self.versions.index(version), self.versions.index(target)
        if end < start:
            raise ContractError(
                f"a policy of version {version!r} cannot be wrapped as {target!r}",
                f"that is older; wrappers lead to newer versions: {', '.join(self.versions)}",
                f"codevault.contract.wrap(policy, {self.versions[-1]!r})",
            )
        for pair in pairwise(self.versions[start : end + 1]):
            if pair not in self.wrappers:
                raise _missing("wrappers", pair, version, target)
            policy = self.wrappers[pair](policy)
        return policy

    def missing(self) -> tuple[str, ...]:
        """The steps that this contract lacks, one line each: a test of the application's own."""
        return tuple(self._missing())

    def _missing(self) -> Iterator[str]:
        for older, newer in pairwise(self.versions):
            if (newer, older) not in self.inputs:
                yield f"inputs[({newer!r}, {older!r})]"
            if (older, newer) not in self.wrappers:
                yield f"wrappers[({older!r}, {newer!r})]"

    def _known(self, version: str) -> None:
        if version not in self.versions:
            raise ContractError(
                f"the contract knows no version {version!r}",
                f"its versions, oldest first: {', '.join(self.versions)}",
                "add it to Contract(versions=...), with its steps",
            )


def wrap(policy: Any, version: str) -> Any:
    """A loaded policy with the interface of a newer version, by the contract it was loaded with.

    The policy itself stays as it is; what is returned is what the contract's wrappers return.

    Args:
        policy: What `load_policy(uri, contract=...)` gave.
        version: The interface to give it, such as the application's own.

    Raises:
        ContractError: It was loaded without a contract, or a step is missing.
        CodevaultError: It was not loaded by `load_policy` in this process.
    """
    known = provenance(policy)
    if known.contract is None or known.version is None:
        raise ContractError(
            f"this {type(policy).__qualname__} was loaded without a contract",
            "",
            f"codevault.load_policy({known.uri!r}, contract=CONTRACT)",
        )
    return known.contract.wrapped(policy, known.version, version)


def _missing(kind: str, pair: Pair, start: str, end: str) -> ContractError:
    return ContractError(
        f"there is no step from version {pair[0]!r} to {pair[1]!r}",
        f"the way from {start!r} to {end!r} needs it",
        f"Contract(..., {kind}={{({pair[0]!r}, {pair[1]!r}): step}})",
    )
