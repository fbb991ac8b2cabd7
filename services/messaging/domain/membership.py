"""How does a group come to be, and how do people come and go?

``group.opened`` and ``member.joined`` have no order. The opening posts the rules and the
education sheets once, pinned, for all who ever join; each new member gets a welcome of
their own, which says that this is no emergency service. Whoever joined before the opening
was known is welcomed with it, and staff are told of what was asked until then. All of
these messages have ids that follow from the group and the member, so nothing is posted
twice.

Who left or moved loses the group at once; what they wrote stays. Doctor and nurse of the
programme are members from the opening and keep the group.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

from libs.common.decision import (
    Answer,
    Common,
    Decision,
    Document,
    Emit,
    Env,
    Input,
    Need,
    Refusal,
    State,
    by_id,
)
from libs.common.events import (
    AuthorRole,
    GroupClosed,
    GroupOpened,
    MemberJoined,
    MemberLeft,
    MemberMoved,
)
from services.messaging.domain.group import SPEAKS_AS, STAFF_ROLES, Group, Member
from services.messaging.domain.message import (
    Message,
    Posting,
    QuestionStatus,
    sheet_message_id,
    welcome_id,
)
from services.messaging.domain.policy import Policy
from services.messaging.domain.talking import tell_staff

#: A sheet that programmes name and the policies lack: the group works without it.
SHEET_MISSING = "sheet_missing"


def needs_opened(input: Input, state: State) -> Iterator[Need]:
    event: GroupOpened = input.data
    yield from by_id(Group, event.group_id)
    for s in event.staff:
        yield Need(Member, "id", Member.id_of_staff(event.group_id, s.practitioner_id))
    for key in (event.rules_sheet, *event.education_sheets):
        yield Need(Message, "id", sheet_message_id(input.hospital, event.group_id, key))
    yield Need(Member, "group_id", event.group_id)
    for member in state.where(Member, "group_id", event.group_id):
        yield Need(Message, "id", welcome_id(input.hospital, event.group_id, member.id))
    known = state.get(Group, event.group_id)
    if known is None or known.opened_at is None:
        yield Need(Message, "group_id", event.group_id)  # few: what was said before the opening


def decide_opened(input: Input, state: State, env: Env) -> Answer:
    event: GroupOpened = input.data
    policy: Policy = env.policy
    known = state.get(Group, event.group_id)
    if known is not None and known.opened_at is not None:
        return Refusal(Common.STALE)
    group: Group = (known or _unopened(input, event.group_id, event.programme_id)).but(
        name=event.name,
        department_code=event.department_code,
        staff=event.staff,
        welcome_sheet=event.welcome_sheet,
        opened_at=event.opened_at,
    )
    posting = Posting(group, env.now)
    missing = False
    for key in dict.fromkeys((event.rules_sheet, *event.education_sheets)):
        sheet = policy.sheet(key, env.now)
        if sheet is None:
            missing = True
        else:
            posting.sheet(sheet_message_id(input.hospital, group.id, key), sheet)
    posting.group = posting.group.but(pinned=tuple(m.id for m in posting.messages))
    present = [m for m in state.where(Member, "group_id", group.id) if m.active]
    missing |= not _welcome(posting, present, state, env)
    told = [e for q in _unanswered(known, state) for e in tell_staff(q, posting.group, env)]
    return _posted(posting, _staff(event, input.hospital), missing, "opened", told)


def _unanswered(known: Group | None, state: State) -> list[Message]:
    """What was asked before the group's staff were known."""
    if known is None:
        return []
    said = state.where(Message, "group_id", known.id)
    asked = [m for m in said if m.question is QuestionStatus.UNANSWERED]
    return sorted(asked, key=lambda m: m.number)


def _staff(event: GroupOpened, hospital: str) -> list[Member]:
    return [
        Member(
            id=Member.id_of_staff(event.group_id, s.practitioner_id),
            hospital=hospital,
            group_id=event.group_id,
            person_id=s.practitioner_id,
            role=AuthorRole(s.role.value),
            active=True,
            as_of=event.opened_at,
        )
        for s in event.staff
    ]


def needs_closed(input: Input, _state: State) -> Iterable[Need]:
    event: GroupClosed = input.data
    return by_id(Group, event.group_id)


def decide_closed(input: Input, state: State, _env: Env) -> Answer:
    """Nobody writes any more; what was said can still be read by who is in it."""
    event: GroupClosed = input.data
    group = state.get(Group, event.group_id) or _unopened(input, event.group_id, event.programme_id)
    return Decision(changes=(group.but(closed_at=event.closed_at),), note="closed")


def needs_placed(input: Input, _state: State) -> Iterator[Need]:
    event: MemberJoined | MemberMoved | MemberLeft = input.data
    yield from by_id(Member, event.member_id)
    yield from by_id(Group, event.group_id)
    yield Need(Message, "id", welcome_id(input.hospital, event.group_id, event.member_id))


def decide_joined(input: Input, state: State, env: Env) -> Answer:
    event: MemberJoined = input.data
    known = state.get(Member, event.member_id)
    if known is not None and event.joined_at <= known.as_of:
        return Refusal(Common.STALE)
    if known is not None and known.active and event.invitation_id is None:
        # On account of one more patient: the place is taken already, and stays as it is.
        return Decision(changes=(known.but(as_of=event.joined_at),), note="joined_before")
    member = _placed(input, event.joined_at, active=True).but(relationship=event.relationship)
    return _into_group(input, member, state, env, "joined")


def decide_moved(input: Input, state: State, env: Env) -> Answer:
    event: MemberMoved = input.data
    known = state.get(Member, event.member_id)
    if known is not None and event.moved_at <= known.as_of:
        return Refusal(Common.STALE)
    member = _placed(input, event.moved_at, active=True)
    if known is not None:
        member = member.but(relationship=known.relationship)
    return _into_group(input, member, state, env, "moved")


def decide_left(input: Input, state: State, _env: Env) -> Answer:
    event: MemberLeft = input.data
    known = state.get(Member, event.member_id)
    # At the same moment leaving wins over joining, whichever comes first.
    if known is not None and event.left_at < known.as_of:
        return Refusal(Common.STALE)
    member = _placed(input, event.left_at, active=False)
    if known is not None:
        member = member.but(relationship=known.relationship)
    return Decision(changes=(member,), note="left")


def _placed(input: Input, as_of: datetime, *, active: bool) -> Member:
    event: MemberJoined | MemberMoved | MemberLeft = input.data
    return Member(
        id=event.member_id,
        hospital=input.hospital,
        group_id=event.group_id,
        person_id=event.person_id,
        role=SPEAKS_AS[event.role],
        active=active,
        as_of=as_of,
        patient_id=event.patient_id,
    )


def _into_group(input: Input, member: Member, state: State, env: Env, note: str) -> Decision:
    group = state.get(Group, member.group_id)
    if group is None:
        group = _unopened(input, member.group_id, input.data.programme_id)
        return Decision(changes=(group, member), note=note)
    posting = Posting(group, env.now)
    missing = group.opened_at is not None and not _welcome(posting, [member], state, env)
    return _posted(posting, [member], missing, note)


def _welcome(posting: Posting, members: Iterable[Member], state: State, env: Env) -> bool:
    """Welcome each of the patients' side once; False if there is no text for it."""
    policy: Policy = env.policy
    group = posting.group
    sheet = policy.sheet(group.welcome_sheet or "", env.now)
    if sheet is None:
        return False
    for member in members:
        id = welcome_id(group.hospital, group.id, member.id)
        if member.role not in STAFF_ROLES and state.get(Message, id) is None:
            posting.sheet(id, sheet, member.person_id)
    return True


def _posted(
    posting: Posting,
    members: Iterable[Document],
    missing: bool,
    note: str,
    told: Iterable[Emit] = (),
) -> Decision:
    return Decision(
        changes=(posting.group, *members, *posting.messages),
        events=[*posting.events, *told],
        note=SHEET_MISSING if missing else note,
    )


def _unopened(input: Input, group_id: str, programme_id: str) -> Group:
    return Group(id=group_id, hospital=input.hospital, programme_id=programme_id)
