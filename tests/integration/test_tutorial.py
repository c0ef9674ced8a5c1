"""The tutorial shows what its reader gets: its page, its configuration and its queries, in a real Prometheus."""

from __future__ import annotations

import itertools
import math
import re
import subprocess
import sys
import threading
import urllib.error
import urllib.request

import pytest

from tests.servers import PATIENCE, free_port, program, running, wait_until
from tests.sources import ROOT

pytestmark = pytest.mark.integration

TUTORIAL = ROOT / "docs" / "tutorial.md"
FOLLOW = """
import sys
from tests.pages import programs, run
from tests.sources import ROOT

(blocks,) = programs((ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8"))
made = run("tutorial", blocks)
"""
PRINT_PAGE = FOLLOW + "print(made['page'])"
SERVE = (
    FOLLOW
    + """
import uvicorn
uvicorn.run(made["app"], host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
"""
)
VISITS = [
    ("POST", "/orders/dune"),
    ("POST", "/orders/emma?channel=app"),
    ("POST", "/orders/ulysses"),
    ("GET", "/books/emma"),
    ("GET", "/books/no-such-book"),
]


def fences(language):
    """Return the tutorial's blocks of *language*."""
    return re.findall(rf"^```{language}\n(.*?)^```$", TUTORIAL.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


@pytest.fixture
def shop(tmp_path):
    """Serve the tutorial's application as it is at the end, with customers who do not stop."""
    port = free_port()
    command = [sys.executable, "-c", SERVE, str(port)]
    with running(command, port=port, ready="/ready", log=tmp_path / "shop.log", cwd=ROOT) as server:
        closed = threading.Event()
        customers = threading.Thread(target=visit, args=(server.url, closed))
        customers.start()
        yield server
        closed.set()
        customers.join()


def finite(series):
    """Return the series that have a number, which a ratio of nothing to nothing has not."""
    return [one for one in series if math.isfinite(one.value)]


def visit(url, closed):
    """Send the tutorial's requests, over and over, until the shop is *closed*."""
    for method, path in itertools.cycle(VISITS):
        if closed.wait(0.02):
            return
        request = urllib.request.Request(url + path, method=method)
        try:
            urllib.request.urlopen(request, timeout=PATIENCE).close()
        except urllib.error.HTTPError as error:
            error.close()


def test_shown_lines_are_on_the_page():
    """Each line that the tutorial shows of its page is there, after the requests that the tutorial makes."""
    done = subprocess.run(
        [sys.executable, "-c", PRINT_PAGE], cwd=ROOT, capture_output=True, text=True, check=True, timeout=PATIENCE
    )
    (shown,) = fences("text")
    assert shown
    assert set(shown.splitlines()) <= set(done.stdout.splitlines())


def test_every_query_has_an_answer(shop, start_prometheus):
    """Each PromQL expression of the tutorial returns data once the shop has had a few customers."""
    prometheus = start_prometheus({"shop": shop.address})
    queries = fences("promql")
    assert len(queries) > 5
    for query in queries:
        wait_until(lambda query=query: finite(prometheus.query(query)), query)


def test_configuration_is_valid(tmp_path):
    """Prometheus accepts the tutorial's scrape configuration and its alerts."""
    configuration, rules = fences("yaml")
    (tmp_path / "prometheus.yml").write_text(configuration)
    (tmp_path / "rules.yml").write_text(rules)
    promtool = program("promtool")
    for kind, file in (("config", "prometheus.yml"), ("rules", "rules.yml")):
        done = subprocess.run(
            [promtool, "check", kind, file], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=PATIENCE
        )
        assert done.returncode == 0, done.stdout + done.stderr
