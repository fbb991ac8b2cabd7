"""What do staff see and do? Doctors and nurses their departments, ops the whole hospital.

What belongs to another department is not there: lists leave it out, and a command on it
is answered with 404.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel

from libs.common.audit import Outcome
from libs.common.http import commands
from libs.common.http.access import Caller
from libs.common.http.idempotency import IdempotencyKey, IfMatch
from libs.common.http.paging import PageOf, Paging
from libs.common.http.reads import Reads
from services.enrollment.api.people import FromStore, last_id
from services.enrollment.api.views import (
    GroupClosed,
    GroupView,
    InvitationView,
    Reissued,
    StaffTaskView,
    TaskClosed,
    departments_of,
)
from services.enrollment.domain import desk
from services.enrollment.domain.staff import TaskStatus, is_staff_of

router = APIRouter(prefix="/v1")

EncounterId = Annotated[str, Query(min_length=1, max_length=128)]


@router.get("/invitations", tags=["invitations"], response_model=PageOf[InvitationView])
async def invitations(
    caller: Caller, store: FromStore, page: Paging, reads: Reads, encounter_id: EncounterId
) -> Any:
    """The invitations that a stay has led to."""
    rows = await store.of_encounter(caller.hospital, encounter_id, last_id(page), page.fetch)
    answer = page.of(rows, lambda r: (r.id,))
    found = [r for r in answer["items"] if is_staff_of(caller.actor, r.department_code)]
    hidden = {r.patient_id for r in answer["items"]} - {r.patient_id for r in found}
    by_patient: dict[str, list[str]] = defaultdict(list)
    for row in found:
        by_patient[row.patient_id].append(row.id)
    await asyncio.gather(
        *(reads.of(p, "Communication", *ids) for p, ids in by_patient.items()),
        *(reads.of(p, "Communication", outcome=Outcome.MINOR_FAILURE) for p in hidden),
    )
    return {**answer, "items": [InvitationView.model_validate(r) for r in found]}


@router.post("/invitations/{id}/reissue", tags=["invitations"], response_model=Reissued)
async def reissue(request: Request, id: str, key: IdempotencyKey, if_match: IfMatch) -> Response:
    """Send the person a new link; the old one is void. Takes a seat again if it was given up."""
    body = desk.InvitationCommand(invitation_id=id)
    return await _done(request, desk.INVITATION_REISSUE, body, id, if_match, key)


@router.get("/groups", tags=["groups"], response_model=PageOf[GroupView])
async def groups(caller: Caller, store: FromStore, page: Paging) -> Any:
    """Groups with their seats."""
    rows = await store.groups(
        caller.hospital, departments_of(caller.actor), last_id(page), page.fetch
    )
    return page.of(rows, lambda r: (r.id,), GroupView.model_validate)


@router.post("/groups/{id}/close", tags=["groups"], response_model=GroupClosed)
async def close_group(request: Request, id: str, if_match: IfMatch) -> Response:
    """Take nobody any more: open invitations are withdrawn, members leave."""
    body = desk.GroupCommand(group_id=id)
    return await _done(request, desk.GROUP_CLOSE, body, id, if_match)


@router.get("/staff-tasks", tags=["staff"], response_model=PageOf[StaffTaskView])
async def staff_tasks(
    caller: Caller,
    store: FromStore,
    page: Paging,
    reads: Reads,
    status: TaskStatus = TaskStatus.OPEN,
) -> Any:
    """What staff must look after: the oldest first."""
    rows = await store.tasks(
        caller.hospital,
        status,
        departments_of(caller.actor),
        page.after(tuple[datetime, str]),
        page.fetch,
    )
    # Together, so that their records share one write.
    shown = rows[: page.limit]
    await asyncio.gather(*(reads.of(r.patient_id, "Task", r.id) for r in shown))
    return page.of(rows, lambda r: (r.at, r.id), StaffTaskView.model_validate)


@router.post("/staff-tasks/{id}/close", tags=["staff"], response_model=TaskClosed)
async def close_task(request: Request, id: str, if_match: IfMatch) -> Response:
    """Tick it off. Ticked off before, it answers the same."""
    body = desk.TaskCommand(task_id=id)
    return await _done(request, desk.TASK_CLOSE, body, id, if_match)


async def _done(
    request: Request,
    type: str,
    body: BaseModel,
    id: str,
    if_match: int | None,
    idempotency_key: str | None = None,
) -> Response:
    input = commands.command(
        request, type, body, subject=id, if_match=if_match, idempotency_key=idempotency_key
    )
    return commands.answer(await commands.submit(request, input))
