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
from libs.common.events import RefillStage
from libs.common.http import words
from libs.common.http.access import Access, Caller
from libs.common.http.idempotency import etag
from libs.common.http.paging import Page, PageOf, Paging
from libs.common.http.problems import Problem
from libs.common.http.reads import PatientReads, Reads
from services.prescriptions.api.acting import TEXTS
from services.prescriptions.domain import doctor, pharmacist
from services.prescriptions.domain.documents import PatientCare, Refill
from services.prescriptions.domain.persons import ids_of, is_patient, may_act
from services.prescriptions.domain.policy import Audience, RenewalPolicies, RenewalPolicy
from services.prescriptions.domain.views import (
    Declared,
    Reader,
    RefillView,
    Renewable,
    refill_view,
    renewable,
)
from services.prescriptions.store import Store, of_doctor, of_pharmacist, waiting_for_doctor

#: The FHIR type of what is read here.
RESOURCE: Final = "MedicationRequest"

_PATIENT_SIDE: Final = frozenset({Role.PATIENT, Role.GUARDIAN})
_STAFF: Final = frozenset({Role.DOCTOR, Role.PHARMACIST})

router = APIRouter(prefix="/v1", tags=["renewals"])


def _store(request: Request) -> Store:
    return Store(request.app.state.runtime.database)


def _policy(request: Request) -> RenewalPolicy:
    policies: RenewalPolicies = request.app.state.runtime.policy
    return policies.at(request.app.state.ports.clock.now())


Prescriptions = Annotated[Store, Depends(_store)]
Policy = Annotated[RenewalPolicy, Depends(_policy)]
PatientId = Annotated[str, Query(min_length=1, max_length=128)]
DepartmentCode = Annotated[str | None, Query(min_length=1, max_length=64)]


@router.get("/refills/{id}", response_model=RefillView)
async def read(
    request: Request, id: str, caller: Caller, store: Prescriptions, policy: Policy, reads: Reads
) -> Response:
    """One renewal with its history."""
    refill = await shown(request, id, caller, store, policy, reads)
    staff = doctor.may_see(refill, caller.actor) or pharmacist.may_see(refill, caller.actor)
    reader = _reader(request, "staff" if staff else "patient")
    body = refill_view(refill, reader).model_dump(mode="json")
    return JSONResponse(body, headers={"ETag": etag(refill.version)})


async def shown(
    request: Request, id: str, caller: Principal, store: Store, policy: RenewalPolicy,
    reads: PatientReads,
) -> Refill:  # fmt: skip
    """The renewal ``id``, if the caller may see it; recorded either way."""
    refill = await store.refill(caller.hospital, id)
    if refill is None:
        raise Problem(404, Common.NOT_FOUND)
    actor = caller.actor
    seen = doctor.may_see(refill, actor) or pharmacist.may_see(refill, actor)
    if not seen:
        care = await store.patient(caller.hospital, refill.patient_id)
        seen = await _is_theirs(request, caller, store, policy, care)
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
    theirs = await _is_theirs(request, caller, store, policy, care)
    staff: Mapping[str, Any] | None = {} if theirs else _staff(caller)
    if staff is None:
        await reads.of(care.id, RESOURCE, outcome=Outcome.MINOR_FAILURE)
        raise Problem(404, Common.NOT_FOUND)
    rows = await store.refills(care, staff, after, page.fetch)
    await reads.of(care.id, RESOURCE, *(r.id for r in rows[: page.limit]))
    reader = _reader(request, "patient" if theirs else "staff")
    return page.of(rows, lambda r: (r.requested_at, r.id), lambda r: refill_view(r, reader))


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
    if not await _is_theirs(request, caller, store, policy, care):
        await reads.of(care.id, RESOURCE, outcome=Outcome.MINOR_FAILURE)
        raise Problem(404, Common.NOT_FOUND)
    rows = await store.prescriptions(care, after, page.fetch)
    ingredients = {r.order.medication.ingredient_code for r in rows if r.order is not None}
    accounts, chart = await store.accounts(care, ingredients), await store.chart(care)
    person = await store.patient(caller.hospital, caller.actor.person)
    await reads.of(care.id, RESOURCE, *(r.id for r in rows[: page.limit]))
    language = words.language(request.headers.get("accept-language"))

    def explain(reason: str) -> str | None:
        return policy.words(reason, language) or TEXTS.get(reason, {}).get(language)

    now = request.app.state.ports.clock.now()
    oneself = is_patient(care, ids_of(person))
    return page.of(
        rows,
        lambda r: (r.issued_at, r.id),
        lambda r: renewable(
            r, care, accounts, chart, now, policy, oneself=oneself, explain=explain
        ),
    )


@router.get("/declaration", response_model=Declared)
async def declaration(policy: Policy) -> Declared:
    """The questions that a request for a renewal answers, with their texts in every language."""
    return Declared.of(policy)


@router.get("/work-lists/doctor", response_model=PageOf[RefillView])
async def for_doctor(
    request: Request,
    caller: Caller,
    store: Prescriptions,
    page: Paging,
    reads: Reads,
    department: DepartmentCode = None,
) -> Any:
    """What waits for me or a doctor of my departments, the oldest first."""
    theirs = waiting_for_doctor(caller.actor)
    return await _waiting(
        request, RefillStage.DOCTOR, theirs, caller, store, page, reads, department
    )


@router.get("/work-lists/pharmacist", response_model=PageOf[RefillView])
async def for_pharmacist(
    request: Request,
    caller: Caller,
    store: Prescriptions,
    page: Paging,
    reads: Reads,
    department: DepartmentCode = None,
) -> Any:
    """What waits for a pharmacist, of all departments or of one, the oldest first."""
    return await _waiting(
        request, RefillStage.PHARMACIST, {}, caller, store, page, reads, department
    )


async def _waiting(
    request: Request,
    stage: RefillStage,
    theirs: Mapping[str, Any],
    caller: Principal,
    store: Store,
    page: Page,
    reads: Reads,
    department: str | None,
) -> Any:
    after = page.after(tuple[datetime, str])
    if department is not None:
        theirs = {**theirs, "department_code": department}
    rows = await store.work_list(caller.hospital, stage, theirs, after, page.fetch)
    # Together, so that their records share one write.
    shown = rows[: page.limit]
    await asyncio.gather(*(reads.of(r.patient_id, RESOURCE, r.id) for r in shown))
    reader = _reader(request, "staff")
    return page.of(rows, lambda r: (r.waiting_since, r.id), lambda r: refill_view(r, reader))


def _reader(request: Request, audience: Audience) -> Reader:
    language = words.language(request.headers.get("accept-language"))
    return Reader(request.app.state.runtime.policy, language, audience)


async def _is_theirs(
    request: Request, caller: Principal, store: Store, policy: RenewalPolicy, care: PatientCare
) -> bool:
    """Whether the caller is the patient or may act for them now."""
    if not caller.actor.has(*_PATIENT_SIDE):
        return False
    person = await store.patient(caller.hospital, caller.actor.person)
    ids = ids_of(person) | {caller.actor.person}
    return may_act(care, ids, request.app.state.ports.clock.now(), policy)


def _staff(caller: Principal) -> Mapping[str, Any] | None:
    """What the caller may see as a member of staff; None if as nobody."""
    seen = []
    if caller.actor.has(Role.DOCTOR):
        seen.append(of_doctor(caller.actor))
    if caller.actor.has(Role.PHARMACIST):
        seen.append(of_pharmacist())
    return {"$or": seen} if seen else None


ACCESS: Access = {
    ("GET", "/v1/refills"): _PATIENT_SIDE | _STAFF,
    ("GET", "/v1/refills/{id}"): _PATIENT_SIDE | _STAFF,
    ("GET", "/v1/renewable"): _PATIENT_SIDE,
    ("GET", "/v1/declaration"): _PATIENT_SIDE | _STAFF,
    ("GET", "/v1/work-lists/doctor"): frozenset({Role.DOCTOR}),
    ("GET", "/v1/work-lists/pharmacist"): frozenset({Role.PHARMACIST}),
}
