"""The textfile collector of node_exporter: metrics in a file, which it shows with those of the machine."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prometheus_client.parser import text_string_to_metric_families

from vitalsign.exceptions import PushError, PushOptionError
from vitalsign.metrics.registry import REGISTRY
from vitalsign.push._page import Page, checked_labels, checked_seconds

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Textfile", "write_textfile"]

_READABLE = 0o644  # node_exporter is another user


def write_textfile(
    path: str | os.PathLike[str],
    *,
    registry: Any = REGISTRY,
    labels: Mapping[str, str] | None = None,
    deadline: float = 10.0,
) -> None:
    """
    Write the metrics of *registry* to a file for node_exporter's textfile collector, all at once.

    Whoever reads sees the old file or the new one, whole, also after a crash of the machine.

    Args:
        path: The file, in the directory that node_exporter is told by `--collector.textfile.directory`. Its name ends
            in `.prom`.
        registry: What is written.
        labels: Added to every series. node_exporter cannot show one series from two files: where two jobs write the
            same metrics, give each its own labels.
        deadline: Seconds after which a collector that has not answered is left out.

    Raises:
        PushError: The file cannot be written.
        PushOptionError: An option makes no sense.
    """
    file = Textfile(path, labels)
    file.write(Page(registry, deadline=checked_seconds(deadline)))


class Textfile:
    """
    A file for node_exporter, as the destination of a job's metrics.

    Args:
        path: The file.
        labels: Added to every series.
        kept: Name of a gauge that a failed run takes over from the file, since it has none of its own.

    Raises:
        PushOptionError: The name does not end in `.prom`, or the labels make no sense.
    """

    kind = "textfile"

    def __init__(self, path: str | os.PathLike[str], labels: Mapping[str, str] | None, kept: str = "") -> None:
        self._path = Path(path)
        if self._path.suffix != ".prom":
            raise PushOptionError(f"{str(path)!r} does not end in .prom, so node_exporter would not read it.")
        self._labels = checked_labels("labels", labels)
        self._kept = kept
        self.shown = str(self._path)

    def deliver(self, page: Page, *, succeeded: bool, until: float) -> None:  # noqa: ARG002  # of any destination
        """Write the metrics of a job that has ended."""
        text = page.text(self._labels)
        if not succeeded and f"# TYPE {self._kept} ".encode() not in text:
            text += self._taken_over()
        self._replace(text)

    def write(self, page: Page) -> None:
        """
        Write *page* in place of what the file held.

        Raises:
            PushError: It cannot be written.
        """
        self._replace(page.text(self._labels))

    def _replace(self, text: bytes) -> None:
        try:
            descriptor, name = tempfile.mkstemp(".tmp", f".{self._path.name}.", self._path.parent)
        except OSError as error:
            raise self._unwritten(error) from error
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(text)
                file.flush()
                # Some file systems may keep the new name and lose what was written when the machine goes down at
                # once: an empty file until the job's next run. To wait for the disk once in a run is cheap. The
                # directory is not waited for: should the new name be lost, the old file is there.
                os.fsync(descriptor)
            os.chmod(name, _READABLE)  # noqa: PTH101
            os.replace(name, self._path)  # noqa: PTH105  # the name is text
        except OSError as error:
            raise self._unwritten(error) from error
        finally:
            with suppress(OSError):  # after a success it is gone
                os.unlink(name)  # noqa: PTH108

    def _unwritten(self, error: OSError) -> PushError:
        missing = not self._path.parent.is_dir()
        advice = (
            f"There is no directory {str(self._path.parent)!r}: make it, and name it to node_exporter by "
            "--collector.textfile.directory."
            if missing
            else "Check who may write there, and that the disk has room."
        )
        return PushError(f"{self.shown!r} cannot be written: {error}. {advice}", destination=self.shown)

    def _taken_over(self) -> bytes:
        """Return the line of the earlier file that a failed run keeps, with its head."""
        with suppress(OSError, ValueError):
            for family in text_string_to_metric_families(self._path.read_text(encoding="utf-8")):
                if family.name == self._kept and family.samples:
                    family.samples = family.samples[:1]
                    return Page(_Single(family), deadline=1.0).text()
        return b""


class _Single:
    """One metric as a registry."""

    def __init__(self, metric: Any) -> None:
        self._metric = metric

    def collect(self) -> list[Any]:
        return [self._metric]
