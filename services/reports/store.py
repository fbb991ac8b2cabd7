"""How are reports kept, and what can be asked of them?"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from libs.common.decision import Actor
from libs.common.events import LinkScope
from libs.common.mongo.collection import CollectionSpec, Index
from libs.common.mongo.database import Database
from libs.common.mongo.documents import Row
from libs.common.waiting import Wait, index_of_waiting
from services.reports.domain.people import Patient, People, RelatedPerson, acts_for
from services.reports.domain.report import Report, ReportVersion, Status, Why

HELD: Row = {"status": Status.HELD.value}
REPORTS = CollectionSpec(
    Report,
    indexes=(
        Index(("patient_id", "issued_at", "id")),
        Index(("status", "issued_at", "id")),
        Index(("open_for",)),
        index_of_waiting("why", "issued_at", where=HELD),
    ),
)
VERSIONS = CollectionSpec(ReportVersion)
PATIENTS = CollectionSpec(Patient, indexes=(Index(("survivor_id",)),))
RELATED = CollectionSpec(RelatedPerson, indexes=(Index(("patient_id",)), Index(("person_id",))))

COLLECTIONS: tuple[CollectionSpec[Any], ...] = (REPORTS, VERSIONS, PATIENTS, RELATED)

WAITS = tuple(
    Wait(why.value, REPORTS, {**HELD, "why": why.value}, "issued_at")
    for why in (Why.CRITICAL, Why.TALK_FIRST, Why.HELD)
)

#: The sort values of a report in a list.
Keyset = tuple[datetime, str]


def keyset(report: Report) -> tuple[Any, ...]:
    return (report.issued_at, report.id)


class Store:
    """The questions that the API asks."""

    def __init__(self, database: Database) -> None:
        self._reports = database.collection(REPORTS)
        self._versions = database.collection(VERSIONS)
        self._patients = database.collection(PATIENTS)
        self._related = database.collection(RELATED)

    async def report(self, hospital: str, id: str) -> Report | None:
        return await self._reports.get(hospital, id)

    async def content(self, hospital: str, id: str) -> ReportVersion | None:
        return await self._versions.get(hospital, id)

    async def people(self, hospital: str, patient_id: str) -> People:
        """All that is known around a patient, under any of the merged ids."""
        patients = await self._merged(hospital, [patient_id])
        ids = sorted({patient_id, *(p.id for p in patients)})
        related = await self._related.load("patient_id", [(hospital, id) for id in ids])
        persons = {r.person_id for r in related}
        records = await self._patients.load("id", [(hospital, id) for id in sorted(persons)])
        return People(
            patient_id,
            {p.id: p for p in patients},
            {r.id: r for r in related},
            {p.id: p for p in records},
        )

    async def same(self, hospital: str, person_id: str) -> frozenset[str]:
        """All ids of one person."""
        merged = await self._merged(hospital, [person_id])
        return frozenset({person_id, *(p.id for p in merged)})

    async def patients_of(
        self, hospital: str, person_id: str, scopes: frozenset[LinkScope], now: datetime
    ) -> frozenset[str]:
        """The ids under which reports may stand that ``person_id`` may read."""
        same = await self.same(hospital, person_id)
        links = await self._related.load("person_id", [(hospital, id) for id in same])
        records = await self._merged(hospital, {*same, *(r.patient_id for r in links)})
        theirs = same | acts_for(links, records, scopes, now)
        groups = {p.survivor_id for p in records if p.id in theirs}
        return theirs | {p.id for p in records if p.survivor_id in groups}

    async def released(
        self,
        hospital: str,
        patient_ids: Iterable[str],
        *,
        since: datetime,
        after: Keyset | None,
        limit: int,
    ) -> list[Report]:
        """What can be read of these patients, the newest first."""
        where: dict[str, Any] = {
            "patient_id": {"$in": sorted(patient_ids)},
            "issued_at": {"$gte": since},
            "status": Status.RELEASED.value,
        }
        if after is not None:
            issued_at, id = after
            where["issued_at"]["$lte"] = issued_at
            where["$or"] = [{"issued_at": {"$lt": issued_at}}, {"id": {"$lt": id}}]
        return await self._reports.find(
            hospital, where, sort=(("issued_at", -1), ("id", -1)), limit=limit
        )

    async def held(
        self, hospital: str, actor: Actor, *, after: Keyset | None, limit: int
    ) -> list[Report]:
        """What waits for staff like ``actor`` to look after it, the oldest first."""
        theirs: list[dict[str, Any]] = []
        if actor.has("doctor", "nurse"):
            theirs.append({"department_code": {"$in": sorted(actor.departments)}})
            theirs.append({"ordering_practitioner_id": actor.person})
        if actor.has("ops"):  # what is nobody's must be somebody's
            theirs.append({"department_code": None, "ordering_practitioner_id": None})
        held, preliminary = Status.HELD.value, Status.PRELIMINARY.value
        where: dict[str, Any] = {
            "status": {"$in": [held, preliminary]},
            "$and": [
                {"$or": theirs},
                {"$or": [{"status": held}, {"untold": True}, {"alarmed": True}]},
            ],
        }
        if after is not None:
            issued_at, id = after
            where["issued_at"] = {"$gte": issued_at}
            where["$or"] = [{"issued_at": {"$gt": issued_at}}, {"id": {"$gt": id}}]
        return await self._reports.find(
            hospital, where, sort=(("issued_at", 1), ("id", 1)), limit=limit
        )

    async def _merged(self, hospital: str, ids: Iterable[str]) -> list[Patient]:
        """The records of these patients and of those that were merged with them."""
        wanted = set(ids)
        known = await self._patients.load("id", [(hospital, id) for id in wanted])
        survivors = wanted | {p.survivor_id for p in known}
        return await self._patients.load("survivor_id", [(hospital, id) for id in survivors])
