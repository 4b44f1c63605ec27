"""`python -m codevault` is the `codevault` command."""

from codevault.cli import main

main()
