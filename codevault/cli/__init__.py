"""The `codevault` command: each verb is thin over the public API."""

from codevault.cli.main import main

__all__ = ["main"]
