# SPDX-License-Identifier: Apache-2.0
"""The test helpers of ``aspects.testing``."""

import inspect
import subprocess
import sys

import pytest
from oslo_config import cfg

import aspects
from aspects import testing
from aspects.operations import METHODS, OPERATIONS
from tests.support.config import ConfigFile
from tests.support.entries import recording

CONTEXT = object()


def arguments_of(method):
    """Return an argument for each parameter of a driver method."""
    parameters = inspect.signature(getattr(testing.FakeDriver, method)).parameters
    return {
        name: f"the {name}"
        for name, parameter in parameters.items()
        if name != "self" and parameter.kind is not parameter.VAR_KEYWORD
    }


class TestFakeDriver:
    def test_every_operation_has_its_driver_methods(self):
        driver = testing.FakeDriver()
        for operation, methods in OPERATIONS.items():
            for method in methods or (operation,):
                assert callable(getattr(driver, method)), method

    @pytest.mark.parametrize("method", sorted(set(testing.SIGNATURES) & set(METHODS)))
    def test_each_driver_method_is_woven_and_records_its_arguments(self, method):
        calls = []
        driver = testing.FakeDriver(calls=calls)
        woven = aspects.weave(driver, [testing.Recorder(name="hook", calls=calls)])
        arguments = arguments_of(method)
        getattr(woven, method)(**arguments)
        pre, call, post = calls
        assert METHODS[method] in (pre.func_name, "update_access")
        assert (str(pre), str(call), str(post)) == ("hook.pre", method, "hook.post")
        assert call.arguments == arguments

    def test_arguments_are_recorded_under_the_names_of_their_parameters(self):
        driver = testing.FakeDriver()
        driver.extend_share({"id": "1"}, 5)
        driver.create_share(CONTEXT, share={"id": "1"})
        driver.allocate_network(CONTEXT, "server", "network", "subnet", vlan=7)
        network = {"share_network": "network", "share_network_subnet": "subnet"}
        assert driver.calls == [
            ("extend_share", {"share": {"id": "1"}, "new_size": 5}),
            ("create_share", {"context": CONTEXT, "share": {"id": "1"}}),
            (
                "allocate_network",
                {"context": CONTEXT, "share_server": "server", **network, "vlan": 7},
            ),
        ]

    @pytest.mark.parametrize("woven", [False, True])
    def test_a_call_with_wrong_arguments_raises_type_error_and_is_not_recorded(
        self, woven
    ):
        driver = testing.FakeDriver()
        called = aspects.weave(driver, [testing.Recorder()]) if woven else driver
        with pytest.raises(
            TypeError, match=r"FakeDriver.create_share\(\) missing .*'share'"
        ):
            called.create_share(CONTEXT)
        with pytest.raises(TypeError, match="sharre"):
            called.create_share(CONTEXT, sharre="1")
        assert driver.calls == []

    def test_each_new_share_has_its_own_export_location_list(self):
        driver = testing.FakeDriver()
        first = driver.create_share(CONTEXT, {})
        first.append("another")
        assert driver.create_share(CONTEXT, {}) == ["192.0.2.1:/exports/share"]
        assert driver.create_share_group(CONTEXT, {}) is None
        assert driver.delete_share(CONTEXT, {}) is None

    def test_an_answer_is_raised_called_or_returned(self):
        error = OSError("disk full")
        driver = testing.FakeDriver(create_share=["here"], delete_share=error)
        assert driver.create_share(CONTEXT, {}) == ["here"]
        with pytest.raises(OSError, match="disk full") as caught:
            driver.delete_share(CONTEXT, {})
        assert caught.value is error
        driver.answer(create_share=lambda call: call.arguments["share"], delete_share=3)
        assert driver.create_share(CONTEXT, "the share") == "the share"
        assert driver.delete_share(CONTEXT, {}) == 3
        driver.answer(create_share=NotImplementedError)
        with pytest.raises(NotImplementedError):
            driver.create_share(CONTEXT, {})
        assert [str(call) for call in driver.calls] == [
            *("create_share", "delete_share", "create_share", "delete_share"),
            "create_share",
        ]

    def test_an_answer_for_an_unknown_method_is_rejected(self):
        with pytest.raises(TypeError, match="no method create_shar; did you mean"):
            testing.FakeDriver(create_shar=[])
        with pytest.raises(TypeError, match=r"FakeDriver has no method further$"):
            testing.FakeDriver().answer(further=1)

    def test_a_subclass_can_add_driver_methods(self):
        class Driver(testing.FakeDriver):
            def further(self, context):
                return "further"

        hook = testing.Recorder()
        woven = aspects.weave(Driver(), [hook], hook_methods=["further"])
        assert woven.further(CONTEXT) == "further"
        assert [call.func_name for call in hook.calls] == ["further", "further"]

    def test_an_unknown_driver_method_raises_attribute_error(self):
        assert not hasattr(testing.FakeDriver(), "get_periodic_hook_data")


class TestRecorder:
    def test_a_recorder_records_the_arguments_of_each_method(self):
        hook = testing.Recorder(pre="data")
        error = OSError("no")
        driver = testing.FakeDriver(create_share="result", delete_share=error)
        woven = aspects.weave(driver, [hook], backend="alpha", host="host@alpha")
        woven.create_share(CONTEXT, "share", share_server="server")
        with pytest.raises(OSError, match="no"):
            woven.delete_share(CONTEXT, "share")
        aspects.tick(woven, CONTEXT, ["share"])
        create, delete = "create_share_instance", "delete_share_instance"
        arguments = (("share",), {"share_server": "server"})
        also = (("share",), {})
        assert hook.calls == [
            ("recorder", "pre", CONTEXT, create, None, None, *arguments),
            ("recorder", "post", CONTEXT, create, "data", "result", *arguments),
            ("recorder", "pre", CONTEXT, delete, None, None, *also),
            ("recorder", "error", CONTEXT, delete, "data", error, *also),
            ("recorder", "periodic", CONTEXT, None, ["share"], None, (), {}),
        ]

    def test_a_shared_list_has_the_calls_of_all_recorders_in_order(self):
        calls = []
        hooks = [testing.Recorder(name=name, calls=calls) for name in ("one", "two")]
        aspects.weave(testing.FakeDriver(calls=calls), hooks).create_share(CONTEXT, {})
        assert [str(call) for call in calls] == [
            *("one.pre", "two.pre", "create_share", "one.post", "two.post")
        ]

    def test_an_answer_is_raised_called_or_returned(self):
        hook = testing.Recorder(
            post=lambda call: aspects.UpdatedResults([call.outcome])
        )
        woven = aspects.weave(testing.FakeDriver(create_share=1), [hook])
        assert woven.create_share(CONTEXT, {}) == [1]
        hook.answer(pre=aspects.Veto("no"))
        with pytest.raises(aspects.Veto, match="no"):
            woven.create_share(CONTEXT, {})
        with pytest.raises(TypeError, match="Recorder has no method pst; did you mean"):
            testing.Recorder(pst=1)

    def test_each_method_of_a_recorder_is_enabled_and_suppressed_separately(self):
        hook = testing.Recorder(enabled=["post"], suppress=["post"], post=OSError("no"))
        woven = aspects.weave(testing.FakeDriver(create_share=1), [hook])
        assert woven.create_share(CONTEXT, {}) == 1
        assert not aspects.tick(woven, CONTEXT, [])
        assert [call.kind for call in hook.calls] == ["post"]

    def test_a_recorder_can_be_named_in_a_configuration_file(self, tmp_path):
        file = ConfigFile(
            tmp_path / "manila.conf",
            """
            [alpha]
            hook_drivers = one=aspects.testing:Recorder, aspects.testing.Recorder
            [alpha:one]
            enable_post_hooks = True
            """,
        )
        section = aspects.BackendSection(file.conf, "alpha")
        woven = aspects.weave_from_config(testing.FakeDriver(), section, "host@alpha")
        woven.create_share(CONTEXT, {})
        one, other = aspects.weaving(woven).hooks
        assert [str(call) for call in one.calls] == ["one.post"]
        assert (other.instance_name, other.calls) == ("Recorder", [])


class AliasHook(testing.Recorder):
    options = (
        cfg.StrOpt("alias_name", mutable=True),
        cfg.IntOpt("alias_port", default=2049, min=1, max=65535),
        cfg.ListOpt("alias_hosts", default=[]),
        cfg.StrOpt("alias_key", secret=True, max_length=8),
    )

    def __init__(self, configuration, host):
        super().__init__(configuration, host)
        if self.get_config_option("alias_name") == "none":
            raise LookupError("there is no host none")


def problems_of(**options):
    with pytest.raises(aspects.HookConfigError) as caught:
        testing.make_hook(AliasHook, **options)
    return str(caught.value).splitlines()


class TestMakeHook:
    def test_a_hook_has_the_options_that_the_test_sets(self):
        hook = testing.make_hook(AliasHook, alias_name="files", alias_hosts=["a", "b"])
        assert hook.get_config_option("alias_name") == "files"
        assert hook.get_config_option("alias_hosts") == ["a", "b"]
        assert hook.get_config_option("alias_port") == 2049
        assert hook.get_config_option("alias_key") is None

    @pytest.mark.parametrize("port", [443, "443"])
    def test_option_values_have_the_type_of_their_option(self, port):
        hook = testing.make_hook(AliasHook, alias_port=port, alias_hosts="a, b")
        assert hook.get_config_option("alias_port") == 443
        assert hook.get_config_option("alias_hosts") == ["a", "b"]

    def test_a_hook_has_an_instance_name_a_section_and_a_host(self):
        hook = testing.make_hook(AliasHook)
        assert type(hook) is AliasHook
        assert (hook.instance_name, hook.host) == ("AliasHook", "host@alpha")
        assert hook.configuration.config_group == "alpha"
        hook = testing.make_hook(AliasHook, name="a", backend="beta", host="node1@beta")
        assert (hook.instance_name, hook.host) == ("a", "node1@beta")
        assert hook.configuration.config_group == "beta"

    def test_all_methods_are_enabled_by_default(self):
        hook = testing.make_hook(
            AliasHook, enable_post_hooks=False, suppress_pre_hooks_errors=True
        )
        enabled = hook.pre_hooks_enabled, hook.post_hooks_enabled
        assert enabled == (True, False)
        assert hook.periodic_hooks_enabled
        assert hook.suppress_pre_hooks_errors
        assert not hook.suppress_periodic_hooks_errors

    def test_a_hook_can_run_in_the_background(self):
        hook = testing.make_hook(AliasHook, hook_dispatch="background")
        woven = aspects.weave(testing.FakeDriver(), [hook])
        aspects.weaving(woven).start()
        woven.create_share(CONTEXT, {})
        aspects.weaving(woven).stop()
        assert [call.kind for call in hook.calls] == ["pre", "post"]

    def test_all_problems_are_reported_at_once(self):
        assert problems_of(alias_port=0, alias_prot=7, enable_pre_hooks="maybe") == [
            "[alpha:AliasHook] enable_pre_hooks = maybe: Unexpected boolean value "
            "'maybe'",
            "[alpha:AliasHook] alias_port = 0: Should be greater than or equal to 1",
            "[alpha:AliasHook] alias_prot = 7: unknown option; did you mean "
            "alias_port?",
        ]

    def test_an_unsupported_dispatch_is_reported(self):
        assert problems_of(hook_dispatch="durable") == [
            "[alpha:AliasHook] hook_dispatch = durable: not supported by AliasHook; "
            "use inline or background",
        ]

    def test_a_secret_value_is_not_reported(self):
        (problem,) = problems_of(alias_key="hunter2-Zq9")
        assert problem == "[alpha:AliasHook] alias_key = ***: not a valid value"

    def test_an_error_of_the_constructor_is_reported_as_at_start_up(self):
        with pytest.raises(aspects.HookConfigError, match="no host none") as caught:
            testing.make_hook(AliasHook, alias_name="none")
        assert isinstance(caught.value.__cause__, LookupError)

    def test_environment_and_global_options_are_ignored(self, monkeypatch):
        monkeypatch.setenv("OS_ALPHA_ALIASHOOK__ALIAS_PORT", "7")
        monkeypatch.setenv("OS_ALPHA__ALIAS_PORT", "7")
        monkeypatch.setattr(cfg, "CONF", cfg.ConfigOpts())
        hook = testing.make_hook(AliasHook, alias_name="files")
        assert hook.get_config_option("alias_port") == 2049
        assert "alias_port" not in cfg.CONF
        assert "enable_pre_hooks" not in cfg.CONF

    def test_two_hooks_of_one_class_have_separate_options(self):
        one, two = (testing.make_hook(AliasHook, alias_port=port) for port in (1, 2))
        assert one.get_config_option("alias_port") == 1
        assert two.get_config_option("alias_port") == 2

    def test_a_hook_may_register_its_options_itself(self):
        hook = testing.make_hook(recording.HandMade, color="red")
        assert hook.color == "red"

    def test_a_hook_of_manilas_base_class_has_its_switches(self):
        hook = testing.make_hook(recording.Upstream, suppress_post_hooks_errors=True)
        woven = aspects.weave(testing.FakeDriver(), [hook])
        woven.create_share(CONTEXT, {})
        assert [method for method, _ in hook.seen] == ["pre", "post"]
        assert hook.suppress_post_hooks_errors


@pytest.mark.slow
def test_aspects_testing_needs_neither_manila_nor_pytest():
    code = (
        "import sys\n"
        "for name in ('manila', 'pytest', 'hypothesis'): sys.modules[name] = None\n"
        "import aspects\n"
        "print(aspects.testing.FakeDriver().create_share(None, {}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    )
    assert done.stdout == "['192.0.2.1:/exports/share']\n"
