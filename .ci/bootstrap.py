"""
Get from a bare Python to a running demo, or to a full test run, in one line.

    python3 .ci/bootstrap.py demo [options of `vitalsign demo`]
    python3 .ci/bootstrap.py test [options of nox]

Needs the standard library alone: what has to be installed goes into .venv beside pyproject.toml. `test` also
installs the servers that the integration tests talk to, where it may: as root, on Debian and its kin.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
REPORTS = ROOT / "build" / "reports"
POLICY = Path("/usr/sbin/policy-rc.d")

OLDEST_PYTHON = (3, 11)
NOX = "nox>=2025.10.16"
UV = "uv>=0.9"
"""Fills the tests' environments sooner than pip, which does it where there is no uv."""

SERVERS = {
    "pg_ctlcluster": "postgresql",
    "prometheus": "prometheus",
    "prometheus-alertmanager": "prometheus-alertmanager",
    "prometheus-node-exporter": "prometheus-node-exporter",
    "prometheus-pushgateway": "prometheus-pushgateway",
    "rabbitmq-server": "rabbitmq-server",
    "redis-server": "redis-server",
    "victoria-metrics": "victoria-metrics",
    "wrk": "wrk",
}
"""The programs that integration tests and benchmarks start, each with the Debian package that brings it."""


class BootstrapError(Exception):
    """Something is missing that this script cannot bring by itself; the text says what to do."""


def main(arguments: Sequence[str]) -> int:
    """Run the subcommand that *arguments* start with and return its exit code."""
    commands = {"demo": demo, "test": test}
    if not arguments or arguments[0] not in commands:
        print(__doc__.strip())
        return 0 if arguments and arguments[0] in {"-h", "--help"} else 2
    try:
        check_python(sys.version_info[:2])
        return commands[arguments[0]](arguments[1:])
    except BootstrapError as error:
        say(str(error))
        return 1
    except KeyboardInterrupt:
        return 130


def say(text: str) -> None:
    """Print one line of this script's own, told apart from what its children print."""
    print(f"bootstrap: {text}", flush=True)


def check_python(version: tuple[int, int]) -> None:
    """
    Refuse a Python that the package does not support.

    Raises:
        BootstrapError: *version* is too old.
    """
    if version < OLDEST_PYTHON:
        found, needed = ".".join(map(str, version)), ".".join(map(str, OLDEST_PYTHON))
        raise BootstrapError(
            f"this is Python {found}, but vitalsign needs {needed} or newer. "
            f"Run the same line with a newer one, such as python{needed}."
        )


# -- the two commands


def demo(arguments: Sequence[str]) -> int:
    """Install the demo into .venv and become it, so that Ctrl-C and the exit code are its own."""
    python = virtual_environment()
    install_once(python, "--editable", f"{ROOT}[demo]")
    command = [str(python), "-m", "vitalsign", "demo", *arguments]
    if os.name != "nt":  # exec on Windows gives the prompt back at once
        os.execv(command[0], command)
    return subprocess.call(command)


def test(arguments: Sequence[str]) -> int:
    """Run nox with *arguments* (none: every default session) and close with one true line about the tests."""
    python = virtual_environment()
    install_once(python, NOX)
    with contextlib.suppress(BootstrapError):  # pip has said why, and takes uv's place
        install_once(python, UV)
    install_servers()
    shutil.rmtree(REPORTS, ignore_errors=True)
    REPORTS.mkdir(parents=True)
    sessions = REPORTS / "nox.json"
    command = [str(python), "-m", "nox", "--noxfile", str(ROOT / "noxfile.py"), "--report", str(sessions)]
    code = subprocess.call([*command, *arguments], stdin=subprocess.DEVNULL)
    return conclude(code, sessions, REPORTS.glob("junit-*.xml"), tests_expected=not arguments)


def conclude(code: int, sessions: Path, reports: Iterable[Path], *, tests_expected: bool) -> int:
    """
    Say which sessions did not pass and how many tests did, and return the exit code of the whole run.

    Args:
        code: nox's exit code.
        sessions: nox's own report, which lists its sessions with their results.
        reports: pytest's JUnit files, one per run.
        tests_expected: Whether a run without a single passed test is a failure.
    """
    passed, failed, skipped = count_tests(reports)
    for result, names in not_passed(sessions).items():
        say(f"sessions {result}: {', '.join(names)}")
    if code == 0 and (failed or (tests_expected and not passed)):
        code = 1
    if code < 0:  # nox was ended by a signal: say it as a shell does
        code = 128 - code
    if code:
        say(f"the run failed with exit code {code}")
    print(f"{passed} passed, {failed} failed, {skipped} skipped", flush=True)
    return code


def count_tests(reports: Iterable[Path]) -> tuple[int, int, int]:
    """Add up the passed, failed and skipped tests of pytest's JUnit files; an error counts as a failure."""
    total = failed = skipped = 0
    for report in reports:
        for suite in ET.parse(report).getroot().iter("testsuite"):
            total += int(suite.get("tests", 0))
            failed += int(suite.get("failures", 0)) + int(suite.get("errors", 0))
            skipped += int(suite.get("skipped", 0))
    return total - failed - skipped, failed, skipped


def not_passed(sessions: Path) -> dict[str, list[str]]:
    """Group the names of the nox sessions that did not succeed by how they ended."""
    if not sessions.exists():
        return {}
    ended: dict[str, list[str]] = {}
    for session in json.loads(sessions.read_text(encoding="utf-8"))["sessions"]:
        if session["result"] != "success":
            ended.setdefault(session["result"], []).append(session["signatures"][0])
    return ended


# -- the virtual environment


def virtual_environment() -> Path:
    """Return the Python of .venv, which is made anew where it is missing, broken or too old."""
    python = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if runs(python):
        return python
    if importlib.util.find_spec("ensurepip") is None:
        install_ensurepip()
    say(f"creating {VENV}")
    run([sys.executable, "-m", "venv", "--clear", str(VENV)], "the virtual environment could not be made")
    return python


def runs(python: Path) -> bool:
    """Tell whether *python* starts, has pip and is new enough."""
    probe = f"import sys, pip; sys.exit(sys.version_info < {OLDEST_PYTHON})"
    try:
        return subprocess.call([str(python), "-c", probe], stderr=subprocess.DEVNULL) == 0
    except OSError:
        return False


def install_once(python: Path, *requirement: str) -> None:
    """Install *requirement* by pip, unless that was done before with the same pyproject.toml and place."""
    state = "\n".join([*requirement, str(ROOT), (ROOT / "pyproject.toml").read_text(encoding="utf-8")])
    stamp = VENV / f"installed-{hashlib.sha256(state.encode()).hexdigest()[:16]}"
    if stamp.exists():
        return
    say(f"installing {requirement[-1]}")
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    run([*pip, *requirement], "pip could not install what is needed, see above")
    stamp.touch()


def run(command: Sequence[str], problem: str) -> None:
    """
    Run *command* to its end.

    Raises:
        BootstrapError: It failed; the text begins with *problem*.
    """
    code = subprocess.call(command)
    if code:
        raise BootstrapError(f"{problem} (exit code {code} of: {' '.join(command)})")


# -- Debian packages


def install_ensurepip() -> None:
    """
    Bring the part of Python that fills virtual environments, which Debian keeps in a package of its own.

    Raises:
        BootstrapError: It could not be installed.
    """
    package = f"python{sys.version_info.major}.{sys.version_info.minor}-venv"
    if not apt_usable() or not apt_install([package]):
        raise BootstrapError(
            f"this Python cannot make virtual environments, because its module 'ensurepip' is missing. "
            f"On Debian and Ubuntu install it with: sudo apt-get install {package}"
        )
    importlib.invalidate_caches()


def install_servers() -> None:
    """Install the missing test servers where that is allowed, and say in one line which are still missing."""
    if apt_usable() and (packages := sorted({SERVERS[program] for program in missing_servers()})):
        apt_install(packages)
    if missing := missing_servers():
        names = " ".join(SERVERS[program] for program in missing)
        say(f"not installed, so the tests that need them cannot run: {names} (sudo apt-get install {names})")


def missing_servers() -> list[str]:
    """List the programs of `SERVERS` that are not on the path."""
    return [program for program in SERVERS if shutil.which(program) is None]


def apt_usable() -> bool:
    """Tell whether this process may install Debian packages."""
    return shutil.which("apt-get") is not None and os.geteuid() == 0


def apt_install(packages: Sequence[str]) -> bool:
    """Install Debian *packages* without starting any service of theirs, and tell whether that worked."""
    say(f"installing by apt-get: {' '.join(packages)}")
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    with services_kept_from_starting():
        return all(
            subprocess.call(["apt-get", "-qq", *command], env=environment, stdout=subprocess.DEVNULL) == 0
            for command in (["update"], ["install", "-y", "--no-install-recommends", *packages])
        )


@contextlib.contextmanager
def services_kept_from_starting() -> Iterator[None]:
    """Forbid package scripts to start services, by Debian's policy-rc.d, unless one is in place already."""
    if POLICY.exists():
        yield
        return
    POLICY.write_text("#!/bin/sh\nexit 101\n", encoding="ascii")
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        POLICY.unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
