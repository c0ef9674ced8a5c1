"""track_time, count_calls, count_errors, track_inprogress, instrument: what they record, and what they refuse."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import functools
import inspect
import pickle

import prometheus_client
import pytest
from prometheus_client import REGISTRY, CollectorRegistry

import vitalsign
from vitalsign import (
    Counter,
    Gauge,
    Histogram,
    Info,
    Summary,
    count_calls,
    count_errors,
    instrument,
    timer,
    track_inprogress,
    track_time,
)
from vitalsign.exceptions import LabelError, MetricError
from vitalsign.metrics import timing

OWN = {
    track_time: "function_duration_seconds_count",
    count_calls: "function_calls_total",
    count_errors: "function_errors_total",
    track_inprogress: "function_in_progress",
}
"""What each decorator writes when it is given no metric."""

every_decorator = pytest.mark.parametrize("decorator", list(OWN), ids=lambda decorator: decorator.__name__)


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


def own(registry, name, function, **labels):
    """Return the value that *function* has in one of the library's own metrics."""
    names = {"module": __name__, "function": function.__qualname__}
    return registry.get_sample_value(name, {**names, **labels})


def counted(where):
    """Return how often something failed at *where*."""
    return REGISTRY.get_sample_value("vitalsign_internal_errors_total", {"where": where}) or 0


class Cart:
    """What is checked out."""

    def __init__(self, plan):
        self.plan = plan


# -- without a metric: the library's own


def test_bare_decorators_record_under_module_and_name(monkeypatch):
    """Without parentheses each decorator writes the library's own metric on the default registry."""

    @track_time
    @count_calls
    @count_errors
    @track_inprogress
    def quote():
        assert own(REGISTRY, "function_in_progress", quote) == 1
        raise KeyError

    with pytest.raises(KeyError):
        quote()
    assert own(REGISTRY, "function_duration_seconds_count", quote) == 1
    assert own(REGISTRY, "function_calls_total", quote) == 1
    assert own(REGISTRY, "function_errors_total", quote, error="KeyError") == 1
    assert own(REGISTRY, "function_in_progress", quote) == 0


@every_decorator
def test_empty_parentheses_mean_the_same(registry, decorator):
    """With parentheses the same metric is written, on the registry that is given."""

    @decorator(registry=registry)
    def quote():
        raise KeyError

    with pytest.raises(KeyError):
        quote()
    labels = {"error": "KeyError"} if decorator is count_errors else {}
    assert own(registry, OWN[decorator], quote, **labels) == (0 if decorator is track_inprogress else 1)


@pytest.mark.parametrize("decorator", [track_time, count_calls, track_inprogress])
def test_series_is_there_before_the_first_call(registry, decorator):
    """A decorated function is on the page with 0 before it is called, so that rates see its first call."""

    @decorator(registry=registry)
    def quote(): ...

    assert own(registry, OWN[decorator], quote) == 0


def test_function_goes_by_its_qualified_name(registry):
    """Methods are told apart by their class, a partial goes by what it calls, an object by its class."""

    class Shop:
        @count_calls(registry=registry)
        @classmethod
        def sell(cls): ...

        def __call__(self): ...

    Shop.sell()
    count_calls(registry=registry)(functools.partial(Cart, "free").func.__init__)(Shop(), "plan")
    count_calls(registry=registry)(functools.partial(functools.partial(Cart.__init__, Cart("x")), "free"))()
    count_calls(registry=registry)(Shop())()
    place = "test_function_goes_by_its_qualified_name.<locals>.Shop"
    calls = {
        sample.labels["function"]: sample.value
        for metric in registry.collect()
        for sample in metric.samples
        if sample.name == "function_calls_total"
    }
    assert calls == {f"{place}.sell": 1, "Cart.__init__": 2, place: 1}


@every_decorator
def test_own_metrics_take_no_further_labels(decorator):
    """labels= without a metric to have them is an error that says to give one."""
    with pytest.raises(MetricError, match=r"labels= needs a metric that has them, but function_\w+ has the labels mod"):
        decorator(labels={"plan": "free"})(lambda: None)


@pytest.mark.parametrize("decorator", [*OWN, instrument])
@pytest.mark.parametrize("target", [Cart, property(lambda self: self)])
def test_what_is_no_function_is_refused(decorator, target):
    """A class or property is refused, bare or in parentheses, and nothing is declared for it."""
    registry = CollectorRegistry()
    with pytest.raises(TypeError, match="it is no function"):
        decorator(target)
    with pytest.raises(TypeError, match="it is no function"):
        decorator(registry=registry)(target)
    assert list(registry.collect()) == []


# -- time


def test_awaited_work_is_recorded_as_long_as_it_took(registry):
    """A coroutine that sleeps for 200 ms is recorded as 0.2 s."""

    @track_time(registry=registry)
    async def wait():
        await asyncio.sleep(0.2)

    asyncio.run(wait())
    assert 0.199 < own(registry, "function_duration_seconds_sum", wait) < 30


def test_only_the_time_inside_a_generator_counts(registry, clock):
    """What the consumer does between two items is not the generator's time."""

    @track_time(registry=registry)
    def rows():
        for _ in range(3):
            clock.pass_by(1)
            yield

    for _ in rows():
        clock.pass_by(100)
    assert own(registry, "function_duration_seconds_sum", rows) == 3
    assert own(registry, "function_duration_seconds_count", rows) == 1


def test_only_the_time_inside_an_async_generator_counts(registry, clock):
    """Consumed slowly, an async generator is recorded with its own time, its awaits included."""

    async def fetch():
        clock.pass_by(1)
        await asyncio.sleep(0)

    @track_time(registry=registry)
    async def rows():
        for _ in range(3):
            await fetch()
            yield

    async def main():
        async for _ in rows():
            clock.pass_by(100)

    asyncio.run(main())
    assert own(registry, "function_duration_seconds_sum", rows) == 3


def test_generator_that_is_left_early_is_recorded(registry, clock):
    """A generator that its consumer closes is recorded with the time until then, its cleanup included."""

    @track_time(registry=registry)
    def rows():
        try:
            clock.pass_by(1)
            yield 1
        finally:
            clock.pass_by(2)

    with contextlib.closing(rows()) as made:
        next(made)
        clock.pass_by(100)
    assert own(registry, "function_duration_seconds_sum", rows) == 3


def test_failed_calls_are_timed_too(registry, clock):
    """The time of a call that raises is recorded."""

    @track_time(registry=registry)
    def fail():
        clock.pass_by(1)
        raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert own(registry, "function_duration_seconds_sum", fail) == 1


def test_calls_of_many_threads_and_tasks_are_all_recorded(registry):
    """A hundred coroutines at once, in each of four threads, are four hundred calls and none left in progress."""

    @track_time(registry=registry)
    @count_calls(registry=registry)
    @track_inprogress(registry=registry)
    async def work(barrier):
        await barrier.wait()

    async def main():
        barrier = asyncio.Barrier(100)
        await asyncio.gather(*[work(barrier) for _ in range(100)])

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: asyncio.run(main()), range(4)))
    assert own(registry, "function_duration_seconds_count", work) == 400
    assert own(registry, "function_calls_total", work) == 400
    assert own(registry, "function_in_progress", work) == 0


# -- metrics that are declared by name


def test_named_histogram_is_declared(registry):
    """A name and a help text declare a histogram with the labels and buckets given."""

    @track_time("checkout_seconds", "Time to check out.", labels={"plan": "free"}, buckets=(1, 2), registry=registry)
    def checkout(): ...

    checkout()
    (metric,) = registry.collect()
    assert (metric.name, metric.documentation) == ("checkout_seconds", "Time to check out.")
    assert {sample.labels["le"] for sample in metric.samples if "le" in sample.labels} == {"1.0", "2.0", "+Inf"}
    assert registry.get_sample_value("checkout_seconds_count", {"plan": "free"}) == 1


def test_named_counters_and_gauges_are_declared(registry):
    """A name and a help text declare a counter of calls, a counter of errors by class, and a gauge."""

    @count_calls("checkouts", "Checkouts.", registry=registry)
    @count_errors(
        "checkout_errors_total", "Failed checkouts.", labels={"plan": lambda cart: cart.plan}, registry=registry
    )
    @track_inprogress("checkouts_in_progress", "Checkouts now.", registry=registry)
    def checkout(cart):
        assert registry.get_sample_value("checkouts_in_progress") == 1
        raise TimeoutError

    with pytest.raises(TimeoutError):
        checkout(Cart("free"))
    assert registry.get_sample_value("checkouts_total") == 1
    assert registry.get_sample_value("checkout_errors_total", {"plan": "free", "error": "TimeoutError"}) == 1
    assert registry.get_sample_value("checkouts_in_progress") == 0


def test_two_functions_may_share_a_named_metric(registry):
    """Two functions that name the same metric write the same series."""
    for _ in range(2):
        count_calls("checkouts", "Checkouts.", registry=registry)(lambda: None)()
    assert registry.get_sample_value("checkouts_total") == 2


def test_max_series_bounds_the_labels(registry):
    """Past max_series, calls are counted under __overflow__."""

    @count_calls("calls", "Calls.", labels={"n": lambda number: number}, max_series=2, registry=registry)
    def call(number): ...

    for number in range(5):
        call(number)
    assert registry.get_sample_value("calls_total", {"n": "__overflow__"}) == 3


# -- labels from arguments


@pytest.mark.parametrize(
    "call",
    [
        lambda checkout: checkout("cart", "gold"),
        lambda checkout: checkout("cart", plan="gold"),
        lambda checkout: checkout(plan="gold", cart="cart"),
        lambda checkout: checkout("cart"),
    ],
    ids=["by position", "by keyword", "in another order", "by default"],
)
@every_decorator
def test_labels_are_computed_however_the_argument_is_passed(registry, decorator, call):
    """A label function gets the argument that it names, under every decorator."""

    @decorator("m", "m", labels={"plan": lambda plan: plan}, registry=registry)
    def checkout(cart, plan="gold"):
        raise KeyError

    with pytest.raises(KeyError):
        call(checkout)
    assert {
        sample.labels["plan"] for metric in registry.collect() for sample in metric.samples if "plan" in sample.labels
    } == {"gold"}


def test_labels_are_computed_for_every_kind_of_function(registry):
    """Coroutines, generators, async generators, methods and classmethods have computed labels too."""
    plans = Counter("calls", "Calls.", ["plan"], registry=registry)
    counted_by_plan = count_calls(plans, labels={"plan": lambda plan: plan})

    @counted_by_plan
    async def coroutine(plan): ...

    @counted_by_plan
    def generator(plan):
        yield

    @counted_by_plan
    async def async_generator(plan):
        yield

    class Shop:
        @counted_by_plan
        def method(self, plan): ...

        @counted_by_plan
        @classmethod
        def above(cls, plan): ...

        @staticmethod
        @counted_by_plan
        def below(plan): ...

    async def main():
        await coroutine("a")
        return [item async for item in async_generator("b")]

    asyncio.run(main())
    list(generator("c"))
    Shop().method("d")
    Shop.above(plan="e")
    Shop().below("f")
    for plan in "abcdef":
        assert registry.get_sample_value("calls_total", {"plan": plan}) == 1


def test_labels_may_come_from_self(registry):
    """A label function of a method may name self."""

    class Client:
        host = "db1"

        @track_time("query_seconds", "Queries.", labels={"host": lambda self: self.host}, registry=registry)
        def query(self): ...

    Client().query()
    assert registry.get_sample_value("query_seconds_count", {"host": "db1"}) == 1


def test_labels_are_taken_when_the_call_starts(registry):
    """A label is computed before the body runs, which may change the argument."""

    @count_errors("errors", "Errors.", labels={"plan": lambda cart: cart.plan}, registry=registry)
    def upgrade(cart):
        cart.plan = "gold"
        raise KeyError

    with pytest.raises(KeyError):
        upgrade(Cart("free"))
    assert registry.get_sample_value("errors_total", {"plan": "free", "error": "KeyError"}) == 1


def test_failing_label_function_leaves_the_call_alone(registry):
    """A label function that raises gives the label __error__ and is counted; the call goes on."""

    @track_time("seconds", "Seconds.", labels={"plan": lambda cart: cart.plan}, registry=registry)
    def free_checkout(cart):
        return "done"

    where = f"label plan of {free_checkout.__qualname__}"
    before = counted(where)
    assert free_checkout(None) == "done"
    assert registry.get_sample_value("seconds_count", {"plan": "__error__"}) == 1
    assert counted(where) == before + 1


def test_label_that_has_no_text_leaves_the_call_alone(registry):
    """A label value that cannot be turned into text is counted as a failure; the call goes on unrecorded."""

    class Silent:
        def __str__(self):
            raise RuntimeError

    @count_calls("calls", "Calls.", labels={"x": lambda x: x}, registry=registry)
    def say(x):
        return "said"

    where = f"decorator of {say.__qualname__}"
    before = counted(where)
    assert say(Silent()) == "said"
    assert counted(where) == before + 1


@every_decorator
def test_wrong_label_function_is_refused(registry, decorator):
    """A label function that names no argument is an error where it stands, which lists the arguments."""

    def checkout(cart, plan): ...

    with pytest.raises(LabelError, match=r"takes basket, but it gets only arguments of .*: cart, plan"):
        decorator("m", "m", labels={"x": lambda basket: basket}, registry=registry)(checkout)


def test_label_functions_see_through_other_decorators(registry):
    """Stacked decorators all find the arguments of the function at the bottom."""

    @track_time("seconds", "Seconds.", labels={"plan": lambda plan: plan}, registry=registry)
    @count_calls("calls", "Calls.", labels={"cart": lambda cart: cart}, registry=registry)
    @instrument(registry=registry)
    def checkout(cart, plan): ...

    checkout(1, plan="gold")
    assert registry.get_sample_value("seconds_count", {"plan": "gold"}) == 1
    assert registry.get_sample_value("calls_total", {"cart": "1"}) == 1


# -- metrics that exist


@pytest.mark.parametrize("kind", [Histogram, Summary, prometheus_client.Histogram, prometheus_client.Summary])
def test_time_goes_to_a_metric_that_exists(registry, clock, kind):
    """A metric without labels, a child, and a parent with labels= take the time, of either library."""
    alone = kind("alone", "Alone.", registry=registry)
    parent = kind("family", "Family.", ["plan"], registry=registry)
    for decorate in (
        track_time(alone),
        track_time(parent.labels("a")),
        track_time(parent, labels={"plan": "b"}),
        track_time(parent, labels={"plan": lambda plan: plan}),
    ):
        decorate(lambda plan: clock.pass_by(1))("c")
    assert registry.get_sample_value("alone_sum") == 1
    assert [registry.get_sample_value("family_sum", {"plan": plan}) for plan in "abc"] == [1, 1, 1]


@pytest.mark.parametrize("kind", [Gauge, prometheus_client.Gauge])
def test_time_sets_a_gauge(registry, clock, kind):
    """A gauge is set to the seconds of the last call, also with computed labels."""
    parent = kind("last", "Last.", ["plan"], registry=registry)
    track_time(parent, labels={"plan": lambda plan: plan})(lambda plan: clock.pass_by(2))("free")
    assert registry.get_sample_value("last", {"plan": "free"}) == 2


@pytest.mark.parametrize("kind", [Counter, prometheus_client.Counter])
def test_errors_go_to_a_counter_that_exists(registry, kind):
    """A counter counts errors with or without a label for their class, wherever that label stands."""
    alone = kind("alone", "Alone.", registry=registry)
    by_class = kind("by_class", "By class.", ["error", "plan"], registry=registry)
    by_plan = kind("by_plan", "By plan.", ["plan"], registry=registry)

    @count_errors(alone)
    @count_errors(by_class, labels={"plan": lambda plan: plan})
    @count_errors(by_plan, labels={"plan": lambda plan: plan})
    def fail(plan):
        raise KeyError

    with pytest.raises(KeyError):
        fail("free")
    assert registry.get_sample_value("alone_total") == 1
    assert registry.get_sample_value("by_class_total", {"error": "KeyError", "plan": "free"}) == 1
    assert registry.get_sample_value("by_plan_total", {"plan": "free"}) == 1


@pytest.mark.parametrize("kind", [Gauge, prometheus_client.Gauge])
def test_progress_goes_to_a_gauge_that_exists(registry, kind):
    """A gauge of either library goes up and down."""
    gauge = kind("now", "Now.", ["plan"], registry=registry)
    inside = []

    @track_inprogress(gauge, labels={"plan": lambda plan: plan})
    def work(plan):
        inside.append(registry.get_sample_value("now", {"plan": plan}))

    work("free")
    assert inside == [1]
    assert registry.get_sample_value("now", {"plan": "free"}) == 0


@every_decorator
@pytest.mark.parametrize("library", [vitalsign, prometheus_client])
def test_metric_without_its_label_values_is_refused(registry, decorator, library):
    """A metric whose label values are missing is an error where the decorator stands, which says how to give them."""
    kind = {track_time: "Histogram", track_inprogress: "Gauge"}.get(decorator, "Counter")
    metric = getattr(library, kind)("m", "m", ["plan"], registry=registry)
    with pytest.raises(MetricError, match=r"metric is missing label values: it has the labels plan\. Give .*labels="):
        decorator(metric)(lambda: None)


@every_decorator
def test_labels_that_are_not_the_metrics_are_refused(registry, decorator):
    """labels= that do not name the metric's labels are an error that names both."""
    kind = {track_time: Histogram, track_inprogress: Gauge}.get(decorator, Counter)
    metric = kind("m", "m", ["plan", "shop"], registry=registry)
    with pytest.raises(MetricError, match="has the labels plan, shop, but those given are plan, place"):
        decorator(metric, labels={"plan": "a", "place": "b"})(lambda: None)
    for complete in (metric.labels("a", "b"), kind("alone", "m", registry=registry)):
        with pytest.raises(MetricError, match="takes no label values"):
            decorator(complete, labels={"plan": "a", "shop": "b"})(lambda: None)


@pytest.mark.parametrize(
    ("decorator", "complaint"),
    [
        (track_time, "can record no time. Give a Histogram, a Summary or a Gauge"),
        (count_calls, r"has no inc\(\). Give a Counter"),
        (count_errors, r"has no inc\(\). Give a Counter"),
        (track_inprogress, r"has no inc\(\). Give a Gauge"),
    ],
)
def test_metric_that_cannot_record_it_is_refused(registry, decorator, complaint):
    """A metric of the wrong kind is an error where the decorator stands, which names the right kind."""
    for metric in (Info("i", "i", registry=registry), 5):
        with pytest.raises(MetricError, match=complaint):
            decorator(metric)(lambda: None)


def test_counter_cannot_follow_progress(registry):
    """A counter cannot go down again, so it is no metric for calls in progress."""
    with pytest.raises(MetricError, match=r"has no dec\(\). Give a Gauge"):
        track_inprogress(Counter("c", "c", registry=registry))(lambda: None)


def test_metric_of_the_hosts_that_fails_leaves_the_call_alone():
    """A metric of the host's own that raises is counted; the call goes on."""

    class Full:
        def observe(self, amount):
            raise OSError("disk full")

    @track_time(Full())
    def write():
        return "written"

    where = f"decorator of {write.__qualname__}"
    before = counted(where)
    assert write() == "written"
    assert counted(where) == before + 1


# -- errors


def fails_with(error, registry):
    """Return a function that raises *error*, decorated to count it."""

    @count_errors("errors", "Errors.", registry=registry)
    def fail():
        raise error

    return fail


@pytest.mark.parametrize("error", [KeyError, StopIteration, TimeoutError, ExceptionGroup("g", [KeyError()])])
def test_exceptions_are_counted_by_class(registry, error):
    """Each Exception is counted under its class's name."""
    name = type(error).__name__ if isinstance(error, Exception) else error.__name__
    with contextlib.suppress(Exception):
        fails_with(error, registry)()
    assert registry.get_sample_value("errors_total", {"error": name}) == 1


@pytest.mark.parametrize("error", [asyncio.CancelledError, GeneratorExit, KeyboardInterrupt, SystemExit])
def test_what_only_ends_things_is_no_error(registry, error):
    """What is no Exception passes uncounted."""
    with pytest.raises(error):
        fails_with(error, registry)()
    assert [sample for metric in registry.collect() for sample in metric.samples] == []


def test_cancelled_coroutine_is_no_error(registry):
    """A coroutine that is cancelled, by a timeout too, counts no error and is no longer in progress."""

    @instrument(registry=registry)
    async def wait():
        await asyncio.Event().wait()

    async def main():
        async with asyncio.timeout(0):
            await wait()

    with pytest.raises(TimeoutError):
        asyncio.run(main())
    assert own(registry, "function_errors_total", wait, error="CancelledError") is None
    assert own(registry, "function_in_progress", wait) == 0
    assert own(registry, "function_duration_seconds_count", wait) == 1


def test_closed_generator_is_no_error(registry):
    """A generator that its consumer leaves early counts no error; one that raises does."""

    @count_errors("errors", "Errors.", registry=registry)
    def rows():
        yield 1
        raise KeyError

    with contextlib.closing(rows()) as made:
        next(made)
    assert registry.get_sample_value("errors_total", {"error": "GeneratorExit"}) is None
    with pytest.raises(KeyError):
        list(rows())
    assert registry.get_sample_value("errors_total", {"error": "KeyError"}) == 1


def test_error_label_cannot_be_given(registry):
    """A value for the label error is refused: the decorator fills it in."""
    with pytest.raises(MetricError, match="count_errors itself fills in the label error"):
        count_errors("errors", "Errors.", labels={"error": "x"}, registry=registry)


# -- instrument


def test_instrument_records_everything(registry, clock):
    """One decorator records calls, errors, duration and calls in progress."""

    @instrument(registry=registry)
    def reprice(price):
        clock.pass_by(1)
        assert own(registry, "function_in_progress", reprice) == 1
        return 1 / price

    assert reprice(1) == 1
    with pytest.raises(ZeroDivisionError):
        reprice(0)
    assert own(registry, "function_calls_total", reprice) == 2
    assert own(registry, "function_errors_total", reprice, error="ZeroDivisionError") == 1
    assert own(registry, "function_duration_seconds_sum", reprice) == 2
    assert own(registry, "function_in_progress", reprice) == 0


def test_instrument_needs_no_parentheses():
    """Bare, it records on the default registry."""

    @instrument
    async def reprice(): ...

    asyncio.run(reprice())
    assert own(REGISTRY, "function_calls_total", reprice) == 1


def test_instrument_shares_metrics_with_the_other_decorators(registry):
    """A function under instrument and one under count_calls are series of one metric."""

    @instrument(registry=registry)
    def one(): ...

    @count_calls(registry=registry)
    def two(): ...

    one()
    two()
    assert own(registry, "function_calls_total", one) == own(registry, "function_calls_total", two) == 1


# -- what the decorated function still is


@track_time("pickled_seconds", "Seconds.", labels={"x": lambda x: x}, registry=None)
@count_calls(registry=None)
@count_errors(registry=None)
@track_inprogress(registry=None)
@instrument(registry=None)
async def everything(x: int) -> int:
    """Return *x*."""
    return x


def test_stack_of_decorators_keeps_the_function():
    """Under all decorators at once, name, doc, signature, kind and picklability are the function's own."""
    assert everything.__name__ == everything.__qualname__ == "everything"
    assert everything.__doc__ == "Return *x*."
    assert str(inspect.signature(everything, eval_str=True)) == "(x: int) -> int"
    assert inspect.iscoroutinefunction(everything)
    assert pickle.loads(pickle.dumps(everything)) is everything
    assert asyncio.run(everything(3)) == 3


def test_recursive_function_is_recorded_at_each_level(registry, clock):
    """Each level of a recursion is a call, with the time of those below in it."""

    @instrument(registry=registry)
    def countdown(number):
        clock.pass_by(1)
        return countdown(number - 1) if number else own(registry, "function_in_progress", countdown)

    assert countdown(2) == 3
    assert own(registry, "function_duration_seconds_sum", countdown) == 1 + 2 + 3


@pytest.mark.parametrize("decorator", [*OWN, instrument])
def test_function_with_labels_is_not_taken_for_a_metric(decorator):
    """A function is a function, also when it bears an attribute that metrics have."""

    def quote():
        return 3

    quote.labels = "x"
    assert decorator(quote)() == 3


def test_timer_is_not_taken_for_a_function(registry):
    """A timer given as a metric is refused as one: it records no time by itself."""
    with pytest.raises(MetricError, match="can record no time"):
        track_time(timer(Histogram("h", "h", registry=registry)))(lambda: None)
