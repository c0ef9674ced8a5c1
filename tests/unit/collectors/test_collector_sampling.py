"""Sampling off the scrape: intervals, deadlines, failures, staleness, forks, and the end of the interpreter."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from contextlib import suppress

import pytest
from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily

from tests.processes import forked, run_script
from tests.servers import wait_until
from vitalsign.collectors import SampledCollector
from vitalsign.metrics import generate_latest
from vitalsign.testing import sample_value

FOREVER = 3600.0


def up(registry, name="probe"):
    """Return whether the collector is shown as up."""
    return sample_value(registry, "vitalsign_collector_up", collector=name)


def failures(registry, reason, name="probe"):
    """Return how many samples of the collector failed for *reason*."""
    return sample_value(registry, "vitalsign_collector_errors_total", collector=name, reason=reason)


def samplers():
    """Return the threads that take samples."""
    return [thread for thread in threading.enumerate() if thread.name == "vitalsign-sampler"]


# -- when samples are taken


def test_first_scrape_has_values(registry, probe):
    """Binding waits for the first sample, so the first scrape shows it, and the collector as up."""
    probe(lambda: 7).bind(registry)
    assert sample_value(registry, "probe_value") == 7
    assert up(registry) == 1


def test_scrape_measures_nothing(registry, probe):
    """However often the page is scraped, the function is asked once per interval, and never on the scraping thread."""
    threads = []
    probe(lambda: threads.append(threading.current_thread()) or 1, refresh=FOREVER).bind(registry)
    for _ in range(20):
        generate_latest(registry)
    (thread,) = threads
    assert thread is not threading.current_thread()
    assert thread.daemon


def test_values_are_renewed(registry, probe):
    """At each interval the value is measured again."""
    values = iter(range(1_000_000))
    probe(lambda: next(values), refresh=0.01).bind(registry)
    wait_until(lambda: sample_value(registry, "probe_value") >= 5, "five samples")


def test_self_metrics_tell_duration_and_last_success(registry, probe):
    """How long the last sample took, and when one last succeeded, are metrics."""
    before = time.time()
    probe(lambda: 1).bind(registry)
    duration = sample_value(registry, "vitalsign_collector_sample_duration_seconds", collector="probe")
    success = sample_value(registry, "vitalsign_collector_last_success_timestamp_seconds", collector="probe")
    assert 0 <= duration < 30
    assert before <= success <= time.time()
    assert failures(registry, "error") == failures(registry, "timeout") == 0


# -- failures


def test_failed_sample_keeps_the_last_value_and_is_counted(registry, probe):
    """A function that starts to raise leaves its last value shown for a while; the collector is down at once."""
    answers = iter([7])
    probe(lambda: next(answers), refresh=0.2, deadline=30).bind(registry)
    wait_until(lambda: failures(registry, "error") >= 1, "a failure")
    assert up(registry) == 0
    assert sample_value(registry, "probe_value") == 7


def test_stale_value_is_dropped(registry, probe):
    """A value that could not be renewed for three intervals is shown no more; the page and the collector live on."""
    is_broken = threading.Event()

    def measure():
        if is_broken.is_set():
            raise ConnectionError("broker is down")
        return 7

    probe(measure, refresh=0.05, deadline=0.05).bind(registry)
    is_broken.set()
    wait_until(lambda: sample_value(registry, "probe_value") is None, "the value to be dropped")
    assert up(registry) == 0
    is_broken.clear()
    wait_until(lambda: sample_value(registry, "probe_value") == 7, "the value to come back")
    wait_until(lambda: up(registry) == 1, "the collector to be up")


def test_outage_is_logged_once(registry, probe, caplog):
    """Each outage is logged once, with its exception, however many samples fail in it."""
    is_broken = threading.Event()
    is_broken.set()

    def measure():
        if is_broken.is_set():
            raise ConnectionError("broker is down")
        return 1

    with caplog.at_level(logging.WARNING, "vitalsign"):
        probe(measure, refresh=0.01).bind(registry)
        wait_until(lambda: failures(registry, "error") >= 5, "five failures")
        assert [record.exc_info[0] for record in caplog.records] == [ConnectionError]
        is_broken.clear()
        wait_until(lambda: up(registry) == 1, "recovery")
        is_broken.set()
        wait_until(lambda: up(registry) == 0, "the second outage")
        assert len(caplog.records) == 2
    assert "Collector probe" in caplog.text


def test_what_came_before_the_failure_counts(registry, request):
    """Metrics that were yielded before the exception are shown, although the collector is down."""

    class Half(SampledCollector):
        def describe(self):
            return [GaugeMetricFamily("first_half", "One."), GaugeMetricFamily("second_half", "Two.")]

        def collect(self):
            yield GaugeMetricFamily("first_half", "One.", value=1)
            raise LookupError("no second half")

    request.addfinalizer(Half("half").bind(registry).unbind)
    assert sample_value(registry, "first_half") == 1
    assert sample_value(registry, "second_half") is None
    assert up(registry, "half") == 0


def test_metric_that_is_not_returned_any_more_goes_at_once(registry, request):
    """When a sample succeeds without a metric that the one before had, that metric's values are gone."""

    class Vanishing(SampledCollector):
        taken = 0

        def describe(self):
            return [GaugeMetricFamily("stays", "One."), GaugeMetricFamily("goes", "Two.")]

        def collect(self):
            self.taken += 1
            yield GaugeMetricFamily("stays", "One.", value=self.taken)
            if self.taken == 1:
                yield GaugeMetricFamily("goes", "Two.", value=1)

    request.addfinalizer(Vanishing("v", refresh=0.1, deadline=30).bind(registry).unbind)
    assert sample_value(registry, "goes") == 1
    wait_until(lambda: sample_value(registry, "stays") > 2, "further samples")
    assert sample_value(registry, "goes") is None


@pytest.mark.parametrize("answer", [None, "many", object(), [1]])
def test_answer_that_is_no_number_is_a_failure(registry, probe, answer):
    """What is no number would break the page: it is a failed sample instead."""
    probe(lambda: answer).bind(registry)
    assert failures(registry, "error") == 1
    assert b"probe_value" in generate_latest(registry)
    assert sample_value(registry, "probe_value") is None


def test_label_values_become_text(registry, request):
    """Label values of any type are turned into strings, as in instruments: a number would break the page."""

    class Ports(SampledCollector):
        def describe(self):
            return [GaugeMetricFamily("open_ports", "Ports.", labels=["port"])]

        def collect(self):
            (ports,) = self.describe()
            ports.add_metric([8000], True)
            return [ports]

    request.addfinalizer(Ports("ports").bind(registry).unbind)
    assert b'open_ports{port="8000"} 1.0' in generate_latest(registry)


def test_undescribed_metric_is_a_failure(registry, request, caplog):
    """A metric that describe() does not mention is refused, with its name, instead of slipping past the registry."""

    class Surprising(SampledCollector):
        def describe(self):
            return [GaugeMetricFamily("announced", "Announced.")]

        def collect(self):
            return [GaugeMetricFamily("surprise", "Not announced.", value=1)]

    request.addfinalizer(Surprising("s").bind(registry).unbind)
    assert failures(registry, "error", "s") == 1
    assert "'surprise', which its describe() does not mention" in caplog.text


def test_series_of_a_metric_are_capped(registry, request, caplog):
    """A metric with more than 2,000 series shows the first 2,000, and the collector says why it is down."""

    class Exploding(SampledCollector):
        def describe(self):
            return [GaugeMetricFamily("visits", "Visits.", labels=["visitor"])]

        def collect(self):
            (visits,) = self.describe()
            for visitor in range(2_500):
                visits.add_metric([str(visitor)], 1)
            return [visits]

    request.addfinalizer(Exploding("e").bind(registry).unbind)
    (visits,) = [metric for metric in registry.collect() if metric.name == "visits"]
    assert len(visits.samples) == 2_000
    assert up(registry, "e") == 0
    assert "more than the 2000 that one collector may show" in caplog.text


def test_collector_without_a_way_to_measure_is_a_failure(registry, request, caplog):
    """A subclass with neither collect() nor sample() is told which methods it needs."""

    class Unfinished(SampledCollector):
        def describe(self):
            return [GaugeMetricFamily("unfinished", "Unfinished.")]

    request.addfinalizer(Unfinished("u").bind(registry).unbind)
    assert failures(registry, "error", "u") == 1
    assert "Unfinished needs a method collect() or async sample()" in caplog.text


def test_exit_inside_a_sample_ends_nothing(registry, probe):
    """A function that calls sys.exit() is a failed sample; sampling goes on."""
    calls = []

    def leave():
        calls.append(1)
        raise SystemExit(1)

    probe(leave, refresh=0.01).bind(registry)
    wait_until(lambda: len(calls) >= 3, "three samples")
    assert up(registry) == 0


# -- functions that hang


@pytest.fixture
def gate():
    """Return an event that hanging functions wait for, set when the test ends."""
    event = threading.Event()
    yield event
    event.set()


def test_hanging_sample_is_given_up_and_others_go_on(registry, probe, request, gate):
    """Past its deadline a sample is a timeout, counted once; there is one at a time, and other collectors go on."""

    class Other(SampledCollector):
        taken = 0

        def describe(self):
            return [GaugeMetricFamily("other_samples", "Samples.")]

        def collect(self):
            self.taken += 1
            return [GaugeMetricFamily("other_samples", "Samples.", value=self.taken)]

    calls = []

    def hang():
        calls.append(1)
        gate.wait()
        return 1

    probe(hang, refresh=0.01, deadline=0.05).bind(registry)
    wait_until(lambda: failures(registry, "timeout") == 1, "the timeout")
    request.addfinalizer(Other("other", refresh=0.01).bind(registry).unbind)
    wait_until(lambda: sample_value(registry, "other_samples") >= 10, "ten samples of the other")
    assert len(calls) == 1
    assert failures(registry, "timeout") == 1
    assert failures(registry, "error") == 0
    assert up(registry) == 0
    assert up(registry, "other") == 1


def test_many_hanging_samples_leave_room(registry, request, gate):
    """Ten collectors that hang do not keep an eleventh from being sampled."""

    class Hanging(SampledCollector):
        def describe(self):
            return [GaugeMetricFamily("hanging", "Never answers.")]

        def collect(self):
            gate.wait()
            return []

    class Healthy(SampledCollector):
        def describe(self):
            return [GaugeMetricFamily("healthy", "Answers.")]

        def collect(self):
            return [GaugeMetricFamily("healthy", "Answers.", value=1)]

    for number in range(10):
        request.addfinalizer(Hanging(f"hanging-{number}", refresh=0.01, deadline=0.01).bind(registry).unbind)
    request.addfinalizer(Healthy("healthy").bind(registry).unbind)
    assert sample_value(registry, "healthy") == 1


def test_late_answer_is_thrown_away(registry, request, gate):
    """What a function returns after its deadline is not shown: nobody knows when that was measured."""
    is_over = threading.Event()

    class Late(SampledCollector):
        def describe(self):
            return [GaugeMetricFamily("late", "Comes late.")]

        def collect(self):
            gate.wait()
            try:
                yield GaugeMetricFamily("late", "Comes late.", value=1)
            finally:
                is_over.set()

    request.addfinalizer(Late("late", refresh=FOREVER, deadline=0.05).bind(registry).unbind)
    wait_until(lambda: failures(registry, "timeout", "late") == 1, "the timeout")
    gate.set()
    assert is_over.wait(30)
    assert sample_value(registry, "late") is None
    assert up(registry, "late") == 0


def test_collector_that_hung_comes_back(registry, probe, gate):
    """When a function that hung answers at last, it is asked again, and its collector is up."""
    probe(lambda: gate.wait() and 2, refresh=0.05, deadline=0.05).bind(registry)
    wait_until(lambda: failures(registry, "timeout") == 1, "the timeout")
    gate.set()
    wait_until(lambda: sample_value(registry, "probe_value") == 2, "the next sample")
    wait_until(lambda: up(registry) == 1, "the collector to be up")


def test_bind_waits_no_longer_than_the_deadline(registry, probe, gate):
    """Binding returns when the deadline has passed without a first sample; nothing is raised."""
    probe(lambda: gate.wait() and 1, deadline=0.05).bind(registry)
    assert sample_value(registry, "probe_value") is None


def test_unbind_does_not_wait_for_a_hanging_sample(registry, probe, gate):
    """Unbinding while a sample hangs returns at once, and what the sample returns later shows up nowhere."""
    ended = threading.Event()

    def hang():
        gate.wait()
        ended.set()
        return 1

    collector = probe(hang, deadline=0.01).bind(registry)
    collector.unbind()
    gate.set()
    assert ended.wait(30)
    assert generate_latest(registry) == b""


def test_no_sample_after_unbind(registry, probe):
    """Once it is unbound, nothing calls the function again, and with nothing to do there are no threads."""
    calls = []
    collector = probe(lambda: calls.append(1) or 1, refresh=0.01).bind(registry)
    wait_until(lambda: len(calls) > 3, "some samples")
    collector.unbind()
    wait_until(lambda: not samplers(), "the threads to end")
    count = len(calls)
    collector.bind(registry)
    assert len(calls) > count


def test_threads_stay_few(registry, request):
    """Fifty collectors at rest are served by a few threads."""

    class Quick(SampledCollector):
        def describe(self):
            return [GaugeMetricFamily("quick", "Answers at once.")]

        def collect(self):
            return [GaugeMetricFamily("quick", "Answers at once.", value=1)]

    for number in range(50):
        request.addfinalizer(Quick(f"quick-{number}").bind(registry).unbind)
    wait_until(lambda: len(samplers()) <= 2, "the threads to be few")


# -- collectors that await


class Awaiting(SampledCollector):
    """Show how often a coroutine was run, and on how many event loops."""

    def __init__(self, work=None, **options):
        super().__init__("awaiting", **options)
        self.work = work
        self.loops = []

    def describe(self):
        """Return the gauge."""
        return [GaugeMetricFamily("awaited", "Times awaited.")]

    async def sample(self):
        """Do the work, and return how often that was."""
        self.loops.append(asyncio.get_running_loop())
        if self.work is not None:
            await self.work()
        return [GaugeMetricFamily("awaited", "Times awaited.", value=len(self.loops))]


def test_async_samples_share_one_private_loop(registry):
    """An async sample() runs on one event loop of the collector's own each time, which unbinding closes."""
    with Awaiting(refresh=0.01).bind(registry) as collector:
        wait_until(lambda: sample_value(registry, "awaited") >= 3, "three samples")
    (loop,) = set(collector.loops)
    wait_until(loop.is_closed, "the loop to be closed")


def test_async_collector_binds_inside_a_running_loop(registry):
    """Binding from a coroutine takes the first sample on another loop than the caller's."""

    async def main():
        with Awaiting().bind(registry) as collector:
            assert sample_value(registry, "awaited") == 1
            return collector.loops[0] is asyncio.get_running_loop()

    assert asyncio.run(main()) is False


def test_async_sample_is_cancelled_at_its_deadline(registry):
    """Past its deadline an async sample is cancelled, which is one timeout and no error, and the next one is taken."""
    cancelled = []

    async def sleep():
        try:
            await asyncio.sleep(FOREVER)
        except asyncio.CancelledError:
            cancelled.append(1)
            raise

    with Awaiting(sleep, refresh=0.01, deadline=0.05).bind(registry) as collector:
        wait_until(lambda: len(cancelled) >= 5, "five cancelled samples")
        wait_until(lambda: failures(registry, "timeout", "awaiting") >= 5, "five timeouts")
        assert failures(registry, "timeout", "awaiting") <= len(collector.loops)
        assert failures(registry, "error", "awaiting") == 0
        assert up(registry, "awaiting") == 0


def test_async_sample_that_blocks_its_loop_is_given_up(registry, gate):
    """A coroutine that blocks its thread is a timeout like any other, and other async collectors go on."""

    async def block():
        gate.wait()

    stuck, free = Awaiting(block, deadline=0.01), Awaiting(refresh=0.01)
    free.name = "free"
    with stuck.bind(registry), free.bind(registry):
        wait_until(lambda: len(free.loops) >= 3, "samples of the free one")
        assert failures(registry, "timeout", "awaiting") == 1
        assert up(registry, "free") == 1


# -- processes


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_forked_child_samples_again_once_it_is_scraped(registry, probe):
    """A forked child starts no thread by itself; its first scrape does, and shows nothing of its parent's."""
    parent = os.getpid()
    go_on = threading.Event()

    def measure():
        if os.getpid() != parent:
            go_on.wait()
        return os.getpid()

    probe(measure, refresh=0.05).bind(registry)
    assert sample_value(registry, "probe_value") == parent

    def child():
        before = len(samplers()), sample_value(registry, "probe_value"), up(registry)
        go_on.set()
        wait_until(lambda: sample_value(registry, "probe_value") == os.getpid(), "a sample of the child")
        wait_until(lambda: up(registry) == 1, "the child's collector to be up")
        return before

    assert forked(child) == (0, None, None)
    assert sample_value(registry, "probe_value") == parent
    assert up(registry) == 1


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_fork_while_a_sample_hangs(registry, probe, gate):
    """A child that was forked while a sample hung in its parent samples all the same."""
    parent = os.getpid()

    def measure():
        if os.getpid() == parent:
            gate.wait()
        return os.getpid()

    probe(measure, refresh=0.05, deadline=0.05).bind(registry)

    def child():
        wait_until(lambda: sample_value(registry, "probe_value") == os.getpid(), "a sample of the child")
        return True

    assert forked(child)


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
@pytest.mark.parametrize("samples", [True, False])
def test_forked_child_leaves_the_parents_loop_alone(registry, samples):
    """A forked child samples on a loop of its own, and closes it and what it inherited; the parent's goes on."""
    with Awaiting(lambda: asyncio.to_thread(bool), refresh=0.01, deadline=FOREVER).bind(registry) as collector:
        parents_loop = collector.loops[0]

        def child():
            before = len(collector.loops)
            if samples:
                sample_value(registry, "awaited")
                wait_until(lambda: len(collector.loops) > before + 1, "samples of the child")
            collector.unbind()
            with suppress(RuntimeError):  # it was forked in the middle of a sample
                parents_loop.close()
            return parents_loop not in collector.loops[before:]

        assert forked(child)
        before = len(collector.loops)
        wait_until(lambda: len(collector.loops) > before + 2, "samples of the parent")
        assert set(collector.loops) == {parents_loop}


@pytest.mark.parametrize("kind", ["collect", "sample"])
def test_interpreter_exits_at_once(kind):
    """Neither a sample that hangs nor one that is due keeps the interpreter from ending, or prints anything."""
    script = f"""
        import sys, threading
        from prometheus_client import CollectorRegistry
        from prometheus_client.core import GaugeMetricFamily
        from vitalsign.collectors import SampledCollector

        class Hanging(SampledCollector):
            def describe(self):
                return [GaugeMetricFamily("hanging", "Never answers.")]
            {"async " if kind == "sample" else ""}def {kind}(self):
                threading.Event().wait()

        class Busy(Hanging):
            {"async " if kind == "sample" else ""}def {kind}(self):
                return [GaugeMetricFamily("hanging", "Answers.", value=1)]

        registry = CollectorRegistry()
        Hanging("hanging", deadline=0.01).bind(registry)
        for number in range(20):
            Busy(f"busy-{{number}}", refresh=0.0001).bind(registry)
        print("done")
    """
    started = time.monotonic()
    printed = run_script(script)
    assert printed.startswith("done\n")
    assert "Traceback" not in printed
    assert time.monotonic() - started < 30


def test_metric_of_a_kind_that_cannot_be_told_is_refused(registry):
    """A metric of an unknown kind is refused at bind, which leaves nothing behind."""

    class Unknown(SampledCollector):
        def describe(self):
            return [GaugeMetricFamily("known", "Known."), Metric("unknown", "Unknown.", "unknown")]

    with pytest.raises(ValueError, match="of kind 'unknown', which a collector cannot publish"):
        Unknown("u").bind(registry)
    assert generate_latest(registry) == b""
