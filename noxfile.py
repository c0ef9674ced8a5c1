"""
Every check of the project, each in an environment of its own; plain `nox` runs them all.

The package under test is always the built wheel, made once per run and Python, never the source tree.
"""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import nox
from packaging.requirements import Requirement

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

nox.needs_version = ">=2025.10.16"
nox.options.download_python = "never"
nox.options.error_on_missing_interpreters = False  # `coverage` sees to it that one at least was there
nox.options.reuse_venv = "yes"
nox.options.sessions = ["lint", "typing", "docs", "bench", "conformance", "minimums", "last_year", "tests", "coverage"]

PYPROJECT = nox.project.load_toml("pyproject.toml")
SUPPORTED = nox.project.python_versions(PYPROJECT)
RUNNING = f"{sys.version_info.major}.{sys.version_info.minor}"
PYTHONS = SUPPORTED if RUNNING in SUPPORTED else [*SUPPORTED, RUNNING]

BUILD = Path("build").resolve()
REPORTS = BUILD / "reports"
COVERAGE = BUILD / "coverage"
WHEELS = BUILD / "wheels"

UPSTREAM = ["0.26.0", "newest"]
"""Releases of prometheus_client whose tests vitalsign is held to."""

PORTABLE = ["-m", "not slow", "tests/unit", "tests/property", "tests/typing", "tests/test_contract.py"]
"""Options that choose the tests of what may depend on the version of Python or of a library."""

COMPILED = ["tests/unit/asgi", "tests/unit/metrics/test_together.py", "tests/property/test_exchanges.py"]
"""Where the compiled part is tested."""

FEWER_EXAMPLES = {
    "VITALSIGN_PROCESSES_EXAMPLES": "4",
    "VITALSIGN_FUZZ_EXAMPLES": "20",
    "VITALSIGN_TESTED_WAY": "compiled",
}
"""For tests that run elsewhere with all of theirs, and there in pure Python too."""

LAST_YEAR = ["fastapi==0.121.3"]
"""Releases of November 2025, which many services still run; `tests` takes the newest, `minimums` the oldest."""

PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check"]

UV_VARIABLES = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "cert": "SSL_CERT_FILE",
}
"""Options of pip's configuration, which uv does not read, by the variables that tell them to it."""

_built: dict[str, Path] = {}
"""The wheels of this run by their Pythons, each once the first session has built it."""


def show_pyenv_pythons() -> None:
    """Name every Python that pyenv holds in its variable: it hides all but the active one otherwise."""
    if shutil.which("pyenv"):
        listed = subprocess.check_output(["pyenv", "versions", "--bare"], text=True).split()
        usable = [name for name in listed if name.rpartition(".")[0] in PYTHONS]
        usable.sort(key=lambda name: name.startswith(f"{RUNNING}."), reverse=True)
        if usable:
            os.environ["PYENV_VERSION"] = ":".join(usable)


def find_backend() -> str:
    """Return `uv` where there is one that finds packages as pip does, in a tenth of its time; else `virtualenv`."""
    uv = shutil.which("uv", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))
    if uv is None:
        return "virtualenv"
    for option, value in pip_options().items():
        if option in UV_VARIABLES:
            os.environ.setdefault(UV_VARIABLES[option], value)
    os.environ.setdefault("UV_INDEX_STRATEGY", "unsafe-best-match")  # among several indexes, as pip chooses
    trial = [uv, "pip", "install", "--quiet", "--dry-run", "--reinstall", "--python", sys.executable, "nox"]
    return "virtualenv" if subprocess.call(trial, stderr=subprocess.DEVNULL) else "uv"


def pip_options() -> dict[str, str]:
    """Return what pip is configured to do when it installs: its environment goes before its files."""
    listed = subprocess.run([*PIP, "config", "list"], check=False, capture_output=True, text=True).stdout
    found = {}
    for section in ("global", "install", ":env:"):
        for line in listed.splitlines():
            option, _, value = line.removeprefix(f"{section}.").partition("=")
            if line.startswith(f"{section}."):
                found[option] = " ".join(str(ast.literal_eval(value)).split())
    return found


show_pyenv_pythons()
nox.options.default_venv_backend = find_backend()


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and formatting."""
    session.install(*group("lint"))
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def typing(session: nox.Session) -> None:
    """Check the source and tests/typing by mypy, and the installed package's public types by pyright."""
    install(session, "typing")
    session.run("mypy")
    python = str(Path(session.bin) / "python")
    with session.chdir(session.create_tmp()):  # away from src, so that the installed package is what is read
        session.run("pyright", "--pythonpath", python, "--ignoreexternal", "--verifytypes", "vitalsign")


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """Run the tests; on the Python that runs nox all of them, with coverage kept for the session of that name."""
    install(session, "test")
    if session.python != RUNNING:
        # Servers, documents and tools are the same whatever Python tests them, and tracing doubles the time.
        pytest(session, *(session.posargs or PORTABLE), env=FEWER_EXAMPLES)
        return
    COVERAGE.mkdir(parents=True, exist_ok=True)
    for stale in COVERAGE.glob(".coverage*"):
        stale.unlink()
    data = {"COVERAGE_FILE": str(COVERAGE / ".coverage")}
    pytest(session, *session.posargs, runner=("coverage", "run", "-m"), env=data)


@nox.session
def coverage(session: nox.Session) -> None:
    """Combine the coverage of the tests' processes, report it, and fail below the agreed share."""
    if not any(COVERAGE.glob(".coverage*")):
        session.error(f"No test was traced: the session tests-{RUNNING} has not run.")
    session.install(*group("coverage"))
    data = {"COVERAGE_FILE": str(BUILD / ".coverage")}
    session.run("coverage", "combine", "--quiet", str(COVERAGE), env=data)
    session.run("coverage", "report", env=data)


@nox.session(python=SUPPORTED[0])
def minimums(session: nox.Session) -> None:
    """Run the unit tests on the oldest Python with the oldest dependencies that pyproject.toml allows."""
    extras = PYPROJECT["project"]["optional-dependencies"].values()
    direct = [*PYPROJECT["project"]["dependencies"], *(name for extra in extras for name in extra)]
    install(session, "test", *lowest([*direct, *group("frameworks")]))
    session.run(*(["uv"] if session.venv_backend == "uv" else ["python", "-m"]), "pip", "list")
    # Old releases warn of what later ones have mended.
    pytest(session, "-W", "default", *PORTABLE, env=FEWER_EXAMPLES)


@nox.session
def last_year(session: nox.Session) -> None:
    """Run the tests of the ASGI middleware on the frameworks of a year ago, under a real server too."""
    install(session, "test", *LAST_YEAR)
    fastapi = ("tests/unit/metrics/test_decorators_fastapi.py", "tests/integration/frameworks/test_asgi_frameworks.py")
    # Old releases warn of what later ones have mended.
    chosen = ("-m", "not slow", "tests/unit/asgi", *fastapi, "-k", "not integration or fastapi")
    pytest(session, "-W", "default", *chosen, env=FEWER_EXAMPLES)


@nox.session
@nox.parametrize("release", UPSTREAM)
def conformance(session: nox.Session, release: str) -> None:
    """Run the tests of prometheus_client on vitalsign: each passes, or differs as tests/conformance lists it."""
    newest = release == "newest"
    install(session, "conformance", "prometheus-client" if newest else f"prometheus-client=={release}")
    if newest:
        session.install("--upgrade", "prometheus-client")
        ask = "import importlib.metadata as metadata; print(metadata.version('prometheus-client'))"
        version = str(session.run("python", "-c", ask, silent=True)).strip()
        if version in UPSTREAM:
            session.skip(f"the newest release of prometheus_client is {version}, which has a session of its own")
    report = REPORTS / f"junit-conformance-{release}.xml"
    session.run("python", "-m", "tests.conformance", session.create_tmp(), f"--junit-xml={report}", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation; a warning is an error."""
    install(session, "docs")
    session.run("sphinx-build", "-W", "--keep-going", *session.posargs, "docs", "docs/_build/html")


@nox.session
def bench(session: nox.Session) -> None:
    """Measure vitalsign beside its peers, as the options after `--` say, or briefly to prove that it runs."""
    install(session, "bench")
    session.run("python", "-m", "benchmarks", *(session.posargs or ["--short"]))


@nox.session
def sanitize(session: nox.Session) -> None:
    """Run the tests of the compiled part under gcc's sanitizers: of memory, and of undefined behaviour."""
    install(session, "test")
    flags = "-O1 -g -fsanitize=address,undefined -fno-sanitize-recover=undefined"
    strict = {"CFLAGS": flags, "LDFLAGS": flags, "VITALSIGN_BUILD_NATIVE": "1"}
    wheel = build(session, WHEELS / "sanitized", **strict)
    session.install("--force-reinstall", "--no-deps", str(wheel))
    libraries = [
        str(session.run("gcc", f"-print-file-name=lib{name}.so", external=True, silent=True)).strip()
        for name in ("asan", "ubsan")
    ]
    # Memory of the interpreter's own that it never frees is no finding; its allocator would hide ours.
    env = {"LD_PRELOAD": ":".join(libraries), "ASAN_OPTIONS": "detect_leaks=0", "PYTHONMALLOC": "malloc"}
    session.run("pytest", "-m", "not slow", *(session.posargs or COMPILED), env=env)


@nox.session
def soak(session: nox.Session) -> None:
    """Kill a worker under load every second, for five minutes or what the options after `--` say (`--minutes 60`)."""
    install(session, "test")
    session.run("python", "-m", "tests.soak", *session.posargs)


# -- what the sessions share


def group(name: str) -> tuple[str, ...]:
    """Return the requirements of a dependency group."""
    return nox.project.dependency_groups(PYPROJECT, name)


def install(session: nox.Session, name: str, *pins: str) -> None:
    """Install the built wheel with all extras, the dependency group *name*, and exact *pins*."""
    wheel = built(session)
    session.install("--force-reinstall", "--no-deps", str(wheel))  # or pip keeps an older build of the version
    # Half of the time of an installation goes into compiling what is never imported.
    session.install("--no-compile", f"{wheel}[all]", *group(name), *pins)


def built(session: nox.Session) -> Path:
    """Return the wheel for the session's Python, made once per run."""
    version = str(session.python or RUNNING)
    if version not in _built:
        _built[version] = build(session, WHEELS / version)
        if _built[version].stem.endswith("-any"):
            session.warn("The wheel is without its compiled part: there is no compiler, or Python has no headers.")
    return _built[version]


def build(session: nox.Session, folder: Path, **env: str) -> Path:
    """Build a wheel for the session's Python, the only one in *folder* then."""
    shutil.rmtree(folder, ignore_errors=True)
    if session.venv_backend == "uv":
        python = str(Path(session.bin) / "python")
        session.run("uv", "build", "--quiet", "--wheel", "--python", python, "--out-dir", str(folder), env=env)
    else:
        options = ("--disable-pip-version-check", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder))
        session.run("python", "-m", "pip", *options, ".", env=env)
    (wheel,) = folder.glob("*.whl")
    return wheel


def pytest(
    session: nox.Session, *arguments: str, runner: tuple[str, ...] = (), env: dict[str, str] | None = None
) -> None:
    """Run pytest, started by *runner*, and leave a JUnit report under the session's name."""
    report = REPORTS / f"junit-{session.name}.xml"
    workers = str(2 * (os.cpu_count() or 1))  # half of the tests wait for servers, clocks or the killing of workers
    session.run(*runner, "pytest", "-n", workers, "--dist", "worksteal", f"--junit-xml={report}", *arguments, env=env)


def lowest(requirements: Iterable[str]) -> Iterator[str]:
    """Pin each of *requirements* to its lower bound; the package's own name, used by extras, is left out."""
    for requirement in map(Requirement, requirements):
        if requirement.name != PYPROJECT["project"]["name"]:
            (bound,) = (spec.version for spec in requirement.specifier if spec.operator == ">=")
            yield f"{requirement.name}=={bound}"
