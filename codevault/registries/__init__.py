"""Process-wide registries: two versions of some code, or one and the application, meet there.

They are keyed by names, or by third-party classes, so that a second registration would replace the
first without a word, for both. Here it is compared instead: equal code is accepted, and whoever
registered first stays; different code is refused, naming both. What concerns no snapshot passes
untouched, and so does what a library registers for itself.

    install()          guards the registries of the libraries that are loaded, and of others later
    stand_in()         what old code sees of gymnasium's registry
    leave(splint)      notes that a splint was unloaded
    RegistrationError  the refusal

Read in this order: registrant, ledger, guard, table; what is equal: codeform, modulecode, reach,
sameness; then the libraries: operators, borrowed, customops, byclass, byname, environments.
"""

from codevault.errors import RegistrationError
from codevault.registries.environments import stand_in
from codevault.registries.guard import install
from codevault.registries.ledger import leave

__all__ = ["RegistrationError", "install", "leave", "stand_in"]
