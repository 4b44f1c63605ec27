"""What every `ModuleSource` must do; a test of a source derives from this class."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from codevault_importhook import ModuleSource

PICTURE: Mapping[str, bytes] = {
    "top.py": b"x = 1\n",
    "src/pkg/__init__.py": b"",
    "src/pkg/data.bin": bytes(range(256)),
    "src/pkg/deep/er/leaf.py": b"# \xc3\xa9\n",
}


class ModuleSourceContract(ABC):
    """Tests see files by `open`, not through the source, so that a source cannot confirm itself."""

    @abstractmethod
    def make(self, folder: Path, picture: Mapping[str, bytes]) -> ModuleSource:
        """A source with exactly the files of `picture`; `folder` is empty and may be used."""

    @pytest.fixture
    def source(self, tmp_path: Path) -> ModuleSource:
        return self.make(tmp_path / "one", PICTURE)

    def test_paths_are_all_files(self, source: ModuleSource) -> None:
        assert sorted(source.paths) == sorted(PICTURE)
        assert "src/pkg" not in source.paths
        assert "top.py" in source.paths

    @pytest.mark.parametrize("path", PICTURE)
    def test_read_gives_the_bytes(self, path: str, source: ModuleSource) -> None:
        assert source.read(path) == PICTURE[path]

    @pytest.mark.parametrize("path", ["nowhere.py", "src/pkg", "src/pkg/../../top.py", "/top.py"])
    def test_read_of_what_is_not_a_path_of_the_tree_fails(
        self, path: str, source: ModuleSource
    ) -> None:
        with pytest.raises((LookupError, OSError)):
            source.read(path)

    @pytest.mark.parametrize("path", PICTURE)
    def test_location_is_a_real_file_of_these_bytes(self, path: str, source: ModuleSource) -> None:
        location = source.location(path)
        assert os.path.isabs(location)
        with open(location, "rb") as file:
            assert file.read() == PICTURE[path]

    @pytest.mark.parametrize("folder", ["", "src", "src/pkg", "src/pkg/deep/er"])
    def test_location_of_a_folder(self, folder: str, source: ModuleSource) -> None:
        assert os.path.isdir(source.location(folder))
        assert not source.location(folder).endswith("/")

    def test_locations_lie_below_the_top(self, source: ModuleSource) -> None:
        for path in PICTURE:
            assert source.location(path) == f"{source.location('')}/{path}"

    def test_equal_trees_have_equal_digests(self, source: ModuleSource, tmp_path: Path) -> None:
        assert self.make(tmp_path / "two", PICTURE).digest == source.digest

    @pytest.mark.parametrize(
        "change", [{"top.py": b"x = 2\n"}, {"new.py": b""}, {"src/pkg/__init__.py": b"\n"}]
    )
    def test_other_trees_have_other_digests(
        self, change: Mapping[str, bytes], source: ModuleSource, tmp_path: Path
    ) -> None:
        assert self.make(tmp_path / "two", {**PICTURE, **change}).digest != source.digest
