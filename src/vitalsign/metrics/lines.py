"""What the text formats have in common: labels, histograms' lines, and pieces of bounded size."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING, Any, NamedTuple

from vitalsign.metrics.samples import number, samples_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from prometheus_client.samples import Exemplar

    from vitalsign.metrics.catalogue import MetricSpec
    from vitalsign.metrics.samples import Source

__all__ = [
    "braced",
    "bucket_lines",
    "created_line",
    "escape",
    "exemplar_note",
    "fact_lines",
    "gauge_line",
    "histogram_lines",
    "pieces",
    "summary_lines",
]

_PIECE = 100  # children in one piece of text: some 150 KB of histograms, made in half a millisecond


def pieces(head: str, children: Sequence[Any], lines: Callable[[Any], str]) -> Iterator[bytes]:
    """Write *head* and the lines of each child, in pieces."""
    for start in range(0, len(children), _PIECE):
        yield (head + "".join(map(lines, children[start : start + _PIECE]))).encode()
        head = ""
    if head:
        yield head.encode()


def escape(value: str) -> str:
    """Write a label value as it stands between quotes."""
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _pairs(child: Any) -> list[str]:
    """Write a child's labels, sorted by name."""
    pairs = zip(child._family.spec.labels, child._labelvalues, strict=True)
    return [f'{name}="{escape(value)}"' for name, value in sorted(pairs)]


def braced(child: Any) -> str:
    """Return a child's labels with their braces, written once; empty without any."""
    text = child._text
    if text is None:
        pairs = _pairs(child)
        text = child._text = f"{{{','.join(pairs)}}}" if pairs else ""
    return text if type(text) is str else text.whole % ()  # a histogram's child keeps more than that


def histogram_lines(source: Source, child: Any) -> str:
    """Write all lines of a histogram's child but those on its creation."""
    plan = source.plan
    if plan is None:
        plan = source.plan = _HistogramPlan(source.spec)
    return plan.lines(child)  # type: ignore[no-any-return]


def bucket_lines(source: Source, child: Any) -> list[str]:
    """Write the lines of a histogram's child one by one, without line ends, for what is to be added to each."""
    return histogram_lines(source, child).rstrip("\n").split("\n")


def created_line(source: Source, child: Any) -> str:
    """Write the line on a child's creation."""
    text, created = child._text, child._created
    if type(text) is _HistogramText and text.created == created:
        return text.created_line
    line = f"{source.spec.name}_created{braced(child)} {number(created)}\n"
    if type(text) is _HistogramText:
        child._text = text._replace(created=created, created_line=line)
    return line


def gauge_line(source: Source, child: Any) -> str:
    """Write the line of a gauge's child."""
    return f"{source.spec.name}{braced(child)} {number(child._read())}\n"


def summary_lines(source: Source, child: Any) -> str:
    """Write the lines of a summary's child but those on its creation."""
    name, labels = source.spec.name, braced(child)
    total, count = map(float, child._read())
    return f"{name}_count{labels} {number(count)}\n{name}_sum{labels} {number(total)}\n"


def fact_lines(source: Source, child: Any) -> str:
    """Write the lines of an info's or enum's child, which are never many."""
    samples = samples_of(source.spec, [child])
    return "".join(f"{name}{_braced_pairs(labels)} {number(value)}\n" for name, labels, value, *_ in samples)


def exemplar_note(exemplar: Exemplar) -> str:
    """Write what follows the value of a line that has an exemplar."""
    return f" # {_braced_pairs(exemplar.labels) or '{}'} {number(float(exemplar.value))} {exemplar.timestamp}"


def _braced_pairs(labels: Mapping[str, str]) -> str:
    pairs = ",".join(f'{name}="{escape(value)}"' for name, value in sorted(labels.items()))
    return f"{{{pairs}}}" if pairs else ""


class _HistogramText(NamedTuple):
    """
    What a histogram's child keeps between scrapes: its labels, to be filled in with %, and the line on its creation.

    The labels stand `before` and `after` the bound in a bucket's line, and `whole`, in braces, in the others.
    """

    before: str
    after: str
    whole: str
    created: float
    created_line: str


class _HistogramPlan:
    """What all children of a histogram have in common on the page: the bounds, and where `le` stands in the labels."""

    def __init__(self, spec: MetricSpec) -> None:
        self._name = spec.name
        self._has_sum = spec.buckets[0] >= 0
        self._before = sum(name < "le" for name in spec.labels)
        self._bounds = [f'le="{number(bound)}"' for bound in spec.buckets]

    def lines(self, child: Any) -> str:
        cells = child._read()
        total = cells.pop(0)
        counts: tuple[Any, ...] = tuple(accumulate(cells))
        value = "%d.0"
        if counts[-1] >= 1_000_000:
            value = "%s"
            counts = tuple(number(float(each)) for each in counts)
        before, after, whole, _, _ = child._text or self._split_labels(child)
        name = self._name
        start, end = f"{name}_bucket{{{before}", f"{after}}} {value}\n"
        template = f"{start}{(end + start).join(self._bounds)}{end}{name}_count{whole} {value}\n"
        if not self._has_sum:
            return template % (*counts, counts[-1])
        return f"{template}{name}_sum{whole} %s\n" % (*counts, counts[-1], number(float(total)))

    def _split_labels(self, child: Any) -> _HistogramText:
        """Write a child's labels once."""
        pairs = [pair.replace("%", "%%") for pair in _pairs(child)]
        before = "".join(f"{pair}," for pair in pairs[: self._before])
        after = "".join(f",{pair}" for pair in pairs[self._before :])
        whole = f"{{{','.join(pairs)}}}" if pairs else ""
        child._text = _HistogramText(before, after, whole, -1.0, "")
        return child._text  # type: ignore[no-any-return]
