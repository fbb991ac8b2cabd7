"""Do the counts say what the lists show, and no more than was counted?"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from services.prescriptions.domain import counts as module
from services.prescriptions.domain.counts import Waiting, counts, line_of
from services.prescriptions.domain.transitions import Status
from tests.unit.prescriptions.given import HOUR, NOW

SOON = 2 * HOUR


def waits(n: int, **more: Any) -> Waiting:
    """The n-th in line; it came that many minutes before now."""
    fields: dict[str, Any] = {
        "id": f"r{n}",
        "status": Status.WAITING_DOCTOR,
        "stage": "doctor",  # as the store gives it
        "waiting_since": NOW - timedelta(minutes=n),
        "deadline": NOW + 5 * HOUR,
        **more,
    }
    return line_of(fields)


def test_nothing_waits() -> None:
    found = counts([], "dr1", frozenset(), NOW, SOON)
    assert (found.waiting, found.oldest_waiting_seconds, found.more) == (0, None, False)


def test_each_is_counted_where_it_lies() -> None:
    held: dict[str, Any] = {"held_until": NOW + HOUR}
    lines = [
        waits(9),
        waits(8, holder_id="dr1", **held),
        waits(7, holder_id="dr2", **held),
        waits(6, holder_id="dr3", **held),  # away; dr1 stands in
        waits(5, holder_id="dr1", held_until=NOW),  # lapsed to the minute
        waits(4, status=Status.RETURNED, bound_to="dr1"),
        waits(3, status=Status.RETURNED, bound_to="dr3"),  # no deputy answers for a signature
        waits(2, status="suspended", deadline=NOW + SOON),
        waits(1, deadline=NOW + SOON + timedelta(seconds=1)),
    ]
    found = counts(lines, "dr1", frozenset({"dr3"}), NOW, SOON)
    assert found.model_dump() == {
        "waiting": 9,
        "mine": 3,
        "pool": 4,
        "returned": 2,
        "suspended": 1,
        "due_soon": 1,
        "oldest_waiting_seconds": 9 * 60,
        "more": False,
    }


@pytest.mark.parametrize(("lines", "counted", "more"), [(4, 4, False), (5, 5, False), (6, 5, True)])
def test_more_than_are_counted_are_said_to_be_more(
    lines: int, counted: int, more: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "COUNTED", 5)
    found = counts([waits(9 - n) for n in range(lines)], "dr1", frozenset(), NOW, SOON)
    assert (found.waiting, found.pool, found.more) == (counted, counted, more)
    assert found.oldest_waiting_seconds == 9 * 60
