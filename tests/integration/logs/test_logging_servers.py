"""JSON lines from applications behind real servers."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.servers import ROOT, free_port, running, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers import Server, StartUvicorn

pytestmark = pytest.mark.integration

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
HEADERS = {"X-Request-ID": "order-7", "traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}


def lines(server: Server) -> list[dict[str, Any]]:
    """Return what the server has written, all of it JSON since the application was loaded."""
    written = server.log.read_text().splitlines()
    return [json.loads(line) for line in written if line.startswith("{")]


def test_uvicorns_lines_and_the_applications_are_one_log(start_uvicorn: StartUvicorn) -> None:
    """A request's lines, the server's among them, are JSON with its id and its trace; an exception is one line."""
    server = start_uvicorn("tests.integration.logs.app:app", ready="/orders/1")
    answer = server.get("/orders/7", HEADERS)
    assert answer.headers["X-Request-ID"] == "order-7"
    assert json.loads(answer.text) == {"request_id": "order-7"}
    assert server.get("/fail").status == 500
    wait_until(lambda: any("exception" in line for line in lines(server)), "uvicorn's line of the exception")
    ours = [line for line in lines(server) if line.get("request_id") == "order-7"]
    assert {line["logger"]: line["trace_id"] for line in ours} == dict.fromkeys(
        ("shop", "uvicorn.access", "vitalsign.access"), TRACE
    )
    assert [line["route"] for line in ours if line["logger"] == "vitalsign.access"] == ["/orders/{number}"]
    (failed,) = [line for line in lines(server) if line["logger"] == "uvicorn.error" and "exception" in line]
    assert failed["exception"]["type"] == "LookupError"
    assert "hunter2" not in server.log.read_text()
    (access,) = [line for line in lines(server) if line["logger"] == "vitalsign.access" and line["route"] == "/fail"]
    assert (access["status"], access["level"], access["error"]) == (500, "ERROR", "LookupError")
    after = server.log.read_text().partition("{")[2]
    assert all(line.startswith("{") for line in after.splitlines()[1:])


def test_uvicorns_own_access_lines_can_be_switched_off(start_uvicorn: StartUvicorn) -> None:
    """With `--no-access-log` each request has one line, which is ours."""
    server = start_uvicorn("tests.integration.logs.app:app", "--no-access-log", ready="/orders/1")
    server.get("/orders/7", HEADERS)
    wait_until(lambda: loggers_of(server, "order-7") == ["shop", "vitalsign.access"], "the lines of the request")
    assert "uvicorn.access" not in server.log.read_text()


def loggers_of(server: Server, request_id: str) -> list[str]:
    """Return the loggers of a request's lines."""
    return [line["logger"] for line in lines(server) if line.get("request_id") == request_id]


def test_hypercorns_lines_and_the_applications_are_one_log(tmp_path: Path) -> None:
    """Under hypercorn, which configures its loggers after the application, no line is written twice, none is text."""
    port = free_port()
    command = [
        *(sys.executable, "-m", "hypercorn", "--bind", f"127.0.0.1:{port}", "--access-logfile", "-"),
        "tests.integration.logs.app:app",
    ]
    python = {"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    with running(command, port=port, ready="/orders/1", log=tmp_path / "hypercorn.log", env=python, cwd=ROOT) as server:
        assert server.get("/fail", HEADERS).status == 500
        wait_until(lambda: any("exception" in line for line in lines(server)), "hypercorn's line of the exception")
        wait_until(lambda: "hypercorn.access" in [line["logger"] for line in lines(server)], "a line of its own")
        assert all(line.startswith("{") for line in server.log.read_text().splitlines())
        (failed,) = [line for line in lines(server) if "exception" in line]
        assert (failed["logger"], failed["exception"]["type"]) == ("hypercorn.error", "LookupError")


def test_gunicorns_lines_and_the_applications_are_one_log(tmp_path: Path) -> None:
    """Under gunicorn with threads, each request's lines have its own id, and gunicorn's own lines are JSON too."""
    port = free_port()
    command = [
        *(sys.executable, "-m", "gunicorn", "--chdir", str(ROOT), "--bind", f"127.0.0.1:{port}"),
        *("--threads", "4", "--access-logfile", "-", "tests.integration.logs.app:wsgi"),
    ]
    with running(command, port=port, ready="/", log=tmp_path / "gunicorn.log") as server:
        for number in range(20):
            answer = server.get(f"/orders/{number}", {"X-Request-ID": f"order-{number}"})
            assert answer.headers["X-Request-ID"] == f"order-{number}"
        for logger in ("gunicorn.access", "vitalsign.access"):
            wait_until(
                lambda name=logger: sum(one["logger"] == name for one in lines(server)) >= 20, f"lines of {logger}"
            )
        written = [line for line in lines(server) if line["message"] == "by WSGI" and line["path"] != "/"]
        assert [line["path"] for line in written] == [f"/orders/{number}" for number in range(20)]
        assert all(line["path"].endswith(line["request_id"].removeprefix("order")[1:]) for line in written)
        access = [line for line in lines(server) if line["logger"] == "vitalsign.access"]
        assert {(line["route"], line["status"], line["response_bytes"]) for line in access} == {
            ("__unmatched__", 200, 5)
        }
