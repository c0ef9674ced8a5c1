"""
Serve the metrics of a process that has no web server, or that keeps them off its public port.

```python
from vitalsign.exporter import start_exporter

exporter = start_exporter(port=9091)
```
"""

from __future__ import annotations

import asyncio
import operator
import os
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from prometheus_client import REGISTRY

from vitalsign._http_endpoint import Endpoint
from vitalsign._http_listen import listen, own_url
from vitalsign._http_server import Server
from vitalsign._http_tls import certificates
from vitalsign.exceptions import EndpointOptionError
from vitalsign.metrics.internal import internal_error

if TYPE_CHECKING:
    import socket
    from types import TracebackType
    from typing import Self

    from prometheus_client import CollectorRegistry

    from vitalsign._access import Networks, Token
    from vitalsign._http_tls import Certificates, File

__all__ = ["Exporter", "start_exporter"]

_WHERE = "exporter"
_PATIENCE = 5.0  # seconds, for the thread to end


def start_exporter(
    port: int,
    host: str = "127.0.0.1",
    *,
    registry: CollectorRegistry = REGISTRY,
    token: Token | None = None,
    allow: Networks | None = None,
    certfile: File | None = None,
    keyfile: File | None = None,
    client_cafile: File | None = None,
    deadline: float | None = None,
) -> Exporter:
    """
    Serve metrics on a port of their own, from a thread of their own, until it is closed or the process ends.

    The page is at `/metrics`, and answers as `vitalsign.asgi.metrics_app` does. What goes wrong later is logged and
    counted, never raised. A forked child does not serve: it lets go of the port, and may start an exporter of its own.

    Args:
        port: 0 for any free one; `Exporter.port` tells which.
        host: Name or address of this machine to listen on: `0.0.0.0` for all of IPv4, `::` for all addresses.
        registry: Whose metrics are served.
        token: Secret that clients have to send as `Authorization: Bearer …`, or a function that returns it, called for
            each request; None asks for none.
        allow: Networks that clients have to come from, such as `10.0.0.0/8` and `::1`. None lets all in.
        certfile: Certificate for TLS, and those that lead to its authority, as PEM; None serves without TLS. This and
            the next two are read again when they have changed.
        keyfile: Its private key, not encrypted; None if it stands in the same file.
        client_cafile: Authorities; clients have to show a certificate of one of them. None asks for none.
        deadline: Seconds after which a collector that has not answered is left out; None goes by what the scraper says
            that it waits, in X-Prometheus-Scrape-Timeout-Seconds.

    Raises:
        AddressError: The port cannot be had; the text says why.
        CertificateError: A file of certificates cannot be used.
        EndpointOptionError: Another option makes no sense.
    """
    endpoint = Endpoint(registry, token=token, allow=allow, deadline=deadline)
    tls = certificates(certfile, keyfile, client_cafile)
    listener = listen(host, _number(port))
    try:
        return Exporter(listener, tls, endpoint)
    except BaseException:
        listener.close()
        raise


def _number(port: int) -> int:
    try:
        return operator.index(port)
    except TypeError:
        raise EndpointOptionError(f"port is {port!r}, but has to be a number; 0 is any free one.") from None


class Exporter:
    """
    Serves metrics; made by `start_exporter()`. As a context manager, it closes at the end of the block.

    Attributes:
        port: Where it listens.
        url: Where this machine finds the page.
    """

    def __init__(self, listener: socket.socket, tls: Certificates | None, endpoint: Endpoint) -> None:
        self.port: int = listener.getsockname()[1]
        self.url: str = own_url(listener, "https" if tls else "http") + "/metrics"
        self._server = Server(listener, tls, endpoint)
        self._runner = asyncio.Runner(loop_factory=asyncio.SelectorEventLoop)
        self._loop = self._runner.get_loop()
        self._thread = threading.Thread(target=self._run, name=f"vitalsign-exporter-{self.port}", daemon=True)
        self._is_closed = False
        try:
            self._thread.start()
        except RuntimeError:  # there are no more threads to be had
            self._runner.close()
            raise
        _running.add(self)

    def close(self) -> None:
        """Stop serving, and free the port; of no effect if that has been done."""
        if self._is_closed:
            return
        self._is_closed = True
        with suppress(RuntimeError):  # the loop has ended already
            self._loop.call_soon_threadsafe(self._server.stop.set)
        if self._thread is not threading.current_thread():
            self._thread.join(_PATIENCE)
        self._server.listener.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _run(self) -> None:
        try:
            with self._runner:
                self._loop.set_exception_handler(_report)
                self._runner.run(self._server.run())
        except Exception as error:  # noqa: BLE001  # there is nobody to raise it to
            internal_error(_WHERE, error)
        finally:
            self._server.listener.close()
            _running.discard(self)

    def _abandon(self) -> None:
        """Let go of what a forked child has inherited: the thread that serves it has stayed in the parent."""
        self._is_closed = True
        self._server.abandon()


_running: set[Exporter] = set()


def _abandon_all() -> None:
    while _running:
        _running.pop()._abandon()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_abandon_all)


def _report(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    internal_error(_WHERE, context.get("exception") or RuntimeError(context["message"]))
