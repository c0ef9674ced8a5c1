"""What is pushed can be read back, whatever is in it."""

from __future__ import annotations

import base64
import struct

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.push.messages import decode
from vitalsign.push._gateway import _path
from vitalsign.push._page import labelled
from vitalsign.push._write_request import Series, encode

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
NAMES = st.from_regex(r"[a-z]{1,3}", fullmatch=True)
LABELS = st.dictionaries(NAMES, TEXTS, max_size=4)


@given(TEXTS.filter(bool), LABELS)
def test_key_of_a_group_can_be_read_back(job, grouping):
    """The path of a group has its labels, in ASCII, with no segment that a server might take for another."""
    grouping.pop("job", None)
    path = _path(job, grouping)
    assert path.isascii()
    segments = path.split("/")[2:]
    assert not {"", ".", ".."} & set(segments)
    read = {}
    for name, value in zip(segments[::2], segments[1::2], strict=True):
        plain, _, encoding = name.partition("@")
        padded = value.rstrip("=") + "=" * (-len(value.rstrip("=")) % 4)
        read[plain] = base64.urlsafe_b64decode(padded).decode() if encoding else value
    assert read == {"job": job, **grouping}


@given(st.lists(st.builds(Series, LABELS, st.floats(), st.integers(0, 2**53)), max_size=5))
def test_message_can_be_read_back(series):
    """A WriteRequest has every label, sorted, every value to the bit, and every time."""
    read = decode(encode(series))
    assert [labels for labels, _, _ in read] == [sorted(one.labels.items()) for one in series]
    assert [struct.pack("<d", value) for _, value, _ in read] == [struct.pack("<d", one.value) for one in series]
    assert [timestamp for _, _, timestamp in read] == [one.timestamp for one in series]


@given(LABELS, LABELS)
def test_no_label_is_lost_to_a_target(own, target):
    """Labels of a series and of its target are all there: the target's as they are, the others under some name."""
    both = labelled(own, target)
    assert len(both) == len(own) + len(target)
    assert both.items() >= target.items()
    assert sorted(both.values()) == sorted([*own.values(), *target.values()])
