"""Snappy's block format, by cramjam."""

from __future__ import annotations

from vitalsign.exceptions import MissingExtraError

try:
    import cramjam
except ImportError as _error:
    raise MissingExtraError("Remote write", library="cramjam", extra="remote-write") from _error

__all__ = ["compress"]


def compress(message: bytes) -> bytes:
    """Compress *message*."""
    return bytes(cramjam.snappy.compress_raw(message))
