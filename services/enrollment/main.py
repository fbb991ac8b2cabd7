"""How is enrollment put together? ``python -m services.enrollment.main``

It hears who leaves hospital (``hospital.encounters``) and who belongs to whom
(``hospital.patients``), invites the patient or a child's guardians to the group of the
matching programme (``policies/programmes``), and answers for invitations, memberships,
seats and consents. It tells so on ``enrollment.events`` and ``enrollment.groups``, and asks
notify to tell people on ``notify.requests``. Rules: ``domain``, one file for each thing
that happens; start with ``domain/discharge.py``.
"""

from __future__ import annotations

from libs.common import metrics, service
from libs.common.decision import Answer, Input
from libs.common.events import (
    GroupOpened,
    InvitationAccepted,
    InvitationDeclined,
    InvitationExpired,
    InvitationIssued,
    InvitationWithdrawn,
)
from libs.common.service import ServiceSpec
from services.enrollment.api import ACCESS, ROUTERS
from services.enrollment.api.wording import TEXTS
from services.enrollment.handlers import HANDLERS
from services.enrollment.policy import load_policy
from services.enrollment.settings import Settings
from services.enrollment.store import COLLECTIONS

OUTCOMES = {
    InvitationAccepted.TYPE: "accepted",
    InvitationDeclined.TYPE: "declined",
    InvitationExpired.TYPE: "expired",
    InvitationWithdrawn.TYPE: "withdrawn",
}


def count(_input: Input, answer: Answer) -> None:
    """What was decided, as the figures that a hospital looks at."""
    for emit in answer.events:
        type = emit.data.TYPE
        if type == InvitationIssued.TYPE:
            metrics.INVITATIONS_ISSUED.inc()
        elif type in OUTCOMES:
            metrics.INVITATIONS_OUTCOME.labels(outcome=OUTCOMES[type]).inc()
        elif type == GroupOpened.TYPE:
            metrics.GROUPS_OPENED.inc()


SPEC = ServiceSpec(
    name="enrollment",
    settings=Settings,
    topics=("hospital.encounters", "hospital.patients"),
    handlers=HANDLERS,
    collections=COLLECTIONS,
    routers=ROUTERS,
    access=ACCESS,
    texts=TEXTS,
    policy=load_policy,
    observe=count,
)

if __name__ == "__main__":
    service.main(SPEC)
