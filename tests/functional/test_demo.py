# SPDX-License-Identifier: Apache-2.0
"""Run the demo as a command, as users do."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import aspects
from aspects.demo import backends, client, releases
from aspects.demo.client import until
from aspects.demo.scenario import STEPS
from aspects.demo.service import (
    TOKEN,
    ManilaService,
    ServiceError,
    share_server_backend,
)
from tests.support.programs import Program
from tests.support.schema import validated_line
from tests.support.wait import wait_for

from . import recorder

DEMO = [sys.executable, "-m", "aspects.cli", "demo"]

#: Timeout of a run of the demo, in seconds; it usually takes twenty.
TIMEOUT = 280

#: Timeout of each thing that a served Manila does, in seconds.
PATIENCE = 120

needs_rules = pytest.mark.skipif(
    not releases.has_rules(), reason="rules need Python 3.11"
)


def environment(temporary: Path) -> dict[str, str]:
    """Return environment variables that put all temporary files into one directory."""
    root = str(Path(aspects.__file__).parents[1])
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    # A worker of pytest-xdist has 80 columns.
    inherited = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    return {**inherited, "TMPDIR": str(temporary), "PYTHONPATH": path}


def run_demo(
    directory: Path, *arguments: str | Path
) -> subprocess.CompletedProcess[str]:
    temporary = directory / "tmp"
    temporary.mkdir()
    return subprocess.run(
        [*DEMO, *map(str, arguments)],
        env=environment(temporary),
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )


@pytest.fixture(scope="module")
def kept(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[subprocess.CompletedProcess[str], Path]:
    """Run the demo once and keep its directory."""
    directory = tmp_path_factory.mktemp("demo")
    return run_demo(directory, "--keep", directory / "kept"), directory


class TestDemo:
    def test_all_checks_pass(self, kept: Any) -> None:
        done, _ = kept
        assert done.returncode == 0, done.stdout + done.stderr
        assert "All checks passed in " in done.stdout

    def test_standard_error_is_empty(self, kept: Any) -> None:
        assert kept[0].stderr == ""

    def test_every_step_succeeds(self, kept: Any) -> None:
        steps = re.findall(r"^ ?\d+ (.*)$", kept[0].stdout, re.MULTILINE)
        assert steps == [step.title for step in STEPS]
        assert kept[0].stdout.count("\n   ok ") == len(STEPS)

    def test_each_call_is_one_line_of_100_columns(self, kept: Any) -> None:
        lines = kept[0].stdout.splitlines()
        calls = [line for line in lines if re.match("   (alpha|beta|share_api) ", line)]
        assert len(calls) > len(STEPS) / 2
        # Only the text of an error or a warning may be longer.
        longer = r" error | veto |      not enforced |^warning: "
        long = [line for line in lines if len(line) > 100]
        assert [line for line in long if not re.search(longer, line)] == []
        assert re.search(
            r"^   alpha create_share_instance \(create_share\) result .*10\.0\.0\.10:/",
            kept[0].stdout,
            re.MULTILINE,
        )

    def test_the_veto_is_shown_with_the_line_of_the_hook(self, kept: Any) -> None:
        assert re.search(
            r"alpha create_share_instance \(create_share\) veto NoValidHost: .*\n"
            r" +raised by pre of guard at hooks/guard/__init__\.py:\d+; "
            r"driver not called\n",
            kept[0].stdout,
        )

    def test_a_hook_completes_a_request(self, kept: Any) -> None:
        assert re.search(
            r" create a share whose metadata a hook completes\n"
            r"   share_api create_share \(create\) result Share [-\w]{36}\n(?:   .*\n)*"
            r"   ok its metadata: \{'protected': 'true', 'owner': 'admin'\}\n",
            kept[0].stdout,
        )

    @needs_rules
    def test_a_request_that_a_rule_denies_is_answered_with_its_reason(
        self, kept: Any
    ) -> None:
        reason = (
            r"share database is protected; first remove its metadata \"protected\" "
            r"\(rule protected\)"
        )
        assert re.search(
            r" delete it, which a rule denies\n"
            rf"   share_api delete_share \(delete\) veto Veto: {reason}\n"
            r" +raised by pre of guard at hooks/guard/__init__\.py:\d+; "
            r"request not made\n"
            r"   ok refused with HTTP 403 and the reason, the share is still "
            r"available\n",
            kept[0].stdout,
        )

    @needs_rules
    def test_a_warning_and_the_audit_concern_one_share(self, kept: Any) -> None:
        reason = r"the name test does not begin with a team \(rule naming\)"
        assert len(re.findall(f" not enforced Veto: {reason}", kept[0].stdout)) == 1
        assert re.findall(
            r"^warning: Hook guard of backend (\w+): violation (\w+): "
            rf"share [-\w]+ \(instance [-\w]+\): {reason}$",
            kept[0].stdout,
            re.MULTILINE,
        ) == [("alpha", "appeared"), ("alpha", "resolved")]

    def test_the_error_of_the_driver_is_shown_with_its_line(self, kept: Any) -> None:
        assert re.search(
            r"alpha allow_access \(update_access\) error InvalidShareAccess: .*\n"
            r" +raised by driver at manila/tests/share/drivers/dummy\.py:\d+\n",
            kept[0].stdout,
        )

    def test_ticks_are_not_shown(self, kept: Any) -> None:
        assert not re.search("^ +(alpha|beta) tick", kept[0].stdout, re.MULTILINE)

    def test_ticks_are_counted_per_backend(self, kept: Any) -> None:
        for name, woven in backends.WOVEN.items():
            ticks, rounds = re.search(  # type: ignore[union-attr]
                rf"^{name}: (\d+) ticks, periodic hooks ran (\d+) times$",
                kept[0].stdout,
                re.MULTILINE,
            ).groups()
            assert int(rounds) == int(ticks) // woven.ticks >= 2

    def test_the_backend_without_hooks_is_not_woven(self, kept: Any) -> None:
        assert "gamma: DummyDriver, hooks: none, not woven" in kept[0].stdout

    def test_the_output_of_the_hooks_is_shown(self, kept: Any) -> None:
        rows = dict(
            re.findall(r"^\| (audit|guard|webhook|metrics) (.*)$", kept[0].stdout, re.M)
        )
        count = int(re.search(r"(\d+) lines: ", rows["audit"])[1])  # type: ignore
        text = (kept[1] / "kept" / "audit.jsonl").read_text()
        assert count == len(text.splitlines())
        assert "1 failure, 1 veto" in rows["audit"]
        assert "1 veto: NoValidHost: size 9 GiB" in rows["guard"]
        # The vetoed call reached no webhook hook; the failed one has no end event.
        webhook = f"{count - 1} start, {count - 2} end, "
        assert webhook in rows["webhook"]
        assert re.search(r"http://127\.0\.0\.1:\d+/metrics ", rows["metrics"])
        assert (
            f"{count} calls: {count - 2} success, 1 failure, 1 veto" in rows["metrics"]
        )

    def test_output_to_a_file_is_plain_ascii(self, kept: Any) -> None:
        assert kept[0].stdout.isascii()
        assert "\x1b" not in kept[0].stdout

    def test_manila_is_woven_by_configuration_alone(self, kept: Any) -> None:
        text = (kept[1] / "kept" / "manila.conf").read_text()
        assert "share_manager = aspects.manila.ShareManager" in text
        assert (
            re.findall(r"^share_driver = (.*)$", text, re.MULTILINE)
            == ["manila.tests.share.drivers.dummy.DummyDriver"] * 3
        )

    def test_the_kept_directory_has_the_logs(self, kept: Any) -> None:
        directory = kept[1] / "kept"
        assert "manila" in (directory / "manila.log").read_text()
        lines = [
            validated_line(line)
            for line in backends.audit_log(directory).read_text().splitlines()
        ]
        outcomes = {line["outcome"] for line in lines}
        assert outcomes == {"success", "failure", "veto"}

    def test_all_files_are_in_the_kept_directory(self, kept: Any) -> None:
        assert sorted(path.name for path in kept[1].iterdir()) == ["kept", "tmp"]
        assert list((kept[1] / "tmp").iterdir()) == []

    def test_a_directory_that_is_not_empty_is_rejected(self, kept: Any) -> None:
        done = subprocess.run(
            [*DEMO, "--keep", str(kept[1] / "kept")],
            env=environment(kept[1] / "tmp"),
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
        assert done.returncode == 1
        assert "the directory is not empty" in done.stderr
        assert done.stderr.count("\n") == 1


@pytest.mark.once
class TestFailures:
    def test_missing_hook_methods_and_events_are_reported(self, tmp_path: Path) -> None:
        """The guard hook has no completions, and the webhook hook signs wrongly."""
        config = tmp_path / "without.conf"
        config.write_text(
            "[alpha:guard]\nenable_post_hooks = False\n"
            f"[alpha:webhook]\nwebhook_secret = whsec_{'b3RoZXIt' * 4}\n"
        )
        options = ("--verbose", "--ticks", "--config-file", config)
        done = run_demo(tmp_path, *options)
        assert done.returncode == 1, done.stdout + done.stderr
        assert "Failed checks:" in done.stdout
        assert "Checks failed after " in done.stdout
        missing = re.findall(r"\[(\w+)\] missing: (.*)$", done.stdout, re.M)
        assert ("alpha", "extend_share (extend_share): post of guard") in missing
        # The other hooks ran as expected.
        assert not [text for _, text in missing if "of guard" not in text]
        assert {backend for backend, _ in missing} == {"alpha"}
        assert re.search(r"webhook: \d+ events without a valid signature", done.stdout)
        event = "org.openstack.manila.share.extend_share.end"
        assert f"webhook: events of type {event}: expected 1, got 0" in done.stdout
        time_ = r"\d+\.\d\d"
        before, after = (
            ", ".join(f"{hook} {time_}" for hook in backends.WOVEN["alpha"].hooks)
            for _ in range(2)
        )
        after = after.replace(f"guard {time_}, ", "")
        # With --verbose, each call has the durations of the methods that ran.
        assert re.search(
            r"alpha create_share_instance \(create_share\) result .*share_.*\n"
            rf" +pre {before} \| driver {time_} \| post {after} ms\n",
            done.stdout,
        )
        # Without --ticks, there are none.
        assert re.search(
            rf"   alpha tick result\n +periodic {before} ms\n", done.stdout
        )

    def test_a_veto_that_is_missing_is_reported(self, tmp_path: Path) -> None:
        """With a higher limit, the guard hook allows the share."""
        config = tmp_path / "without.conf"
        config.write_text("[alpha:guard]\nguard_max_size = 100\n")
        done = run_demo(tmp_path, "--quiet", "--config-file", config)
        assert done.returncode == 1, done.stdout + done.stderr
        lines = iter(done.stdout.splitlines())
        # With --quiet, only calls with an error precede it.
        assert re.match("   alpha allow_access .* error Inv", next(lines)), done.stdout
        assert re.match("      raised by driver at ", next(lines))
        assert re.match(r"   failed share too-large: .*'available'", next(lines))
        assert next(lines) == "Failed checks:"
        *_, last = lines
        assert last.startswith("Checks failed after ")

    def test_invalid_hooks_of_all_backends_are_reported_together(
        self, tmp_path: Path
    ) -> None:
        config = tmp_path / "wrong.conf"
        config.write_text(
            "[alpha]\nhook_drivers = no.such:Hook\n"
            "[beta]\nhook_drivers = aspects:NoSuchHook\n"
        )
        done = run_demo(tmp_path, "--config-file", config)
        assert done.returncode == 1
        lines = done.stderr.splitlines()
        assert [line.partition(":")[0] for line in lines] == [
            "[alpha] hook_drivers = no.such",
            "[beta] hook_drivers = aspects",
        ]
        assert list((tmp_path / "tmp").iterdir()) == []

    def test_a_missing_config_file_is_reported(self, tmp_path: Path) -> None:
        done = run_demo(tmp_path, "--config-file", tmp_path / "none.conf")
        assert done.returncode == 1
        assert "none.conf" in done.stderr
        assert done.stderr.count("\n") == 1


AUTHORS_HOOKS = """
import aspects
import manila.share.hook

class Upstream(manila.share.hook.HookBase):
    def _execute_pre_hook(self, *, context, func_name, **kwargs):
        pass

    def _execute_post_hook(self, context, func_name, pre_hook_data,
                           driver_action_results, *args, **kwargs):
        pass

    def _execute_periodic_hook(self, context, periodic_hook_data, *args, **kwargs):
        raise KeyError("of a tick")

class Crashing(aspects.HookBase):
    def _execute_pre_hook(self, context, func_name, *args, **kwargs):
        if func_name == "create_share_instance":
            raise KeyError("before")

    def _execute_post_hook(self, context, func_name, pre_hook_data,
                           driver_action_results, *args, **kwargs):
        if func_name == "create_share_instance":
            raise KeyError("after")

    def _execute_periodic_hook(self, context, periodic_hook_data, *args, **kwargs):
        pass

class NotStarting(Crashing):
    def start(self):
        raise OSError("in use")
"""


def place_of(statement: str) -> str:
    """Return the file and line of a statement of the hooks, as a pattern."""
    (line,) = (
        number
        for number, text in enumerate(AUTHORS_HOOKS.splitlines(), 1)
        if text.strip() == statement
    )
    return rf"authors\.py:{line}"


#: The places at which the hooks raise.
BEFORE, AFTER, TICK = (
    place_of(f'raise KeyError("{name}")') for name in ("before", "after", "of a tick")
)

#: The backends have no switches but these: none is left from the demo's own hooks.
AUTHORS_CONFIG = """
[alpha]
hook_drivers = mine=authors:Upstream
enable_post_hooks = True
enable_periodic_hooks = True

[beta]
hook_drivers = quiet=authors:Upstream, loud=authors:Crashing
enable_pre_hooks = True
enable_post_hooks = True
suppress_pre_hooks_errors = True

[gamma]
hook_drivers = loud=authors:Crashing
enable_pre_hooks = True
"""


class Served:
    """A demo that serves the hooks of an author.

    :param directory: the directory for its files
    :param config: the author's configuration
    """

    def __init__(self, directory: Path, config: str) -> None:
        self.temporary = directory / "tmp"
        self.temporary.mkdir()
        (directory / "authors.py").write_text(AUTHORS_HOOKS)
        self.config = directory / "authors.conf"
        self.config.write_text(config)
        place = ["env", "-C", str(directory)]
        options = ["--serve", "--config-file", str(self.config)]
        self.program = Program(
            [*place, *DEMO, *options],
            directory / "demo.out",
            {**environment(self.temporary), "PYTHONUNBUFFERED": "1"},
        )

    def printed(self, pattern: str) -> Any:
        """Return the match of a pattern in the output, once it is there."""

        def found() -> Any:
            return re.search(pattern, self.output(), re.MULTILINE)

        try:
            return wait_for(found, pattern, PATIENCE)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.output()}") from None

    def output(self) -> str:
        return self.program.log.read_text("utf-8")

    def connect(self) -> None:
        """Wait until Manila is up, and create a share type for each backend."""
        self.printed("^Press Ctrl-C")
        endpoint = self.printed("^endpoint: (.*)$")[1]
        self.api = client.connect(endpoint, {"X-Auth-Token": TOKEN}, TOKEN)
        for name in self.backends:
            share_type = {
                "name": name,
                "share_type_access:is_public": True,
                "extra_specs": {
                    "driver_handles_share_servers": "False",
                    "share_backend_name": name,
                },
            }
            answer = self.api.post("/types", json={"share_type": share_type})
            assert answer.status_code == 200, answer.text

    backends = ("alpha", "beta", "gamma")

    def create(self, backend: str) -> Any:
        return self.api.create_share(share_protocol="NFS", size=1, share_type=backend)

    def reload(self, config: str, outcome: str) -> None:
        """Reload another configuration, and wait until the outcome is printed."""
        self.config.write_text(config)
        self.program.process.send_signal(signal.SIGHUP)
        self.printed(outcome)

    def interrupt(self) -> None:
        self.program.process.send_signal(signal.SIGINT)
        assert self.program.process.wait(PATIENCE) == 0, self.output()
        assert "Traceback" not in self.output()
        assert list(self.temporary.iterdir()) == []


class TestServe:
    @pytest.fixture
    def serve(self, tmp_path: Path) -> Iterator[Callable[[str], Served]]:
        with contextlib.ExitStack() as stack:

            def serve(config: str) -> Served:
                served = Served(tmp_path, config)
                stack.callback(served.program.kill)
                return served

            yield serve

    def test_the_output_of_an_authors_hooks_is_true(self, serve: Any) -> None:
        served = serve(AUTHORS_CONFIG)
        served.connect()
        for name in (
            "alpha: DummyDriver, hooks: mine",
            "gamma: DummyDriver, hooks: loud",
        ):
            assert f"\n{name}\n" in served.output()
        # No hook and no option of hooks is left from the demo's own.
        conf = Path(served.printed("^configuration: (.*)$")[1]).read_text("utf-8")
        names = r"hook_drivers|enable_\w+_hooks|suppress_|periodic_hooks_ticks|^\[.*:"
        assert not re.search(names, conf, re.MULTILINE)
        self.check_calls(served)
        self.check_reloads(served)
        served.interrupt()

    def check_calls(self, served: Served) -> None:
        create = r"create_share_instance \(create_share\)"
        # A hook without a pre method.
        served.create("alpha")
        served.printed(rf"^   alpha {create} result 3 x 10\.0\.0\.10:/path.*$")
        # Its periodic method fails the tick, and is not followed by a flood.
        served.printed(
            r"^   alpha tick error KeyError: 'of a tick'\n"
            rf"      raised by periodic of mine at {TICK}$"
        )
        # A suppressed error of a pre method, then an error of a post method.
        served.create("beta")
        served.printed(
            rf"^   beta {create} error KeyError: 'after'\n"
            rf"      raised by post of loud at {AFTER}; driver had returned\n"
            rf"      suppressed KeyError: 'before', raised by pre of loud at {BEFORE}$"
        )
        # A crash of a pre method, then an error of the driver without completions.
        served.create("gamma")
        served.printed(
            rf"^   gamma {create} error KeyError: 'before'\n"
            rf"      raised by pre of loud at {BEFORE}; driver not called$"
        )
        served.reload(
            AUTHORS_CONFIG + "hook_operations = !create_*\n", "^configuration reloaded$"
        )
        share = served.create("gamma")
        served.printed(rf"^   gamma {create} result \(no hook method ran\) 3 x 10")
        wait_for(
            lambda: served.api.get_share(share.id).status == "available",
            "the share is available",
            PATIENCE,
        )
        served.api.create_access_rule(
            share.id, access_type="user", access_to="alice", access_level="rw"
        )
        served.printed(
            r"^   gamma allow_access \(update_access\) error InvalidShareAccess: .*\n"
            r"      raised by driver at manila/tests/share/drivers/dummy\.py:\d+$"
        )
        assert served.output().count("   alpha tick error ") == 1

    def check_reloads(self, served: Served) -> None:
        served.reload(
            AUTHORS_CONFIG.replace("authors:Crashing", "authors:Missing"),
            "^configuration rejected: backends with an error keep their hooks$",
        )
        for backend in ("beta", "gamma"):
            assert re.search(
                rf"^error: .* rejected, keeping .*: \[{backend}\] hook_drivers = .*"
                "authors:Missing",
                served.output(),
                re.MULTILINE,
            )
        served.reload(
            "hook_drivers = mine\n",
            "^configuration rejected, nothing has changed: .*authors.conf:1",
        )
        assert served.output().count("\nconfiguration reloaded\n") == 1
        served.reload(
            AUTHORS_CONFIG.replace("authors:Crashing", "authors:NotStarting")
            + "share_driver = another.Driver\n",
            r"^warning: Ignoring change to immutable option gamma\.share_driver\n"
            r"(?:error: Failed to start hook loud of backend \w+: OSError: in use.*\n)+"
            r"configuration reloaded$",
        )

    @pytest.mark.parametrize("share_servers", [False, True])
    def test_the_example_creates_a_share(
        self, serve: Any, share_servers: bool, tmp_path: Path
    ) -> None:
        served = serve(SHARE_SERVERS if share_servers else RENAMED)
        served.printed("^Press Ctrl-C")
        text = served.output().partition("then list the shares:\n")[2]
        *requests, listing = text.partition("Press")[0].splitlines()
        bash = subprocess.run(
            ["bash", "-e"],
            input="\n".join(requests),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=True,
        )
        assert '"status": "creating"' in bash.stdout, bash.stdout + bash.stderr

        def status() -> str:
            answer = subprocess.run(
                shlex.split(listing), capture_output=True, timeout=PATIENCE, check=True
            )
            return str(json.loads(answer.stdout)["shares"][0]["status"])

        wait_for(lambda: status() != "creating", "the share is created", PATIENCE)
        assert status() == "available", served.output()
        backend = "servers" if share_servers else "delta"
        served.printed(rf"^   {backend} create_share_instance .* result ")
        served.interrupt()

    def test_the_cause_and_the_log_of_a_failing_start_are_kept(
        self, tmp_path: Path
    ) -> None:
        (tmp_path / "failing.py").write_text(FAILING_DRIVER)
        config = tmp_path / "failing.conf"
        config.write_text("[gamma]\nshare_driver = failing.FailingDriver\n")
        done = run_demo(tmp_path, "--serve", "--config-file", config)
        assert done.returncode == 1
        message = re.fullmatch(
            r"manila-aspects: \[gamma\] did not start in 30 seconds: RuntimeError: no"
            r" route to the filer; the log is (.*)\n",
            done.stderr,
        )
        assert message, done.stderr
        assert "failing.py" in Path(message[1]).read_text("utf-8")


FAILING_DRIVER = """
from manila.tests.share.drivers.dummy import DummyDriver

class FailingDriver(DummyDriver):
    def do_setup(self, context):
        raise RuntimeError("no route to the filer")
"""

#: A backend of another name, whose ``share_backend_name`` is a third one.
RENAMED = """
[DEFAULT]
enabled_share_backends = delta
enabled_share_protocols = CIFS

[delta]
share_driver = manila.tests.share.drivers.dummy.DummyDriver
driver_handles_share_servers = False
share_backend_name = storage
dummy_driver_default_driver_method_delay = 0
dummy_driver_driver_methods_delays =
hook_drivers = mine=authors:Upstream
enable_pre_hooks = True
"""


def _share_servers() -> str:
    """Return the configuration of a backend that handles share servers."""
    network = {
        "admin_network_config_group": "network",
        "network_config_group": "network",
        "share_backend_name": "servers",
        "hook_drivers": "mine=authors:Upstream",
        "enable_pre_hooks": True,
    }
    found = share_server_backend(**network)
    parts = {
        "DEFAULT": {"enabled_share_backends": "servers"},
        "servers": found["backend"],
        "network": found["admin_network"],
    }
    return "\n".join(
        f"[{section}]\n"
        + "".join(f"{name} = {value}\n" for name, value in options.items())
        for section, options in parts.items()
    )


SHARE_SERVERS = _share_servers()


class TestService:
    def test_a_process_runs_one_manila(self, manila: ManilaService) -> None:
        with pytest.raises(
            ServiceError, match="this process has already started a Manila"
        ):
            ManilaService(manila.backends).start()

    def test_the_drivers_of_backends_with_hooks_are_woven(
        self, manila: ManilaService
    ) -> None:
        assert {
            name: aspects.is_woven(manager.driver)
            for name, manager in manila.managers.items()
        } == {
            name: "hook_drivers" in options for name, options in manila.backends.items()
        }

    def test_the_deletion_of_a_share_server_runs_hooks(
        self, manila: ManilaService, share_api: Any
    ) -> None:
        recorder.SEEN.clear()
        answer = share_api.post(
            "/types",
            json={
                "share_type": {
                    "name": "served",
                    "share_type_access:is_public": True,
                    "extra_specs": {
                        "driver_handles_share_servers": "True",
                        "share_backend_name": "servers",
                    },
                }
            },
        )
        assert answer.status_code == 200, answer.text
        network = share_api.create_share_network(name="network")
        share = share_api.create_share(
            share_protocol="NFS",
            size=1,
            share_type="served",
            share_network_id=network.id,
        )

        def status() -> str:
            return str(share_api.get_share(share.id).status)

        until(
            status, lambda found: found != "creating", "share: waiting for its creation"
        )
        assert status() == "available"
        (server,) = share_api.get("/share-servers").json()["share_servers"]
        share_api.delete_share(share.id)
        until(
            lambda: [other.id for other in share_api.shares()],
            lambda ids: share.id not in ids,
            "share: waiting for its deletion",
        )
        assert share_api.delete(f"/share-servers/{server['id']}").status_code == 202
        until(
            lambda: share_api.get("/share-servers").json()["share_servers"],
            lambda servers: not servers,
            "share server: waiting for its deletion",
        )
        assert [
            (seen.kind, seen.operation.method)
            for seen in recorder.SEEN
            if seen.operation == "delete_share_server"
            and isinstance(seen.hook, recorder.Recorder)
        ] == [("pre", "teardown_server"), ("post", "teardown_server")]
