"""What must the staff of a department look after themselves?"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import ClassVar

from libs.common.decision import Actor, Document, derived_id
from libs.common.events import NotificationRequested, Urgency
from services.enrollment.domain.draft import Draft


class TaskReason(StrEnum):
    NO_PROGRAMME = "no_programme"
    NO_GUARDIAN = "no_guardian"
    INVITATION_EXPIRED = "invitation_expired"
    CANCELLED_AFTER_JOINING = "cancelled_after_joining"
    UNKNOWN_DISCHARGE_CANCELLED = "unknown_discharge_cancelled"
    GUARDIAN_UNLINKED = "guardian_unlinked"
    PATIENT_DECEASED = "patient_deceased"


class TaskStatus(StrEnum):
    OPEN = "open"
    DONE = "done"


class StaffTask(Document):
    """One line of a department's list, until somebody ticks it off or it settles itself."""

    COLLECTION: ClassVar[str] = "staff_tasks"

    reason: TaskReason
    status: TaskStatus = TaskStatus.OPEN
    department_code: str
    patient_id: str
    person_id: str | None = None
    encounter_id: str | None = None
    discharge_event_id: str | None = None
    invitation_id: str | None = None
    at: datetime
    done_at: datetime | None = None
    done_by: str | None = None


def is_staff_of(actor: Actor | None, department: str) -> bool:
    """Doctors and nurses see their departments, ops the whole hospital."""
    if actor is None:
        return False
    return actor.has("ops") or (actor.has("doctor", "nurse") and department in actor.departments)


def add_task(
    draft: Draft,
    reason: TaskReason,
    *,
    cause: str,
    department: str,
    patient: str,
    person: str | None = None,
    encounter: str | None = None,
    discharge_event: str | None = None,
    invitation: str | None = None,
) -> StaffTask:
    """Put a line on the list; the same ``cause`` gives the same line. Needs: by patient."""
    return draft.put(
        StaffTask(
            id=derived_id(draft.hospital, "staff_task", reason, cause),
            hospital=draft.hospital,
            reason=reason,
            department_code=department,
            patient_id=patient,
            person_id=person,
            encounter_id=encounter,
            discharge_event_id=discharge_event,
            invitation_id=invitation,
            at=draft.now,
        )
    )


def settle(draft: Draft, task: StaffTask, by: str | None = None) -> StaffTask:
    """It needs nobody any more; ``by`` is who ticked it off, None if it settled itself."""
    done: StaffTask = task.but(status=TaskStatus.DONE, done_at=draft.now, done_by=by)
    return draft.put(done)


def settle_for_discharge(draft: Draft, patient: str, encounter: str, event_id: str) -> None:
    """Settle what a discharge left open for staff to do."""
    for task in draft.where(StaffTask, "patient_id", patient):
        if (
            task.status is TaskStatus.OPEN
            and (task.encounter_id, task.discharge_event_id) == (encounter, event_id)
            and task.reason is not TaskReason.CANCELLED_AFTER_JOINING
        ):
            settle(draft, task)


def tell_staff(
    draft: Draft,
    template: str,
    *,
    programme_id: str,
    task: StaffTask,
    happened_at: datetime,
) -> None:
    """Ask notify to tell the programme's doctor and nurse of ``task``."""
    programme = draft.policy.programme(programme_id, draft.hospital, draft.policy.day(draft.now))
    if programme is None:
        return  # the programme has ended: the list is all there is
    for person in dict.fromkeys(s.practitioner_id for s in programme.group_staff):
        key = f"{template}:{task.id}"
        draft.emit(
            NotificationRequested(
                notification_id=derived_id(draft.hospital, "notification", key, person),
                recipient_id=person,
                patient_id=task.patient_id,
                template=template,
                urgency=Urgency.ROUTINE,
                dedupe_key=key,
                event_time=happened_at,
                expires_at=happened_at + draft.policy.tell_staff_within,
            )
        )
