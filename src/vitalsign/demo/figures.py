"""The demo's figures, read from the same metrics that Prometheus scrapes."""

from __future__ import annotations

from collections import defaultdict, deque
from dataclasses import dataclass
from math import inf
from time import monotonic
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from prometheus_client import CollectorRegistry
    from prometheus_client.samples import Sample

__all__ = ["Figures", "Meter", "quantile"]

_REQUESTS = "http_requests_total"
_BUCKETS = "http_request_duration_seconds_bucket"
_JOBS = "worker_jobs_total"
_DEPTH = "queue_depth"
_ENDED = ("success", "failure")  # a job that is to be tried again has not ended
_WINDOW = 10.0  # seconds


@dataclass(frozen=True, slots=True)
class Figures:
    """
    How the shop is doing.

    Attributes:
        elapsed: Seconds since the start.
        requests: Requests since the start.
        failed: Those of them that were answered with 5xx.
        jobs: Jobs that have ended since the start.
        queue_depth: Jobs that wait.
        rate: Requests per second.
        error_ratio: Share of requests that were answered with 5xx; None without requests.
        p95: Seconds that 95 % of requests stay below, interpolated as by `histogram_quantile`; infinite past the last
            bucket, None without requests.
    """

    elapsed: float
    requests: int
    failed: int
    jobs: int
    queue_depth: int
    rate: float
    error_ratio: float | None
    p95: float | None


@dataclass(frozen=True, slots=True)
class _Snapshot:
    at: float
    requests: float
    failed: float
    buckets: Mapping[float, float]  # cumulative, by upper bound
    jobs: float
    queue_depth: float


class Meter:
    """Read the figures of the shop from *registry*, from now on."""

    def __init__(self, registry: CollectorRegistry, clock: Callable[[], float] = monotonic) -> None:
        self._registry = registry
        self._clock = clock
        self._start = self._look()
        self._recent = deque([self._start])

    def now(self) -> Figures:
        """Return the figures; rate, errors and p95 are those of the last 10 seconds."""
        latest = self._look()
        self._recent.append(latest)
        while len(self._recent) > 1 and self._recent[1].at <= latest.at - _WINDOW:
            self._recent.popleft()
        return self._figures(self._recent[0], latest)

    def total(self) -> Figures:
        """Return the figures; rate, errors and p95 are those of the whole time."""
        return self._figures(self._start, self._look())

    def _figures(self, since: _Snapshot, latest: _Snapshot) -> Figures:
        requests = latest.requests - since.requests
        seconds = latest.at - since.at
        return Figures(
            elapsed=latest.at - self._start.at,
            requests=round(latest.requests - self._start.requests),
            failed=round(latest.failed - self._start.failed),
            jobs=round(latest.jobs - self._start.jobs),
            queue_depth=round(latest.queue_depth),
            rate=requests / seconds if seconds else 0.0,
            error_ratio=(latest.failed - since.failed) / requests if requests else None,
            p95=quantile(0.95, {bound: n - since.buckets.get(bound, 0) for bound, n in latest.buckets.items()}),
        )

    def _look(self) -> _Snapshot:
        metrics = self._registry.restricted_registry([_REQUESTS, _BUCKETS, _JOBS, _DEPTH]).collect()
        series: defaultdict[str, list[Sample]] = defaultdict(list)
        for sample in (sample for metric in metrics for sample in metric.samples):
            series[sample.name].append(sample)
        buckets: defaultdict[float, float] = defaultdict(float)
        for sample in series[_BUCKETS]:
            buckets[float(sample.labels["le"])] += sample.value
        return _Snapshot(
            at=self._clock(),
            requests=_sum(series[_REQUESTS]),
            failed=_sum(sample for sample in series[_REQUESTS] if sample.labels["status"].startswith("5")),
            buckets=buckets,
            jobs=_sum(sample for sample in series[_JOBS] if sample.labels["outcome"] in _ENDED),
            queue_depth=_sum(series[_DEPTH]),
        )


def quantile(share: float, buckets: Mapping[float, float]) -> float | None:
    """
    Estimate a quantile as PromQL's `histogram_quantile` does: evenly spread inside its bucket.

    Args:
        share: 0.95 for the 95th percentile.
        buckets: Number of observations up to each bound, +Inf included.

    Returns:
        The quantile, infinite past the last finite bound; None without observations.
    """
    observations = max(buckets.values(), default=0)
    if not observations:
        return None
    rank = share * observations
    lower, below = 0.0, 0.0
    for bound, up_to in sorted(buckets.items()):
        if up_to >= rank:
            return bound if bound == inf else lower + (bound - lower) * (rank - below) / (up_to - below)
        lower, below = bound, up_to
    return inf


def _sum(samples: Iterable[Sample]) -> float:
    return sum(sample.value for sample in samples)
