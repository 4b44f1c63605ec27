"""What `codevault convert` was asked for, and the command lines that its errors name."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from codevault.errors import ConvertError

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Request:
    """One conversion.

    Attributes:
        old: The old file, or a bundle's folder.
        output: The checkpoint to write.
        repo: Where the code is, as `load_code` takes it; None where nothing was said.
        commit: The full commit; None for a folder as it is.
        roots: Folders of the import path; empty takes what the repository states.
        shared: Dotted prefixes that are the host's; empty likewise.
        overlay: A folder whose files are laid over the tree, or None.
        class_path: The class or function that gives the policy; None takes what the file says.
        arguments: Its keyword arguments, as in an architecture.
        env: A JSON file with the environment description, or None.
        state: Which entry of the file holds the weights, with dots between keys; or None.
        probe: Observations, as `observations.parse` reads them; or None.
        allow_pickle: Whether a pickle may run code, in a process of its own.
        allow_setup: Whether a bundle's script may run.
    """

    old: str
    output: str
    repo: str | None = None
    commit: str | None = None
    roots: tuple[str, ...] = ()
    shared: tuple[str, ...] = ()
    overlay: str | None = None
    class_path: str | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)
    env: str | None = None
    state: str | None = None
    probe: str | None = None
    allow_pickle: bool = False
    allow_setup: bool = False

    def line(self, *more: str) -> str:
        """The command that asks for this, with further words."""
        words = ["codevault", "convert", self.old, "-o", self.output]
        singles = {
            "--repo": self.repo,
            "--commit": self.commit,
            "--overlay": self.overlay,
            "--class": self.class_path,
            "--env": self.env,
            "--state": self.state,
            "--probe": self.probe,
        }
        for option, value in singles.items():
            words += [] if value is None or option in more else [option, value]
        for option, values in (("--roots", self.roots), ("--shared", self.shared)):
            for value in values:
                words += [option, value]
        for name, data in self.arguments.items():
            words += ["--arg", f"{name}={json.dumps(data)}"]
        words += ["--allow-pickle"] if self.allow_pickle else []
        words += ["--allow-setup"] if self.allow_setup else []
        return shlex.join([*words, *more])


def argument(text: str) -> tuple[str, Any]:
    """Reads `name=JSON`; text that is no JSON is taken as text.

    Raises:
        ConvertError: There is no name.
    """
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise ConvertError(f"{text!r} is no argument", "it has no name=", "--arg hidden=64")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value
