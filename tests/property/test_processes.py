"""Many processes against a model: whatever happens in whatever order, the page shows what was counted."""

from __future__ import annotations

import tempfile
from collections import Counter as Tally
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.workers import Fleet, Worker

LABELS = st.sampled_from("xyz")
AMOUNTS = st.integers(0, 1000)


class Counts:
    """What one process has counted: by label, and what is no longer shown of it."""

    def __init__(self) -> None:
        self.counter: Tally[str] = Tally()
        self.histogram: dict[str, list[int]] = {}
        self.in_progress = 0
        self.held: dict[str, bool] = {}  # whether what is held is still shown


class Processes(RuleBasedStateMachine):
    """Workers that count, fork, are killed and are scraped."""

    def __init__(self) -> None:
        super().__init__()
        self._temporary = tempfile.TemporaryDirectory()
        self.fleet = Fleet(Path(self._temporary.name) / "shared")
        self.counts: dict[Worker, Counts] = {}
        self.ended: list[Counts] = []
        self.keeper: Worker | None = None

    @initialize()
    def start_keeper(self) -> None:
        """Start with one worker that is never ended, so that somebody can always be scraped."""
        self.keeper = self._add(self.fleet.start())

    def _add(self, worker: Worker) -> Worker:
        self.counts[worker] = Counts()
        return worker

    def _pick(self, data: st.DataObject, *, mortal: bool = False) -> Worker:
        workers = [worker for worker in self.fleet.workers if not (mortal and worker is self.keeper)]
        return data.draw(st.sampled_from(workers))

    @precondition(lambda self: len(self.fleet.workers) < 4)
    @rule(data=st.data())
    def fork(self, data: st.DataObject) -> None:
        """Fork a worker: the child counts from nothing, and knows the label sets and children of its parent."""
        parent = self._pick(data)
        child = self._add(self.fleet.fork(parent))
        self.counts[child].held = dict.fromkeys(self.counts[parent].held, False)

    @precondition(lambda self: len(self.fleet.workers) > 1)
    @rule(data=st.data(), gently=st.booleans())
    def end(self, data: st.DataObject, gently: bool) -> None:
        """End a worker, by SIGKILL or in peace: its counts stay."""
        worker = self._pick(data, mortal=True)
        self.ended.append(self.counts.pop(worker))
        (self.fleet.end if gently else self.fleet.kill)(worker)

    @rule(data=st.data(), label=LABELS, amount=AMOUNTS, threaded=st.booleans())
    def count(self, data: st.DataObject, label: str, amount: int, threaded: bool) -> None:
        """Count, in the main thread or in one that ends at once."""
        worker = self._pick(data)
        worker.do("write_in_thread" if threaded else "write", "counter", [label], "inc", amount)
        self.counts[worker].counter[label] += amount

    @rule(data=st.data(), label=LABELS, amount=st.integers(0, 3), threaded=st.booleans())
    def observe(self, data: st.DataObject, label: str, amount: int, threaded: bool) -> None:
        """Observe a value."""
        worker = self._pick(data)
        worker.do("write_in_thread" if threaded else "write", "histogram", [label], "observe", amount)
        self.counts[worker].histogram.setdefault(label, []).append(amount)

    @rule(data=st.data(), amount=st.integers(-3, 3))
    def progress(self, data: st.DataObject, amount: int) -> None:
        """Move a gauge that adds up the living."""
        worker = self._pick(data)
        worker.do("write", "livesum", [], "inc", amount)
        self.counts[worker].in_progress += amount

    @rule(data=st.data(), label=LABELS)
    def remove(self, data: st.DataObject, label: str) -> None:
        """Remove a label set: this process's part goes, the others' stay."""
        worker = self._pick(data)
        worker.do("remove", "counter", label)
        counts = self.counts[worker]
        counts.counter.pop(label, None)
        if label in counts.held:
            counts.held[label] = False

    @rule(data=st.data())
    def clear(self, data: st.DataObject) -> None:
        """Remove all label sets of a histogram."""
        worker = self._pick(data)
        worker.do("clear", "histogram")
        self.counts[worker].histogram.clear()

    @rule(data=st.data(), label=LABELS)
    def hold(self, data: st.DataObject, label: str) -> None:
        """Keep a child."""
        worker = self._pick(data)
        worker.do("hold", label)
        self.counts[worker].held[label] = True
        self.counts[worker].counter[label] += 0

    @invariant()
    def page_shows_what_was_counted(self) -> None:
        """Whoever is asked, the page shows the sum of what all have counted, the dead among them."""
        if self.keeper is None:
            return
        everybody = [*self.counts.values(), *self.ended]
        expected: Tally[str] = Tally()
        observed: dict[str, list[int]] = {}
        for counts in everybody:
            expected.update(counts.counter)
            for label, values in counts.histogram.items():
                observed.setdefault(label, []).extend(values)
        for worker in self.fleet.workers:
            page = worker.values()
            assert {label: value for label, value in _by_label(page, "c_total").items() if value} == {
                label: value for label, value in expected.items() if value
            }
            assert {k: v for k, v in _by_label(page, "h_count").items() if v} == {
                k: len(v) for k, v in observed.items()
            }
            assert {k: v for k, v in _by_label(page, "h_sum").items() if v} == {
                k: sum(v) for k, v in observed.items() if sum(v)
            }
            assert page["g_livesum", ()] == sum(counts.in_progress for counts in self.counts.values())

    def teardown(self) -> None:
        """End all workers."""
        self.fleet.close()
        self._temporary.cleanup()


def _by_label(page: dict[Any, float], name: str) -> dict[str, float]:
    return {dict(labels)["k"]: value for (found, labels), value in page.items() if found == name}


TestProcesses = Processes.TestCase
TestProcesses.settings = settings(
    max_examples=12, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
)
