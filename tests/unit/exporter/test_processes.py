"""The exporter among forks, workers and interpreters that end."""

from __future__ import annotations

import sys

import pytest

from tests.processes import run_script

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="forks")


def test_forked_child_lets_go_of_the_port():
    """A forked child holds neither the port nor the connections, does not hang, and can have an exporter of its own."""
    printed = run_script(
        """
        import os, signal, socket, threading
        from prometheus_client import CollectorRegistry
        from tests.unit.exporter.clients import ask, connect
        from vitalsign import Counter
        from vitalsign.exporter import start_exporter

        registry = CollectorRegistry()
        orders = Counter("orders", "Orders.", registry=registry)
        exporter = start_exporter(port=0, registry=registry)
        ask(exporter)
        waiting = connect(exporter, b"GET /met")
        while len(exporter._server._connections) != 1:
            pass
        reading, writing = os.pipe()
        told, telling = os.pipe()
        pid = os.fork()
        if pid == 0:
            exporter.close()
            exporter.close()
            os.read(told, 1)  # the parent has closed its own
            orders.inc()
            with start_exporter(port=exporter.port, registry=registry) as own:
                os.write(writing, ask(own).body)
            os.write(writing, b"closed")
            signal.pause()
        print("parent", ask(exporter).status)
        exporter.close()
        print("connection", waiting.recv(1))  # ended, although the child lives on
        os.write(telling, b"x")
        got = b""
        while not got.endswith(b"closed"):
            got += os.read(reading, 4096)
        print("child", b"orders_total 1.0" in got)
        with start_exporter(port=exporter.port) as again:
            print("again", ask(again).status)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        """
    )
    assert printed == "parent 200\nconnection b''\nchild True\nagain 200\n"


def test_fork_while_scraped():
    """Forks in the middle of scrapes harm neither the parent's exporter nor those that the children start."""
    printed = run_script(
        """
        import os, threading
        from tests.unit.exporter.clients import ask
        from vitalsign.exporter import start_exporter

        exporter, is_over, statuses = start_exporter(port=0), threading.Event(), set()

        def scrape():
            while not is_over.is_set():
                statuses.add(ask(exporter).status)

        scrapers = [threading.Thread(target=scrape) for _ in range(4)]
        for scraper in scrapers:
            scraper.start()
        ended = set()
        for _ in range(20):
            pid = os.fork()
            if pid == 0:
                with start_exporter(port=0) as own:
                    os._exit(0 if ask(own).status == 200 else 1)
            ended.add(os.waitpid(pid, 0)[1])
        is_over.set()
        for scraper in scrapers:
            scraper.join()
        print(statuses, ended)
        """
    )
    assert printed == "{200} {0}\n"


def test_many_processes_on_one_page(tmp_path):
    """Where processes share their metrics, one exporter shows what all have counted, those too that have ended."""
    printed = run_script(
        """
        import os, sys
        os.environ["VITALSIGN_PROCESSES_DIR"] = sys.argv[1]
        from vitalsign import Counter
        from tests.unit.exporter.clients import ask
        from vitalsign.exporter import start_exporter

        orders = Counter("orders", "Orders.")
        orders.inc()
        with start_exporter(port=0) as exporter:
            for _ in range(3):
                pid = os.fork()
                if pid == 0:
                    orders.inc(2)
                    os._exit(0)
                os.waitpid(pid, 0)
            print(b"\\norders_total 7.0\\n" in ask(exporter).body)
        """,
        str(tmp_path),
    )
    assert printed == "True\n"


def test_process_that_only_serves(tmp_path):
    """An exporter in a process that has declared nothing shows what the workers have counted."""
    count = "from vitalsign import Counter; Counter('orders', 'Orders.').inc(5)"
    printed = run_script(
        """
        import os, subprocess, sys
        os.environ["VITALSIGN_PROCESSES_DIR"] = sys.argv[1]
        from tests.unit.exporter.clients import ask
        from vitalsign.exporter import start_exporter

        with start_exporter(port=0) as exporter:
            subprocess.run([sys.executable, "-c", sys.argv[2]], check=True)
            print(b"\\norders_total 5.0\\n" in ask(exporter).body)
        """,
        str(tmp_path),
        count,
    )
    assert printed == "True\n"


def test_interpreter_ends(tmp_path):
    """Neither the exporter, nor clients, nor a collector that hangs in a scrape keep the interpreter from ending."""
    printed = run_script(
        """
        import threading
        from prometheus_client import REGISTRY
        from tests.unit.exporter.clients import connect
        from vitalsign.exporter import start_exporter

        class Hanging:
            def describe(self): return []
            def collect(self):
                started.set()
                threading.Event().wait()

        started = threading.Event()
        REGISTRY.register(Hanging())
        exporter = start_exporter(port=0)
        clients = [connect(exporter, sent) for sent in (b"", b"GET /", b"GET /metrics HTTP/1.1\\r\\n\\r\\n")]
        started.wait()
        print("ends")
        """
    )
    assert printed == "ends\n"


def test_exporter_that_nobody_holds():
    """An exporter goes on although what `start_exporter` returned is dropped."""
    printed = run_script(
        """
        import gc
        from types import SimpleNamespace
        from tests.unit.exporter.clients import ask
        from vitalsign.exporter import start_exporter

        url, port = (lambda exporter: (exporter.url, exporter.port))(start_exporter(port=0))
        gc.collect()
        print(ask(SimpleNamespace(url=url, port=port)).status)
        """
    )
    assert printed == "200\n"


def test_import_starts_nothing():
    """Importing the exporter starts no thread and loads neither TLS contexts nor Starlette."""
    printed = run_script(
        """
        import sys, threading
        import vitalsign.exporter
        print(threading.active_count(), "starlette" in sys.modules)
        """
    )
    assert printed == "1 False\n"
