"""Read what remote write sends, by the rules of protocol buffers alone."""

from __future__ import annotations

import struct


def fields(message):
    """Take a message apart into (field, value), by the rules of protocol buffers."""

    def varint():
        nonlocal message
        number = shift = 0
        while True:
            byte, message = message[0], message[1:]
            number |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return number

    found = []
    while message:
        key = varint()
        length = {0: None, 1: 8, 2: varint() if key & 7 == 2 else None}[key & 7]
        if length is None:
            found.append((key >> 3, varint()))
        else:
            found.append((key >> 3, message[:length]))
            message = message[length:]
    return found


def decode(message):
    """Return what a WriteRequest has: labels in their order, value, timestamp."""
    decoded = []
    for number, series in fields(message):
        assert number == 1
        parts = fields(series)
        labels = [tuple(text.decode() for _, text in fields(part)) for number, part in parts if number == 1]
        ((_, sample),) = [part for part in parts if part[0] == 2]
        ((_, value), (_, timestamp)) = fields(sample)
        decoded.append((labels, struct.unpack("<d", value)[0], timestamp))
    return decoded
