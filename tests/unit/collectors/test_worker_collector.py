"""WorkerCollector: every way in which a job can end, each counted once."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client import REGISTRY

from vitalsign.collectors import WorkerCollector
from vitalsign.metrics import generate_latest
from vitalsign.testing import sample_value

WHO = {"worker": "pricing", "queue": "backtests"}
JOB = {**WHO, "type": "backtest"}


@pytest.fixture
def worker(registry):
    """Return a bound worker collector."""
    return WorkerCollector("pricing", queue="backtests").bind(registry)


@pytest.fixture
def value(registry):
    """Return a function that reads a series of the job type `backtest`."""
    return lambda name, **labels: sample_value(registry, name, **(JOB | labels))


def outcomes(value):
    """Return how many jobs ended in each outcome, those with none left out."""
    counts = {
        outcome: value("worker_jobs_total", outcome=outcome)
        for outcome in ("success", "failure", "retried", "cancelled")
    }
    return {outcome: count for outcome, count in counts.items() if count}


def test_job_that_succeeds(worker, value):
    """A job is in progress inside the block, and a timed success after it."""
    with worker.job("backtest"):
        assert value("worker_jobs_in_progress") == 1
    assert value("worker_jobs_in_progress") == 0
    assert value("worker_job_duration_seconds_count") == 1
    assert outcomes(value) == {"success": 1}


def test_job_that_raises(worker, value):
    """An exception passes through, is counted by its class, and is a failure."""
    with pytest.raises(ZeroDivisionError), worker.job("backtest"):
        1 / 0  # noqa: B018
    assert outcomes(value) == {"failure": 1}
    assert value("worker_job_errors_total", error="ZeroDivisionError") == 1
    assert value("worker_job_duration_seconds_count") == 1


@pytest.mark.parametrize("exception", [asyncio.CancelledError, GeneratorExit, KeyboardInterrupt, SystemExit])
def test_job_that_is_cancelled(worker, value, registry, exception):
    """What is no Exception, such as a cancellation, is an outcome of its own and no error."""
    with pytest.raises(exception), worker.job("backtest"):
        raise exception
    assert outcomes(value) == {"cancelled": 1}
    assert b"worker_job_errors_total{" not in generate_latest(registry)


def test_job_that_will_be_tried_again(worker, value):
    """A retry is an outcome of its own, so that it is no failure of the job, whose exception still is counted."""

    def work():
        with worker.job("backtest") as job:
            job.retried()
            raise LookupError

    with pytest.raises(LookupError):
        work()
    assert outcomes(value) == {"retried": 1}
    assert value("worker_job_retries_total") == 1
    assert value("worker_job_errors_total", error="LookupError") == 1


def test_job_that_is_given_up(worker, value):
    """A job that goes to the dead-letter queue is a failure, whether or not it raised."""
    with worker.job("backtest") as job:
        job.dead_lettered()
    assert outcomes(value) == {"failure": 1}
    assert value("worker_job_dead_letters_total") == 1


def test_retried_until_given_up(worker, value):
    """A job that is to be tried again and then given up is a failure."""
    with worker.job("backtest") as job:
        job.retried()
        job.dead_lettered()
    assert outcomes(value) == {"failure": 1}


def test_failure_that_was_caught_inside(worker, value):
    """A worker that catches its jobs' exceptions can still report them."""
    with worker.job("backtest") as job:
        job.failed(TimeoutError())
    assert outcomes(value) == {"failure": 1}
    assert value("worker_job_errors_total", error="TimeoutError") == 1


def test_async_with(worker, value):
    """The same block works for coroutines, and time that was awaited counts."""

    async def main():
        async with worker.job("backtest"):
            await asyncio.sleep(0.2)

    asyncio.run(main())
    assert outcomes(value) == {"success": 1}
    assert value("worker_job_duration_seconds_sum") >= 0.19


def test_counters_start_at_zero(worker, value):
    """From a type's first job on, its counters that alerts add up are there with 0."""
    with worker.job("backtest"):
        pass
    assert value("worker_jobs_total", outcome="failure") == 0
    assert value("worker_job_retries_total") == 0
    assert value("worker_job_dead_letters_total") == 0


# -- waiting time


def test_wait_is_recorded(worker, value):
    """The time from being enqueued to the start is the wait, given as Unix time."""
    with worker.job("backtest", enqueued_at=time.time() - 10):
        pass
    assert 10 <= value("worker_job_wait_seconds_sum") < 40
    assert value("worker_job_wait_seconds_count") == 1


def test_scheduled_delay_is_no_wait(worker, value):
    """A job that was meant to run later waits from then on."""
    now = datetime.now(UTC)
    with worker.job("backtest", enqueued_at=now - timedelta(hours=5), due_at=now - timedelta(seconds=10)):
        pass
    assert 10 <= value("worker_job_wait_seconds_sum") < 40


def test_clock_that_runs_ahead_gives_no_negative_wait(worker, value):
    """A job that seems to come from the future waited for 0 s."""
    with worker.job("backtest", enqueued_at=time.time() + 100):
        pass
    assert value("worker_job_wait_seconds_sum") == 0


def test_no_wait_without_a_time(worker, value):
    """A job that does not say when it was enqueued has no wait."""
    with worker.job("backtest"):
        pass
    assert value("worker_job_wait_seconds_count") is None


@pytest.mark.parametrize("moment", [datetime(2025, 1, 1), "yesterday", object()])
def test_time_that_cannot_be_understood_breaks_no_job(worker, value, moment):
    """A naive datetime or nonsense costs the wait, not the job."""
    with worker.job("backtest", enqueued_at=moment):
        pass
    assert value("worker_job_wait_seconds_count") is None
    assert outcomes(value) == {"success": 1}


# -- the worker itself


def test_worker_is_active_from_bind_on(worker, registry):
    """Binding makes the worker active, and gives its first sign of life; draining ends the first."""
    before = time.time()
    assert sample_value(registry, "worker_active", **WHO) == 1
    assert before - 30 < sample_value(registry, "worker_heartbeat_timestamp_seconds", **WHO) <= time.time()
    worker.set_active(False)
    assert sample_value(registry, "worker_active", **WHO) == 0


@pytest.mark.parametrize("sign", ["heartbeat", "job"])
def test_signs_of_life(worker, registry, sign):
    """A heartbeat and each job bring the time of the last sign of life up to now."""
    first = sample_value(registry, "worker_heartbeat_timestamp_seconds", **WHO)
    if sign == "heartbeat":
        worker.heartbeat()
    else:
        with worker.job("backtest"):
            pass
    assert sample_value(registry, "worker_heartbeat_timestamp_seconds", **WHO) > first


def test_unbound_worker_records_nothing_and_breaks_nothing():
    """Code that is instrumented runs the same when the collector is not bound."""
    worker = WorkerCollector("pricing")
    worker.heartbeat()
    worker.set_active(True)
    with worker.job("backtest", enqueued_at=0) as job:
        job.retried()
        job.dead_lettered()
        job.failed(ValueError())


def test_job_that_outlives_its_worker(registry, worker):
    """A job that ends after its worker was unbound brings none of its series back."""
    job = worker.job("backtest")
    job.__enter__()
    worker.unbind()
    job.__exit__(None, None, None)
    assert generate_latest(registry) == b""


def test_job_that_outlives_its_worker_beside_another(registry, worker):
    """The same, where another worker keeps the metrics on the registry."""
    with WorkerCollector("mail").bind(registry):
        job = worker.job("backtest")
        job.__enter__()
        worker.unbind()
        job.retried()
        job.dead_lettered()
        job.__exit__(ValueError, ValueError(), None)
        assert b"pricing" not in generate_latest(registry)


def test_two_collectors_of_one_worker_add_up(registry, worker, value):
    """Two collectors with the same labels count together; the series stay until both are unbound."""
    twin = WorkerCollector("pricing", queue="backtests").bind(registry)
    for each in (worker, twin):
        with each.job("backtest"):
            pass
    twin.unbind()
    assert outcomes(value) == {"success": 2}
    worker.unbind()
    assert generate_latest(registry) == b""


def test_many_types_stay_bounded(registry, worker):
    """Ids used as job types by mistake end in one series, and break no job."""
    for number in range(2_500):
        with worker.job(f"job-{number}"):
            pass
    overflow = sample_value(
        registry, "worker_job_duration_seconds_count", worker="__overflow__", queue="__overflow__", type="__overflow__"
    )
    assert overflow == 500


def test_errors_of_ours_stay_out_of_the_job(worker):
    """When recording fails, the job runs and its own exception passes; ours is counted as an internal error."""

    def internal_errors():
        return sample_value(REGISTRY, "vitalsign_internal_errors_total", where="collectors.worker") or 0

    def work():
        with worker.job("backtest") as job:
            job.retried()
            raise LookupError

    before = internal_errors()
    worker.metrics = "broken"
    with pytest.raises(LookupError):
        work()
    assert internal_errors() > before
