"""Instruments: what a user of prometheus_client expects, and errors that say what, why and the fix."""

from __future__ import annotations

import copy
import enum
import logging
import pickle
from math import inf, nan
from typing import TYPE_CHECKING, Any

import prometheus_client
import pytest
from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.validation import disable_legacy_validation, enable_legacy_validation

from tests.processes import run_script
from vitalsign import Counter, Enum, Gauge, Histogram, Info, Summary
from vitalsign.exceptions import DuplicateMetricError, LabelError, MetricError
from vitalsign.metrics.catalogue import MetricSpec

if TYPE_CHECKING:
    from collections.abc import Callable


def value_of(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    """Read one sample by prometheus_client's own means."""
    return registry.get_sample_value(name, labels)


class TestCounter:
    """What only goes up."""

    def test_counts_by_one_and_by_amounts(self, registry: CollectorRegistry) -> None:
        """Inc adds one, or the amount given, of any kind of number."""
        counter = Counter("c_total", "c", registry=registry)
        counter.inc()
        counter.inc(2.5)
        counter.inc(True)
        counter.inc(0)
        assert value_of(registry, "c_total") == 4.5

    def test_refuses_negative_amounts(self, registry: CollectorRegistry) -> None:
        """A negative amount is an error that names the metric and the fix, and counts nothing."""
        counter = Counter("c", "c", registry=registry)
        with pytest.raises(ValueError, match=r"non-negative amounts, not -1: c counts up\. Use a Gauge"):
            counter.inc(-1)
        assert value_of(registry, "c_total") == 0

    @pytest.mark.parametrize("amount", ["1", None, [1]])
    def test_refuses_what_is_no_number(self, registry: CollectorRegistry, amount: Any) -> None:
        """Something that cannot be added is a TypeError, at the first write and later, and counts nothing."""
        counter = Counter("c", "c", registry=registry)
        for _ in range(2):
            with pytest.raises(TypeError):
                counter.inc(amount)
            counter.inc()
        assert value_of(registry, "c_total") == 2

    @pytest.mark.parametrize("amount", [inf, nan, 1e308, 5e-324])
    def test_takes_extreme_amounts(self, registry: CollectorRegistry, amount: float) -> None:
        """Infinite, huge and tiny amounts and NaN count as prometheus_client counts them."""
        ours, theirs = CollectorRegistry(), CollectorRegistry()
        for library, where in ((Counter, ours), (prometheus_client.Counter, theirs)):
            counter = library("c", "c", registry=where)
            counter.inc(amount)
            counter.inc(amount)
        assert repr(value_of(ours, "c_total")) == repr(value_of(theirs, "c_total"))

    def test_counts_exceptions(self, registry: CollectorRegistry) -> None:
        """count_exceptions counts those of the given class, as a block and as a decorator, and lets them through."""
        counter = Counter("c", "c", registry=registry)

        @counter.count_exceptions(KeyError)
        def fail(error: Exception) -> None:
            raise error

        for error in (KeyError("a"), ValueError("b")):
            with pytest.raises(type(error)):
                fail(error)
        with pytest.raises(TypeError), counter.count_exceptions((TypeError, OSError)):
            raise TypeError
        assert value_of(registry, "c_total") == 2


class TestGauge:
    """What goes up and down."""

    def test_moves(self, registry: CollectorRegistry) -> None:
        """Inc, dec and set move a gauge."""
        gauge = Gauge("g", "g", registry=registry)
        gauge.set("7")  # type: ignore[arg-type]  # prometheus_client takes what float() takes
        gauge.inc()
        gauge.dec(3)
        gauge.inc(-0.5)
        assert value_of(registry, "g") == 4.5

    def test_takes_its_value_from_a_function(self, registry: CollectorRegistry) -> None:
        """After set_function the value is asked for at each scrape, and writes no longer show."""
        items = [1, 2]
        gauge = Gauge("g", "g", ["k"], registry=registry)
        gauge.labels("x").set_function(lambda: len(items))
        gauge.labels("x").set(99)
        assert value_of(registry, "g", k="x") == 2
        items.append(3)
        assert value_of(registry, "g", k="x") == 3

    def test_tracks_what_is_in_progress(self, registry: CollectorRegistry) -> None:
        """track_inprogress goes up on entry and down on exit, also by an exception."""
        gauge = Gauge("g", "g", registry=registry)

        @gauge.track_inprogress()
        def nested() -> float | None:
            return value_of(registry, "g")

        with gauge.track_inprogress():
            assert nested() == 2
        with pytest.raises(ZeroDivisionError), gauge.track_inprogress():
            raise ZeroDivisionError
        assert value_of(registry, "g") == 0

    def test_sets_the_present_time(self, registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
        """set_to_current_time sets the Unix time in seconds."""
        monkeypatch.setattr("time.time", lambda: 1234.5)
        gauge = Gauge("g", "g", registry=registry)
        gauge.set_to_current_time()
        assert value_of(registry, "g") == 1234.5

    def test_refuses_steps_in_the_mostrecent_mode(self, registry: CollectorRegistry) -> None:
        """Where the most recent value of several processes wins, only set makes sense."""
        gauge = Gauge("g", "g", registry=registry, multiprocess_mode="livemostrecent")
        gauge.set(3)
        for step in (gauge.inc, gauge.dec):
            with pytest.raises(RuntimeError, match="must not be used with the mostrecent mode of gauge g: use set"):
                step()
        assert value_of(registry, "g") == 3

    def test_refuses_an_unknown_mode(self, registry: CollectorRegistry) -> None:
        """A mode that does not exist is an error that lists those that do."""
        with pytest.raises(MetricError, match=r"Invalid multiprocess mode: 'newest' of gauge g\. Use one of \['all'"):
            Gauge("g", "g", registry=registry, multiprocess_mode="newest")  # type: ignore[arg-type]


class TestHistogram:
    """Observations in buckets."""

    def test_counts_on_the_bound_below_it_and_past_the_last(self, registry: CollectorRegistry) -> None:
        """A bound belongs to its bucket, and what is past the last bound counts in +Inf."""
        histogram = Histogram("h", "h", registry=registry, buckets=[1, 2.5, "5"])
        for amount in (-1, 1, 1.0000001, 2.5, 5, 6, inf):
            histogram.observe(amount)
        counts = [value_of(registry, "h_bucket", le=le) for le in ("1.0", "2.5", "5.0", "+Inf")]
        assert counts == [2, 4, 5, 7]
        assert value_of(registry, "h_count") == 7

    def test_observes_nan_in_no_bucket(self, registry: CollectorRegistry) -> None:
        """NaN makes the sum NaN and counts in no bucket, as with prometheus_client."""
        histogram = Histogram("h", "h", registry=registry)
        histogram.observe(nan)
        assert value_of(registry, "h_count") == 0
        assert repr(value_of(registry, "h_sum")) == "nan"

    def test_shows_no_sum_with_negative_bounds(self, registry: CollectorRegistry) -> None:
        """Where observations may be negative a sum is no counter, and is left out."""
        Histogram("h", "h", registry=registry, buckets=[-1, 1]).observe(-5)
        assert value_of(registry, "h_sum") is None
        assert value_of(registry, "h_bucket", le="-1.0") == 1

    def test_fails_before_it_counts_what_is_no_number(self, registry: CollectorRegistry) -> None:
        """Something that is no number is a TypeError, and neither sum nor bucket changes."""
        histogram = Histogram("h", "h", registry=registry)
        with pytest.raises(TypeError):
            histogram.observe("1")  # type: ignore[arg-type]
        assert value_of(registry, "h_count") == value_of(registry, "h_sum") == 0

    @pytest.mark.parametrize(
        ("buckets", "message"),
        [
            ([2, 1], r"'h' are not in sorted order or not distinct: \(2.0, 1.0\)\. Give each upper bound once"),
            ([1, 1], "not distinct"),
            ([1, nan], "not in sorted order"),
            ([inf, inf], "not distinct"),
            ([], "must have at least two buckets: one bound besides"),
            ([inf], "must have at least two buckets"),
            (["x"], r"must be numbers, not \['x'\]"),
            (5, "must be numbers, not 5"),
        ],
    )
    def test_refuses_bounds_that_make_no_histogram(
        self, registry: CollectorRegistry, buckets: Any, message: str
    ) -> None:
        """Bounds that are unsorted, repeated, missing or no numbers are an error that shows them."""
        with pytest.raises(MetricError, match=message):
            Histogram("h", "h", registry=registry, buckets=buckets)

    def test_bears_infinity_given_or_not(self, registry: CollectorRegistry) -> None:
        """Bounds with and without +Inf declare one and the same histogram."""
        assert Histogram("h", "h", registry=registry, buckets=[1]) is Histogram(
            "h", "h", registry=registry, buckets=[1, inf]
        )


class TestInfoAndEnum:
    """Facts and states."""

    def test_info_tells_the_latest_facts(self, registry: CollectorRegistry) -> None:
        """Each call of info replaces the facts before it."""
        info = Info("build", "b", registry=registry)
        info.info({"version": "1", "host": "a"})
        info.info({"version": "2"})
        assert value_of(registry, "build_info", version="2") == 1
        assert value_of(registry, "build_info", version="1", host="a") is None

    def test_info_refuses_its_own_labels_and_none(self, registry: CollectorRegistry) -> None:
        """A fact cannot have the name of a label, nor be None."""
        info = Info("build", "b", ["host"], registry=registry)
        with pytest.raises(MetricError, match="Overlapping labels for Info metric"):
            info.labels("a").info({"host": "b"})
        with pytest.raises(MetricError, match="Label value cannot be None"):
            info.labels("a").info({"version": None})  # type: ignore[dict-item]
        with pytest.raises(MetricError, match="Label name '__x' of info 'build' is reserved"):
            info.labels("a").info({"__x": "b"})

    def test_enum_tells_the_state(self, registry: CollectorRegistry) -> None:
        """The first state holds until another is set; an unknown one is an error that lists them."""
        state = Enum("task", "t", states=["idle", "busy"], registry=registry)
        assert value_of(registry, "task", task="idle") == 1
        state.state("busy")
        assert [value_of(registry, "task", task=name) for name in ("idle", "busy")] == [0, 1]
        with pytest.raises(ValueError, match=r"'gone' is no state of Enum metric task: use one of \('idle', 'busy'\)"):
            state.state("gone")

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({}, "No states provided for Enum metric: task"),
            ({"states": ["a", "a"]}, "not distinct"),
            ({"states": ["a"], "labelnames": ["task"]}, "reserved"),
            ({"states": ["a"], "unit": "seconds"}, "cannot have a unit"),
        ],
    )
    def test_enum_refuses_a_declaration_that_cannot_be_shown(
        self, registry: CollectorRegistry, arguments: dict[str, Any], message: str
    ) -> None:
        """States that are missing or repeated, a label of the enum's own name and a unit are errors."""
        with pytest.raises(MetricError, match=message):
            Enum("task", "t", registry=registry, **arguments)


class TestLabels:
    """Label sets."""

    def test_by_position_and_by_name_are_one(self, registry: CollectorRegistry) -> None:
        """A label set is the same however its values are given."""
        counter = Counter("c", "c", ["a", "b"], registry=registry)
        assert counter.labels("1", "2") is counter.labels(b="2", a="1") is counter.labels(1, b"2".decode())

    def test_values_become_strings_and_types_never_mix(self, registry: CollectorRegistry) -> None:
        """Values are told apart by their text: True and 1, which are equal to Python, are two label sets."""
        counter = Counter("c", "c", ["a"], registry=registry)
        for value in (1, True, 1.0, None, "1"):
            counter.labels(value).inc()
        texts = {text: value_of(registry, "c_total", a=text) for text in ("1", "True", "1.0", "None")}
        assert texts == {"1": 2, "True": 1, "1.0": 1, "None": 1}

    def test_member_of_a_string_enum_counts_as_its_value(self, registry: CollectorRegistry) -> None:
        """A str enum's member is its value, whether its label set exists already or not."""

        class Plan(str, enum.Enum):  # noqa: UP042  # the older spelling, whose str() is another
            PRO = "pro"

        class Tier(enum.StrEnum):
            GOLD = "gold"

        counter = Counter("c", "c", ["a"], registry=registry)
        for _ in range(2):
            counter.labels(Plan.PRO).inc()
            counter.labels(Tier.GOLD).inc()
        counter.labels("pro").inc()
        assert (value_of(registry, "c_total", a="pro"), value_of(registry, "c_total", a="gold")) == (3, 2)

    def test_value_that_cannot_be_hashed_is_taken_by_its_text(self, registry: CollectorRegistry) -> None:
        """A list is a label value like any other."""
        counter = Counter("c", "c", ["a"], registry=registry)
        counter.labels([1]).inc()
        assert value_of(registry, "c_total", a="[1]") == 1

    def test_lone_surrogates_are_replaced(self, registry: CollectorRegistry) -> None:
        """Text that UTF-8 cannot carry is a value with question marks, and the page stays whole."""
        from vitalsign import generate_latest

        counter = Counter("c", "c \ud800", ["a"], registry=registry)
        counter.labels("x\udc80").inc()
        counter.labels("x\udc81").inc()
        assert b'c_total{a="x?"} 2.0' in generate_latest(registry)

    @pytest.mark.parametrize(
        ("use", "message"),
        [
            (lambda c: c.labels("1"), r"Incorrect label count: 1 values \('1',\) for c \(counter, labels \(a, b\)\)"),
            (lambda c: c.labels(), "Incorrect label count: 0 values"),
            (lambda c: c.labels(a="1"), r"Incorrect label names \['a'\] for c"),
            (lambda c: c.labels(a="1", c="2"), "Incorrect label names"),
            (lambda c: c.labels("1", "2", a="1"), r"Can't pass both \*args and \*\*kwargs"),
            (lambda c: c.labels("1", b="2"), r"Can't pass both \*args and \*\*kwargs"),
            (lambda c: c.labels("1", "2").labels("3", "4"), r"already has labels set \{'a': '1', 'b': '2'\}"),
            (lambda c: c.remove("1"), "Incorrect label count"),
            (lambda c: c.remove_by_labels({"z": "1"}), r"Unknown label names \['z'\] of c"),
            (lambda c: c.inc(), r"missing label values: c has the labels a, b\. Call \.labels\(\.\.\.\) first"),
            (lambda c: c.reset(), "missing label values"),
        ],
    )
    def test_misuse_is_an_error_that_shows_the_labels(
        self, registry: CollectorRegistry, use: Callable[[Counter], object], message: str
    ) -> None:
        """Values that do not fit the label names are an error that says which those are."""
        counter = Counter("c", "c", ["a", "b"], registry=registry)
        counter.labels("1", "2").inc()
        with pytest.raises(ValueError, match=message):
            use(counter)

    @pytest.mark.parametrize(
        "use",
        [
            lambda: Gauge("x", "x", ["a"], registry=None).inc(),
            lambda: Gauge("x", "x", ["a"], registry=None).dec(),
            lambda: Gauge("x", "x", ["a"], registry=None).set(1),
            lambda: Gauge("x", "x", ["a"], registry=None).set_function(lambda: 1),
            lambda: Gauge("x", "x", ["a"], registry=None).track_inprogress(),
            lambda: Counter("x", "x", ["a"], registry=None).count_exceptions(),
            lambda: Summary("x", "x", ["a"], registry=None).observe(1),
            lambda: Histogram("x", "x", ["a"], registry=None).observe(1),
            lambda: Info("x", "x", ["a"], registry=None).info({}),
            lambda: Enum("x", "x", ["a"], states=["s"], registry=None).state("s"),
        ],
    )
    def test_writing_without_label_values_is_an_error(self, use: Callable[[], object]) -> None:
        """No method writes into a metric whose label values are missing."""
        with pytest.raises(MetricError, match="metric is missing label values: x has the labels a"):
            use()

    def test_metric_without_labels_takes_none(self, registry: CollectorRegistry) -> None:
        """labels() and remove() of a metric without label names are errors; clear() does nothing."""
        counter = Counter("c", "c", registry=registry)
        counter.inc()
        for use in (lambda: counter.labels("x"), lambda: counter.labels(), lambda: counter.remove("x")):
            with pytest.raises(LabelError, match="No label names were set when constructing c"):
                use()
        counter.clear()
        assert value_of(registry, "c_total") == 1

    def test_remove_by_labels_takes_all_that_match(self, registry: CollectorRegistry) -> None:
        """Every label set with these values goes; none with an empty dict; only a dict is taken."""
        counter = Counter("c", "c", ["a", "b"], registry=registry)
        for a in "12":
            for b in "12":
                counter.labels(a, b).inc()
        counter.remove_by_labels({})
        counter.remove_by_labels({"a": 1})
        assert [value_of(registry, "c_total", a=a, b="1") for a in "12"] == [None, 1]
        counter.remove_by_labels({"a": "2", "b": "2"})
        counter.remove("9", "9")
        assert [value_of(registry, "c_total", a="2", b=b) for b in "12"] == [1, None]
        with pytest.raises(TypeError, match="labels must be a dict"):
            counter.remove_by_labels([("a", "1")])  # type: ignore[arg-type]

    @pytest.mark.parametrize("labels", [["__x"], ["le"], [""], ["a", "a"], [1], ["\ud800"]])
    def test_refuses_label_names_that_cannot_be_shown(self, registry: CollectorRegistry, labels: Any) -> None:
        """Reserved, empty, repeated and undecodable label names are errors."""
        with pytest.raises(MetricError, match=r"reserved|no label name|not distinct"):
            Histogram("h", "h", labels, registry=registry)

    def test_refuses_one_string_for_label_names(self, registry: CollectorRegistry) -> None:
        """A string in place of a list of names is the mistake it looks like."""
        with pytest.raises(MetricError, match=r"read letter by letter\. Give a list: \['kind'\]"):
            Counter("c", "c", "kind", registry=registry)


class TestMaxSeries:
    """The bound on label sets."""

    def test_past_it_one_series_takes_the_rest(
        self, registry: CollectorRegistry, caplog: pytest.LogCaptureFixture
    ) -> None:
        """New label sets past the bound share one series; each use is counted, and one warning is logged."""
        counter = Counter("c", "c", ["a", "b"], registry=registry, max_series=3)
        with caplog.at_level(logging.WARNING, "vitalsign"):
            for number in range(10):
                counter.labels(str(number), "x").inc()
        counter.labels("0", "x").inc()
        assert value_of(registry, "c_total", a="0", b="x") == 2
        assert value_of(registry, "c_total", a="__overflow__", b="__overflow__") == 7
        assert value_of(registry, "vitalsign_series_overflow_total", metric="c") == 7
        assert len(counter._family.children) == 4
        assert [record.getMessage() for record in caplog.records] == [
            (
                "Metric c has reached max_series=3 label sets: new ones are counted under __overflow__. "
                "A label probably carries ids or user input; bound its values, or raise max_series."
            )
        ]

    def test_room_that_is_made_is_used(self, registry: CollectorRegistry) -> None:
        """After a removal a new label set has a series of its own again."""
        gauge = Gauge("g", "g", ["a"], registry=registry, max_series=2)
        for value in "123":
            gauge.labels(value).set(1)
        gauge.remove("1")
        gauge.labels("4").set(9)
        assert value_of(registry, "g", a="4") == 9

    def test_applies_where_nothing_is_registered(self) -> None:
        """A metric on no registry is bounded too."""
        counter = Counter("c", "c", ["a"], registry=None, max_series=1)
        counter.labels("1")
        assert counter.labels("2") is counter.labels("3")

    def test_must_be_at_least_one(self, registry: CollectorRegistry) -> None:
        """A bound below one is an error."""
        with pytest.raises(MetricError, match="max_series of c must be at least 1, not 0"):
            Counter("c", "c", ["a"], registry=registry, max_series=0)


class TestDeclaration:
    """Names, shapes and registries."""

    def test_joins_the_parts_of_the_name_as_prometheus_client(self) -> None:
        """Namespace, subsystem and unit make the same name as with prometheus_client."""
        parts: dict[str, Any] = {"namespace": "ns", "subsystem": "sub", "unit": "bytes"}
        for kind in ("Counter", "Gauge", "Histogram", "Summary"):
            for name in ("read", "read_bytes", "read_total"):
                ours = getattr(__import__("vitalsign"), kind)(name, "h", registry=None, **parts)
                theirs = getattr(prometheus_client, kind)(name, "h", registry=None, **parts)
                assert [each.name for each in ours.describe()] == [each.name for each in theirs.describe()]

    def test_twice_with_one_shape_is_the_first_one_untouched(self, registry: CollectorRegistry) -> None:
        """Declaring again returns the metric that exists, with its counts."""
        first = Counter("c_total", "c", ["a"], registry=registry)
        first.labels("x").inc(3)
        again = Counter("c", "c", ("a",), registry=registry, max_series=5)
        assert again is first
        assert value_of(registry, "c_total", a="x") == 3

    def test_another_help_text_only_warns(self, registry: CollectorRegistry, caplog: pytest.LogCaptureFixture) -> None:
        """The first help text stays, and the log tells of the second."""
        first = Counter("c", "one", registry=registry)
        assert Counter("c", "two", registry=registry) is first
        assert "declared again with another help text; the first stays: 'one', not 'two'" in caplog.text

    @pytest.mark.parametrize(
        ("declare", "message"),
        [
            (
                lambda r: Counter("c", "c", ["b"], registry=r),
                r"labels \(b\)\) cannot.*declaration c \(counter, labels \(a\)",
            ),
            (lambda r: Gauge("c", "c", ["a"], registry=r), r"gauge.*earlier declaration c \(counter"),
            (
                lambda r: Gauge("c_total", "c", registry=r),
                r"name 'c_total' is taken by c \(counter.*share series.*rename one",
            ),
            (lambda r: Histogram("h", "h", registry=r, buckets=[5]), r"buckets \(5.0, inf\).*buckets \(1.0, inf\)"),
            (
                lambda r: Gauge("theirs", "t", registry=r),
                r"prometheus_client\.metrics\.Gauge, which is not .* namespace=",
            ),
            (lambda r: prometheus_client.Counter("c", "c", registry=r), "Duplicated timeseries"),
        ],
    )
    def test_name_that_is_taken_is_an_error_that_names_both(
        self, registry: CollectorRegistry, declare: Callable[[CollectorRegistry], object], message: str
    ) -> None:
        """Another shape, another kind, a shared series name or another library's metric under the name is an error."""
        Counter("c", "c", ["a"], registry=registry)
        Histogram("h", "h", registry=registry, buckets=[1])
        prometheus_client.Gauge("theirs", "t", registry=registry)
        with pytest.raises(ValueError, match=message):
            declare(registry)

    def test_error_of_a_taken_name_carries_both(self, registry: CollectorRegistry) -> None:
        """The error's attributes say which name is taken, and by what."""
        first = Counter("c", "c", registry=registry)
        with pytest.raises(DuplicateMetricError) as caught:
            Gauge("c", "c", registry=registry)
        assert (caught.value.name, caught.value.existing) == ("c", first)

    def test_unregistered_metric_can_be_declared_anew(self, registry: CollectorRegistry) -> None:
        """Once it is unregistered, its name is free, for another shape too."""
        first = Counter("c", "c", registry=registry)
        registry.unregister(first)
        assert Gauge("c", "c", registry=registry) is not first

    def test_same_name_on_two_registries_is_two_metrics(self) -> None:
        """Registries do not know of each other."""
        assert Counter("c", "c", registry=CollectorRegistry()) is not Counter("c", "c", registry=CollectorRegistry())
        assert Counter("c", "c", registry=None) is not Counter("c", "c", registry=None)

    @pytest.mark.parametrize(
        ("declare", "message"),
        [
            (lambda: Counter("", "c", registry=None), "A metric needs a name"),
            (lambda: Counter("\ud800", "c", registry=None), "not valid UTF-8"),
            (lambda: Info("i", "i", unit="bytes", registry=None), "kind info, which cannot have a unit"),
        ],
    )
    def test_refuses_names_that_cannot_be_shown(self, declare: Callable[[], object], message: str) -> None:
        """An empty or undecodable name, and a unit where there can be none, are errors."""
        with pytest.raises(MetricError, match=message):
            declare()

    def test_describes_itself_as_data(self, registry: CollectorRegistry) -> None:
        """Every instrument and every child carries its description."""
        histogram = Histogram("h", "help", ["a"], unit="seconds", buckets=[1], registry=registry)
        assert histogram.labels("x").spec == MetricSpec("h_seconds", "histogram", "help", ("a",), "seconds", (1.0, inf))

    def test_registering_collects_nothing(self, registry: CollectorRegistry) -> None:
        """To be registered elsewhere an instrument is only described: no function of a gauge is called."""
        gauge = Gauge("g", "g", registry=None)
        gauge.set_function(lambda: 1 / 0)
        CollectorRegistry(auto_describe=True).register(gauge)

    def test_taken_name_is_prometheus_clients_error_too(self, registry: CollectorRegistry) -> None:
        """Who expects prometheus_client's error about a name that is taken catches ours, with the names in it."""
        error = getattr(prometheus_client.registry, "DuplicateTimeseries", ValueError)  # new in 0.26
        Histogram("h", "h", registry=registry)
        with pytest.raises(error, match=r"^Metric h_count \(gauge, no labels\) cannot be registered") as caught:
            Gauge("h_count", "h", registry=registry)
        assert caught.value.duplicates == {"h_count"}

    @pytest.mark.parametrize("declared", [("a.b", []), ("é", []), ("a", ["b.c"]), ("a", ["b:c"])])
    def test_legacy_validation_holds_for_ours(self, declared: tuple[str, list[str]]) -> None:
        """Names past the classic letters are refused where the host has switched that on in prometheus_client."""
        name, labels = declared
        enable_legacy_validation()
        try:
            with pytest.raises(MetricError, match="is invalid: prometheus_client's legacy validation is on"):
                Gauge(name, "g", labels, registry=None)
            Gauge("ns:a", "g", ["b"], registry=None)
        finally:
            disable_legacy_validation()
        Gauge(name, "g", labels, registry=None)


class TestCopies:
    """Instruments are told apart by identity."""

    def test_copies_are_the_instrument_itself(self, registry: CollectorRegistry) -> None:
        """Copying what holds an instrument never splits its counts."""
        child = Counter("c", "c", ["a"], registry=registry).labels("x")
        assert copy.copy(child) is copy.deepcopy({"k": [child]})["k"][0] is child

    def test_pickled_instruments_find_themselves_again(self) -> None:
        """What is on the default registry comes back as the same object, children too."""
        metrics: list[Any] = [
            Counter("test_pickled_c", "c", ["a"], unit="bytes"),
            Gauge("test_pickled_g", "g", multiprocess_mode="livesum"),
            Histogram("test_pickled_h", "h", buckets=[1, 2]),
            Enum("test_pickled_e", "e", states=["a"]),
        ]
        try:
            both = [*metrics, metrics[0].labels("x")]
            assert all(a is b for a, b in zip(pickle.loads(pickle.dumps(both)), both, strict=True))
        finally:
            for metric in metrics:
                REGISTRY.unregister(metric)

    def test_pickled_instrument_is_declared_where_it_is_unpickled(self) -> None:
        """Another process that has not declared the metric does so by unpickling it."""
        gauge = Gauge("test_pickled_elsewhere", "g", ["a"], max_series=7)
        try:
            data = pickle.dumps(gauge.labels("x"))
        finally:
            REGISTRY.unregister(gauge)
        printed = run_script(
            f"""
            import pickle
            child = pickle.loads({data!r})
            child.inc(4)
            from prometheus_client import REGISTRY
            print(REGISTRY.get_sample_value("test_pickled_elsewhere", {{"a": "x"}}), child._family.max_series)
            """
        )
        assert printed == "4.0 7\n"

    def test_instrument_of_another_registry_is_not_pickled(self, registry: CollectorRegistry) -> None:
        """Where unpickling could not find the metric again, pickling says so."""
        with pytest.raises(TypeError, match="cannot be pickled: it is not on the default registry"):
            pickle.dumps(Counter("c", "c", registry=registry))

    def test_texts_name_the_metric(self, registry: CollectorRegistry) -> None:
        """Str and repr tell kind, name and label values."""
        counter = Counter("c", "c", ["a"], registry=registry)
        assert str(counter) == "counter:c"
        assert repr(counter) == "vitalsign.metrics.instruments.Counter(c)"
        assert repr(counter.labels("x")) == "vitalsign.metrics.instruments.Counter(c{'a': 'x'})"

    def test_subclass_makes_children_of_its_own_class(self, registry: CollectorRegistry) -> None:
        """A user's subclass with methods and an initializer of its own works, and its children are of it."""

        class Money(Counter):
            def __init__(self, name: str, documentation: str, *args: Any, **kwargs: Any) -> None:
                super().__init__(name, documentation, *args, **kwargs)

            def pay(self, cents: int) -> None:
                self.inc(cents / 100)

        money = Money("m", "m", ["currency"], registry=registry)
        money.labels("eur").pay(250)
        assert value_of(registry, "m_total", currency="eur") == 2.5
