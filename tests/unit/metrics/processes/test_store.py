"""The store: cells that are a process's own, zero when given, never two owners', and gone with their children."""

from __future__ import annotations

import errno
import gc
import os
import resource
import signal
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.peers import Peer
from tests.processes import forked
from vitalsign import Counter, Gauge, Histogram, Info
from vitalsign.metrics.processes import cellsfile, journal
from vitalsign.metrics.processes.directory import CELL

if TYPE_CHECKING:
    from vitalsign.metrics.processes.directory import Directory
    from vitalsign.metrics.processes.reader import ProcessFiles


DESCRIPTORS = Path("/proc/self/fd")


@pytest.fixture
def peer(directory: Directory) -> Peer:
    """Return a process with files of its own."""
    return Peer(directory)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give out again at once what has been given back."""
    monkeypatch.setattr(cellsfile, "_QUARANTINE", 0.0)


def told(files: ProcessFiles) -> dict[tuple[str, ...], list[float]]:
    """Return what a reader makes of one process's files: numbers by label values."""
    return {
        child.labels: files.numbers(child, 1)
        for family in files.families.values()
        for child in family.children.values()
    }


def test_nothing_is_made_before_it_is_needed(peer: Peer, directory: Directory) -> None:
    """A process that counts nothing leaves no files."""
    assert (peer.store.name, directory.names()) == ("", [])
    peer.write(Counter("c", "c", registry=peer.registry), 1)
    assert directory.names() == [peer.store.name]
    assert directory.is_alive(peer.store.name)


def test_cells_are_zero_distinct_and_read_by_others(peer: Peer) -> None:
    """Every thread's cells begin at zero, lie apart, and are added up by a reader."""
    counter = Counter("c", "c", ["k"], registry=peer.registry)
    views = [peer.store.cells_for(counter.labels(k), 1) for k in "aabc"]
    assert [list(view) for view in views] == [[0.0]] * 4
    for number, view in enumerate(views):
        view[0] = 10.0**number
    assert told(peer.files()) == {("a",): [11], ("b",): [100], ("c",): [1000]}


def test_file_grows_by_segments_and_old_cells_stay(peer: Peer) -> None:
    """Cells that were given before the file grew are what readers see; what does not fit overlaps nothing."""
    histogram = Histogram("h", "h", ["k"], registry=peer.registry, buckets=range(1, 100))
    width = 101
    views = [peer.store.cells_for(histogram.labels(str(number)), width) for number in range(600)]
    for number, view in enumerate(views):
        for place in range(width):
            view[place] = number
    assert all(list(view) == [number] * width for number, view in enumerate(views))
    assert len(peer.store._cells._segments) > 3
    files = peer.files()
    (family,) = files.families.values()
    assert [files.numbers(child, width) for child in family.children.values()] == [[n] * width for n in range(600)]
    assert os.fstat(peer.store._cells._file.number).st_blocks * 512 >= 600 * width * CELL


def test_child_wider_than_a_segment_gets_its_cells(peer: Peer) -> None:
    """A histogram of very many buckets is given as many cells as it needs."""
    width = cellsfile._SEGMENT + 2
    histogram = Histogram("h", "h", registry=peer.registry, buckets=range(1, width - 1))
    assert list(peer.store.cells_for(histogram, width)) == [0.0] * width


def test_removed_child_is_no_longer_told_and_its_cells_rest(peer: Peer) -> None:
    """What is removed and let go of disappears for readers; its cells are nobody's for a while."""
    counter = Counter("c", "c", ["k"], registry=peer.registry)
    peer.write(counter.labels("a"), 5)
    start = next(iter(peer.store._entries.values())).blocks[0][0]
    counter.remove("a")
    peer.write(counter.labels("b"), 7)
    assert told(peer.files()) == {("b",): [7]}
    assert [where for _, where in peer.store._cells._free[1]] == [start]


@pytest.mark.usefixtures("impatient")
def test_cells_of_a_removed_child_are_zeroed_and_used_again(peer: Peer) -> None:
    """Label sets that come and go need no more room: cells are given again, at zero."""
    counter = Counter("c", "c", ["k"], registry=peer.registry)
    for number in range(20_000):
        cells = peer.write(counter.labels(str(number)), 1)
        counter.clear()
        del cells
    last = peer.store.cells_for(counter.labels("last"), 1)
    assert list(last) == [0.0]
    assert len(peer.store._cells._segments) == 1
    assert os.fstat(peer.store._journal._file.number).st_size < 2 * journal._MIN_COMPACTION
    assert told(peer.files()) == {("last",): [0]}


@pytest.mark.usefixtures("impatient")
def test_child_that_is_held_after_removal_keeps_its_cells_to_itself(peer: Peer) -> None:
    """While somebody holds a removed child, what it writes is in nobody else's series, nor shown."""
    counter = Counter("c", "c", ["k"], registry=peer.registry)
    held = counter.labels("a")
    cells = peer.write(held, 1)
    counter.remove("a")
    peer.store.forget(held)
    others = [peer.write(counter.labels(str(number)), 0) for number in range(100)]
    more = peer.store.cells_for(held, 1)
    cells[0] = more[0] = 99.0
    assert [list(each) for each in others] == [[0.0]] * 100
    assert set(told(peer.files())) == {(str(number),) for number in range(100)}


def test_child_that_is_gone_tells_nothing_more(peer: Peer) -> None:
    """Facts and exemplars of a removed child that is still held do not break the journal for its readers."""
    info, counter = Info("i", "i", ["k"], registry=peer.registry), Counter("c", "c", ["k"], registry=peer.registry)
    held, counted = info.labels("a"), counter.labels("a")
    peer.store.announce(held)
    peer.write(counted, 1)
    for child in (held, counted):
        peer.store.forget(child)
        peer.store.forget(child)
    peer.store.tell_facts(held, {"version": "1"})
    peer.store.tell_exemplar(counted, 0, counter._family.make_exemplar({"t": "1"}, 1))
    peer.write(counter.labels("b"), 2)
    assert told(peer.files()) == {("b",): [2]}


def test_child_that_is_renewed_starts_from_nothing(peer: Peer) -> None:
    """After a reset a reader sees only what is counted since; a removed child is not brought back by it."""
    counter = Counter("c", "c", ["k"], registry=peer.registry)
    child, removed = counter.labels("a"), counter.labels("b")
    for each in (child, removed):
        peer.write(each, 5)
    peer.store.renew(child)
    assert told(peer.files())[("a",)] == [0]
    peer.write(child, 3)
    peer.store.forget(removed)
    peer.store.renew(removed)
    assert told(peer.files()) == {("a",): [3]}


def test_compaction_keeps_everything_that_holds(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A journal that is written anew tells the same: cells, facts, exemplars, and nothing of what is gone."""
    counter = Counter("c", "c", ["k"], registry=peer.registry)
    info = Info("i", "i", registry=peer.registry)
    for k in "abc":
        peer.write(counter.labels(k), ord(k))
    peer.write(counter.labels("c"), 1000)  # by a second thread
    exemplar = counter._family.make_exemplar({"trace": "1"}, 1)
    peer.store.tell_exemplar(counter.labels("a"), 0, exemplar)
    peer.store.forget(counter.labels("b"))
    monkeypatch.setattr(peer.store._journal, "_compact_at", 0)
    peer.store.tell_facts(info, {"version": "1"})
    files = peer.files()
    families = {family.spec.name: list(family.children.values()) for family in files.families.values()}
    assert [(child.labels, files.numbers(child, 1), child.exemplars) for child in families["c"]] == [
        (("a",), [97], {0: exemplar}),
        (("c",), [1099], None),
    ]
    assert families["i"][0].facts == ({"version": "1"}, peer.store._entries[id(info)].facts[1])  # type: ignore[index]


def test_family_that_nobody_has_any_more_is_forgotten(peer: Peer) -> None:
    """A labelled metric whose last holder lets go of it takes its series from the others' pages."""
    counter = Counter("c", "c", ["k"], registry=None)
    peer.write(counter.labels("a"), 1)
    assert told(peer.files()) == {("a",): [1]}
    del counter
    gc.collect()
    peer.write(Counter("d", "d", registry=peer.registry), 1)
    assert told(peer.files()) == {(): [1]}
    assert len(peer.store._families) == 1


def test_full_disk_gives_an_error_and_leaks_nothing(directory: Directory) -> None:
    """Where there is no room for cells, or for the journal, each try fails alike, with no file or descriptor more."""

    def work() -> tuple[list[int], set[int], list[str]]:
        peer, counter = Peer(directory), Counter("c", "c", registry=None)
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        failures, descriptors = [], set()
        for room in (0, 0, 0, 1000, 1000, 1000):
            resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
            try:
                peer.write(counter, 1)
            except OSError as error:
                failures.append(error.errno)
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            descriptors.add(len(list(DESCRIPTORS.iterdir())) - (4 if peer.store.name else 0))
        if peer.write(counter, 4)[0] != 4:
            failures.append(-1)
        return failures, descriptors, sorted(path.name for path in directory.path.iterdir())

    failures, descriptors, files = forked(work)
    assert failures == [errno.EFBIG] * 6
    assert len(descriptors) == 1
    assert [name.rpartition(".")[2] for name in files if "-" in name] == ["alive", "cells", "names"]


def test_cells_whose_place_could_not_be_told_are_given_to_the_next(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A journal that fails costs no cells."""
    counter = Counter("c", "c", ["k"], registry=peer.registry)
    peer.write(counter.labels("a"), 1)
    place = peer.store._cells._next
    with monkeypatch.context() as broken:
        broken.setattr(peer.store._journal, "append", _refuse)
        for _ in range(5):
            with pytest.raises(OSError, match="No space"):
                peer.store.cells_for(counter.labels("b"), 1)
    peer.write(counter.labels("b"), 2)
    assert peer.store._cells._next == place + 1
    assert told(peer.files()) == {("a",): [1], ("b",): [2]}


def _refuse(*_: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_end_of_a_child_that_could_not_be_told_is_told_later(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the journal cannot be written, a removed child's cells are not given to others."""
    counter = Counter("c", "c", ["k"], registry=peer.registry)
    peer.write(counter.labels("a"), 1)
    counter.remove("a")
    with monkeypatch.context() as broken:
        broken.setattr(peer.store._journal, "append", _refuse)
        with pytest.raises(OSError, match="No space"):
            peer.store.announce(counter.labels("b"))
    assert peer.store._cells._free == {}
    peer.write(counter.labels("b"), 2)
    assert told(peer.files()) == {("b",): [2]}


def test_cut_off_cells_file_is_an_error_and_no_signal(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that somebody has truncated cannot be mapped further, which is an OSError like a full disk."""
    counter = Counter("c", "c", ["k"], registry=peer.registry)
    peer.write(counter.labels("a"), 1)
    peer.store._cells._next = peer.store._cells._length
    monkeypatch.setattr(cellsfile, "claim", lambda *_: None)
    with pytest.raises(OSError, match="cut off"):
        peer.store.cells_for(counter.labels("b"), 1)


def test_cells_are_claimed_where_there_is_no_fallocate(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    """On platforms without posix_fallocate the file's room is claimed by writing it."""
    monkeypatch.delattr(os, "posix_fallocate")
    peer.write(Counter("c", "c", registry=peer.registry), 3)
    assert told(peer.files()) == {(): [3]}
    assert os.fstat(peer.store._cells._file.number).st_blocks > 0


@pytest.mark.parametrize("call", ["posix_fallocate", "write"])
def test_signal_handler_in_the_middle_of_a_first_write(peer: Peer, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    """A handler that takes cells while cells are being taken gets its own, whatever step it comes in at."""
    counter = Counter("c", "c", ["k"], registry=peer.registry)
    real = getattr(os, call)
    taken: list[Any] = []
    handling: list[bool] = []

    def handler(*_: Any) -> None:
        if len(taken) < 50 and not handling:
            handling.append(True)
            taken.append(peer.write(counter.labels(f"h{len(taken)}"), 1))
            handling.clear()

    def interrupted(*arguments: Any) -> Any:
        result = real(*arguments)
        os.kill(os.getpid(), signal.SIGUSR1)
        return result

    previous = signal.signal(signal.SIGUSR1, handler)
    try:
        monkeypatch.setattr(os, call, interrupted)
        views = [peer.write(counter.labels(str(number)), 100 + number) for number in range(30)]
    finally:
        monkeypatch.undo()
        signal.signal(signal.SIGUSR1, previous)
    assert taken
    assert [list(view) for view in views] == [[100 + number] for number in range(30)]
    expected = {(str(number),): [100 + number] for number in range(30)}
    assert told(peer.files()) == expected | {(f"h{number}",): [1] for number in range(len(taken))}


def test_handler_that_needs_more_room_than_the_one_that_it_interrupts(
    peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often the file grows while it is growing, no cells have two owners."""
    peer.write(Counter("c", "c", registry=peer.registry), 1)
    file, real = peer.store._cells, os.posix_fallocate
    width = cellsfile._SEGMENT - 1
    nested: list[int] = []

    def interrupted(*arguments: Any) -> None:
        real(*arguments)
        if not nested:
            nested.append(0)
            nested[:] = [file.allocate(width)[0] for _ in range(3)]

    monkeypatch.setattr(os, "posix_fallocate", interrupted)
    given = sorted([file.allocate(width)[0] for _ in range(5)] + nested)
    assert all(after - before >= width for before, after in pairwise(given))


def test_handler_that_takes_cells_of_the_same_child(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A child that a handler announces while it is being announced is told once."""
    counter = Counter("c", "c", registry=peer.registry)
    peer.write(Counter("first", "c", registry=peer.registry), 0)
    real = peer.store._journal.append

    def append(record: list[Any]) -> None:
        real(record)
        if record[0] == "child":
            monkeypatch.setattr(peer.store._journal, "append", real)
            peer.write(counter, 1)

    monkeypatch.setattr(peer.store._journal, "append", append)
    peer.write(counter, 2)
    files = peer.files()
    family = next(family for family in files.families.values() if family.spec.name == "c")
    assert [files.numbers(child, 1) for child in family.children.values()] == [[3]]
    assert [len(free) for free in peer.store._cells._free.values()] == [1]  # the cells that were taken in vain


def test_forked_child_lets_go_of_files_that_were_closed_behind_its_back(peer: Peer, directory: Directory) -> None:
    """A process that has closed all descriptors, as daemons do, can still fork and go on."""
    peer.write(Gauge("g", "g", registry=peer.registry), 1, 1)

    def work() -> bool:
        for path in list(DESCRIPTORS.iterdir()):
            if path.is_symlink() and directory.path in path.readlink().parents:
                os.close(int(path.name))
        peer.store.abandon()
        return True

    assert forked(work)


def test_new_life_begins_where_the_lock_was_closed_before_the_first_count(peer: Peer, directory: Directory) -> None:
    """Label sets that came and went before a process became a daemon are no matter after it."""
    counter = Counter("c", "c", ["k"], registry=peer.registry)
    peer.store.announce(counter.labels("gone"))
    counter.clear()
    first = peer.store.name
    os.close(peer.store._lock.number)
    peer.write(counter.labels("a"), 1)
    assert peer.store.name != first
    assert directory.is_alive(peer.store.name)
    assert not directory.is_alive(first)
    assert told(peer.files()) == {("a",): [1]}
