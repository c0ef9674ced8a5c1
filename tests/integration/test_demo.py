"""`vitalsign demo` as its users meet it: a process with a terminal, a pipe or neither."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import signal
import socket
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

from tests.integration.conftest import DEMO
from tests.servers import PATIENCE, end, get, wait_until

pytestmark = pytest.mark.integration

IN_CHARGE_OF_ITS_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""


class Terminal:
    """A process in a terminal of its own, which it gets Ctrl-C from."""

    def __init__(self, command, columns):
        self._controller, device = pty.openpty()
        self.resize(columns)
        self.process = subprocess.Popen(
            [sys.executable, "-c", IN_CHARGE_OF_ITS_TERMINAL, *command],
            stdin=device,
            stdout=device,
            stderr=device,
            start_new_session=True,
            env=os.environ | {"TERM": "xterm"},
        )
        os.close(device)
        self.output = ""

    def resize(self, columns):
        """Change the width."""
        fcntl.ioctl(self._controller, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))

    def type(self, text):
        """Press keys."""
        os.write(self._controller, text.encode())

    def read_until(self, pattern):
        """Read what is printed until *pattern* has come, and return its match; the end of the output is an error."""
        deadline = time.monotonic() + PATIENCE
        while not (match := re.search(pattern, self.output)):
            assert time.monotonic() < deadline, self.output
            self.output += os.read(self._controller, 10_000).decode().replace("\r\n", "\n")
        return match

    def read_all(self):
        """Read what is printed until the process has ended, and return its exit code."""
        with contextlib.suppress(OSError):  # how Linux says that nobody has the terminal open any more
            while more := os.read(self._controller, 10_000):
                self.output += more.decode().replace("\r\n", "\n")
        return self.process.wait(PATIENCE)

    def close(self):
        """End the process if it still runs."""
        end(self.process)
        os.close(self._controller)


@pytest.fixture
def terminal():
    """Run `vitalsign demo` in a terminal of 100 columns."""
    terminal = Terminal([*DEMO, "--port", "0"], columns=100)
    yield terminal
    terminal.close()


def test_demo_in_a_terminal(terminal):
    """It prints its URLs, which answer, then one line that is rewritten; Ctrl-C ends it with a summary and code 0."""
    terminal.read_until("Ctrl-C ends it")
    urls = re.findall(r"^  \w+ +(http://\S+)", terminal.output, re.MULTILINE)
    assert [re.sub(r"^http://127\.0\.0\.1:\d+", "", url) for url in urls] == [
        "/",
        "/metrics",
        "/health",
        "/ready",
        "/health/full",
    ]
    assert [get(url).status for url in urls] == [200] * 5
    status = r"\r\x1b\[K\d\d:\d\d   \d+ requests   [\d.]+/s   errors \S+( %)?   p95 \S+( m?s)?   \d+ jobs   queue \d+"
    terminal.read_until(f"{status}{status}")
    terminal.type("\x03")
    assert terminal.read_all() == 0
    assert re.search(r"\x1b\[KEnded after [\d.]+ s: \d+ requests, .*\.\n$", terminal.output)
    assert "Traceback" not in terminal.output


def test_demo_follows_the_width_of_its_terminal(terminal):
    """When the terminal becomes narrow, the line is cut to it."""
    terminal.read_until(r"\x1b\[K\d\d:\d\d ")
    terminal.resize(20)
    terminal.output = ""
    terminal.read_until(r"\r\x1b\[K[^\r\n]{19}\r")
    terminal.type("\x03")
    assert terminal.read_all() == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_signal_ends_a_demo_without_terminal(start_demo, number):
    """Told to end, it writes its summary, without any control sequence before it, and ends with code 0."""
    demo = start_demo()
    demo.process.send_signal(number)
    assert demo.process.wait(PATIENCE) == 0
    printed = demo.log.read_text()
    assert "\x1b" not in printed
    assert "Traceback" not in printed
    assert printed.splitlines()[-1].startswith("Ended after ")


def test_demo_tells_its_progress_in_plain_lines(start_demo):
    """Where nothing can be rewritten, there is a whole line every ten seconds."""
    demo = start_demo("--rate", "50")
    line = wait_until(lambda: re.search(r"^00:1\d .*\n", demo.log.read_text(), re.MULTILINE), "a line of progress")[0]
    assert re.fullmatch(r"\S+   [\d,]+ requests   [\d.]+/s   errors .* %   p95 .* m?s   \d+ jobs   queue \d+\n", line)


def test_demo_ends_after_its_duration():
    """With --duration it ends by itself, with a summary and code 0."""
    done = subprocess.run(
        [*DEMO, "--port", "0", "--duration", "300ms"], capture_output=True, text=True, check=False, timeout=PATIENCE
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "It ends after 0.3 s, or at Ctrl-C." in done.stdout
    assert re.fullmatch(r"Ended after \d+\.\d s: .*", done.stdout.splitlines()[-1])


def test_second_demo_is_refused_and_the_first_goes_on(start_demo):
    """A port in use ends the second demo with code 1 and one line; the first one does not notice."""
    demo = start_demo()
    port = demo.address.rpartition(":")[2]
    done = subprocess.run([*DEMO, "--port", port], capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"vitalsign demo: port {port} of 127.0.0.1 is in use. "
        "Choose another with --port, or any free one with --port 0.\n"
    )
    assert demo.get("/health").status == 200


def test_port_of_an_ended_demo_can_be_used_at_once(start_demo):
    """A demo that is started again gets the port that it had, though old connections linger."""
    demo = start_demo()
    port = demo.address.rpartition(":")[2]
    end(demo.process)
    done = subprocess.run(
        [*DEMO, "--port", port, "--duration", "1ms"], capture_output=True, text=True, check=False, timeout=PATIENCE
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_reader_that_leaves_ends_the_demo():
    """A pipe whose reader has seen enough ends it, without a complaint."""
    with subprocess.Popen([*DEMO, "--port", "0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().startswith(b"vitalsign demo: ")
        process.stdout.close()
        assert process.wait(PATIENCE) == 0
        assert process.stderr.read() == b""


def test_request_in_progress_is_answered_when_the_demo_ends(start_demo):
    """A response that has begun is sent to its end, while a connection that asks for nothing holds nothing up."""
    demo = start_demo("--rate", "0")
    address = ("127.0.0.1", int(demo.address.rpartition(":")[2]))
    with socket.create_connection(address) as idle, socket.create_connection(address) as busy:
        idle.sendall(b"GET /api/exp")
        busy.sendall(b"GET /api/export HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n")
        received = busy.recv(1)
        demo.process.send_signal(signal.SIGTERM)
        with busy.makefile("rb") as stream:
            received += stream.read()
        assert demo.process.wait(PATIENCE) == 0
    assert received.startswith(b"HTTP/1.1 200 OK\r\n")
    assert received.endswith(b"\r\n0\r\n\r\n")
    assert received.count(b"x" * 100) == 20


def test_module_is_the_command():
    """`python -m vitalsign` prints the help of `vitalsign`."""
    done = subprocess.run(
        [sys.executable, "-m", "vitalsign"], capture_output=True, text=True, check=False, timeout=PATIENCE
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: vitalsign ")


def test_installed_script_is_the_command():
    """The script `vitalsign` that installing the package makes is the same command."""
    script = Path(sys.executable).with_name("vitalsign")
    if not script.exists():
        pytest.skip("vitalsign runs from its source folder, it is not installed")
    done = subprocess.run(
        [script, "demo", "--port", "x"], capture_output=True, text=True, check=False, timeout=PATIENCE
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("vitalsign demo: argument --port: 'x' is no whole number")
