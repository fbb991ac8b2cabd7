"""What may a report call itself, given the standing of its lines?

The stricter holds: what calls itself final or corrected and has a line that is not final does
not reach the patient as such; what has a line taken back is corrected; what has no other lines
is withdrawn. And is it too large to be told at all?
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from libs.common.events import Event, ReportStatus
from services.interop.edge.profile import LineStatus

#: What a report of this status is to its readers; absent: nothing yet.
READY: Final = frozenset(
    {
        ReportStatus.PARTIAL,
        ReportStatus.PRELIMINARY,
        ReportStatus.FINAL,
        ReportStatus.APPENDED,
        ReportStatus.UNKNOWN,
    }
)
CORRECTED: Final = frozenset({ReportStatus.CORRECTED, ReportStatus.AMENDED, ReportStatus.MODIFIED})
#: Those that say that every line is final, and are held to it.
SETTLED: Final = frozenset(
    {
        ReportStatus.FINAL,
        ReportStatus.APPENDED,
        ReportStatus.CORRECTED,
        ReportStatus.AMENDED,
    }
)
WITHDRAWN: Final = frozenset({ReportStatus.CANCELLED, ReportStatus.ENTERED_IN_ERROR})

#: Design: an event stays under 64 KiB, headers included.
_LARGEST: Final = 60_000


def settled(told: ReportStatus, lines: Collection[LineStatus | None]) -> ReportStatus:
    """The status of a report that calls itself ``told``; ``None`` is of a line that says none."""
    if told not in READY | CORRECTED:
        return told
    live = {status for status in lines if status is not LineStatus.VOID}
    if lines and not live:
        return ReportStatus.ENTERED_IN_ERROR
    if told not in SETTLED:
        return told
    if LineStatus.PENDING in live:
        some = LineStatus.FINAL in live or LineStatus.CORRECTED in live
        return ReportStatus.PARTIAL if some else ReportStatus.PRELIMINARY
    if told in CORRECTED or not {LineStatus.CORRECTED, LineStatus.VOID}.intersection(lines):
        return told
    return ReportStatus.CORRECTED


def is_too_large(report: Event) -> bool:
    return len(report.model_dump_json().encode()) > _LARGEST
