"""Prometheus remote write 1.0, for jobs that have no gateway."""

from __future__ import annotations

import re
import time
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Any

from vitalsign._clock import wall
from vitalsign.exceptions import PushOptionError, PushRefusedError
from vitalsign.metrics.catalogue import classic_label, encodable
from vitalsign.metrics.registry import REGISTRY
from vitalsign.push._endpoint import Endpoint
from vitalsign.push._page import Page, checked_labels, checked_seconds, labelled
from vitalsign.push._write_request import STALE, Series, encode

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Unpack

    from prometheus_client.samples import Sample

    from vitalsign.push._credentials import ConnectionOptions

__all__ = ["RemoteWriter", "remote_write"]

_HEADERS = {
    "Content-Encoding": "snappy",
    "Content-Type": "application/x-protobuf",
    "X-Prometheus-Remote-Write-Version": "0.1.0",  # what version 1.0 of the protocol calls itself
}
_BATCH = 2000  # series of a request, as Prometheus itself sends them
_NOT_IN_NAME = re.compile(r"^(?=\d)|[^a-zA-Z0-9_:]").sub
_WORTH_GOING_ON = 400  # some series are refused; others may not be


def remote_write(
    url: str,
    *,
    job: str,
    labels: Mapping[str, str] | None = None,
    registry: Any = REGISTRY,
    timestamp: datetime | float | None = None,
    stale: bool = False,
    deadline: float = 10.0,
    **connection: Unpack[ConnectionOptions],
) -> None:
    """
    Send the metrics of *registry* to Prometheus, VictoriaMetrics, Mimir or whatever takes Prometheus's remote write.

    A sample is one moment: five minutes later, a query for the present no longer sees it, and asks with
    `last_over_time(…[2d])`.

    Args:
        url: Where writes are taken, such as `http://prometheus:9090/api/v1/write`.
        job: Label `job` of every series.
        labels: Further labels of every series, such as `instance`. A series that has one of that name itself keeps it
            as `exported_…`.
        registry: What is sent; of all processes, where they share their metrics.
        timestamp: The time of all samples, as Unix time or an aware datetime; None is now. A series' times must grow.
        stale: Whether to say that the series have ended in place of their values, so that they leave the graphs now
            and not in five minutes.
        deadline: Seconds that it may take in all; half of them for collecting.
        connection: See `ConnectionOptions`.

    Raises:
        PushRefusedError: The server refuses some of the series, or the credentials. What it says is in the text.
        PushError: The server did not take them in time.
        PushOptionError: An option makes no sense.
        MissingExtraError: cramjam is not installed.
    """
    writer = RemoteWriter(url, job=job, labels=labels, connection=connection)
    moment = _milliseconds(timestamp)
    until = time.monotonic() + checked_seconds(deadline)
    writer.write(Page(registry, deadline=deadline / 2), moment, until, stale=stale)


class RemoteWriter:
    """
    A server that takes remote writes, as the destination of a job's metrics.

    Args:
        url: Where writes are taken.
        job: Label `job` of every series.
        labels: Further labels of every series.
        connection: How to be let in.

    Raises:
        PushOptionError: An option makes no sense.
        MissingExtraError: cramjam is not installed.
    """

    kind = "remote_write"

    def __init__(self, url: str, *, job: str, labels: Mapping[str, str] | None, connection: ConnectionOptions) -> None:
        from vitalsign.push._snappy import compress  # not every push needs it

        if not job:
            raise PushOptionError("A remote write needs the name of its job: job= is empty.")
        self._compress = compress
        self._endpoint = Endpoint(url, connection)
        self._labels = {"job": encodable(job), **checked_labels("labels", labels)}
        self.shown = self._endpoint.shown

    def deliver(self, page: Page, *, succeeded: bool, until: float) -> None:  # noqa: ARG002  # of any destination
        """Write the metrics of a job that has ended."""
        self.write(page, _milliseconds(None), until)

    def write(self, page: Page, moment: int, until: float, *, stale: bool = False) -> None:
        """
        Write *page* in requests of bounded size; where one is refused for what is in it, the others are still sent.

        Args:
            page: What is written.
            moment: Milliseconds since 1970.
            until: When the time is over, by `time.monotonic()`.
            stale: Whether to say that the series have ended.

        Raises:
            PushRefusedError: Something is refused; the first refusal is raised when all has been sent.
            PushError: The server did not take all in time.
        """
        series = self._series(page, moment, stale=stale)
        refused = None
        while batch := list(islice(series, _BATCH)):
            try:
                self._endpoint.send("POST", "", self._compress(encode(batch)), _HEADERS, until=until)
            except PushRefusedError as error:
                if error.status != _WORTH_GOING_ON:
                    raise
                refused = refused or error
        if refused is not None:
            raise refused

    def _series(self, page: Page, moment: int, *, stale: bool) -> Iterator[Series]:
        for metric in page.collect():
            for sample in metric.samples:
                if getattr(sample, "native_histogram", None) is None:  # they are not in this version of the protocol
                    yield Series(self._labels_of(sample), STALE if stale else sample.value, moment)

    def _labels_of(self, sample: Sample) -> dict[str, str]:
        own = {classic_label(name): encodable(str(value)) for name, value in sample.labels.items()}
        named = {**labelled(own, self._labels), "__name__": _NOT_IN_NAME("_", sample.name)}
        return {name: value for name, value in named.items() if value}  # an empty label is none


def _milliseconds(timestamp: datetime | float | None) -> int:
    """
    Return Unix time in milliseconds.

    Raises:
        PushOptionError: It is no time, or one before 1970.
    """
    seconds = wall() if timestamp is None else timestamp
    if isinstance(seconds, datetime):
        if seconds.tzinfo is None:
            raise PushOptionError(
                f"timestamp={timestamp!r} has no timezone. Use datetime.now(timezone.utc) or the like."
            )
        seconds = seconds.timestamp()
    if not 0 <= seconds < 2**53 / 1000:
        raise PushOptionError(f"timestamp={timestamp!r} is not understood. Give Unix time in seconds, or a datetime.")
    return int(seconds * 1000)
