"""How is enrollment put together? ``python -m services.enrollment.main``

It hears who leaves hospital (``hospital.encounters``) and who belongs to whom
(``hospital.patients``), invites the patient or a child's guardians to the group of the
matching programme (``policies/programmes``), and answers for invitations, memberships,
seats and consents. It tells so on ``enrollment.events`` and ``enrollment.groups``, and asks
notify to tell people on ``notify.requests``. Rules: ``domain``, one file for each thing
that happens; start with ``domain/discharge.py``.
"""

from __future__ import annotations

from datetime import timedelta

from libs.common import exemplars, metrics, service
from libs.common.decision import Answer, Input
from libs.common.events import (
    GroupOpened,
    InvitationAccepted,
    InvitationDeclined,
    InvitationExpired,
    InvitationIssued,
    InvitationWithdrawn,
)
from libs.common.runtime import ServiceSpec
from services.enrollment.api import ACCESS, ROUTERS
from services.enrollment.api.wording import TEXTS
from services.enrollment.domain.invitation import Invitation
from services.enrollment.domain.staff import StaffTask, TaskStatus
from services.enrollment.handlers import HANDLERS
from services.enrollment.policy import load_policy
from services.enrollment.settings import Settings
from services.enrollment.store import COLLECTIONS, WAITS

OUTCOMES = {
    InvitationAccepted.TYPE: "accepted",
    InvitationDeclined.TYPE: "declined",
    InvitationExpired.TYPE: "expired",
    InvitationWithdrawn.TYPE: "withdrawn",
}


def count(input: Input, answer: Answer) -> None:
    """What was decided, as the figures that a hospital looks at."""
    for emit in answer.events:
        fact, about = emit.data, emit.about
        if isinstance(fact, GroupOpened):
            metrics.GROUPS_OPENED.inc()
        if not isinstance(about, Invitation):
            continue
        department = metrics.department(about.department_code)
        if isinstance(fact, InvitationIssued):
            metrics.INVITATIONS_ISSUED.labels(department=department).inc()
            if about.issue == 1:  # a link that is made anew says nothing of the discharge
                _took("invited", fact.issued_at - about.discharged_at, input)
        elif fact.TYPE in OUTCOMES:
            outcome = OUTCOMES[fact.TYPE]
            metrics.INVITATIONS_OUTCOME.labels(outcome=outcome, department=department).inc()
            if isinstance(fact, InvitationAccepted):
                _took("accepted", fact.accepted_at - about.issued_at, input)
    for doc in answer.changes:
        if isinstance(doc, StaffTask):
            _count_task(doc, input)


def _count_task(task: StaffTask, input: Input) -> None:
    if task.status is TaskStatus.OPEN and task.version <= 1:
        department = metrics.department(task.department_code)
        metrics.STAFF_TASKS.labels(reason=task.reason, department=department).inc()
    elif task.done_by is not None and task.done_at is not None:
        _took("staff", task.done_at - task.at, input)


def _took(stage: str, time: timedelta, input: Input) -> None:
    metrics.JOURNEY_STAGE_SECONDS.labels(journey="discharge", stage=stage).observe(
        time.total_seconds(), exemplars.of(input.traceparent)
    )


metrics.begin("discharge", "invited", "accepted", "staff")


SPEC = ServiceSpec(
    name="enrollment",
    settings=Settings,
    topics=("hospital.encounters", "hospital.patients"),
    handlers=HANDLERS,
    collections=COLLECTIONS,
    waits=WAITS,
    routers=ROUTERS,
    access=ACCESS,
    texts=TEXTS,
    policy=load_policy,
    observe=count,
)

if __name__ == "__main__":
    service.main(SPEC)
