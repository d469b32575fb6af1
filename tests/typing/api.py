# SPDX-License-Identifier: Apache-2.0
"""An example of each public call: mypy checks them, and nothing runs them.

What mypy has to refuse is marked with ``type: ignore`` and the error, and an unused one
is an error of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from oslo_config import cfg

import aspects
from aspects.testing import DriverCall, FakeDriver, HookCall, Recorder, make_hook


class QuotaHook(aspects.HookBase):
    """A hook as the documentation has it."""

    options = (cfg.IntOpt("quota_limit", default=5),)

    def _execute_pre_hook(
        self, context: Any, func_name: Any, *args: Any, **kwargs: Any
    ) -> Any:
        arguments: dict[str, Any] = func_name.arguments(args, kwargs)
        if arguments["share"]["size"] > self.get_config_option("quota_limit"):
            raise aspects.Veto("over quota")

    def _execute_post_hook(
        self,
        context: Any,
        func_name: Any,
        pre_hook_data: Any,
        driver_action_results: Any,
        *args: Any,
        **kwargs: Any,
    ) -> aspects.UpdatedResults:
        return aspects.UpdatedResults(driver_action_results)

    def _execute_periodic_hook(
        self, context: Any, periodic_hook_data: Any, *args: Any, **kwargs: Any
    ) -> None:
        counts: dict[str, int] = self.counts()
        print(counts)  # noqa: T201


class CompletingHook(QuotaHook):
    """A hook that replaces arguments, and one that observes the others."""

    def _execute_pre_hook(
        self, context: Any, func_name: Any, *args: Any, **kwargs: Any
    ) -> aspects.UpdatedArguments:
        return aspects.UpdatedArguments({"share": {"size": 1}}, pre_hook_data="one")

    def observe(self, observed: aspects.Observed) -> None:
        kind: str = observed.kind
        print(kind, observed.hook, observed.operation)  # noqa: T201


class Unfinished(aspects.HookBase):
    """A hook that leaves methods out."""


Unfinished(None, None)  # type: ignore[abstract]


class Owned:
    """A driver whose source one owns."""

    hooks: tuple[aspects.HookBase, ...] = ()

    @aspects.add_hooks
    def create_share(self, context: object, share: dict[str, int]) -> list[str]:
        return [str(share["id"])]


def weaving(conf: cfg.ConfigOpts) -> None:
    driver = FakeDriver()
    woven = aspects.weave(driver, [QuotaHook(None, "host@alpha")])
    woven = aspects.weave(
        driver,
        (),
        backend="alpha",
        host="host@alpha",
        hook_methods=["further"],
        periodic_hooks_ticks=2,
    )
    is_woven: bool = aspects.is_woven(woven)
    ran: bool = aspects.tick(woven, None, [{"id": "1"}])
    unwoven: Any = aspects.unweave(woven)

    about: aspects.Weaving = aspects.weaving(woven)
    hooks: tuple[Any, ...] = about.hooks
    operations: Mapping[str, aspects.Operation] = about.operations
    ticks: int = about.ticks
    about.start()
    about.stop()

    section = aspects.BackendSection(conf, "alpha")
    section = aspects.BackendSection(conf, None)
    woven = aspects.weave_from_config(driver, section, "host@alpha")

    aspects.weave(driver, QuotaHook)  # type: ignore[arg-type]
    aspects.weave(driver, [], periodic_hooks_ticks="2")  # type: ignore[arg-type]
    aspects.weave_from_config(driver, "alpha", None)  # type: ignore[arg-type]
    locations: list[str] = Owned().create_share(None, {"id": 1})
    Owned().create_share(None, "1")  # type: ignore[arg-type]
    print(is_woven, ran, unwoven, hooks, operations, ticks, locations)  # noqa: T201


def operation(one: aspects.Operation) -> None:
    name: str = one
    method: str = one.method
    backend: str | None = one.backend
    arguments: dict[str, Any] = one.arguments(({"id": "1"},), {})
    arguments = one.manila_arguments(({"id": "1"},), {})
    requested: bool = one.requested
    print(name, method, backend, arguments, requested, one.host)  # noqa: T201


def errors() -> None:
    try:
        make_hook(QuotaHook)
    except aspects.HookConfigError as error:
        print([str(problem) for problem in error.problems])  # noqa: T201
    except (aspects.AlreadyWoven, aspects.Veto):
        pass
    except aspects.AspectsError as error:
        veto: aspects.Veto | None = aspects.Veto.within(error)
        print(veto)  # noqa: T201


def beside(context: object) -> None:
    text: str = aspects.without_secrets("the text", context, {"access_key": "key"})
    name: str = aspects.hook_name(make_hook(QuotaHook))
    state: dict[str, Any] = aspects.hook_status(make_hook(QuotaHook))
    started: tuple[aspects.Weaving, ...] = aspects.started_weavings()
    waits: bool = aspects.is_coroutine(Owned().create_share)
    queue = aspects.Background("audit", size=10, timeout=0.5, drain=1.0, workers=2)
    dropped: int = queue.dropped
    metadata: dict[str, str] = aspects.share_metadata(context, {"id": "1"})
    specs: Mapping[str, str] = aspects.share_type(context, {"id": "1"}).extra_specs
    gold: aspects.ShareType = aspects.share_type(context, {"id": "1"})
    label: str | None = gold.name
    methods: tuple[str, ...] = aspects.OPERATIONS["create_share_instance"]
    methods += aspects.REQUESTS["create_share"]
    print(text, name, state, started, waits, dropped, metadata)  # noqa: T201
    print(specs, label, methods)  # noqa: T201


def testing() -> None:
    hook: QuotaHook = make_hook(QuotaHook, quota_limit=3, enable_post_hooks=False)
    hook = make_hook(QuotaHook, name="quota", backend="beta", host=None)
    calls: list[DriverCall | HookCall] = []
    before = Recorder(name="before", calls=calls, suppress=["pre"], pre=OSError("no"))
    driver = FakeDriver(calls=calls, create_share=lambda call: [str(call)])
    driver.answer(delete_share=None)
    before.answer(post=aspects.UpdatedResults([]))
    driver.create_share(None, {"id": "1"})
    aspects.weave(driver, [before, hook])

    make_hook("quota")  # type: ignore[arg-type]
    make_hook(QuotaHook, host=3)  # type: ignore[arg-type]
    Recorder(enabled=True)  # type: ignore[arg-type]
    FakeDriver(["call"])  # type: ignore[call-arg]
    record: DriverCall = driver.calls[0]
    method: str = record.method
    arguments: dict[str, Any] = record.arguments
    print(method, arguments, aspects.testing.SIGNATURES)  # noqa: T201
