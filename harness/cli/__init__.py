"""The `harness` command: thin; it reads options, calls the rooms below, and prints.

stdout carries data, stderr everything else. Exit codes: 0 pass, 1 a check or gate failed,
2 usage or invalid input, 3 inconclusive, 4 a capability is missing, 5 we erred, 130 interrupted.
"""

from __future__ import annotations

import sys


def main() -> None:
    """Entry point of the console script."""
    from harness.cli.app import run

    sys.exit(run(sys.argv[1:]))
