# SPDX-License-Identifier: Apache-2.0
"""Mount shares on the hosts that Manila allows to access them.

The hook sends a notification when access to a share has changed. The program
:func:`main` runs on a host, receives the notifications, and mounts and unmounts the
shares.
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

#: The operations that may change the access of a host.
OPERATIONS = ("allow_access", "deny_access", "update_access", "delete_share_instance")


class AutomountHook(NotificationHook):
    """Send a notification after each call that may have changed access to a share.

    It reports the operations in :data:`OPERATIONS`, after the driver returned, so it
    needs ``enable_post_hooks``.

    :raises ValueError: naming the option, if an option is invalid
    """

    options = (
        cfg.ListOpt(
            "notification_topics",
            default=[TOPIC],
            mutable=True,
            help="Topics to send to, one for each host that mounts shares.",
        ),
        *(
            option
            for option in NotificationHook.options
            if option.dest != "notification_topics"
        ),
    )

    def _emit(
        self, kind: str, event: dict[str, Any], context: Any, operation: Any, *call: Any
    ) -> None:
        if kind == "post" and operation in OPERATIONS:
            super()._emit(kind, event, context, operation, *call)


# The program


program_options: list[cfg.Opt] = [
    cfg.StrOpt(
        "transport-url",
        dest="broker",
        secret=True,
        help="URL of the broker. Command lines are visible to all users of the host. "
        "To protect a password, set transport_url in [DEFAULT] of a --config-file, "
        "or the environment variable OS_DEFAULT__TRANSPORT_URL.",
    ),
    cfg.StrOpt(
        "topic",
        default=TOPIC,
        help="Topic of this host. Each host needs a topic of its own.",
    ),
    cfg.MultiStrOpt(
        "address",
        required=True,
        help="Identity of this host as it appears in access rules: an IP address, "
        "matched against networks too, or a user name. May be given multiple times.",
    ),
    cfg.StrOpt(
        "root",
        required=True,
        help="Parent directory of the mount points. The mount point of a share is "
        "named after its ID.",
    ),
    cfg.StrOpt(
        "mount-command",
        default="mount -t nfs -o {options},nosuid,nodev {source} {target}",
        help="Command that mounts a share. {source} is the export location, {target} "
        "the mount point, {options} rw or ro. No shell is run.",
    ),
    cfg.StrOpt(
        "umount-command",
        default="umount {target}",
        help="Command that unmounts a share. {target} is the mount point. No shell "
        "is run.",
    ),
    cfg.BoolOpt(
        "dry-run",
        default=False,
        help="Whether to print the commands instead of running them. Notifications "
        "are still removed from the queue.",
    ),
]

#: The number of attempts to run a command, the pause between them and the timeout of
#: each, both in seconds.
ATTEMPTS, PAUSE, TIMEOUT = 3, 2.0, 30.0


def main(argv: Sequence[str] | None = None) -> int:
    """Mount and unmount shares by notifications, until SIGTERM or SIGINT.

    :param argv: the command-line arguments; None for those of the process
    :return: the exit status: 0, or 1 if an option is invalid
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
        # Fetch one notification at a time: a stopping program finishes those that it
        # has fetched, and the others stay at the broker.
        url.query.setdefault("rabbit_qos_prefetch_count", "1")
    listener = oslo_messaging.get_notification_listener(
        oslo_messaging.get_notification_transport(conf, url),
        [oslo_messaging.Target(topic=conf.topic)],
        [Endpoint(mounts)],
    )
    # One thread keeps the notifications in order. It waits until the broker is up.
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
    """Receive the notifications of one topic.

    :param mounts: the mounts to update
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
        """Update the mounts if the notification is the hook's; log a failure.

        :param context: the context of the notification, unused
        :param publisher_id: the sender, unused
        :param event_type: the type of the notification
        :param payload: the event
        :param metadata: the ``message_id``, for the log
        """
        if event_type not in _EVENT_TYPES:
            return
        try:
            self.mounts.update(payload["data"])
        except Exception as error:
            LOG.error(
                "Failed to handle notification %(id)s: %(type)s: %(error)s",
                {
                    "id": metadata.get("message_id"),
                    "type": type(error).__name__,
                    "error": without_secrets(str(error), None, {}),
                },
            )


def access_of_host(data: Mapping[str, Any], addresses: Sequence[str]) -> str | None:
    """Return the access of a host to a share after a driver call.

    :param data: the data of the call's event
    :param addresses: the identities of the host in access rules
    :return: ``rw`` or ``ro``; empty for no access; None if the call does not change
        the access of the host
    """
    if data["operation"] == "delete_share_instance":
        return ""
    if data["method"] == "update_access":
        # access_rules has all rules in force after the call, new or not.
        return _level(data.get("access_rules", ()), addresses)
    if "delete_rules" in data:
        return "" if _level(data["delete_rules"], addresses) else None
    return _level(data.get("add_rules", ()), addresses) or None


def _level(rules: Iterable[Mapping[str, Any]], addresses: Sequence[str]) -> str:
    """Return the highest access level that the rules grant to a host, or ""."""
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
    """Return how a mount point is mounted: ``rw``, ``ro``, or empty if it is not.

    :param target: the directory, without symbolic links
    """
    # Read the kernel's table: a call on the mounted directory fails or hangs when the
    # share is gone, or when access to it has been denied.
    name = str(target).translate(_ESCAPED)
    found = ""
    with open("/proc/self/mountinfo", errors="surrogateescape") as table:
        for line in table:
            fields = line.split(" ")
            if fields[4] == name:
                found = fields[5].split(",")[0]
    return found


#: The kernel's escapes in that table: character code -> octal escape.
_ESCAPED = {ord(character): f"\\{ord(character):03o}" for character in " \t\n\\"}


class Mounts:
    """The mounted shares of this host.

    The only record of them is the kernel's, so a repeated notification changes
    nothing.

    :param root: the parent directory of the mount points
    :param addresses: the identities of this host in access rules
    :param mount: the command that mounts a share
    :param umount: the command that unmounts a share
    :param dry_run: whether to print the commands instead of running them
    :raises ValueError: if a command is invalid
    """

    def __init__(
        self,
        root: Path,
        addresses: Sequence[str],
        mount: str,
        umount: str,
        dry_run: bool = False,
    ) -> None:
        # The kernel's table has paths without symbolic links.
        self.root = root.resolve()
        self.addresses = addresses
        self.mount = _words("mount-command", mount, ("source", "target", "options"))
        self.umount = _words("umount-command", umount, ("target",))
        self.dry_run = dry_run

    def update(self, data: Mapping[str, Any]) -> None:
        """Mount or unmount a share so that the mount agrees with the access.

        A command that fails is tried again: the server may not be ready yet.

        :param data: the data of the call's event
        :raises ValueError: if the share's ID or its export location is unsafe
        :raises OSError: if the last attempt fails
        """
        access = access_of_host(data, self.addresses)
        if access is None:
            return
        share = str(data["share_id"])
        if not re.fullmatch(r"[0-9A-Za-z][0-9A-Za-z_-]*", share):
            raise ValueError(f"unsafe share ID {share!r}")
        source = ""
        if access:
            source = next(iter(data["export_locations"]), "")
            if not source or source.startswith("-") or not source.isprintable():
                raise ValueError(f"unsafe export location {source!r} of share {share}")
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return self._set_access(self.root / share, access, source)
            except OSError as error:
                if attempt == ATTEMPTS:
                    raise
                LOG.warning(
                    "Retrying in %(pause)g s: %(error)s",
                    {
                        "pause": PAUSE,
                        "error": without_secrets(str(error), None, {}),
                    },
                )
                time.sleep(PAUSE)

    def _set_access(self, target: Path, access: str, source: str) -> None:
        """Mount a share with an access level, or unmount it if the level is empty."""
        current = mounted(target)
        if current == access:
            return
        if current:
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
        """Remove a mount point, if it is empty.

        Otherwise programs would mistake the directory for the share.
        """
        if not self.dry_run:
            with contextlib.suppress(OSError):
                target.rmdir()

    def _run(self, words: Sequence[str], **fields: str) -> None:
        """Run a command.

        :raises OSError: if the command fails or times out
        """
        command = [word.format(**fields) for word in words]
        line = shlex.join(command)
        if self.dry_run:
            sys.stdout.write(f"{line}\n")
            sys.stdout.flush()
            return
        try:
            result = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=TIMEOUT,
            )
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"{line}: timed out after {TIMEOUT:g} s") from None
        if result.returncode:
            status, text = result.returncode, result.stderr.strip()
            raise OSError(f"{line}: exit status {status}: {text}")
        LOG.info("Ran %s", without_secrets(line, None, {}))


def _words(option: str, command: str, fields: Sequence[str]) -> list[str]:
    """Split a command into words.

    :param option: the option that the command comes from
    :param command: the command
    :param fields: the required fields, which the command has in braces
    :raises ValueError: if a field is missing or unknown, or quotes do not match
    """
    expected = " and ".join(f"{{{field}}}" for field in fields)
    try:
        words = shlex.split(command)
        values = {field: f"<{field}>" for field in fields}
        line = " ".join(word.format(**values) for word in words)
    except (ValueError, LookupError, AttributeError) as error:
        raise ValueError(
            f"--{option} {command!r}: {error!r}; expected the fields {expected}"
        ) from None
    if not all(value in line for value in values.values()):
        raise ValueError(f"--{option} {command!r}: missing a field; use {expected}")
    return words
