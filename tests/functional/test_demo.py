# SPDX-License-Identifier: Apache-2.0
"""Run the demo as a command, as users do."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import aspects
from aspects.demo import backends
from aspects.demo.client import until
from aspects.demo.scenario import STEPS
from aspects.demo.service import ManilaService, ServiceError

from . import recorder

DEMO = [sys.executable, "-m", "aspects.cli", "demo"]

#: Timeout of a run of the demo, in seconds; it usually takes twenty.
TIMEOUT = 240


def environment(temporary: Path) -> dict[str, str]:
    """Return environment variables that put all temporary files into one directory."""
    root = str(Path(aspects.__file__).parents[1])
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    return {**os.environ, "TMPDIR": str(temporary), "PYTHONPATH": path}


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

    def test_each_join_point_is_shown_with_its_hooks_and_times(self, kept: Any) -> None:
        time_ = r"\d+\.\d\d"
        hooks = ", ".join(f"{hook} {time_}" for hook in backends.WOVEN["alpha"].hooks)
        assert re.search(
            r"alpha create_share_instance \(create_share\) result .*share_.*\n"
            rf" +pre {hooks} \| driver {time_} \| post {hooks} ms\n",
            kept[0].stdout,
        )

    def test_the_veto_is_shown(self, kept: Any) -> None:
        assert re.search(
            r"alpha create_share_instance \(create_share\) veto NoValidHost: .*\n"
            r" +pre metrics \S+, audit \S+, guard \S+ raised \| driver not called"
            r" \| error audit \S+, metrics \S+ ms\n",
            kept[0].stdout,
        )

    def test_the_error_of_the_driver_is_shown(self, kept: Any) -> None:
        assert re.search(
            r"alpha allow_access \(update_access\) error InvalidShareAccess: .*\n"
            r" +pre metrics .*\| driver \S+ \| error witness \S+, webhook \S+,"
            r" guard \S+, audit \S+, metrics \S+ ms\n",
            kept[0].stdout,
        )

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
            re.findall(r"^\W*(audit|guard|webhook|metrics) (.*)$", kept[0].stdout, re.M)
        )
        count = int(re.search(r"(\d+) lines: ", rows["audit"])[1])  # type: ignore
        text = (kept[1] / "kept" / "audit.jsonl").read_text()
        assert count == len(text.splitlines())
        assert "1 failure, 1 veto" in rows["audit"]
        assert re.search("1 veto: NoValidHost: .*9 GiB", rows["guard"])
        # The vetoed call reached no webhook hook; the failed one has no end event.
        webhook = f"{count - 1} start, {count - 2} end, "
        assert webhook in rows["webhook"]
        assert re.search(r"http://127\.0\.0\.1:\d+/metrics ", rows["metrics"])
        assert (
            f"{count} calls: {count - 2} success, 1 failure, 1 veto" in rows["metrics"]
        )

    def test_output_to_a_file_has_no_color(self, kept: Any) -> None:
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
            json.loads(line)
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


class TestFailures:
    def test_missing_hook_methods_and_events_are_reported(self, tmp_path: Path) -> None:
        """The guard hook has no completions, and the webhook hook signs wrongly."""
        config = tmp_path / "without.conf"
        config.write_text(
            "[alpha:guard]\nenable_post_hooks = False\n"
            "[alpha:webhook]\nwebhook_secret = another\n"
        )
        done = run_demo(tmp_path, "--config-file", config)
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

    def test_a_veto_that_is_missing_is_reported(self, tmp_path: Path) -> None:
        """With a higher limit, the guard hook allows the share."""
        config = tmp_path / "without.conf"
        config.write_text("[alpha:guard]\nguard_max_size = 100\n")
        done = run_demo(tmp_path, "--config-file", config)
        assert done.returncode == 1, done.stdout + done.stderr
        assert re.search(r"failed share too-large: .*'available'", done.stdout)

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


AUTHORS_HOOK = '''
import manila.share.hook

class AuthorsHook(manila.share.hook.HookBase):
    """A hook for Manila's own base class."""

    def _execute_pre_hook(self, *, context, func_name, **kwargs):
        pass

    def _execute_post_hook(self, context, func_name, pre_hook_data,
                           driver_action_results, *args, **kwargs):
        pass

    def _execute_periodic_hook(self, context, periodic_hook_data, *args, **kwargs):
        pass
'''


class TestServe:
    @pytest.fixture
    def served(self, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
        (tmp_path / "tmp").mkdir()
        (tmp_path / "authors.py").write_text(AUTHORS_HOOK)
        (tmp_path / "authors.conf").write_text(
            "[alpha]\nhook_drivers = mine=authors:AuthorsHook\n"
        )
        process = subprocess.Popen(
            [*DEMO, "--serve", "--config-file", "authors.conf"],
            env={**environment(tmp_path / "tmp"), "PYTHONUNBUFFERED": "1"},
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        with process:
            yield process
            process.kill()

    def test_the_example_creates_a_share_and_ctrl_c_stops(
        self, served: subprocess.Popen[str], tmp_path: Path
    ) -> None:
        assert served.stdout is not None
        examples = []
        for line in served.stdout:
            if line.startswith("curl "):
                examples.append(line)
            if line.startswith("Press Ctrl-C"):
                break
        assert examples, "the demo ended without an example"
        answers = [run_line(line) for line in examples]
        assert answers[1]["share"]["status"] == "creating"
        for line in served.stdout:
            if "alpha create_share_instance" in line:
                break
        else:
            pytest.fail("the author's hook did not run")
        assert re.match(
            r" +pre mine \S+ \| driver \S+ \| post mine \S+ ms$", next(served.stdout)
        )

        def status() -> str:
            return str(run_line(examples[2])["shares"][0]["status"])

        until(status, lambda found: found == "available", "the share")
        served.send_signal(signal.SIGINT)
        rest = served.stdout.read()
        assert served.wait(20) == 0, rest
        assert "Traceback" not in rest
        assert list((tmp_path / "tmp").iterdir()) == []


def run_line(line: str) -> Any:
    """Run a line of the screen; return its JSON output."""
    answer = subprocess.run(
        shlex.split(line), capture_output=True, text=True, timeout=20, check=True
    )
    return json.loads(answer.stdout)


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
