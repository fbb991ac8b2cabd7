"""What does the patient's side see of a report?

A status is never stepped from one to the next; it is computed from all that is known
(``STANDING``), so the same facts give the same view, whatever their order.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from libs.common.events import ReportStatus
from services.reports.domain.report import Head, Report, Status, Why


class Bar(StrEnum):
    """What may stand between a report and the patient's side; more than one may."""

    WITHDRAWN = "withdrawn"
    VOID = "void"
    NOT_FINAL = "not_final"
    ON_HOLD = "on_hold"
    CRITICAL = "critical"
    TALK_FIRST = "talk_first"


#: What the highest bar means. With none of them the report is released.
STANDING: Final[Mapping[Bar, tuple[Status, Why]]] = {
    Bar.WITHDRAWN: (Status.WITHDRAWN, Why.WITHDRAWN),
    Bar.VOID: (Status.WITHDRAWN, Why.CANCELLED),
    Bar.NOT_FINAL: (Status.PRELIMINARY, Why.PRELIMINARY),
    Bar.ON_HOLD: (Status.HELD, Why.HELD),
    Bar.CRITICAL: (Status.HELD, Why.CRITICAL),
    Bar.TALK_FIRST: (Status.HELD, Why.TALK_FIRST),
}

#: FHIR R5 DiagnosticReport.status: complete and verified, and what replaces such a one.
#: "modified" is a change made before the report is final.
FINAL: Final = frozenset(
    {
        ReportStatus.FINAL,
        ReportStatus.AMENDED,
        ReportStatus.CORRECTED,
        ReportStatus.APPENDED,
    }
)
#: The same source: there is no such report, or never should have been.
VOID: Final = frozenset({ReportStatus.CANCELLED, ReportStatus.ENTERED_IN_ERROR})


def bars(report: Report) -> frozenset[Bar]:
    """All that stands between ``report`` and the patient's side."""
    head = report.head
    if head is None:
        return frozenset({Bar.WITHDRAWN})
    cleared = head.issue in report.cleared
    standing = {
        Bar.WITHDRAWN: _is_withdrawn(report, head),
        Bar.VOID: head.status in VOID,
        Bar.NOT_FINAL: head.status not in FINAL | VOID,
        Bar.ON_HOLD: head.on_hold,
        Bar.CRITICAL: head.critical and not cleared,
        Bar.TALK_FIRST: head.talk_first and not cleared,
    }
    return frozenset(bar for bar, stands in standing.items() if stands)


def _is_withdrawn(report: Report, head: Head) -> bool:
    # By both clocks: a laboratory's may be ahead of the one that withdraws, and what was
    # withdrawn must not come back because it is sent again.
    issued, published = report.withdrawn_issued, report.withdrawn_published
    return (
        head.number <= report.withdrawn_number
        or (issued is not None and head.issued_at <= issued)
        or (published is not None and head.published_at <= published)
    )


def with_standing(report: Report) -> Report:
    """``report`` with the status that follows from all that is known of it."""
    standing = bars(report)
    status, why = next(
        (meaning for bar, meaning in STANDING.items() if bar in standing), (Status.RELEASED, None)
    )
    head = report.head
    changed: Report = report.but(
        status=status,
        why=why,
        issued_at=head.issued_at if head else None,
        department_code=head.department_code if head else None,
        ordering_practitioner_id=head.ordering_practitioner_id if head else None,
    )
    return changed
