# SPDX-License-Identifier: Apache-2.0
"""Run a real Manila in one process: REST API, scheduler and share services.

Manila itself is not changed. It fits into one process by configuration alone, in a
``manila.conf`` that Manila reads like an operator's:

* ``transport_url = fake:/`` keeps the messages between the services in memory;
* ``auth_strategy = noauthv2`` accepts any token ``user:project`` as an admin's;
* the database is a SQLite file, and file locks replace the coordination service;
* all files are in one directory.

**A process can run one Manila, once.** Manila's configuration is the global
``oslo_config.cfg.CONF``, its managers read intervals from it while their module is
imported, and its database engine is a module global. A second Manila would use the
settings of the first, so :meth:`ManilaService.start` raises an error. For the same
reason this module imports Manila only inside functions, after the configuration was
read.
"""

from __future__ import annotations

import configparser
import contextlib
import importlib
import importlib.metadata
import logging
import shutil
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from aspects.demo import releases
from aspects.weaving import Weaving

#: Option name -> value, of one section. Values are written with ``str``.
Options = Mapping[str, object]

#: Options with which the driver of Manila's own tests answers without delay.
DUMMY_DRIVER: Options = {
    "share_driver": "manila.tests.share.drivers.dummy.DummyDriver",
    "driver_handles_share_servers": False,
    "dummy_driver_default_driver_method_delay": 0,
    # The default has delays for some methods; without them the delay above is used.
    "dummy_driver_driver_methods_delays": "",
}

#: The host in ``<host>@<backend>#<pool>``.
HOST = "demo"

#: The token for requests, ``user:project``.
TOKEN = "admin:demo"

#: Seconds in which a service must start.
START_TIMEOUT = 30.0

LOG = logging.getLogger(__name__)

_started = threading.Lock()


class ServiceError(Exception):
    """Raised when the service cannot run; the text is one line."""


class StartError(ServiceError):
    """Raised when the service does not start in time; its log has the details."""


@dataclass(frozen=True)
class BackendFacts:
    """The properties of a running backend that a request for a share depends on."""

    backend_name: str
    """its ``share_backend_name``"""
    handles_share_servers: bool
    """whether shares need a share network"""
    protocol: str
    """an enabled protocol that the driver supports"""


def paste_file() -> Path:
    """Return the path of the ``api-paste.ini`` that Manila's wheel installed.

    :raises ServiceError: if Manila is not installed, or lacks that file
    """
    try:
        files = importlib.metadata.files("manila") or []
    except importlib.metadata.PackageNotFoundError:
        raise ServiceError(
            "Manila is not installed; run pip install 'manila-aspects[demo]'"
        ) from None
    for file in files:
        if file.match("etc/manila/api-paste.ini"):
            path = Path(str(file.locate())).resolve()
            if path.exists():
                return path
    raise ServiceError("etc/manila/api-paste.ini: not found in the installed Manila")


def share_server_backend(**options: object) -> dict[str, dict[str, object]]:
    """Return the sections of a backend that handles share servers.

    The driver requests one address on the admin network and two on the share network.
    Both networks are plain address ranges.

    :param options: options of the backend, which override the defaults
    :returns: the two sections, ``backend`` and ``admin_network``. The caller chooses
        their names in ``manila.conf``, and sets ``admin_network_config_group`` and
        ``network_config_group`` of the first to the name of the second.
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
    """Yield the directory for a service.

    :param keep: the directory, created if it does not exist; by default a temporary
        one, removed at the end unless a service did not start in it
    :raises ServiceError: if the directory is not empty, or cannot be used
    """
    if keep is not None:
        try:
            keep.mkdir(parents=True, exist_ok=True)
            if any(keep.iterdir()):
                raise ServiceError(f"{keep}: the directory is not empty")
        except OSError as error:
            raise ServiceError(str(error)) from error
        yield keep.resolve()
        return
    directory = tempfile.mkdtemp(prefix="manila-aspects-")
    started = True
    try:
        yield Path(directory).resolve()
    except StartError:
        started = False
        raise
    finally:
        if started:
            # A remaining thread of Manila may still write to the log.
            shutil.rmtree(directory, ignore_errors=True)


class _LastErrors(logging.Handler):
    """Keep the last error that Manila logged, for each thread."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self._texts: dict[str, str] = {}

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        text = _one_line(error) if error else " ".join(record.getMessage().split())
        self._texts[str(record.threadName)] = text

    def cause(self, thread: str | None = None) -> str:
        """Return the last error as the end of a message; empty if there is none.

        :param thread: the name of the thread; any thread by default
        """
        texts = [t for name, t in self._texts.items() if thread in (None, name)]
        return f": {texts[-1]}" if texts else ""


class ManilaService:
    """A Manila in this process, from ``manila.conf`` to the REST API.

    As a context manager, it starts on entry and stops on exit::

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
        """Store the configuration; :meth:`start` runs the service.

        :param backends: backend name -> options; a share service is started for
            each backend, in this order
        :param defaults: options of ``[DEFAULT]``, which override those for one process
        :param sections: section name -> options, of further sections
        :param config_files: files that Manila reads after its ``manila.conf``, so that
            their options override it
        :param directory: an empty directory to write to, which the caller removes; by
            default a temporary one, removed at the end
        :param start_timeout: seconds in which each share service must start
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
        self._errors = _LastErrors()

    # -- properties of the running service -------------------------------------

    @property
    def directory(self) -> Path:
        """Return the directory of all files."""
        if self._directory is None:
            raise ServiceError("the service is not started")
        return self._directory

    @property
    def config_file(self) -> Path:
        """Return the path of ``manila.conf``."""
        return self.directory / "manila.conf"

    @property
    def log_file(self) -> Path:
        """Return the path of Manila's log."""
        return self.directory / "manila.log"

    @property
    def endpoint(self) -> str:
        """Return the URL of the share API, version 2."""
        return f"http://127.0.0.1:{self._port}/v2"

    @property
    def token(self) -> str:
        """Return the admin's token for requests."""
        return TOKEN

    @property
    def headers(self) -> dict[str, str]:
        """Return the headers that authenticate a request."""
        return {"X-Auth-Token": self.token}

    @property
    def requests(self) -> Weaving | None:
        """Return the hooks around the share API, or None if it has none."""
        from aspects.manila import api

        return api.requests()

    def driver_name(self, backend: str) -> str:
        """Return the class name of a backend's driver.

        :param backend: the name of the backend
        """
        # type() of a woven driver is the proxy's class.
        name: str = self.managers[backend].driver.__class__.__name__
        return name

    def facts(self, backend: str) -> BackendFacts:
        """Return the properties of a backend that a request depends on.

        :param backend: the name of the backend
        """
        from oslo_config import cfg

        manager = self.managers[backend]
        driver = manager.driver
        enabled = cfg.CONF.enabled_share_protocols
        # E.g. NFS_CIFS.
        supported = str((getattr(driver, "_stats", None) or {}).get("storage_protocol"))
        return BackendFacts(
            manager.configuration.safe_get("share_backend_name") or backend,
            bool(driver.driver_handles_share_servers),
            next((name for name in enabled if name in supported), enabled[0]),
        )

    # -- start and stop --------------------------------------------------------

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
        """Start all services, and wait until shares can be created.

        :returns: the service itself
        :raises ServiceError: if this process has started a Manila before, if the
            configuration is not valid, or if a backend does not start in time
        :raises aspects.HookConfigError: if hooks are misconfigured
        """
        # Any step may fail, and then the services that were started are stopped.
        try:
            paste = paste_file()
            if not _started.acquire(blocking=False):
                raise ServiceError("this process has already started a Manila")
            if self._directory is None:
                self._directory = self._exit.enter_context(directory_for(None))
            self._write_config(paste)
            self._read_config()
            self._make_database()
            manila_log = logging.getLogger("manila")
            manila_log.addHandler(self._errors)
            try:
                self._start_services()
                self._start_api(paste)
                self._wait_for_pools()
            finally:
                manila_log.removeHandler(self._errors)
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Stop all services, and remove the temporary directory."""
        self._exit.close()

    # -- the steps of the start ------------------------------------------------

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
            # Periodic tasks run every second, without a delay at the start.
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
            # With relative paths, Manila would read the policies of this host.
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
                "read; its periodic tasks keep their default intervals",
                RuntimeWarning,
                stacklevel=3,
            )
        importlib.import_module("manila.cmd")
        if not releases.has_chosen_threads():
            raise ServiceError(
                "Manila was imported before its threads were chosen; call "
                "aspects.demo.releases.choose_threads first"
            )
        from manila import service, version  # noqa: F401  (registers options)
        from manila.common import config
        from oslo_config import cfg
        from oslo_log import log

        conf = cfg.CONF
        files = [self.config_file, *self.config_files]
        arguments = [part for file in files for part in ("--config-file", str(file))]
        try:
            # The default files and directories are those of this host's Manila.
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
        # oslo.log replaces the hook for uncaught exceptions, which would then be in
        # Manila's log only.
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
        # The scheduler is first, because it starts the lock coordinator of the process
        # and receives the capabilities that the backends publish.
        scheduler = service.Service.create(binary="manila-scheduler", coordination=True)
        services.append(scheduler)
        scheduler.start()
        # Create all services before any is started, so that the configuration errors
        # of all backends are raised together, before a driver is set up.
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
        """Start one share service, with a timeout.

        It starts in a thread, as a share manager retries a failing driver without end.
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
            raise StartError(
                f"[{name}] did not start in {self.start_timeout:g} seconds"
                f"{self._errors.cause(thread.name)}; the log is {self.log_file}"
            )

    def _start_api(self, paste: Path) -> None:
        from cheroot import wsgi
        from paste import deploy  # type: ignore[import-untyped]

        own_paste = self.directory / "api-paste.ini"
        text = releases.paste_configuration(paste.read_text("utf-8"))
        own_paste.write_text(text, "utf-8")
        application = deploy.loadapp(f"config:{own_paste}", name="osapi_share")

        class Server(wsgi.Server):  # type: ignore[misc]
            # By default Cheroot writes its errors to standard error.
            def error_log(
                self, msg: str = "", level: int = logging.INFO, traceback: bool = False
            ) -> None:
                LOG.log(level, msg, exc_info=traceback)

        server = Server(("127.0.0.1", 0), application, numthreads=4, shutdown_timeout=2)
        releases.adjust_server(server)
        server.prepare()
        self._port = server.bind_addr[1]
        thread = threading.Thread(target=server.serve, name="api", daemon=True)
        thread.start()
        self._exit.callback(thread.join, 10)
        self._exit.callback(server.stop)

    def _wait_for_pools(self) -> None:
        """Wait until the scheduler has a pool of each backend."""
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
                raise StartError(
                    f"the scheduler has no pool of {', '.join(sorted(missing))}"
                    f"{self._errors.cause()}; the log is {self.log_file}"
                )
            time.sleep(0.05)

    # -- while the service runs ------------------------------------------------

    def stop_ticks(self) -> None:
        """Stop all periodic tasks, and wait for those that are running.

        Afterwards only requests run hooks, so that counts can be compared.
        """
        for service in self._services:
            service.tg.stop_timers(wait=True)

    def reload(self) -> None:
        """Reload the configuration files, as Manila does on ``SIGHUP``.

        :raises ServiceError: if a file cannot be read
        """
        from oslo_config import cfg

        try:
            cfg.CONF.mutate_config_files()
        except cfg.Error as error:
            raise ServiceError(f"configuration: {_one_line(error)}") from error


def _escaped(value: object) -> str:
    """Return a value as text that oslo.config reads back unchanged.

    oslo.config treats ``$name`` as a reference, and a path may contain one.
    """
    return str(value).replace("$", "$$")


def _one_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def _stop_services(services: list[Any]) -> None:
    """Stop all services of the process together.

    Manila's ``Service.stop`` stops the lock coordinator, which all services share. So
    the timers and RPC servers of all are stopped first.
    """
    for service in services:
        service.tg.stop_timers(wait=True)
    for service in services:
        if service.rpcserver is not None:
            service.rpcserver.stop()
            service.rpcserver.wait()
    for service in services:
        service.stop()
        # The interpreter waits for the threads of each manager when it exits.
        releases.close_pool(service.manager)
