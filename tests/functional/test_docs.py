# SPDX-License-Identifier: Apache-2.0
"""The documentation builds, and its claims about Manila and oslo.config are true."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from oslo_config import cfg, validator
from oslo_context import context as oslo_context

import aspects
from aspects.config.options import BACKEND, list_opts
from aspects.config.sections import BackendSection
from aspects.testing import FakeDriver
from tests.support.pages import (
    DOCS,
    ROOT,
    Block,
    blocks_of,
    commands_of,
    example,
    needs_manila,
    pages,
)
from tests.support.reader import Reader, is_skipped

BIN = Path(sys.executable).parent

#: The path of the generator's configuration in the project.
GENERATOR = "etc/oslo-config-generator.conf"

NAMESPACES = ["--namespace", "manila", "--namespace", "manila_aspects"]


def run(
    *command: str | Path, cwd: Path, **env: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        list(map(str, command)),
        cwd=cwd,
        env={
            **os.environ,
            "PATH": os.pathsep.join([str(BIN), os.environ["PATH"]]),
            # Manila's libraries warn that eventlet is deprecated.
            "PYTHONWARNINGS": "ignore",
            **env,
        },
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


# -- the pages -------------------------------------------------------------------


def test_the_documentation_builds_without_a_warning(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sphinx", "-W", "-q", "-b", "html"]
    done = run(*command, "-d", tmp_path / "trees", DOCS, tmp_path / "html", cwd=ROOT)
    assert done.returncode == 0, done.stderr
    for page in pages():
        if page != "README.rst":
            assert (tmp_path / "html" / page).with_suffix(".html").exists()
    # The pages have the parts that are generated from the code.
    for page, texts in {
        "reference/operations.html": ["update_replicated_snapshot"],
        "reference/options.html": ["hook_dispatch", "webhook_secret", "guard_freeze"],
        "reference/release-notes.html": ["manila-aspects demo"],
    }.items():
        html = (tmp_path / "html" / page).read_text("utf-8")
        for text in texts:
            assert text in re.sub(r"<[^>]+>", "", html), f"{text} in {page}"


@pytest.mark.parametrize("page", [page for page in pages() if needs_manila(page)])
def test_the_examples_of_a_page_work(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Reader(tmp_path, monkeypatch).follow(page)


@pytest.fixture
def migrated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Reader]:
    """Return a reader with the names of the migration page, and import billing."""
    reader = Reader(tmp_path, monkeypatch)
    for block in blocks_of("user/migration.rst"):
        if block.language == "python":
            reader.try_block(block)
    yield reader
    del sys.modules["billing"]


def test_the_hook_on_the_migration_page_runs_in_both(
    migrated: Reader, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    import billing

    billing.BothHook = migrated.names["BothHook"]
    file = tmp_path / "manila.conf"
    file.write_text(
        example("user/migration.rst", {"billing.BillingHook": "billing.BothHook"})
    )
    conf = cfg.ConfigOpts()
    conf(["--config-file", str(file)], default_config_dirs=[])
    woven = aspects.weave_from_config(
        FakeDriver(create_share=["nas:/exports/1"]),
        BackendSection(conf, "alpha"),
        "node1@alpha",
    )
    context = oslo_context.RequestContext(project_id="p1", overwrite=False)
    with caplog.at_level("INFO"):
        woven.create_share(context, {"id": "i1"}, share_server=None)
        assert aspects.tick(woven, context, [{"id": "i1"}])
    (hook,) = aspects.weaving(woven).hooks
    with caplog.at_level("INFO"):
        # Manila's own manager calls hooks this way.
        hook.execute_post_hook(context, "create_share_instance", share_instance_id="i2")
    assert [record.getMessage() for record in caplog.records] == [
        "https://billing.example.com/: instance i1 for p1",
        "1 instances",
        "https://billing.example.com/: instance i2 for p1",
    ]


@pytest.mark.parametrize(
    ("value", "patched"),
    [(None, False), ("True", False), ("yes", False), ("1", False), ("False", True)],
)
def test_an_environment_variable_selects_eventlet(
    tmp_path: Path, value: str | None, patched: bool
) -> None:
    name = "OS_MANILA_DISABLE_EVENTLET_PATCHING"
    assert name in (DOCS / "user" / "eventlet.rst").read_text("utf-8")
    code = (
        "import os, sys\n"
        f"value = {value!r}\n"
        f"os.environ.pop({name!r}, None)\n"
        f"if value is not None: os.environ[{name!r}] = value\n"
        "import manila.cmd\n"
        "from eventlet import patcher\n"
        "print(patcher.is_monkey_patched('thread'))\n"
    )
    done = run(sys.executable, "-c", code, cwd=tmp_path)
    assert done.stdout == f"{patched}\n", done.stderr


# -- oslo.config's tools ---------------------------------------------------------


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the sample that the commands on the reference page write."""
    directory = tmp_path_factory.mktemp("reference")
    (directory / "manila.conf").write_text(example("admin/hooks/audit.rst"), "utf-8")
    for block in blocks_of("reference/options.rst"):
        for command, _ in commands_of(block):
            done = run("bash", "-c", command, cwd=directory)
            assert done.returncode == 0, f"$ {command}\n{done.stderr}"
    return (directory / "manila.conf.sample").read_text("utf-8")


def test_the_sample_has_all_options_with_their_help(sample: str) -> None:
    sections = dict(re.findall(r"^\[(.+)\]\n((?:(?!\[).*\n)*)", sample, re.MULTILINE))
    assert "#enabled_share_backends = " in sections["DEFAULT"]
    hooks = importlib.metadata.entry_points(group="manila_aspects.hooks")
    with_options = {hook.name for hook in hooks if hook.load().options}
    assert {group.name for group, _ in list_opts()} == {
        BACKEND,
        *(f"{BACKEND}:{name}" for name in with_options),
    }
    for group, options in list_opts():
        # An entry is an option and the comment before it.
        entries = sections[group.name].split("\n\n")
        for option in options:
            line = re.compile(rf"^#{option.name} ?=", re.MULTILINE)
            (entry,) = filter(line.search, entries)
            text = " ".join(entry.replace("#", " ").split())
            assert " ".join(option.help.split()) in text, option.name


def test_the_sample_in_the_tree_is_up_to_date(tmp_path: Path) -> None:
    written = tmp_path / "sample"
    command = ["oslo-config-generator", "--config-file", GENERATOR]
    done = run(*command, "--output-file", written, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    sample = ROOT / "etc" / "manila-aspects.conf.sample"
    assert sample.read_text("utf-8") == written.read_text("utf-8"), (
        f"run {' '.join(command)}"
    )


#: Section -> the names of its options.
Options = dict[str, list[str]]


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Options:
    """Return all options that the generator lists."""
    directory = tmp_path_factory.mktemp("options")
    command = ["oslo-config-generator", *NAMESPACES, "--format", "json"]
    done = run(*command, "--namespace", "oslo.messaging", cwd=directory)
    assert done.returncode == 0, done.stderr
    return {
        section: [option["dest"] for option in group["opts"]]
        for section, group in json.loads(done.stdout)["options"].items()
    }


SECTIONS = [
    block
    for page in pages()
    for block in blocks_of(page)
    if block.language == "ini" and not is_skipped(block)
]


@pytest.mark.parametrize("block", SECTIONS, ids=lambda block: block.name)
def test_the_validator_accepts_every_example(
    block: Block, known: Options, validate: Callable[..., list[str]]
) -> None:
    assert validate(block.text, known) == []


def test_the_validator_reports_unknown_options(
    known: Options, validate: Callable[..., list[str]]
) -> None:
    text = "[alpha]\nhook_drivers = log=audit\naudit_path = /a\n[alpha:log]\na = b\n"
    assert validate(text, known) == [
        "alpha/audit_path is not part of the sample config",
        "alpha:log/a is not part of the sample config",
    ]


@pytest.fixture
def validate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> Callable[..., list[str]]:
    """Return a function that runs ``oslo-config-validator`` and returns its errors."""

    def validate_text(text: str, known: Options) -> list[str]:
        file, data = tmp_path / "manila.conf", tmp_path / "options.yaml"
        file.write_text(text + "\n", "utf-8")
        sections: dict[str, Any] = {}
        cfg.ConfigParser(str(file), sections).parse()
        options = {"options": options_of(sections, known), "deprecated_options": {}}
        data.write_text(yaml.safe_dump(options), "utf-8")
        command = ["oslo-config-validator", "--input-file", file, "--opt-data", data]
        monkeypatch.setattr(sys, "argv", list(map(str, command)))
        status = validator.main()
        errors = [
            record.getMessage()
            for record in caplog.records
            if record.levelname == "ERROR"
        ]
        assert status == bool(errors)
        return errors

    return validate_text


def options_of(sections: dict[str, Any], known: Options) -> dict[str, Any]:
    """Return the option data for the validator: the sections of an example.

    The operator chooses the names of sections, so the sample does not have them. A
    backend section may have the options of a backend, those of its hooks, and Manila's
    options in [DEFAULT]. An instance section may have those of its own hook.

    :param sections: the sections of the example
    :param known: all options by section, with the section names of the sample
    """
    found = dict(known)
    for name, lines in sections.items():
        if "hook_drivers" not in lines:
            continue
        found[name] = known[BACKEND] + known["DEFAULT"]
        for entry in ",".join(lines["hook_drivers"]).split(","):
            instance, _, what = entry.strip().rpartition("=")
            hook = known.get(f"{BACKEND}:{SHORT.get(what, what)}", PAGE_OPTIONS)
            found[f"{name}:{instance or re.split('[.:]', what)[-1]}"] = (
                known[BACKEND] + known["DEFAULT"] + hook
            )
            found[name] = found[name] + hook
    return {
        name: {"opts": [{"name": option, "dest": option} for option in options]}
        for name, options in found.items()
        if name in sections
    }


#: The options of the hooks that the pages define.
PAGE_OPTIONS = ["add_location_host", "billing_url", "max_size_gigabytes"]

#: The class of each ready hook -> its short name.
SHORT = {
    entry_point.value: entry_point.name
    for entry_point in importlib.metadata.entry_points(group="manila_aspects.hooks")
}
