# SPDX-License-Identifier: Apache-2.0
"""Shares mounted where Manila allows access to them.

The hook tells of access in notifications; the program :func:`main` runs on a host,
listens to them, and mounts and unmounts there.
"""

from __future__ import annotations

import contextlib
import ipaddress
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import oslo_messaging
from oslo_config import cfg
from oslo_log import log

from aspects import without_secrets
from hooks.notification import RABBIT, NotificationHook, parsed_url

LOG = log.getLogger(__name__)

TOPIC = "manila_aspects_automount"

#: After which of them a host may have another access than before.
OPERATIONS = ("allow_access", "deny_access", "update_access", "delete_share_instance")


class AutomountHook(NotificationHook):
    """Send a notification when access to a share has changed, and nothing else.

    Only the end of :data:`OPERATIONS` is told: it needs ``enable_post_hooks``.

    :raises ValueError: if there is no way to send with these options
    """

    options = (
        cfg.ListOpt(
            "notification_topics",
            default=[TOPIC],
            mutable=True,
            help="The topics to send to: one for each host that mounts shares.",
        ),
        *(
            each
            for each in NotificationHook.options
            if each.dest != "notification_topics"
        ),
    )

    def _emit(
        self, kind: str, told: dict[str, Any], context: Any, operation: Any, *call: Any
    ) -> None:
        if kind == "post" and operation in OPERATIONS:
            super()._emit(kind, told, context, operation, *call)


# The program


program_options: list[cfg.Opt] = [
    cfg.StrOpt(
        "transport-url",
        dest="broker",
        secret=True,
        help="The broker. Every user of the host can read a command line: have a "
        "password in transport_url of [DEFAULT] in a --config-file, or in the "
        "environment's OS_DEFAULT__TRANSPORT_URL.",
    ),
    cfg.StrOpt(
        "topic", default=TOPIC, help="The topic of this host: no other may have it."
    ),
    cfg.MultiStrOpt(
        "address",
        required=True,
        help="Who this host is in access rules: its IP address, which networks match "
        "too, or a user. May be given several times.",
    ),
    cfg.StrOpt(
        "root",
        required=True,
        help="The directory in which each share is mounted, on a directory of its id.",
    ),
    cfg.StrOpt(
        "mount-command",
        default="mount -t nfs -o {options},nosuid,nodev {source} {target}",
        help="What mounts: {source} is the export location, {target} the directory, "
        "{options} rw or ro. No shell reads it.",
    ),
    cfg.StrOpt(
        "umount-command",
        default="umount {target}",
        help="What unmounts {target}. No shell reads it.",
    ),
    cfg.BoolOpt(
        "dry-run",
        default=False,
        help="Print the commands, and do nothing. The notifications are taken off "
        "the queue all the same.",
    ),
]

#: How often a command is tried, the seconds between, and those that it may take.
ATTEMPTS, PAUSE, TIMEOUT = 3, 2.0, 30.0


def main(argv: Sequence[str] | None = None) -> int:
    """Mount and unmount what notifications say, until SIGTERM or SIGINT.

    :param argv: the command line's arguments; those of the process by default
    :return: the exit status: 0, or 1 when an option is wrong
    """
    conf = cfg.ConfigOpts()
    log.register_options(conf)
    conf.register_cli_opts(program_options)
    try:
        conf(
            None if argv is None else list(argv),
            project="manila-aspects",
            prog="manila-aspects-automount",
            default_config_files=[],
            default_config_dirs=[],
        )
        log.setup(conf, "manila-aspects")
        mounts = Mounts(
            Path(conf.root),
            conf.address,
            conf.mount_command,
            conf.umount_command,
            conf.dry_run,
        )
        url = parsed_url(conf, conf.broker, "--transport-url")
    except (cfg.Error, ValueError) as error:
        sys.stderr.write(f"manila-aspects-automount: {error}\n")
        return 1
    if url.transport in RABBIT:
        # The next one is to wait at the broker: when this program is stopped it
        # finishes what it has.
        url.query.setdefault("rabbit_qos_prefetch_count", "1")
    listener = oslo_messaging.get_notification_listener(
        oslo_messaging.get_notification_transport(conf, url),
        [oslo_messaging.Target(topic=conf.topic)],
        [Endpoint(mounts)],
    )
    # In one thread, and so in order. It waits for a broker that is not there yet.
    listener.start(override_pool_size=1)
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    LOG.info("Mounting shares in %(root)s", {"root": mounts.root})
    stopping.wait()
    listener.stop()
    listener.wait()
    return 0


_EVENT_TYPES = frozenset(f"share.{operation}.end" for operation in OPERATIONS)


class Endpoint:
    """Takes the notifications of one topic.

    :param mounts: what follows them
    """

    def __init__(self, mounts: Mounts) -> None:
        self.mounts = mounts

    def info(
        self,
        context: dict[str, Any],
        publisher_id: str,
        event_type: str,
        payload: dict[str, Any],
        metadata: dict[str, Any],
    ) -> None:
        """Follow one, if it is one of the hook's; that which fails is logged."""
        if event_type not in _EVENT_TYPES:
            return
        try:
            self.mounts.follow(payload["data"])
        except Exception as error:
            LOG.error(
                "Notification %(id)s was not followed: %(type)s: %(error)s",
                {
                    "id": metadata.get("message_id"),
                    "type": type(error).__name__,
                    "error": without_secrets(str(error), None, {}),
                },
            )


def access_of_host(data: Mapping[str, Any], addresses: Sequence[str]) -> str | None:
    """Return what access a host has to a share after a driver call.

    :param data: the data of the call's event
    :param addresses: who the host is in access rules
    :return: ``rw`` or ``ro``; empty if it has none; None if the call says nothing
        of it
    """
    if data["operation"] == "delete_share_instance":
        return ""
    if data["method"] == "update_access":
        # Told all rules that are in force then, whichever of them are new.
        return _level(data.get("access_rules", ()), addresses)
    if "delete_rules" in data:
        return "" if _level(data["delete_rules"], addresses) else None
    return _level(data.get("add_rules", ()), addresses) or None


def _level(rules: Iterable[Mapping[str, Any]], addresses: Sequence[str]) -> str:
    """Return the most that any of some rules allows to a host, or nothing."""
    levels = {
        rule["access_level"]
        for rule in rules
        if any(_matches(rule, address) for address in addresses)
    }
    if not levels:
        return ""
    return "rw" if "rw" in levels else "ro"


def _matches(rule: Mapping[str, Any], address: str) -> bool:
    if rule["access_type"] != "ip":
        return bool(rule["access_to"] == address)
    try:
        network = ipaddress.ip_network(rule["access_to"], strict=False)
        return ipaddress.ip_address(address) in network
    except ValueError:
        return False


def mounted(target: Path) -> str:
    """Return how something is mounted on a directory: ``rw``, ``ro``, or empty if not.

    :param target: the directory, without symbolic links
    """
    # The file system itself is not asked: that of a share that is gone, or to which
    # access is denied by now, says that it is not there, or never answers.
    name = str(target).translate(_ESCAPED)
    found = ""
    with open("/proc/self/mountinfo", errors="surrogateescape") as table:
        for line in table:
            fields = line.split(" ")
            if fields[4] == name:
                found = fields[5].split(",")[0]
    return found


#: How the kernel writes some characters there.
_ESCAPED = {ord(character): f"\\{ord(character):03o}" for character in " \t\n\\"}


class Mounts:
    """The mounts of shares on this host.

    There is no other note of them than the system's own, so what is done already is
    not done again.

    :param root: the directory in which shares are mounted
    :param addresses: who this host is in access rules
    :param mount: the command that mounts
    :param umount: the command that unmounts
    :param dry_run: whether to print the commands instead
    :raises ValueError: if a command is wrong
    """

    def __init__(
        self,
        root: Path,
        addresses: Sequence[str],
        mount: str,
        umount: str,
        dry_run: bool = False,
    ) -> None:
        # As the system knows it.
        self.root = root.resolve()
        self.addresses = addresses
        self.mount = _words("mount-command", mount, ("source", "target", "options"))
        self.umount = _words("umount-command", umount, ("target",))
        self.dry_run = dry_run

    def follow(self, data: Mapping[str, Any]) -> None:
        """Mount, unmount or leave a share as it is, as a driver call wants it.

        What fails is tried again some times: the server may need a moment.

        :param data: the data of the call's event
        :raises ValueError: if there is something odd in it
        :raises OSError: if a command fails
        """
        access = access_of_host(data, self.addresses)
        if access is None:
            return
        share = str(data["share_id"])
        if not re.fullmatch(r"[0-9A-Za-z][0-9A-Za-z_-]*", share):
            raise ValueError(f"the share's id is odd: {share!r}")
        source = ""
        if access:
            source = next(iter(data["export_locations"]), "")
            if not source or source.startswith("-") or not source.isprintable():
                raise ValueError(f"the export location of {share} is odd: {source!r}")
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return self._bring(self.root / share, access, source)
            except OSError as error:
                if attempt == ATTEMPTS:
                    raise
                LOG.warning(
                    "Trying again: %(error)s",
                    {"error": without_secrets(str(error), None, {})},
                )
                time.sleep(PAUSE)

    def _bring(self, target: Path, access: str, source: str) -> None:
        """Have a share mounted with an access, or with none not mounted."""
        now = mounted(target)
        if now == access:
            return
        if now:
            self._run(self.umount, target=str(target))
            self._remove(target)
        if access:
            if not self.dry_run:
                target.mkdir(parents=True, exist_ok=True)
            try:
                self._run(self.mount, target=str(target), source=source, options=access)
            except OSError:
                self._remove(target)
                raise

    def _remove(self, target: Path) -> None:
        """Remove the directory of a share that is not mounted, if it is empty.

        A program that finds it takes it for the share.
        """
        if not self.dry_run:
            with contextlib.suppress(OSError):
                target.rmdir()

    def _run(self, words: Sequence[str], **fields: str) -> None:
        """Run a command.

        :raises OSError: if it fails
        """
        command = [word.format(**fields) for word in words]
        line = shlex.join(command)
        if self.dry_run:
            sys.stdout.write(f"{line}\n")
            sys.stdout.flush()
            return
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=TIMEOUT,
            )
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"{line}: not done in {TIMEOUT:g} s") from None
        if done.returncode:
            raise OSError(f"{line}: status {done.returncode}: {done.stderr.strip()}")
        LOG.info("Done: %s", without_secrets(line, None, {}))


def _words(option: str, command: str, fields: Sequence[str]) -> list[str]:
    """Split a command into words.

    :param option: its option
    :param fields: the names that it has in braces
    :raises ValueError: if one is missing, it has others, or cannot be split
    """
    cause = f"write {', '.join(f'{{{field}}}' for field in fields)} where they belong"
    try:
        words = shlex.split(command)
        values = {field: f"<{field}>" for field in fields}
        told = " ".join(word.format(**values) for word in words)
    except (ValueError, LookupError, AttributeError) as error:
        raise ValueError(f"--{option}: {command!r}: {error!r}: {cause}") from None
    if not all(value in told for value in values.values()):
        raise ValueError(f"--{option}: {command!r}: {cause}")
    return words
