# SPDX-License-Identifier: Apache-2.0
"""Mount shares on the hosts that Manila allows to access them.

The hook sends a notification when access to a share has changed. The program
:func:`main` runs on a host, receives the notifications, and mounts and unmounts the
shares.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import re
import shlex
import signal
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import oslo_messaging
from oslo_config import cfg
from oslo_log import log

from aspects import without_secrets
from hooks.command import EVENT_ID, kill_children, one_line, run
from hooks.events.event import END, TYPE_PREFIX
from hooks.events.outcome import access_id
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

    required_methods: ClassVar = ("post",)
    pre_has_effects: ClassVar = False

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

    def __init__(self, configuration: Any, host: str | None) -> None:
        super().__init__(configuration, host)
        #: The rules of the last update_access of each thread, if the driver does not
        #: implement it.
        self._last = threading.local()

    def _emit(
        self, kind: str, event: dict[str, Any], context: Any, operation: Any, *call: Any
    ) -> None:
        if operation not in OPERATIONS:
            return
        data = event["data"]
        share = data.get("share_id"), data.get("share_instance_id")
        failed = data.get("error_type") == "NotImplementedError"
        if kind == "error" and failed and data["method"] == "update_access":
            # Manila calls allow_access or deny_access for each rule now, in the same
            # thread. Only this call had all rules in force.
            self._last.share, self._last.rules = share, data.get("access_rules", [])
        elif kind == "post":
            if share == getattr(self._last, "share", None):
                _add_rules(data, self._last.rules)
            if data["outcome"] == "failure" and not data["failed_items"]:
                # Which rules are in force is unknown.
                return
            _remove_rules(data, operation.manila_arguments(*call))
            # A host must know of the other rules, so it is not an error for it.
            event["type"] = f"{TYPE_PREFIX}share.{operation}.{END}"
            super()._emit(kind, event, context, operation, *call)


def _add_rules(data: dict[str, Any], rules: list[dict[str, Any]]) -> None:
    """Add all rules in force to the data of a call that changed one rule.

    :param data: the data of the call's event
    :param rules: the rules, of an earlier call; ignored if they do not agree with the
        change
    """
    added, deleted = data.get("add_rules", []), data.get("delete_rules", [])
    if data["method"] == "allow_access" and all(rule in rules for rule in added):
        data["access_rules"] = rules
    if data["method"] == "deny_access" and not any(rule in rules for rule in deleted):
        data["access_rules"] = rules


def _remove_rules(data: dict[str, Any], arguments: Mapping[str, Any]) -> None:
    """Remove the rules that the driver has refused from the data of a call.

    :param data: the data of the call's event
    :param arguments: the arguments of the call
    """
    failed = {*data.get("failed_items", ())}
    for name in ("access_rules", "add_rules", "update_rules") if failed else ():
        data[name] = [
            reported
            for rule, reported in zip(arguments.get(name) or (), data.get(name, ()))
            if access_id(rule) not in failed
        ]


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
        "matched against networks too, or a user name. May be given multiple times. "
        "The environment variable OS_DEFAULT__ADDRESS separates them by commas.",
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

#: The pause, in seconds, between checks of the shares whose commands failed, and the
#: number of checks. A share that has to be unmounted is checked until it is.
CHECK_INTERVAL, CHECKS = 60.0, 10

#: Maximum time, in seconds, that a stopping program waits for the notification that it
#: handles, and for the broker.
STOP_TIMEOUT = 240.0


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
    while not stopping.wait(CHECK_INTERVAL):
        mounts.check(stopping)
    return _stop(listener)


def _stop(listener: Any) -> int:
    """Stop the listener; return the exit status of the program."""

    def stop() -> None:
        listener.stop()
        # This waits for the notification that is handled, and for the broker.
        listener.wait()

    thread = threading.Thread(target=stop, daemon=True)
    thread.start()
    thread.join(STOP_TIMEOUT)
    if not thread.is_alive():
        return 0
    LOG.error(
        "Ended %(timeout)g s after it was stopped: a command or the broker hangs; the "
        "broker delivers the notification again",
        {"timeout": STOP_TIMEOUT},
    )
    # Python would wait for the threads of oslo.messaging.
    os._exit(1)


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
    :return: ``rw`` or ``ro``; empty for no access; None if the data do not have all
        rules in force after the call
    """
    if data["operation"] == "delete_share_instance":
        return ""
    if "access_rules" in data.get("incomplete", ()):
        return None
    if data["method"] == "update_access" or "access_rules" in data:
        return _level(data.get("access_rules", ()), addresses)
    return None


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
    return (_mounts_on(target) or [""])[-1]


def _mounts_on(target: Path) -> list[str]:
    """Return ``rw`` or ``ro`` for each of the mounts on a directory, the top one last.

    :param target: the directory, without symbolic links
    """
    # Read the kernel's table: a call on the mounted directory fails or hangs when the
    # share is gone, or when access to it has been denied.
    name = str(target).translate(_ESCAPED)
    with open("/proc/self/mountinfo", errors="surrogateescape") as table:
        lines = [line.split(" ") for line in table]
    return [fields[5].split(",")[0] for fields in lines if fields[4] == name]


#: The kernel's escapes in that table: character code -> octal escape.
_ESCAPED = {ord(character): f"\\{ord(character):03o}" for character in " \t\n\\"}


class _Wanted(NamedTuple):
    """The wanted access to a share for which a command failed."""

    access: str
    source: str
    checks: int
    """the number of checks that are left"""


class Mounts:
    """The mounted shares of this host.

    The only record of them is the kernel's, so a repeated notification changes
    nothing, and the exit status of a command does not count.

    :param root: the parent directory of the mount points
    :param addresses: the identities of this host in access rules
    :param mount: the command that mounts a share
    :param umount: the command that unmounts a share
    :param dry_run: whether to print the commands instead of running them
    :raises ValueError: if a command is invalid, or there are no addresses
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
        self.addresses = _addresses(addresses)
        self.mount = _words("mount-command", mount, ("source", "target", "options"))
        self.umount = _words("umount-command", umount, ("target",))
        self.dry_run = dry_run
        #: Share ID -> the rules in force, as far as notifications had them.
        self._rules: dict[str, list[Mapping[str, Any]]] = {}
        #: Share ID -> the wanted access.
        self._failed: dict[str, _Wanted] = {}
        self._lock = threading.Lock()

    def update(self, data: Mapping[str, Any]) -> None:
        """Mount or unmount a share so that the mount agrees with the access.

        A command that fails is tried again: the server may not be ready yet.

        :param data: the data of the call's event
        :raises ValueError: if the share's ID or its export location is unsafe
        :raises OSError: if the last attempt fails
        """
        share = str(data["share_id"])
        if not re.fullmatch(r"[0-9A-Za-z][0-9A-Za-z_-]*", share):
            raise ValueError(f"unsafe share ID {share!r}")
        access = access_of_host(data, self.addresses)
        if access is None:
            access = self._access_by_one_rule(share, data)
        else:
            self._rules[share] = list(data.get("access_rules", ()))
        if data["operation"] == "delete_share_instance":
            del self._rules[share]
        source = ""
        if access:
            source = next(iter(data.get("export_locations", ())), "")
            if not source or source.startswith("-") or not source.isprintable():
                raise ValueError(f"unsafe export location {source!r} of share {share}")
        with self._lock:
            if share in self._failed:
                self._failed[share] = _Wanted(access, source, CHECKS)
            for attempt in range(1, ATTEMPTS + 1):
                try:
                    return self._set_access(self.root / share, access, source)
                except OSError as error:
                    # A killed command may have left a process that mounts later.
                    self._failed[share] = _Wanted(access, source, CHECKS)
                    if attempt == ATTEMPTS:
                        raise
                    LOG.warning(
                        "Retrying in %(pause)g s: %(error)s",
                        {"pause": PAUSE, "error": error},
                    )
                    time.sleep(PAUSE)

    def check(self, stopping: threading.Event) -> None:
        """Check the shares whose commands failed, and set the wanted access again.

        :param stopping: set to end the check after the command that runs
        """
        for share in list(self._failed):
            if stopping.is_set():
                return
            with self._lock:
                wanted = self._failed[share]
                try:
                    self._set_access(self.root / share, wanted.access, wanted.source)
                except Exception as error:
                    LOG.warning(
                        "Failed to set the access to share %(share)s again: %(error)s",
                        {"share": share, "error": error},
                    )
                    if not wanted.access:
                        continue
                self._failed[share] = wanted._replace(checks=wanted.checks - 1)
                if wanted.checks == 1:
                    del self._failed[share]

    def _access_by_one_rule(self, share: str, data: Mapping[str, Any]) -> str:
        """Return the access after a call of which only the changed rule is known.

        :param share: the share's ID
        :param data: the data of the call's event
        """
        target = self.root / share
        if (rules := self._rules.get(share)) is None:
            # The rules were set before this program started. If there is a mount, one
            # of them allows it.
            rules = []
            if level := mounted(target):
                rule = {"access_type": "unknown", "access_to": self.addresses[0]}
                rules = [{**rule, "access_level": level}]
                LOG.warning(
                    "The access rules of share %(share)s are not known; it stays "
                    "mounted until a notification has all of them, or it is deleted",
                    {"share": share},
                )
        deleted = data.get("delete_rules", ())
        rules = [rule for rule in rules if rule not in deleted]
        self._rules[share] = rules = [*rules, *data.get("add_rules", ())]
        return _level(rules, self.addresses)

    def _set_access(self, target: Path, access: str, source: str) -> None:
        """Mount a share with an access level, or unmount it if the level is empty.

        :raises OSError: if the access is not as wanted after the commands
        """
        if mounted(target) == access:
            return
        # Several mounts may be on top of each other.
        for count in range(len(_mounts_on(target)), 0, -1):
            self._unmount(target, count)
        self._remove(target)
        if access:
            if not self.dry_run:
                target.mkdir(parents=True, exist_ok=True)
            try:
                self._run(
                    self.mount,
                    lambda: mounted(target) == access,
                    target=str(target),
                    source=source,
                    options=access,
                )
            except OSError:
                self._remove(target)
                raise

    def _unmount(self, target: Path, count: int) -> None:
        """Unmount the top one of several mounts.

        :param count: the number of mounts
        :raises OSError: if there are as many mounts after the command
        """

        def fewer() -> bool:
            return len(_mounts_on(target)) < count

        # The command before may have unmounted several.
        if self.dry_run or not fewer():
            self._run(self.umount, fewer, target=str(target))

    def _remove(self, target: Path) -> None:
        """Remove a mount point, if it is empty.

        Otherwise programs would mistake the directory for the share.
        """
        if not self.dry_run:
            with contextlib.suppress(OSError):
                target.rmdir()

    def _run(
        self, words: Sequence[str], done: Callable[[], bool], **fields: str
    ) -> None:
        """Run a command.

        :param words: the command
        :param done: whether the command has had its effect
        :param fields: the values of its fields
        :raises OSError: if the command has had no effect. The message has neither the
            command nor its secrets
        """
        command = [word.format(**fields) for word in words]
        # Secrets in the command are "-p secret" or "-o name=secret,name=secret".
        options = [part.split("=", 1) for word in command for part in word.split(",")]
        secrets = {"command": command, "options": [*map(tuple, options)]}
        line = without_secrets(shlex.join(command), None, secrets)
        if self.dry_run:
            sys.stdout.write(f"{line}\n")
            sys.stdout.flush()
            return
        if "/" in command[0]:
            # The command runs in the directory /.
            command[0] = os.path.abspath(command[0])
        # All processes of the command have the ID in their environment.
        id_ = str(uuid.uuid4())
        environment = {**os.environ, EVENT_ID: id_}
        status, stderr, _ = run(command, b"", environment, TIMEOUT)
        if done():
            LOG.info("Ran %s", line)
            return
        # A process in the background, e.g. of "mount -o bg", may mount later.
        kill_children(id_)
        outcome = f"exit status {status}"
        if status is None:
            outcome = f"killed after {TIMEOUT:g} s"
        elif status == 0:
            outcome = "exit status 0, but without the expected effect"
        text = one_line(stderr, None, secrets)
        raise OSError(
            ": ".join(filter(None, (command[0], fields["target"], outcome, text)))
        )


def _addresses(values: Sequence[str]) -> list[str]:
    """Return the addresses of the host.

    :param values: the values of the option
    :raises ValueError: if there are none
    """
    # oslo.config splits the value of an environment variable into characters.
    variable = os.environ.get("OS_DEFAULT__ADDRESS", "")
    if list(values) == list(variable):
        values = [value.strip() for value in variable.split(",")]
    addresses = [value for value in values if value]
    if not addresses:
        raise ValueError("--address: expected at least one address")
    return addresses


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
        # The command may have secrets.
        raise ValueError(
            f"--{option}: {error!r}; expected the fields {expected}"
        ) from None
    if not all(value in line for value in values.values()):
        raise ValueError(f"--{option}: missing a field; use {expected}")
    return words
