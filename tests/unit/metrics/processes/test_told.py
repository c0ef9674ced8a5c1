"""What files tell is judged before anything else works with it."""

from __future__ import annotations

import json
from dataclasses import asdict
from math import inf
from typing import TYPE_CHECKING, Any

import pytest

from tests.peers import NAME, page_of
from vitalsign.metrics.catalogue import MetricSpec
from vitalsign.metrics.processes.journal import encode
from vitalsign.metrics.processes.told import exemplar_from, labels_from, numbers_from, spec_from, texts_from

if TYPE_CHECKING:
    from collections.abc import Callable

    from vitalsign.metrics.processes.directory import Directory

SPEC = MetricSpec("h", "histogram", "h", ("k",), buckets=(1.0, inf))


def test_description_comes_back_as_it_was() -> None:
    """A description that was written down is the same afterwards."""
    assert spec_from(json.loads(json.dumps(asdict(SPEC)))) == SPEC


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": 1},
        {"kind": "other"},
        {"kind": ["gauge"]},
        {"kind": "gauge"},
        {"help": None},
        {"labels": "k"},
        {"labels": [1]},
        {"labels": [["k"]]},
        {"states": {}},
        {"states": [None]},
        {"buckets": []},
        {"buckets": ["a"]},
        {"buckets": [2, 1]},
        {"buckets": [{}]},
        {"mode": 0},
        {"unit": []},
        {"more": 1},
    ],
)
def test_description_of_no_metric_is_refused(wrong: dict[str, Any]) -> None:
    """A member that is of another type, of no sense or unknown makes it none."""
    with pytest.raises((TypeError, ValueError)):
        spec_from({**json.loads(json.dumps(asdict(SPEC))), **wrong})


@pytest.mark.parametrize("wrong", [[], ["a", "b"], [1], [None], [["a"]]])
def test_label_values_that_do_not_fit_are_refused(wrong: list[Any]) -> None:
    """There is one text for each label name."""
    with pytest.raises((TypeError, ValueError), match=r"no label values of h|expected str instance"):
        labels_from(wrong, SPEC)


@pytest.mark.parametrize("make", [lambda: texts_from({"a": 1}), lambda: texts_from({"a": None})])  # type: ignore[dict-item]
def test_facts_are_texts(make: Callable[[], object]) -> None:
    """A fact that is no text is refused."""
    with pytest.raises(ValueError, match="no texts"):
        make()


@pytest.mark.parametrize("wrong", [[], [1, 2], ["a", 1, 2], [None, 1, 2]])
def test_numbers_that_do_not_fit_are_refused(wrong: list[Any]) -> None:
    """A child has as many numbers as its metric says."""
    with pytest.raises((TypeError, ValueError)):
        numbers_from(wrong, 3)


@pytest.mark.parametrize("place", [-1, 2, 0.0, True, "0"])
def test_exemplar_of_no_bucket_is_refused(place: Any) -> None:
    """An exemplar stands in one of the buckets."""
    with pytest.raises(ValueError, match="no bucket"):
        exemplar_from(place, [{}, 1, 2], SPEC)


FAMILY = ["family", 1, NAME, asdict(SPEC), 9]


@pytest.mark.parametrize(
    "nonsense",
    [
        ["child", 2, 1, [], 0, None],
        ["child", 2, 1, "x", 0, None],
        ["child", 2, 1, [0], 0, None],
        ["child", 2, 7, ["x"], 0, None],
        ["child", [], 1, ["x"], 0, None],
        ["child", 2, 1, ["x"], 0, -1],
        ["child", 2, 1, ["x"], 0, True],
        ["child", 2, 1, ["x"], 0],
        ["family", 2, NAME, asdict(SPEC), 0],
        ["family", 2, NAME, asdict(SPEC), 1.5],
        ["cells", 7, 0],
        ["cells", 1, -1],
        ["cells", 1, 0.5],
        ["cells", 1, 1 << 60],
        ["gone", 7],
        ["info", 1, {"a": 1}, 0],
        ["exemplar", 1, 9, {}, 0, 0],
        ["process"],
        ["surprise"],
        [[]],
    ],
)
def test_nonsense_ends_what_a_process_has_told(
    directory: Directory, unreported: Callable[[], float], nonsense: list[Any]
) -> None:
    """What stands before it counts, what follows does not; it is reported once, and the file is left alone."""
    lock = directory.lock_alive("9-x")
    records = [FAMILY, ["child", 1, 1, ["a"], 0, None], nonsense, ["child", 3, 1, ["b"], 0, None]]
    (directory.path / "9-x.names").write_bytes(b"".join(map(encode, records)))
    for _ in range(3):
        assert page_of(directory) == {"h": {("a",): [0, 0, 0]}}
    assert unreported() == 3, "each newcomer reports it once"
    lock.let_go()
