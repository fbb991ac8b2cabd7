"""What is the person who asked told about a renewal?

That a step was taken, never of which medicine: the text may stand on a locked screen.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from libs.common.decision import Emit, derived_id
from libs.common.events import NotificationRequested
from services.prescriptions.domain.documents import Refill, Status
from services.prescriptions.domain.policy import RenewalPolicy

#: What to say when a renewal has come to a status: the keys of the texts.
TEMPLATES: dict[Status, str] = {
    Status.WAITING_DOCTOR: "refill.requested",
    Status.WAITING_PHARMACIST: "refill.approved",
    Status.RETURNED: "refill.returned",
    Status.EFFECTIVE: "refill.effective",
    Status.DECLINED: "refill.declined",
    Status.REFUSED: "refill.refused",
    Status.CANCELLED: "refill.cancelled",
    Status.EXPIRED: "refill.expired",
}


def told(refill: Refill, now: datetime, policy: RenewalPolicy, *, once: str = "") -> Emit:
    """Tell the requester where ``refill`` now stands; ``once``: what is told only once."""
    step = once or f"{refill.id}:{len(refill.history)}"
    return Emit(
        NotificationRequested(
            notification_id=derived_id("refill", refill.hospital, refill.id, len(refill.history)),
            recipient_id=refill.requested_by,
            patient_id=refill.patient_id,
            template=TEMPLATES[refill.status],
            parameters=_parameters(refill),
            health_data=True,
            dedupe_key=f"refill:{step}",
            event_time=now,
            expires_at=now + timedelta(hours=policy.rules.deadlines.parameters.told_hours),
        )
    )


def _parameters(refill: Refill) -> dict[str, str]:
    if refill.status is not Status.EFFECTIVE or refill.valid_on is None:
        return {}
    return {"valid_on": refill.valid_on.isoformat()}
