"""The server fixtures themselves: what they start answers, what they wait for is told, what they started ends."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.servers import end, ended, free_port, get, program, running, wait_until

pytestmark = pytest.mark.integration


def test_prometheus_scrapes_a_uvicorn_server(start_uvicorn, start_prometheus):
    """A server under uvicorn and a Prometheus that scrapes it come up, and its samples can be queried."""
    server = start_uvicorn("prometheus_client:make_asgi_app", "--factory")
    prometheus = start_prometheus({"plain": server.address, "nobody": f"127.0.0.1:{free_port()}"})
    assert prometheus.wait_for('up{job="plain"}') == 1
    assert prometheus.wait_for('up{job="nobody"}', lambda value: value == 0) == 0
    (series,) = prometheus.query("python_info")
    assert series.labels["job"] == "plain"
    assert series.labels["version"] == ".".join(map(str, sys.version_info[:3]))
    assert prometheus.value("absent_metric") is None
    assert prometheus.value("scalar(up{job='plain'})") == 1


def test_refused_query_names_its_error(start_prometheus):
    """An expression that Prometheus cannot parse is an error with Prometheus's own words."""
    with pytest.raises(ValueError, match="parse error"):
        start_prometheus({}).query("rate(")


def test_missed_condition_names_the_last_value(start_prometheus):
    """A condition that never comes true ends in an error with the last value that was seen."""
    with pytest.raises(TimeoutError) as caught:
        start_prometheus({}).wait_for("vector(3)", lambda value: value > 3, patience=0.2)
    assert caught.value.__notes__ == ["last value: 3.0"]


def test_promtool_tells_clean_from_unclean(promtool):
    """A conventional page has no complaints, a metric without help has one."""
    assert promtool("# HELP jobs_total Jobs done.\n# TYPE jobs_total counter\njobs_total 1\n") == ""
    assert "no help text" in promtool("# TYPE jobs_total counter\njobs_total 1\n")


def test_server_ends_with_its_block(tmp_path):
    """A server answers inside the block and is gone after it."""
    port = free_port()
    command = [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1"]
    with running(command, port=port, ready="/", log=tmp_path / "log", cwd=tmp_path) as server:
        assert server.get("/").status == 200
        assert server.get("/missing").status == 404
    assert ended(server.process)
    with pytest.raises(OSError, match="refused"):
        get(server.url)


def test_server_that_does_not_start_shows_its_log(tmp_path):
    """A program that ends before it answers is an error with its exit code and what it printed."""
    command = [sys.executable, "-c", "print('no such luck'); raise SystemExit(3)"]
    with (
        pytest.raises(ChildProcessError, match="exit code 3") as caught,
        running(command, port=free_port(), ready="/", log=tmp_path / "log"),
    ):
        pass
    assert "no such luck" in caught.value.__notes__[0]


def test_deaf_server_is_killed(tmp_path):
    """A process that ignores SIGTERM is killed when patience ends."""
    script = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert process.stdout is not None
    with process.stdout:
        assert process.stdout.readline() == b"up\n"
    assert end(process, patience=0.1) == -9


def test_wait_until_takes_refused_connections_for_not_yet():
    """An OSError is waited through, and named if nothing better comes."""
    answers = iter([ConnectionRefusedError(), None, "there"])

    def condition():
        answer = next(answers)
        if isinstance(answer, OSError):
            raise answer
        return answer

    assert wait_until(condition, "an answer") == "there"
    with pytest.raises(TimeoutError, match=r"the door: not within 0\.1 s.*ConnectionRefusedError"):
        wait_until(lambda: get(f"http://127.0.0.1:{free_port()}"), "the door", patience=0.1)


def test_missing_program_skips_here_and_fails_in_ci(monkeypatch):
    """A program that is not installed skips a test with the reason, and fails it where CI=true."""
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no-such-server is not installed"):
        program("no-such-server")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="no-such-server is not installed, and CI=true"):
        program("no-such-server")
