"""Declaring, listing and forking: what a registry of prometheus_client's must bear from us."""

from __future__ import annotations

from prometheus_client import CollectorRegistry

from tests.processes import forked, run_script
from vitalsign import Counter, generate_latest


def test_fork_while_another_thread_declares_does_not_block_the_child() -> None:
    """A child forked in the middle of another thread's declaration can declare metrics of its own."""
    script = """
        import os, select, threading, time
        from prometheus_client import CollectorRegistry
        from vitalsign import Counter

        declaring = threading.Event()

        class Slow(CollectorRegistry):
            def register(self, collector):
                declaring.set()
                time.sleep(0.5)  # the fork comes now; nothing can tell us that it waits
                super().register(collector)

        threading.Thread(target=Counter, args=("slow", "s"), kwargs={"registry": Slow()}).start()
        declaring.wait()
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            registry = CollectorRegistry()
            Counter("quick", "q", registry=registry).inc()
            os.write(writing, str(registry.get_sample_value("quick_total")).encode())
            os._exit(0)
        ready = select.select([reading], [], [], 20)[0]
        print(os.read(reading, 9).decode() if ready else "hangs")
        os.kill(pid, 9)
        os.waitpid(pid, 0)
    """
    assert run_script(script).split() == ["1.0"]


def test_forks_among_declaring_threads_never_wait_for_each_other() -> None:
    """Forking, declaring and making label sets take their locks in one order."""
    script = """
        import os, threading
        from prometheus_client import CollectorRegistry
        from vitalsign import Counter

        stop = threading.Event()

        def churn():
            while not stop.is_set():
                counter = Counter("c", "c", ["k"], registry=CollectorRegistry())
                for number in range(20):
                    counter.labels(str(number)).inc()

        for _ in range(3):
            threading.Thread(target=churn, daemon=True).start()
        for _ in range(50):
            pid = os.fork()
            if pid == 0:
                Counter("c", "c", registry=CollectorRegistry()).inc()
                os._exit(7)
            print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        stop.set()
    """
    assert run_script(script).split() == ["7"] * 50


def test_page_after_a_fork_in_the_middle_of_a_registration() -> None:
    """A child forked while a thread held the registry's own lock can still be scraped."""
    registry = CollectorRegistry()
    Counter("orders", "o", registry=registry).inc()
    with registry._lock:
        page = forked(lambda: generate_latest(registry))
    assert b"orders_total 1.0" in page
