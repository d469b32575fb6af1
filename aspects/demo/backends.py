# SPDX-License-Identifier: Apache-2.0
"""The three backends of the demo: two with hooks, one without."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from aspects.demo.service import DUMMY_DRIVER

#: The maximum size that the hook ``guard`` of alpha allows, in GiB.
LIMIT = 5

#: The secret with which the hook ``webhook`` of alpha signs its events.
SECRET = "the demo's own"

#: The host name under which the hook ``alias`` of beta publishes shares.
ALIAS = "nas.example.org"


@dataclass(frozen=True)
class Woven:
    """The expected hooks and ticks of a woven backend."""

    hooks: tuple[str, ...]
    """the names of its hooks, in order"""
    ticks: int
    """its ``periodic_hooks_ticks``"""


#: The expectations are written down here, so that they do not depend on the library.
WOVEN: Mapping[str, Woven] = {
    "alpha": Woven(("metrics", "audit", "guard", "webhook", "witness"), 2),
    "beta": Woven(("alias", "witness"), 3),
}

PLAIN = "gamma"

_CLASSES = {
    name: f"{name}=aspects.demo.hooks:{name.capitalize()}"
    for woven in WOVEN.values()
    for name in woven.hooks
}

_SWITCHES: Mapping[str, object] = {
    "enable_pre_hooks": True,
    "enable_post_hooks": True,
    "enable_periodic_hooks": True,
}


def audit_log(directory: Path) -> Path:
    """Return the path of the audit log of alpha.

    :param directory: the directory of the service
    """
    return directory / "audit.jsonl"


def backends() -> dict[str, dict[str, object]]:
    """Return the backend sections of ``manila.conf``."""
    sections: dict[str, dict[str, object]] = {}
    for name, woven in WOVEN.items():
        sections[name] = {
            **DUMMY_DRIVER,
            **_SWITCHES,
            "hook_drivers": ", ".join(_CLASSES[hook] for hook in woven.hooks),
            "periodic_hooks_ticks": woven.ticks,
            # Replicas need a common domain. The zone of a replica selects its backend.
            "replication_domain": "demo",
            "backend_availability_zone": f"zone-{name}",
        }
    sections[PLAIN] = {**DUMMY_DRIVER, "backend_availability_zone": f"zone-{PLAIN}"}
    return sections


def sections(
    directory: Path, webhook_url: str, metrics_port: int
) -> dict[str, dict[str, object]]:
    """Return the instance sections of ``manila.conf``.

    :param directory: the directory for the audit log
    :param webhook_url: the URL to which events are posted
    :param metrics_port: the port of the loopback interface for the metrics
    """
    return {
        "alpha:audit": {"audit_log_path": audit_log(directory)},
        "alpha:guard": {"guard_max_size": LIMIT},
        "alpha:metrics": {"metrics_port": metrics_port},
        "alpha:webhook": {
            "hook_dispatch": "durable",
            "webhook_url": webhook_url,
            "webhook_secret": SECRET,
        },
        "beta:alias": {"alias_name": ALIAS},
    }
