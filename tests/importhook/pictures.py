"""Trees as readable pictures: path → text, laid out as real files."""

from __future__ import annotations

import hashlib
import os
import textwrap
from typing import TYPE_CHECKING

import pytest

from codevault_importhook import Mount, registry

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

NAME = "_splint_0123456789ab_cdef01234567"
OTHER = "_splint_fedcba987654_3210fedcba98"


class Folder:
    """The simplest `ModuleSource`: a folder of files, counted as they are read."""

    def __init__(self, top: Path, picture: Mapping[str, str | bytes]) -> None:
        self.top = top
        self.files = {path: _bytes(content) for path, content in picture.items()}
        listing = repr(sorted((p, hashlib.sha256(b).hexdigest()) for p, b in self.files.items()))
        self.digest = hashlib.sha256(listing.encode()).hexdigest()
        self.reads: list[str] = []
        for path, content in self.files.items():
            (top / path).parent.mkdir(parents=True, exist_ok=True)
            (top / path).write_bytes(content)
        top.mkdir(parents=True, exist_ok=True)

    @property
    def paths(self) -> set[str]:
        return set(self.files)

    def read(self, path: str) -> bytes:
        self.reads.append(path)
        return self.files[path]

    def location(self, path: str) -> str:
        return os.path.join(self.top, path) if path else str(self.top)


def mounted(name: str = NAME) -> Mount:
    """The mount that stands under `name`."""
    mount = registry.get(name)
    assert mount is not None
    return mount


def _bytes(content: str | bytes) -> bytes:
    if isinstance(content, bytes):
        return content
    return textwrap.dedent(content).lstrip("\n").encode()


TWIN = "host = v = V = VERSION = 'host'\n"
"""A module of the host that has the name of one of the snapshot's."""


beside_twins = pytest.mark.parametrize(
    "put", ["alone", "twin-imported", "twin-importable"], indirect=True
)


def twins_of(picture: Mapping[str, str | bytes], roots: Sequence[str]) -> dict[str, str]:
    """Paths and names of the host's modules that have the names of a snapshot's `pkg`."""
    tops = [root.strip("./") for root in roots]
    found = {}
    for path in picture:
        for top in tops:
            inner = path[len(top) :].lstrip("/")
            if path.startswith(top) and inner.startswith("pkg") and inner.endswith(".py"):
                found[inner] = inner[:-3].replace("/", ".").removesuffix(".__init__")
    return found


HOST = {
    "metta/compat/__init__.py": """
        class Policy:
            registry = {}
            def __init_subclass__(cls, **options):
                super().__init_subclass__(**options)
                Policy.registry[f"{cls.__module__}.{cls.__qualname__}"] = cls
        """,
    "metta/compat/base.py": "class Base: VERSION = 'shared'\n",
    "metta/agent/__init__.py": "VERSION = 'new'\n",
    "metta/agent/x.py": "VERSION = 'new'\nclass K: VERSION = 'new'\n",
    "metta/agent/star.py": "__all__ = ['S1']\nS1 = 'new'\nS3 = 'new'\n",
    "metta/agent/deep/mid/leaf.py": "VERSION = 'new'\n",
    "metta/agent/shadow/__init__.py": "sub = 'not the module'\n",
    "metta/agent/shadow/sub.py": "VERSION = 'new'\n",
    "metta/agent/data/__init__.py": "",
    "metta/agent/data/config.yaml": "new",
    "metta/agent/mocks/__init__.py": "from metta.agent.mocks.mock import Mock\n",
    "metta/agent/mocks/mock.py": "class Mock: VERSION = 'new'\n",
    "metta/agent/lazy.py": "def __getattr__(name): return 'new'\n",
    "metta/agent/plugin.py": "VERSION = 'new'\n",
    "metta/common/util.py": "VERSION = 'new'\nAGENT = 'new'\n",
    "metta/extra.py": "VERSION = 'new'\n",
    "standalone.py": "VERSION = 'new'\n",
}
"""Today's code: the same names as the snapshot's, other values."""

OLD = {
    "agent/src/metta/compat/__init__.py": "raise RuntimeError('the old compat must never run')\n",
    "agent/src/metta/compat/base.py": "raise RuntimeError('the old compat must never run')\n",
    "agent/src/metta/agent/__init__.py": "VERSION = 'old'\n",
    "agent/src/metta/agent/x.py": "VERSION = 'old'\nclass K: VERSION = 'old'\n",
    "agent/src/metta/agent/star.py": "__all__ = ['S1']\nS1 = 'old'\nS3 = 'old'\n",
    "agent/src/metta/agent/deep/mid/leaf.py": "VERSION = 'old'\n",
    "agent/src/metta/agent/deep/mid/relative.py": """
        from .leaf import VERSION
        from . import leaf
        from ...x import K
        """,
    "agent/src/metta/agent/shadow/__init__.py": "sub = 'not the module'\n",
    "agent/src/metta/agent/shadow/sub.py": "VERSION = 'old'\n",
    "agent/src/metta/agent/data/__init__.py": "",
    "agent/src/metta/agent/data/config.yaml": "old",
    "agent/src/metta/agent/mocks/__init__.py": "from metta.agent.mocks.mock import Mock\n",
    "agent/src/metta/agent/mocks/mock.py": "class Mock: VERSION = 'old'\n",
    "agent/src/metta/agent/lazy.py": """
        def __getattr__(name):
            if name == "value":
                from metta.agent import x
                return x.VERSION
            raise AttributeError(name)
        """,
    "agent/src/metta/agent/plugin.py": """
        import importlib
        from metta.agent.x import VERSION
        def load(): return importlib.import_module('metta.agent.x')
        """,
    "agent/src/metta/agent/handing.py": "import pickle, sys\n",
    "agent/src/metta/agent/circular_a.py": """
        import metta.agent.circular_b
        import metta.agent.circular_b as b
        from metta.agent import circular_b as b2
        VALUE = 'old'
        def value(): return metta.agent.circular_b.value()
        """,
    "agent/src/metta/agent/circular_b.py": """
        import metta.agent.circular_a
        import metta.agent.circular_a as a
        from metta.agent import circular_a as a2
        def value(): return metta.agent.circular_a.VALUE
        """,
    "common/src/metta/common/util.py": """
        VERSION = 'old'
        from metta.agent.x import VERSION as AGENT
        """,
    "common/src/standalone.py": "import metta.agent.x\nVERSION = metta.agent.x.VERSION\n",
}
"""The snapshot's code, over two roots; `metta.compat` is shared."""

ROOTS = ("agent/src", "common/src")
SHARED = ("metta.compat",)
CASE = "agent/src/metta/agent/case.py"
