# SPDX-License-Identifier: Apache-2.0
"""The three backends of the demo, two with hooks and one without, and its API's hooks.

For a hook author, none of them has hooks or options of hooks: those in the author's
configuration are then all there are, as in the author's own Manila.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from aspects.demo import releases
from aspects.demo.service import DUMMY_DRIVER
from aspects.requests import SECTION

#: The maximum size that the hook ``guard`` of alpha allows, in GiB.
LIMIT = 5

#: The secret with which the hook ``webhook`` of alpha signs its events.
SECRET = "whsec_dGhlIHNlY3JldCBvZiB0aGUgZGVtbyBhbG9uZQ=="

#: The host name under which the hook ``alias`` of beta publishes shares.
ALIAS = "nas.example.org"


#: The rules of the hook ``guard``. The API denies what the first rule matches, and only
#: warns about the second, which the audit of alpha applies to the existing shares too.
RULES = """\
- name: protected
  operations: [delete_share, soft_delete_share, unmanage_share]
  when: share.metadata[?"protected"].orValue("false") == "true"
  reason: share {share.name} is protected; first remove its metadata "protected"

- name: naming
  operations: [create_share]
  when: share.name.startsWith("test")
  reason: the name {share.name} does not begin with a team
  enforcement: warn
  audit: true
"""


@dataclass(frozen=True)
class Woven:
    """The expected hooks and ticks of a woven backend, or of the API."""

    hooks: tuple[str, ...]
    """the names of its hooks, in order"""
    ticks: int
    """its ``periodic_hooks_ticks``; 0 for the API, which has no ticks"""
    without_error_method: tuple[str, ...] = ()
    """the hooks that do not implement an error method"""


#: The expectations are written down here, so that they do not depend on the library.
WOVEN: Mapping[str, Woven] = {
    "alpha": Woven(("metrics", "audit", "guard", "webhook", "witness"), 2, ("guard",)),
    "beta": Woven(("alias", "witness"), 3, ("alias",)),
}

PLAIN = "gamma"

#: The hooks around the requests to the API.
API = Woven(
    ("owner", *(("guard",) if releases.has_rules() else ()), "witness"),
    0,
    ("owner", "guard"),
)

#: Section of ``manila.conf`` -> the hooks of its chain.
CHAINS: Mapping[str, Woven] = {**WOVEN, SECTION: API}

_MODULES = dict.fromkeys(("alias", "owner", "witness"), "aspects.demo.hooks")

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


def rules_file(directory: Path) -> Path:
    """Return the path of the rules of the hook ``guard``.

    :param directory: the directory of the service
    """
    return directory / "rules.yaml"


def _entries(woven: Woven) -> str:
    """Return the value of ``hook_drivers``."""
    return ", ".join(map(_entry, woven.hooks))


def _entry(hook: str) -> str:
    """Return the entry of a hook in ``hook_drivers``."""
    module = _MODULES.get(hook, f"hooks.{hook}")
    return f"{hook}={module}:{hook.capitalize()}Hook"


def backends(*, hooks: bool = True) -> dict[str, dict[str, object]]:
    """Return the backend sections of ``manila.conf``.

    :param hooks: whether they have the hooks of the demo
    """
    sections: dict[str, dict[str, object]] = {
        name: {**DUMMY_DRIVER, "backend_availability_zone": f"zone-{name}"}
        for name in (*WOVEN, PLAIN)
    }
    for name, woven in WOVEN.items():
        # Replicas need a common domain. The zone of a replica selects its backend.
        sections[name]["replication_domain"] = "demo"
        if hooks:
            sections[name].update(
                _SWITCHES,
                hook_drivers=_entries(woven),
                periodic_hooks_ticks=woven.ticks,
            )
    return sections


def sections(
    directory: Path, webhook_url: str, metrics_port: int
) -> dict[str, dict[str, object]]:
    """Return the section of the API and the instance sections of ``manila.conf``.

    :param directory: the directory for the audit log and the rules
    :param webhook_url: the URL to which events are posted
    :param metrics_port: the port of the loopback interface for the metrics
    """
    rules: dict[str, object] = {}
    if releases.has_rules():
        rules["guard_rules_file"] = rules_file(directory)
    return {
        SECTION: {
            "hook_drivers": _entries(API),
            "enable_pre_hooks": True,
            "enable_post_hooks": True,
        },
        f"{SECTION}:guard": rules,
        "alpha:audit": {"audit_log_path": audit_log(directory)},
        "alpha:guard": {"guard_max_size": LIMIT, **rules},
        "alpha:metrics": {"metrics_port": metrics_port},
        "alpha:webhook": {
            "hook_dispatch": "durable",
            "webhook_url": webhook_url,
            "webhook_secret": SECRET,
        },
        "beta:alias": {"alias_name": ALIAS},
    }
