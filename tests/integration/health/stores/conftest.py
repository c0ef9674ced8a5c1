"""Real servers that keep data: PostgreSQL, Redis and RabbitMQ, each started when the first test asks for it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.integration.health.stores.proxy import Proxy, proxied
from tests.servers import end, free_port, program, wait_until
from vitalsign.health import HealthChecker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from prometheus_client import CollectorRegistry

SECRET = "hunter2"
"""The right password everywhere."""
WRONG = "swordfish"
"""A wrong one, which must be hidden as well."""


@pytest.fixture
def make_checker(registry: CollectorRegistry) -> Callable[..., HealthChecker]:
    """Make checkers whose runs have a second and whose results are not kept."""
    return partial(HealthChecker, "shop", timeout=1.0, deadline=20.0, ttl=0.0, registry=registry)


@pytest.fixture
def health(make_checker: Callable[..., HealthChecker]) -> HealthChecker:
    """Make a checker with patience, for tests in which nothing is slow."""
    return make_checker(timeout=30.0)


@dataclass(frozen=True)
class Store:
    """A running server on 127.0.0.1."""

    port: int
    process: subprocess.Popen[bytes]


@pytest.fixture
def proxy_to() -> Iterator[Callable[[int], Proxy]]:
    """Start proxies that end with the test."""
    with contextlib.ExitStack() as stack:
        yield lambda port: stack.enter_context(proxied(port))


@contextlib.contextmanager
def started(
    command: list[str], port: int, log: Path, stop: signal.Signals = signal.SIGTERM, **options: object
) -> Iterator[Store]:
    """Keep *command* running until the end of the block, with whatever it starts; *stop* is how it is told to end."""
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, **options)  # type: ignore[call-overload]
    try:
        wait_until(lambda: process.poll() is not None or accepts(port), f"start of {command[0]}", patience=60)
        if process.poll() is not None:
            raise ChildProcessError(f"{command[0]} ended at once with exit code {process.returncode}")
        yield Store(port, process)
    except BaseException as error:
        error.add_note(f"{log.name}: {log.read_text(errors='replace')[-2000:]}")
        raise
    finally:
        end_with_children(process, stop)


def accepts(port: int) -> bool:
    """Tell whether somebody listens."""
    socket.create_connection(("127.0.0.1", port)).close()
    return True


def end_with_children(process: subprocess.Popen[bytes], stop: signal.Signals) -> None:
    """End *process*, and kill what it leaves behind."""
    children = []
    with contextlib.suppress(psutil.NoSuchProcess):
        children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(stop)  # of no effect where it has ended
    end(process)
    for child in children:
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()


# -- PostgreSQL


@dataclass(frozen=True)
class Postgres(Store):
    """A PostgreSQL with one user, one database and one password."""

    def url(self, *, port: int | None = None, password: str = SECRET, scheme: str = "postgresql") -> str:
        """Return its address, or that of a proxy to it."""
        return f"{scheme}://shop:{password}@127.0.0.1:{port or self.port}/postgres"


def postgres_program(name: str) -> str:
    """Return the path of one of PostgreSQL's programs, which Debian keeps off the path."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return shutil.which(name, path=os.pathsep.join(map(str, folders))) or program(name)


@contextlib.contextmanager
def running_postgres(port: int) -> Iterator[Postgres]:
    """Keep a PostgreSQL that asks for a password, with data of its own, for the length of the block."""
    initdb, server = postgres_program("initdb"), postgres_program("postgres")
    account = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}
    with tempfile.TemporaryDirectory(prefix="vitalsign-postgres-") as name:
        folder = Path(name)
        data, password, log = folder / "data", folder / "password", folder / "log"
        password.write_text(SECRET)
        if account:  # it refuses to run as root
            shutil.chown(folder, "postgres", "postgres")
        access = ["-U", "shop", "--pwfile", str(password), "-A", "scram-sha-256"]
        options = ["-D", str(data), "--no-sync", "--no-locale", "-E", "UTF8", *access]
        subprocess.run([initdb, *options], check=True, capture_output=True, cwd=folder, **account)  # type: ignore[call-overload]
        settings = ("fsync=off", "max_connections=30", "shared_buffers=16MB", "unix_socket_directories=")
        command = [server, "-D", str(data), "-h", "127.0.0.1", "-p", str(port)]
        command += [part for setting in settings for part in ("-c", setting)]
        # Told to end by SIGTERM, it would wait for its clients.
        with started(command, port, log, signal.SIGINT, cwd=folder, **account) as store:
            wait_until(lambda: "ready to accept" in log.read_text(), "PostgreSQL")
            yield Postgres(store.port, store.process)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """Run a PostgreSQL."""
    with running_postgres(free_port()) as server:
        yield server


# -- Redis


@dataclass(frozen=True)
class Redis(Store):
    """A Redis with a password."""

    def url(self, *, port: int | None = None, password: str = SECRET) -> str:
        """Return its address, or that of a proxy to it."""
        return f"redis://:{password}@127.0.0.1:{port or self.port}/0"


@pytest.fixture
def start_redis(tmp_path: Path) -> Iterator[Callable[..., Redis]]:
    """Start Redis servers that end with the test."""
    path = program("redis-server")
    with contextlib.ExitStack() as stack:

        def start(*options: str, port: int | None = None) -> Redis:
            port = port or free_port()
            command = [path, "--bind", "127.0.0.1", "--port", str(port), "--save", "", "--dir", str(tmp_path)]
            command += ["--requirepass", SECRET, "--masterauth", SECRET, *options]
            store = stack.enter_context(started(command, port, tmp_path / f"redis-{port}.log"))
            return Redis(store.port, store.process)

        yield start


@pytest.fixture
def redis_server(start_redis: Callable[..., Redis]) -> Redis:
    """Run a Redis."""
    return start_redis()


# -- RabbitMQ


@dataclass(frozen=True)
class RabbitMQ:
    """A RabbitMQ with its guest, which several tests may use at once."""

    port: int

    def url(self, *, port: int | None = None, password: str = "guest") -> str:
        """Return its address, or that of a proxy to it."""
        return f"amqp://guest:{password}@127.0.0.1:{port or self.port}/"


@contextlib.contextmanager
def running_rabbitmq(folder: Path) -> Iterator[RabbitMQ]:
    """Keep a RabbitMQ of one node, with a port mapper of its own, for the length of the block."""
    program("rabbitmq-server")
    folder.mkdir()
    port, mapper = free_port(), free_port()
    environment = {
        "HOME": str(folder),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "ERL_EPMD_PORT": str(mapper),
        "RABBITMQ_CONF_ENV_FILE": str(folder / "none"),
        "RABBITMQ_CONFIG_FILE": str(folder / "none"),
        "RABBITMQ_DIST_PORT": str(free_port()),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
        "RABBITMQ_LOG_BASE": str(folder / "log"),
        "RABBITMQ_LOGS": "-",
        "RABBITMQ_MNESIA_BASE": str(folder / "data"),
        "RABBITMQ_NODENAME": f"vitalsign-{port}@localhost",
        "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODE_PORT": str(port),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1 +sbwt none +sbwtdcpu none +sbwtdio none",  # spares the cores
        "RUNNING_UNDER_SYSTEMD": "true",  # the script becomes the server, rather than start it
    }
    (folder / "plugins").write_text("[].")
    script = "/usr/lib/rabbitmq/bin/rabbitmq-server"  # not the one on the path, which changes user and folder
    with (
        started([program("epmd"), "-port", str(mapper), "-address", "127.0.0.1"], mapper, folder / "epmd.log"),
        started([script], port, folder / "rabbitmq.log", env=os.environ | environment, cwd=folder) as store,
    ):
        yield RabbitMQ(store.port)


class Shared:
    """
    One RabbitMQ for all test processes of a run, for it takes seconds to start.

    Whichever process needs it first starts it, and ends it with itself, once no other is in the middle of a test.
    """

    def __init__(self, folder: Path, stack: contextlib.ExitStack) -> None:
        self._folder = folder
        self._stack = stack
        self._port = folder / "rabbitmq.port"

    @contextlib.contextmanager
    def locked(self, name: str, operation: int) -> Iterator[None]:
        """Hold a lock that a process which is killed leaves to the others."""
        with (self._folder / f"rabbitmq.{name}").open("w") as file:
            fcntl.flock(file, operation)
            yield

    @contextlib.contextmanager
    def used(self) -> Iterator[int]:
        """Keep the server running for the block, and give its port."""
        with contextlib.ExitStack() as use:
            with self.locked("start", fcntl.LOCK_EX):
                if not self._port.exists():
                    server = self._stack.enter_context(running_rabbitmq(self._folder / f"rabbitmq-{free_port()}"))
                    self._port.write_text(str(server.port))
                    self._stack.callback(self._retire)
                use.enter_context(self.locked("use", fcntl.LOCK_SH))
            yield int(self._port.read_text())

    def _retire(self) -> None:
        with self.locked("start", fcntl.LOCK_EX), self.locked("use", fcntl.LOCK_EX):
            self._port.unlink()


@pytest.fixture(scope="session")
def shared_rabbitmq(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    """Give what starts RabbitMQ when it is first used."""
    folder = tmp_path_factory.getbasetemp()
    with contextlib.ExitStack() as stack:
        yield Shared(folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder, stack)


@pytest.fixture
def rabbitmq(shared_rabbitmq: Shared) -> Iterator[RabbitMQ]:
    """Give a RabbitMQ that runs as long as the test."""
    with shared_rabbitmq.used() as port:
        yield RabbitMQ(port)
