"""The wheel holds all three rooms and the start-up file, and nothing else."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

TOP = Path(__file__).parents[2]
ROOTS = (("codevault", "."), ("codevault_importhook", "importhook"), ("codevault_cache", "cache"))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """Built from the sdist, as an index's users get it."""
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(TOP)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return zipfile.ZipFile(next(out.glob("*.whl")))


@pytest.mark.slow
def test_wheel_holds_every_module_and_the_startup_file(wheel: zipfile.ZipFile) -> None:
    expected = {"codevault-splints.pth"}
    for name, root in ROOTS:
        folder = TOP / root
        expected |= {
            path.relative_to(folder).as_posix()
            for path in (folder / name).rglob("*")
            if path.suffix in (".py", ".typed")
        }
    found = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert found == expected


@pytest.mark.slow
def test_wheel_takes_no_common_import_name(wheel: zipfile.ZipFile) -> None:
    """Users have a `cache.py` of their own."""
    tops = {name.partition("/")[0] for name in wheel.namelist() if "/" in name}
    assert {top for top in tops if not top.endswith(".dist-info")} == {name for name, _ in ROOTS}
