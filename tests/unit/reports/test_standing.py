"""Does every combination of bars give the status that it must?"""

from __future__ import annotations

from itertools import combinations
from typing import Any

import pytest

from libs.common.decision import Refusal
from libs.common.events import Hold, ReportKind, ReportStatus
from services.reports.domain.report import Status, Why
from services.reports.domain.standing import FINAL, STANDING, VOID, Bar, bars
from tests.unit.reports.given import (
    DAY,
    HOUR,
    NOW,
    content,
    hospital,
    patient,
    report,
    told,
    withdrawn,
)

#: How a fact raises each bar, and what the highest one says.
RAISED: dict[Bar, dict[str, Any]] = {
    Bar.NOT_FINAL: {"status": ReportStatus.PRELIMINARY},
    Bar.VOID: {"status": ReportStatus.CANCELLED},
    Bar.ON_HOLD: {"hold": Hold(on=True, reason="unpaid")},
    Bar.CRITICAL: {"critical": True},
    Bar.TALK_FIRST: {"kind": ReportKind.PATHOLOGY},
}
EXPECTED = [
    (Bar.WITHDRAWN, Status.WITHDRAWN, Why.WITHDRAWN),
    (Bar.VOID, Status.WITHDRAWN, Why.CANCELLED),
    (Bar.NOT_FINAL, Status.PRELIMINARY, Why.PRELIMINARY),
    (Bar.ON_HOLD, Status.HELD, Why.HELD),
    (Bar.CRITICAL, Status.HELD, Why.CRITICAL),
    (Bar.TALK_FIRST, Status.HELD, Why.TALK_FIRST),
]
#: Every combination that can be: a report has one FHIR status.
SUBSETS = [
    raised
    for n in range(len(Bar) + 1)
    for raised in combinations([*RAISED, Bar.WITHDRAWN], n)
    if not {Bar.NOT_FINAL, Bar.VOID} <= set(raised)
]


@pytest.mark.parametrize("raised", SUBSETS, ids=lambda s: "+".join(s) or "none")
def test_the_highest_bar_decides(raised: tuple[Bar, ...]) -> None:
    fields: dict[str, Any] = {}
    for bar in raised:
        fields |= RAISED.get(bar, {})
    case = hospital()
    case.event(patient())
    case.event(content(**fields))
    if Bar.WITHDRAWN in raised:
        case.event(withdrawn())
    standing = set(raised)
    want = next(((s, w) for b, s, w in EXPECTED if b in standing), (Status.RELEASED, None))
    after = report(case)
    assert bars(after) == standing
    assert (after.status, after.why) == want
    assert (("p1", "report.ready") in told(case)) == (not standing - {Bar.WITHDRAWN})


def test_the_table_names_every_bar_from_the_highest_to_the_lowest() -> None:
    assert list(STANDING) == [bar for bar, _, _ in EXPECTED] == list(Bar)


def test_every_status_is_reached() -> None:
    assert {status for _, status, _ in EXPECTED} | {Status.RELEASED} == set(Status)


@pytest.mark.parametrize("status", ReportStatus)
def test_only_what_is_final_is_shown(status: ReportStatus) -> None:
    case = hospital()
    case.event(content(status=status))
    final = status in {"final", "amended", "corrected", "appended"}
    assert (report(case).status is Status.RELEASED) == final
    assert (status in FINAL) == final
    assert (report(case).status is Status.WITHDRAWN) == (status in VOID)


def test_an_older_version_is_kept_and_changes_nothing() -> None:
    case = hospital()
    case.event(content(2))
    answer = case.event(content(1))
    assert isinstance(answer, Refusal)
    assert answer.reason == "stale"
    assert len(answer.changes) == 1
    head = report(case).head
    assert head is not None and head.number == 2


def test_of_one_version_what_was_issued_later_holds_however_it_was_published() -> None:
    for order in (1, -1):
        case = hospital()
        late = (content(title="issued later", at=NOW + HOUR), NOW + HOUR)
        early = (content(title="issued earlier", at=NOW), NOW + 2 * HOUR)
        for event, published in (late, early)[::order]:
            case.event(event, time=published)
        head = report(case).head
        assert head is not None and head.title == "issued later"


@pytest.mark.parametrize(("version", "closed"), [(1, True), (2, True), (3, False)])
def test_a_withdrawal_covers_its_version_and_all_before(version: int, closed: bool) -> None:
    case = hospital()
    case.event(content(version))
    case.event(withdrawn(2))
    assert (report(case).status is Status.WITHDRAWN) == closed


def test_an_older_withdrawal_opens_nothing_that_a_newer_one_closed() -> None:
    case = hospital()
    case.event(content(at=NOW + HOUR), time=NOW + 3 * HOUR)
    case.event(withdrawn(at=NOW + 2 * HOUR), time=NOW + 2 * HOUR)
    case.event(withdrawn(at=NOW), time=NOW)
    assert report(case).status is Status.WITHDRAWN


def test_what_was_issued_in_the_future_gives_way_to_a_correction() -> None:
    case = hospital()
    case.event(content(at=NOW + 900 * DAY), time=NOW)
    case.event(content(title="corrected", corrected=True, at=NOW + HOUR))
    head = report(case).head
    assert head is not None and head.title == "corrected"


def test_a_withdrawal_from_the_future_leaves_room_for_a_new_version() -> None:
    case = hospital()
    case.event(content())
    case.event(withdrawn(at=NOW + 900 * DAY), time=NOW)
    assert report(case).status is Status.WITHDRAWN
    case.event(content(2, at=NOW + HOUR))
    assert report(case).status is Status.RELEASED
