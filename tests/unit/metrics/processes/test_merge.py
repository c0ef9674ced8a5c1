"""Adding up: every kind of metric by its own rule, over the living and the dead."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from tests.peers import NAME, Peer, page_of
from vitalsign import Counter, Enum, Gauge, Histogram, Info, Summary, generate_latest
from vitalsign.metrics.catalogue import OVERFLOW
from vitalsign.metrics.processes.store import Store
from vitalsign.metrics.processes.view import View
from vitalsign.metrics.samples import LazyMetric

if TYPE_CHECKING:
    from collections.abc import Callable

    from vitalsign.metrics.processes.directory import Directory


def gauge(peer: Peer, mode: Any, value: float | None, moment: float = 0) -> None:
    """Let a process have a gauge of this mode: never set, or set at a time."""
    cells = peer.write(Gauge("g", "g", registry=peer.registry, multiprocess_mode=mode), 0, 0)
    if value is not None:
        cells[0], cells[1] = value, moment


MODES = [
    ("min", 1.0, 1.0),
    ("livemin", 1.0, 2.0),
    ("max", 9.0, 9.0),
    ("livemax", 9.0, 5.0),
    ("sum", 17.0, 17.0),
    ("livesum", 17.0, 7.0),
    ("mostrecent", 1.0, 1.0),
    ("livemostrecent", 1.0, 5.0),
]


@pytest.mark.parametrize(("mode", "while_alive", "afterwards"), MODES)
def test_gauge_mode_over_the_living_and_the_dead(
    directory: Directory, mode: str, while_alive: float, afterwards: float
) -> None:
    """Each mode means what it does in prometheus_client; a gauge that was never set has no say in a minimum."""
    peers = [Peer(directory) for _ in range(5)]
    for peer, (value, moment) in zip(peers, [(5, 3), (2, 2), (None, 0), (9, 1), (1, 9)], strict=True):
        gauge(peer, mode, value, moment)
    assert page_of(directory) == {"g": {(): while_alive}}
    for peer in peers[3:]:
        peer.die()
    assert page_of(directory) == {"g": {(): afterwards}}
    assert page_of(directory) == {"g": {(): afterwards}}


@pytest.mark.parametrize("mode", ["all", "liveall"])
def test_gauge_of_each_process_is_shown_by_process_id(directory: Directory, mode: str) -> None:
    """In the modes that show all, each living process has its series, and takes it along when it ends."""
    peers = [Peer(directory) for _ in range(2)]
    view = View(directory, Store(directory))
    for number, peer in enumerate(peers):
        gauge(peer, mode, number)
    page_of(view)
    for number, files in enumerate(sorted(view._files.values(), key=lambda files: files.name != peers[0].store.name)):
        files.pid = 100 + number
    assert page_of(view) == {"g": {("100",): 0, ("101",): 1}}
    peers[0].die()
    assert page_of(view) == {"g": {("101",): 1}}


def test_gauge_with_a_label_pid_keeps_the_hosts(directory: Directory) -> None:
    """A host that tells its processes apart by a label of that name gets it once, as it wrote it."""
    peer = Peer(directory)
    peer.write(Gauge("g", "g", ["pid"], registry=peer.registry).labels("host's"), 3, 1)
    assert page_of(directory) == {"g": {("host's",): 3}}


def test_counts_are_added_and_kept(directory: Directory) -> None:
    """Counters, histograms and summaries are sums over all that ever counted."""
    peers = [Peer(directory) for _ in range(3)]
    for peer in peers:
        peer.write(Counter("c", "c", ["k"], registry=peer.registry).labels("x"), 0.5)
        peer.write(Histogram("h", "h", registry=peer.registry, buckets=[1, 2]), 1, 2, 3, 4)
        peer.write(Summary("s", "s", registry=peer.registry), 1, float("inf"))
    expected = {"c": {("x",): 1.5}, "h": {(): [3, 6, 9, 12]}, "s": {(): [3, float("inf")]}}
    assert page_of(directory) == expected
    peers[0].die()
    assert page_of(directory) == expected


def test_enum_is_that_of_the_living_who_spoke_last(directory: Directory) -> None:
    """A state is the latest one that a living process is in."""
    peers = [Peer(directory) for _ in range(3)]
    for peer, (state, moment) in zip(peers, [(1, 2), (2, 3), (0, 1)], strict=True):
        peer.write(Enum("e", "e", states=["a", "b", "c"], registry=peer.registry), state, moment)
    assert page_of(directory) == {"e": {(): 2}}
    peers[1].die()
    assert page_of(directory) == {"e": {(): 1}}


def test_info_is_the_latest_word(directory: Directory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Facts are the last that any process has told, also one that has ended since."""
    peers = [Peer(directory) for _ in range(3)]
    for peer, version in zip(peers, "132", strict=True):
        peer.store.tell_facts(Info("i", "i", registry=peer.registry), {"version": version})
    assert page_of(directory) == {"i": {(): {"version": "2"}}}
    peers[2].die()
    peers[0].die()
    assert page_of(directory) == {"i": {(): {"version": "2"}}}


def test_exemplar_is_the_latest_of_all_processes(directory: Directory) -> None:
    """Each bucket's exemplar is the newest one, whoever saw it, and outlives its process."""
    peers = [Peer(directory) for _ in range(2)]
    for number, peer in enumerate(peers):
        histogram = Histogram("h", "h", registry=peer.registry, buckets=[1])
        peer.write(histogram, 1, 1, 2)
        for place in (0, 1) if number == 0 else (1,):
            made = histogram._family.make_exemplar({"t": f"{number}{place}"}, place)
            peer.store.tell_exemplar(histogram, place, made)
    for _ in range(3):
        view = View(directory, Store(directory))
        ((family),) = view.families(Peer(directory).registry, NAME)
        exemplars = family.series[()]._exemplars or {}
        assert {place: each.labels for place, each in exemplars.items()} == {0: {"t": "00"}, 1: {"t": "11"}}
        peers.pop().die() if peers else None


def test_creation_is_that_of_the_first(directory: Directory) -> None:
    """A series that several processes have was created when the first of them made it."""
    peers = [Peer(directory) for _ in range(2)]
    for moment, peer in zip((20.0, 10.0), peers, strict=True):
        counter = Counter("c", "c", registry=peer.registry)
        counter._created = moment
        peer.write(counter, 1)
    for _ in range(2):
        ((family),) = View(directory, Store(directory)).families(Peer(directory).registry, NAME)
        assert family.series[()]._created == 10.0
        peers.pop().die() if peers else None


def count_labels(peer: Peer, labels: str, max_series: int = 3) -> None:
    """Let a process count once in each of these label sets, made in this order."""
    counter = Counter("c", "c", ["k"], registry=peer.registry, max_series=max_series)
    for k in labels:
        child = counter.labels(k)
        child._created = float(ord(k))
        peer.write(child, 1)


def test_overflow_is_over_all_workers_together(directory: Directory) -> None:
    """Label sets past max_series go together, and whoever is scraped, the same ones are shown: the oldest."""
    own, other, third = (Peer(directory) for _ in range(3))
    count_labels(own, "fae")
    count_labels(other, "bfc")
    count_labels(third, "cd")
    expected = {"c": {("a",): 1, ("b",): 1, ("c",): 2, (OVERFLOW,): 4}}
    assert page_of(directory) == expected
    for peer in (own, other, third):
        counter = next(iter(peer.registry._collector_to_names))
        for child in counter._family.children.values():  # type: ignore[attr-defined]
            child.inc()
        assert page_of(View(directory, peer.store), peer.registry) == expected
    third.die()
    assert page_of(directory) == expected
    assert page_of(directory) == expected


def test_overflow_of_facts_and_of_gauges(directory: Directory) -> None:
    """What is past max_series of a gauge or an info is put together by the metric's own rule."""
    for number in range(4):
        peer = Peer(directory)
        info = Info("i", "i", ["k"], registry=peer.registry, max_series=2)
        peer.store.tell_facts(info.labels(str(number)), {"version": str(number)})
        gauge = Gauge("g", "g", ["k"], registry=peer.registry, multiprocess_mode="max", max_series=2)
        peer.write(gauge.labels(str(number)), number, 1)
    page = page_of(directory)
    assert page["g"] == {("0",): 0, ("1",): 1, (OVERFLOW,): 3}
    assert set(page["i"]) == {("0",), ("1",), (OVERFLOW,)}


def test_shapes_that_differ_are_not_added_up(directory: Directory, unreported: Callable[[], float]) -> None:
    """Two living processes with other buckets under one name: one is shown, the other left out; the rest is added."""
    for buckets in ([1.0], [2.0]):
        peer = Peer(directory)
        peer.write(Histogram("h", "h", registry=peer.registry, buckets=buckets), 1, 2, 3)
        peer.write(Counter("c", "c", registry=peer.registry), 1)
    assert page_of(directory) == {"h": {(): [1, 2, 3]}, "c": {(): 2}}


def test_help_and_mode_do_not_make_another_shape(directory: Directory) -> None:
    """Processes that differ in a help text, as two releases do, are added up."""
    for text in ("old", "new"):
        peer = Peer(directory)
        peer.write(Counter("c", text, registry=peer.registry), 1)
    assert page_of(directory) == {"c": {(): 2}}


class Page:
    """What one process shows, as a registry for rendering."""

    def __init__(self, view: View, peer: Peer) -> None:
        self._view, self._peer = view, peer

    def collect(self) -> Any:
        """Add up."""
        families = self._view.families(self._peer.registry, NAME)
        return [LazyMetric(family, list(family.series.values())) for family in families]


def test_scrape_is_not_changed_by_the_next_one(directory: Directory) -> None:
    """A page that is rendered while the next scrape goes on shows its own moment, whole."""
    other, peer = Peer(directory), Peer(directory)
    cells = other.write(Counter("c", "c", registry=other.registry), 1)
    page = Page(View(directory, peer.store), peer)
    first = page.collect()
    cells[0] = 2
    second = page.collect()
    assert [metric.samples[0].value for metric in (*first, *second)] == [1, 2]


def test_scrapes_at_once_are_each_whole(directory: Directory) -> None:
    """Threads that scrape one process at once, while another counts, each get a page with every series."""
    other, peer = Peer(directory), Peer(directory)
    counter = Counter("c", "c", ["k"], registry=other.registry)
    cells = [other.write(counter.labels(str(number)), 1) for number in range(50)]
    page = Page(View(directory, peer.store), peer)
    expected = generate_latest(page).count(b"\n")
    lines: list[int] = []

    def scrape() -> None:
        for _ in range(20):
            cells[0][0] += 1
            lines.append(generate_latest(page).count(b"\n"))

    threads = [threading.Thread(target=scrape) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(lines) == {expected}


def test_scrape_within_a_scrape_is_refused(directory: Directory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal handler that scrapes in the middle of a scrape of the same thread gets an error, not a deadlock."""
    peer = Peer(directory)
    view = View(directory, peer.store)
    outcome: list[BaseException] = []

    def again() -> None:
        monkeypatch.undo()
        try:
            view.families(peer.registry, NAME)
        except RuntimeError as error:
            outcome.append(error)

    monkeypatch.setattr(view, "_read", again)
    view.families(peer.registry, NAME)
    assert [str(error) for error in outcome] == [
        "a signal handler cannot add up the processes' metrics while that is being done"
    ]


def test_gauge_function_is_asked_before_anything_is_locked(directory: Directory) -> None:
    """A gauge's function that scrapes, or waits for a thread that does, ends."""
    peer = Peer(directory)
    view = View(directory, peer.store)
    inner: list[Any] = []

    def scrape() -> None:
        inner.append(page_of(view, Peer(directory).registry))

    def ask() -> float:
        thread = threading.Thread(target=scrape)
        thread.start()
        thread.join(20)
        return 1.0

    Gauge("g", "g", registry=peer.registry).set_function(ask)
    page_of(view, peer.registry)
    assert len(inner) == 1
