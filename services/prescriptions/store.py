"""How are renewals kept, and what can be asked of them?"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from libs.common.decision import Actor
from libs.common.events import RefillStage
from libs.common.mongo.collection import Collection, CollectionSpec, Index
from libs.common.mongo.database import Database
from libs.common.mongo.documents import Row
from libs.common.waiting import Wait, index_of_waiting
from services.prescriptions.domain.accounts import account, account_id, codes_of
from services.prescriptions.domain.around import EARLIER_FIELDS, Around
from services.prescriptions.domain.chart import Chart
from services.prescriptions.domain.counts import COUNTED, Waiting, line_of
from services.prescriptions.domain.documents import (
    PatientCare,
    Prescription,
    Refill,
    RenewalAccount,
    SigningKey,
)
from services.prescriptions.domain.fulfilment import Fulfilment
from services.prescriptions.domain.health import Allergy, Condition, Practitioner, Stay
from services.prescriptions.domain.listing import (
    ROW_FIELDS,
    RefillRow,
    Whose,
    WorkList,
    refill_row,
)
from services.prescriptions.domain.persons import ids_of
from services.prescriptions.domain.results import Result
from services.prescriptions.domain.staff import Absence, Roster, is_away
from services.prescriptions.domain.transitions import Status


def _with_told_at(row: Row) -> Row:
    """Until version 2 one visit was kept of each department, which could not be taken back."""
    visits = [{**visit, "told_at": visit["occurred_at"]} for visit in row.get("visits", ())]
    return {**row, "visits": sorted(visits, key=lambda v: (v["occurred_at"], v["visit_id"]))}


PATIENTS = CollectionSpec(PatientCare, indexes=(Index(("links.person_id",)),), upcast=_with_told_at)
PRESCRIPTIONS = CollectionSpec(Prescription, indexes=(Index(("patient_id", "issued_at", "id")),))


def _with_watched(row: Row) -> Row:
    """Until version 2 a renewal was kept in mind only while nothing of it had been dispensed."""
    rest = {key: value for key, value in row.items() if key != "undispensed"}
    return {**rest, "watched": row.get("undispensed", ())}


ACCOUNTS = CollectionSpec(RenewalAccount, indexes=(Index(("patient_id",)),), upcast=_with_watched)
SIGNING_KEYS = CollectionSpec(SigningKey)


def _with_bound_to(row: Row) -> Row:
    """Until version 2 the status said whether only the doctor who signed it decides; version 3
    has steps in its history that an older release can't read (``warn``)."""
    if row.get("schema_number", 1) > 1:
        return row
    signed = row["status"] in (Status.RETURNED, Status.WAITING_PHARMACIST)
    return {**row, "bound_to": row["doctor_id"] if signed else None}


REFILLS = CollectionSpec(
    Refill,
    indexes=(
        Index(("new_prescription_id",)),
        Index(("bound_to",)),
        Index(("patient_id", "requested_at", "id")),
        # What waits, the oldest first: by its stage and where it lies there.
        Index(("stage", "waiting_since", "id")),
        index_of_waiting("stage", "waiting_since", where={"stage": {"$gt": ""}}),  # not null
        Index(("stage", "department_code", "waiting_since", "id")),
        Index(("stage", "prescriber_id", "waiting_since", "id")),
        Index(("stage", "holder_id", "waiting_since", "id")),
        Index(("stage", "bound_to", "waiting_since", "id")),
        Index(("requested_at", "id")),
        Index(("changed_at", "id")),
    ),
    upcast=_with_bound_to,
)

CONDITIONS = CollectionSpec(Condition, indexes=(Index(("patient_id",)),))
ALLERGIES = CollectionSpec(Allergy, indexes=(Index(("patient_id",)),))
STAYS = CollectionSpec(Stay, indexes=(Index(("patient_id",)),))
PRACTITIONERS = CollectionSpec(Practitioner)
RESULTS = CollectionSpec(Result, indexes=(Index(("patient_id", "released_at", "id")),))
FULFILMENTS = CollectionSpec(
    Fulfilment,
    indexes=(Index(("patient_id",)), Index(("prescription_id",)), Index(("refill_id",))),
)
ROSTERS = CollectionSpec(Roster)
ABSENCES = CollectionSpec(Absence, indexes=(Index(("deputy_id",)),))

COLLECTIONS: tuple[CollectionSpec[Any], ...] = (
    PATIENTS, PRESCRIPTIONS, ACCOUNTS, REFILLS, SIGNING_KEYS, CONDITIONS, ALLERGIES, STAYS,
    PRACTITIONERS, RESULTS, FULFILMENTS, ROSTERS, ABSENCES,
)  # fmt: skip

WAITS = tuple(
    Wait(stage.value, REFILLS, {"stage": stage.value}, "waiting_since") for stage in RefillStage
)

#: Patients that one person is shown; far more than anybody acts for.
PATIENTS_SHOWN = 100

#: What is read of a renewal to tell whom its change concerns.
CHANGED_FIELDS = (
    "id", "version", "changed_at", "department_code", "patient_id", "prescriber_id", "doctor_id",
    "holder_id", "signed_at",
)  # fmt: skip

#: Rows that are read besides those of a page: of the moment at which it begins, or held.
SPARE = 8

#: The sort values of a list: a time, and the id to part what is of one moment.
Keyset = tuple[datetime, str]


class Store:
    """The questions that the API asks."""

    def __init__(self, database: Database) -> None:
        self._patients: Collection[PatientCare] = database.collection(PATIENTS)
        self._prescriptions: Collection[Prescription] = database.collection(PRESCRIPTIONS)
        self._accounts: Collection[RenewalAccount] = database.collection(ACCOUNTS)
        self._conditions: Collection[Condition] = database.collection(CONDITIONS)
        self._allergies: Collection[Allergy] = database.collection(ALLERGIES)
        self._stays: Collection[Stay] = database.collection(STAYS)
        self._fulfilments: Collection[Fulfilment] = database.collection(FULFILMENTS)
        self._refills: Collection[Refill] = database.collection(REFILLS)
        self._results: Collection[Result] = database.collection(RESULTS)
        self._absences: Collection[Absence] = database.collection(ABSENCES)
        self._keys: Collection[SigningKey] = database.collection(SIGNING_KEYS)

    async def patient(self, hospital: str, id: str) -> PatientCare:
        """What is known of the patient, or person, whom ``id`` names today."""
        care = await self._patients.get(hospital, id)
        if care is not None and care.merged_into is not None:
            id = care.merged_into
            care = await self._patients.get(hospital, id)
        return care if care is not None else PatientCare(id=id, hospital=hospital)

    async def patients_of(self, person: PatientCare, ids: Iterable[str]) -> list[PatientCare]:
        """The person themselves, known as ``ids``, and whom they are or were linked with."""
        wanted = sorted(ids)
        own, linked = await asyncio.gather(
            self._patients.load("id", [(person.hospital, person.id)]),
            self._patients.find(
                person.hospital, {"links.person_id": {"$in": wanted}}, limit=PATIENTS_SHOWN
            ),
        )
        return [*own, *(care for care in linked if care.id != person.id)]

    async def refill(self, hospital: str, id: str) -> Refill | None:
        return await self._refills.get(hospital, id)

    async def renewal_of(self, hospital: str, prescription_id: str) -> Refill | None:
        """The renewal that has become ``prescription_id``."""
        where = {"new_prescription_id": prescription_id}
        return next(iter(await self._refills.find(hospital, where, limit=1)), None)

    async def fulfilments(self, refill: Refill) -> list[Fulfilment]:
        """How far pharmacies are with it."""
        return await self._fulfilments.load("refill_id", [(refill.hospital, refill.id)])

    async def is_stopped(self, refill: Refill, now: datetime) -> bool:
        """Whether the hospital has stopped the renewal's own prescription since."""
        own = await self._prescriptions.get(refill.hospital, refill.new_prescription_id or "")
        at = own.stopped_at if own is not None else None
        return at is not None and at <= now

    async def keys(self, hospital: str, kids: Iterable[str]) -> Mapping[str, SigningKey]:
        found = await self._keys.load("id", [(hospital, kid) for kid in kids])
        return {key.id: key for key in found}

    async def refills(
        self, care: PatientCare, staff: Mapping[str, Any], after: Keyset | None, limit: int
    ) -> list[Refill]:
        """A patient's renewals, the newest first; ``staff`` narrows them to a member's own."""
        where = {"patient_id": {"$in": sorted(ids_of(care))}, **staff}
        return await self._refills.find(
            care.hospital,
            _before(where, "requested_at", after),
            sort=(("requested_at", -1), ("id", -1)),
            limit=limit,
        )

    async def prescriptions(
        self, care: PatientCare, after: Keyset | None, limit: int
    ) -> list[Prescription]:
        """What a patient was prescribed, the newest first."""
        where = {"patient_id": {"$in": sorted(ids_of(care))}, "order": {"$ne": None}}
        return await self._prescriptions.find(
            care.hospital,
            _before(where, "issued_at", after),
            sort=(("issued_at", -1), ("id", -1)),
            limit=limit,
        )

    async def accounts(
        self, care: PatientCare, ingredients: Iterable[str]
    ) -> Mapping[str, RenewalAccount]:
        """The patient's account of each of ``ingredients``, merged records taken in."""
        wanted = set(ingredients)
        codes = {code for i in wanted for code in codes_of(care, i)}
        ids = {account_id(id, code) for id in ids_of(care) for code in codes}
        found = await self._accounts.load("id", [(care.hospital, id) for id in ids])
        by_id = {a.id: a for a in found}
        return {i: account(care, i, by_id.get)[0] for i in wanted}

    async def chart(self, care: PatientCare) -> Chart:
        """What the rules look at besides the prescription itself."""
        ids = [(care.hospital, id) for id in sorted(ids_of(care))]
        return Chart(
            *await asyncio.gather(
                self._prescriptions.load("patient_id", ids),
                self._conditions.load("patient_id", ids),
                self._allergies.load("patient_id", ids),
                self._stays.load("patient_id", ids),
                self._fulfilments.load("patient_id", ids),
            )
        )

    async def around(self, refill: Refill, care: PatientCare, since: datetime) -> Around:
        """What there is around a renewal; all of it is asked for at once."""
        hospital, records = refill.hospital, sorted(ids_of(care))
        ids = [(hospital, id) for id in records]
        theirs = {"patient_id": {"$in": records}}
        codes = codes_of(care, refill.ingredient_code)
        requester, chart, accounts, earlier, results = await asyncio.gather(
            self._requester(refill, care),
            self.chart(care),
            self._accounts.load("patient_id", ids),
            self._refills.find_fields(
                hospital,
                {**theirs, "ingredient_code": {"$in": codes}, "id": {"$ne": refill.id}},
                EARLIER_FIELDS,
                sort=(("requested_at", -1), ("id", -1)),
                limit=20,
            ),
            self._results.find(
                hospital,
                {**theirs, "released_at": {"$gte": since}},
                sort=(("released_at", -1), ("id", -1)),
            ),
        )
        by_id = {a.id: a for a in accounts}
        return Around(
            care=care,
            requester=requester,
            account=account(care, refill.ingredient_code, by_id.get)[0],
            accounts=accounts,
            chart=chart,
            earlier=earlier,
            results=results,
        )

    async def _requester(self, refill: Refill, care: PatientCare) -> frozenset[str]:
        """All ids of who asked, which is the patient as a rule."""
        if refill.requested_by in ids_of(care):
            return ids_of(care)
        person = await self.patient(refill.hospital, refill.requested_by)
        return ids_of(person) | {refill.requested_by}

    async def changed(self, hospital: str, since: datetime, limit: int) -> list[Row]:
        """The renewals that changed ``since``, and whose concern each is; the oldest first.

        All of a hospital's, since a condition beside the index would have the embedded server
        read the whole collection; few change within the seconds that are looked back to.
        """
        return await self._refills.find_fields(
            hospital,
            {"changed_at": {"$gte": since}},
            CHANGED_FIELDS,
            sort=(("changed_at", 1), ("id", 1)),
            limit=limit,
        )

    async def refills_by_id(self, hospital: str, ids: Iterable[str]) -> list[Refill]:
        return await self._refills.load("id", [(hospital, id) for id in ids])

    async def absence(self, hospital: str, person: str) -> Absence:
        found = await self._absences.get(hospital, person)
        return found or Absence(id=person, hospital=hospital)

    async def away(self, hospital: str, deputy: str, now: datetime) -> frozenset[str]:
        """For whom ``deputy`` stands in."""
        absences = await self._absences.load("deputy_id", [(hospital, deputy)])
        return frozenset(a.id for a in absences if is_away(a, now))

    async def waiting(self, of: WorkList) -> list[Waiting]:
        """The oldest of what waits, as far as it is counted, and one more if there is one."""
        pages = await asyncio.gather(
            *(
                self._refills.find_fields(
                    of.hospital,
                    {"stage": of.stage.value, **place},
                    Waiting._fields,
                    sort=(("waiting_since", 1), ("id", 1)),
                    limit=COUNTED + 1,
                )
                for place in of.places(())
            )
        )
        found = {row["id"]: line_of(row) for page in pages for row in page}
        oldest = sorted(found.values(), key=lambda line: (line.waiting_since, line.id))
        return oldest[: COUNTED + 1]

    async def work_list(
        self, of: WorkList, now: datetime, after: Keyset | None, limit: int
    ) -> list[RefillRow]:
        """What waits, the oldest first: one query for each place where it may lie.

        Who has it is looked at here: claims lapse by the clock, and a condition beside the
        index would have the embedded server read everything.
        """
        away: frozenset[str] = frozenset()
        if of.whose is Whose.MINE:
            away = await self.away(of.hospital, of.actor.person, now)
        pages = await asyncio.gather(
            *(self._waiting(of, place, away, now, after, limit) for place in of.places(away))
        )
        found = {line.id: line for page in pages for line in page}
        return sorted(found.values(), key=lambda line: line.place)[:limit]

    async def _waiting(
        self, of: WorkList, place: Mapping[str, Any], away: frozenset[str], now: datetime,
        after: Keyset | None, limit: int,
    ) -> list[RefillRow]:  # fmt: skip
        kept: list[RefillRow] = []
        asked = limit + SPARE
        while True:
            since = {} if after is None else {"waiting_since": {"$gte": after[0]}}
            rows = await self._refills.find_fields(
                of.hospital,
                {"stage": of.stage.value, **place, **since},
                ROW_FIELDS,
                sort=(("waiting_since", 1), ("id", 1)),
                limit=asked,
            )
            lines = [refill_row(row) for row in rows]
            fresh = [line for line in lines if after is None or line.place > after]
            kept += [line for line in fresh if of.has(line, away, now)]
            if len(rows) < asked or len(kept) >= limit:
                return kept[:limit]
            if fresh:
                after = fresh[-1].place
            else:  # more came at one moment than we asked for
                asked *= 2


def _before(where: Mapping[str, Any], field: str, after: Keyset | None) -> dict[str, Any]:
    if after is None:
        return dict(where)
    at, id = after
    return {**where, field: {"$lte": at}, "$nor": [{field: at, "id": {"$gte": id}}]}


def of_doctor(actor: Actor) -> Mapping[str, Any]:
    """A doctor's departments, and what they prescribed."""
    return {
        "$or": [
            {"department_code": {"$in": sorted(actor.departments)}},
            {"prescriber_id": actor.person},
        ]
    }


def of_pharmacist() -> Mapping[str, Any]:
    """Whatever a doctor has signed."""
    return {"signed_at": {"$ne": None}}
