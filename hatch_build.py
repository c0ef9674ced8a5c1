"""
Put the compiled part into the wheel, where it can be compiled; without it the package is the same, but slower.

VITALSIGN_BUILD_NATIVE=1 makes a build fail that cannot compile, VITALSIGN_BUILD_NATIVE=0 makes a wheel for any machine.
"""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

WISH = os.environ.get("VITALSIGN_BUILD_NATIVE", "")
SOURCES = Path("src/native")


class NativeBuildHook(BuildHookInterface):
    """Compile src/native into vitalsign._native."""

    _workshop: Path | None = None

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add the compiled part to a wheel; an editable one does without, or it would stay as it is now."""
        if self.target_name != "wheel" or version == "editable" or WISH == "0":
            return
        self._workshop = Path(tempfile.mkdtemp(prefix="vitalsign-"))
        try:
            compiled = compile_native(Path(self.root), self._workshop)
        except (Exception, SystemExit) as error:  # setuptools exits where it knows of no compiler
            self._tidy_up()
            if WISH == "1":
                raise
            self.app.display_warning(f"vitalsign is built without its compiled part: {error}")
            return
        build_data["force_include"][str(compiled)] = f"vitalsign/{compiled.name}"
        build_data["pure_python"] = False
        build_data["infer_tag"] = True

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002
        """Leave nothing behind."""
        self._tidy_up()

    def _tidy_up(self) -> None:
        if self._workshop is not None:
            shutil.rmtree(self._workshop, ignore_errors=True)


def compile_native(root: Path, workshop: Path) -> Path:
    """
    Compile the sources below *root* and return the file that can be imported.

    Raises:
        RuntimeError: This interpreter has no use for it.
        Exception: setuptools', where it cannot be compiled.
    """
    if sys.implementation.name != "cpython" or sysconfig.get_config_var("Py_GIL_DISABLED"):
        raise RuntimeError("it is for CPython with its global interpreter lock")
    from setuptools import Distribution, Extension

    sources = sorted(str(path.relative_to(root)) for path in (root / SOURCES).glob("*.c"))
    extension = Extension(
        "vitalsign._native",
        sources,
        depends=[str(SOURCES / "shared.h")],
        extra_compile_args=[] if os.name == "nt" or "CFLAGS" in os.environ else ["-g0", "-fvisibility=hidden"],
    )
    command: Any = Distribution({"ext_modules": [extension]}).get_command_obj("build_ext")
    command.build_lib, command.build_temp = str(workshop / "lib"), str(workshop / "temp")
    before = Path.cwd()
    os.chdir(root)  # so that no path of this machine gets into the file
    try:
        command.ensure_finalized()
        command.run()
    finally:
        os.chdir(before)
    (compiled,) = command.get_outputs()
    return Path(compiled)
