"""Who sees which renewals, and what a patient may have renewed?

Patients and who may act for them see their own, doctors what concerns their departments,
pharmacists what a doctor has signed; everything else does not exist (404). Every read is
recorded before it is answered.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import JSONResponse

from libs.common.audit import Outcome
from libs.common.auth import Principal, Role
from libs.common.decision import Common
from libs.common.http import words
from libs.common.http.access import Access, Caller
from libs.common.http.idempotency import etag
from libs.common.http.paging import PageOf, Paging
from libs.common.http.problems import Problem
from libs.common.http.reads import PatientReads, Reads
from services.prescriptions.domain import doctor, pharmacist
from services.prescriptions.domain.around import StaffRefillView, looked_at, since, staff_view
from services.prescriptions.domain.documents import PatientCare, Refill
from services.prescriptions.domain.persons import ids_of, is_patient, may_act
from services.prescriptions.domain.policy import Audience, RenewalPolicies, RenewalPolicy
from services.prescriptions.domain.renewable import (
    AnswerReasons,
    Declared,
    MyPatient,
    Renewable,
    my_patient,
    renewable,
)
from services.prescriptions.domain.views import Reader, RefillView, refill_view
from services.prescriptions.store import Store, of_doctor, of_pharmacist

#: The FHIR type of what is read here.
RESOURCE: Final = "MedicationRequest"

PATIENT_SIDE: Final = frozenset({Role.PATIENT, Role.GUARDIAN})
STAFF: Final = frozenset({Role.DOCTOR, Role.PHARMACIST})

router = APIRouter(prefix="/v1", tags=["renewals"])


def _store(request: Request) -> Store:
    return Store(request.app.state.runtime.database)


def _policy(request: Request) -> RenewalPolicy:
    policies: RenewalPolicies = request.app.state.runtime.policy
    return policies.at(request.app.state.ports.clock.now())


Prescriptions = Annotated[Store, Depends(_store)]
Policy = Annotated[RenewalPolicy, Depends(_policy)]
PatientId = Annotated[str, Query(min_length=1, max_length=128)]


@router.get("/refills/{id}", response_model=StaffRefillView | RefillView)
async def read(
    request: Request, id: str, caller: Caller, store: Prescriptions, policy: Policy, reads: Reads
) -> Response:
    """One renewal with its history; for staff with all that a decision on it needs."""
    refill = await shown(request, id, caller, store, policy, reads)
    body: RefillView
    if doctor.may_see(refill, caller.actor) or pharmacist.may_see(refill, caller.actor):
        now = request.app.state.ports.clock.now()
        care = await store.patient(caller.hospital, refill.patient_id)
        around = await store.around(refill, care, since(now, policy))
        body = staff_view(refill, around, now, policy, reader_of(request, "staff"))
        await asyncio.gather(
            *(reads.of(care.id, type, *ids) for type, ids in looked_at(body).items() if ids)
        )
    else:
        body = refill_view(refill, reader_of(request, "patient"))
    return JSONResponse(body.model_dump(mode="json"), headers={"ETag": etag(refill.version)})


async def shown(
    request: Request, id: str, caller: Principal, store: Store, policy: RenewalPolicy,
    reads: PatientReads, *, pharmacy: bool = False, doctors: bool = True,
) -> Refill:  # fmt: skip
    """The renewal ``id``, if the caller may see it, with ``pharmacy`` also as the system of
    the one that is to dispense it, without ``doctors`` not as one; recorded either way."""
    refill = await store.refill(caller.hospital, id)
    if refill is None:
        raise Problem(404, Common.NOT_FOUND)
    actor = caller.actor
    seen = (doctors and doctor.may_see(refill, actor)) or pharmacist.may_see(refill, actor)
    if pharmacy:
        seen = seen or _is_chosen(request, refill, caller)
    if not seen:
        care = await store.patient(caller.hospital, refill.patient_id)
        seen = await is_theirs(request, caller, store, policy, care)
    if not seen:
        await reads.of(refill.patient_id, RESOURCE, id, outcome=Outcome.MINOR_FAILURE)
        raise Problem(404, Common.NOT_FOUND)
    await reads.of(refill.patient_id, RESOURCE, id)
    return refill


@router.get("/refills", response_model=PageOf[RefillView])
async def of_patient(
    request: Request,
    caller: Caller,
    store: Prescriptions,
    policy: Policy,
    page: Paging,
    reads: Reads,
    patient_id: PatientId,
) -> Any:
    """A patient's renewals, the newest first: all to the patient's side, theirs to staff."""
    after = page.after(tuple[datetime, str])
    care = await store.patient(caller.hospital, patient_id)
    theirs = await is_theirs(request, caller, store, policy, care)
    staff: Mapping[str, Any] | None = {} if theirs else _staff(caller)
    if staff is None:
        await reads.of(care.id, RESOURCE, outcome=Outcome.MINOR_FAILURE)
        raise Problem(404, Common.NOT_FOUND)
    rows = await store.refills(care, staff, after, page.fetch)
    await reads.of(care.id, RESOURCE, *(r.id for r in rows[: page.limit]))
    reader = reader_of(request, "patient" if theirs else "staff")
    return page.of(rows, lambda r: (r.requested_at, r.id), lambda r: refill_view(r, reader))


@router.get("/my-patients", response_model=list[MyPatient])
async def my_patients(
    request: Request, caller: Caller, store: Prescriptions, policy: Policy, reads: Reads
) -> list[MyPatient]:
    """Whose medicines I may have renewed: my own, and those of whom I may act for."""
    person = await store.patient(caller.hospital, caller.actor.person)
    ids = ids_of(person) | {caller.actor.person}
    now = request.app.state.ports.clock.now()
    known = await store.patients_of(person, ids)
    theirs = [care for care in known if may_act(care, ids, now, policy)]
    await asyncio.gather(*(reads.of(care.id, "Patient", care.id) for care in theirs))
    return [my_patient(care, oneself=is_patient(care, ids)) for care in theirs]


@router.get("/renewable", response_model=PageOf[Renewable])
async def may_be_renewed(
    request: Request,
    caller: Caller,
    store: Prescriptions,
    policy: Policy,
    page: Paging,
    reads: Reads,
    patient_id: PatientId,
) -> Any:
    """A patient's prescriptions, the newest first: which may be renewed, and if not, why."""
    after = page.after(tuple[datetime, str])
    care = await store.patient(caller.hospital, patient_id)
    if not await is_theirs(request, caller, store, policy, care):
        await reads.of(care.id, RESOURCE, outcome=Outcome.MINOR_FAILURE)
        raise Problem(404, Common.NOT_FOUND)
    rows = await store.prescriptions(care, after, page.fetch)
    ingredients = {r.order.medication.ingredient_code for r in rows if r.order is not None}
    accounts, chart = await store.accounts(care, ingredients), await store.chart(care)
    person = await store.patient(caller.hospital, caller.actor.person)
    await reads.of(care.id, RESOURCE, *(r.id for r in rows[: page.limit]))
    language = words.language(request.headers.get("accept-language"))
    now = request.app.state.ports.clock.now()
    oneself = is_patient(care, ids_of(person))
    return page.of(
        rows,
        lambda r: (r.issued_at, r.id),
        lambda r: renewable(
            r, care, accounts, chart, now, policy, oneself=oneself, language=language
        ),
    )


@router.get("/declaration", response_model=Declared)
async def declaration(policy: Policy) -> Declared:
    """The questions that a request for a renewal answers, with their texts in every language."""
    return Declared.of(policy)


@router.get("/answer-reasons", response_model=AnswerReasons)
async def answer_reasons(policy: Policy) -> AnswerReasons:
    """The reasons with which a doctor or pharmacist may say no, with their texts."""
    return AnswerReasons.of(policy)


def reader_of(request: Request, audience: Audience) -> Reader:
    language = words.language(request.headers.get("accept-language"))
    now = request.app.state.ports.clock.now()
    return Reader(request.app.state.runtime.policy, language, audience, now)


async def is_theirs(
    request: Request, caller: Principal, store: Store, policy: RenewalPolicy, care: PatientCare
) -> bool:
    """Whether the caller is the patient or may act for them now."""
    if not caller.actor.has(*PATIENT_SIDE):
        return False
    person = await store.patient(caller.hospital, caller.actor.person)
    ids = ids_of(person) | {caller.actor.person}
    return may_act(care, ids, request.app.state.ports.clock.now(), policy)


def _is_chosen(request: Request, refill: Refill, caller: Principal) -> bool:
    """Whether the caller is the system of the pharmacy that is to dispense ``refill``."""
    policies: RenewalPolicies = request.app.state.runtime.policy
    if refill.effective_at is None or refill.fulfilment is None:
        return False
    chosen = policies.pharmacies.get(refill.fulfilment.pharmacy_id)
    return (
        caller.actor.has(Role.INTEGRATION)
        and chosen is not None
        and chosen.system == caller.actor.person
    )


def _staff(caller: Principal) -> Mapping[str, Any] | None:
    """What the caller may see as a member of staff; None if as nobody."""
    seen = []
    if caller.actor.has(Role.DOCTOR):
        seen.append(of_doctor(caller.actor))
    if caller.actor.has(Role.PHARMACIST):
        seen.append(of_pharmacist())
    return {"$or": seen} if seen else None


ACCESS: Access = {
    ("GET", "/v1/refills"): PATIENT_SIDE | STAFF,
    ("GET", "/v1/refills/{id}"): PATIENT_SIDE | STAFF,
    ("GET", "/v1/my-patients"): PATIENT_SIDE,
    ("GET", "/v1/renewable"): PATIENT_SIDE,
    ("GET", "/v1/declaration"): PATIENT_SIDE | STAFF,
    ("GET", "/v1/answer-reasons"): STAFF,
}
