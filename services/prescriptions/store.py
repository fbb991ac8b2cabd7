"""How are renewals kept, and what can be asked of them?"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from libs.common.decision import Actor
from libs.common.events import RefillStage
from libs.common.mongo import Collection, CollectionSpec, Database, Index
from services.prescriptions.domain.accounts import account, account_id
from services.prescriptions.domain.chart import Chart
from services.prescriptions.domain.documents import (
    PatientCare,
    Prescription,
    Refill,
    RenewalAccount,
    SigningKey,
    Status,
)
from services.prescriptions.domain.health import Allergy, Condition, Practitioner, Stay
from services.prescriptions.domain.persons import ids_of

PATIENTS = CollectionSpec(PatientCare)
PRESCRIPTIONS = CollectionSpec(Prescription, indexes=(Index(("patient_id", "issued_at", "id")),))
ACCOUNTS = CollectionSpec(RenewalAccount, indexes=(Index(("patient_id",)),))
SIGNING_KEYS = CollectionSpec(SigningKey)
REFILLS = CollectionSpec(
    Refill,
    indexes=(
        Index(("new_prescription_id",)),
        Index(("patient_id", "requested_at", "id")),
        Index(("stage", "waiting_since", "id")),
        Index(("requested_at", "id")),
    ),
)

CONDITIONS = CollectionSpec(Condition, indexes=(Index(("patient_id",)),))
ALLERGIES = CollectionSpec(Allergy, indexes=(Index(("patient_id",)),))
STAYS = CollectionSpec(Stay, indexes=(Index(("patient_id",)),))
PRACTITIONERS = CollectionSpec(Practitioner)

COLLECTIONS: tuple[CollectionSpec[Any], ...] = (
    PATIENTS, PRESCRIPTIONS, ACCOUNTS, REFILLS, SIGNING_KEYS, CONDITIONS, ALLERGIES, STAYS,
    PRACTITIONERS,
)  # fmt: skip

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
        self._refills: Collection[Refill] = database.collection(REFILLS)
        self._keys: Collection[SigningKey] = database.collection(SIGNING_KEYS)

    async def patient(self, hospital: str, id: str) -> PatientCare:
        """What is known of the patient, or person, whom ``id`` names today."""
        care = await self._patients.get(hospital, id)
        if care is not None and care.merged_into is not None:
            id = care.merged_into
            care = await self._patients.get(hospital, id)
        return care if care is not None else PatientCare(id=id, hospital=hospital)

    async def refill(self, hospital: str, id: str) -> Refill | None:
        return await self._refills.get(hospital, id)

    async def renewal_of(self, hospital: str, prescription_id: str) -> Refill | None:
        """The renewal that has become ``prescription_id``."""
        where = {"new_prescription_id": prescription_id}
        return next(iter(await self._refills.find(hospital, where, limit=1)), None)

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
        ids = {account_id(id, i) for id in ids_of(care) for i in wanted}
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
            )
        )

    async def work_list(
        self, hospital: str, stage: RefillStage, theirs: Mapping[str, Any], after: Keyset | None,
        limit: int,
    ) -> list[Refill]:  # fmt: skip
        """What waits at ``stage`` for somebody who sees ``theirs``, the oldest first."""
        where: dict[str, Any] = {"stage": stage.value, **theirs}
        if after is not None:
            since, id = after
            where["waiting_since"] = {"$gte": since}
            where["$nor"] = [{"waiting_since": since, "id": {"$lte": id}}]
        return await self._refills.find(
            hospital, where, sort=(("waiting_since", 1), ("id", 1)), limit=limit
        )


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
            {"order.prescriber_id": actor.person},
        ]
    }


def waiting_for_doctor(actor: Actor) -> Mapping[str, Any]:
    """As above, but what was returned waits only for the doctor who signed it."""
    return {
        "$and": [
            of_doctor(actor),
            {"$or": [{"status": {"$ne": Status.RETURNED}}, {"doctor_id": actor.person}]},
        ]
    }


def of_pharmacist() -> Mapping[str, Any]:
    """Whatever a doctor has signed."""
    return {"signed_at": {"$ne": None}}
