"""What is known beforehand about a package: `packages/<name>.toml`, beside its `.py`, the exercise.

Chosen for what goes wrong when a package does not stand under its own name: lazy loaders, strings,
registries, namespace packages, data files, generated code, pickles, replaced modules.
"""

from __future__ import annotations

import hashlib
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

_PACKAGES: Final = Path(__file__).parent / "packages"


@dataclass(frozen=True, slots=True)
class Suite:
    """The part of a package's own tests that is run: those of the newer version.

    Attributes:
        paths: Files and folders, below the sdist's top or in the package itself (`lib/…`).
        extra: Further files of the sdist that the tests need.
        roots: Folders of the tree that stand on the import path beside `lib` and the top.
        needs: What the tests need beside what the package needs.
        options: For pytest.
        variables: For the process.
        plugins: Modules of the package that are pytest plugins.
        leave_out: Tests that neither arm runs: node id, and why.
        differ: Tests that end otherwise in the isolated run than in the plain one: a key of
            `page.REASONS`, and what their node ids start with. One that is not named is a problem.
    """

    paths: tuple[str, ...]
    extra: tuple[str, ...] = ()
    roots: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    variables: dict[str, str] | None = None
    plugins: tuple[str, ...] = ()
    leave_out: dict[str, str] | None = None
    differ: dict[str, tuple[str, ...]] | None = None


@dataclass(frozen=True, slots=True)
class Case:
    """One package.

    Attributes:
        name: The distribution.
        versions: An older and a newer one.
        nasty: What makes it hard.
        exercise: The file of Python that calls into it.
        digest: Changes when this description or the exercise does.
        needs: Distributions that stay third party.
        alone: Likewise, without what they need themselves.
        host: Modules that the interpreter that runs all this must have.
        other_twin: Whether that interpreter has another version under the same name, which is then
            imported and not compared; otherwise the host has the newer version installed.
        apart: Whether two versions are refused in one process, as `gaps` says; then each is mounted
            in a process of its own, without a twin.
        host_changes: Attributes of the twin's modules that change by a plain import, too, and why.
        suite: Its own tests.
        no_suite: Why there are none.
        gaps: What it does that old code cannot do.
        quick: Whether it belongs to what runs by default.
    """

    name: str
    versions: tuple[str, str]
    nasty: str
    exercise: Path
    digest: str
    needs: tuple[str, ...] = ()
    alone: tuple[str, ...] = ()
    host: tuple[str, ...] = ()
    other_twin: bool = False
    apart: bool = False
    host_changes: dict[str, str] | None = None
    suite: Suite | None = None
    no_suite: str = ""
    gaps: tuple[str, ...] = ()
    quick: bool = False


def _frozen(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _frozen(v) for k, v in value.items()}
    return tuple(value) if isinstance(value, list) else value


def _read(file: Path) -> Case:
    exercise = file.with_suffix(".py")
    known = _frozen(tomllib.loads(file.read_text()))
    suite = known.pop("suite", None)
    return Case(
        exercise=exercise,
        digest=hashlib.sha256(file.read_bytes() + exercise.read_bytes()).hexdigest()[:16],
        suite=None if suite is None else Suite(**suite),
        **known,
    )


CASES: Final = tuple(_read(file) for file in sorted(_PACKAGES.glob("*.toml")))
