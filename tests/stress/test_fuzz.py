# SPDX-License-Identifier: Apache-2.0
"""Any configuration is woven or raises a HookConfigError."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from oslo_config import cfg

import aspects
from aspects.config.options import hook_options, instance_options, section_options
from tests.support.entries.recording import Driver

OPTIONS = [option.name for option in section_options + hook_options + instance_options]
OWN = ["color", "depth", "pin", "audit_log_path", "audit_format", "webhook_url"]

FIXTURES = "tests.support.entries"
ENTRIES = [
    *("audit", "guard", "webhook", "no_such_hook", "aspects", "aspects:HookBase"),
    *("aspects.HookBase", "aspects:weave", "aspects:", ":HookBase", "os:path", "a:b:c"),
    *(f"{FIXTURES}.recording:{name}" for name in ("Recorder", "Upstream", "Nothing")),
    *(f"{FIXTURES}.fails_on_import:Hook", f"{FIXTURES}.lacks_library:Hook"),
    *(f"{FIXTURES}.recording", "..", "a.", ".a", "=", "x=", "=x", "a=b=c"),
]

# Text that oslo.config reads as one value on one line. oslo.config itself rejects files
# that it cannot parse.
_word = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Zl", "Zp", "Cs"]),
    max_size=12,
)
_number = st.one_of(st.integers(), st.floats()).map(str)
_plain = st.one_of(
    _word,
    _number,
    st.sampled_from(
        ["True", "false", "ture", "", "0", "-1", "$host", "$nothing", "${", "inline"]
    ),
    st.sampled_from(["background", "durable", "create_*", "[", "*", "periodic"]),
    st.sampled_from(["!create_*", "!", "!periodic", "deny", "warn", "$alpha.depth"]),
    st.sampled_from(["__init__", "__class__", "__getattribute__", "_self_weaving"]),
    # An option may refer to itself.
    st.sampled_from(OPTIONS).map("${}".format),
)
_entry = st.one_of(
    st.sampled_from(ENTRIES),
    st.builds("{}={}".format, st.sampled_from("abc"), st.sampled_from(ENTRIES)),
    _word,
)
_list = st.lists(st.one_of(_entry, _plain), max_size=4).map(", ".join)
_line = st.one_of(
    st.tuples(st.just("hook_drivers"), st.lists(_entry, max_size=4).map(", ".join)),
    st.tuples(st.sampled_from(OPTIONS + OWN), st.one_of(_plain, _list)),
).map(" = ".join)
_section = st.tuples(
    st.sampled_from(["DEFAULT", "alpha", "alpha:a", "alpha:b", "alpha:audit", "beta"]),
    st.lists(_line, max_size=6),
).map(lambda section: "\n".join([f"[{section[0]}]", *section[1]]))
files = st.lists(_section, max_size=4).map(
    # A valid chain first, so that most of the random lines have an effect.
    lambda sections: "\n".join(
        [f"[alpha]\nhook_drivers = a={FIXTURES}.recording:Recorder", *sections, ""]
    )
)


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def weave(file: Path) -> Any:
    """Weave a driver as a file configures it.

    :raises aspects.HookConfigError: if the configuration is invalid
    """
    conf = cfg.ConfigOpts()
    conf(["--config-file", str(file)], default_config_dirs=[])
    section = aspects.BackendSection(conf, "alpha")
    return aspects.weave_from_config(Driver(), section, "node1@alpha"), conf


def test_an_invalid_configuration_raises_only_hook_config_error(calls: int) -> None:
    examples = calls // 10 if calls >= 1_000_000 else 200
    # Hypothesis remembers all examples of a run and slows down with their number.
    runs = max(1, examples // 1000)
    seen: set[tuple[str, str]] = set()
    rejected = woven = 0

    @settings(
        max_examples=examples // runs,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(first=files, then=files)
    def check(first: str, then: str) -> None:
        nonlocal rejected, woven
        seen.add((first, then))
        with tempfile.TemporaryDirectory() as directory:
            file = Path(directory, "service.conf")
            file.write_text(first, "utf-8")
            try:
                driver, conf = weave(file)
            except aspects.HookConfigError as error:
                rejected += 1
                for problem in error.problems:
                    assert problem.section.partition(":")[0] in ("alpha", "DEFAULT")
                    assert problem.option in OPTIONS + OWN
                    assert problem.cause
                    assert "\n" not in str(problem)
                return
            woven += 1
            # Any edit leaves a driver that works.
            file.write_text(then, "utf-8")
            conf.mutate_config_files()
            driver.further(object())

    number = 0
    while len(seen) < examples:
        seed(number)(check)()
        number += 1
    assert rejected > examples // 20
    assert woven > examples // 20
