"""The policy of an old file, with code that the caller brought."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from codevault import architecture as arch
from codevault import fileforms, loadlog
from codevault.build import check_kept
from codevault.errors import CaptureError, RefusedError
from codevault.oldforms.files import OldFile, load_weights
from codevault.oldforms.recipe import architecture, build, namer
from codevault.provenances import Provenance, remember

if TYPE_CHECKING:
    from codevault.splint import Splint


def load(old: OldFile, splint: Splint, env: Any, where: str) -> tuple[Any, Any]:
    """Builds the policy of an old file and gives it its weights.

    Args:
        old: What `read` gave.
        splint: Its code.
        env: The environment description; None where its class needs none.
        where: The file, for messages.

    Returns:
        The policy, and its architecture as `save_policy` takes it.

    Raises:
        LegacyFormError: It needs an unpickler, or does not say how its policy is built.
        RefusedError: A script of its own wants to run first.
        CodeError: The code lacks what it names.
        BuildError: Its policy could not be built.
        StateDictError: The weights do not fit.
    """
    from codevault import weights

    if old.recipe is None or old.pickled:
        raise fileforms.legacy(where, old.form, fileforms.code_options(splint.snapshot))
    line = fileforms.legacy(where, old.form, fileforms.code_options(splint.snapshot)).hint
    refuse_setup(old, where, f"{line} --allow-setup")
    loadlog.note(where, splint.snapshot, None, splint, loadlog.GIVEN)
    described = architecture(old.recipe, splint, env)
    policy = build(described, splint, env)
    check_kept(policy, old.recipe.class_path)
    hint = "name the commit that it was trained with: codevault.load_code(repo, commit)"
    weights.assign(policy, load_weights(old), where=where, hint=hint)
    return policy, described


def remember_origin(
    policy: Any, described: Any, old: OldFile, splint: Splint, env: Any, where: str
) -> None:
    """Keeps where a policy came from, and how it was built; what `load` gave is given back."""
    name_of = namer(splint)
    with contextlib.suppress(CaptureError):  # what stands in no checkpoint is not kept either
        plain, given = arch.describe(described, name_of), arch.encode(env, name_of, "env")
        found = (where, old.path, None, plain, splint, loadlog.GIVEN, None, (), splint.audit)
        remember(policy, Provenance(*found, env=given))


def refuse_setup(old: OldFile, where: str, line: str) -> None:
    """Raises RefusedError, with the line that allows it, if a script wants to run first."""
    if old.setup is not None:
        raise RefusedError(
            f"{where} wants to run a script of its own: {old.setup}",
            "setup_script is code that nobody granted the right to run",
            f"{line}  # if you have read it",
        )
