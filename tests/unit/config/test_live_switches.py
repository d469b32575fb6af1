# SPDX-License-Identifier: Apache-2.0
"""Hot reload of switches: effects, calls in flight, invalid edits."""

import gc
import logging
import threading
import weakref

import pytest
from oslo_config import cfg

import aspects
from tests.support.entries import recording

from .common import (
    CONTEXT,
    ENABLED,
    FIXTURES,
    KINDS,
    RECORDER,
    UPSTREAM,
    methods_run,
    section_with,
    seen_at_each_line,
    woven_in,
)


@KINDS
@pytest.mark.parametrize("section", ["DEFAULT", "alpha"])
def test_switches_change_on_a_reload(configured, entries, section):
    file = configured(section_with(entries))
    woven = woven_in(file)
    assert methods_run(woven) == [[]] * len(entries)
    for options, expected in [
        (ENABLED, ["pre", "post"]),
        ("enable_pre_hooks = True\n", ["pre"]),
        ("enable_post_hooks = True\n", ["post"]),
        ("", []),
        (ENABLED, ["pre", "post"]),
        (ENABLED.replace("True", "False"), []),
    ]:
        file.mutate(section_with(entries, options, section))
        assert methods_run(woven) == [expected] * len(entries)


@KINDS
def test_switches_of_one_instance_change_on_a_reload(configured, entries):
    file = configured(section_with(entries, ENABLED))
    woven = woven_in(file)
    disabled = ENABLED.replace("True", "False")
    file.mutate(section_with(entries, ENABLED) + f"[alpha:a]\n{disabled}")
    assert methods_run(woven) == [[]] + [["pre", "post"]] * (len(entries) - 1)
    file.mutate(section_with(entries, disabled) + f"[alpha:a]\n{ENABLED}")
    assert methods_run(woven) == [["pre", "post"]] + [[]] * (len(entries) - 1)


@pytest.mark.parametrize("what", [RECORDER, UPSTREAM])
def test_periodic_switch_changes_on_a_reload(configured, what):
    file = configured(section_with([what]))
    woven = woven_in(file)
    assert aspects.tick(woven, CONTEXT, []) is False
    file.mutate(section_with([what], "enable_periodic_hooks = True\n"))
    assert aspects.tick(woven, CONTEXT, []) is True
    (hook,) = aspects.weaving(woven).hooks
    assert hook.seen == [("periodic", [])]
    file.mutate(section_with([what], "enable_periodic_hooks = False\n"))
    assert aspects.tick(woven, CONTEXT, []) is False


@pytest.mark.parametrize("method", ["pre", "post"])
def test_suppression_of_errors_changes_on_a_reload(configured, method):
    options = f"enable_{method}_hooks = True\nfailing = True\n"
    file = configured(section_with([RECORDER], options))
    woven = woven_in(file)
    with pytest.raises(OSError, match=f"{method} of a failed"):
        woven.create_share(CONTEXT, {})
    suppressed = f"{options}suppress_{method}_hooks_errors = True\n"
    file.mutate(section_with([RECORDER], suppressed))
    assert woven.create_share(CONTEXT, {}) == "export"
    file.mutate(section_with([RECORDER], options))
    with pytest.raises(OSError, match=f"{method} of a failed"):
        woven.create_share(CONTEXT, {})


def test_suppression_of_errors_changes_on_a_reload_for_hooks_of_manila(configured):
    class Failing(recording.Upstream):
        fails_in = "pre"

    recording.Failing = Failing
    try:
        options = "enable_pre_hooks = True\n"
        entry = f"{FIXTURES}.recording:Failing"
        file = configured(section_with([entry], options))
        woven = woven_in(file)
    finally:
        del recording.Failing
    with pytest.raises(OSError, match="pre failed"):
        woven.create_share(CONTEXT, {})
    options += "suppress_pre_hooks_errors = True\n"
    file.mutate(section_with([entry], options))
    assert woven.create_share(CONTEXT, {}) == "export"


@KINDS
@pytest.mark.parametrize("to", ["on", "off"])
def test_call_in_flight_completes_with_the_switches_it_began_with(
    configured, entries, to
):
    before, after = ("", ENABLED) if to == "on" else (ENABLED, "")
    file = configured(section_with(entries, before))
    woven = woven_in(file)
    woven.during = lambda: file.mutate(section_with(entries, after))
    # The reload during this call affects the next call only.
    assert methods_run(woven) == [["pre", "post"] if to == "off" else []] * len(entries)
    woven.during = lambda: None
    assert methods_run(woven) == [["pre", "post"] if to == "on" else []] * len(entries)


@KINDS
def test_call_in_flight_in_another_thread_keeps_its_switches(configured, entries):
    file = configured(section_with(entries, ENABLED))
    arrived, released = threading.Event(), threading.Event()

    def during():
        arrived.set()
        assert released.wait(10)

    woven = woven_in(file, driver=recording.Driver(during))
    result = []
    thread = threading.Thread(target=lambda: result.extend(methods_run(woven)))
    thread.start()
    assert arrived.wait(10)
    file.mutate(section_with(entries, ""))
    released.set()
    thread.join(10)
    assert result == [["pre", "post"]] * len(entries)


@pytest.mark.parametrize("to", [True, False])
def test_call_in_flight_keeps_its_suppression_of_errors(configured, to):
    options = "enable_post_hooks = True\nfailing = True\nsuppress_post_hooks_errors = "
    file = configured(section_with([RECORDER], f"{options}{not to}\n"))
    woven = woven_in(file)
    after = section_with([RECORDER], f"{options}{to}\n")
    woven.during = lambda: file.mutate(after)
    if to:
        with pytest.raises(OSError, match="post of a failed"):
            woven.create_share(CONTEXT, {})
    else:
        assert woven.create_share(CONTEXT, {}) == "export"


@pytest.mark.slow
@KINDS
def test_chain_is_replaced_as_a_whole(configured, entries):
    file = configured(section_with(entries, ENABLED))
    woven = woven_in(file)
    after = section_with(entries, "enable_post_hooks = False\n")
    seen = seen_at_each_line(file, woven, after)
    old, new = [["pre", "post"]] * len(entries), [[]] * len(entries)
    assert old in seen
    assert seen == [old] * seen.count(old) + [new] * seen.count(new)


INVALID_EDITS = [
    ("alpha", "enable_pre_hooks = maybe", "maybe"),
    ("alpha:a", "suppress_post_hooks_errors = 7up", "7up"),
    ("DEFAULT", "enable_post_hooks = perhaps", "perhaps"),
    ("alpha", "periodic_hooks_ticks = often", "often"),
    ("alpha", "periodic_hooks_ticks = 0", "0"),
]


@KINDS
@pytest.mark.parametrize(("section", "line", "value"), INVALID_EDITS)
def test_invalid_edit_keeps_the_old_chain(
    configured, caplog, entries, section, line, value
):
    file = configured(section_with(entries, ENABLED))
    woven = woven_in(file)
    expected = [["pre", "post"]] * len(entries)
    good = "suppress_pre_hooks_errors = True\nenable_periodic_hooks = True\n"
    with caplog.at_level(logging.ERROR):
        file.mutate(f"{section_with(entries, good)}[{section}]\n{line}\n")
    assert methods_run(woven) == expected
    # The valid lines of an invalid edit are not applied either.
    assert aspects.tick(woven, CONTEXT, []) is False
    hooks = aspects.weaving(woven).hooks
    assert not any(hook.suppress_pre_hooks_errors for hook in hooks)
    option = line.partition(" ")[0]
    logged = [r.getMessage() for r in caplog.records if r.levelno >= logging.ERROR]
    assert any(
        f"[{section}]" in text and option in text and value in text for text in logged
    )
    # The next valid edit is applied.
    file.mutate(section_with(entries, "enable_pre_hooks = True\n"))
    assert methods_run(woven) == [["pre"]] * len(entries)


def test_invalid_edit_of_a_hooks_own_option_does_not_break_calls(configured, caplog):
    options = f"{ENABLED}failing = False\n"
    file = configured(section_with([RECORDER], options))
    woven = woven_in(file)
    with caplog.at_level(logging.ERROR):
        file.mutate(section_with([RECORDER], f"{ENABLED}failing = perhaps\n"))
    assert any("failing = perhaps" in r.getMessage() for r in caplog.records)
    assert methods_run(woven) == [["pre", "post"]]


def test_invalid_edit_of_a_secret_is_logged_without_its_value(configured, caplog):
    class Guarded(recording.Recorder):
        options = (cfg.IntOpt("pin", default=0, secret=True, mutable=True),)

        def _remember(self, *what):
            self.seen.append(what)

    recording.Guarded = Guarded
    try:
        entry = f"{FIXTURES}.recording:Guarded"
        file = configured(section_with([entry], f"{ENABLED}pin = 1234\n"))
        woven = woven_in(file)
    finally:
        del recording.Guarded
    with caplog.at_level(logging.DEBUG, "aspects"):
        file.mutate(section_with([entry], f"{ENABLED}pin = hunter2\n"))
    assert "hunter2" not in "".join(
        r.getMessage() for r in caplog.records if r.name.startswith("aspects")
    )
    assert methods_run(woven) == [["pre", "post"]]


@pytest.mark.parametrize("mutable", [True, False])
def test_option_of_a_newly_defined_class_is_reloaded(configured, monkeypatch, mutable):
    class Fresh(recording.Recorder):
        rack = cfg.IntOpt("rack", default=1, mutable=mutable)
        options = (*recording.Recorder.options, rack)

    monkeypatch.setattr(recording, "Fresh", Fresh, raising=False)
    entry = f"{FIXTURES}.recording:Fresh"
    file = configured(section_with([entry], f"{ENABLED}rack = 2\n"))
    woven = woven_in(file)
    (before,) = aspects.weaving(woven).hooks
    file.mutate(section_with([entry], f"{ENABLED}rack = 3\n"))
    (after,) = aspects.weaving(woven).hooks
    assert (after is before) == mutable
    assert after.get_config_option("rack") == 3


@pytest.mark.slow
def test_options_do_not_keep_a_driver_alive(configured):
    file = configured(section_with([RECORDER, UPSTREAM], ENABLED))
    driver = recording.Driver()
    alive = weakref.ref(driver)
    woven = woven_in(file, driver=driver)
    woven.create_share(CONTEXT, {})
    del driver, woven
    gc.collect()
    assert alive() is None
    file.mutate(section_with([RECORDER, UPSTREAM]))
