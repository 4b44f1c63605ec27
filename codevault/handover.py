"""What to hand over in place of a value that a checkpoint cannot hold: one line for each kind."""

from __future__ import annotations

import os
from typing import Any, Final

_KINDS: Final = {
    "omegaconf.basecontainer:BaseContainer": "OmegaConf.to_container({}, resolve=True)",
    "argparse:Namespace": "vars({})",
    "types:SimpleNamespace": "vars({})",
    "torch:dtype": "str({})",
    "torch:device": "str({})",
    "torch:Tensor": "{}.tolist()",
    "numpy:ndarray": "{}.tolist()",
    "numpy:generic": "{}.item()",
    "builtins:set": "sorted({})",
    "builtins:frozenset": "sorted({})",
}
"""By class, what makes plain data of its instances. Names, since nothing is imported to refuse."""
_MODULE: Final = "torch.nn.modules.module:Module"


def line(value: Any, where: str) -> str:
    """The line that helps for `value`, which is found at `where` in an architecture or the like."""
    names = [f"{cls.__module__}:{cls.__qualname__}" for cls in type(value).__mro__]
    if _MODULE in names:
        return (
            'architecture={"class_path": "pkg.mod:make_policy"}  # a function of your code that '
            f"makes {where} as well"
        )
    known = next((_KINDS[name] for name in names if name in _KINDS), None)
    if isinstance(value, os.PathLike):
        known = "str({})"
    if known is None:
        return f"hand {where} over as plain data, and let a function of your code make the object"
    return f"{known.format(where)}  # and let your code make of it what it needs"
