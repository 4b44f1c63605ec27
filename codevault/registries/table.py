"""The libraries whose registries are guarded."""

from __future__ import annotations

from typing import Final

from codevault.registries import byclass, byname, customops, operators
from codevault.registries.guard import Library

LIBRARIES: Final = (
    Library("copyreg", ("copyreg",), byclass.copyreg_rules),
    Library("torch._library.custom_ops", operators.WITHIN, customops.rules),
    Library("torch.library", operators.WITHIN, operators.rules),
    Library("torch.serialization", ("torch.serialization",), byname.safe_global_rules),
    Library("torch.utils._pytree", byclass.TREES, byclass.torch_rules),
    Library("optree.registry", byclass.TREES, byclass.optree_rules),
    Library(
        "gymnasium.envs.registration", ("gymnasium.envs.registration",), byname.environment_rules
    ),
    Library("omegaconf.omegaconf", ("omegaconf.omegaconf",), byname.resolver_rules),
    Library("hydra.core.config_store", ("hydra.core.config_store",), byname.store_rules),
)
"""Order does not matter: each is guarded when it is loaded."""
