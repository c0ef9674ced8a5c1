"""The three ways to deliver a job's metrics when it ends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vitalsign.metrics.registry import REGISTRY
from vitalsign.push._gateway import Gateway, Method
from vitalsign.push._job import LAST_SUCCESS, BatchJob
from vitalsign.push._remote_write import RemoteWriter
from vitalsign.push._textfile import Textfile

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping
    from typing import Unpack

    from vitalsign.push._credentials import ConnectionOptions

__all__ = ["push_on_exit", "remote_write_on_exit", "textfile_on_exit"]


def push_on_exit(
    url: str,
    *,
    job: str,
    grouping: Mapping[str, str] | None = None,
    registry: Any = REGISTRY,
    method: Method | None = None,
    delete_on_success: bool = False,
    job_metrics: bool = True,
    deadline: float = 10.0,
    **connection: Unpack[ConnectionOptions],
) -> BatchJob:
    """
    Push the metrics of a job to a Pushgateway when it ends: by itself, by an exception, or by SIGTERM.

    What goes wrong with that is logged and counted; the job ends as it would have without.

    ```python
    with push_on_exit("http://pushgateway:9091", job="nightly-report"):
        ...
    ```

    Args:
        url: Address of the gateway.
        job: Label `job` of everything that is pushed.
        grouping: Further labels of everything; with `job`, they are the key of the group.
        registry: What is pushed; of all processes, where they share their metrics.
        method: PUT replaces the whole group, POST only the metrics of the same names. None replaces after a success,
            and merges after a failure, so that the time of the last success stays.
        delete_on_success: Whether a success deletes the group in place of pushing, for a gateway that shows only what
            has failed.
        job_metrics: Whether to add how and when the job ended, see `BatchJob`.
        deadline: Seconds that the end may take; half of them for collecting.
        connection: See `ConnectionOptions`.

    Raises:
        PushOptionError: An option makes no sense.
    """
    gateway = Gateway(
        url,
        job=job,
        grouping=grouping,
        method=method,
        delete_on_success=delete_on_success,
        connection=connection,
    )
    return BatchJob(gateway, job, registry=registry, job_metrics=job_metrics, deadline=deadline)


def textfile_on_exit(
    path: str | os.PathLike[str],
    *,
    job: str,
    labels: Mapping[str, str] | None = None,
    registry: Any = REGISTRY,
    job_metrics: bool = True,
    deadline: float = 10.0,
) -> BatchJob:
    """
    Write the metrics of a job to a file for node_exporter when it ends, as `push_on_exit` pushes them.

    Args:
        path: The file; its name ends in `.prom`.
        job: Label `job` of every series.
        labels: Further labels of every series.
        registry: What is written.
        job_metrics: Whether to add how and when the job ended, see `BatchJob`. A failed run keeps the time of the last
            success that the file holds.
        deadline: Seconds that the end may take; half of them for collecting.

    Raises:
        PushOptionError: An option makes no sense.
    """
    file = Textfile(path, {"job": job, **(labels or {})}, LAST_SUCCESS if job_metrics else "")
    return BatchJob(file, job, registry=registry, job_metrics=job_metrics, deadline=deadline)


def remote_write_on_exit(
    url: str,
    *,
    job: str,
    labels: Mapping[str, str] | None = None,
    registry: Any = REGISTRY,
    job_metrics: bool = True,
    deadline: float = 10.0,
    **connection: Unpack[ConnectionOptions],
) -> BatchJob:
    """
    Send the metrics of a job by Prometheus remote write when it ends, as `push_on_exit` pushes them.

    Args:
        url: Where writes are taken, such as `http://prometheus:9090/api/v1/write`.
        job: Label `job` of every series.
        labels: Further labels of every series.
        registry: What is sent.
        job_metrics: Whether to add how and when the job ended, see `BatchJob`.
        deadline: Seconds that the end may take; half of them for collecting.
        connection: See `ConnectionOptions`.

    Raises:
        PushOptionError: An option makes no sense.
        MissingExtraError: cramjam is not installed.
    """
    writer = RemoteWriter(url, job=job, labels=labels, connection=connection)
    return BatchJob(writer, job, registry=registry, job_metrics=job_metrics, deadline=deadline)
