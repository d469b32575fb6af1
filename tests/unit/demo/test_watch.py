# SPDX-License-Identifier: Apache-2.0
"""The calls that the demo records are those that happened."""

from __future__ import annotations

import contextvars
import inspect
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import aspects
from aspects.demo.journal import Call, Journal, Run
from aspects.demo.watch import watching
from aspects.testing import FakeDriver, Recorder

#: The exception that a method raises, or None.
ANSWERS = st.one_of(
    st.none(),
    st.builds(KeyError, st.just("size")),
    st.builds(aspects.Veto, st.just("too large")),
)


class Base(aspects.HookBase):
    """A hook that does nothing."""

    def _execute_pre_hook(self, context, func_name, *args, **kwargs):
        pass

    def _execute_post_hook(self, context, func_name, pre_hook_data, results, *args):
        pass

    def _execute_periodic_hook(self, context, periodic_hook_data, *args, **kwargs):
        pass


class LooksUp(Base):
    """A hook with a bug in a function that it calls."""

    def _execute_pre_hook(self, context, func_name, *args, **kwargs):
        return inspect.getattr_static(self, "no_such_attribute")


class TakesTooFew(Base):
    def _execute_pre_hook(self, context):
        pass


@pytest.fixture
def journal() -> Iterator[Journal]:
    journal = Journal()
    with watching(journal):
        yield journal


def called(driver: Any, method: str = "create_share") -> BaseException | None:
    """Call a method, and return the exception that it raises."""
    try:
        getattr(driver, method)(None, {"id": "1"})
    except Exception as error:
        return error
    return None


def names(call: Call) -> list[str]:
    return [run.name for run in call.runs]


def weave(*hooks: Any, **answers: Any) -> Any:
    return aspects.weave(FakeDriver(**answers), hooks, "alpha")


@st.composite
def chains(draw: st.DrawFn) -> tuple[list[dict[str, Any]], Any, str]:
    """Draw the hooks of a chain, the driver's answer, and the enforcement."""
    hook = st.fixed_dictionaries(
        {
            "enabled": st.sets(st.sampled_from(("pre", "post"))),
            "suppress": st.sets(st.sampled_from(("pre", "post"))),
            "pre": ANSWERS,
            "post": ANSWERS,
            "error": ANSWERS,
        }
    )
    hooks = draw(st.lists(hook, max_size=3))
    return hooks, draw(ANSWERS), draw(st.sampled_from(("deny", "warn")))


@pytest.mark.slow
@given(chains())
def test_each_recorded_call_is_what_happened(chain: Any) -> None:
    """The hooks and the driver themselves record which methods ran."""
    options, answer, enforcement = chain
    happened: list[Any] = []
    hooks = [
        Recorder(name=f"hook{number}", calls=happened, **each)
        for number, each in enumerate(options)
    ]
    for hook in hooks:
        hook.hook_enforcement = enforcement
    journal = Journal()
    with watching(journal):
        driver = FakeDriver(calls=happened, create_share=answer)
        error = called(aspects.weave(driver, hooks, "alpha"))
    (call,) = journal.calls
    ran = [
        f"{run.hook}.{run.kind}" if run.hook else "create_share" for run in call.runs
    ]
    assert ran == [str(one) for one in happened]
    assert (call.driver_seconds is None) is ("create_share" not in ran)
    if error is None:
        assert (call.outcome, call.failure) == ("result", None)
    else:
        assert call.failure is not None
        assert call.failure.text.startswith(type(error).__name__)
        assert call.cause is not None
        vetoed = call.cause.kind == "pre" and isinstance(error, aspects.Veto)
        assert call.outcome == ("veto" if vetoed else "error")
    # Each exception is either the caller's, or is listed as suppressed.
    raised = [run for run in call.runs if run.failure]
    assert len(raised) == len(call.suppressed) + (error is not None)


class TestCalls:
    def test_driver_is_called_in_a_call_of_a_hook_without_pre_method(self, journal):
        called(weave(Recorder(enabled=["post"])))
        (call,) = journal.calls
        assert names(call) == ["driver", "post of recorder"]
        assert call.driver_seconds is not None

    def test_error_of_the_driver_is_recorded_for_a_hook_without_completions(
        self, journal
    ):
        error = called(
            weave(Recorder(enabled=["pre"]), create_share=OSError("full")),
        )
        (call,) = journal.calls
        assert str(error) == "full"
        assert (call.outcome, call.failure.text) == ("error", "OSError: full")
        assert call.cause.name == "driver"

    def test_calls_are_recorded_while_no_hook_method_is_enabled(self, journal):
        called(weave(Recorder(enabled=[])))
        assert names(journal.calls[0]) == ["driver"]

    def test_hooks_that_replace_others_are_recorded(self, journal):
        woven = weave(Recorder(name="first"))
        aspects.weaving(woven).replace([Recorder(name="second")])
        called(woven)
        assert names(journal.calls[0]) == ["pre of second", "driver", "post of second"]

    def test_hook_of_another_base_class_is_recorded(self, journal):
        class Plain:
            pre_hooks_enabled = True
            post_hooks_enabled = periodic_hooks_enabled = False
            suppress_pre_hooks_errors = True

            def _execute_pre_hook(self, *, context, func_name, **kwargs):
                raise KeyError("size")

            _execute_post_hook = _execute_periodic_hook = _execute_pre_hook

        called(weave(Plain()))
        assert names(journal.calls[0]) == ["pre of Plain", "driver"]
        assert journal.calls[0].runs[0].failure.place.startswith("tests/unit/demo/")

    def test_exception_that_is_raised_again_has_the_cause_of_the_call(self, journal):
        same = KeyError("size")
        hooks = [
            Recorder(name="suppressed", pre=same, suppress=["pre"], error=same),
            Recorder(name="cause", pre=same),
        ]
        called(weave(*hooks))
        (call,) = journal.calls
        assert call.cause.name == "pre of cause"
        suppressed = ["pre of suppressed", "error of suppressed"]
        assert [run.name for run in call.suppressed] == suppressed

    def test_result_is_the_one_that_the_caller_gets(self, journal):
        changing = Recorder(post=aspects.UpdatedResults([{"path": "nas:/1"}]))
        woven = weave(changing, create_share=[{"path": "10.0.0.1:/1"}])
        assert woven.create_share(None, {}) == [{"path": "nas:/1"}]
        assert journal.calls[0].result == "1 x nas:/1"

    def test_result_that_cannot_be_shown_reaches_the_caller(self, journal):
        class Silent:
            def __str__(self) -> str:
                raise OSError

        result = Silent()
        assert weave(Recorder(), create_share=result).create_share(None, {}) is result
        assert journal.calls[0].result == "(Silent)"

    def test_values_of_a_result_are_not_shown(self, journal):
        called(weave(Recorder(), create_share={"access_key": "s3cret"}))
        called(weave(Recorder(), create_share=[{"access_key": "s3cret"}]))
        assert [c.result for c in journal.calls] == ["{access_key}", "1 x {access_key}"]

    def test_failure_in_the_result_is_the_one_that_manila_reads(self, journal):
        driver = FakeDriver(
            update_access={"1": {"state": "error"}},
            update_replica_state="out_of_sync",
        )
        hook = Recorder()
        woven = aspects.weave(driver, [hook], "alpha")
        rules = [{"access_id": "1"}]
        woven.update_access(None, {}, rules, rules, [], [])
        woven.update_replica_state(None, [], {}, [], [])
        woven.create_snapshot(None, {})
        # Hooks may change the result, and the arguments.
        hook.answer(post=aspects.UpdatedResults({"1": {"state": "active"}}))
        woven.update_access(None, {}, rules, rules, [], [])
        hook.answer(post=None, pre=aspects.UpdatedArguments({"add_rules": rules * 2}))
        woven.update_access(None, {}, rules, [], [], [])
        assert [call.outcome for call in journal.calls] == 5 * ["result"]
        assert [call.reported for call in journal.calls] == [
            *("failure", "pending", "", "", "failure"),
        ]
        assert journal.calls[0].reason == (
            "update_access returned: status error; failed items: 1"
        )
        assert journal.calls[0].arguments is None

    def test_secrets_of_a_result_are_not_in_the_reason(self, journal):
        result = {"status": "error AQBnotshown==", "access_key": "AQBnotshown=="}
        called(weave(Recorder(), create_snapshot=result), "create_snapshot")
        assert journal.calls[0].reason.startswith("create_snapshot returned: status")
        assert "notshown" not in journal.calls[0].reason

    def test_record_is_shown_with_its_id(self, journal):
        class Share:
            __tablename__ = "shares"
            id = "00873c26"

        called(weave(Recorder(), create_share=Share()))
        called(weave(Recorder(), create_share=[Share()]))
        results = [call.result for call in journal.calls]
        assert results == ["Share 00873c26", "1 x Share 00873c26"]

    def test_operation_of_update_access_depends_on_its_rules(self, journal):
        woven = weave(Recorder())
        woven.update_access(None, {}, ["rule"], ["rule"], [], [])
        woven.update_access(None, {}, [], [], ["rule"], [])
        operations = [(call.operation, call.method) for call in journal.calls]
        assert operations == [
            ("allow_access", "update_access"),
            ("deny_access", "update_access"),
        ]

    def test_observer_is_not_among_the_hooks_of_the_chain(self, journal):
        hook = Recorder()
        assert aspects.weaving(weave(hook)).hooks == (hook,)

    def test_observers_of_the_chain_see_its_hooks_alone(self, journal):
        seen = []

        class Observing(Recorder):
            def observe(self, observed):
                seen.append((observed.kind, aspects.hook_name(observed.hook)))

        called(weave(Observing(name="observing"), Recorder(name="other")))
        none = type(None).__name__
        assert seen == [("pre", "other"), ("driver", none), ("post", "other")]

    def test_drivers_that_are_woven_later_are_not_watched(self):
        journal = Journal()
        with watching(journal):
            pass
        called(weave(Recorder()))
        assert journal.calls == []

    def test_secrets_of_the_call_are_not_in_the_error(self, journal):
        rules = [{"access_key": "AQBnotshown=="}]
        failing = Recorder(pre=KeyError("AQBnotshown=="))
        with pytest.raises(KeyError):
            weave(failing).update_access(None, {}, rules, rules, [], [])
        assert "notshown" not in journal.calls[0].failure.text

    def test_error_in_the_background_is_recorded_after_the_call(self, journal):
        late: list[tuple[Call, Run]] = []
        journal.on_late_run = lambda call, run: late.append((call, run))
        hook = Recorder(post=KeyError("size"))
        # The method waits until the call has ended.
        hook.dispatcher = Waiting()
        called(weave(hook))
        assert names(journal.calls[0]) == ["pre of recorder", "driver"]
        hook.dispatcher.run()
        ((call, run),) = late
        assert call is journal.calls[0]
        assert (run.name, run.failure.text) == ("post of recorder", "KeyError: 'size'")


class Waiting:
    """Runs a hook method on request, in the context of its call."""

    def put(self, hook, kind, operation, method, /, *args, **kwargs):
        context = contextvars.copy_context()
        self._waiting = lambda: context.run(method, *args, **kwargs)

    def run(self) -> None:
        with pytest.raises(KeyError):
            self._waiting()

    def stop(self) -> None:
        pass


class TestPlaces:
    def place(self, journal: Journal, hook: Any) -> str:
        hook.pre_hooks_enabled = True
        called(weave(hook))
        return str(journal.calls[-1].failure.place)

    def line_of(self, function: Any, offset: int) -> str:
        line = inspect.getsourcelines(function)[1] + offset
        return f"tests/unit/demo/test_watch.py:{line}"

    def test_place_is_the_line_of_the_hook_that_called_the_failing_function(
        self, journal
    ):
        place = self.place(journal, LooksUp(None, None))
        assert place == self.line_of(LooksUp._execute_pre_hook, 1)
        last = journal.calls[0].failure.traceback[-1]
        assert last.startswith("inspect.py:") or "/inspect.py:" in last

    def test_place_of_a_method_that_does_not_accept_its_arguments_is_its_first_line(
        self, journal
    ):
        place = self.place(journal, TakesTooFew(None, None))
        assert place == self.line_of(TakesTooFew._execute_pre_hook, 0)

    def test_updated_arguments_that_the_method_lacks_are_after_the_pre_method(
        self, journal
    ):
        hook = Recorder(pre=aspects.UpdatedArguments({"length": 1}))
        assert isinstance(called(weave(hook)), TypeError)
        (call,) = journal.calls
        assert (call.cause, names(call)) == (None, ["pre of recorder"])
        assert "no argument 'length'" in call.failure.text


class TestTicks:
    def test_tick_has_the_periodic_methods(self, journal):
        woven = weave(Recorder(name="a"), Recorder(name="b"))
        assert aspects.tick(woven, None, [])
        (tick,) = journal.ticks
        assert names(tick) == ["periodic of a", "periodic of b"]
        assert (tick.backend, tick.outcome, journal.calls) == ("alpha", "result", [])

    def test_failing_tick_has_its_cause(self, journal):
        woven = weave(Recorder(name="a", periodic=KeyError("size")), Recorder(name="b"))
        with pytest.raises(KeyError):
            aspects.tick(woven, None, [])
        (tick,) = journal.ticks
        assert (tick.outcome, tick.cause.name) == ("error", "periodic of a")
        assert names(tick) == ["periodic of a"]

    def test_tick_that_the_driver_fails_is_recorded(self, journal):
        class Failing(FakeDriver):
            def get_periodic_hook_data(self, context, share_instances):
                raise OSError("no route")

        woven = aspects.weave(Failing(), [Recorder()], "alpha")
        with pytest.raises(OSError, match="no route"):
            aspects.tick(woven, None, [])
        assert journal.ticks[0].failure.text == "OSError: no route"

    def test_tick_without_periodic_hooks_is_not_recorded(self, journal):
        assert not aspects.tick(weave(Recorder(enabled=["pre"])), None, [])
        assert journal.ticks == []
