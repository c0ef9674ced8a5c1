"""The script behind the README's two commands: what it refuses, what it skips, and that its last line is true."""

from __future__ import annotations

import importlib.util
import json
import stat
import sys

import pytest

from tests.sources import ROOT

PASSED = '<testsuites><testsuite errors="0" failures="0" skipped="1" tests="5"/></testsuites>'
FAILED = '<testsuites><testsuite errors="1" failures="2" skipped="0" tests="4"/></testsuites>'


@pytest.fixture
def bootstrap(monkeypatch):
    """Return the script as a module, so that its parts can be called."""
    spec = importlib.util.spec_from_file_location("bootstrap", ROOT / ".ci" / "bootstrap.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def concluded(bootstrap, tmp_path, capsys):
    """Return a function that closes a run with the given JUnit files and session results: its code and lines."""

    def conclude(code, *reports, sessions=(), tests_expected=True):
        paths = []
        for number, report in enumerate(reports):
            path = tmp_path / f"junit-{number}.xml"
            path.write_text(report)
            paths.append(path)
        nox = tmp_path / "nox.json"
        nox.write_text(json.dumps({"sessions": list(sessions)}))
        code = bootstrap.conclude(code, nox, paths, tests_expected=tests_expected)
        return code, capsys.readouterr().out.splitlines()

    return conclude


def test_last_line_adds_up_all_runs(concluded):
    """A good run closes with the sum over pytest's reports and exit code 0."""
    assert concluded(0, PASSED, PASSED) == (0, ["8 passed, 0 failed, 2 skipped"])


def test_failed_tests_never_end_with_zero(concluded):
    """Failures and errors are counted as failed, and make the exit code 1 whatever nox said."""
    code, lines = concluded(0, PASSED, FAILED)
    assert code == 1
    assert lines == ["bootstrap: the run failed with exit code 1", "5 passed, 3 failed, 1 skipped"]


def test_run_without_tests_is_no_success(concluded):
    """A full run in which no test passed fails; one session that has no tests of its own may succeed."""
    assert concluded(0)[0] == 1
    assert concluded(0, tests_expected=False) == (0, ["0 passed, 0 failed, 0 skipped"])


def test_failed_session_is_named(concluded):
    """Sessions that failed or were left out are named before the last line, and nox's exit code is kept."""
    sessions = [
        {"signatures": ["lint"], "result": "failed"},
        {"signatures": ["tests-3.12", "tests"], "result": "skipped"},
        {"signatures": ["tests-3.11"], "result": "success"},
    ]
    code, lines = concluded(4, PASSED, sessions=sessions)
    assert code == 4
    assert lines == [
        "bootstrap: sessions failed: lint",
        "bootstrap: sessions skipped: tests-3.12",
        "bootstrap: the run failed with exit code 4",
        "4 passed, 0 failed, 1 skipped",
    ]


def test_ended_by_a_signal_is_a_failure(concluded):
    """A run whose nox was ended by a signal has the exit code that a shell would give, though no test failed."""
    assert concluded(-15, PASSED)[0] == 143


def test_old_python_is_refused_with_the_fix(bootstrap):
    """A Python below the supported ones is refused in words that say which to use; the oldest supported is not."""
    with pytest.raises(bootstrap.BootstrapError, match=r"this is Python 3\.9, .* needs 3\.11 .* such as python3\.11"):
        bootstrap.check_python((3, 9))
    bootstrap.check_python((3, 11))


def test_missing_ensurepip_names_the_package(bootstrap, monkeypatch):
    """Where venv lacks its installer and apt may not be used, the message names the package that brings it."""
    monkeypatch.setattr(bootstrap, "apt_usable", lambda: False)
    package = f"python{sys.version_info.major}.{sys.version_info.minor}-venv"
    with pytest.raises(bootstrap.BootstrapError, match=f"sudo apt-get install {package}"):
        bootstrap.install_ensurepip()


def test_unknown_command_explains_itself(bootstrap, capsys):
    """Without a known command the script prints how it is used; only a call for help is a success."""
    assert bootstrap.main([]) == 2
    assert bootstrap.main(["tset"]) == 2
    assert bootstrap.main(["--help"]) == 0
    assert capsys.readouterr().out.count("python3 .ci/bootstrap.py demo") == 3


def test_error_is_one_line_and_exit_code_1(bootstrap, monkeypatch, capsys):
    """What the script cannot do is said in one line, without a traceback."""

    def refuse(version):
        raise bootstrap.BootstrapError("no luck")

    monkeypatch.setattr(bootstrap, "check_python", refuse)
    assert bootstrap.main(["test"]) == 1
    assert capsys.readouterr().out == "bootstrap: no luck\n"


def test_missing_servers_are_said_in_one_line(bootstrap, monkeypatch, capsys):
    """Test servers that cannot be installed are named once, with the packages that bring them."""
    monkeypatch.setattr(bootstrap, "SERVERS", {"no-such-server": "no-such-package", "python3": "python3"})
    monkeypatch.setattr(bootstrap, "apt_usable", lambda: False)
    bootstrap.install_servers()
    (line,) = capsys.readouterr().out.splitlines()
    assert line.endswith("cannot run: no-such-package (sudo apt-get install no-such-package)")


def test_services_are_kept_from_starting_only_meanwhile(bootstrap, monkeypatch, tmp_path):
    """The policy that keeps packages from starting services stands while they are installed, and goes after."""
    policy = tmp_path / "policy-rc.d"
    monkeypatch.setattr(bootstrap, "POLICY", policy)
    with bootstrap.services_kept_from_starting():
        assert policy.read_text() == "#!/bin/sh\nexit 101\n"
        assert policy.stat().st_mode & stat.S_IXUSR
    assert not policy.exists()
    policy.write_text("mine")
    with bootstrap.services_kept_from_starting():
        assert policy.read_text() == "mine"
    assert policy.read_text() == "mine"


def test_requirements_are_installed_once(bootstrap, monkeypatch, tmp_path):
    """The same requirement is installed again only after pyproject.toml or the folder has changed."""
    ran = []
    monkeypatch.setattr(bootstrap, "run", lambda command, problem: ran.append(command[-1]))
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "pyproject.toml").write_text("version = 1")
    monkeypatch.setattr(bootstrap, "VENV", tmp_path)
    monkeypatch.setattr(bootstrap, "ROOT", tmp_path / "first")
    for _ in range(2):
        bootstrap.install_once(tmp_path / "python", "thing")
    assert ran == ["thing"]
    (tmp_path / "first" / "pyproject.toml").write_text("version = 2")
    bootstrap.install_once(tmp_path / "python", "thing")
    assert ran == ["thing"] * 2
    monkeypatch.setattr(bootstrap, "ROOT", tmp_path / "second")
    bootstrap.install_once(tmp_path / "python", "thing")
    assert ran == ["thing"] * 3


def test_tests_run_without_the_faster_installer(bootstrap, monkeypatch, tmp_path):
    """Where there is no uv to be had, nox runs all the same."""
    ran = []

    def install_once(python, requirement):
        ran.append(requirement)
        if requirement == bootstrap.UV:
            raise bootstrap.BootstrapError("there is none for this machine")

    monkeypatch.setattr(bootstrap, "REPORTS", tmp_path / "reports")
    monkeypatch.setattr(bootstrap, "virtual_environment", lambda: tmp_path / "python")
    monkeypatch.setattr(bootstrap, "install_once", install_once)
    monkeypatch.setattr(bootstrap, "install_servers", lambda: None)
    monkeypatch.setattr(bootstrap.subprocess, "call", lambda command, **_: ran.append(command[2]) or 0)
    assert bootstrap.test(["-s", "lint"]) == 0
    assert ran == [bootstrap.NOX, bootstrap.UV, "nox"]
