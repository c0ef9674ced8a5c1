"""Row of the import: what a service pays at every start."""

from __future__ import annotations

import os
import subprocess
import sys
from statistics import median

from benchmarks.rows import SECONDS, Row, Target, beside

__all__ = ["rows"]

_STARTS = 7
_CODE = "from time import perf_counter; start = perf_counter(); import {}; print(perf_counter() - start)"


def rows() -> list[Row]:
    """Return the rows of this module."""
    return [Row("import", "import of the package", SECONDS, beside(import_time), Target(surplus=0.020))]


def import_time(library: str, short: bool) -> float:
    """Return the median over a few interpreters that have loaded nothing; one before has compiled and cached it all."""
    starts = 1 if short else _STARTS
    return median([_one_import(library) for _ in range(starts + 1)][1:])


def _one_import(library: str) -> float:
    # Installed packages are compiled; a source tree never would be where this variable forbids it.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, "-c", _CODE.format(library)]
    done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True, timeout=60)
    return float(done.stdout)
