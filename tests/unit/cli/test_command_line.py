"""The command line itself: help, version, and what it does with arguments and errors that it cannot use."""

from __future__ import annotations

import importlib.metadata
import re
import socket
import subprocess
import sys

import pytest

from vitalsign.cli import demo, main


def refused(capsys):
    """Return the one line on stderr of a command that printed nothing else."""
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1, printed.err
    assert "Traceback" not in printed.err
    return printed.err.rstrip("\n")


def in_new_process(program):
    """Run *program* in a Python of its own."""
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)


def test_without_a_command_help_is_printed(capsys):
    """`vitalsign` alone prints its help, with the commands that there are, and ends with 0."""
    assert main([]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("usage: vitalsign")
    assert re.search(r"^ +demo +serve an instrumented shop", printed, re.MULTILINE)


def test_version_is_that_of_the_distribution(capsys):
    """`vitalsign --version` prints the installed version, or that the package runs from its source."""
    assert main(["--version"]) == 0
    try:
        version = importlib.metadata.version("vitalsign")
    except importlib.metadata.PackageNotFoundError:
        version = "(run from its source, not installed)"
    assert capsys.readouterr().out == f"vitalsign {version}\n"


def test_arguments_come_from_the_process_by_default(capsys, monkeypatch):
    """Called without arguments, as the console script does, it takes those of the process."""
    monkeypatch.setattr(sys, "argv", ["vitalsign", "demo", "--help"])
    assert main() == 0
    assert capsys.readouterr().out.startswith("usage: vitalsign demo")


def test_help_of_the_demo_names_every_option_with_its_default(capsys):
    """`vitalsign demo --help` explains all its options."""
    assert main(["demo", "--help"]) == 0
    printed = capsys.readouterr().out
    for option, default in {"--host": "127.0.0.1", "--port": "8008", "--rate": "20", "--seed": "1"}.items():
        assert re.search(rf"{option} [^-]+\(default:\s+{re.escape(default)}\)", printed), option
    assert "--duration TIME" in printed


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["dmo"], "vitalsign: argument COMMAND: invalid choice: 'dmo'"),
        (["--verbose"], "vitalsign: there is no '--verbose'"),
        (["demo", "--prot", "1"], "vitalsign demo: there is no '--prot'"),
        (["demo", "now"], "vitalsign demo: there is no 'now'"),
        (["demo", "--por", "1"], "vitalsign demo: there is no '--por'"),
        (["demo", "--port"], "vitalsign demo: argument --port: expected one argument"),
        (["demo", "--port", "http"], "vitalsign demo: argument --port: 'http' is no whole number from 0 to 65535"),
        (["demo", "--port", "65536"], "vitalsign demo: argument --port: '65536' is no whole number from 0 to 65535"),
        (["demo", "--port", "-1"], "vitalsign demo: argument --port: '-1' is no whole number from 0 to 65535"),
        (["demo", "--rate", "fast"], "vitalsign demo: argument --rate: 'fast' is no number from 0 to 500"),
        (["demo", "--rate", "nan"], "vitalsign demo: argument --rate: 'nan' is no number from 0 to 500"),
        (["demo", "--rate", "1e9"], "vitalsign demo: argument --rate: '1e9' is no number from 0 to 500"),
        (["demo", "--duration", "0"], "vitalsign demo: argument --duration: '0' is no length of time"),
        (["demo", "--duration", "soon"], "vitalsign demo: argument --duration: 'soon' is no length of time"),
        (["demo", "--seed", "x"], "vitalsign demo: argument --seed: 'x' is no whole number"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_arguments_get_one_line(capsys, arguments, complaint):
    """Arguments that make no sense end with code 2 and one line: what, why, and where to read on."""
    assert main(arguments) == 2
    line = refused(capsys)
    assert line.startswith(complaint)
    assert re.search(r"See vitalsign( demo)? --help\.$", line)


def test_port_in_use_gets_one_line(capsys):
    """A port that somebody else listens on ends with code 1 and one line that names the port and the way out."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["demo", "--port", str(port)]) == 1
    assert refused(capsys) == (
        f"vitalsign demo: port {port} of 127.0.0.1 is in use. "
        "Choose another with --port, or any free one with --port 0."
    )


@pytest.mark.parametrize("library", ["uvicorn", "httpx"])
def test_missing_extra_gets_one_line(library):
    """Without a library that the demo needs, it ends with code 1 and one line with the pip command that brings it."""
    done = in_new_process(
        f"import sys; sys.modules[{library!r}] = None\n"
        "from vitalsign.cli import main\n"
        "sys.exit(main(['demo', '--port', '0', '--duration', '1ms']))"
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == (
        f'vitalsign demo: the demo needs {library}, which is not installed. Run: pip install "vitalsign[demo]"\n'
    )


def test_broken_module_of_ours_is_no_missing_extra():
    """An import that fails for a module of ours is a bug, and shown as one, not as advice to install something."""
    done = in_new_process("import sys; sys.modules['vitalsign.demo.shop'] = None\nimport vitalsign.demo")
    assert "vitalsign.demo.shop" in done.stderr.splitlines()[-1]
    assert "pip install" not in done.stderr


def test_command_line_loads_no_server():
    """Help, version and complaints need neither a server, a framework nor an event loop: those come with a command."""
    done = in_new_process(
        "import sys, vitalsign.cli\n"
        "print(*{'uvicorn', 'httpx', 'starlette', 'psutil', 'vitalsign.demo'} & set(sys.modules))"
    )
    assert (done.returncode, done.stdout.strip()) == (0, "")


def test_interrupted_command_ends_as_shells_expect(capsys, monkeypatch):
    """Ctrl-C where nothing catches it ends with 130 and no traceback."""

    def interrupted(_arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(demo, "run", interrupted)
    assert main(["demo"]) == 130
    assert capsys.readouterr().err == ""
