"""Folding: the dead are added up once, whatever happens in the middle of it."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zlib import crc32

import pytest

from tests.peers import Peer, page_of
from tests.processes import forked
from vitalsign import Counter, Gauge, Histogram, Info
from vitalsign.metrics.processes import directory as module
from vitalsign.metrics.processes.reader import ProcessFiles
from vitalsign.metrics.processes.retired import Retired, fold
from vitalsign.metrics.processes.store import Store
from vitalsign.metrics.processes.view import View

if TYPE_CHECKING:
    from collections.abc import Callable

    from vitalsign.metrics.processes.directory import Directory

TOTALS = {"c": {("a",): 6.0, ("b",): 3.0}, "h": {(): [3, 6, 9.0]}}


@pytest.fixture
def dead(directory: Directory) -> list[Peer]:
    """Return three processes that have counted and ended."""
    peers = []
    for number in (1, 2, 3):
        peer = Peer(directory)
        counter = Counter("c", "c", ["k"], registry=peer.registry)
        peer.write(counter.labels("a"), number)
        peer.write(counter.labels("b"), 1)
        peer.write(Histogram("h", "h", registry=peer.registry, buckets=[1]), 1, 2, 3)
        peers.append(peer)
    for peer in peers:
        peer.die()
    return peers


def files_of_the_dead(directory: Directory) -> list[str]:
    """Return the names of files of processes."""
    return [path.name for path in directory.path.iterdir() if path.suffix in (".alive", ".cells", ".names", ".tmp")]


@pytest.mark.usefixtures("dead")
def test_dead_are_folded_into_one_file(directory: Directory) -> None:
    """After a scrape nothing is left of the dead but their counts, which every later scrape shows."""
    assert page_of(directory) == TOTALS
    assert files_of_the_dead(directory) == []
    assert page_of(directory) == TOTALS


def die_while_scraping(directory: Directory, at: int, *, after: bool) -> int:
    """Scrape in a child that ends before or after its n-th step that changes the directory; return its exit code."""
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    done = [0]

    def guard(owner: Any, name: str) -> None:
        real = getattr(owner, name)

        def call(*arguments: Any, **options: Any) -> Any:
            done[0] += 1
            if done[0] == at and not after:
                os._exit(9)
            result = real(*arguments, **options)
            if done[0] == at:
                os._exit(9)
            return result

        setattr(owner, name, call)

    guard(Path, "replace")
    guard(Path, "unlink")
    guard(os, "fdopen")
    page_of(directory)
    os._exit(0)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("at", range(1, 17))
@pytest.mark.usefixtures("dead")
def test_dying_at_any_step_of_a_fold_neither_loses_nor_doubles(directory: Directory, at: int, after: bool) -> None:
    """Whoever folds may be killed before or after any step: the next scrape is exact, and so is the one after."""
    assert die_while_scraping(directory, at, after=after) == (9 if at <= 15 else 0)
    assert page_of(directory) == TOTALS
    assert page_of(directory) == TOTALS
    assert set(files_of_the_dead(directory)) <= {"retired.tmp"}


@pytest.mark.parametrize("at", range(1, 17))
@pytest.mark.usefixtures("dead", "unreported")
def test_failing_step_of_a_fold_is_survived(directory: Directory, monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    """A disk that refuses any step does not keep the scrape from being exact."""
    with monkeypatch.context() as refusing:
        real, done = Path.unlink, [0]

        def unlink(path: Path, missing_ok: bool = False) -> None:
            done[0] += 1
            if done[0] == at:
                raise OSError(30, "Read-only file system")
            real(path, missing_ok)

        refusing.setattr(Path, "unlink", unlink)
        assert page_of(directory) == TOTALS
    assert page_of(directory) == TOTALS
    assert files_of_the_dead(directory) == []


@pytest.mark.usefixtures("dead")
def test_file_that_cannot_be_written_keeps_the_dead_as_they_are(
    directory: Directory, monkeypatch: pytest.MonkeyPatch, unreported: Callable[[], float]
) -> None:
    """On a full disk the dead are added up from their own files, at each scrape, until there is room."""
    before = sorted(files_of_the_dead(directory))
    with monkeypatch.context() as full:

        def refuse(*_: object) -> None:
            raise OSError(28, "No space left on device")

        full.setattr(os, "fdopen", refuse)
        assert page_of(directory) == TOTALS
        assert sorted(files_of_the_dead(directory)) == before
    assert unreported() == 1
    assert page_of(directory) == TOTALS
    assert files_of_the_dead(directory) == []


@pytest.mark.usefixtures("dead")
def test_two_folders_at_once_add_up_once(directory: Directory, dead: list[Peer]) -> None:
    """Who has read the dead before another one folded them does not fold them again."""
    late = [peer.files() for peer in dead]
    first = View(directory, Store(directory))
    assert page_of(first) == TOTALS
    with directory.folding():
        fold(directory, late)
    assert page_of(first) == page_of(directory) == TOTALS


@pytest.mark.usefixtures("dead")
def test_folder_that_looked_before_another_folded_counts_nobody_twice(
    directory: Directory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between seeing the dead and locking the directory another process may have folded them."""
    real = type(directory).folding

    def late(self: Directory, **options: Any) -> Any:
        monkeypatch.setattr(type(directory), "folding", real)
        page_of(directory)
        return real(self, **options)

    monkeypatch.setattr(type(directory), "folding", late)
    assert page_of(directory) == TOTALS
    assert page_of(directory) == TOTALS


def test_nobody_folds_while_files_are_read(directory: Directory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A scrape that reads the files, one after the other, keeps those out who would move counts between them."""
    peer = Peer(directory)
    peer.write(Counter("c", "c", registry=peer.registry), 1)
    real, attempts = ProcessFiles.refresh, []

    def refresh(files: ProcessFiles) -> None:
        with directory.folding() as alone:
            attempts.append(alone)
        real(files)

    monkeypatch.setattr(ProcessFiles, "refresh", refresh)
    assert page_of(directory) == {"c": {(): 1}}
    assert attempts == [False]


def test_many_scrapers_at_once_show_no_counter_going_down(directory: Directory, dead: list[Peer]) -> None:
    """While processes scrape and fold in parallel, each page of each of them is exact."""

    def scrape() -> list[bool]:
        view = View(directory, Store(directory))
        return [page_of(view) == TOTALS for _ in range(20)]

    children = []
    for _ in range(3):
        pid = os.fork()
        if pid == 0:
            os._exit(0 if all(scrape()) else 1)
        children.append(pid)
    assert all(scrape())
    assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children] == [0, 0, 0]


def test_what_told_of_a_living_process_goes_with_it(directory: Directory) -> None:
    """Counts, facts, exemplars and the gauges that outlive a process stay; gauges of the living do not."""
    peer = Peer(directory)
    modes = ("all", "liveall", "min", "livemin", "max", "livemax", "sum", "livesum", "mostrecent", "livemostrecent")
    for mode in modes:
        peer.write(Gauge(mode, "g", registry=peer.registry, multiprocess_mode=mode), 4, 100)  # type: ignore[arg-type]
    counter, info = Counter("c", "c", registry=peer.registry), Info("i", "i", registry=peer.registry)
    peer.write(counter, 1)
    exemplar = counter._family.make_exemplar({"trace": "1"}, 1)
    peer.store.tell_exemplar(counter, 0, exemplar)
    peer.store.tell_facts(info, {"version": "1"})
    assert set(page_of(directory)) == {*modes, "c", "i"}
    peer.die()
    for _ in range(2):
        page = page_of(directory)
        assert page == {
            "c": {(): 1},
            "i": {(): {"version": "1"}},
            **{mode: {(): 4} for mode in ("min", "max", "sum", "mostrecent")},
        }
    ((_, family),) = [item for item in Retired.load(directory).families.items() if item[0][1].name == "c"]
    assert family.series[()]._exemplars == {0: exemplar}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"garbage",
        b"00000000 {}",
        b"\xff\x00",
        *[
            b"%08x %s" % (crc32(text), text)
            for text in (
                b"{}",
                b"[]",
                b'{"swallowed":[],"families":[{}]}',
                b'{"swallowed":[[]],"families":[]}',
                b"[" * 9999,
            )
        ],
    ],
)
def test_broken_retired_file_is_put_aside(directory: Directory, data: bytes, unreported: Callable[[], float]) -> None:
    """A retired file that nobody has written is reported, kept for whoever wants to see it, and counting goes on."""
    living, ending = Peer(directory), Peer(directory)
    for peer in (living, ending):
        peer.write(Counter("c", "c", registry=peer.registry), 1)
    (directory.path / "retired").write_bytes(data)
    assert page_of(directory) == {"c": {(): 2}}
    assert unreported() == 1
    ending.die()
    assert page_of(directory) == {"c": {(): 2}}
    assert (directory.path / "retired.broken").read_bytes() == data
    assert json.loads((directory.path / "retired").read_bytes()[9:])["swallowed"] == [ending.store.name]


def test_retired_counts_of_a_foreign_kind_are_refused_whole(
    directory: Directory, dead: list[Peer], unreported: Callable[[], float]
) -> None:
    """Numbers that do not fit their metric make the file broken, rather than a page that cannot be rendered."""
    page_of(directory)
    told = json.loads((directory.path / "retired").read_bytes()[9:])
    told["families"][0]["children"][0][1] = [1, 2, 3]
    text = json.dumps(told).encode()
    (directory.path / "retired").write_bytes(b"%08x %s" % (crc32(text), text))
    assert page_of(directory) == {}
    assert unreported() == 1


def test_directory_that_is_taken_away_leaves_what_was_known(
    directory: Directory, dead: list[Peer], unreported: Callable[[], float]
) -> None:
    """A scrape survives a directory that is gone: it shows its own metrics and what it read the last time."""
    view = View(directory, Store(directory))
    assert page_of(view) == TOTALS
    shutil.rmtree(directory.path)
    own = Peer(directory)
    counter = Counter("own", "c", registry=own.registry)
    counter.inc()
    assert page_of(view, own.registry) == {**TOTALS, "own": {(): 1}}
    assert unreported() == 1


def test_child_that_folds_changes_nothing_for_a_reader_that_follows(directory: Directory, dead: list[Peer]) -> None:
    """A process that has read the dead before another folded them goes on showing the same."""
    follower = View(directory, Store(directory))
    with directory.reading():  # so that it cannot fold
        assert page_of(follower) == TOTALS
    assert forked(lambda: page_of(directory)) == TOTALS
    assert page_of(follower) == TOTALS


def make_unreadable(path: Path, kind: str) -> None:
    """Put something else in the place of a file."""
    path.unlink(missing_ok=True)
    match kind:
        case "folder":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
        case "link":
            path.symlink_to("nowhere")
        case _:
            path.write_bytes(b"")


@pytest.mark.parametrize("kind", ["folder", "pipe", "link", "empty"])
@pytest.mark.usefixtures("dead")
def test_retired_file_that_is_none_costs_only_what_it_held(
    directory: Directory, kind: str, unreported: Callable[[], float]
) -> None:
    """Whatever is in the place of the retired file, living and dead processes are added up, and the page is whole."""
    make_unreadable(directory.path / "retired", kind)
    living = Peer(directory)
    cells = living.write(Counter("c", "c", ["k"], registry=living.registry).labels("a"), 10)
    view = View(directory, Store(directory))
    assert page_of(view)["c"]["a",] == 16.0
    assert unreported() >= 1
    cells[0] = 20
    assert page_of(view)["c"]["a",] == page_of(directory)["c"]["a",] == 26.0
    living.die()


@pytest.mark.usefixtures("dead")
def test_retired_file_that_cannot_be_read_for_a_while_goes_on_as_it_was(
    directory: Directory, monkeypatch: pytest.MonkeyPatch, unreported: Callable[[], float]
) -> None:
    """Who has read it goes on from that, and the living are added up as they are now: no count goes down."""
    living = Peer(directory)
    cells = living.write(Counter("c", "c", ["k"], registry=living.registry).labels("a"), 10)
    view = View(directory, Store(directory))
    assert page_of(view)["c"]["a",] == 16.0
    cells[0] = 20

    def refuse(*_: object) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as broken:
        broken.setattr(type(directory), "mark_of_retired", refuse)
        assert page_of(view)["c"]["a",] == 26.0
    assert unreported() == 1
    living.die()


def test_process_whose_files_were_removed_says_so(directory: Directory, unreported: Callable[[], float]) -> None:
    """Who is scraped and finds its own files gone tells that the others do not see what it counts."""
    peer = Peer(directory)
    peer.write(Counter("c", "c", registry=peer.registry), 1)
    directory.remove(peer.store.name)
    page_of(View(directory, peer.store))
    assert unreported() == 1
    peer.die()


@pytest.mark.usefixtures("dead")
def test_folder_that_is_stopped_keeps_no_scrape_waiting(
    directory: Directory, monkeypatch: pytest.MonkeyPatch, unreported: Callable[[], float]
) -> None:
    """Who has read before shows that; who has not, shows nothing rather than counts that seem to start anew."""
    monkeypatch.setattr(module, "PATIENCE", 0.05)
    view = View(directory, Store(directory))
    assert page_of(view) == TOTALS
    with directory.folding():
        assert page_of(view) == TOTALS
        assert unreported() == 1
        with pytest.raises(TimeoutError, match="is the process that adds up stopped"):
            page_of(directory)
    assert page_of(directory) == TOTALS


@pytest.mark.usefixtures("dead")
def test_fold_removes_strays(directory: Directory) -> None:
    """What a process left that died before it could be found goes with the next fold, once it is old."""
    stray = directory.path / "9-stray.cells"
    stray.touch()
    os.utime(stray, (0, 0))
    page_of(directory)
    assert not stray.exists()


def test_what_a_process_counts_until_it_dies_is_read(directory: Directory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether a process lives is asked before it is read: of one that is taken for dead nothing is missing."""
    peer = Peer(directory)
    cells = peer.write(Counter("c", "c", registry=peer.registry), 1)
    real, asked = directory.is_alive, []

    def is_alive(name: str) -> bool:
        asked.append(name)
        if len(asked) == 2:  # first by who looks for the dead, then by who reads
            cells[0] = 5
            peer.die()
        return real(name)

    monkeypatch.setattr(directory, "is_alive", is_alive)
    assert page_of(directory) == {"c": {(): 5}}
