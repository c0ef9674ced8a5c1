"""Many processes against a model: whatever happens in whatever order, the page shows what was counted."""

from __future__ import annotations

import os
import tempfile
from collections import Counter as Tally
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.workers import Fleet, Worker

LABELS = st.sampled_from("xyz")
AMOUNTS = st.integers(0, 1000)
VALUES = st.integers(1, 9)
MODES = ("all", "liveall", "min", "livemin", "max", "livemax", "sum", "livesum", "mostrecent", "livemostrecent")
EXAMPLES = int(os.environ.get("VITALSIGN_PROCESSES_EXAMPLES", "10"))


class Counts:
    """What one process has counted and set, and which children it holds."""

    def __init__(self) -> None:
        self.counter: Tally[str] = Tally()
        self.plain = 0
        self.histogram: dict[str, list[int]] = {}
        self.summary: dict[str, list[int]] = {}
        self.gauges: dict[str, tuple[int, int]] = {}  # by mode: when it was set, to what
        self.state = (0, 0)  # when it was set, to which
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
        self.version = 0  # last told by anybody
        self.clock = 0

    def _now(self) -> int:
        self.clock += 1
        return self.clock

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
        self.counts[child].held = dict(self.counts[parent].held)

    @precondition(lambda self: len(self.fleet.workers) > 1)
    @rule(data=st.data(), gently=st.booleans())
    def end(self, data: st.DataObject, gently: bool) -> None:
        """End a worker, by SIGKILL or in peace: its counts stay."""
        worker = self._pick(data, mortal=True)
        self.ended.append(self.counts.pop(worker))
        (self.fleet.end if gently else self.fleet.kill)(worker)

    @precondition(lambda self: len(self.fleet.workers) < 4 and self.clock < 1000)
    @rule()
    def restart(self) -> None:
        """Start a worker from nothing beside, or in the place of, those that were."""
        self.clock += 400  # it takes long
        self._add(self.fleet.start())

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

    @rule(data=st.data(), label=LABELS, amount=st.integers(0, 3), threaded=st.booleans())
    def summarise(self, data: st.DataObject, label: str, amount: int, threaded: bool) -> None:
        """Observe a value in a summary."""
        worker = self._pick(data)
        worker.do("write_in_thread" if threaded else "write", "summary", [label], "observe", amount)
        self.counts[worker].summary.setdefault(label, []).append(amount)

    @rule(data=st.data(), amount=AMOUNTS, threaded=st.booleans())
    def count_plainly(self, data: st.DataObject, amount: int, threaded: bool) -> None:
        """Count in a metric without labels."""
        worker = self._pick(data)
        worker.do("write_in_thread" if threaded else "write", "plain", [], "inc", amount)
        self.counts[worker].plain += amount

    @rule(data=st.data())
    def reset(self, data: st.DataObject) -> None:
        """Reset a counter: this process's part starts from zero."""
        worker = self._pick(data)
        worker.do("write", "plain", [], "reset")
        self.counts[worker].plain = 0

    @rule(data=st.data(), mode=st.sampled_from(MODES), value=VALUES)
    def set_gauge(self, data: st.DataObject, mode: str, value: int) -> None:
        """Set a gauge of one of the modes."""
        worker = self._pick(data)
        worker.do("write", mode, [], "set", value)
        self.counts[worker].gauges[mode] = (self._now(), value)

    @rule(data=st.data(), mode=st.sampled_from(["sum", "livesum"]), amount=st.integers(-3, 3))
    def move_gauge(self, data: st.DataObject, mode: str, amount: int) -> None:
        """Move a gauge that adds up."""
        worker = self._pick(data)
        worker.do("write", mode, [], "inc", amount)
        gauges = self.counts[worker].gauges
        gauges[mode] = (self._now(), gauges.get(mode, (0, 0))[1] + amount)

    @rule(data=st.data())
    def tell(self, data: st.DataObject) -> None:
        """Tell facts."""
        self.version += 1
        self._pick(data).do("write", "info", [], "info", {"version": str(self.version)})

    @rule(data=st.data(), state=st.sampled_from([0, 1]))
    def change(self, data: st.DataObject, state: int) -> None:
        """Change the state."""
        worker = self._pick(data)
        worker.do("write", "enum", [], "state", "ab"[state])
        self.counts[worker].state = (self._now(), state)

    @rule(data=st.data(), amount=AMOUNTS)
    def count_in_held(self, data: st.DataObject, amount: int) -> None:
        """Count in a child that was kept: it shows unless its label set has been removed since."""
        worker = self._pick(data)
        counts = self.counts[worker]
        if counts.held:
            label = data.draw(st.sampled_from(sorted(counts.held)))
            worker.do("write_held", label, amount)
            counts.counter[label] += amount if counts.held[label] else 0

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
        """Whoever is asked, and all at once, the page shows what all have counted, the dead among them."""
        if self.keeper is None:
            return
        with ThreadPoolExecutor(len(self.fleet.workers)) as pool:
            pages = list(pool.map(Worker.values, self.fleet.workers))
        for worker, page in zip(self.fleet.workers, pages, strict=True):
            assert _told(page) == self._expected(), f"on the page of worker {worker.pid}"

    def _expected(self) -> dict[str, Any]:
        living, everybody = list(self.counts.values()), [*self.counts.values(), *self.ended]
        counter: Tally[str] = Tally()
        sums: dict[str, Tally[str]] = {name: Tally() for name in ("h_count", "h_sum", "s_count", "s_sum")}
        for counts in everybody:
            counter.update(counts.counter)
            for name, observed in (("h", counts.histogram), ("s", counts.summary)):
                for label, values in observed.items():
                    sums[f"{name}_count"][label] += len(values)
                    sums[f"{name}_sum"][label] += sum(values)
        return {
            "c_total": +counter,
            **{name: +sums[name] for name in sums},
            "plain_total": sum(counts.plain for counts in everybody),
            **{f"g_{mode}": self._gauge(mode, living if "live" in mode else everybody) for mode in MODES[2:]},
            **{
                f"g_{mode}": {
                    str(worker.pid): counts.gauges[mode][1]
                    for worker, counts in self.counts.items()
                    if mode in counts.gauges
                }
                for mode in MODES[:2]
            },
            "version": str(self.version) if self.version else None,
            "state": max(counts.state for counts in living)[1],
        }

    @staticmethod
    def _gauge(mode: str, counted: list[Counts]) -> int:
        set_to = [counts.gauges[mode] for counts in counted if mode in counts.gauges]
        match mode.removeprefix("live"):
            case "sum":
                return sum(value for _, value in set_to)
            case "mostrecent":
                return max(set_to, default=(0, 0))[1]
            case rule:
                return {"min": min, "max": max}[rule]((value for _, value in set_to), default=0)  # type: ignore[operator, no-any-return]

    def teardown(self) -> None:
        """End all workers."""
        self.fleet.close()
        self._temporary.cleanup()


def _told(page: dict[Any, float]) -> dict[str, Any]:
    """Return what a page says, without what is zero: whether a series of zero is there depends on who is asked."""
    told: dict[str, Any] = {
        name: {dict(labels)[label]: value for (found, labels), value in page.items() if found == name and value}
        for name, label in {
            **dict.fromkeys(["c_total", "h_count", "h_sum", "s_count", "s_sum"], "k"),
            **dict.fromkeys(["g_all", "g_liveall"], "pid"),
        }.items()
    }
    told |= {name: page[name, ()] for name in ["plain_total", *(f"g_{mode}" for mode in MODES[2:])]}
    versions = [dict(labels)["version"] for (found, labels) in page if found == "i_info"]
    assert len(versions) <= 1
    told["version"] = versions[0] if versions else None
    told["state"] = page["e", (("e", "b"),)]
    assert page["e", (("e", "a"),)] == 1 - told["state"]
    assert not [found for found, _ in page if found.startswith("vitalsign_internal_errors")]
    return told


TestProcesses = Processes.TestCase
TestProcesses.settings = settings(
    max_examples=EXAMPLES, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
