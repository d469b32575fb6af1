# SPDX-License-Identifier: Apache-2.0
"""Whether enough branches are covered, of which coverage's own gate knows nothing.

``python -m tests.branches <coverage.json> <percent>``: --fail-under of ``coverage
report`` counts lines and branches together.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path


def main(report: str, least: str) -> int:
    """Print the coverage of branches, and return 1 if it is too low.

    :param report: the file that ``coverage json`` has written
    :param least: the least percentage
    """
    totals = json.loads(Path(report).read_text("utf-8"))["totals"]
    covered, branches = totals["covered_branches"], totals["num_branches"]
    percent = 100 * covered / branches
    sys.stdout.write(f"branches: {covered} of {branches}, {percent:.2f} %\n")
    return int(percent < float(least))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
