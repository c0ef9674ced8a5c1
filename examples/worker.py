"""
A background worker that shows its queue, its jobs and its process.

    pip install vitalsign
    python examples/worker.py

Then look at http://127.0.0.1:9091/metrics. Ctrl-C, or SIGTERM, lets the job in hand finish.
"""

from __future__ import annotations

import queue
import signal
import sys
import threading
import time

from vitalsign.collectors import ProcessCollector, QueueCollector, WorkerCollector
from vitalsign.exporter import start_exporter

ORDERS: queue.SimpleQueue[tuple[str, float]] = queue.SimpleQueue()  # what to do, and since when it waits
STOP = threading.Event()


def handle(order: str) -> None:
    """Do the work."""
    time.sleep(0.02)
    if order == "refund":
        raise ValueError("nothing to refund")


def place_orders() -> None:
    """Fill the queue, as the rest of a system would."""
    while not STOP.wait(0.1):
        for order in ("invoice", "invoice", "refund"):
            ORDERS.put((order, time.time()))


def work(worker: WorkerCollector) -> None:
    """Take orders until told to stop; one that fails does not end the worker."""
    while not STOP.is_set():
        try:
            order, enqueued_at = ORDERS.get(timeout=0.1)
        except queue.Empty:
            worker.heartbeat()
            continue
        with worker.job(order, enqueued_at=enqueued_at) as job:
            try:
                handle(order)
            except ValueError as error:
                job.failed(error)
    worker.set_active(False)


def main(port: int = 9091) -> None:
    """Serve the metrics on *port*, and work."""
    for stop in (signal.SIGINT, signal.SIGTERM):
        signal.signal(stop, lambda *_: STOP.set())
    ProcessCollector().bind()
    QueueCollector("orders", depth=ORDERS.qsize, refresh=1.0).bind()
    worker = WorkerCollector("billing", queue="orders").bind()
    threading.Thread(target=place_orders, daemon=True).start()
    with start_exporter(port) as exporter:  # on 127.0.0.1 alone
        print(exporter.url, flush=True)
        work(worker)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
