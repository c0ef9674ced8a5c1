"""
Run the tests of the installed prometheus_client on vitalsign.

    python -m tests.conformance FOLDER [options of pytest] [test_core.py ...]

They come from the sdist of its release, which is fetched into FOLDER unless it is there.
"""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
import tarfile
from pathlib import Path

FILES = ("test_core.py", "test_exposition.py", "test_asgi.py", "test_wsgi.py", "test_graphite_bridge.py")


def upstream_tests(folder: Path) -> Path:
    """Return where the tests of the installed prometheus_client lie below *folder*, fetched if need be."""
    version = importlib.metadata.version("prometheus-client")
    tests = folder / f"prometheus_client-{version}" / "tests"
    if not tests.is_dir():
        what = ["--no-deps", "--no-binary", "prometheus-client", f"prometheus-client=={version}"]
        subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", "--dest", folder, *what], check=True)
        with tarfile.open(folder / f"prometheus_client-{version}.tar.gz") as archive:
            archive.extractall(folder, filter="data")
    return tests


def main(folder: str, *arguments: str) -> int:
    """Run pytest with *arguments*, of which those that end in .py are files of the suite; all, if there is none."""
    tests = upstream_tests(Path(folder).resolve())
    files = [argument for argument in arguments if argument.endswith(".py")] or FILES
    options = [argument for argument in arguments if argument not in files]
    # Its own pyproject.toml, not ours, says how the suite is run.
    options += ["-c", str(tests.parent / "pyproject.toml"), "--rootdir", str(tests.parent)]
    command = [sys.executable, "-m", "pytest", "-p", "tests.conformance.plugin", "-p", "no:cacheprovider"]
    command += ["--timeout", "60", *options, *(str(tests / file) for file in files)]
    return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
