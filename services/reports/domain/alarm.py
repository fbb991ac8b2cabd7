"""Which doctor is told of a danger value, and learns that it was none?

The one who ordered the report or, if it does not say, the one on duty in its department,
once per edition; anew if a doctor has released the edition and it comes again with other
content. Where there is neither the report is *untold*: staff and ops find it on their lists.

Who was told of what turns out to be wrong must know that too, as fast: when the report is
no longer critical, was withdrawn, or is another patient's.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from libs.common.decision import Emit
from services.reports.domain.policy import ReportPolicy
from services.reports.domain.report import Alarm, AlarmStatus, Report, Status
from services.reports.domain.telling import cancel, notification_id, request

CRITICAL: Final = "report.critical"
CORRECTED: Final = "report.critical_corrected"
WITHDRAWN: Final = "report.critical_withdrawn"


def alarm(report: Report, policy: ReportPolicy) -> tuple[Report, list[Emit]]:
    """``report`` after a doctor was told of its danger value, final or not, if one is to be."""
    head, occurred = report.head, report.occurred_at
    known: Report = report.but(untold=False)
    if head is None or occurred is None or report.status is Status.WITHDRAWN:
        return known, []
    if not head.critical or report.backfill or head.issue in report.cleared:
        return known, []
    if any(a.of == head.edition and a.status is AlarmStatus.OPEN for a in report.alarms):
        return known, []
    doctor = policy.told_of_critical(head.ordering_practitioner_id, head.department_code)
    if doctor is None:
        return report.but(untold=True), []
    told_before = any(a.of == head.edition for a in report.alarms)
    raised = Alarm(
        edition=f"{head.edition}/{len(report.alarms)}" if told_before else head.edition,
        of=head.edition,
        patient_id=report.patient_id,
        person_id=doctor,
    )
    emit = _request(report, raised, CRITICAL, occurred, policy)
    return _with(known, (*report.alarms, raised)), [emit]


def answered(report: Report) -> Report:
    """``report`` after a doctor has released it: nobody has to look after it any more."""
    return _with(
        report,
        tuple(
            a.model_copy(update={"status": AlarmStatus.ANSWERED})
            if a.status is AlarmStatus.OPEN
            else a
            for a in report.alarms
        ),
    )


def all_clear(report: Report, policy: ReportPolicy, at: datetime) -> tuple[Report, list[Emit]]:
    """``report`` after whoever was told what no longer holds since ``at`` was told so."""
    wrong = [a for a in report.alarms if a.status is not AlarmStatus.OVER and _is_wrong(a, report)]
    if not wrong:
        return report, []
    template = WITHDRAWN if report.status is Status.WITHDRAWN else CORRECTED
    emits = [
        cancel(notification_id(report, a.edition, a.person_id, CRITICAL), a.person_id, template, at)
        for a in wrong
    ]
    last = {(a.person_id, a.patient_id): a for a in wrong}  # each doctor once
    emits += [_request(report, a, template, at, policy) for a in last.values()]
    over = tuple(
        a.model_copy(update={"status": AlarmStatus.OVER}) if a in wrong else a
        for a in report.alarms
    )
    return _with(report, over), emits


def _is_wrong(raised: Alarm, report: Report) -> bool:
    head = report.head
    still = report.status is not Status.WITHDRAWN and head is not None and head.critical
    return not still or raised.patient_id != report.patient_id


def _with(report: Report, alarms: Sequence[Alarm]) -> Report:
    alarmed = any(a.status is AlarmStatus.OPEN for a in alarms)
    changed: Report = report.but(alarms=tuple(alarms), alarmed=alarmed)
    return changed


def _request(
    report: Report, raised: Alarm, template: str, at: datetime, policy: ReportPolicy
) -> Emit:
    of_then: Report = report.but(patient_id=raised.patient_id)
    return request(of_then, raised.edition, raised.person_id, template, at, policy, to_staff=True)
