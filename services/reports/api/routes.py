"""How do people read their reports, and how does a doctor release one?

Somebody else's report does not exist for the caller (404), whatever its status; so does
one that is not released. One that the caller could see once answers 410 after it was
withdrawn. Every read is recorded before it is answered.
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import AwareDatetime

from libs.common.audit import Outcome
from libs.common.auth import Role
from libs.common.decision import Common
from libs.common.http.access import Access as AccessTable
from libs.common.http.access import Caller
from libs.common.http.commands import answer, command, submit
from libs.common.http.idempotency import IfMatch, etag
from libs.common.http.paging import PageOf, Paging
from libs.common.http.problems import Problem
from libs.common.http.reads import Reads
from libs.common.http.words import Texts
from services.reports.api.views import (
    HeldReport,
    Released,
    ReportLine,
    ReportView,
    held_report,
    line,
    view,
)
from services.reports.domain.arrival import ReleaseReport
from services.reports.domain.policy import ReportPolicy
from services.reports.domain.reading import Access, ViewReport, access
from services.reports.domain.report import Report, Why
from services.reports.handlers import RELEASE, VIEW
from services.reports.store import Store, keyset

RESOURCE: Final = "DiagnosticReport"


router = APIRouter(prefix="/v1", tags=["reports"])


def _store(request: Request) -> Store:
    return Store(request.app.state.runtime.database)


def _policy(request: Request) -> ReportPolicy:
    policy: ReportPolicy = request.app.state.runtime.policy.at(request.app.state.ports.clock.now())
    return policy


ReportId = Annotated[str, Path(max_length=128)]
ReportStore = Annotated[Store, Depends(_store)]
Policy = Annotated[ReportPolicy, Depends(_policy)]


@router.get("/reports", response_model=PageOf[ReportLine])
async def mine(
    request: Request,
    caller: Caller,
    store: ReportStore,
    policy: Policy,
    page: Paging,
    reads: Reads,
    patient_id: Annotated[str | None, Query(max_length=128)] = None,
) -> Any:
    """What I may read of my own and of those for whom I may act, the newest first."""
    now = request.app.state.ports.clock.now()
    after = page.after(tuple[AwareDatetime, str])
    person = caller.actor.person
    patients = await store.patients_of(caller.hospital, person, policy.audience.scopes, now)
    if patient_id is not None:
        if patient_id not in patients:
            await reads.of(patient_id, RESOURCE, outcome=Outcome.MINOR_FAILURE)
            raise Problem(404, Common.NOT_FOUND)
        patients = (await store.people(caller.hospital, patient_id)).ids
    rows = await store.released(
        caller.hospital, patients, since=policy.listed_from(now), after=after, limit=page.fetch
    )
    shown: dict[str, list[str]] = defaultdict(list)
    for report in rows[: page.limit]:
        shown[report.patient_id].append(report.id)
    for patient, ids in shown.items():
        await reads.of(patient, RESOURCE, *ids)
    return page.of(rows, keyset, lambda r: line(r, person))


@router.get("/held-reports", response_model=PageOf[HeldReport])
async def held(caller: Caller, store: ReportStore, page: Paging, reads: Reads) -> Any:
    """What waits for my department, or for me, to be released; the oldest first.

    Also critical reports that are not final yet: a doctor was told, or nobody could be. For
    ops only what names neither a department nor who ordered it, and without its title.
    """
    after = page.after(tuple[AwareDatetime, str])
    rows = await store.held(caller.hospital, caller.actor, after=after, limit=page.fetch)
    for report in rows[: page.limit]:
        await reads.of(report.patient_id, RESOURCE, report.id)
    return page.of(rows, keyset, lambda r: held_report(r, caller.actor))


@router.get("/reports/{id}", response_model=ReportView)
async def read(
    request: Request, id: ReportId, caller: Caller, store: ReportStore, policy: Policy, reads: Reads
) -> Response:
    """One report, as its patient's side or the ordering department's staff may see it."""
    report = await store.report(caller.hospital, id)
    if report is None:
        raise Problem(404, Common.NOT_FOUND)
    around = await store.people(caller.hospital, report.patient_id)
    now = request.app.state.ports.clock.now()
    same = await store.same(caller.hospital, caller.actor.person)
    may = access(report, around, caller.actor, same, policy, now)
    head = report.head
    if may in (Access.NOT_FOUND, Access.WITHDRAWN) or head is None:
        await reads.of(report.patient_id, RESOURCE, id, outcome=Outcome.MINOR_FAILURE)
        if may is Access.WITHDRAWN:
            raise Problem(410, Why.WITHDRAWN)
        raise Problem(404, Common.NOT_FOUND)
    content = await store.content(caller.hospital, head.content_id)
    if content is None:
        raise RuntimeError("a report's content is written together with it")
    await reads.of(report.patient_id, RESOURCE, id)
    if may is Access.PATIENT_SIDE:
        await _mark_seen(request, report, caller.actor.person)
    body = view(report, content)
    return JSONResponse(body.model_dump(mode="json"), headers={"ETag": etag(report.version)})


@router.post("/reports/{id}/release", response_model=Released)
async def release(request: Request, id: ReportId, if_match: IfMatch) -> Response:
    """A doctor has talked with the patient: what was critical or kept back may be read."""
    input = command(request, RELEASE, ReleaseReport(), subject=id, if_match=if_match)
    return answer(await submit(request, input))


async def _mark_seen(request: Request, report: Report, person: str) -> None:
    head = report.shown
    if head is None or any(
        s.person_id == person and s.edition == head.edition for s in report.seen
    ):
        return
    key = f"{report.id}|{head.edition}"
    input = command(
        request, VIEW, ViewReport(edition=head.edition), subject=report.id, idempotency_key=key
    )
    # Who can't be noted as a reader now (too much waits to be sent) may read all the same,
    # and is noted the next time.
    with contextlib.suppress(Problem):
        await submit(request, input)


_PATIENT_SIDE: Final = frozenset({Role.PATIENT, Role.GUARDIAN})
_STAFF: Final = frozenset({Role.DOCTOR, Role.NURSE})

ACCESS: AccessTable = {
    ("GET", "/v1/reports"): _PATIENT_SIDE,
    ("GET", "/v1/held-reports"): _STAFF | {Role.OPS},
    ("GET", "/v1/reports/{id}"): _PATIENT_SIDE | _STAFF,
    ("POST", "/v1/reports/{id}/release"): frozenset({Role.DOCTOR}),
}

TEXTS: Texts = {
    "withdrawn": {
        "zh-CN": "该报告已被医院撤回，请联系开单科室。",
        "en": "The hospital has withdrawn this report. Please ask the department that ordered it.",
    },
    "not_final": {
        "zh-CN": "报告尚未最终审核，不能发布。",
        "en": "The report is not final yet, so it can't be released.",
    },
    "held_by_hospital": {
        "zh-CN": "报告由医院系统暂缓发布，只能在原系统中解除。",
        "en": "The hospital's own system holds this report; only there can that be lifted.",
    },
}
