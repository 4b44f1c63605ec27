"""The libraries whose registries are guarded."""

from __future__ import annotations

from typing import Final

from codevault.registries import configs, environments, opdefs, operators, pytrees, reducers
from codevault.registries.guard import Library

LIBRARIES: Final = (
    Library("copyreg", ("copyreg",), reducers.rules),
    Library("torch._library.custom_ops", operators.WITHIN, opdefs.rules),
    Library("torch.library", operators.WITHIN, operators.rules),
    Library("torch.utils._pytree", pytrees.WITHIN, pytrees.torch_rules),
    Library("optree.registry", pytrees.WITHIN, pytrees.optree_rules),
    Library("gymnasium.envs.registration", ("gymnasium.envs.registration",), environments.rules),
    Library("omegaconf.omegaconf", ("omegaconf.omegaconf",), configs.resolver_rules),
    Library("hydra.core.config_store", ("hydra.core.config_store",), configs.store_rules),
)
"""Order does not matter: each is guarded when it is loaded."""
