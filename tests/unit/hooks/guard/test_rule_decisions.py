# SPDX-License-Identifier: Apache-2.0
"""The calls and requests that rules of a file deny."""

import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oslo_context import context as oslo_context

import aspects
from aspects.operations import Operation
from aspects.testing import FakeDriver, Recorder, make_hook
from hooks.guard import GuardHook
from tests.support.threads import run_in_thread

from .common import share_of, vetoed
from .rules import guarded, one_rule, written

pytest.importorskip("cel_expr_python")

from hooks.guard import rules as rules_module
from hooks.guard.rules import RuleError, RuleFile
from hooks.guard.variables import Call

GOLD = {"id": "t1", "name": "gold", "extra_specs": {"thin": "True"}}
SHARE = share_of(
    display_name="db",
    share_proto="NFS",
    status="available",
    share_type=GOLD,
    metadata={"protected": "true"},
)


def reason_of(operation, context, when, **arguments):
    """Return the reason for which a request is denied; None if it is allowed."""
    now = datetime.datetime(2026, 11, 30, 12, tzinfo=datetime.timezone.utc)
    call = Call(context, Operation(operation), arguments, now)
    verdict = RuleFile("rules.yaml", one_rule(when)).judge(call)
    assert not verdict.errors
    return verdict.denials[0].reason if verdict.denials else None


@pytest.mark.parametrize(
    "when",
    [
        'operation == "delete_share_instance"',
        'backend == "alpha"',
        'share.id == "s1"',
        'share.name == "db"',
        'share.project == "p1"',
        "share.size == 10",
        'share.protocol == "NFS"',
        'share.status == "available"',
        'share.metadata == {"protected": "true"}',
        'share.metadata.protected == "true"',
        'share.type.id == "t1" && share.type.name == "gold"',
        'share.type.extra_specs.thin == "True"',
        'user.id == "u1" && user.project == "p1"',
        'user.roles == ["member", "reader"]',
        'now > timestamp("2026-01-01T00:00:00Z")',
        'arguments.share.display_name == "db"',
        "!has(arguments.share.metadata.access_key)",
        # The extensions of CEL that rules may use.
        'share.metadata[?"other"].orValue("none") == "none"',
        '"DB".lowerAscii() == share.name',
    ],
)
def test_variable_has_the_value_of_the_call(tmp_path, when):
    context = run_in_thread(
        oslo_context.RequestContext,
        user_id="u1",
        project_id="p1",
        roles=["member", "reader"],
    )
    driver = guarded(tmp_path, one_rule(when, reason="share {share.name}"))
    assert vetoed(driver.delete_share, context, SHARE) == "share db (rule rule)"
    driver = guarded(tmp_path, one_rule(f"!({when})"))
    assert vetoed(driver.delete_share, context, SHARE) is None


def test_secrets_are_not_among_the_arguments(tmp_path, context):
    access = {"access_type": "cephx", "access_to": "bob", "access_key": "secret"}
    when = "has(arguments.access.access_key)"
    driver = guarded(tmp_path, one_rule(when))
    assert vetoed(driver.allow_access, context, SHARE, access) is None


class TestWhatARuleAppliesTo:
    def test_operations_are_names_and_patterns(self, tmp_path, context):
        driver = guarded(tmp_path, one_rule("true", "[delete_*, '!delete_snapshot']"))
        assert vetoed(driver.delete_share, context, SHARE)
        assert vetoed(driver.delete_snapshot, context, {"share": SHARE}) is None
        assert vetoed(driver.create_share, context, SHARE) is None

    def test_hook_operations_selects_the_calls_of_all_rules(self, tmp_path, context):
        options = {"hook_operations": "create_*"}
        driver = guarded(tmp_path, one_rule("true"), **options)
        assert vetoed(driver.delete_share, context, SHARE) is None
        assert vetoed(driver.create_share, context, SHARE)

    @pytest.mark.parametrize(
        "when",
        ['access.to != "x"', 'snapshot.name != "x"', "new_size > 0"],
    )
    def test_rule_does_not_apply_to_a_call_without_what_it_names(
        self, tmp_path, context, when
    ):
        driver = guarded(tmp_path, one_rule(when))
        assert vetoed(driver.delete_share, context, SHARE) is None

    def test_rule_without_a_share_applies_to_a_call_without_shares(
        self, tmp_path, context
    ):
        options = {"hook_operations": "init_host"}
        driver = guarded(tmp_path, one_rule('user.id == "u1"'), **options)
        assert vetoed(driver.do_setup, context)
        driver = guarded(tmp_path, one_rule('share.name != "x"'), **options)
        assert vetoed(driver.do_setup, context) is None

    def test_one_share_of_several_is_enough(self, tmp_path, context):
        other = {**SHARE, "id": "i2", "share_id": "s2", "display_name": "web"}
        driver = guarded(
            tmp_path, one_rule('share.name == "web"', reason="not {share.name}")
        )
        group = {"id": "g1", "shares": [SHARE, other]}
        assert vetoed(driver.delete_share_group, context, group, [SHARE, other]) == (
            "not web (rule rule)"
        )
        group["shares"] = [SHARE, SHARE]
        assert vetoed(driver.delete_share_group, context, group, [SHARE]) is None

    def test_parent_of_a_snapshot_counts(self, tmp_path, context):
        snapshot = {"id": "n1", "snapshot_id": "n0", "share": SHARE, "size": 3}
        for when in ('share.name == "db"', 'snapshot.id == "n0" && snapshot.size == 3'):
            driver = guarded(tmp_path, one_rule(when))
            assert vetoed(driver.delete_snapshot, context, snapshot)

    def test_each_access_rule_that_a_call_adds_or_changes_counts(
        self, tmp_path, context
    ):
        old, new = ({"access_to": to, "access_type": "ip"} for to in ("a", "b"))
        driver = guarded(tmp_path, one_rule('access.to == "b"'))
        call = driver.update_access
        assert vetoed(call, context, SHARE, [old], [], []) is None
        assert vetoed(call, context, SHARE, [old, new], [], []) is None
        assert vetoed(call, context, SHARE, [old, new], [old, new], [])
        assert vetoed(call, context, SHARE, [old, new], [old], [new]) is None
        assert vetoed(call, context, SHARE, [], [], [old, new])
        assert vetoed(call, context, SHARE, [old, new], [], [], [new])
        assert vetoed(driver.allow_access, context, SHARE, new)
        assert vetoed(driver.deny_access, context, SHARE, new)

    def test_new_size_is_that_after_the_call(self, tmp_path, context):
        driver = guarded(
            tmp_path, one_rule("new_size > 15", reason="{new_size} of {share.size}")
        )
        large = {**SHARE, "size": 20}
        assert vetoed(driver.create_share, context, SHARE) is None
        assert vetoed(driver.create_share, context, large) == "20 of 20 (rule rule)"
        assert vetoed(driver.extend_share, SHARE, 16) == "16 of 10 (rule rule)"
        assert vetoed(driver.extend_share, SHARE, 15) is None
        assert vetoed(driver.shrink_share, large, 15) is None
        assert vetoed(driver.shrink_share, large, 16)
        assert vetoed(driver.delete_share, context, large) is None
        # The size that Manila gives to a snapshot's share, not that of its parent.
        call = driver.create_share_from_snapshot
        assert vetoed(call, context, SHARE, {"id": "n1"}, None, large) is None

    def test_what_manila_does_by_itself_is_not_judged(self, tmp_path, admin_context):
        driver = guarded(tmp_path, one_rule("true"))
        assert vetoed(driver.delete_share, admin_context, SHARE) is None
        driver.do_setup(admin_context)


class TestRequests:
    """The arguments of Manila's API, where a new share does not exist yet."""

    @pytest.mark.parametrize(
        "when",
        [
            'share.name == "db"',
            "share.size == 5 && new_size == 5",
            'share.project == "p1"',
            'share.protocol == "NFS"',
            'share.type.name == "gold" && share.type.extra_specs.thin == "True"',
            'share.metadata.tier == "1"',
            "arguments.is_public == false",
        ],
    )
    def test_share_to_create(self, context, when):
        arguments = {
            "share_proto": "NFS",
            "size": 5,
            "name": "db",
            "description": None,
            "metadata": {"tier": "1"},
            "share_type": GOLD,
            "is_public": False,
        }
        assert reason_of("create_share", context, when, **arguments)
        assert not reason_of("create_share", context, f"!({when})", **arguments)

    @pytest.mark.parametrize("size", [None, "", "many", []])
    def test_size_that_manila_rejects_is_left_to_manila(self, context, size):
        arguments = {"size": size, "name": "db", "metadata": None}
        assert not reason_of("create_share", context, "new_size > 0", **arguments)

    def test_size_may_be_a_text(self, context):
        arguments = {"size": "5", "name": "db"}
        assert reason_of("create_share", context, "new_size == 5", **arguments)

    def test_access_rule_to_add(self, context):
        arguments = {"share": SHARE, "access_type": "ip", "access_to": "0.0.0.0/0"}
        when = 'access.to == "0.0.0.0/0" && access.type == "ip" && access.level == ""'
        assert reason_of("allow_access", context, when, **arguments)

    def test_level_of_an_access_rule_to_change(self, context):
        access = {"access_type": "ip", "access_to": "192.0.2.1", "access_level": "ro"}
        arguments = {"share": SHARE, "access": access, "values": {"access_level": "rw"}}
        when = 'access.level == "rw" && access.to == "192.0.2.1"'
        assert reason_of("update_access", context, when, **arguments)

    def test_snapshot_to_create(self, context):
        arguments = {"share": SHARE, "name": "before-upgrade", "description": ""}
        when = 'snapshot.name == "before-upgrade" && snapshot.size == share.size'
        assert reason_of("create_snapshot", context, when, **arguments)

    def test_share_to_manage(self, context):
        data = {"display_name": "old", "share_proto": "CIFS", "host": "a@b#c"}
        when = 'share.name == "old" && share.protocol == "CIFS"'
        assert reason_of("manage_share", context, when, share_data=data)

    def test_parameters_are_those_of_the_api_and_not_of_a_driver(
        self, context, tmp_path
    ):
        def allow_access(
            self, ctx, share, access_type, access_to, access_level=None, metadata=None
        ): ...

        def create_snapshot(self, context, share, name, description, force=False): ...

        whens = {
            allow_access: (
                'access.to == "0.0.0.0/0" && share.name == "db"',
                (SHARE, "ip", "0.0.0.0/0"),
            ),
            create_snapshot: (
                'snapshot.name == "before" && share.name == "db"',
                (SHARE, "before", ""),
            ),
        }
        for method, (when, args) in whens.items():
            name = method.__name__
            operation = Operation(name, name, "share_api", "api1", method.__get__(1))
            path = written(tmp_path, one_rule(when))
            hook = make_hook(GuardHook, guard_rules_file=path)
            assert vetoed(hook._execute_pre_hook, context, operation, *args)

    def test_parameters_that_a_driver_renames_have_the_names_of_manila(
        self, context, tmp_path
    ):
        class Renaming(FakeDriver):
            def allow_access(self, context, the_share, rule, share_server=None): ...

        path = written(tmp_path, one_rule('access.to == "b" && share.name == "db"'))
        hook = make_hook(GuardHook, guard_rules_file=path)
        driver = aspects.weave(Renaming(), [hook])
        assert vetoed(driver.allow_access, context, SHARE, {"access_to": "b"})

    def test_short_form_applies_too(self, context):
        hook = make_hook(GuardHook, guard_max_size=4, guard_denied_share_types="tin")

        def deny(**arguments):
            operation = Operation("create_share")
            return vetoed(hook._execute_pre_hook, context, operation, **arguments)

        assert "maximum of 4 GiB" in deny(size=5, share_type=GOLD)
        assert deny(size=4, share_type=GOLD) is None
        assert "share type tin" in deny(size=4, share_type={"id": "t2", "name": "tin"})


class TestDecisions:
    TWO = f"""{one_rule("true", reason="first")}
- name: second
  when: 'true'
  reason: second
  enforcement: {{}}
"""

    def test_veto_has_the_reasons_of_all_rules(self, tmp_path, context):
        driver = guarded(tmp_path, self.TWO.format("deny"))
        assert vetoed(driver.delete_share, context, SHARE) == (
            "first (rule rule); second (rule second)"
        )
        assert driver.calls == []

    def test_rule_that_warns_lets_the_call_proceed(self, tmp_path, context, caplog):
        path = written(tmp_path, one_rule("true", enforcement="warn"))
        hook = make_hook(GuardHook, name="guard", guard_rules_file=path)
        after = Recorder()
        driver = aspects.weave(FakeDriver(), [hook, after])
        assert vetoed(driver.delete_share, context, SHARE) is None
        assert after.calls[0].func_name.vetoes == (("guard", "no (rule rule)"),)
        assert "would have denied delete_share_instance (enforcement: warn)" in (
            caplog.text
        )
        assert hook.counts() == {"not_enforced": 1}

    def test_a_rule_that_denies_has_precedence(self, tmp_path, context):
        driver = guarded(tmp_path, self.TWO.format("warn"))
        assert vetoed(driver.delete_share, context, SHARE) == "first (rule rule)"

    def test_hook_that_warns_enforces_no_rule(self, tmp_path, context):
        driver = guarded(tmp_path, one_rule("true"), hook_enforcement="warn")
        assert vetoed(driver.delete_share, context, SHARE) is None

    def test_limits_of_the_options_apply_beside_the_rules(self, tmp_path, context):
        driver = guarded(tmp_path, one_rule("false"), guard_denied_projects="p1")
        assert "guard_denied_projects" in vetoed(driver.delete_share, context, SHARE)


class TestErrors:
    MISSING = 'share.metadata.owner == "x"'
    TEXT = 'rule rule: there is no key "owner"; test for it with has() or in'

    def test_error_of_a_rule_is_an_error_of_the_hook(self, tmp_path, context):
        driver = guarded(tmp_path, one_rule(self.MISSING))
        with pytest.raises(RuleError) as caught:
            driver.delete_share(context, SHARE)
        assert str(caught.value) == self.TEXT
        assert aspects.Veto.within(caught.value) is None
        assert driver.calls == []

    def test_suppressed_error_lets_the_call_proceed(self, tmp_path, context, caplog):
        driver = guarded(
            tmp_path, one_rule(self.MISSING), suppress_pre_hooks_errors=True
        )
        driver.delete_share(context, SHARE)
        assert self.TEXT in caplog.text

    def test_unknown_size_is_an_error(self, tmp_path, context):
        driver = guarded(tmp_path, one_rule("share.size > 5"))
        with pytest.raises(RuleError, match=r"share\.size is not known in this call"):
            driver.delete_share(context, share_of(size=None))

    def test_error_that_does_not_matter_for_the_condition_is_none(
        self, tmp_path, context
    ):
        driver = guarded(tmp_path, one_rule(f"false && {self.MISSING}"))
        assert vetoed(driver.delete_share, context, SHARE) is None

    def test_a_veto_has_precedence_over_an_error(self, tmp_path, context):
        text = f"{one_rule(self.MISSING)}\n- name: b\n  when: 'true'\n  reason: b\n"
        driver = guarded(tmp_path, text)
        assert vetoed(driver.delete_share, context, SHARE) == "b (rule b)"

    def test_error_of_a_rule_that_warns_is_logged(self, tmp_path, context, caplog):
        driver = guarded(tmp_path, one_rule(self.MISSING, enforcement="warn"))
        assert vetoed(driver.delete_share, context, SHARE) is None
        assert self.TEXT in caplog.text

    def test_error_in_a_reason_does_not_prevent_the_veto(self, tmp_path, context):
        driver = guarded(
            tmp_path, one_rule("true", reason="{{{share.metadata.owner}}} has it")
        )
        assert vetoed(driver.delete_share, context, SHARE) == "{?} has it (rule rule)"

    def test_error_of_the_database_is_an_error_of_the_hook(
        self, tmp_path, context, monkeypatch
    ):
        def fail(context, share):
            raise ConnectionError("database")

        monkeypatch.setattr(aspects, "share_metadata", fail)
        driver = guarded(tmp_path, one_rule(self.MISSING))
        with pytest.raises(ConnectionError):
            driver.delete_share(context, SHARE)

    def test_database_is_not_read_for_rules_that_do_not_need_it(
        self, tmp_path, context, monkeypatch
    ):
        monkeypatch.setattr(aspects, "share_metadata", None)
        monkeypatch.setattr(aspects, "share_type", None)
        driver = guarded(tmp_path, one_rule("share.size > 5"))
        assert vetoed(driver.delete_share, context, SHARE)


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        ("share.size", "10"),
        ("share.size > 5", "true"),
        ("user.roles", "a, b"),
        ("share.size / 4", "2"),
        ('"{share.name}"', None),
        ('share.name + "}"', None),
    ],
)
def test_values_in_a_reason(expression, text):
    source = f"- name: a\n  when: 'true'\n  reason: '{{{expression}}}'\n"
    if text is None:
        # Braces in an expression end it.
        with pytest.raises(ValueError, match="line 3"):
            RuleFile("rules.yaml", source)
        return
    (rule,) = RuleFile("rules.yaml", source).rules
    values = {"share.size": 10, "user.roles": ["a", "b"]}
    assert rule.reason.text(values) == text


def test_secret_in_a_reason_is_masked(tmp_path, context):
    access = {"access_type": "cephx", "access_to": "bob", "access_key": "s3cr3t-k3y"}
    share = {**SHARE, "display_name": "s3cr3t-k3y"}
    driver = guarded(tmp_path, one_rule("true", reason="of {share.name}"))
    assert vetoed(driver.allow_access, context, share, access) == "of *** (rule rule)"


@pytest.mark.slow
@settings(max_examples=30)
@given(st.text(st.characters(min_codepoint=0, max_codepoint=0x1FFFF), max_size=5))
def test_any_text_of_a_call_can_be_judged(text):
    share = share_of(display_name=text, metadata={text: text}, status=text)
    whens = {
        "share.name.size() == {0}": True,
        "share.metadata.size() == 1": True,
        "share.metadata.exists(key, key == share.name)": True,
        "arguments.share.status == share.name": True,
        "share.name == share.name + {1}": False,
    }
    for when, expected in whens.items():
        when = when.format(len(text), '"x"')
        reason = reason_of("delete_share", None, when, share=share)
        assert bool(reason) is expected


def test_time_among_the_arguments_is_a_text(context):
    time = datetime.datetime(2026, 11, 30, 12)
    when = 'timestamp(arguments.at) == timestamp("2026-11-30T12:00:00Z")'
    assert reason_of("delete_share", context, when, at=time)
    time = time.replace(tzinfo=datetime.timezone(datetime.timedelta(hours=1)))
    assert not reason_of("delete_share", context, when, at=time)


def test_plain_arguments_end_in_dicts_that_refer_to_each_other(tmp_path, context):
    share = dict(SHARE, object=object(), huge=2**70)
    share["share"] = share
    driver = guarded(tmp_path, one_rule("arguments.share.object == null"))
    assert vetoed(driver.delete_share, context, share)


def test_operations_of_a_call_select_the_rules_once():
    text = one_rule("true", "[create_share]")
    file = RuleFile("rules.yaml", text)
    assert file.rules_for("create_share") is file.rules_for("create_share")
    assert file.rules_for("delete_share") == ()
    assert file.rules[0].enforcement == rules_module.DENY
