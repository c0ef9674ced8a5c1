"""The levels of the package, as a table, proven from its syntax trees; and how large its rooms may grow."""

from __future__ import annotations

import ast
import json
import statistics
import subprocess
import sys
import warnings
from fnmatch import fnmatch
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.sources import functions, modules, parse

if TYPE_CHECKING:
    from collections.abc import Iterator

LEVELS = {
    0: ["exceptions", "typing", "_clock", "_rate_limit", "_redact", "_trace", "_native"],
    1: ["metrics", "slo", "_access"],
    2: ["collectors", "health", "resilience", "logs"],
    3: ["asgi", "wsgi", "_http_*", "exporter", "push", "webhook", "integrations", "testing"],
    4: ["bundle", "status", "demo", "cli", "__main__"],
}
"""Every module and folder right under vitalsign. Imports point to a lower level or stay inside the folder."""

ROOT_LEVEL = 1
"""The root re-exports what levels 0 and 1 hold; the others are imported by their own names."""

PEERS = {
    ("slo", "metrics"),
    ("_access", "metrics"),
    ("cli", "bundle"),
    ("cli", "status"),
    ("cli", "demo"),
    ("__main__", "cli"),
}
"""
Who else may import whom on one level, besides the private modules that a level shares (`_http_*`).
Level 2 must never stand here: its folders are siblings.
"""

LIBRARIES = {
    0: set[str](),
    1: {"prometheus_client", "typing_extensions"},
    2: {"prometheus_client", "typing_extensions", "psutil"},
    3: {"prometheus_client", "typing_extensions", "psutil"},
    4: {"prometheus_client", "typing_extensions", "psutil", "starlette", "httpx", "uvicorn"},
}
"""The libraries that any module of a level may import."""

TYPES_FROM = {"prometheus_client", "typing_extensions"}
"""The libraries whose types any module may name, in imports that never run; level 2 those of its leaves too."""

LIBRARY_OF = {
    "vitalsign.asgi": "starlette",
    "vitalsign._http_app": "starlette",
    "vitalsign.push._snappy": "cramjam",
    "vitalsign._http_access_asgi": "starlette",
    "vitalsign._http_exchange": "starlette",
    "vitalsign._http_websockets": "starlette",
}
"""The one further library that a module, and what lies below it, is for."""

LEAVES = {
    "vitalsign.collectors._httpx": "httpx",
    "vitalsign.health._routes": "starlette",
    "vitalsign.health._trio": "trio",
    "vitalsign.health.checks._alembic": "alembic",
    "vitalsign.health.checks._redis_client": "redis",
    "vitalsign.health.checks._sqlalchemy": "sqlalchemy",
    "vitalsign.health.checks._thread_pool": "anyio",
    "vitalsign.logs.formatter": "pythonjsonlogger",
}
"""Leaf modules of level 2 with the one library that each is for, loaded only when asked for."""

LARGEST, LARGE = 500, 300
"""Lines of a module: more than the first is an error, more than the second is worth a look."""


class Import(NamedTuple):
    """One imported module, or one name imported from a module."""

    target: str
    line: int
    typing: bool  # under `if TYPE_CHECKING:`

    @property
    def library(self) -> str:
        """The top-level package."""
        return self.target.partition(".")[0]


def imports(module: str, source: str, *, is_package: bool = False) -> Iterator[Import]:
    """Yield what *source*, the text of *module*, imports anywhere, with relative imports resolved."""
    tree = ast.parse(source)
    typed = {id(node) for guard in type_checking_blocks(tree) for node in ast.walk(guard)}
    package = module if is_package else module.rpartition(".")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for name in node.names:
                yield Import(name.name, node.lineno, id(node) in typed)
        elif isinstance(node, ast.ImportFrom):
            climbed = package.split(".")[: len(package.split(".")) - (node.level - 1)] if node.level else []
            base = ".".join([*climbed, *filter(None, [node.module])])
            for name in node.names:
                yield Import(f"{base}.{name.name}", node.lineno, id(node) in typed)


def type_checking_blocks(tree: ast.AST) -> Iterator[ast.If]:
    """Yield every `if TYPE_CHECKING:` without an else."""
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and not node.orelse and ast.unparse(node.test) == "TYPE_CHECKING":
            yield node


def violations(module: str, source: str, *, is_package: bool = False) -> list[str]:
    """List what in *source* breaks the table, as sentences."""
    part = module.partition(".")[2].partition(".")[0]
    level = level_of(part) if part else ROOT_LEVEL
    if level is None:
        return [f"{module} stands on no level: put {part!r} into LEVELS"]
    broken = []
    for imported in imports(module, source, is_package=is_package):
        if imported.library == "vitalsign":
            reason = why_not_ours(part, level, imported)
        elif imported.library not in sys.stdlib_module_names:
            reason = why_not_library(module, level, imported)
        else:
            continue
        if reason:
            broken.append(f"{module}, line {imported.line}, imports {imported.target}: {reason}")
    return broken


def level_of(part: str) -> int | None:
    """Return the level that the table gives to a module or folder right under vitalsign, None if it gives none."""
    for level, names in LEVELS.items():
        if any(fnmatch(part, name) for name in names):
            return level
    return None


def why_not_ours(part: str, level: int, imported: Import) -> str | None:
    """Say why a part of the package on *level* may not import another of its modules; None if it may."""
    target = imported.target.partition(".")[2].partition(".")[0]
    below = level_of(target)
    if below is None:  # a name of the root
        return None if level > ROOT_LEVEL else "the root imports this level: import from the module that holds it"
    if target == part or below < level or (part, target) in PEERS:
        return None
    if below == level and (target.startswith("_") or not part):
        return None
    return f"{target!r} is on level {below}, this is level {level}"


def why_not_library(module: str, level: int, imported: Import) -> str | None:
    """Say why *module* may not import another project's library; None if it may."""
    own = {library for name, library in (LIBRARY_OF | LEAVES).items() if is_within(module, name)}
    if is_within(module, "vitalsign.integrations"):
        own.add(module.rpartition(".")[2])
    named = TYPES_FROM.union(LEAVES.values() if level == 2 else ()) if imported.typing else set()
    if imported.library in LIBRARIES[level] | own | named:
        return None
    return f"level {level} has no business with {imported.library}"


def is_within(module: str, ancestor: str) -> bool:
    """Tell whether *module* is *ancestor* or lies in its folder."""
    return module == ancestor or module.startswith(f"{ancestor}.")


@pytest.mark.parametrize("module", modules(), ids=lambda module: module.name)
def test_imports_point_down_only(module):
    """No module imports upwards, sideways, or a library that its level has no business with."""
    source = module.path.read_text(encoding="utf-8")
    assert violations(module.name, source, is_package=module.is_package) == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("vitalsign.exceptions", "import prometheus_client"),
        ("vitalsign.exceptions", "if TYPE_CHECKING:\n    import psutil"),
        ("vitalsign.exceptions", "if TYPE_CHECKING:\n    pass\nelse:\n    import prometheus_client"),
        ("vitalsign.typing", "from vitalsign.metrics import Counter"),
        ("vitalsign.metrics.cells", "import psutil"),
        ("vitalsign.metrics.cells", "from vitalsign.health import HealthChecker"),
        ("vitalsign.metrics.cells", "from ..health import HealthChecker"),
        ("vitalsign.health._runner", "from vitalsign.collectors._base import Collector"),
        ("vitalsign.collectors.queue", "def late():\n    from vitalsign.health import HealthChecker"),
        ("vitalsign.collectors.queue", "import redis"),
        ("vitalsign.health._runner", "from vitalsign.asgi import metrics_app"),
        ("vitalsign.asgi", "from vitalsign.exporter import start_exporter"),
        ("vitalsign.metrics.cells", "import vitalsign"),
        ("vitalsign.metrics.cells", "from vitalsign import Counter"),
        ("vitalsign.metrics.cells", "if TYPE_CHECKING:\n    import httpx"),
        ("vitalsign.wsgi", "import starlette"),
        ("vitalsign.integrations.celery", "import redis"),
        ("vitalsign", "from vitalsign.health import HealthChecker"),
        ("vitalsign.misplaced", ""),
    ],
)
def test_broken_level_is_found(module, source):
    """Each kind of import that the levels forbid is recognised, in functions and in relative form too."""
    assert len(violations(module, source)) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("vitalsign", "from vitalsign.metrics import Counter"),
        ("vitalsign.typing", "if TYPE_CHECKING:\n    from prometheus_client import Metric"),
        ("vitalsign.wsgi", "from vitalsign._http_metrics import HttpMetrics"),
        ("vitalsign.health._reply", "from vitalsign._access import Access"),
        ("vitalsign.metrics.cells", "from prometheus_client import REGISTRY"),
        ("vitalsign.slo", "from .metrics import Histogram"),
        ("vitalsign.health.checks._disk", "import psutil\nfrom ..._clock import monotonic"),
        ("vitalsign.collectors._httpx", "import httpx"),
        ("vitalsign.collectors.api_client", "if TYPE_CHECKING:\n    import httpx"),
        ("vitalsign.asgi", "from starlette.routing import Match\nfrom vitalsign.metrics import Counter"),
        ("vitalsign.integrations.celery", "import celery"),
        ("vitalsign.cli.demo", "import uvicorn\nfrom vitalsign import Counter\nfrom vitalsign.asgi import metrics_app"),
    ],
)
def test_allowed_import_is_let_pass(module, source):
    """What the levels allow is not reported."""
    assert violations(module, source) == []


def test_every_part_is_on_one_level():
    """No module or folder stands on two levels, and every level has its list of libraries."""
    names = [name for level in LEVELS.values() for name in level]
    assert len(names) == len(set(names))
    assert LEVELS.keys() == LIBRARIES.keys()


@pytest.mark.parametrize("name", LEVELS[2])
def test_libraries_of_leaves_are_loaded_when_asked_for(name):
    """Importing a folder of level 2 loads neither the libraries of its leaf modules nor a sibling."""
    if f"vitalsign.{name}" not in {module.name for module in modules()}:
        pytest.skip("is not built yet")
    program = f"import json, sys, vitalsign.{name}; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    loaded = set(json.loads(done.stdout))
    assert loaded.isdisjoint(LEAVES.values())
    assert loaded.isdisjoint(f"vitalsign.{sibling}" for sibling in LEVELS[2] if sibling != name)


def test_modules_stay_one_room():
    """No module has more than 500 lines; those over 300 are listed in the warnings."""
    lines = {module.name: len(module.path.read_text(encoding="utf-8").splitlines()) for module in modules()}
    assert {name: count for name, count in lines.items() if count > LARGEST} == {}


@pytest.mark.filterwarnings("default")
def test_large_modules_are_reported():
    """Modules over 300 lines appear in pytest's summary of warnings, longest first."""
    lines = {module.name: len(module.path.read_text(encoding="utf-8").splitlines()) for module in modules()}
    large = sorted(((count, name) for name, count in lines.items() if count > LARGE), reverse=True)
    if large:
        listed = ", ".join(f"{name} ({count})" for count, name in large)
        warnings.warn(f"modules over {LARGE} lines: {listed}", stacklevel=1)


def test_functions_are_short():
    """The median function has fewer than 10 lines of code, its docstring not counted."""
    lengths = [code_lines(function) for module in modules() for function in functions(parse(module.path))]
    assert statistics.median(lengths) < 10


def code_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Count the lines of *function* from its `def`, without its docstring."""
    assert function.end_lineno is not None
    first = function.body[0]
    documented = ast.get_docstring(function) is not None
    docstring = (first.end_lineno or first.lineno) - first.lineno + 1 if documented else 0
    return function.end_lineno - function.lineno + 1 - docstring
