"""From an old file to a checkpoint: recognise, list, read, build, prove, save."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from codevault import fileforms, oldforms, weights
from codevault.build import check_kept, environment
from codevault.checkpoint import open_checkpoint
from codevault.checkpointcode import open_cache
from codevault.convert import listing, spaces
from codevault.convert.lacks import complete
from codevault.convert.lacks import recipe as recipe_of
from codevault.convert.observations import NONE, parse
from codevault.convert.parent import Unpickled, unpickled
from codevault.convert.proof import proven
from codevault.downloads import local_copy
from codevault.errors import CaptureError, ConvertError, LegacyFormError
from codevault.load import load_code
from codevault.manifest import escaped
from codevault.rng import kept_rng
from codevault.save import save_policy
from codevault.uri import shown

if TYPE_CHECKING:
    from collections.abc import Callable

    from codevault.convert.request import Request
    from codevault.manifest import Manifest
    from codevault.oldforms import OldFile
    from codevault.splint import Splint


@dataclass(frozen=True, slots=True)
class Converted:
    """What became of an old file.

    Attributes:
        manifest: Of the checkpoint that was written.
        form: What the file was.
        unpickler: `none`, `restricted` or `full`.
        left_out: Entries of the file that are not in the checkpoint.
        notes: What the user should know, one line each.
    """

    manifest: Manifest
    form: str
    unpickler: str
    left_out: tuple[str, ...]
    notes: tuple[str, ...]


def recognised(uri: str) -> OldFile:
    """What an old file is; nothing of it is unpickled.

    Raises:
        CheckpointError: It is no old file that is known, or a damaged one.
        ConvertError: It is a checkpoint of codevault already.
    """
    path = local_copy(uri, open_cache(None).roots[0])
    try:
        open_checkpoint(path, uri)
    except LegacyFormError as error:
        return oldforms.read(path, error.form)
    hint = f"codevault show {shlex.quote(shown(uri))}"
    raise ConvertError(f"{shown(uri)} is a codevault checkpoint already", "", hint)


def convert(request: Request, say: Callable[[str], None]) -> Converted:
    """Makes a checkpoint of an old file.

    Args:
        request: What is wanted.
        say: Told the names that pickles look up, before anything is unpickled.

    Raises:
        ConvertError: Something is missing or cannot be; names the line to run instead.
        CodevaultError: The file, its code or its policy is not sound; see `load_policy`.
    """
    old = recognised(request.old)
    names = listing.names_of(old)
    for name in names:
        say(f"looks up {escaped(name)}")
    complete(request, old, names)
    setup(request, old)
    splint = _code(request, old)
    env = None if request.env is None else environment(_json(request.env), splint)
    if old.pickled:
        found = unpickled(old, splint, open_cache(None), names, request)
    else:
        found = Unpickled(oldforms.load_weights(old), {}, None)
    if old.form == fileforms.SB3 and request.probe is None:
        space = found.facts["arguments"]["observation_space"]
        request = replace(request, probe=json.dumps(spaces.observation(space)))
    recipe = recipe_of(request, old, found, splint)
    with kept_rng():
        described = oldforms.architecture(recipe, splint, env)
        policy = oldforms.build(described, splint, env)
        check_kept(policy, recipe.class_path)
        hint = "compare --commit, --class and --arg with the code it was trained with"
        weights.assign(policy, found.state, where=request.old, hint=hint)
        notes = proven(request, policy, found)
        observations = None if request.probe in (None, NONE) else parse(str(request.probe))
    left_out = tuple(escaped(str(name)) for name in found.facts.get("left_out", ()))
    if found.facts.get("stripped"):
        prefixes = ", ".join(found.facts["stripped"])
        notes = (*notes, escaped(f"taken from the front of all names of weights: {prefixes}"))
    unpickler = str(found.facts.get("unpickler", "none"))
    origin = {
        "file": os.path.basename(request.old.rstrip("/")),
        "sha256": _sha256(old.path),
        "form": old.form.removeprefix("a "),
        "unpickler": unpickler,
        "names": list(names),
        "left_out": list(left_out),
        "notes": list(notes),
    }
    manifest, more = _saved(request, policy, described, env, observations, {"converted": origin})
    return Converted(manifest, old.form, unpickler, left_out, (*notes, *more))


def _code(request: Request, old: OldFile) -> Splint:
    """The code, mounted; for a Stable-Baselines3 zip with the module that builds its policy."""

    def mounted(overlay: Any) -> Splint:
        roots, shared = request.roots or None, request.shared or None
        return load_code(
            request.repo or "", request.commit, roots=roots, shared=shared, overlay=overlay
        )

    splint = mounted(request.overlay)
    if old.form != fileforms.SB3 or request.class_path is not None:
        return splint
    laid = splint.overlay.files if splint.overlay is not None else {}
    files = {path: value[1] for path, value in laid.items() if value is not None}
    root = splint.snapshot.roots[0]
    path = f"{spaces.MODULE}.py" if root == "." else f"{root}/{spaces.MODULE}.py"
    return mounted({**files, path: spaces.SOURCE})


def setup(request: Request, old: OldFile) -> None:
    """Runs the script of a bundle as its own loader did, if that was allowed.

    Raises:
        RefusedError: It was not.
        ConvertError: It failed.
    """
    if old.setup is None:
        return
    if not request.allow_setup:
        oldforms.refuse_setup(old, request.old, request.line("--allow-setup"))
    from codevault.convert.setupscript import run

    run(old)


def _saved(
    request: Request, policy: Any, described: Any, env: Any, observations: Any, metadata: Any
) -> tuple[Manifest, tuple[str, ...]]:
    try:
        return save_policy(
            request.output,
            policy,
            architecture=described,
            env=env,
            probe=observations,
            metadata=metadata,
        ), ()
    except CaptureError as error:
        if isinstance(error.__cause__, NotImplementedError | TypeError):
            raise ConvertError(
                f"{request.class_path or 'the policy'} cannot be called with {request.probe}",
                f"{error.why}; where a policy plays by another method than forward, a class whose "
                "forward calls it can be laid over the code",
                request.line("--overlay", "FOLDER", "--class", "pkg.mod:Class"),
            ) from error
        if env is None or not error.what.startswith("env"):
            raise
        note = f"the environment is not in the checkpoint ({error.what}): load it with env=..."
        metadata["converted"]["notes"].append(note)
        return save_policy(
            request.output, policy, architecture=described, probe=observations, metadata=metadata
        ), (note,)


def _json(path: str) -> Any:
    from codevault.manifest import plain_json

    try:
        with open(path, "rb") as file:
            return plain_json(file.read())
    except (OSError, ValueError, RecursionError) as error:
        raise ConvertError(f"{path} holds no environment description", str(error)) from None


def _sha256(path: str) -> str:
    """Of a file, or of the files of a bundle's folder by name."""
    if os.path.isdir(path):
        digest = hashlib.sha256()
        for name in sorted(os.listdir(path)):
            if os.path.isfile(os.path.join(path, name)):
                digest.update(f"{_sha256(os.path.join(path, name))}  {name}\n".encode())
        return digest.hexdigest()
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
