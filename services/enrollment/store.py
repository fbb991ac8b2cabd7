"""How are enrollment's documents stored, and how do people's questions read them?"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from libs.common.mongo.collection import CollectionSpec, Index
from libs.common.mongo.database import Database
from libs.common.mongo.documents import Row
from libs.common.waiting import Wait, index_of_waiting
from services.enrollment.domain.consent import Consent
from services.enrollment.domain.encounter import Encounter
from services.enrollment.domain.group import Group
from services.enrollment.domain.invitation import Invitation, hash_of
from services.enrollment.domain.membership import Membership
from services.enrollment.domain.patient import Patient
from services.enrollment.domain.staff import StaffTask, TaskStatus

#: Of invitations and tasks alike.
OPEN: Row = {"status": "open"}

PATIENTS = CollectionSpec(Patient)
ENCOUNTERS = CollectionSpec(Encounter, (Index(("patient_id",)),))
GROUPS = CollectionSpec(
    Group, (Index(("department_code", "id")), Index(("programme_id", "number"), unique=True))
)
INVITATIONS = CollectionSpec(
    Invitation,
    (
        Index(("token_hash",), unique=True),
        Index(("patient_id",)),
        Index(("person_id",)),
        Index(("group_id",)),
        Index(("encounter_id", "id")),
        index_of_waiting("status", "issued_at", where=OPEN),
    ),
)
MEMBERSHIPS = CollectionSpec(
    Membership, (Index(("person_id", "programme_id"), unique=True), Index(("group_id",)))
)
CONSENTS = CollectionSpec(Consent, (Index(("person_id", "id")),))
STAFF_TASKS = CollectionSpec(
    StaffTask,
    (
        Index(("patient_id",)),
        Index(("status", "department_code", "at", "id")),
        Index(("status", "at", "id")),  # ops: the whole hospital
        index_of_waiting("status", "at", where=OPEN),
    ),
)

COLLECTIONS = (
    PATIENTS,
    ENCOUNTERS,
    GROUPS,
    INVITATIONS,
    MEMBERSHIPS,
    CONSENTS,
    STAFF_TASKS,
)


WAITS = (
    Wait("invitation", INVITATIONS, OPEN, "issued_at"),
    Wait("staff_task", STAFF_TASKS, OPEN, "at"),
)


class Store:
    """The questions of the API. Nothing here crosses a hospital."""

    def __init__(self, database: Database) -> None:
        self._patients = database.collection(PATIENTS)
        self._groups = database.collection(GROUPS)
        self._invitations = database.collection(INVITATIONS)
        self._memberships = database.collection(MEMBERSHIPS)
        self._consents = database.collection(CONSENTS)
        self._tasks = database.collection(STAFF_TASKS)

    async def by_token(self, hospital: str, token: str) -> Invitation | None:
        found = await self._invitations.find(hospital, {"token_hash": hash_of(token)}, limit=1)
        return found[0] if found else None

    async def group(self, hospital: str, id: str) -> Group | None:
        return await self._groups.get(hospital, id)

    async def of_encounter(
        self, hospital: str, encounter: str, after: str | None, limit: int
    ) -> list[Invitation]:
        where = {"encounter_id": encounter, **_after(after)}
        return await self._invitations.find(hospital, where, limit=limit)

    async def groups(
        self, hospital: str, departments: Sequence[str] | None, after: str | None, limit: int
    ) -> list[Group]:
        where = {**_within(departments), **_after(after)}
        return await self._groups.find(hospital, where, limit=limit)

    async def tasks(
        self,
        hospital: str,
        status: TaskStatus,
        departments: Sequence[str] | None,
        after: tuple[datetime, str] | None,
        limit: int,
    ) -> list[StaffTask]:
        """The oldest first."""
        where: dict[str, Any] = {"status": status, **_within(departments)}
        if after is not None:
            at, id = after
            where["at"] = {"$gte": at}
            where["$or"] = [{"at": {"$gt": at}}, {"id": {"$gt": id}}]
        return await self._tasks.find(hospital, where, sort=(("at", 1), ("id", 1)), limit=limit)

    async def ids_of(self, hospital: str, person: str) -> Sequence[str]:
        """All ids of a person, if records were merged."""
        record = await self._patients.get(hospital, person)
        return record.same if record is not None and record.same else (person,)

    async def memberships(
        self, hospital: str, person: str, after: str | None, limit: int
    ) -> list[Membership]:
        ids = await self.ids_of(hospital, person)
        where = {"person_id": {"$in": list(ids)}, **_after(after)}
        return await self._memberships.find(hospital, where, limit=limit)

    async def consents(
        self, hospital: str, person: str, after: str | None, limit: int
    ) -> list[Consent]:
        ids = await self.ids_of(hospital, person)
        where = {"person_id": {"$in": list(ids)}, **_after(after)}
        return await self._consents.find(hospital, where, limit=limit)


def _after(id: str | None) -> dict[str, Any]:
    return {} if id is None else {"id": {"$gt": id}}


def _within(departments: Sequence[str] | None) -> dict[str, Any]:
    """None: the whole hospital."""
    return {} if departments is None else {"department_code": {"$in": list(departments)}}
