# SPDX-License-Identifier: Apache-2.0
"""Each supported release of Manila has an environment, pins and recorded results."""

from __future__ import annotations

import configparser
import importlib.metadata
import json
import re
import runpy
from pathlib import Path

from tests.releases.__main__ import counts, record
from tests.support.manager_source import releases
from tests.support.pages import DOCS, ROOT

DIRECTORY = ROOT / "tests" / "releases"

#: The supported major versions of Manila.
MAJORS = {release.partition(".")[0] for release in releases()}


def pins(major: str) -> dict[str, str]:
    text = (DIRECTORY / f"manila{major}.txt").read_text("utf-8")
    return dict(line.split("==") for line in text.splitlines())


def test_the_extra_allows_the_releases_that_were_tried() -> None:
    requires = importlib.metadata.requires("manila-aspects") or []
    bounds = {
        bound
        for requirement in requires
        if re.match("manila[<>]", requirement)
        for bound in re.findall(r"[<>=]+\d+", requirement.partition(";")[0])
    }
    numbers = sorted(map(int, MAJORS))
    assert bounds == {f">={numbers[0]}", f"<{numbers[-1] + 1}"}


def test_ci_runs_each_release_once() -> None:
    tox = configparser.ConfigParser(interpolation=None)
    tox.read(ROOT / "tox.ini")
    (section,) = (name for name in tox.sections() if name.startswith("testenv:manila"))
    assert set(re.findall(r"\d+", section)) == MAJORS
    newest = max(MAJORS, key=int)
    assert tox[section]["labels"].splitlines()[-1] == f"!manila{newest}: releases"
    files = re.findall(r"tests/functional/(\w+)\.py", tox[section]["commands"])
    columns = runpy.run_path(str(DOCS / "conf.py"))["_COLUMNS"]
    shown = {module for modules in columns.values() for module in modules}
    assert {*files, "test_processes"} == shown
    script = (ROOT / ".ci" / "run").read_text("utf-8")
    assert re.search(r"^\.venv/bin/tox run-parallel .*-m releases$", script, re.M)
    assert "functional" in tox["tox"]["env_list"]


def test_the_readme_names_each_tested_version() -> None:
    readme = (ROOT / "README.rst").read_text("utf-8")
    rows = re.findall(r"^20\d\d\.\d +(\S+) +(.*)$", readme, re.MULTILINE)
    assert rows == [
        (pins(major)["manila"], "native, eventlet" if int(major) >= 22 else "eventlet")
        for major in sorted(MAJORS, key=int)
    ]


def test_pins_are_versions_only() -> None:
    for major in MAJORS:
        for name, version in pins(major).items():
            assert re.fullmatch(r"[A-Za-z0-9._-]+", name)
            assert re.fullmatch(r"[\w.!+]+", version)


def test_the_results_are_from_the_pinned_version() -> None:
    for major in MAJORS:
        found = json.loads((DIRECTORY / f"manila{major}.json").read_text("utf-8"))
        assert found["manila"] == pins(major)["manila"]
        for module, outcomes in found["tests"].items():
            assert outcomes.keys() <= {"passed", "failed", "skipped"}
            assert (ROOT / "tests" / "functional" / f"{module}.py").exists()


def test_the_table_of_releases_has_a_row_for_each() -> None:
    table = runpy.run_path(str(DOCS / "conf.py"))["releases_table"]()
    for major in MAJORS:
        assert f"     - {pins(major)['manila']}\n" in table


def test_a_record_keeps_other_modules_while_the_versions_stay(tmp_path: Path) -> None:
    results = tmp_path / "results.xml"
    results.write_text(
        "<testsuites><testsuite>"
        '<testcase classname="tests.x.test_stop" name="a"/>'
        '<testcase classname="tests.x.test_stop" name="b"><failure/>'
        '</testcase><testcase classname="tests.x.test_demo.TestDemo" name="c">'
        "<skipped/></testcase></testsuite></testsuites>"
    )
    found = counts([results])
    assert found == {
        "test_demo": {"skipped": 1},
        "test_stop": {"failed": 1, "passed": 1},
    }
    file = tmp_path / "manila23.json"
    record(file, "23.0.1", "3.11", found)
    record(file, "23.0.1", "3.11", {"test_stop": {"passed": 2}})
    tests = json.loads(file.read_text("utf-8"))["tests"]
    assert tests == {"test_demo": {"skipped": 1}, "test_stop": {"passed": 2}}
    record(file, "23.0.2", "3.11", {"test_stop": {"passed": 2}})
    tests = json.loads(file.read_text("utf-8"))["tests"]
    assert tests == {"test_stop": {"passed": 2}}
