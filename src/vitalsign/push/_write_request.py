"""
The message of Prometheus remote write 1.0, in protocol buffers' wire format.

It has four kinds of fields that have not changed since 2017, which the code below writes in as many lines as a
generated class would take to import; the protobuf package would be half a megabyte, with a version of its own to agree
on with the host's.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

__all__ = ["STALE", "Series", "encode"]

STALE = struct.unpack("<d", struct.pack("<Q", 0x7FF0000000000002))[0]
"""The one NaN by which Prometheus knows that a series has ended."""

_LABELS = _TIMESERIES = b"\x0a"  # field 1, with a length
_NAME = b"\x0a"
_VALUE = b"\x12"  # field 2, with a length
_SAMPLE = b"\x12"
_SAMPLE_VALUE = struct.Struct("<cd")  # field 1, 64 bits
_TIMESTAMP = b"\x10"  # field 2, varint


class Series(NamedTuple):
    """
    One sample of one series.

    Attributes:
        labels: With the name as `__name__`.
        value: The value.
        timestamp: Milliseconds since 1970.
    """

    labels: Mapping[str, str]
    value: float
    timestamp: int


def encode(series: Iterable[Series]) -> bytes:
    """Write a WriteRequest."""
    return b"".join(_sized(_TIMESERIES, b"".join(_timeseries(one))) for one in series)


def _timeseries(series: Series) -> Iterator[bytes]:
    for name, value in sorted(series.labels.items()):  # receivers require that order
        yield _sized(_LABELS, _sized(_NAME, name.encode()) + _sized(_VALUE, value.encode()))
    yield _sized(_SAMPLE, _SAMPLE_VALUE.pack(b"\x09", series.value) + _TIMESTAMP + _varint(series.timestamp))


def _sized(tag: bytes, content: bytes) -> bytes:
    return tag + _varint(len(content)) + content


def _varint(number: int) -> bytes:
    """Write *number*, which is not negative, seven bits to a byte, the lowest first."""
    written = bytearray()
    while number > 0x7F:
        written.append(number & 0x7F | 0x80)
        number >>= 7
    written.append(number)
    return bytes(written)
