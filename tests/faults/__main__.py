"""Run all faults and print the counts: `python -m tests.faults` from the repository's root."""

import sys

from tests.faults.run import main

sys.exit(main())
