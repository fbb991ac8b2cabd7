"""What is the person who asked told about a renewal?

That a step was taken, never of which medicine: the text may stand on a locked screen.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from libs.common.decision import Emit, derived_id
from libs.common.events import NotificationRequested, Urgency
from services.prescriptions.domain.documents import PatientCare, Refill
from services.prescriptions.domain.persons import ids_of
from services.prescriptions.domain.policy import RenewalPolicy
from services.prescriptions.domain.reasons import Reason
from services.prescriptions.domain.transitions import Action, Status

#: What to say when a renewal has come to a status: the keys of the texts.
TEMPLATES: dict[Status, str] = {
    Status.WAITING_DOCTOR: "refill.requested",
    Status.WAITING_PHARMACIST: "refill.approved",
    Status.RETURNED: "refill.returned",
    Status.EFFECTIVE: "refill.effective",
    Status.DECLINED: "refill.declined",
    Status.VISIT_NEEDED: "refill.visit_needed",
    Status.REFUSED: "refill.refused",
    Status.CANCELLED: "refill.cancelled",
    Status.EXPIRED: "refill.expired",
    Status.DISPENSED: "refill.dispensed",
    Status.COLLECTED: "refill.collected",
    Status.DELIVERED: "refill.delivered",
    Status.RETURNED_TO_STOCK: "refill.returned_to_stock",
    Status.SUSPENDED: "refill.suspended",
    Status.WITHHELD: "refill.withheld",
    Status.LAPSED: "refill.lapsed",
}
#: Where the way there says more than the status.
BY_ACTION: dict[Action, str] = {
    Action.CHANGE: "refill.changed",
    Action.REPLACE: "refill.replaced",
    Action.WARN: "refill.ask_first",
}


def told(refill: Refill, now: datetime, policy: RenewalPolicy, *, once: str = "") -> Emit:
    """Tell the requester where ``refill`` now stands; ``once``: what is told only once."""
    return pushed(refill, template(refill), str(len(refill.history)), now, policy, once=once)


def stop_told(
    refill: Refill, care: PatientCare, now: datetime, policy: RenewalPolicy
) -> list[Emit]:
    """The same, and the patient, too, if nobody decides on it any more: who asked may have lost
    their authority since, and would not be told; and nobody else would be. Who asked may be the
    patient, under whichever id."""
    asked = told(refill, now, policy)
    if refill.stage is not None or _recipient(refill) in ids_of(care):
        return [asked]
    key = f"{len(refill.history)}:patient"
    patient = pushed(refill, template(refill), key, now, policy, to=refill.patient_id)
    return [asked, patient]


def template(refill: Refill) -> str:
    said = BY_ACTION.get(refill.history[-1].action) or TEMPLATES[refill.status]
    if said == TEMPLATES[Status.EFFECTIVE] and refill.fulfilment is not None:
        return "refill.effective_chosen"  # nothing is left to choose
    return said


def pushed(
    refill: Refill,
    template: str,
    key: str,
    at: datetime,
    policy: RenewalPolicy,
    *,
    once: str = "",
    to: str | None = None,
) -> Emit:
    """Tell the requester, or whom ``to`` names, what happened ``at``, told once for each ``key``;
    what is told too late, as when old reports are read again, wakes nobody."""
    told_once = once or f"{refill.id}:{key}"
    return Emit(
        NotificationRequested(
            notification_id=derived_id("refill", refill.hospital, refill.id, key),
            recipient_id=to or _recipient(refill),
            patient_id=refill.patient_id,
            template=template,
            parameters=_parameters(refill),
            health_data=True,
            dedupe_key=f"refill:{told_once}",
            event_time=at,
            expires_at=at + timedelta(hours=policy.rules.deadlines.parameters.told_hours),
        )
    )


def _recipient(refill: Refill) -> str:
    """Who asked; the patient if that person may no longer know."""
    over = refill.reason == Reason.REQUESTER_MAY_NOT_ACT
    return refill.patient_id if over else refill.requested_by


def _parameters(refill: Refill) -> dict[str, str]:
    if refill.status is not Status.EFFECTIVE or refill.valid_on is None:
        return {}
    return {"valid_on": refill.valid_on.isoformat()}


def told_staff(
    refill: Refill,
    template: str,
    person: str,
    now: datetime,
    policy: RenewalPolicy,
    *,
    urgency: Urgency = Urgency.ROUTINE,
    once: str = "",
) -> Emit:
    """Tell one of the staff of an open renewal, as long as it is open; ``once`` as above."""
    deadline = refill.deadline or now
    told_once = once or derived_id(template, refill.hospital, refill.id, now)
    return Emit(
        NotificationRequested(
            notification_id=derived_id(told_once, person),
            recipient_id=person,
            patient_id=refill.patient_id,
            template=template,
            parameters={"deadline": policy.clock(deadline)},
            urgency=urgency,
            dedupe_key=told_once,
            event_time=now,
            expires_at=deadline,
        )
    )
