# SPDX-License-Identifier: Apache-2.0
"""Install the wheel and the sdist in a clean environment for each extra, and use them.

python -m tests.packaging dist [EXTRA ...]
"""

from __future__ import annotations

import argparse
import email.parser
import subprocess
import sys
import tarfile
import tempfile
import venv
import zipfile
from pathlib import Path

#: Extra -> Python code that has to run with it, in addition to the command.
SMOKE_TESTS = {
    "": "import aspects; aspects.weave(object(), [])",
    "audit": "import hooks.audit, pycadf",
    "automount": "import hooks.automount",
    "background": "import aspects; aspects.Background('hook of backend').stop()",
    "bench": "import pyperf, pluggy, aspectlib, matplotlib",
    "cli": "import rich",
    "command": "import hooks.command",
    "demo": "import aspects.demo.run",
    "docs": "import sphinx, furo",
    "durable": "import hooks.events.outbox",
    "guard": "import hooks.guard",
    "manila": "import manila.share.manager, aspects.manila",
    "metrics": "import hooks.metrics",
    "notification": "import hooks.notification",
    "test": "import pytest, hypothesis",
    "tracing": "import hooks.tracing",
    "webhook": "import hooks.webhook",
}


#: Files that the sdist must have, to test, build and change the project without git.
CONTENTS = (
    *("CONTRIBUTING.rst", "HACKING.rst", "LICENSE", "README.rst", "SECURITY.md"),
    *("doc/source/conf.py", "etc/manila-aspects.conf.sample", "tox.ini"),
    *("etc/prometheus/alerts.yml", "etc/prometheus/alerts_test.yml"),
    "etc/grafana/manila-aspects.json",
    *("releasenotes/config.yaml", "tests/unit/cli/test_check_cases.py"),
    "hooks/events/event.schema.json",
    "tests/unit/cli/check_cases/a_valid_configuration.txt",
)

#: A configuration for the hook that ``new-hook`` writes, around any class.
CONFIG = """\
[DEFAULT]
enabled_share_backends = alpha
share_manager = aspects.manila.ShareManager
[alpha]
share_driver = collections.Counter
hook_drivers = mine=my_quota:MyQuotaHook
enable_pre_hooks = {switch}
"""


def missing_files(sdist: Path) -> list[str]:
    """Return the files of CONTENTS that an sdist does not have."""
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    return [name for name in CONTENTS if name not in names]


def use(command: Path, python: Path, directory: Path) -> None:
    """Write a hook with the installed command, install it, and check configurations.

    :raises subprocess.CalledProcessError: if a command fails
    """
    subprocess.run(
        [command, "new-hook", "my-quota"],
        check=True,
        cwd=directory,
        stdout=subprocess.DEVNULL,
    )
    pip = [python, "-m", "pip"]
    install = ["install", "--quiet", "--no-deps", directory / "my-quota"]
    subprocess.run([*pip, *install], check=True)
    for switch, status, summary in (
        ("True", 0, "no problems"),
        ("ture", 1, "1 problem"),
    ):
        file = directory / "manila.conf"
        file.write_text(CONFIG.format(switch=switch))
        done = subprocess.run(
            [command, "check", "--config-file", file],
            cwd=directory,
            capture_output=True,
            text=True,
            check=False,
        )
        last = (done.stdout.splitlines() or [""])[-1]
        if done.returncode != status or not last.startswith(summary):
            raise subprocess.CalledProcessError(
                done.returncode, "check", done.stdout, done.stderr
            )
    # The sdist is tested in the same environment after the wheel.
    subprocess.run([*pip, "uninstall", "--quiet", "--yes", "my-quota"], check=True)


def extras_of(wheel: Path) -> list[str]:
    """Return the extras that a wheel declares."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        metadata = email.parser.Parser().parsestr(archive.read(name).decode())
    return list(metadata.get_all("Provides-Extra", []))


def check(wheel: Path, sdist: Path, extra: str, directory: Path) -> None:
    """Install both artifacts with an extra, and run its smoke test.

    :raises subprocess.CalledProcessError: if a command fails
    """
    venv.create(directory, with_pip=True)
    python = directory / "bin" / "python"
    pip = [str(python), "-m", "pip", "install", "--quiet", "--no-warn-script-location"]
    for artifact, again in ((wheel, []), (sdist, ["--force-reinstall", "--no-deps"])):
        wanted = f"{artifact.resolve()}[{extra}]" if extra else str(artifact.resolve())
        subprocess.run([*pip, *again, wanted], check=True)
        subprocess.run([str(python), "-m", "pip", "check"], check=True)
        # Outside the checkout, where Python would import the packages of the checkout.
        for command in (
            [str(directory / "bin" / "manila-aspects"), "--help"],
            [str(directory / "bin" / "manila-aspects"), "show", "hooks"],
            [str(python), "-W", "ignore", "-c", SMOKE_TESTS[extra]],
            [
                str(python),
                "-c",
                "import pathlib, aspects, hooks\nfor package in (aspects, hooks):\n"
                "    file = pathlib.Path(package.__file__)\n"
                "    assert file.with_name('py.typed').exists()\n"
                "assert (file.parent / 'events' / 'event.schema.json').exists()",
            ],
        ):
            subprocess.run(
                command, check=True, cwd=directory, stdout=subprocess.DEVNULL
            )
        if not extra:
            with tempfile.TemporaryDirectory() as work:
                use(directory / "bin" / "manila-aspects", python, Path(work))


def main() -> int:
    """Check all extras, or the given ones."""
    parser = argparse.ArgumentParser(prog="python -m tests.packaging")
    parser.add_argument("dist", type=Path, help="directory of the wheel and the sdist")
    parser.add_argument("extras", nargs="*", help="extras to check (default: all)")
    arguments = parser.parse_args()
    (wheel,) = arguments.dist.glob("*.whl")
    (sdist,) = arguments.dist.glob("*.tar.gz")
    declared = extras_of(wheel)
    if missing := set(declared) ^ (set(SMOKE_TESTS) - {""}):
        print(f"extras differ from setup.py: {', '.join(sorted(missing))}")  # noqa: T201
        return 1
    if absent := missing_files(sdist):
        print(f"missing from the sdist: {', '.join(absent)}")  # noqa: T201
        return 1
    for extra in arguments.extras or ["", *declared]:
        with tempfile.TemporaryDirectory() as directory:
            check(wheel, sdist, extra, Path(directory))
        print(f"{extra or 'without extras'}: works", flush=True)  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
