"""What waits for whom, and how much of it?

A doctor's list holds what lies with their departments or with themselves, a pharmacist's
what a doctor has signed, the oldest first. Every line that is shown is recorded as read.
"""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request

from libs.common.auth import Principal, Role
from libs.common.events import RefillStage
from libs.common.http.access import Access, Caller
from libs.common.http.paging import Page, PageOf, Paging
from libs.common.http.reads import PatientReads, Reads
from services.prescriptions.api.reading import RESOURCE, Policy, Prescriptions
from services.prescriptions.domain.counts import AllCounts, counts
from services.prescriptions.domain.listing import RefillRow, Whose, WorkList
from services.prescriptions.store import Store

STAGES: Final = {Role.DOCTOR: RefillStage.DOCTOR, Role.PHARMACIST: RefillStage.PHARMACIST}

router = APIRouter(prefix="/v1/work-lists", tags=["work lists"])

WhoseList = Annotated[
    Whose, Query(description="What lies with me, with nobody yet, or all that I may see.")
]
DepartmentCode = Annotated[str | None, Query(min_length=1, max_length=64)]


@router.get("/doctor", response_model=PageOf[RefillRow])
async def for_doctor(
    request: Request,
    caller: Caller,
    store: Prescriptions,
    page: Paging,
    reads: Reads,
    whose: WhoseList = Whose.ALL,
    department: DepartmentCode = None,
) -> Any:
    """What waits for me or a doctor of my departments, the oldest first, and who has it."""
    of = _of(caller, RefillStage.DOCTOR, whose, department)
    return await _waiting(request, of, store, page, reads)


@router.get("/pharmacist", response_model=PageOf[RefillRow])
async def for_pharmacist(
    request: Request,
    caller: Caller,
    store: Prescriptions,
    page: Paging,
    reads: Reads,
    whose: WhoseList = Whose.ALL,
    department: DepartmentCode = None,
) -> Any:
    """What waits for a pharmacist, of all departments or of one, and who has it."""
    of = _of(caller, RefillStage.PHARMACIST, whose, department)
    return await _waiting(request, of, store, page, reads)


def _of(caller: Principal, stage: RefillStage, whose: Whose, department: str | None) -> WorkList:
    return WorkList(caller.hospital, caller.actor, stage, whose, department)


@router.get("/counts", response_model=AllCounts)
async def how_much_waits(
    request: Request, caller: Caller, store: Prescriptions, policy: Policy
) -> AllCounts:
    """How much waits for me and my colleagues, by role, and since when. No patient is named."""
    now = request.app.state.ports.clock.now()
    soon = timedelta(hours=policy.rules.deadlines.parameters.remind_hours)
    stages = [stage for role, stage in STAGES.items() if caller.actor.has(role)]
    lists = [_of(caller, stage, Whose.ALL, None) for stage in stages]
    away, waiting = await asyncio.gather(
        store.away(caller.hospital, caller.actor.person, now),
        asyncio.gather(*map(store.waiting, lists)),
    )
    me = caller.actor.person
    found = {
        stage: counts(lines, me, away, now, soon)
        for stage, lines in zip(stages, waiting, strict=True)
    }
    return AllCounts(
        doctor=found.get(RefillStage.DOCTOR), pharmacist=found.get(RefillStage.PHARMACIST)
    )


async def _waiting(
    request: Request, of: WorkList, store: Store, page: Page, reads: PatientReads
) -> Any:
    now = request.app.state.ports.clock.now()
    rows = await store.work_list(of, now, page.after(tuple[datetime, str]), page.fetch)
    # Together, so that their records share one write.
    shown = rows[: page.limit]
    await asyncio.gather(*(reads.of(r.patient_id, RESOURCE, r.id) for r in shown))
    return page.of(rows, lambda r: r.place, lambda r: r.seen(now))


ACCESS: Access = {
    ("GET", "/v1/work-lists/doctor"): frozenset({Role.DOCTOR}),
    ("GET", "/v1/work-lists/pharmacist"): frozenset({Role.PHARMACIST}),
    ("GET", "/v1/work-lists/counts"): frozenset(STAGES),
}
