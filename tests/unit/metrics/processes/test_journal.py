"""The journal: appended to, read as far as it is whole, written anew without a reader losing its place."""

from __future__ import annotations

import os
import resource
from typing import TYPE_CHECKING, Any

import pytest

from tests.processes import forked
from vitalsign.metrics.processes import journal as module
from vitalsign.metrics.processes.journal import CorruptJournalError, Journal, JournalTail, encode

if TYPE_CHECKING:
    from pathlib import Path


def read(tail: JournalTail) -> tuple[bool, list[Any]]:
    """Read what is new, whole."""
    is_new, records = tail.read()
    return is_new, list(records)


def read_to_the_break(tail: JournalTail) -> list[Any]:
    """Read what stands before a broken line."""
    before: list[Any] = []
    _, records = tail.read()
    with pytest.raises(CorruptJournalError, match="not a record"):
        before.extend(records)
    tail.stop()
    return before


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where a journal is written."""
    return tmp_path / "1-a.names"


def test_tail_reads_what_has_been_added(path: Path) -> None:
    """Each read returns what is new since the one before."""
    journal, tail = Journal(path), JournalTail(path)
    assert read(tail) == (False, [])
    journal.append(["process", 1])
    assert read(tail) == (False, [["process", 1]])
    journal.append(["gone", "é\n\ud800"])
    journal.append(["gone", 3])
    assert read(tail) == (False, [["gone", "é\n\ud800"], ["gone", 3]])
    assert read(tail) == (False, [])
    journal.close()


def test_journal_that_is_not_there_holds_nothing(path: Path) -> None:
    """A process that has not written its journal yet has told nothing."""
    assert read(JournalTail(path)) == (False, [])


def test_line_that_is_not_whole_is_read_once_it_is(path: Path) -> None:
    """A line is taken when its end is there, however it comes in."""
    tail, line = JournalTail(path), encode(["a", 1])
    records = []
    for end in range(1, len(line) + 1):
        path.write_bytes(line[:end])
        records += read(tail)[1]
        assert records == ([["a", 1]] if end == len(line) else [])


def test_partial_line_that_is_cut_off_again_does_no_harm(path: Path) -> None:
    """A write that failed half way, was seen, and was taken back leaves the reader in its place."""
    journal, tail = Journal(path), JournalTail(path)
    journal.append(["a"])
    tail.read()
    with path.open("ab") as file:
        file.write(encode(["half"])[:12])
    assert read(tail) == (False, [])
    os.truncate(path, len(encode(["a"])))
    journal.append(["a longer record than the half one"])
    assert read(tail) == (False, [["a longer record than the half one"]])
    journal.close()


@pytest.mark.parametrize(
    "line",
    [b"\n", b"garbage\n", b"00000000 []\n", b"zzzzzzzz [1]\n", b"\xff\xfe\x00\n", encode(["x"])[:-1].upper() + b"\n"],
)
def test_corrupt_line_ends_the_journal(path: Path, line: bytes) -> None:
    """What stands before a line that nobody has written counts, what follows does not."""
    path.write_bytes(encode(["a"]) + line + encode(["b"]))
    tail = JournalTail(path)
    assert read_to_the_break(tail) == [["a"]]
    with path.open("ab") as file:
        file.write(encode(["c"]))
    assert read(tail) == (False, [])


@pytest.mark.parametrize("body", [b"[1", b"{}", b"[]", b"1],[2", b"[" * 100_000])
def test_line_whose_sum_is_right_and_that_is_no_record_is_corrupt(path: Path, body: bytes) -> None:
    """The sum alone makes no record."""
    path.write_bytes(encode(["a"]) + b"%08x %s\n" % (module.crc32(body), body))
    assert read_to_the_break(JournalTail(path)) == [["a"]]


def test_rewritten_journal_is_read_from_its_start(path: Path) -> None:
    """A reader notices that the file is another one, and appending goes on in it."""
    journal, tail = Journal(path), JournalTail(path)
    for number in range(10):
        journal.append(["process", number])
    tail.read()
    journal.rewrite(lambda: [["process", "anew"], ["b"]])
    journal.append(["c"])
    assert read(tail) == (True, [["process", "anew"], ["b"], ["c"]])
    assert list(path.parent.iterdir()) == [path]
    journal.close()


def test_rewritten_journal_is_noticed_though_inode_and_length_say_nothing(path: Path) -> None:
    """A new file that has got the number of an old one, and is longer, is still another one."""
    path.write_bytes(encode(["process", 1, 0, 1.5]) + encode(["a"]))
    tail = JournalTail(path)
    tail.read()
    content = encode(["process", 1, 0, 2.5]) + encode(["b"]) * 3
    with path.open("r+b") as file:  # the same inode
        file.write(content)
    assert read(tail) == (True, [["process", 1, 0, 2.5], *[["b"]] * 3])


def test_rewritten_journal_recovers_from_a_broken_line(path: Path) -> None:
    """A journal that was broken counts again once its writer has written it anew."""
    journal, tail = Journal(path), JournalTail(path)
    journal.append(["process", 1])
    with path.open("ab") as file:
        file.write(b"garbage\n")
    assert read_to_the_break(tail) == [["process", 1]]
    journal.rewrite(lambda: [["process", 2]])
    assert read(tail) == (True, [["process", 2]])
    journal.close()


def test_record_appended_while_the_journal_is_rewritten_is_kept(path: Path) -> None:
    """What a signal handler or a finalizer adds in the middle of a rewrite is in the new file."""
    journal, tail = Journal(path), JournalTail(path)
    journal.append(["process", 1])
    kept: list[list[Any]] = [["process", 2]]

    def records() -> Any:
        yield from kept
        if len(kept) == 1:
            kept.append(["late"])
            journal.append(["late"])

    journal.rewrite(records)
    assert read(tail)[1] == [["process", 2], ["late"]]
    journal.close()


def test_journal_is_long_when_most_of_it_may_be_waste(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is time for a rewrite at a least size, and afterwards at twice what was left."""
    monkeypatch.setattr(module, "_MIN_COMPACTION", 100)
    journal = Journal(path)
    while not journal.is_long:
        journal.append(["some", "record"])
    journal.rewrite(lambda: [["x" * 200]])
    assert not journal.is_long
    journal.append(["x" * 300])
    assert journal.is_long
    journal.close()


def test_full_disk_leaves_the_journal_whole(path: Path) -> None:
    """Where a record, or a rewrite, does not fit, the file stays as it was and goes on when there is room."""

    def work() -> tuple[int, int, list[Any], list[str]]:
        journal = Journal(path)
        journal.append(["a"])
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (60, hard))
        failures = 0
        for attempt in (
            lambda: journal.append(["x" * 100]),
            lambda: journal.rewrite(lambda: [["x" * 100]]),
            lambda: journal.append(["y" * 100]),
        ):
            try:
                attempt()
            except OSError:
                failures += 1
        size = path.stat().st_size
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        journal.append(["b"])
        return failures, size, read(JournalTail(path))[1], [each.name for each in path.parent.iterdir()]

    failures, size, records, files = forked(work)
    assert (failures, size) == (3, len(encode(["a"])))
    assert records == [["a"], ["b"]]
    assert files == [path.name]


def test_rewrite_whose_file_cannot_take_its_place_is_as_if_it_had_not_been(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the new file cannot replace the old one, the old one goes on, with what was added in between."""
    journal, tail = Journal(path), JournalTail(path)
    journal.append(["a"])

    def refuse(*_: object) -> None:
        journal.append(["b"])  # as a signal handler does
        raise OSError(30, "Read-only file system")

    with monkeypatch.context() as refusing:
        refusing.setattr(os, "replace", refuse)
        with pytest.raises(OSError, match="Read-only"):
            journal.rewrite(lambda: [["a"]])
    journal.append(["c"])
    assert read(tail) == (False, [["a"], ["b"], ["c"]])
    assert [each.name for each in path.parent.iterdir()] == [path.name]
    journal.rewrite(lambda: [["all"]])
    journal.append(["d"])
    assert read(tail) == (True, [["all"], ["d"]])


def test_journal_of_any_size_is_not_read(path: Path) -> None:
    """A file that is longer than any journal is an error, and does not fill the reader's memory."""
    with path.open("wb") as file:
        file.truncate((1 << 30) + 1)
    with pytest.raises(OSError, match="more than any of ours"):
        JournalTail(path).read()


def test_link_in_the_place_of_a_journal_is_not_followed(path: Path) -> None:
    """Nobody makes a scrape read another file."""
    path.symlink_to(path.parent / "other")
    with pytest.raises(OSError, match="symbolic links"):
        JournalTail(path).read()
