"""Files in the shared directory that are truncated, corrupt or foreign: skipped, reported, and the scrape goes on."""

from __future__ import annotations

import json
import os
import random
import tempfile
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zlib import crc32

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.peers import NAME, Peer
from vitalsign import Counter, Enum, Gauge, Histogram, Info, Summary, generate_latest
from vitalsign.metrics import internal
from vitalsign.metrics.exposition import generate_openmetrics
from vitalsign.metrics.processes.directory import Directory
from vitalsign.metrics.processes.journal import encode
from vitalsign.metrics.processes.store import Store
from vitalsign.metrics.processes.view import View
from vitalsign.metrics.samples import LazyMetric

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client.metrics_core import Metric

EXAMPLES = int(os.environ.get("VITALSIGN_FUZZ_EXAMPLES", "60"))
SETTINGS = settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
MUTATIONS = EXAMPLES * 2


class Scene:
    """A living process, one that has ended, one that has been folded, and somebody who scrapes."""

    def __init__(self, path: Path) -> None:
        self.directory = Directory(path)
        self.living, ended, retired = (Peer(self.directory) for _ in range(3))
        for peer in (retired, ended, self.living):
            _fill(peer)
        retired.die()
        self.view = View(self.directory, Store(self.directory))
        self.scrape()
        ended.die()
        self.ended = ended.store.name

    def scrape(self) -> bytes:
        """Render the page in both formats, by whoever scrapes."""
        generate_openmetrics(self)
        return generate_latest(self)

    def collect(self) -> Iterator[Metric]:
        """Be a registry, as far as rendering goes."""
        for family in self.view.families(self.living.registry, NAME):
            yield LazyMetric(family, list(family.series.values()))

    def file(self, kind: str) -> Path:
        """Return a file of the scene."""
        name = {"living": self.living.store.name, "ended": self.ended}.get(kind.partition(".")[0])
        return self.directory.path / (f"{name}.{kind.partition('.')[2]}" if name else kind)

    def close(self) -> None:
        """End whoever lives."""
        self.living.die()


def _fill(peer: Peer) -> None:
    counter = Counter("c", "c", ["k"], registry=peer.registry)
    info = Info("i", "i", registry=peer.registry)
    peer.write(counter.labels("a"), 1)
    peer.write(Histogram("h", "h", ["k"], registry=peer.registry, buckets=[1, 2]).labels("a"), 1, 2, 3, 4)
    peer.write(Summary("s", "s", registry=peer.registry), 1, 2)
    peer.write(Gauge("g", "g", registry=peer.registry), 1, 2)
    peer.write(Gauge("m", "g", registry=peer.registry, multiprocess_mode="max"), 1, 2)
    peer.write(Enum("e", "e", registry=peer.registry, states=["x", "y"]), 1, 2)
    peer.store.tell_facts(info, {"version": "1"})
    peer.store.tell_exemplar(counter.labels("a"), 0, counter._family.make_exemplar({"trace": "1"}, 1))


class Failures:
    """Failures that were counted, by place, since this was made."""

    def __init__(self) -> None:
        self._before = self._all()

    def _all(self) -> dict[str, float]:
        return {where: child._read() for (where,), child in internal._counter()._family.children.items()}

    def counted(self) -> set[str]:
        """Return the places that have failed since."""
        return {where for where, count in self._all().items() if count > self._before.get(where, 0)}


KINDS = ["living.names", "living.cells", "ended.names", "ended.cells", "ended.alive", "retired", "lock", "boot"]
BY_OTHERS = [kind for kind in KINDS if not kind.startswith("living")]
"""Files that nobody has mapped: those of a living process are its own, and it would not survive their truncation."""


@pytest.mark.parametrize("kind", KINDS)
def test_mutated_bytes_never_break_a_scrape(kind: str, tmp_path: Path) -> None:
    """Whatever bytes a file holds: bits flipped, pieces cut out, doubled or overwritten, the page is rendered."""
    chance = random.Random(os.environ.get("VITALSIGN_FUZZ_SEED", "processes"))
    failures = Failures()
    scene = Scene(tmp_path / "0")
    for number in range(MUTATIONS):
        path = scene.file(kind)
        path.write_bytes(_mutated(path.read_bytes() if path.exists() else b"", chance, same=kind.startswith("living")))
        assert b"c_total" in scene.scrape(), f"mutation {number} of {kind}"
        if number % 8 == 7:
            scene.close()
            scene = Scene(tmp_path / str(number))
    scene.close()
    assert failures.counted() <= {"processes"}


def _mutated(data: bytes, chance: random.Random, *, same: bool) -> bytes:
    size = len(data)
    mutable = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        place = chance.randrange(size) if size else 0
        match chance.randrange(4 if not same else 1):
            case 0 if size:
                mutable[place : place + 1] = bytes([chance.randrange(256)])
            case 1:
                del mutable[place : place + chance.randint(1, 64)]
            case 2:
                mutable[place:place] = chance.randbytes(chance.randint(1, 64))
            case _:
                mutable[place:place] = mutable[place : place + chance.randint(1, 200)]
    return bytes(mutable[:size] if same else mutable)


@pytest.mark.parametrize("kind", BY_OTHERS)
def test_truncation_at_every_length_never_breaks_a_scrape(kind: str, tmp_path: Path) -> None:
    """A file that ends anywhere is read as far as it goes."""
    failures = Failures()
    data = b""
    for step in range(30):
        scene = Scene(tmp_path / str(step))
        data = scene.file(kind).read_bytes() or data
        scene.file(kind).write_bytes(data[: len(data) * step // 30])
        assert b"c_total" in scene.scrape()
        assert b"c_total" in scene.scrape()
        scene.close()
    assert failures.counted() <= {"processes"}


PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
ANY = st.recursive(
    PLAIN,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)
NUMBER = st.integers(-2, 9) | st.sampled_from([1 << 40, 1 << 70, -1, 0.5, inf])
SPEC = st.fixed_dictionaries(
    {
        "name": st.sampled_from(["c", "h", "new", "", "é", "a b"]) | ANY,
        "kind": st.sampled_from(["counter", "gauge", "histogram", "summary", "info", "stateset", "other"]),
        "help": st.text(max_size=5) | ANY,
        "labels": st.just(["k"]) | st.lists(st.sampled_from(["k", "le", "pid", "é"]), max_size=2) | ANY,
        "unit": st.just("") | ANY,
        "buckets": st.lists(st.floats() | NUMBER, max_size=4) | ANY,
        "states": st.lists(st.text(max_size=2), max_size=2) | ANY,
        "mode": st.sampled_from(["", "all", "min", "livesum", "strange"]) | ANY,
    }
)
RECORD = st.one_of(
    st.tuples(st.just("process"), NUMBER, NUMBER, NUMBER),
    st.tuples(st.just("family"), NUMBER, st.just(NAME), SPEC, NUMBER),
    st.tuples(st.just("child"), NUMBER, NUMBER, st.just(["x"]) | ANY, NUMBER, NUMBER | st.none()),
    st.tuples(st.just("cells"), NUMBER, NUMBER),
    st.tuples(st.just("info"), NUMBER, st.dictionaries(st.text(max_size=3), st.text(max_size=3)) | ANY, NUMBER),
    st.tuples(st.just("exemplar"), NUMBER, NUMBER, st.just({"t": "1"}) | ANY, NUMBER, NUMBER),
    st.tuples(st.just("gone"), NUMBER),
    st.lists(ANY, max_size=4).map(tuple),
)

PLAIN_SPEC = {"name": "new", "kind": "histogram", "help": "h", "labels": ["k"], "unit": "", "states": [], "mode": ""}
WHOLE: list[list[Any]] = [
    ["process", 1, 2, 3.5],
    ["family", 1, NAME, {**PLAIN_SPEC, "buckets": [1.0, inf]}, 9],
    ["family", 2, NAME, {**PLAIN_SPEC, "name": "told", "kind": "info", "buckets": []}, 9],
    ["child", 3, 1, ["x"], 1.5, None],
    ["child", 4, 2, ["x"], 1.5, None],
    ["cells", 3, 0],
    ["info", 4, {"version": "1"}, 2.5],
    ["exemplar", 3, 1, {"trace": "1"}, 2.0, 3.0],
    ["gone", 4],
]


@st.composite
def almost_whole(draw: st.DrawFn) -> list[list[Any]]:
    """Draw a journal that is right but in one or two places, at any depth."""
    records: list[Any] = json.loads(json.dumps(WHOLE[: draw(st.integers(4, len(WHOLE)))]))
    for _ in range(draw(st.integers(1, 2))):
        place: Any = draw(st.sampled_from(records))
        key = draw(st.integers(1, len(place) - 1))
        while isinstance(place[key], dict | list) and place[key] and draw(st.integers(0, 3)):
            place = place[key]
            key = draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
        place[key] = draw(ANY | NUMBER)
    return records


@SETTINGS
@given(
    records=st.lists(RECORD, max_size=12) | almost_whole(),
    cells=st.binary(max_size=200) | st.just(bytes(200)),
    alive=st.booleans(),
)
def test_records_that_nobody_writes_never_break_a_scrape(records: list[Any], cells: bytes, alive: bool) -> None:
    """A journal whose sums are right and whose records are nonsense spoils neither the page nor the others' counts."""
    failures = Failures()
    with tempfile.TemporaryDirectory() as temporary:
        scene = Scene(Path(temporary) / "shared")
        path = scene.directory.path
        lock = scene.directory.lock_alive("9-x")
        if not alive:
            lock.let_go()
        (path / "9-x.names").write_bytes(b"".join(encode(list(record)) for record in records))
        (path / "9-x.cells").write_bytes(cells)
        for _ in range(2):
            assert b"c_total" in scene.scrape()
        lock.let_go()
        assert b"c_total" in scene.scrape()
        scene.close()
    assert {each for each in failures.counted() if not each.startswith("processes, shape")} <= {"processes"}


CHILD = st.tuples(
    st.lists(st.text(max_size=2), max_size=2) | ANY,
    st.lists(st.floats() | NUMBER, max_size=4) | ANY,
    NUMBER,
    NUMBER,
    st.dictionaries(NUMBER.map(str), st.tuples(ANY, NUMBER, NUMBER), max_size=2) | ANY,
)
RETIRED = st.fixed_dictionaries(
    {
        "swallowed": st.lists(st.text(max_size=3)) | ANY,
        "families": ANY
        | st.lists(
            ANY
            | st.fixed_dictionaries(
                {"registry": st.just(NAME), "spec": SPEC, "max_series": NUMBER, "children": st.lists(CHILD, max_size=3)}
            ),
            max_size=3,
        ),
    }
)


@SETTINGS
@given(told=RETIRED | ANY)
def test_retired_counts_that_nobody_writes_never_break_a_scrape(told: Any) -> None:
    """A retired file whose sum is right and whose content is nonsense is put aside, or taken where it makes sense."""
    failures = Failures()
    with tempfile.TemporaryDirectory() as temporary:
        scene = Scene(Path(temporary) / "shared")
        text = json.dumps(told).encode()
        (scene.directory.path / "retired").write_bytes(b"%08x %s" % (crc32(text), text))
        for _ in range(2):
            assert b"c_total" in scene.scrape()
        scene.close()
    assert {each for each in failures.counted() if not each.startswith("processes, shape")} <= {"processes"}


def test_foreign_things_under_our_names_never_break_a_scrape(tmp_path: Path) -> None:
    """Folders, pipes, sockets, links to nowhere and endless files under names like ours are passed over."""
    scene = Scene(tmp_path / "shared")
    path = scene.directory.path
    for suffix in ("alive", "cells", "names"):
        (path / f"folder.{suffix}").mkdir()
        (path / f"link.{suffix}").symlink_to(path / "nowhere")
        os.mkfifo(path / f"pipe.{suffix}")
        (path / f"bytes\udcff.{suffix}").touch()
    (path / "odd.alive").touch()
    os.mkfifo(path / "odd.names")
    (path / "odd.cells").mkdir()
    (path / "endless.alive").touch()
    spec = {"name": "n", "kind": "counter", "help": ""}
    records = [["family", 1, NAME, spec, 1], ["child", 2, 1, [], 0, None], ["cells", 2, 1 << 38]]
    (path / "endless.names").write_bytes(b"".join(map(encode, records)))
    with (path / "endless.cells").open("wb") as file:
        file.truncate(1 << 42)
    (path / "retired.tmp").mkdir()
    for _ in range(3):
        assert b'c_total{k="a"} 3.0' in scene.scrape()
    scene.close()


def _put(path: Path, form: str) -> None:
    """Put something in the place of a file; not into it, since its process may have it mapped."""
    path.unlink(missing_ok=True)
    match form:
        case "folder":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
        case "link":
            path.symlink_to("nowhere")
        case "foreign":
            path.write_bytes(random.Random(form).randbytes(100_000))
        case "empty":
            path.touch()
        case "endless":
            path.touch()
            os.truncate(path, 1 << 42)
        case _:
            assert form == "gone"


@pytest.mark.parametrize("form", ["folder", "pipe", "link", "foreign", "empty", "endless", "gone"])
@pytest.mark.parametrize("kind", [*KINDS, "living.alive"])
def test_anything_in_the_place_of_a_file_costs_only_what_it_held(kind: str, form: str, tmp_path: Path) -> None:
    """Whatever stands where a file was, the page is rendered, and the counts of the other processes are exact."""
    failures = Failures()
    scene = Scene(tmp_path / "shared")
    witness = Peer(scene.directory)
    cells = witness.write(Counter("c", "c", ["k"], registry=witness.registry).labels("witness"), 1)
    scene.scrape()
    _put(scene.file(kind), form)
    # Who cannot lock the directory cannot tell the living from the folded, and shows what was there before.
    is_stale = kind == "lock" and form in ("folder", "link")
    for count in (2, 3, 4):
        cells[0] = count
        shown = b'c_total{k="witness"} %d.0\n' % (1 if is_stale else count)
        assert shown in scene.scrape()
        if not is_stale:
            scene.view = View(scene.directory, Store(scene.directory))  # somebody else, who has never read
            assert shown in scene.scrape()
    assert failures.counted() <= {"processes"}
    witness.die()
    scene.close()


def test_broken_journal_is_reported_once_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """One broken file of a living process is one line in the log and one count, however often it is scraped."""
    internal._reported.discard("processes")
    failures = internal._counter().labels("processes")
    before = failures._read()
    scene = Scene(tmp_path / "shared")
    with scene.file("living.names").open("ab") as file:
        file.write(b"garbage\n")
    for _ in range(5):
        assert b'c_total{k="a"} 3.0' in scene.scrape()
    assert failures._read() == before + 1
    assert [record.exc_info is not None for record in caplog.records if record.name == "vitalsign"] == [True]
    scene.close()
