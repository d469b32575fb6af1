# SPDX-License-Identifier: Apache-2.0
"""A real Manila in one process: REST API, scheduler, one share service a backend.

Nothing of Manila is changed or replaced.  What makes it fit into one process is
configuration alone, and the configuration is a ``manila.conf`` that Manila reads
as it would read an operator's:

* ``transport_url = fake:/`` keeps the messages between the services in memory;
* ``auth_strategy = noauthv2`` takes any token ``user:project`` as an admin's;
* SQLite in a file holds the database, a file lock replaces the coordination
  service, and everything that is written lies in one directory.

**A process can host one Manila, once.**  Manila's configuration is the global
``oslo_config.cfg.CONF``, its managers read intervals from it while their module
is imported, and its database engine is a module global: a second start would run
with the settings of the first.  :meth:`ManilaService.start` refuses that.  For
the same reason this module imports Manila only inside functions, after the
configuration was read.
"""

from __future__ import annotations

import configparser
import contextlib
import importlib
import importlib.metadata
import logging
import os
import shutil
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

#: The options of one section, by name; values are written with ``str``.
Options = Mapping[str, object]

#: What Manila's own driver for tests needs to answer at once.
DUMMY_DRIVER: Options = {
    "share_driver": "manila.tests.share.drivers.dummy.DummyDriver",
    "driver_handles_share_servers": False,
    "dummy_driver_default_driver_method_delay": 0,
    # The default is a table of seconds for single methods; an empty one
    # leaves them all to the delay above.
    "dummy_driver_driver_methods_delays": "",
}

#: Name of the host in ``<host>@<backend>#<pool>``.
HOST = "demo"

#: Token for requests; the first part is the user, the second the project.
TOKEN = "admin:demo"

#: Seconds that a service may take to start before that is an error.
START_TIMEOUT = 30.0

LOG = logging.getLogger(__name__)

_started = threading.Lock()


class ServiceError(Exception):
    """Tell in one line why the service cannot run."""


def paste_file() -> Path:
    """Find the ``api-paste.ini`` that the Manila wheel installed.

    :returns: its path, wherever this environment keeps data files
    :raises ServiceError: if Manila is not installed, or without that file
    """
    try:
        files = importlib.metadata.files("manila") or []
    except importlib.metadata.PackageNotFoundError:
        raise ServiceError(
            "Manila is not installed: pip install 'manila-aspects[demo]'"
        ) from None
    for file in files:
        if file.match("etc/manila/api-paste.ini"):
            path = Path(str(file.locate())).resolve()
            if path.exists():
                return path
    raise ServiceError("the installed Manila has no etc/manila/api-paste.ini")


def share_server_backend(**options: object) -> dict[str, dict[str, object]]:
    """Make the sections of a backend that handles share servers.

    The driver asks for one address on the admin network and two on the share's,
    so both networks are given to it as plain address ranges.

    :param options: further options of the backend, or replacements
    :returns: the two sections, ``backend`` and ``admin_network``; the caller
        puts them under names of his choice and names the second in the first
        with ``admin_network_config_group`` and ``network_config_group``
    """
    plugin = "manila.network.standalone_network_plugin.StandaloneNetworkPlugin"
    network: dict[str, object] = {
        "standalone_network_plugin_gateway": "10.0.0.1",
        "standalone_network_plugin_mask": "255.255.255.0",
        "standalone_network_plugin_allowed_ip_ranges": "10.0.0.10-10.0.0.250",
        "network_api_class": plugin,
        "admin_network_api_class": plugin,
    }
    backend = {**DUMMY_DRIVER, "driver_handles_share_servers": True, **options}
    return {"backend": {**network, **backend}, "admin_network": network}


@contextlib.contextmanager
def directory_for(keep: Path | None) -> Iterator[Path]:
    """Make the directory for a service.

    :param keep: the directory that is wanted, made if need be; without one, a
        temporary directory is made and removed at the end
    :raises ServiceError: if the wanted directory holds something
    """
    if keep is not None:
        try:
            keep.mkdir(parents=True, exist_ok=True)
            if any(keep.iterdir()):
                raise ServiceError(f"{keep} is not empty")
        except OSError as error:
            raise ServiceError(str(error)) from error
        yield keep.resolve()
        return
    directory = tempfile.mkdtemp(prefix="manila-aspects-")
    try:
        yield Path(directory).resolve()
    finally:
        # A thread that Manila leaves behind may still write a line of log.
        shutil.rmtree(directory, ignore_errors=True)


class ManilaService:
    """Run a Manila, from its ``manila.conf`` to its REST API.

    As a context manager it is started on entry and stopped on exit::

        with ManilaService({"alpha": DUMMY_DRIVER}) as service:
            requests.get(service.endpoint + "/shares", headers=service.headers)
    """

    def __init__(
        self,
        backends: Mapping[str, Options],
        *,
        defaults: Options | None = None,
        sections: Mapping[str, Options] | None = None,
        config_files: Sequence[Path] = (),
        directory: Path | None = None,
        start_timeout: float = START_TIMEOUT,
    ) -> None:
        """Say what to run; nothing is done before :meth:`start`.

        :param backends: the options of each backend, by name; a share service
            is started for each, in this order
        :param defaults: options of ``[DEFAULT]``, over those needed to run in
            one process
        :param sections: further sections of ``manila.conf``, by name
        :param config_files: files that Manila reads after its ``manila.conf``,
            so that their options override it
        :param directory: an empty directory to write to, the caller's to remove;
            without one, a temporary directory is made and removed at the end
        :param start_timeout: seconds that one share service may take to start
        """
        self.backends = {name: dict(options) for name, options in backends.items()}
        self.defaults = dict(defaults or {})
        self.sections = {k: dict(v) for k, v in (sections or {}).items()}
        self.config_files = tuple(Path(file) for file in config_files)
        self.start_timeout = start_timeout
        self.managers: dict[str, Any] = {}
        """The share manager of each backend, while the service runs."""
        self._directory = directory
        self._exit = contextlib.ExitStack()
        self._port = 0
        self._services: list[Any] = []

    # -- what a caller needs to know -----------------------------------------

    @property
    def directory(self) -> Path:
        """The directory that everything is written to."""
        if self._directory is None:
            raise ServiceError("the service has not been started")
        return self._directory

    @property
    def config_file(self) -> Path:
        """The ``manila.conf`` that Manila was started with."""
        return self.directory / "manila.conf"

    @property
    def log_file(self) -> Path:
        """Where Manila logs to."""
        return self.directory / "manila.log"

    @property
    def endpoint(self) -> str:
        """The URL of the share API's version 2."""
        return f"http://127.0.0.1:{self._port}/v2"

    @property
    def token(self) -> str:
        """The token for requests: an admin's."""
        return TOKEN

    @property
    def headers(self) -> dict[str, str]:
        """Headers that authenticate a request."""
        return {"X-Auth-Token": self.token}

    def driver_name(self, backend: str) -> str:
        """Return the name of the class of a backend's driver."""
        # Not type(): that is the proxy's where the driver is woven.
        name: str = self.managers[backend].driver.__class__.__name__
        return name

    # -- life ------------------------------------------------------------------

    def __enter__(self) -> ManilaService:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> ManilaService:
        """Start everything; return when a share could be created.

        :returns: the service itself
        :raises ServiceError: if this process has had a Manila before, if the
            configuration is wrong, or if a backend does not come up in time
        :raises aspects.HookConfigError: if the hooks of a backend are
            configured wrongly
        """
        # Anything below may fail half-way; what was started is stopped then.
        try:
            paste = paste_file()
            if not _started.acquire(blocking=False):
                raise ServiceError("this process has had its Manila already")
            if self._directory is None:
                self._directory = self._exit.enter_context(directory_for(None))
            self._write_config(paste)
            self._read_config()
            self._make_database()
            self._start_services()
            self._start_api(paste)
            self._wait_for_pools()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Stop everything in reverse order and remove the temporary directory."""
        self._exit.close()

    # -- the steps -------------------------------------------------------------

    def _write_config(self, paste: Path) -> None:
        from aspects.demo import database

        directory = self.directory
        for name in ("locks", "state", "policy.d"):
            (directory / name).mkdir(exist_ok=True)
        (directory / "policy.yaml").write_text("{}\n", encoding="utf-8")
        defaults: dict[str, object] = {
            "host": HOST,
            "my_ip": "127.0.0.1",
            "state_path": directory / "state",
            "log_file": self.log_file,
            "use_stderr": False,
            "api_paste_config": paste,
            "share_manager": "aspects.manila.ShareManager",
            "auth_strategy": "noauthv2",
            "transport_url": "fake:/",
            "enabled_share_backends": ",".join(self.backends),
            "enabled_share_protocols": "NFS,CIFS",
            # Periodic tasks run each second, from the first second on.
            "periodic_interval": 1,
            "periodic_fuzzy_delay": 0,
            "periodic_hooks_interval": 1,
            **self.defaults,
        }
        sections: dict[str, Options] = {
            "database": {
                "connection": database.url_of(directory / "manila.sqlite"),
                "sqlite_synchronous": False,
            },
            "oslo_concurrency": {"lock_path": directory / "locks"},
            "coordination": {"backend_url": f"file://{directory / 'state'}"},
            # Absolute, or the policies of an installed Manila would be read.
            "oslo_policy": {
                "policy_file": directory / "policy.yaml",
                "policy_dirs": directory / "policy.d",
            },
            **self.sections,
            **{
                name: {"share_backend_name": name, **options}
                for name, options in self.backends.items()
            },
        }
        parser = configparser.RawConfigParser(default_section="\0")
        parser.optionxform = str  # type: ignore[assignment,method-assign]
        for name, options in {"DEFAULT": defaults, **sections}.items():
            if options:
                parser[name] = {k: _escaped(v) for k, v in options.items()}
        with self.config_file.open("w", encoding="utf-8") as file:
            parser.write(file)

    def _read_config(self) -> None:
        if "manila.share.manager" in sys.modules:
            warnings.warn(
                "manila.share.manager was imported before its configuration was "
                "read: its periodic tasks keep their default intervals",
                RuntimeWarning,
                stacklevel=3,
            )
        # This variable, read when the package of Manila's commands is imported,
        # keeps eventlet from patching the process: native threads it is.
        os.environ["OS_MANILA_DISABLE_EVENTLET_PATCHING"] = "True"
        importlib.import_module("manila.cmd")
        from oslo_service import backend

        if backend.get_backend_type() != backend.BackendType.THREADING:
            # Its timers would wait for a loop that never turns.
            raise ServiceError(
                "oslo.service runs on eventlet: import manila.cmd, with "
                "OS_MANILA_DISABLE_EVENTLET_PATCHING=True, before any of Manila"
            )
        from manila import service, version  # noqa: F401  (registers options)
        from manila.common import config
        from oslo_config import cfg
        from oslo_log import log

        conf = cfg.CONF
        files = [self.config_file, *self.config_files]
        arguments = [part for file in files for part in ("--config-file", str(file))]
        try:
            # No default files or directories: an installed Manila's are not ours.
            conf(
                arguments,
                project="manila",
                version=version.version_string(),
                default_config_files=[],
                default_config_dirs=[],
            )
        except (cfg.Error, SystemExit) as error:
            raise ServiceError(f"configuration: {_one_line(error)}") from error
        config.verify_share_protocols()
        config.set_lib_defaults()
        # oslo.log would have the errors of this whole process in Manila's log,
        # and nowhere else.
        excepthook = sys.excepthook
        log.setup(conf, "manila")
        sys.excepthook = excepthook

    def _make_database(self) -> None:
        from manila.db import migration
        from manila.db.sqlalchemy import api, models

        engine = api.get_engine()
        models.BASE.metadata.create_all(engine)
        migration.stamp("head")
        self._exit.callback(engine.dispose)

    def _start_services(self) -> None:
        from manila import rpc, service
        from oslo_config import cfg

        from aspects.errors import HookConfigError

        rpc.init(cfg.CONF)
        self._exit.callback(rpc.cleanup)
        services = self._services
        self._exit.callback(_stop_services, services)
        # The scheduler first: it starts the process-wide lock coordinator, and
        # it is there when the backends publish what they can.
        scheduler = service.Service.create(binary="manila-scheduler", coordination=True)
        services.append(scheduler)
        scheduler.start()
        # All are made before any starts, so that whatever is wrong with the
        # hooks of any is told before the first one sets up its driver.
        created: dict[str, Any] = {}
        problems: list[Any] = []
        failures: list[tuple[str, Exception]] = []
        for name in cfg.CONF.enabled_share_backends:
            try:
                created[name] = service.Service.create(
                    host=f"{cfg.CONF.host}@{name}",
                    service_name=name,
                    binary="manila-share",
                    coordination=True,
                )
            except HookConfigError as error:
                problems += error.problems
            except Exception as error:
                failures.append((name, error))
        if problems:
            raise HookConfigError(problems)
        if failures:
            text = "; ".join(f"[{n}] {_one_line(error)}" for n, error in failures)
            raise ServiceError(text) from failures[0][1]
        for name, share_service in created.items():
            services.append(share_service)
            self.managers[name] = share_service.manager
            self._start_share_service(name, share_service)

    def _start_share_service(self, name: str, share_service: Any) -> None:
        """Start one, without waiting for ever.

        A driver that cannot be set up is retried by its share manager until it
        can be, hence the thread.
        """
        errors: list[BaseException] = []

        def run() -> None:
            try:
                share_service.start()
            except BaseException as error:
                errors.append(error)

        thread = threading.Thread(target=run, name=f"start-{name}", daemon=True)
        thread.start()
        thread.join(self.start_timeout)
        if errors:
            raise ServiceError(f"[{name}] {_one_line(errors[0])}") from errors[0]
        if thread.is_alive():
            raise ServiceError(
                f"[{name}] did not come up in {self.start_timeout:g} seconds"
            )

    def _start_api(self, paste: Path) -> None:
        from cheroot import wsgi
        from paste import deploy  # type: ignore[import-untyped]

        application = deploy.loadapp(f"config:{paste}", name="osapi_share")

        class Server(wsgi.Server):  # type: ignore[misc]
            # Cheroot writes its complaints to standard error otherwise.
            def error_log(
                self, msg: str = "", level: int = logging.INFO, traceback: bool = False
            ) -> None:
                LOG.log(level, msg, exc_info=traceback)

        server = Server(("127.0.0.1", 0), application, numthreads=4, shutdown_timeout=2)
        server.prepare()
        self._port = server.bind_addr[1]
        thread = threading.Thread(target=server.serve, name="api", daemon=True)
        thread.start()
        self._exit.callback(thread.join, 10)
        self._exit.callback(server.stop)

    def _wait_for_pools(self) -> None:
        """Wait until the scheduler has heard from each backend."""
        from manila import context
        from manila.scheduler import rpcapi

        client = rpcapi.SchedulerAPI()
        wanted = set(self.managers)
        deadline = time.monotonic() + self.start_timeout
        while True:
            pools = client.get_pools(context.get_admin_context())
            missing = wanted - {pool["backend"] for pool in pools}
            if not missing:
                return
            if time.monotonic() > deadline:
                raise ServiceError(f"no pool of {', '.join(sorted(missing))}")
            time.sleep(0.05)

    # -- for a caller that wants stillness -------------------------------------

    def stop_ticks(self) -> None:
        """Stop all periodic tasks and wait for those that run.

        After that nothing happens in this Manila but what a client asks for, so
        that what was counted can be compared.
        """
        for service in self._services:
            service.tg.stop_timers(wait=True)

    def reload(self) -> None:
        """Read the configuration files again, as ``SIGHUP`` has Manila do.

        :raises ServiceError: if a file cannot be read now
        """
        from oslo_config import cfg

        try:
            cfg.CONF.mutate_config_files()
        except cfg.Error as error:
            raise ServiceError(f"configuration: {_one_line(error)}") from error


def _escaped(value: object) -> str:
    """Write a value so that oslo.config reads it back.

    oslo.config takes ``$name`` for a reference, and a path may hold one.
    """
    return str(value).replace("$", "$$")


def _one_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def _stop_services(services: list[Any]) -> None:
    """Stop all services of the process, as one.

    Manila's own ``Service.stop`` stops the lock coordinator, which is one for the
    process: no service may be at work any more when the first is stopped.
    """
    for service in services:
        service.tg.stop_timers(wait=True)
    for service in services:
        if service.rpcserver is not None:
            service.rpcserver.stop()
            service.rpcserver.wait()
    for service in services:
        service.stop()
        # Each manager keeps a pool of threads that the exit would wait for.
        pool = getattr(service.manager, "_tp", None)
        if pool is not None:
            pool.shutdown(wait=True)
