"""`prefetch` on every node of a Slurm job: the line that does it."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def srun_line(words: Sequence[str]) -> str:
    """The line of a batch script that runs `codevault prefetch` once on every node of the job.

    Args:
        words: The arguments of `codevault prefetch`.
    """
    # All three are said: what a step leaves out it takes from the job, which has other tasks.
    step = 'srun --nodes="$SLURM_JOB_NUM_NODES" --ntasks="$SLURM_JOB_NUM_NODES" --ntasks-per-node=1'
    return f"{step} --kill-on-bad-exit=0 codevault prefetch {shlex.join(words)}"
