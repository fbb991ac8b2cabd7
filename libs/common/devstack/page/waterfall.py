"""How is a trace drawn? As a tree of bars over a time axis without its idle stretches.

A journey has minutes (somebody reads an invitation) between milliseconds of work. Idle
stretches are folded to a narrow gap that says how long they were.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from libs.common.devstack.page.traces import SpanRow

#: A fold takes this part of the width, all folds together at most ``FOLDS_AT_MOST``.
FOLD, FOLDS_AT_MOST = 0.04, 0.4
#: Only what idles longer than this is folded: in ns, and as a part of all the work.
IDLE_NS, IDLE_PART = 20_000_000, 0.3


@dataclass(frozen=True, slots=True)
class Bar:
    """One line of the picture; ``left`` and ``width`` in percent, ``depth`` in steps."""

    span: SpanRow
    depth: int
    left: float
    width: float
    linked: bool


@dataclass(frozen=True, slots=True)
class Gap:
    """A folded stretch: where it is drawn, in percent, and how long it was, in ns."""

    at: float
    width: float
    length: int


@dataclass(frozen=True, slots=True)
class Waterfall:
    bars: tuple[Bar, ...]
    gaps: tuple[Gap, ...]
    start: int
    end: int


class _Scale:
    """Times to percent, by pieces: work in proportion, long idling folded."""

    def __init__(self, spans: Sequence[SpanRow]) -> None:
        busy: list[list[int]] = []
        for start, end in sorted((s.start, max(s.end, s.start)) for s in spans):
            if busy and start <= busy[-1][1]:
                busy[-1][1] = max(busy[-1][1], end)
            else:
                busy.append([start, end])
        work = sum(end - start for start, end in busy)
        idle = [(a[1], b[0]) for a, b in pairwise(busy)]
        folded = {g for g in idle if g[1] - g[0] > max(IDLE_NS, work * IDLE_PART)}
        fold = min(FOLD, FOLDS_AT_MOST / len(folded)) if folded else 0.0
        drawn = work + sum(b - a for a, b in idle if (a, b) not in folded)
        per_ns = (1 - fold * len(folded)) / max(drawn, 1)
        #: (from, to, left in 0..1, width in 0..1)
        self._pieces: list[tuple[int, int, float, float]] = []
        self.gaps: list[Gap] = []
        left = 0.0
        pieces = [(a, b, False) for a, b in map(tuple, busy)]
        pieces += [(a, b, (a, b) in folded) for a, b in idle]
        for start, end, is_folded in sorted(pieces):
            width = fold if is_folded else (end - start) * per_ns
            self._pieces.append((start, end, left, width))
            if is_folded:
                self.gaps.append(Gap(round(left * 100, 3), round(width * 100, 3), end - start))
            left += width

    def percent(self, time: int) -> float:
        for start, end, left, width in self._pieces:
            if time <= end:
                part = (time - start) / (end - start) if end > start else 0.0
                return 100 * (left + width * max(0.0, part))
        return 100.0


def draw(own: Sequence[SpanRow], linked: Sequence[SpanRow]) -> Waterfall:
    """Bars in the order of the tree: children below their parents, a linked batch below
    the span that it is linked with, and its own children below it."""
    everything = [*own, *linked]
    if not everything:
        return Waterfall((), (), 0, 0)
    ids = {s.span_id for s in own}
    every_id = {s.span_id for s in everything}
    below: defaultdict[str, list[SpanRow]] = defaultdict(list)
    for span in everything:
        parent = span.parent_id if span.parent_id in every_id else ""
        if not parent and span.span_id not in ids:
            parent = _anchor(span, own)
        below[parent].append(span)
    scale = _Scale(everything)
    bars: list[Bar] = []
    waiting = [(s, 0) for s in sorted(below.pop("", []), key=_start, reverse=True)]
    while waiting:
        span, depth = waiting.pop()
        left, right = scale.percent(span.start), scale.percent(max(span.end, span.start))
        bars.append(
            Bar(span, depth, round(left, 3), round(right - left, 3), span.span_id not in ids)
        )
        children = sorted(below.pop(span.span_id, []), key=_start, reverse=True)
        waiting += [(child, depth + 1) for child in children]
    start, end = min(s.start for s in everything), max(s.end for s in everything)
    return Waterfall(tuple(bars), tuple(scale.gaps), start, end)


def _start(span: SpanRow) -> tuple[int, str]:
    return (span.start, span.span_id)


def _anchor(batch: SpanRow, own: Sequence[SpanRow]) -> str:
    """The span of the trace under which a batch is shown: one that names the batch, else
    one that the batch names."""
    for span in own:
        if (batch.trace_id, batch.span_id) in span.links:
            return span.span_id
    named = {s for _, s in batch.links}
    return next((span.span_id for span in own if span.span_id in named), "")
