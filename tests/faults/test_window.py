"""What a load asks of the system, as strace sees it: where it writes, and in what order."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.faults import scenario, traced

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(bool(traced.missing()), reason=traced.missing())

WRITING = (
    "mkdir", "unlink", "rename", "link(", "linkat", "symlink", "chmod", "chown", "utime",
    "truncate", "O_WRONLY", "O_RDWR", "O_CREAT", "mknod", "setxattr",
)  # fmt: skip


def trace(tmp_path: Path, cache: str) -> list[str]:
    """The system calls of one load between its marks."""
    out = tmp_path / "trace"
    command = ["strace", "-y", "-qq", "-s", "4096", "-o", str(out), *traced.PROGRAM, cache, "load"]
    subprocess.run(command, check=True)
    # The program's own text, which Python reads, has the mark too.
    return out.read_text().split(scenario.MARK)[-2].splitlines()


def test_I2_only_names_in_tmp_are_opened_for_writing(tmp_path: Path) -> None:
    cache = str(tmp_path / "cache")
    opened = [
        line
        for line in trace(tmp_path, cache)
        if "open" in line.partition("(")[0] and any(f in line for f in ("O_WRONLY", "O_RDWR"))
    ]
    assert len(opened) >= len(scenario.files_of(1)) + 4
    assert [line for line in opened if f'"{cache}/v1/tmp/' not in line] == []


def test_I3_every_file_is_synced_before_it_is_linked_and_its_folder_after(tmp_path: Path) -> None:
    cache = str(tmp_path / "cache")
    synced: set[str] = set()
    waiting: set[str] = set()
    linked = 0
    for line in trace(tmp_path, cache):
        name = line.partition("(")[0]
        if name == "fsync":
            place = line.partition("<")[2].partition(">")[0]
            synced.add(place)
            waiting.discard(place)
        elif name in ("link", "linkat", "rename", "renameat", "renameat2"):
            old, new = (part for part in line.split('"')[1::2] if part.startswith("/"))
            assert old in synced, line
            waiting.add(os.path.dirname(new))
            linked += 1
    assert linked >= 4  # pack, tree, record, code pack
    assert waiting == set()


def test_I8_no_write_is_tried_in_a_read_only_folder(tmp_path: Path) -> None:
    shared = str(tmp_path / "shared")
    scenario.perform(shared, "load")
    both = f"{tmp_path / 'mine'}{os.pathsep}{shared}"
    lines = [line for line in trace(tmp_path, both) if shared in line]
    assert len(lines) > 3  # it was read
    assert [line for line in lines if any(word in line for word in WRITING)] == []
