"""Something that listens on a TCP port."""

from __future__ import annotations

import socket
from functools import partial

from vitalsign.exceptions import HealthCheckError
from vitalsign.health._check import Check

__all__ = ["tcp"]


def tcp(host: str, port: int, *, timeout: float | None = None, name: str = "tcp") -> Check:
    """
    Check that a TCP connection can be opened. Not critical unless told otherwise, for what is there is shared.

    The address appears in the log only, the name also in metrics and details.

    Args:
        host: Name or address.
        port: 1 to 65535.
        timeout: Seconds to resolve the name and connect; None takes the checker's.
        name: Of the check; say what listens there.

    Raises:
        HealthCheckError: The port is none.
    """
    if not isinstance(port, int) or not 0 < port < 65536:
        raise HealthCheckError(f"{port!r} is no TCP port for check {name!r}. Give 1 to 65535.")
    return Check(
        name, partial(_connect, host, port), critical=False, timeout=timeout, external=True, takes_timeout=True
    )


def _connect(host: str, port: int, timeout: float) -> None:
    try:
        socket.create_connection((host, port), timeout).close()
    except OSError as error:
        error.add_note(f"while connecting to {host} port {port}")
        raise
