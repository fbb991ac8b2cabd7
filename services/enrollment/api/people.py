"""What may people do themselves: read an invitation, answer it, leave, decide on consent?

An invitation's token is its holder's right to answer. It comes in a body, never in a URL,
so that no log, history or proxy keeps it; these routes need no sign-in.
"""

from __future__ import annotations

from io import BytesIO
from typing import Annotated, Any

import segno
from fastapi import APIRouter, Depends, Request, Response
from starlette.concurrency import run_in_threadpool

from libs.common.decision import Common
from libs.common.http import commands
from libs.common.http.access import Caller
from libs.common.http.idempotency import IfMatch
from libs.common.http.paging import Page, PageOf, Paging
from libs.common.http.problems import Problem
from libs.common.http.reads import Reads
from services.enrollment.api.views import (
    ConsentChanged,
    ConsentView,
    Declined,
    Joined,
    Left,
    MembershipView,
    Preview,
    preview_of,
)
from services.enrollment.domain import consent, joining
from services.enrollment.domain.group import Group
from services.enrollment.domain.invitation import Invitation, InvitationStatus, hospital_of
from services.enrollment.domain.joining import OVER, Accept, Bearer
from services.enrollment.domain.programme import Policy
from services.enrollment.store import Store

router = APIRouter(prefix="/v1")


def _store(request: Request) -> Store:
    return Store(request.app.state.runtime.database)


def _policy(request: Request) -> Policy:
    policy: Policy = request.app.state.runtime.policy
    return policy


FromStore = Annotated[Store, Depends(_store)]
InForce = Annotated[Policy, Depends(_policy)]


def last_id(page: Page) -> str | None:
    """The id after which the page begins, where a list is sorted by id."""
    after = page.after(tuple[str])
    return None if after is None else after[0]


async def _held(request: Request, store: Store, token: str) -> tuple[Invitation, Group]:
    """The invitation that ``token`` opens, as it stands at this moment, and its group."""
    hospital = hospital_of(token) or ""
    invitation = await store.by_token(hospital, token)
    group = await store.group(hospital, invitation.group_id) if invitation else None
    if invitation is None or group is None:
        raise Problem(404, Common.NOT_FOUND)
    now = request.app.state.ports.clock.now()
    if invitation.status is InvitationStatus.OPEN and invitation.expires_at <= now:
        invitation = invitation.but(status=InvitationStatus.EXPIRED)
    return invitation, group


@router.post("/invitations/preview", tags=["invitations"])
async def preview(request: Request, body: Bearer, store: FromStore, policy: InForce) -> Preview:
    """What the invitation is to, and what would be agreed to; its status only, once it is
    not open any more."""
    invitation, group = await _held(request, store, body.token)
    today = policy.day(request.app.state.ports.clock.now())
    return preview_of(invitation, group, policy, today)


@router.post(
    "/invitations/qr",
    tags=["invitations"],
    response_class=Response,
    responses={200: {"content": {"image/svg+xml": {}, "image/png": {}}}},
)
async def qr(request: Request, body: Bearer, store: FromStore, policy: InForce) -> Response:
    """The link as a QR code: PNG for `Accept: image/png`, else SVG."""
    invitation, _ = await _held(request, store, body.token)
    if invitation.status is not InvitationStatus.OPEN:
        raise Problem(422, OVER[invitation.status])
    accepted = request.headers.get("accept", "")
    kind = "png" if "image/png" in accepted and "image/svg+xml" not in accepted else "svg"
    image = await run_in_threadpool(draw, f"{policy.accept_url}#token={body.token}", kind)
    media_type = "image/png" if kind == "png" else "image/svg+xml"
    return Response(image, media_type=media_type, headers={"Vary": "Accept"})


def draw(link: str, kind: str) -> bytes:
    """``link`` as a QR code with level M and the quiet zone of ISO/IEC 18004."""
    out = BytesIO()
    segno.make_qr(link, error="m").save(out, kind=kind, scale=6, border=4)
    return out.getvalue()


@router.post("/invitations/accept", tags=["invitations"], response_model=Joined)
async def accept(request: Request, body: Accept) -> Response:
    """Join the group. Consent to its rules is required, to health data it is not.

    Sent again, it answers the same.
    """
    return await _answered(request, joining.INVITATION_ACCEPT, body)


@router.post("/invitations/decline", tags=["invitations"], response_model=Declined)
async def decline(request: Request, body: Bearer) -> Response:
    """Decline. The seat goes to somebody else."""
    return await _answered(request, joining.INVITATION_DECLINE, body)


async def _answered(request: Request, type: str, body: Bearer) -> Response:
    input = commands.command(request, type, body, hospital=hospital_of(body.token))
    return commands.answer(await commands.submit(request, input))


@router.get("/memberships", tags=["members"], response_model=PageOf[MembershipView])
async def my_memberships(caller: Caller, store: FromStore, page: Paging, reads: Reads) -> Any:
    """My own places in groups, past ones too."""
    person = caller.actor.person
    rows = await store.memberships(caller.hospital, person, last_id(page), page.fetch)
    await reads.of(person, "Group", *(r.id for r in rows[: page.limit]))
    return page.of(rows, lambda r: (r.id,), MembershipView.model_validate)


@router.post("/memberships/{id}/leave", tags=["members"], response_model=Left)
async def leave(request: Request, id: str, if_match: IfMatch) -> Response:
    """Leave the group. Left before, it answers the same."""
    body = joining.MembershipCommand(membership_id=id)
    return await _done(request, joining.MEMBERSHIP_LEAVE, body, id, if_match)


@router.get("/consents", tags=["consents"], response_model=PageOf[ConsentView])
async def my_consents(caller: Caller, store: FromStore, page: Paging, reads: Reads) -> Any:
    """What I have agreed to, when, and to which text."""
    person = caller.actor.person
    rows = await store.consents(caller.hospital, person, last_id(page), page.fetch)
    await reads.of(person, "Consent", *(r.id for r in rows[: page.limit]))
    return page.of(rows, lambda r: (r.id,), ConsentView.model_validate)


@router.post("/consents/{id}/withdraw", tags=["consents"], response_model=ConsentChanged)
async def withdraw(request: Request, id: str, if_match: IfMatch) -> Response:
    """Withdraw my consent to the use of health data: notifications about them stop."""
    body = consent.ConsentCommand(consent_id=id)
    return await _done(request, consent.CONSENT_WITHDRAW, body, id, if_match)


@router.post("/consents/{id}/give", tags=["consents"], response_model=ConsentChanged)
async def give(request: Request, id: str, if_match: IfMatch) -> Response:
    """Give a consent again that I have withdrawn, to the text as it is today."""
    body = consent.ConsentCommand(consent_id=id)
    return await _done(request, consent.CONSENT_GIVE, body, id, if_match)


async def _done(request: Request, type: str, body: Any, id: str, if_match: int | None) -> Response:
    input = commands.command(request, type, body, subject=id, if_match=if_match)
    return commands.answer(await commands.submit(request, input))
