# SPDX-License-Identifier: Apache-2.0
"""Record the results of the functional tests with the installed Manila.

``python -m tests.releases RESULTS ...`` reads the JUnit files that pytest has written,
and writes ``tests/releases/manilaNN.json``. The page ``reference/releases.rst`` of the
documentation is generated from these files.
"""

from __future__ import annotations

import importlib.metadata
import json
import platform
import re
import sys
from collections import Counter, defaultdict
from pathlib import Path
from xml.etree import ElementTree

DIRECTORY = Path(__file__).parent


Counts = dict[str, dict[str, int]]


def counts(files: list[Path]) -> Counts:
    """Return the number of tests with each outcome, for each test module.

    :param files: JUnit files
    :return: module -> outcome (``passed``, ``failed`` or ``skipped``) -> number
    """
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for file in files:
        for case in ElementTree.parse(file).iter("testcase"):
            module = re.findall(r"\btest_\w+", case.get("classname", ""))[0]
            children = {child.tag for child in case}
            failed = bool(children & {"failure", "error"})
            outcome = "skipped" if "skipped" in children else "passed"
            found[module]["failed" if failed else outcome] += 1
    return {module: dict(sorted(found[module].items())) for module in sorted(found)}


def record(file: Path, version: str, python: str, tests: Counts) -> None:
    """Write results to the file of a release.

    Keeps the results for other modules if both versions are the same.

    :param file: the file, which need not exist
    :param version: the version of Manila
    :param python: the minor version of Python
    :param tests: what :func:`counts` returns
    """
    new = {"manila": version, "python": python, "tests": tests}
    if file.exists():
        old = json.loads(file.read_text("utf-8"))
        if (old["manila"], old["python"]) == (version, python):
            new["tests"] = dict(sorted({**old["tests"], **tests}.items()))
    file.write_text(json.dumps(new, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    installed = importlib.metadata.version("manila")
    record(
        DIRECTORY / f"manila{installed.partition('.')[0]}.json",
        installed,
        ".".join(platform.python_version_tuple()[:2]),
        counts([Path(name) for name in sys.argv[1:]]),
    )
