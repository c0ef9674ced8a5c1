"""Blocks that measure: timer, count_exceptions, track_inprogress, as context managers and as decorators."""

from __future__ import annotations

import asyncio
import contextlib
import inspect

import prometheus_client
import pytest
from prometheus_client import REGISTRY

from vitalsign import Counter, Gauge, Histogram, Summary, timer
from vitalsign.exceptions import MetricError
from vitalsign.metrics import timing
from vitalsign.metrics.timing import Stopwatch, timed


@pytest.fixture
def clock(monkeypatch):
    """Return a clock that stands until it is told how many seconds pass."""

    class Clock:
        now = 100.0

        def pass_by(self, seconds: float) -> None:
            self.now += seconds

    clock = Clock()
    monkeypatch.setattr(timing, "perf_counter", lambda: clock.now)
    return clock


class _Recorder:
    """A metric of the host's own: whatever can be observed."""

    def __init__(self):
        self.observed = []

    def observe(self, amount):
        self.observed.append(amount)


class _Broken:
    """A metric of the host's own that takes nothing."""

    def observe(self, amount):
        raise RuntimeError("full")


def counted(where):
    """Return how often something failed at *where*."""
    return REGISTRY.get_sample_value("vitalsign_internal_errors_total", {"where": where}) or 0


# -- timer, as a block


def test_timer_measures_a_block(registry, clock):
    """The seconds in a `with` block are observed, once."""
    with timer(Histogram("h", "h", registry=registry)):
        clock.pass_by(0.25)
    assert registry.get_sample_value("h_sum") == 0.25
    assert registry.get_sample_value("h_count") == 1


def test_timer_measures_an_async_block(registry, clock):
    """`async with` measures as `with` does, and gives the timer too."""

    async def work():
        async with timer(Histogram("h", "h", registry=registry)) as t:
            clock.pass_by(0.25)
        return t.elapsed

    assert asyncio.run(work()) == registry.get_sample_value("h_sum") == 0.25


def test_timer_measures_real_time(registry):
    """Without a fake clock, a block that waits for 50 ms is observed with at least that."""

    async def work():
        async with timer(Histogram("h", "h", registry=registry)):
            await asyncio.sleep(0.05)

    asyncio.run(work())
    assert 0.049 < registry.get_sample_value("h_sum") < 30


def test_elapsed_grows_until_the_block_ends(clock):
    """`elapsed` is 0 before the block, the time so far in it, and stands still after it."""
    t = timer(_Recorder())
    clock.pass_by(1)
    assert t.elapsed == 0
    with t as entered:
        assert entered is t
        clock.pass_by(2)
        assert t.elapsed == 2
        clock.pass_by(1)
    clock.pass_by(4)
    assert t.elapsed == t.duration == 3


def test_timer_can_be_used_again(clock):
    """A timer that has ended measures the next block from its start."""
    recorder = _Recorder()
    t = timer(recorder)
    for seconds in (1, 2):
        with t:
            assert t.elapsed == 0
            clock.pass_by(seconds)
    assert recorder.observed == [1, 2]
    assert t.elapsed == 2


def test_timers_can_be_nested(clock):
    """A timer inside the block of another measures its own block only."""
    recorder = _Recorder()
    with timer(recorder):
        clock.pass_by(1)
        with timer(recorder):
            clock.pass_by(2)
    assert recorder.observed == [2, 3]


def test_timers_of_concurrent_tasks_are_apart():
    """A hundred tasks, each in a block of its own at once, observe a hundred times, each its own time."""

    async def work(barrier):
        async with timer(_Recorder()) as t:
            await barrier.wait()
        first = t.elapsed
        await asyncio.sleep(0)
        return t.elapsed == first > 0

    async def main():
        barrier = asyncio.Barrier(100)
        return await asyncio.gather(*[work(barrier) for _ in range(100)])

    assert asyncio.run(main()) == [True] * 100


def test_timer_observes_blocks_that_raise(clock):
    """A block that raises is observed, and its exception passes unchanged."""
    recorder = _Recorder()
    error = KeyError("x")

    def block():
        with timer(recorder):
            clock.pass_by(1)
            raise error

    with pytest.raises(KeyError) as caught:
        block()
    assert caught.value is error
    assert recorder.observed == [1]


def test_timer_sets_a_gauge(registry, clock):
    """A gauge is set to the seconds, also one with labels."""
    gauge = Gauge("g", "g", ["job"], registry=registry)
    with timer(gauge.labels("backup")):
        clock.pass_by(2)
    assert registry.get_sample_value("g", {"job": "backup"}) == 2


@pytest.mark.parametrize("kind", [Summary, prometheus_client.Histogram, prometheus_client.Summary])
def test_timer_takes_whatever_observes(registry, clock, kind):
    """A summary observes, as do the metrics of prometheus_client."""
    with timer(kind("m", "m", registry=registry)):
        clock.pass_by(2)
    assert registry.get_sample_value("m_sum") == 2


def test_timer_sets_a_gauge_of_prometheus_client(registry, clock):
    """A gauge of prometheus_client is set."""
    with timer(prometheus_client.Gauge("g", "g", registry=registry)):
        clock.pass_by(2)
    assert registry.get_sample_value("g") == 2


@pytest.mark.parametrize("kind", [Histogram, prometheus_client.Histogram])
def test_labels_can_be_chosen_inside_the_block(registry, clock, kind):
    """A metric without label values takes them from within the block, by place or by name."""
    metric = kind("h", "h", ["outcome"], registry=registry)
    with timer(metric) as t:
        clock.pass_by(1)
        t.labels("hit")
    with timer(metric) as t:
        t.labels(outcome="miss")
    assert registry.get_sample_value("h_sum", {"outcome": "hit"}) == 1
    assert registry.get_sample_value("h_count", {"outcome": "miss"}) == 1


@pytest.mark.parametrize("kind", [Histogram, prometheus_client.Histogram, Gauge])
def test_missing_label_values_are_an_error_at_the_end_of_the_block(registry, kind):
    """A metric whose label values were never given is an error that names them, once the block is through."""
    metric = kind("m", "m", ["outcome"], registry=registry)
    with pytest.raises(MetricError, match="m metric is missing label values: it has the labels outcome"), timer(metric):
        done = True
    assert done


def test_metric_that_records_no_time_is_an_error_at_the_end_of_the_block(registry):
    """A counter cannot record a time; the error says what can."""
    with (
        pytest.raises(MetricError, match=r"can record no time\. Give a Histogram, a Summary or a Gauge"),
        timer(Counter("c", "c", registry=registry)),
    ):
        pass


def test_wrong_metric_does_not_replace_the_blocks_exception(registry):
    """When the block raises, that is what the caller gets, whatever is wrong with the metric too."""
    before = counted("timer")
    with pytest.raises(KeyError), timer(Histogram("h", "h", ["outcome"], registry=registry)):
        raise KeyError
    assert counted("timer") == before + 1


def test_metric_that_fails_leaves_the_block_alone():
    """A metric of the host's that raises is counted as an internal error; the block goes on, elapsed is known."""
    before = counted("timer")
    with timer(_Broken()) as t:
        pass
    assert t.elapsed > 0
    assert counted("timer") == before + 1


# -- timer, as a decorator


def kinds_of(work):
    """Return a function of each kind that does *work*, and how to run it to its end."""

    def plain():
        work()

    async def coroutine():
        work()

    def generator():
        work()
        yield
        work()

    async def async_generator():
        work()
        yield
        work()

    async def consume(function):
        async for _ in function():
            pass

    return {
        "plain": (plain, lambda function: function()),
        "coroutine": (coroutine, lambda function: asyncio.run(function())),
        "generator": (generator, lambda function: list(function())),
        "async generator": (async_generator, lambda function: asyncio.run(consume(function))),
    }


every_kind = pytest.mark.parametrize("kind", ["plain", "coroutine", "generator", "async generator"])


@every_kind
@pytest.mark.parametrize("metric", [Histogram, Summary])
def test_time_decorates_every_kind_of_function(registry, clock, kind, metric):
    """`@h.time()` observes each call once, with the seconds inside it."""
    function, run = kinds_of(lambda: clock.pass_by(1))[kind]
    decorated = metric("m", "m", registry=registry).time()(function)
    run(decorated)
    run(decorated)
    assert registry.get_sample_value("m_count") == 2
    assert registry.get_sample_value("m_sum") == (4 if "generator" in kind else 2)


@every_kind
def test_timer_decorates_every_kind_of_function(registry, clock, kind):
    """`@timer(gauge)` sets the gauge to the seconds inside the last call."""
    function, run = kinds_of(lambda: clock.pass_by(1))[kind]
    run(timer(Gauge("g", "g", registry=registry))(function))
    assert registry.get_sample_value("g") == (2 if "generator" in kind else 1)


def test_decorating_timer_is_shared_by_concurrent_calls(clock):
    """Calls that overlap, recursion included, are each measured from their own start."""
    recorder = _Recorder()

    @timer(recorder)
    def countdown(number):
        clock.pass_by(1)
        if number:
            countdown(number - 1)

    countdown(2)
    assert recorder.observed == [1, 2, 3]


def test_decorating_with_missing_label_values_is_refused(registry):
    """A decorator without label values is an error where it stands, not at each call."""
    with pytest.raises(MetricError, match=r"missing label values: it has the labels outcome\. Give its \.labels"):
        Histogram("h", "h", ["outcome"], registry=registry).time()(lambda: None)


def test_decorating_with_a_metric_that_records_no_time_is_refused(registry):
    """A counter as the metric of a decorator is an error where it stands."""
    with pytest.raises(MetricError, match="can record no time"):
        timer(Counter("c", "c", registry=registry))(lambda: None)


@every_kind
def test_metric_that_fails_leaves_the_call_alone(kind):
    """A metric of the host's that raises is counted under the function's name; the call goes on."""
    done = []
    function, run = kinds_of(lambda: done.append(True))[kind]
    where = f"decorator of {function.__qualname__}"
    before = counted(where)
    run(timed(function, _Broken().observe))
    assert done
    assert counted(where) == before + 1


def test_failing_metric_does_not_replace_the_calls_exception():
    """A call that raises, and whose metric then raises too, raises its own exception without the other's context."""
    error = KeyError("x")

    def fail():
        raise error

    with pytest.raises(KeyError) as caught:
        timed(fail, _Broken().observe)()
    assert caught.value is error
    assert error.__context__ is None


def test_stopwatch_leaves_pauses_out(clock):
    """What passes between pause and resume is not measured."""
    recorder = _Recorder()
    watch = Stopwatch(recorder.observe)
    for _ in range(2):
        clock.pass_by(1)
        watch.pause()
        clock.pass_by(10)
        watch.resume()
    clock.pass_by(1)
    watch.finish(None)
    assert recorder.observed == [3]


# -- count_exceptions and track_inprogress


def test_count_exceptions_counts_what_leaves_a_block(registry):
    """A block that raises counts once, one that does not counts nothing; the exception passes."""
    counter = Counter("c", "c", registry=registry)
    with counter.count_exceptions():
        pass
    with pytest.raises(KeyError), counter.count_exceptions():
        raise KeyError
    assert registry.get_sample_value("c_total") == 1


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit, asyncio.CancelledError])
def test_count_exceptions_leaves_out_what_only_ends_things(registry, error):
    """What is no Exception is not counted, unless it is asked for."""
    counter = Counter("c", "c", registry=registry)
    with pytest.raises(error), counter.count_exceptions():
        raise error
    assert registry.get_sample_value("c_total") == 0
    with pytest.raises(error), counter.count_exceptions(BaseException):
        raise error
    assert registry.get_sample_value("c_total") == 1


@every_kind
def test_count_exceptions_decorates_every_kind_of_function(registry, kind):
    """Only the classes meant are counted, whatever kind of function they leave."""
    errors = iter([KeyError(), ValueError(), IndexError()])

    def work():
        raise next(errors)

    function, run = kinds_of(work)[kind]
    decorated = Counter("c", "c", registry=registry).count_exceptions((KeyError, IndexError))(function)
    for expected in (KeyError, ValueError, IndexError):
        with pytest.raises(expected):
            run(decorated)
    assert registry.get_sample_value("c_total") == 2


def test_track_inprogress_follows_a_block(registry):
    """The gauge is up inside the block and down after it, also when it raises."""
    gauge = Gauge("g", "g", registry=registry)
    inside = []
    with contextlib.suppress(KeyError), gauge.track_inprogress():
        inside.append(registry.get_sample_value("g"))
        raise KeyError
    assert (inside, registry.get_sample_value("g")) == ([1], 0)


@every_kind
def test_track_inprogress_decorates_every_kind_of_function(registry, kind):
    """The gauge is up while the body runs and down after it, whatever kind of function."""
    gauge = Gauge("g", "g", registry=registry)
    inside = []
    function, run = kinds_of(lambda: inside.append(registry.get_sample_value("g")))[kind]
    run(gauge.track_inprogress()(function))
    assert set(inside) == {1}
    assert registry.get_sample_value("g") == 0


def test_generator_is_in_progress_while_it_is_paused(registry):
    """A generator counts as in progress from its first step until it is closed."""
    gauge = Gauge("g", "g", registry=registry)

    @gauge.track_inprogress()
    def numbers():
        yield 1
        yield 2

    made = numbers()
    before = registry.get_sample_value("g")
    next(made)
    during = registry.get_sample_value("g")
    made.close()
    assert (before, during, registry.get_sample_value("g")) == (0, 1, 0)


@pytest.mark.parametrize("make", ["time", "count_exceptions", "track_inprogress"])
def test_blocks_keep_what_they_decorate(registry, make):
    """A coroutine function stays one under each of them, with its name."""
    kind = {"time": Histogram, "count_exceptions": Counter, "track_inprogress": Gauge}[make]

    @getattr(kind("m", "m", registry=registry), make)()
    async def work(): ...

    assert inspect.iscoroutinefunction(work)
    assert work.__name__ == "work"
