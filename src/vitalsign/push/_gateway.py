"""The Pushgateway: it keeps what jobs push, by group, for Prometheus to scrape."""

from __future__ import annotations

import base64
import re
import time
from typing import TYPE_CHECKING, Any, Literal, get_args

from vitalsign.exceptions import PushOptionError
from vitalsign.metrics.catalogue import encodable
from vitalsign.metrics.exposition import CONTENT_TYPE
from vitalsign.metrics.registry import REGISTRY
from vitalsign.push._endpoint import Endpoint
from vitalsign.push._page import Page, checked_labels, checked_seconds

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Unpack

    from vitalsign.push._credentials import ConnectionOptions

__all__ = ["Gateway", "Method", "delete", "push"]

Method = Literal["PUT", "POST"]
"""PUT replaces the whole group, POST only the metrics of the same names."""

_PLAIN = re.compile(r"[A-Za-z0-9_~-][A-Za-z0-9_.~-]*").fullmatch


def push(
    url: str,
    *,
    job: str,
    grouping: Mapping[str, str] | None = None,
    registry: Any = REGISTRY,
    method: Method = "PUT",
    deadline: float = 10.0,
    **connection: Unpack[ConnectionOptions],
) -> None:
    """
    Push the metrics of *registry* to a Pushgateway; of all processes, where they share their metrics.

    While the gateway cannot be reached, or answers 5xx or 429, it is tried again, with growing pauses or those that it
    asks for.

    Args:
        url: Address of the gateway, such as `http://pushgateway:9091`.
        job: Label `job` of everything that is pushed.
        grouping: Further labels of everything; with `job`, they are the key of the group.
        registry: What is pushed.
        method: PUT replaces the whole group, POST only the metrics of the same names.
        deadline: Seconds that it may take in all; half of them for collecting.
        connection: See `ConnectionOptions`.

    Raises:
        PushRefusedError: The gateway refuses the metrics, or the credentials.
        PushError: The gateway did not take them in time.
        PushOptionError: An option makes no sense.
    """
    gateway = Gateway(url, job=job, grouping=grouping, method=method, connection=connection)
    until = time.monotonic() + checked_seconds(deadline)
    gateway.push(Page(registry, deadline=deadline / 2), method, until)


def delete(
    url: str,
    *,
    job: str,
    grouping: Mapping[str, str] | None = None,
    deadline: float = 10.0,
    **connection: Unpack[ConnectionOptions],
) -> None:
    """
    Delete a group from a Pushgateway; one that is not there is no error.

    Args:
        url: Address of the gateway.
        job: Label `job` of the group.
        grouping: Its further labels: all of them, for a group with more is another one.
        deadline: Seconds that it may take in all.
        connection: See `ConnectionOptions`.

    Raises:
        PushRefusedError: The gateway refuses that, or the credentials.
        PushError: The gateway did not do it in time.
        PushOptionError: An option makes no sense.
    """
    gateway = Gateway(url, job=job, grouping=grouping, connection=connection)
    gateway.delete(time.monotonic() + checked_seconds(deadline))


class Gateway:
    """
    One group of a Pushgateway, as the destination of a job's metrics.

    Args:
        url: Address of the gateway.
        job: Label `job` of the group.
        grouping: Its further labels.
        method: How to push; None replaces the group after a success and merges into it after a failure, so that the
            time of the last success stays.
        delete_on_success: Whether a success deletes the group in place of pushing.
        connection: How to be let in.

    Raises:
        PushOptionError: An option makes no sense.
    """

    kind = "pushgateway"

    def __init__(
        self,
        url: str,
        *,
        job: str,
        grouping: Mapping[str, str] | None,
        method: Method | None = None,
        delete_on_success: bool = False,
        connection: ConnectionOptions,
    ) -> None:
        if method is not None and method not in get_args(Method):
            raise PushOptionError(f"method={method!r} is not understood. Use 'PUT' or 'POST'.")
        self._path = _path(job, checked_labels("grouping", grouping))
        self._endpoint = Endpoint(url, connection)
        self._method = method
        self._delete_on_success = delete_on_success
        self.shown = self._endpoint.shown

    def deliver(self, page: Page, *, succeeded: bool, until: float) -> None:
        """Push the metrics of a job that has ended, or delete what earlier ones left."""
        if succeeded and self._delete_on_success:
            self.delete(until)
        else:
            self.push(page, self._method or ("PUT" if succeeded else "POST"), until)

    def push(self, page: Page, method: Method, until: float) -> None:
        """Push *page* until *until*, by `time.monotonic()`."""
        self._endpoint.send(method, self._path, page.text(), {"Content-Type": CONTENT_TYPE}, until=until)

    def delete(self, until: float) -> None:
        """Delete the group."""
        self._endpoint.send("DELETE", self._path, until=until)


def _path(job: str, grouping: Mapping[str, str]) -> str:
    """Write the key of a group as a path."""
    if not job:
        raise PushOptionError("A push needs the name of its job: job= is empty.")
    if "job" in grouping:
        raise PushOptionError("The label 'job' stands in grouping. Give it as job= alone.")
    labels = {"job": encodable(job), **grouping}
    return "/metrics" + "".join(_segment(name, value) for name, value in labels.items())


def _segment(name: str, value: str) -> str:
    """Write one label of the key; what a path cannot carry (nothing, slashes, dots alone, letters) in base64."""
    if _PLAIN(value):
        return f"/{name}/{value}"
    encoded = base64.urlsafe_b64encode(value.encode()).decode().rstrip("=")
    return f"/{name}@base64/{encoded or '='}"
