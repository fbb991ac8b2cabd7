"""Does an index serve every question that the store asks, in the order that it wants?"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from libs.common.cipher import sealed_fields
from libs.common.decision import Document
from libs.common.events import RefillStage
from services.prescriptions.domain.documents import PatientCare, Refill
from services.prescriptions.domain.listing import Whose, WorkList
from services.prescriptions.domain.staff import Absence
from services.prescriptions.store import (
    CONDITIONS,
    PATIENTS,
    REFILLS,
    Keyset,
    Store,
    of_doctor,
    of_pharmacist,
)
from tests.support.indexed import Asked, Asking, as_database, by_fields, unserved
from tests.unit.prescriptions.given import DOCTOR, HOUR, NOW, hospital

CARE = PatientCare(id="p1", hospital="h1", aliases=("p0",), merged_into=None)
AWAY = Absence(id="dr2", hospital="h1", since=NOW, until=NOW + HOUR, deputy_id="dr1")
KEYSET = (NOW, "r1")


def refill() -> Refill:
    case = hospital()
    id = case.asked()
    case.doctor(id, "approve")
    case.pharmacist(id, "pass")
    return case.refill(id)


def waiting(of: WorkList, after: Keyset | None) -> Callable[[Store], Awaitable[Any]]:
    return lambda s: s.work_list(of, NOW, after, 50)


def counted(stage: RefillStage) -> Callable[[Store], Awaitable[Any]]:
    return lambda s: s.waiting(WorkList("h1", DOCTOR, stage, Whose.ALL))


#: Every question of the store, each in all its forms.
QUESTIONS: dict[str, list[Callable[[Store], Awaitable[Any]]]] = {
    "patient": [lambda s: s.patient("h1", "p1")],
    "patients_of": [lambda s: s.patients_of(CARE, {"p1", "p0"})],
    "refill": [lambda s: s.refill("h1", "r1")],
    "renewal_of": [lambda s: s.renewal_of("h1", "rx1")],
    "is_stopped": [lambda s: s.is_stopped(refill(), NOW)],
    "keys": [lambda s: s.keys("h1", ["k1"])],
    "refills": [
        lambda s: s.refills(CARE, {}, None, 50),
        lambda s: s.refills(CARE, {"$or": [of_doctor(DOCTOR), of_pharmacist()]}, KEYSET, 50),
    ],
    "prescriptions": [
        lambda s: s.prescriptions(CARE, None, 50),
        lambda s: s.prescriptions(CARE, KEYSET, 50),
    ],
    "accounts": [lambda s: s.accounts(CARE, ["amlodipine"])],
    "chart": [lambda s: s.chart(CARE)],
    "around": [lambda s: s.around(refill(), CARE, NOW)],
    "changed": [lambda s: s.changed("h1", NOW, 100)],
    "fulfilments": [lambda s: s.fulfilments(refill())],
    "away": [lambda s: s.away("h1", "dr1", NOW)],
    "waiting": [counted(stage) for stage in RefillStage],
    "absence": [lambda s: s.absence("h1", "dr1")],
    "work_list": [
        waiting(WorkList("h1", DOCTOR, stage, whose, department), after)
        for stage in RefillStage
        for whose in Whose
        for department in (None, "cardiology")
        for after in (None, KEYSET)
    ],
    "refills_by_id": [lambda s: s.refills_by_id("h1", ["r1"])],
}

#: Looked at in each document that an index gives: of one patient, or of one page there are few.
BESIDE = frozenset({"$nor", "$or", "order", "ingredient_code", "id"})
#: The links of one person are few, and a prescription is of one renewal: they may be sorted.
SORTED = frozenset({"links.person_id", "new_prescription_id"})


def test_every_question_of_the_store_is_asked_here() -> None:
    public = {n for n, f in inspect.getmembers(Store, inspect.isfunction) if n[0] != "_"}
    assert public == QUESTIONS.keys()


@pytest.mark.parametrize("name", sorted(QUESTIONS))
async def test_an_index_serves_every_question_as_it_stands(name: str) -> None:
    for question in QUESTIONS[name]:
        asking = Asking(has=[CARE, AWAY])
        await question(Store(as_database(asking)))
        assert asking.asked
        for asked in asking.asked:
            few = not SORTED.isdisjoint(asked.where)
            plain = Asked(asked.spec, asked.where, () if few else asked.sort)
            beside = BESIDE if asked.where.keys() - BESIDE else frozenset()
            assert unserved(plain, beside) is None


@pytest.mark.parametrize("name", sorted(QUESTIONS))
async def test_nothing_that_is_sealed_is_asked_for(name: str) -> None:
    for question in QUESTIONS[name]:
        asking = Asking(has=[CARE, AWAY])
        await question(Store(as_database(asking)))
        for asked in asking.asked:
            fields = {field for field, _ in asked.sort} | by_fields(asked.where)
            model: type[Document] = asked.spec.model
            assert not fields & sealed_fields(model)


def test_a_question_that_no_index_serves_is_found() -> None:
    newest = (("requested_at", -1), ("id", -1))
    for bad in (
        Asked(REFILLS, {"doctor_id": "dr1"}),
        Asked(REFILLS, {}, (("number", 1),)),
        Asked(REFILLS, {"patient_id": "p1"}, (("number", 1),)),
        Asked(REFILLS, {"patient_id": "p1"}, (("requested_at", -1), ("id", 1))),
        Asked(REFILLS, {"patient_id": "p1", "valid_on": {"$gte": NOW}}, newest),
        Asked(REFILLS, {"changed_at": {"$gte": NOW}, "patient_id": "p1"}),
        Asked(CONDITIONS, {"code": "I10"}),
        Asked(PATIENTS, {"name": "x"}),
    ):
        assert unserved(bad) is not None, bad.where
    assert unserved(Asked(REFILLS, {"patient_id": {"$in": ["p1"]}}, newest)) is None
    assert unserved(Asked(REFILLS, {"id": "r1"})) is None
