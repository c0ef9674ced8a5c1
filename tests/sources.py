"""The project's own files, as the tests read them that judge its structure."""

from __future__ import annotations

import ast
import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "vitalsign"
MADE_BY_TOOLS = {
    *(".git", ".venv", ".nox", "build", "dist", "_build", "node_modules"),
    *("__pycache__", ".hypothesis", ".mypy_cache", ".pytest_cache", ".ruff_cache"),
}
"""Names of folders that no person wrote."""


class Module(NamedTuple):
    """One module of the package."""

    name: str
    path: Path

    @property
    def is_package(self) -> bool:
        """Whether this is a folder's __init__.py."""
        return self.path.name == "__init__.py"


def modules() -> list[Module]:
    """Return every module under src, by its dotted name."""
    found = []
    for path in sorted(SOURCE.rglob("*.py")):
        parts = path.relative_to(SOURCE.parent).with_suffix("").parts
        found.append(Module(".".join(parts[:-1] if parts[-1] == "__init__" else parts), path))
    return found


def own_files() -> Iterator[Path]:
    """Yield every file of the repository that people wrote."""
    for folder, folders, files in os.walk(ROOT):
        folders[:] = sorted(set(folders) - MADE_BY_TOOLS)
        yield from (Path(folder, name) for name in sorted(files) if not name.startswith(".coverage"))


def parse(path: Path) -> ast.Module:
    """Return the syntax tree of a Python file."""
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Yield every function in *tree*, nested ones and methods too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node
