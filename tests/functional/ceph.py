# SPDX-License-Identifier: Apache-2.0
"""A real Ceph of one node, with a CephFS, for the tests."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import subprocess
import sys
import sysconfig
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tests.support.programs import Program, free_port, frozen, need, not_there
from tests.support.wait import wait_for

#: Debian's packages.
PACKAGES = (
    "ceph-mon ceph-osd ceph-mgr ceph-mgr-modules-core ceph-mds ceph-common ceph-fuse "
    "python3-rados python3-cephfs"
)

PROGRAMS = (
    *("ceph-mon", "ceph-mgr", "ceph-osd", "ceph-mds", "ceph-fuse"),
    *("ceph-authtool", "monmaptool"),
)

#: Directory of the Python modules in Debian's packages, and the modules' files.
DEBIAN = Path("/usr/lib/python3/dist-packages")
SUFFIX = sysconfig.get_config_var("EXT_SUFFIX")
MODULES = (f"rados{SUFFIX}", f"cephfs{SUFFIX}", "ceph_argparse.py")

#: The name of the file system.
FILE_SYSTEM = "cephfs"

#: The client that a Manila uses.
MANILA = "manila"

#: Caps of each client and daemon. Manila's are those in Manila's documentation.
CAPS = {
    "client.admin": dict.fromkeys(("mon", "mgr", "osd", "mds"), "allow *"),
    "mgr.x": {"mon": "allow profile mgr", "osd": "allow *", "mds": "allow *"},
    "osd.0": {
        "mon": "allow profile osd",
        "mgr": "allow profile osd",
        "osd": "allow *",
    },
    "mds.a": {
        "mon": "allow profile mds",
        "mgr": "allow profile mds",
        "osd": "allow *",
        "mds": "allow *",
    },
    f"client.{MANILA}": {"mon": "allow r", "mgr": "allow rw"},
}

CONFIG = """
[global]
fsid = {fsid}
mon host = [v2:127.0.0.1:{ports[0]},v1:127.0.0.1:{ports[1]}]
# All daemons listen on loopback only.
public addr = 127.0.0.1
public network = 127.0.0.0/8
cluster network = 127.0.0.0/8
keyring = {directory}/$name.keyring
log file = {directory}/$name.log
mon cluster log file = {directory}/cluster.log
err to stderr = true
admin socket = {sockets}/$name
run dir = {directory}
crash dir = {directory}
mon data = {directory}/$name
mgr data = {directory}/$name
osd data = {directory}/$name
mds data = {directory}/$name
# The module "restful" would listen on all interfaces.
mgr initial modules = volumes
# The data is in memory.
osd objectstore = memstore
memstore device bytes = {capacity}
osd pool default size = 1
mon allow pool size one = true
osd pool default pg num = 8
osd pool default pg autoscale mode = off
# On a slow machine, no daemon is declared dead. A nearly full disk is enough.
osd heartbeat grace = 120
mds beacon grace = 120
mon mgr beacon grace = 120
mon data avail crit = 1
[client]
client mount timeout = 30
log file =
admin socket =
"""

GIB = 1024**3

#: The bit of the capability to mount.
CAP_SYS_ADMIN = 21


class Subvolume(NamedTuple):
    """A share as Ceph has it."""

    #: The subvolume group, which is a share group; None outside of groups.
    group: str | None
    path: str
    #: Bytes.
    size: int
    used: int
    #: Pairs of an auth ID and its access level, ``r`` or ``rw``.
    access: frozenset[tuple[str, str]]
    #: The names of its snapshots.
    snapshots: frozenset[str]


class CephError(Exception):
    """Raised when Ceph refuses a command."""


class Ceph:
    """A private Ceph: one monitor, manager, OSD and MDS on loopback.

    It needs Debian's packages; without them, the test is skipped, but fails under CI.

    :param directory: the directory for its files
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.config_file = directory / "ceph.conf"
        #: Directory with Ceph's Python modules, for ``PYTHONPATH``.
        self.modules = directory / "modules"
        self._programs: dict[str, Program] = {}
        self._client: Any = None
        # Not in the directory, whose path may be too long for a socket.
        self._sockets = tempfile.TemporaryDirectory(prefix="ceph-")
        for program in PROGRAMS:
            need(program, PACKAGES)
        self.modules.mkdir()
        for name in MODULES:
            if not (DEBIAN / name).exists():
                not_there(
                    f"no {DEBIAN / name}: apt-get install {PACKAGES}, and run the "
                    "tests with the same version of Python as Debian's"
                )
            # Other modules of Debian must not replace those of the environment.
            (self.modules / name).symlink_to(DEBIAN / name)

    # -- the daemons ---------------------------------------------------------------

    def start(self) -> None:
        """Start all daemons, create a CephFS, and wait until it serves commands."""
        fsid, ports = str(uuid.uuid4()), (free_port(), free_port())
        self.config_file.write_text(
            CONFIG.format(
                fsid=fsid,
                ports=ports,
                directory=self.directory,
                sockets=self._sockets.name,
                capacity=64 * GIB,
            )
        )
        self._start_monitor(fsid, ports)
        self._import_modules()
        self._connect()
        self._start("mgr.x", self._authorize("mgr.x"))
        osd_id = str(uuid.uuid4())
        self.command("osd new", uuid=osd_id)
        keyring = self._authorize("osd.0")
        self._run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", osd_id)
        self._start("osd.0", keyring)
        self._start("mds.a", self._authorize("mds.a"))
        self._authorize(f"client.{MANILA}")
        self._wait_for("manager", lambda: self.command("mgr stat")["available"])
        self._wait_for("OSD", lambda: self.command("osd stat")["num_up_osds"])
        for pool in ("metadata", "data"):
            self.command("osd pool create", pool=pool, pg_num=8)
        self.command("fs new", fs_name=FILE_SYSTEM, metadata="metadata", data="data")
        self._wait_for("MDS", lambda: "up:active" in str(self.command("mds stat")))
        # The manager is available before it knows the commands of its modules.
        self._wait_for("subvolumes", lambda: self.volume("subvolume ls") == [])

    def _start_monitor(self, fsid: str, ports: tuple[int, int]) -> None:
        keyring, map_file = self.directory / "mon.keyring", self.directory / "monmap"
        admin = self.directory / "client.admin.keyring"
        for file, entity, caps in (
            (admin, "client.admin", CAPS["client.admin"]),
            (keyring, "mon.", {"mon": "allow *"}),
        ):
            words = [word for cap in caps.items() for word in ("--cap", *cap)]
            create = ("--create-keyring", "--gen-key", "-n", entity)
            self._run("ceph-authtool", str(file), *create, *words)
        self._run("ceph-authtool", str(keyring), "--import-keyring", str(admin))
        address = f"[v2:127.0.0.1:{ports[0]},v1:127.0.0.1:{ports[1]}]"
        self._run(
            *("monmaptool", "--create", "--fsid", fsid, "--addv", "a", address),
            str(map_file),
        )
        files = ("--monmap", str(map_file), "--keyring", str(keyring))
        self._run("ceph-mon", "-i", "a", "--mkfs", *files)
        self._start("mon.a", keyring)

    def _run(self, *command: str) -> None:
        config = ("-c", str(self.config_file))
        done = subprocess.run(
            (*command, *config), capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, done.stderr

    def _start(self, name: str, keyring: Path) -> None:
        kind, _, number = name.partition(".")
        (self.directory / name).mkdir(exist_ok=True)
        config = ("-c", str(self.config_file), "--keyring", str(keyring))
        self._programs[name] = Program(
            [f"ceph-{kind}", "-i", number, "-f", *config],
            self.directory / f"{name}.out",
        )

    def _import_modules(self) -> None:
        # Not at the top: the environment does not have these modules.
        sys.path.append(str(self.modules))
        self._rados = importlib.import_module("rados")
        self._cephfs = importlib.import_module("cephfs")
        self._json_command = importlib.import_module("ceph_argparse").json_command

    def _connect(self) -> None:
        client = self._rados.Rados(name="client.admin", conffile=str(self.config_file))
        client.connect(timeout=60)
        self._client = client

    def _authorize(self, entity: str) -> Path:
        """Create a key with the entity's caps, and return its keyring."""
        caps = [word for cap in CAPS[entity].items() for word in cap]
        (made,) = self.command("auth get-or-create", entity=entity, caps=caps)
        (self.directory / entity).mkdir(exist_ok=True)
        return self.write_keyring(entity, made["key"])

    def write_keyring(self, entity: str, key: str) -> Path:
        """Write a keyring, and return its path.

        :param entity: the name of the client or daemon, such as ``client.alice``
        :param key: its key
        """
        file = self.directory / f"{entity}.keyring"
        file.write_text(f"[{entity}]\n\tkey = {key}\n")
        return file

    def _wait_for(self, what: str, ready: Callable[[], Any]) -> None:
        for program in self._programs.values():
            assert program.process.poll() is None, program.log.read_text()
        wait_for(ready, f"Ceph: {what}", timeout=120, pause=0.2)

    def stop(self) -> None:
        """Kill all daemons: their data need not survive."""
        if self._client is not None:
            self._client.shutdown()
            self._client = None
        for program in self._programs.values():
            program.kill()
        self._programs.clear()
        self._sockets.cleanup()

    @contextlib.contextmanager
    def frozen_manager(self) -> Iterator[None]:
        """Freeze the manager: commands about subvolumes wait for an answer."""
        with frozen(self._programs["mgr.x"].process.pid):
            yield

    # -- the truth -----------------------------------------------------------------

    def command(self, prefix: str, target: str = "mon", **arguments: Any) -> Any:
        """Run a command, as the program ``ceph`` does.

        :param prefix: the words of the command, such as ``auth ls``
        :param target: ``mon`` for commands of the monitor, ``mon-mgr`` for those of
            the manager's modules
        :param arguments: its arguments
        :return: the decoded answer
        :raises CephError: if Ceph refuses it
        """
        status, answer, error = self._json_command(
            self._client,
            target=(target,),
            prefix=prefix,
            argdict={**arguments, "format": "json"},
            timeout=60,
        )
        if status:
            raise CephError(f"{prefix}: {error}")
        text = answer.decode().strip()
        try:
            return json.loads(text)
        except ValueError:
            return text

    def volume(self, prefix: str, **arguments: Any) -> Any:
        """Run a command about the file system's subvolumes.

        :param prefix: the words of the command after ``fs``, such as ``subvolume ls``
        :param arguments: its arguments
        """
        return self.command(
            f"fs {prefix}", "mon-mgr", vol_name=FILE_SYSTEM, **arguments
        )

    def groups(self) -> list[str]:
        """Return the names of all subvolume groups."""
        return [group["name"] for group in self.volume("subvolumegroup ls")]

    def subvolumes(self) -> dict[str, Subvolume]:
        """Return all subvolumes by name."""
        found = {}
        for group in (None, *self.groups()):
            within = {} if group is None else {"group_name": group}
            for listed in self.volume("subvolume ls", **within):
                of = {"sub_name": listed["name"], **within}
                info = self.volume("subvolume info", **of)
                rules = self.volume("subvolume authorized_list", **of)
                found[listed["name"]] = Subvolume(
                    group,
                    info["path"],
                    info["bytes_quota"],
                    info["bytes_used"],
                    frozenset(pair for rule in rules for pair in rule.items()),
                    frozenset(
                        snapshot["name"]
                        for snapshot in self.volume("subvolume snapshot ls", **of)
                    ),
                )
        return found

    def keys(self) -> dict[str, str]:
        """Return the keys of all clients and daemons by name."""
        dump = self.command("auth ls")["auth_dump"]
        return {entity["entity"]: entity["key"] for entity in dump}

    # -- clients -------------------------------------------------------------------

    def make_file(self, path: str, size: int) -> None:
        """Create a sparse file in a directory, as an administrator.

        :param path: the directory
        :param size: bytes
        """
        client = self._cephfs.LibCephFS(auth_id="admin", conffile=str(self.config_file))
        client.mount(filesystem_name=FILE_SYSTEM.encode())
        try:
            client.close(client.open(f"{path}/file", "w", 0o644))
            client.truncate(f"{path}/file", size)
            client.sync_fs()
        finally:
            client.shutdown()

    @contextlib.contextmanager
    def mounted(
        self, directory: Path, user: str, key: str, path: str
    ) -> Iterator[Path]:
        """Mount a directory with ``ceph-fuse``.

        :param directory: the mount point, which is created
        :param user: the auth ID
        :param key: its key
        :param path: the directory in the file system
        :raises CephError: if the client may not mount it
        """
        directory.mkdir()
        keyring = self.write_keyring(f"client.{user}", key)
        command = ["ceph-fuse", "-f", "-c", str(self.config_file), "--id", user]
        command += ["-k", str(keyring), "-r", path, str(directory)]
        client = Program(command, self.directory / f"{directory.name}.out")
        try:
            while not os.path.ismount(directory):
                if client.process.poll() is not None:
                    raise CephError(client.log.read_text())
                time.sleep(0.05)
            yield directory
        finally:
            subprocess.run(["umount", "-l", str(directory)], capture_output=True)
            with contextlib.suppress(subprocess.TimeoutExpired):
                client.process.wait(10)
            client.kill()


def why_no_fuse() -> str:
    """Return why this machine cannot mount with FUSE; empty if it can."""
    try:
        os.close(os.open("/dev/fuse", os.O_RDWR))
    except OSError as error:
        return f"FUSE is not available: {error}"
    status = Path("/proc/self/status").read_text()
    if not int(status.partition("CapEff:")[2].split()[0], 16) & 1 << CAP_SYS_ADMIN:
        return "FUSE is not available: mounting needs CAP_SYS_ADMIN"
    return ""
