"""Runs of jobs: what becomes of them is delivered, and nothing of that reaches the job."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
import signal
import threading
import time

import pytest
import trio
from prometheus_client import REGISTRY

from tests.processes import run_script
from vitalsign import Counter, Gauge
from vitalsign.exceptions import PushError, PushOptionError, PushRefusedError
from vitalsign.push import push_on_exit
from vitalsign.push._job import BatchJob
from vitalsign.push._termination import Terminated
from vitalsign.testing import fresh_registry


class Kept:
    """A destination that keeps what it is given, or fails."""

    kind = "kept"
    shown = "here"

    def __init__(self, error=None):
        self.error = error
        self.runs = []
        self.threads = []

    def deliver(self, page, *, succeeded, until):
        """Keep the values by name."""
        self.threads.append(threading.current_thread())
        self.runs.append((succeeded, {s.name: s.value for metric in page.collect() for s in metric.samples}))
        if self.error is not None:
            raise self.error


def job_to(destination, *, registry=None, job_metrics=True):
    """Return a job with this destination."""
    return BatchJob(
        destination, "report", registry=registry or fresh_registry(), job_metrics=job_metrics, deadline=10.0
    )


@pytest.fixture
def kept():
    """Return a destination."""
    return Kept()


@pytest.mark.parametrize(
    ("ending", "success"),
    [
        (None, True),
        (SystemExit(), True),
        (SystemExit(0), True),
        (SystemExit(3), False),
        (SystemExit("no rows"), False),
        (LookupError("no rows"), False),
        (KeyboardInterrupt(), False),
        (asyncio.CancelledError(), False),
    ],
)
def test_end_of_a_run_is_told(kept, ending, success):
    """A run succeeds if nothing but an exit without a status leaves its block, which goes on as it is."""
    caught = None
    try:
        with job_to(kept):
            if ending is not None:
                raise ending
    except BaseException as error:
        caught = error
    assert caught is ending
    ((succeeded, values),) = kept.runs
    assert succeeded == success == values["job_success"]
    assert values["job_duration_seconds"] >= 0
    assert ("job_last_success_timestamp_seconds" in values) == success
    if success:
        assert values["job_last_success_timestamp_seconds"] == values["job_last_run_timestamp_seconds"] > 1.7e9


def test_run_can_say_that_it_failed(kept):
    """A job that has caught its errors itself says that the run failed; the next run is a new one."""
    job = job_to(kept)
    with job as run:
        run.failed()
    with job:
        pass
    assert [succeeded for succeeded, _ in kept.runs] == [False, True]


def test_metrics_of_the_host_go_before(kept, registry):
    """A metric of the host that has the name of one of ours is delivered, and ours is not."""
    Gauge("job_success", "The host's own.", registry=registry).set(7)
    with job_to(kept, registry=registry):
        pass
    assert kept.runs[0][1]["job_success"] == 7
    assert "job_duration_seconds" in kept.runs[0][1]


def test_metrics_of_the_run_can_be_left_out(kept, registry):
    """Without job_metrics, only the registry's own metrics are delivered."""
    Gauge("rows", "Rows.", registry=registry).set(7)
    with job_to(kept, registry=registry, job_metrics=False):
        pass
    assert kept.runs == [(True, {"rows": 7})]


def test_decorated_function_is_a_run_each_time(kept):
    """A decorated function keeps its name, arguments and result, and each call is a run of its own."""

    @job_to(kept)
    def report(rows, *, scale=1):
        """Report."""
        return rows * scale

    assert report(3, scale=2) == 6
    with pytest.raises(TypeError):
        report(None, scale=None)
    assert [succeeded for succeeded, _ in kept.runs] == [True, False]
    assert (report.__name__, report.__doc__) == ("report", "Report.")
    assert list(inspect.signature(report).parameters) == ["rows", "scale"]


def test_runs_of_one_decorator_may_overlap(kept):
    """Calls of a decorated function at the same time, in threads, are as many runs."""
    together = threading.Barrier(5)

    @job_to(kept)
    def report(fails):
        together.wait(30)
        if fails:
            raise LookupError

    def call(number):
        with contextlib.suppress(LookupError):
            report(number % 2)

    threads = [threading.Thread(target=call, args=(number,)) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(succeeded for succeeded, _ in kept.runs) == [False, False, True, True, True]


def test_decorated_coroutine_is_delivered_off_the_loop(kept):
    """A decorated coroutine function stays one, its run lasts until it is done, and the loop goes on meanwhile."""

    @job_to(kept)
    async def report(rows):
        await asyncio.sleep(0.05)
        return rows

    assert inspect.iscoroutinefunction(report)
    assert asyncio.run(report(3)) == 3
    ((succeeded, values),) = kept.runs
    assert succeeded
    assert values["job_duration_seconds"] >= 0.05
    assert kept.threads[0] is not threading.main_thread()


def test_cancelled_coroutine_has_failed(kept):
    """A run whose task is cancelled is delivered as failed, and the task is cancelled."""

    async def main():
        async def report():
            async with job_to(kept):
                await asyncio.sleep(60)

        task = asyncio.create_task(report())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert [succeeded for succeeded, _ in kept.runs] == [False]


def test_other_event_loops_are_served(kept):
    """Under trio, which has no executor for us, the run is delivered in place."""

    async def main():
        async with job_to(kept):
            await trio.lowlevel.checkpoint()

    trio.run(main)
    assert [succeeded for succeeded, _ in kept.runs] == [True]


def test_generator_is_no_job(kept):
    """A generator function, sync or async, is refused with what to do."""

    def rows():
        yield 1

    async def async_rows():
        yield 1

    for function in (rows, async_rows):
        with pytest.raises(PushOptionError, match="Decorate what consumes it"):
            job_to(kept)(function)


# -- what goes wrong


def pushes(outcome):
    """Return how many deliveries to `kept` were counted."""
    return REGISTRY.get_sample_value("vitalsign_pushes_total", {"destination": "kept", "outcome": outcome}) or 0


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (PushRefusedError("here refuses rows_total. Rename it.", destination="here", status=400), "refused"),
        (PushError("here is gone.", destination="here"), "failed"),
    ],
)
def test_lost_metrics_are_logged_and_counted(caplog, error, outcome):
    """A delivery that fails is one line in the log each time, is counted, and does not reach the job."""
    before = pushes(outcome)
    for _ in range(2):
        with job_to(Kept(error)):
            pass
    assert [record.getMessage() for record in caplog.records] == [
        f"The metrics of job 'report' are lost: {error} The job itself is unharmed."
    ] * 2
    assert {record.levelno for record in caplog.records} == {logging.ERROR}
    assert pushes(outcome) == before + 2


def test_delivery_is_counted(kept):
    """A delivery that works is counted too."""
    before = pushes("success")
    with job_to(kept):
        pass
    assert pushes("success") == before + 1


def test_error_of_ours_does_not_reach_the_job():
    """Whatever a delivery raises, the job's own exception goes on, and the error is counted as internal."""

    def internal():
        return REGISTRY.get_sample_value("vitalsign_internal_errors_total", {"where": "push"}) or 0

    before = internal()
    with pytest.raises(LookupError), job_to(Kept(ZeroDivisionError())):
        raise LookupError
    assert internal() == before + 1


def test_host_may_hold_the_name_of_our_counter(kept, monkeypatch):
    """A name that the host has taken for another metric does not break the job."""

    def taken(*_, **__):
        raise ValueError("taken")

    monkeypatch.setattr("vitalsign.push._job.Counter", taken)
    with job_to(kept):
        pass
    assert len(kept.runs) == 1


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"job": ""}, "name of its job"),
        ({"grouping": {"job": "x"}}, "Give it as job= alone"),
        ({"grouping": {"a-b": "x"}}, "is no label name"),
        ({"grouping": {"__a": "x"}}, "is no label name"),
        ({"grouping": {"a@base64": "x"}}, "is no label name"),
        ({"grouping": "a=b"}, "Give a dict"),
        ({"method": "PATCH"}, "Use 'PUT' or 'POST'"),
        ({"deadline": 0}, "above 0"),
        ({"deadline": -1.0}, "above 0"),
        ({"deadline": float("nan")}, "above 0"),
        ({"deadline": float("inf")}, "above 0"),
        ({"deadline": "10"}, "Give seconds"),
        ({"registry": None}, "Give a CollectorRegistry"),
    ],
)
def test_option_that_makes_no_sense_is_refused_before_the_job(options, complaint):
    """A mistake in the options is an error when the job is declared, not when it ends."""
    with pytest.raises(PushOptionError, match=complaint):
        push_on_exit("http://gateway", **{"job": "report", **options})


def test_unknown_option_is_refused():
    """A misspelt option is an error that names those that there are."""
    with pytest.raises(TypeError, match=r"There is no option 'pasword'.*basic_auth, token, headers, tls"):
        push_on_exit("http://gateway", job="report", pasword="x")


def test_gateway_that_never_answers_holds_the_job_for_the_deadline(serve, registry, caplog):
    """A gateway that accepts and says nothing holds the job's end up for the deadline, and not for ever."""
    started = time.monotonic()
    with pytest.raises(LookupError), push_on_exit(serve(None).url, job="report", registry=registry, deadline=1.0):
        raise LookupError
    assert time.monotonic() - started < 20
    assert "are lost" in caplog.text


def test_hanging_collector_does_not_take_the_time_of_the_push(serve, registry):
    """A collector that hangs is left out after half of the deadline; the rest arrives."""
    forever = threading.Event()

    class Hanging:
        def describe(self):
            return []

        def collect(self):
            forever.wait()
            return []

    registry.register(Hanging())
    Counter("rows", "Rows.", registry=registry).inc(3)
    server = serve()
    with push_on_exit(server.url, job="report", registry=registry, deadline=3.0):
        pass
    forever.set()
    (request,) = server.requests
    assert b"\nrows_total 3.0\n" in request
    assert b"\njob_success 1.0\n" in request


# -- SIGTERM


@pytest.fixture
def sigterm():
    """Put back the handler for SIGTERM that was there, when the test ends."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # forgets what is pending
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    signal.signal(signal.SIGTERM, before)


def test_sigterm_ends_the_block(kept, sigterm):
    """Where SIGTERM has no handler it ends the block, and is raised again when the metrics are delivered."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    with pytest.raises(Terminated) as caught, job_to(kept):
        signal.raise_signal(signal.SIGTERM)
    assert caught.value.code == 128 + signal.SIGTERM
    assert signal.sigpending() == {signal.SIGTERM}
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    assert kept.runs[0][0] is False


@pytest.fixture(autouse=True)
def blocked_when_raised_again(request, monkeypatch):
    """Let the signal that would end this process wait, as it does for the first process of a container."""
    if "sigterm" in request.fixturenames:
        raise_signal = signal.raise_signal

        def raise_later(number):
            if signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:
                signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
            raise_signal(number)

        monkeypatch.setattr("vitalsign.push._termination.signal.raise_signal", raise_later)


def test_handler_that_was_there_is_called_and_put_back(kept, sigterm):
    """A handler of the host's is called with each signal at once, and is in its place again after the block."""
    calls = []

    def handler(number, frame):
        calls.append(number)

    signal.signal(signal.SIGTERM, handler)
    with job_to(kept):
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
        assert calls == [signal.SIGTERM] * 2
    assert signal.getsignal(signal.SIGTERM) is handler
    assert kept.runs[0][0] is True


def test_signal_during_the_delivery_reaches_the_handler_after_it(sigterm):
    """A signal that comes while metrics are delivered reaches the host's handler when they are."""
    order = []

    class Slow(Kept):
        def deliver(self, page, *, succeeded, until):
            signal.raise_signal(signal.SIGTERM)
            order.append("delivered")

    signal.signal(signal.SIGTERM, lambda *_: order.append("handled"))
    with job_to(Slow()):
        pass
    assert order == ["delivered", "handled"]


def test_handler_set_in_the_block_stays(kept, sigterm):
    """A handler that the job itself has set is not taken away at its end."""

    def handler(number, frame):
        pass

    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    with job_to(kept):
        signal.signal(signal.SIGTERM, handler)
    assert signal.getsignal(signal.SIGTERM) is handler


def test_ignored_signal_stays_ignored(kept, sigterm):
    """Where SIGTERM is ignored it still is in the block."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with job_to(kept):
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_IGN
        signal.raise_signal(signal.SIGTERM)
    assert kept.runs[0][0] is True


def test_jobs_in_other_threads_leave_signals_alone(kept, sigterm):
    """Python allows handlers in the main thread only; a job in another one runs without."""
    before = signal.getsignal(signal.SIGTERM)
    seen = []

    def work():
        with job_to(kept):
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]
    assert kept.runs[0][0] is True


def test_nested_jobs_are_all_delivered(sigterm):
    """SIGTERM in the inner of two jobs ends and delivers both."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    outer, inner = Kept(), Kept()
    with pytest.raises(Terminated), job_to(outer), job_to(inner):
        signal.raise_signal(signal.SIGTERM)
    assert [runs[0][0] for runs in (outer.runs, inner.runs)] == [False, False]
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_forked_child_is_not_the_job(tmp_path):
    """A forked child that leaves the block delivers nothing, and SIGTERM ends it as if there were no job."""
    run_script(
        """
        import os, pathlib, signal, sys, time
        from vitalsign.push import textfile_on_exit

        def fork(work):
            pid = os.fork()
            if pid == 0:
                work()
                os._exit(0)
            return pid

        def ended(pid):
            return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

        path = pathlib.Path(sys.argv[1])
        with textfile_on_exit(path, job="report") as job:
            assert ended(fork(lambda: job.__exit__(None, None, None))) == 0
            assert not path.exists()
            for _ in range(200):  # at any moment of the child's first steps
                child = fork(lambda: time.sleep(60))
                os.kill(child, signal.SIGTERM)
                assert ended(child) == -signal.SIGTERM
            assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == set()
        assert path.exists()
        """,
        str(tmp_path / "report.prom"),
    )
