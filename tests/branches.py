# SPDX-License-Identifier: Apache-2.0
"""Check the coverage of branches alone.

``python -m tests.branches <coverage.json> <percent>``. The option --fail-under of
``coverage report`` counts lines and branches together.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path


def main(report: str, minimum: str) -> int:
    """Print the coverage of branches, and return 1 if it is too low.

    :param report: path of the output of ``coverage json``
    :param minimum: minimum percentage of branches
    """
    totals = json.loads(Path(report).read_text("utf-8"))["totals"]
    covered, branches = totals["covered_branches"], totals["num_branches"]
    percent = 100 * covered / branches
    sys.stdout.write(f"branches: {covered} of {branches}, {percent:.2f} %\n")
    return int(percent < float(minimum))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
