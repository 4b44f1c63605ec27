"""The numbers that bound what one snapshot may be, in one place."""

from __future__ import annotations

from codevault_cache.errors import TooLarge

FILE_BYTES = 1 << 20
"""A file under the roots is taken up to this size; larger ones only by `include`."""

FILES = 200_000
"""Most files in one snapshot, and most entries looked at while walking to them."""

DEPTH = 64
"""Deepest folder below the top."""

TOTAL_BYTES = 2 << 30
"""All files of one snapshot together, inflated."""

COMPONENT_BYTES = 255
PATH_BYTES = 4096

HEADER_BYTES = 64 << 20
"""Longest header of a source pack."""

OBJECTS_BYTES = 64 << 20
"""Git objects that may travel in a checkpoint."""

PACK_BYTES = 2 << 30
"""Longest pack that a server may send."""

ANSWER_BYTES = 128 << 20
"""Most that a server may say beside a pack: its refs, and progress."""

PACK_OBJECTS = 4_000_000
"""Most objects in one pack that a server sends: a long history, of commits alone."""

INFLATED_BYTES = 2 << 30
"""All objects of one such pack together, inflated."""

DELTA_BYTES = 512 << 20
"""Longest object that a delta may build on or describe: git makes none of longer ones."""

HELD_BYTES = 256 << 20
"""Objects of one such pack that stay in memory while they are used."""

FETCH_SECONDS = 300.0
"""Deadline of one conversation with a server."""

SILENCE_SECONDS = 60.0
"""Longest pause of a server inside a conversation."""

KEEP_BYTES = 10 << 30
"""Disk space of a cache that an automatic collection leaves."""

KEEP_SECONDS = 90 * 24 * 3600.0
"""Time without use after which an automatic collection removes a snapshot."""

PROOF_SECONDS = 400 * 24 * 3600.0
"""Time without use after which a proof is removed; to prove it again takes a server."""


RETRY_SECONDS = (0.5, 1.5, 4.0)
"""Pauses before further tries when a connection was dropped, or a server is busy."""


def refuse_above(limit: int, value: int, noun: str) -> None:
    """Stop at a limit, naming the limit and the value.

    Args:
        limit: The largest value that passes.
        value: What was found so far.
        noun: What is counted, as in "files in the snapshot".

    Raises:
        TooLarge: The value is above the limit.
    """
    if value > limit:
        raise TooLarge(
            f"Too much code for one snapshot: more than {limit:,} {noun}.",
            f"At least {value:,} were found.",
            'Name fewer folders: roots = ["src"] under [tool.codevault] in pyproject.toml',
        )
