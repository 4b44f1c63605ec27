from __future__ import annotations

from typing import TYPE_CHECKING

from tests.importhook.pictures import Folder
from tests.importhook.source_contract import ModuleSourceContract

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from codevault_importhook import ModuleSource


class TestFolder(ModuleSourceContract):
    def make(self, folder: Path, picture: Mapping[str, bytes]) -> ModuleSource:
        return Folder(folder, picture)
