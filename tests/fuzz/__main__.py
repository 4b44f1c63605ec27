"""Fuzz every reader: `python -m tests.fuzz [SECONDS EACH]` from the repository's root."""

import sys

from tests.fuzz.fuzz import main

main(*map(float, sys.argv[1:2]))
