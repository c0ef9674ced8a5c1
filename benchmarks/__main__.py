"""The command: `python -m benchmarks [--short] [--only PATTERN] [--json FILE] [--markdown FILE]`."""

from __future__ import annotations

import argparse
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatch
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import exporting, health, importing, instruments, memory, middleware, processes, rendering, serving
from benchmarks.measuring import measure
from benchmarks.report import Machine, as_json, as_markdown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.measuring import Outcome
    from benchmarks.rows import Row

__all__ = ["all_rows", "main"]

_ROUNDS = 5
_AT_ONCE = 3  # rows of a short run, whose figures mean nothing
_ROW_MODULES = (instruments, rendering, processes, memory, importing, middleware, serving, exporting, health)


def all_rows() -> list[Row]:
    """Return every row, in the order of the table."""
    return [row for module in _ROW_MODULES for row in module.rows()]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the table, write the files asked for, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure vitalsign beside its peers.")
    parser.add_argument("--short", action="store_true", help="one round of little work: proves only that it runs")
    parser.add_argument("--only", metavar="PATTERN", default="*", help="rows whose key matches, such as 'memory.*'")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write everything measured, as JSON")
    parser.add_argument("--markdown", metavar="FILE", type=Path, help="write what is printed")
    options = parser.parse_args(arguments)
    rows = [row for row in all_rows() if fnmatch(row.key, options.only)]
    if not rows:
        parser.error(f"no row matches {options.only!r}; there are {', '.join(row.key for row in all_rows())}")
    if find_spec("vitalsign") is None:
        parser.error("vitalsign itself is not installed; run `pip install .` first")

    run = {"rounds": 1 if options.short else _ROUNDS, "short": options.short}
    machine = Machine.present()
    with ThreadPoolExecutor(_AT_ONCE if options.short else 1) as pool:
        outcomes = list(pool.map(lambda place: _measured(place, rows, **run), range(len(rows))))
    table = as_markdown(machine, outcomes, **run)
    print(table, end="")
    if options.markdown:
        options.markdown.write_text(table, encoding="utf-8")
    if options.json:
        options.json.write_text(json.dumps(as_json(machine, outcomes, **run), indent=2) + "\n", encoding="utf-8")
    return 0


def _measured(place: int, rows: Sequence[Row], **run: Any) -> Outcome:
    print(f"[{place + 1}/{len(rows)}] {rows[place].key}", file=sys.stderr, flush=True)
    return measure(rows[place], **run)


if __name__ == "__main__":
    sys.exit(main())
