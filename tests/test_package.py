"""What `import vitalsign` gives and does, and what stands in the repository's files."""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
import importlib.resources
import json
import re
import subprocess
import sys
import tomllib
import types

import pytest

import vitalsign
from tests.sources import ROOT, SOURCE, functions, modules, own_files, parse

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def in_new_process(program: str) -> dict[str, list[str]]:
    """Run *program* in a Python of its own and return the object that it printed as JSON."""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    printed: dict[str, list[str]] = json.loads(done.stdout)
    return printed


# -- the import


@pytest.fixture(scope="module")
def effects():
    """Return what importing vitalsign did to a process that had imported prometheus_client before."""
    return in_new_process(
        "import json, sys, threading, prometheus_client\n"
        "collectors = prometheus_client.REGISTRY._collector_to_names\n"
        "modules, registered = set(sys.modules), list(collectors)\n"
        "import vitalsign\n"
        "print(json.dumps({\n"
        "    'modules': sorted(set(sys.modules) - modules),\n"
        "    'registered': [repr(one) for one in collectors if one not in registered],\n"
        "    'threads': [thread.name for thread in threading.enumerate()],\n"
        "}))\n"
    )


def test_import_loads_no_library(effects):
    """Importing vitalsign loads no library but prometheus_client: neither starlette, psutil nor wrapt."""
    loaded = {name.partition(".")[0] for name in effects["modules"]} - sys.stdlib_module_names
    assert loaded <= {"vitalsign", "typing_extensions"}


def test_import_loads_no_upper_level(effects):
    """Importing vitalsign loads the engine only, none of the levels that stand on it."""
    parts = {name.split(".")[1] for name in effects["modules"] if name.startswith("vitalsign.")}
    assert parts <= {"_clock", "_trace", "exceptions", "metrics", "slo", "typing"}


def test_import_loads_no_event_loop(effects):
    """Importing vitalsign does not bring asyncio into a process that has no use for it."""
    assert [name for name in effects["modules"] if name.startswith("asyncio")] == []


def test_import_registers_nothing(effects):
    """Importing vitalsign leaves the default registry as prometheus_client made it."""
    assert effects["registered"] == []


def test_import_starts_no_thread(effects):
    """Importing vitalsign leaves the process with its main thread alone."""
    assert effects["threads"] == ["MainThread"]


# -- the names


def test_all_equals_the_public_names():
    """`vitalsign.__all__` lists each public name of the root once; of modules it names only those it means to."""
    public = {
        name
        for name, value in vars(vitalsign).items()
        if not name.startswith("_") and (not isinstance(value, types.ModuleType) or name in vitalsign.__all__)
    }
    assert sorted(vitalsign.__all__) == sorted(public - {"annotations"})


def test_root_only_reexports():
    """The root's __init__.py holds a docstring, imports and `__all__`, nothing else."""
    docstring, *rest = parse(SOURCE / "__init__.py").body
    assert isinstance(docstring, ast.Expr)
    for statement in rest:
        allowed = isinstance(statement, ast.Import | ast.ImportFrom)
        allowed |= isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "__all__"
        assert allowed, f"line {statement.lineno}: {ast.unparse(statement)}"


@pytest.mark.parametrize("module", [module.name for module in modules() if module.name != "vitalsign.__main__"])
def test_exported_names_exist(module):
    """Every name in a module's `__all__` can be taken from it."""
    loaded = importlib.import_module(module)
    assert [name for name in getattr(loaded, "__all__", []) if not hasattr(loaded, name)] == []


def test_package_says_that_it_is_typed():
    """The installed package carries the marker that makes type checkers read its annotations."""
    assert importlib.resources.files("vitalsign").joinpath("py.typed").is_file()


# -- the version


def test_version_is_the_newest_of_the_changelog():
    """The version of pyproject.toml is the one at the top of the changelog, with a date or marked as unreleased."""
    top = re.search(r"^## \[(.+?)\] - (\S+)$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert top is not None
    assert top[1] == PYPROJECT["project"]["version"]
    assert re.fullmatch(r"Unreleased|\d{4}-\d\d-\d\d", top[2])


def test_installed_version_is_the_projects():
    """Where the distribution is installed, its metadata have the version of pyproject.toml."""
    try:
        installed = importlib.metadata.version("vitalsign")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("vitalsign runs from its source folder, it is not installed")
    assert installed == PYPROJECT["project"]["version"]


def test_every_python_that_is_promised_is_tested():
    """Each Python named in the classifiers is in the CI workflow's matrix too, the oldest being the one required."""
    promised = [
        name.rpartition(" ")[2]
        for name in PYPROJECT["project"]["classifiers"]
        if re.fullmatch(r"Programming Language :: Python :: 3\.\d+", name)
    ]
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    assert re.findall(r'"(3\.\d+)"', workflow) == promised
    assert PYPROJECT["project"]["requires-python"] == f">={promised[0]}"


def test_every_dependency_has_a_tested_lower_bound():
    """Every dependency has exactly one lower bound, which is what the minimums session installs."""
    project = PYPROJECT["project"]
    extras = [name for extra in project["optional-dependencies"].values() for name in extra]
    for requirement in [*project["dependencies"], *extras, *PYPROJECT["dependency-groups"]["frameworks"]]:
        assert requirement.startswith("vitalsign[") or re.fullmatch(r"[\w.-]+>=[\d.]+", requirement), requirement


# -- the files


def test_every_test_says_what_it_shows():
    """Every test function has a docstring."""
    silent = [
        f"{path.relative_to(ROOT)}:{function.lineno} {function.name}"
        for path in sorted((ROOT / "tests").rglob("test_*.py"))
        for function in functions(parse(path))
        if function.name.startswith("test_") and not ast.get_docstring(function)
    ]
    assert silent == []


MACHINE_PATH = re.compile(r"(?<![\w.:/~-])/(?:root|work|home/\w+|Users/\w+|opt/\w+)(?=/\w)")
REGISTRY_HOST = re.compile(r"\b(?:pypi|pythonhosted|npmjs|debian|ubuntu)\.(?:org|com)\b")


@pytest.mark.parametrize("pattern", [MACHINE_PATH, REGISTRY_HOST], ids=["machine path", "registry host"])
def test_files_name_no_machine(pattern):
    """No file of the repository names a folder of somebody's machine, or the host of a package registry."""
    found = [
        f"{path.relative_to(ROOT)}:{number} {line.strip()}"
        for path in own_files()
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1)
        if pattern.search(line)
    ]
    assert found == []


@pytest.mark.parametrize(
    ("pattern", "line"),
    [
        (MACHINE_PATH, "see /" + "home/jo/src/thing.py"),
        (MACHINE_PATH, 'open("/' + 'root/x")'),
        (REGISTRY_HOST, "https://pypi." + "org/simple"),
        (REGISTRY_HOST, "deb http://deb.debian." + "org stable"),
    ],
)
def test_named_machine_is_found(pattern, line):
    """The patterns find what they are for."""
    assert pattern.search(line)


def test_ci_runs_the_readmes_test_command():
    """README gives the two commands, and CI runs the one for tests as it stands there."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert "python3 .ci/bootstrap.py demo" in readme
    assert "python3 .ci/bootstrap.py test" in readme
    assert "python3 .ci/bootstrap.py test" in script
