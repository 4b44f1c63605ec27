"""The manifest of a checkpoint: what it says of its code, weights and packages."""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, Any, Final

from pydantic import Field, ValidationError

from codevault.errors import CheckpointError, FormatVersionError
from codevault.manifestparts import Commit, MigratedPart, OverlayPart, Part, ProbePart, Sha256

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

FORMAT: Final = 1
"""The format that this codevault writes; golden files of each released one load for ever."""

DEPTH: Final = 64
"""How deep plain data may be nested."""
VALUES: Final = 1_000_000
"""How many values plain data may have."""
_PACKAGES: Final = 4096
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,198}[A-Za-z0-9])?")
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9.!+_~-]{0,199}")
_SURROGATE = re.compile("[\ud800-\udfff]")
# Letters of any script and spaces may stand in a path; what moves or hides text may not.
_HIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


class Manifest(Part):
    """The `manifest.json` of a checkpoint, format 1.

    Attributes:
        format: Version of the file format.
        codevault: Version of the writer.
        repo: URL without user info, or None where the code travels in the file.
        commit: The full commit, or None for code without one.
        base: The newest ancestor that the remote had when the policy was saved.
        tree: git's id of the commit's tree.
        digest: The snapshot's digest.
        roots: Folders of the import path, in order.
        shared: Dotted prefixes that are the host's.
        include: Globs of further files.
        overlay: Uncommitted changes.
        left_out: Files of the tree that are not in the snapshot.
        modules: Own modules that were imported when the policy was saved.
        contract: Version of the interface to the application, if it states one.
        env: The environment description, encoded as in the architecture.
        python: Version of the interpreter that saved.
        packages: Third-party distributions that the own modules use, and their versions.
        architecture: sha256 of `policy_architecture.yaml`.
        weights: sha256 of `weights.safetensors`.
        probe: What the probe covers, or None.
        created: UTC time in ISO 8601.
        metadata: The caller's own data.
        migrations: Names of the rules files that its repository had; None where it states none.
        migrated: Each move to newer code, the first one first.
    """

    format: int = FORMAT
    codevault: str
    repo: str | None = None
    commit: Commit | None = None
    base: Commit | None = None
    tree: str | None = None
    digest: Sha256
    roots: tuple[str, ...] = Field(strict=False)
    shared: tuple[str, ...] = Field(default=(), strict=False)
    include: tuple[str, ...] = Field(default=(), strict=False)
    overlay: OverlayPart | None = None
    left_out: tuple[str, ...] = Field(default=(), strict=False)
    modules: tuple[str, ...] = Field(default=(), strict=False)
    contract: str | None = None
    env: Any = None
    python: str
    packages: dict[str, str]
    architecture: Sha256
    weights: Sha256
    probe: ProbePart | None = None
    created: str
    metadata: dict[str, Any] = Field(default_factory=dict)
    migrations: tuple[str, ...] | None = Field(default=None, strict=False)
    migrated: tuple[MigratedPart, ...] = Field(default=(), strict=False)

    @property
    def checkpoint_digest(self) -> str:
        """The digest that a grant for this one checkpoint names: of all that the manifest says."""
        return hashlib.sha256(self.to_json()).hexdigest()

    @property
    def policy_digest(self) -> str:
        """The policy's identity: sha256 over the digests of code, architecture and weights."""
        text = f"codevault-policy-1\n{self.digest}\n{self.architecture}\n{self.weights}\n"
        return hashlib.sha256(text.encode()).hexdigest()

    def to_json(self) -> bytes:
        """The bytes of `manifest.json`: sorted keys, so that equal manifests are equal bytes.

        What a file does not state is left out: its digest stays when a later codevault knows more.
        """
        data = {"format": self.format, **self.model_dump(mode="json", exclude_unset=True)}
        return (json.dumps(data, sort_keys=True, indent=1, ensure_ascii=False) + "\n").encode()


def parse(data: bytes, where: str) -> Manifest:
    """Reads the bytes of a `manifest.json`.

    Args:
        data: The bytes.
        where: The checkpoint, for messages.

    Raises:
        FormatVersionError: The format is not one that this version knows.
        CheckpointError: The bytes are no manifest, or hold what no manifest may.
    """
    try:
        raw = plain_json(data)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(
            f"{where} has a manifest.json that is no JSON", str(error), "save the checkpoint again"
        ) from None
    version = raw.get("format") if isinstance(raw, dict) else None
    if type(version) is not int or version != FORMAT:
        writer = raw.get("codevault") if isinstance(raw, dict) else "something else"
        writer = escaped(writer[:40]) if isinstance(writer, str) else "unknown"
        known = version if type(version) is int else type(version).__name__
        raise FormatVersionError(
            f"{where} has format {known}, and this codevault reads format {FORMAT}",
            f"it was written by codevault {writer}",
            "python -m pip install --upgrade codevault",
        )
    try:
        manifest = Manifest.model_validate(raw)
        wrong = _fault(manifest)
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()[:5]]
        wrong = escaped("; ".join(text[:300] for text in faults))
    if wrong:
        raise CheckpointError(
            f"{where} has a manifest that does not follow format {FORMAT}",
            wrong,
            "save the checkpoint again, or restore it from a copy",
        )
    return manifest


def _fault(manifest: Manifest) -> str:
    """What keeps a manifest from being written, read or shown; the empty string if nothing."""
    for name, texts in _shown(manifest):
        if all(texts) and "".join(texts).isprintable():
            continue
        for text in texts:
            path = name in ("include", "left_out", "overlay")
            if not text or _HIDDEN.search(text) or not (path or text.isprintable()):
                return f"{name} has {text[:80]!a}, which is empty or cannot be printed"
    if len(manifest.packages) > _PACKAGES:
        return f"packages has {len(manifest.packages)} entries, and may have {_PACKAGES}"
    for name, version in manifest.packages.items():
        if not _NAME.fullmatch(name) or not _VERSION.fullmatch(version):
            return f"packages has {name[:80]!a}: {version[:80]!a}, which names no package"
    for name, data in (("env", manifest.env), ("metadata", manifest.metadata)):
        if wrong := unfit(data):
            return f"{name} {wrong}"
    return ""


def _shown(manifest: Manifest) -> Iterator[tuple[str, Sequence[str]]]:
    """The texts that people and programs see, by field."""
    for name in ("codevault", "repo", "tree", "contract", "python", "created"):
        text = getattr(manifest, name)
        yield name, () if text is None else (text,)
    for name in ("roots", "shared", "include", "left_out", "modules"):
        yield name, getattr(manifest, name)
    yield "migrations", manifest.migrations or ()
    yield "probe", manifest.probe.untouched or () if manifest.probe else ()
    for move in manifest.migrated:
        texts = (move.repo, move.created, move.drift or None, *move.rules)
        yield "migrated", [text for text in texts if text is not None]
    for file in manifest.overlay.files if manifest.overlay else ():
        yield "overlay", [text for text in (file.path, file.mode, file.oid) if text is not None]


def plain_json(data: bytes | str) -> Any:
    """JSON of bounded size; raises ValueError, or RecursionError where it is nested too deeply."""
    text = data.decode() if isinstance(data, bytes) else data
    if crowded(text):
        raise ValueError(f"it has more than {VALUES:,} values")
    return json.loads(text)


def crowded(text: str) -> bool:
    """Whether JSON may have too many values; seen before small objects are made of them."""
    return sum(map(text.count, ",[{")) > 2 * VALUES


def unfit(data: Any) -> str:
    """A predicate that says why plain data are refused: depth, number, text; or nothing."""
    count, todo = 0, [([data], 0)]
    while todo:
        parts, depth = todo.pop()
        count += len(parts)
        if count > VALUES + 1:
            return f"has more than {VALUES:,} values"
        for value in parts:
            if isinstance(value, str):
                if not value.isascii() and _SURROGATE.search(value):
                    return f"has {value[:80]!a}, which is not Unicode"
            elif isinstance(value, int):
                if value.bit_length() > 8192:
                    return "has a number of more than 8192 bits"
            elif isinstance(value, dict | list | tuple):
                if depth >= DEPTH:
                    return f"is nested more than {DEPTH} levels deep"
                if isinstance(value, dict):
                    todo.append((list(value), depth + 1))
                    value = list(value.values())
                todo.append((value, depth + 1))
    return ""


def escaped(text: str) -> str:
    """Text for one line of a terminal: what is not printable is written as an escape."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
