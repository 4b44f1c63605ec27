"""Saves a policy with its code, its packages and a probe: `save_policy`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from codevault.captured import Selection
from codevault.draft import draft, write
from codevault.listed import must_be_listed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from codevault.manifest import Manifest


def save_policy(
    path: str | os.PathLike[str],
    policy: Any,
    *,
    architecture: Any = None,
    env: Any = None,
    repo: str | os.PathLike[str] | None = None,
    roots: Sequence[str] | None = None,
    shared: Sequence[str] | None = None,
    include: Sequence[str] | None = None,
    probe: Any = None,
    metadata: Mapping[str, Any] | None = None,
    embed: bool = False,
    rehearse: bool = False,
) -> Manifest:
    """Writes a checkpoint that names its code, so that it runs whatever becomes of that code.

    Args:
        path: The local `.mpt` file; an older one of that name is replaced in one step.
        policy: The policy; DDP and `torch.compile` wrappers are looked through.
        architecture: How to build it: a pydantic model or dataclass instance (asked for the policy
            by `make_policy(env)` if it has that), or a mapping with `class_path` and `fields`, or
            `args`/`kwargs`. None: as it was loaded, or its class without arguments.
        env: The environment description: a model or plain data.
        repo: Where the code is: a work tree, or the URL to record; None finds out.
        roots: Folders of the import path; None takes what the repository states, or what the
            policy's modules were imported from.
        shared: Dotted prefixes of modules that stay the host's.
        include: Globs of further files.
        probe: Observations to record outputs for: a tensor, a tuple (several arguments), a dict, a
            TensorDict; or a list of these, one a step, played with the policy's memory carried on;
            or a function that makes one of these. None records no probe.
        metadata: The caller's own plain data.
        embed: Whether all of the code travels in the file, not only what the remote lacks.
        rehearse: Whether to load the file in a fresh process with an empty cache before returning.

    Returns:
        The manifest that was written.

    Raises:
        CaptureError: The policy, its code or the metadata cannot be written down; names the part.
        CheckpointError: The file cannot be written.
        UsageError: One text was given where a list is meant.
    """
    must_be_listed(roots=roots, shared=shared, include=include)
    said = Selection(None if repo is None else os.fspath(repo), roots, shared, include)
    made = draft(policy, architecture, env, said, probe, metadata, embed=embed)
    return write(made, os.fspath(path), rehearse=rehearse)
