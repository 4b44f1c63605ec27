"""Old files that say how their policy is built, and can be read without unpickling anything."""

from codevault.oldforms.files import OldFile, load_weights, member, read
from codevault.oldforms.loading import load, refuse_setup, remember_origin
from codevault.oldforms.recipe import Recipe, architecture, build, namer

__all__ = [
    "OldFile",
    "Recipe",
    "architecture",
    "build",
    "load",
    "load_weights",
    "member",
    "namer",
    "read",
    "refuse_setup",
    "remember_origin",
]
