"""On whose accounts is a person a member, and who is told?

A mother of two patients has one seat in a programme. What her joining proves for the
first child, it proves for the second as well, so ``member.joined`` is published for each
child: for those who came while she was only invited, when she joins.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from libs.common.events import Consent, LinkScope, MemberJoined, MemberLeft, MemberRole
from services.enrollment.domain.draft import Draft
from services.enrollment.domain.group import Group
from services.enrollment.domain.invitation import Invitation
from services.enrollment.domain.link import Link
from services.enrollment.domain.membership import (
    Account,
    Membership,
    MembershipStatus,
    place_of,
)
from services.enrollment.domain.patient import link_to, same_person
from services.enrollment.domain.reasons import LeftBecause


def tell_joined(
    draft: Draft, membership: Membership, invitation: Invitation, consents: Iterable[Consent]
) -> None:
    """Publish that ``invitation`` made a member, on every account."""
    link = link_to(draft, invitation.patient_id, invitation.person_id)
    draft.emit(
        MemberJoined(
            **_about(membership),
            **_proof(link),
            group_number=invitation.group_number,
            invitation_id=invitation.id,
            relationship=invitation.relationship,
            language=invitation.language,
            consents=tuple(consents),
            joined_at=draft.now,
        ),
        membership,
    )
    for account in membership.also:
        _tell_also(draft, membership, account)


def tell_left(draft: Draft, membership: Membership, reason: LeftBecause) -> None:
    on = [_about(membership), *(_on(membership, a) for a in membership.also)]
    for about in on:
        draft.emit(MemberLeft(**about, left_at=draft.now, reason=reason), membership)


def also_for(draft: Draft, patient: str, link: Link, programme_id: str) -> None:
    """Whoever ``link`` names has a place by another patient; it counts for this one, too."""
    same = same_person(draft, patient)
    for id in same_person(draft, link.person_id):
        place = place_of(draft, id, programme_id)
        if place is None or place.status is MembershipStatus.GONE:
            continue
        if not {place.patient_id, *(a.patient_id for a in place.also)}.isdisjoint(same):
            continue
        account = Account(patient_id=same[0], link=link)
        place = draft.put(place.but(also=(*place.also, account)))
        if place.status is MembershipStatus.JOINED:
            _tell_also(draft, place, account)


def _tell_also(draft: Draft, membership: Membership, account: Account) -> None:
    draft.emit(
        MemberJoined(
            **_on(membership, account),
            **_proof(account.link),
            group_number=draft.the(Group, membership.group_id).number,
            relationship=account.link.relationship,
            language=account.link.language,
            joined_at=draft.now,
        ),
        membership,
    )


def _proof(link: Link | None) -> dict[str, Any]:
    """Without a link the invitation itself proves that somebody may be in the group."""
    if link is None:
        return {"scope": (LinkScope.GROUP,), "verified_by": "invitation"}
    return {
        "scope": link.scope,
        "verified_by": link.verified_by,
        "valid_until": link.valid_until,
        "linked_at": link.since,
    }


def _on(membership: Membership, account: Account) -> dict[str, Any]:
    own = {"patient_id": account.patient_id, "role": MemberRole.GUARDIAN}
    return {**_about(membership), **own}


def _about(membership: Membership) -> dict[str, Any]:
    return {
        "member_id": membership.id,
        "patient_id": membership.patient_id,
        "person_id": membership.person_id,
        "role": membership.role,
        "group_id": membership.group_id,
        "programme_id": membership.programme_id,
    }
