# SPDX-License-Identifier: Apache-2.0
"""The three backends of the demo: two with hooks, one without."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from aspects.demo.service import DUMMY_DRIVER

#: GiB that the hook ``guard`` of alpha allows.
LIMIT = 5

#: What the hook ``webhook`` of alpha signs its events with.
SECRET = "the demo's own"

#: Under what name the hook ``alias`` of beta publishes shares.
ALIAS = "nas.example.org"


@dataclass(frozen=True)
class Woven:
    """What is known beforehand of a backend with hooks."""

    hooks: tuple[str, ...]
    """the names of its hooks, in order"""
    ticks: int
    """its ``periodic_hooks_ticks``"""


#: What is due is told from this, not from what the machinery says of itself.
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
    """Where the hook ``audit`` of alpha writes its lines."""
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
            # Replicas live within one domain; the zone of a replica is what
            # makes it certain which of the backends gets it.
            "replication_domain": "demo",
            "backend_availability_zone": f"zone-{name}",
        }
    sections[PLAIN] = {**DUMMY_DRIVER, "backend_availability_zone": f"zone-{PLAIN}"}
    return sections


def sections(
    directory: Path, webhook_url: str, metrics_port: int
) -> dict[str, dict[str, object]]:
    """Return the sections of single hooks.

    :param directory: where the audit log is written
    :param webhook_url: where events are sent to
    :param metrics_port: the port of loopback that metrics are served on
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
