"""Is a trace drawn whole, in order, and within the picture?"""

from __future__ import annotations

from itertools import pairwise
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from libs.common.devstack.page.traces import SpanRow
from libs.common.devstack.page.waterfall import draw
from tests.unit.page.given import TRACE, span

BATCH = "b" * 32
MS = 1_000_000


@st.composite
def trees(draw_: st.DrawFn) -> list[SpanRow]:
    count = draw_(st.integers(1, 12))
    made: list[SpanRow] = []
    for n in range(count):
        start = draw_(st.integers(0, 10**12))
        length = draw_(st.integers(0, 10**10))
        parent = draw_(st.sampled_from(["", "outside", *(s.span_id for s in made)]))
        made.append(span(f"s{n}", start, start + length, parent=parent))
    return made


@given(trees(), st.randoms())
def test_every_span_is_drawn_once_within_the_picture_below_its_parent(
    spans: list[SpanRow], random: Random
) -> None:
    random.shuffle(spans)
    picture = draw(spans, [])
    order = [bar.span.span_id for bar in picture.bars]
    assert sorted(order) == sorted(s.span_id for s in spans)
    depth = {bar.span.span_id: bar.depth for bar in picture.bars}
    for bar in picture.bars:
        assert -0.01 <= bar.left <= 100.01
        assert bar.width >= 0 and bar.left + bar.width <= 100.01
        parent = bar.span.parent_id
        if parent in depth:
            assert bar.depth == depth[parent] + 1
            assert order.index(parent) < order.index(bar.span.span_id)
        else:
            assert bar.depth == 0


@given(trees())
def test_what_begins_later_is_never_drawn_further_left(spans: list[SpanRow]) -> None:
    bars = sorted(draw(spans, []).bars, key=lambda bar: bar.span.start)
    for earlier, later in pairwise(bars):
        assert earlier.left <= later.left + 0.002


def test_a_long_wait_is_folded_and_says_how_long_it_was() -> None:
    day = 86_400 * 1000 * MS
    picture = draw([span("a", 0, 10 * MS), span("b", day, day + 10 * MS)], [])
    (gap,) = picture.gaps
    assert gap.length == day - 10 * MS
    a, b = picture.bars
    assert a.width > 40 and b.width > 40
    assert a.width <= gap.at + 0.01 and gap.at + gap.width <= b.left + 0.01


def test_short_pauses_are_drawn_as_they_are() -> None:
    picture = draw([span("a", 0, 10 * MS), span("b", 12 * MS, 20 * MS)], [])
    assert picture.gaps == ()
    assert [bar.left for bar in picture.bars] == [0, 60]


def test_a_batch_hangs_below_the_span_that_names_it_and_a_send_below_what_it_names() -> None:
    process = span("process", 0, 10, links=((BATCH, "batch"),))
    batch = span("batch", 1, 9, trace=BATCH, links=((TRACE, "outside"),))
    find = span("find", 2, 3, trace=BATCH, parent="batch")
    send = span("send", 11, 12, trace="c" * 32, links=((TRACE, "process"),))
    picture = draw([process], [batch, find, send])
    assert [(b.span.name, b.depth, b.linked) for b in picture.bars] == [
        ("process", 0, False),
        ("batch", 1, True),
        ("find", 2, True),
        ("send", 1, True),
    ]


def test_nothing_is_drawn_of_nothing() -> None:
    assert draw([], []).bars == ()
