"""Old files that say how their policy is built, and can be read without unpickling anything."""

from codevault.oldforms.files import OldFile, load_weights, member, read
from codevault.oldforms.loading import load, refuse_setup
from codevault.oldforms.recipe import Recipe, architecture, build

__all__ = [
    "OldFile",
    "Recipe",
    "architecture",
    "build",
    "load",
    "load_weights",
    "member",
    "read",
    "refuse_setup",
]
