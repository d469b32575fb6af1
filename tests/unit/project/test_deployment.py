# SPDX-License-Identifier: Apache-2.0
"""The files for deployments: DevStack, systemd, Kolla."""

from __future__ import annotations

import configparser
import importlib.metadata
import subprocess
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.support.programs import need

ROOT = Path(__file__).parents[3]
DEVSTACK = ROOT / "devstack"
SYSTEMD = ROOT / "etc" / "systemd" / "manila-share.service.d" / "manila-aspects.conf"
KOLLA = ROOT / "etc" / "kolla"

# The functions of DevStack that the plugin calls. They print their arguments.
_FUNCTIONS = """
set -o errexit -o nounset -o pipefail
DEST=/opt/stack
MANILA_CONF=/etc/manila/manila.conf
define_plugin() { echo "define_plugin $*"; }
plugin_requires() { echo "plugin_requires $*"; }
is_service_enabled() { [[ " $ENABLED " == *" $1 "* ]]; }
echo_summary() { :; }
setup_develop() { echo "setup_develop $*"; }
iniset() { echo "iniset $*"; }
iniget() {
    [[ "$*" == "/etc/manila/manila.conf DEFAULT enabled_share_backends" ]]
    echo alpha,beta
}
"""


def stacked(phase: str, enabled: str = "manila", **settings: str) -> list[str]:
    """Source the plugin as DevStack does, and return the calls of its functions.

    :param phase: the two arguments of the plugin
    :param enabled: the enabled services
    :param settings: variables of local.conf
    """
    script = f"{_FUNCTIONS}\nsource {DEVSTACK}/settings\n"
    script += f"source {DEVSTACK}/plugin.sh {phase}\n"
    done = subprocess.run(
        ["bash", "-c", script],
        env={"ENABLED": enabled, "PATH": "/usr/bin:/bin", **settings},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    define, requires, *calls = done.stdout.splitlines()
    assert define == "define_plugin manila-aspects"
    assert requires == "plugin_requires manila-aspects manila"
    return calls


def iniset(section: str, option: str, value: str) -> str:
    return f"iniset /etc/manila/manila.conf {section} {option} {value}"


def enabled_hooks(section: str, hooks: str) -> list[str]:
    return [
        iniset(section, "hook_drivers", hooks),
        iniset(section, "enable_pre_hooks", "True"),
        iniset(section, "enable_post_hooks", "True"),
    ]


class TestDevStack:
    def test_the_plugin_is_installed_with_its_extras(self) -> None:
        assert stacked("stack install", MANILA_ASPECTS_EXTRAS="audit,webhook") == [
            "setup_develop /opt/stack/manila-aspects audit,webhook"
        ]

    def test_each_backend_gets_the_hooks(self) -> None:
        assert stacked("stack post-config") == [
            iniset("DEFAULT", "share_manager", "aspects.manila.ShareManager"),
            *enabled_hooks("alpha", "audit"),
            *enabled_hooks("beta", "audit"),
        ]

    def test_the_api_gets_hooks_on_request(self) -> None:
        hooks = "limits=guard, audit"
        calls = stacked("stack post-config", MANILA_ASPECTS_API_HOOKS=hooks)
        assert calls[-4:] == [
            iniset("DEFAULT", "share_api_class", "aspects.manila.ShareAPI"),
            *enabled_hooks("share_api", hooks),
        ]

    @pytest.mark.parametrize(
        "phase", ["stack pre-install", "stack extra", "unstack", "clean"]
    )
    def test_other_phases_do_nothing(self, phase: str) -> None:
        assert stacked(phase) == []

    def test_nothing_happens_without_manila(self) -> None:
        assert stacked("stack post-config", enabled="nova") == []


@pytest.mark.parametrize(
    "script", ["devstack/plugin.sh", "devstack/settings", ".ci/run"]
)
def test_shellcheck_finds_nothing(script: str) -> None:
    if not (ROOT / script).exists():
        pytest.skip(f"{script} is not in this package")
    shellcheck = need("shellcheck", "shellcheck")
    done = subprocess.run(
        [shellcheck, script], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.stdout == ""
    assert done.returncode == 0


class TestSystemd:
    @pytest.fixture
    def service(self) -> list[tuple[str, str]]:
        """Return the settings of the drop-in, in its order."""
        lines = SYSTEMD.read_text("utf-8").splitlines()
        lines = [line for line in lines if line and not line.startswith("#")]
        assert lines.pop(0) == "[Service]"
        pairs = [line.partition("=") for line in lines]
        assert all(equals for _, equals, _ in pairs)
        return [(name, value) for name, _, value in pairs]

    def test_the_command_of_the_distribution_is_replaced(
        self, service: list[tuple[str, str]]
    ) -> None:
        # systemd appends to the list of commands unless it is cleared first.
        clear, start = [value for name, value in service if name == "ExecStart"]
        assert clear == ""
        assert start.split()[1] == "/usr/bin/manila-share"

    def test_a_reload_sends_sighup(self, service: list[tuple[str, str]]) -> None:
        assert dict(service)["ExecReload"] == "/bin/kill -HUP $MAINPID"

    def test_manila_ends_its_processes_before_systemd_does(
        self, service: list[tuple[str, str]]
    ) -> None:
        opts = pytest.importorskip("oslo_service._options")
        (timeout,) = (
            option.default
            for option in opts.service_opts
            if option.name == "graceful_shutdown_timeout"
        )
        assert int(dict(service)["TimeoutStopSec"]) > timeout
        assert dict(service)["KillSignal"] == "SIGTERM"


class TestKolla:
    def test_the_image_gets_a_package_with_known_extras(self) -> None:
        jinja2 = pytest.importorskip("jinja2")
        text = (KOLLA / "template-override.j2").read_text("utf-8")
        tree = jinja2.Environment(autoescape=True).parse(text)
        assert tree.find(jinja2.nodes.Extends).template.name == "parent_template"
        assign = tree.find(jinja2.nodes.Assign)
        assert assign.target.name == "manila_base_pip_packages_append"
        (package,) = map(Requirement, assign.node.as_const())
        metadata = importlib.metadata.metadata("manila-aspects")
        assert package.name == metadata["Name"]
        assert package.extras <= set(metadata.get_all("Provides-Extra"))

    def test_the_configuration_has_no_mistake(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        from aspects import cli

        # Kolla Ansible writes the rest of each section.
        parser = configparser.ConfigParser()
        parser.read(KOLLA / "manila.conf", "utf-8")
        (backend,) = set(parser.sections()) - {"share_api"}
        parser["DEFAULT"]["enabled_share_backends"] = backend
        parser[backend]["share_driver"] = "aspects.testing.FakeDriver"
        parser[backend]["audit_log_path"] = str(tmp_path / "audit.log")
        file = tmp_path / "manila.conf"
        with file.open("w", encoding="utf-8") as stream:
            parser.write(stream)
        assert cli.main(["check", "--config-file", str(file)]) == 0
        assert capsys.readouterr().out.startswith("no problems")
