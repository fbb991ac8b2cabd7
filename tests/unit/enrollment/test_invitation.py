"""What may become of an invitation, from every status by every action?"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from itertools import product

import pytest
from pydantic import ValidationError

from libs.common.decision import Actor, Answer, Refusal
from libs.common.events import (
    ConsentGiven,
    ConsentScope,
    ConsentWithdrawn,
    InvitationIssued,
    LinkScope,
    MemberJoined,
    MemberLeft,
    NotificationRequested,
)
from services.enrollment.domain.consent import TRANSITIONS as CONSENT_TRANSITIONS
from services.enrollment.domain.consent import Consent, ConsentAction, ConsentCommand, ConsentStatus
from services.enrollment.domain.desk import GroupCommand, InvitationCommand, TaskCommand
from services.enrollment.domain.group import Group, GroupStatus
from services.enrollment.domain.invitation import (
    PLACE,
    SEAT,
    TRANSITIONS,
    Action,
    Invitation,
    InvitationStatus,
    hospital_of,
)
from services.enrollment.domain.joining import Accept, MembershipCommand
from services.enrollment.domain.membership import Membership, MembershipStatus
from services.enrollment.domain.programme import Match
from services.enrollment.domain.staff import StaffTask, TaskReason, TaskStatus
from tests.support.rules import Case
from tests.unit.enrollment.given import (
    KIDNEY,
    NOW,
    NURSE,
    accept,
    cancelled,
    child_discharged,
    consent_text,
    deceased,
    decline,
    discharged,
    done,
    guardian,
    hospital,
    invited,
    leave,
    linked,
    merged,
    note,
    programme,
    reissue,
    seats,
    token,
    unlinked,
)

S, A = InvitationStatus, Action

#: How a test brings an invitation (of the mother of a child) into each status.
ARRIVE: dict[InvitationStatus, Callable[[Case], object]] = {
    S.OPEN: lambda case: None,
    S.ACCEPTED: lambda case: accept(case, token(case, "mother")),
    S.DECLINED: lambda case: decline(case, token(case, "mother")),
    S.EXPIRED: lambda case: case.fire_due(NOW + timedelta(days=7)),
    S.WITHDRAWN: lambda case: (
        case.event(unlinked(at=NOW - timedelta(seconds=1))),
        case.event(linked()),
    ),
    S.LEFT: lambda case: (accept(case, token(case, "mother")), leave(case, "mother")),
}


def _expire(case: Case) -> object:
    (invitation,) = case.docs(Invitation)
    case.now = max(case.now, invitation.expires_at)
    return case.command("invitation.expire", InvitationCommand(invitation_id=invitation.id))


#: How each action is tried.
TRY: dict[Action, Callable[[Case], object]] = {
    A.ACCEPT: lambda case: accept(case, token(case, "mother")),
    A.DECLINE: lambda case: decline(case, token(case, "mother")),
    A.EXPIRE: _expire,
    A.WITHDRAW: lambda case: case.event(cancelled("d1", "kid")),
    A.LEAVE: lambda case: leave(case, "mother"),
    A.REISSUE: lambda case: reissue(case, "mother"),
}


def _child_invited() -> Case:
    case = hospital()
    case.event(child_discharged(), id="d1")
    return case


@pytest.mark.parametrize(("status", "action"), list(product(S, A)))
def test_every_pair_of_status_and_action(status: InvitationStatus, action: Action) -> None:
    case = _child_invited()
    ARRIVE[status](case)
    assert invited(case, "mother") is status
    answer = TRY[action](case)
    expected = TRANSITIONS.get((status, action), status)
    assert invited(case, "mother") is expected
    if (status, action) not in TRANSITIONS and action is not A.WITHDRAW:
        repeated = {(S.ACCEPTED, A.ACCEPT), (S.DECLINED, A.DECLINE), (S.LEFT, A.LEAVE)}
        assert isinstance(answer, Refusal) is ((status, action) not in repeated)
    held = SEAT.get(expected)
    assert seats(case, "ped-neph:1") == (held == "reserved", held == "joined")
    (membership,) = case.docs(Membership)
    assert membership.status is PLACE.get(expected, MembershipStatus.GONE)


def test_every_status_is_reached_and_only_open_and_accepted_hold_a_seat() -> None:
    assert {S.OPEN, *TRANSITIONS.values()} == set(S)
    assert set(SEAT) == set(PLACE) == {S.OPEN, S.ACCEPTED}


# -- accepting --------------------------------------------------------------------------


def test_accepting_makes_a_member_and_publishes_all_that_messaging_needs() -> None:
    case = _child_invited()
    answer = done(accept(case, token(case, "mother"), health=True))
    (joined,) = case.events(MemberJoined)
    assert (joined.person_id, joined.patient_id) == ("mother", "kid")
    assert (joined.group_id, joined.group_number) == ("ped-neph:1", 1)
    assert joined.scope == (LinkScope.FULL,)
    assert joined.verified_by == "discharge"
    assert joined.linked_at == NOW - timedelta(minutes=5)  # when the child was discharged
    assert {c.scope for c in joined.consents} == {
        ConsentScope.GROUP_RULES,
        ConsentScope.HEALTH_DATA,
    }
    assert answer.result["membership_id"] == joined.member_id
    assert seats(case, "ped-neph:1") == (0, 1)


def test_accepting_again_gives_the_same_answer_and_publishes_nothing() -> None:
    case = hospital()
    case.event(discharged())
    secret = token(case)
    first = done(accept(case, secret, health=True))
    case.take()
    again = done(accept(case, secret))
    assert again.result == first.result
    assert case.emitted == []


def test_consent_to_the_rules_is_required() -> None:
    for body in ({}, {"consent_to_rules": False}):
        with pytest.raises(ValidationError) as raised:
            Accept.model_validate({"token": "h1." + "x" * 43, **body})
        assert raised.value.errors()[0]["loc"] == ("consent_to_rules",)


def test_the_link_may_be_pasted_whole() -> None:
    link = "https://hospital.example/accept#token=h1." + "x" * 43
    assert Accept(token=link, consent_to_rules=True).token == "h1." + "x" * 43


def test_each_consent_is_kept_with_its_time_and_the_version_of_its_text() -> None:
    case = hospital()
    case.event(discharged())
    accept(case, token(case), health=True)
    assert {(c.scope, c.text_version, c.given_at) for c in case.docs(Consent)} == {
        (ConsentScope.GROUP_RULES, "r1", NOW),
        (ConsentScope.HEALTH_DATA, "h1", NOW),
    }


def test_the_newest_text_that_is_in_force_is_what_people_agree_to() -> None:
    texts = (
        consent_text("rules.default", "r1"),
        consent_text("rules.default", "r2", NOW.date()),
        consent_text("rules.default", "r3", NOW.date() + timedelta(days=1)),
        consent_text("health_data"),
    )
    case = hospital(consents=texts)
    case.event(discharged())
    accept(case, token(case))
    assert [c.text_version for c in case.docs(Consent, scope="group_rules")] == ["r2"]


def test_without_the_consent_to_health_data_one_joins_all_the_same() -> None:
    case = hospital()
    case.event(discharged())
    answer = done(accept(case, token(case)))
    assert [c["scope"] for c in answer.result["consents"]] == [ConsentScope.GROUP_RULES]
    (joined,) = case.events(MemberJoined)
    assert [c.scope for c in joined.consents] == [ConsentScope.GROUP_RULES]


def test_a_no_to_health_data_is_kept_and_published_so_that_pushes_stop() -> None:
    case = _child_invited()
    accept(case, token(case, "mother"))
    consent = _health_consent(case)
    assert (consent.status, consent.given_at) == (ConsentStatus.DECLINED, None)
    assert (consent.text_version, consent.withdrawn_at) == ("h1", NOW)
    (said,) = case.events(ConsentWithdrawn)
    assert (said.person_id, said.patient_id, said.scope) == ("mother", "kid", "health_data")
    assert said.withdrawn_at == NOW


@pytest.mark.parametrize("merged_since", [False, True])
@pytest.mark.parametrize("first", [True, False])
def test_a_no_beside_another_invitation_changes_nothing_that_was_decided_before(
    first: bool, merged_since: bool
) -> None:
    case = hospital(KIDNEY, programme("ped-other", "PED-NEPH", match=Match(icd10=("N10",))))
    case.event(child_discharged())
    accept(case, token(case, "mother"), health=first)
    if merged_since:
        case.event(merged("mother", "mother-new"))
    case.take()
    case.event(child_discharged(encounter="e2", codes=["N10"]))
    accept(case, token(case, "mother-new" if merged_since else "mother"))
    assert case.events(ConsentWithdrawn) == []
    assert _health_consent(case).status == ("given" if first else "declined")


def test_a_yes_after_a_no_holds_whichever_way_it_is_said() -> None:
    case = hospital(KIDNEY, programme("ped-other", "PED-NEPH", match=Match(icd10=("N10",))))
    case.event(child_discharged())
    accept(case, token(case, "mother"))
    case.advance(timedelta(days=1))
    case.event(child_discharged(encounter="e2", codes=["N10"]))
    accept(case, token(case, "mother"), health=True)
    (given,) = [c for c in case.events(ConsentGiven) if c.scope is ConsentScope.HEALTH_DATA]
    assert given.given_at == NOW + timedelta(days=1)
    consent = _health_consent(case)
    assert (consent.status, consent.given_at) == (ConsentStatus.GIVEN, given.given_at)


def test_a_token_that_was_never_given_is_not_found() -> None:
    case = hospital()
    assert note(accept(case, "h1." + "x" * 43)) == "not_found"


def test_another_hospitals_token_is_not_found() -> None:
    case = hospital()
    case.event(discharged())
    stolen = Accept(token=token(case), consent_to_rules=True)
    assert note(case.command("invitation.accept", stolen, hospital="h2")) == "not_found"
    assert hospital_of(token(case)) == "h1"


def test_an_invitation_past_its_time_is_closed_by_whoever_comes_too_late() -> None:
    case = hospital()
    case.event(discharged())
    case.now = NOW + timedelta(days=7)
    assert note(accept(case, token(case))) == "invitation_expired"
    assert invited(case) is S.EXPIRED
    assert seats(case) == (0, 0)


def test_a_moment_before_it_expires_it_can_be_accepted() -> None:
    case = hospital()
    case.event(discharged())
    case.now = NOW + timedelta(days=7, milliseconds=-1)
    assert note(accept(case, token(case))) == "accepted"


def test_nobody_accepts_for_one_who_has_died_meanwhile() -> None:
    case = _child_invited()
    case.event(deceased("kid"))
    assert note(accept(case, token(case, "mother"))) == "invitation_withdrawn"


# -- expiry and issuing anew ------------------------------------------------------------


def test_after_seven_days_it_expires_and_staff_see_it() -> None:
    case = hospital()
    case.event(discharged())
    case.fire_due(NOW + timedelta(days=7))
    assert invited(case) is S.EXPIRED
    (task,) = case.docs(StaffTask)
    assert (task.reason, task.person_id) == (TaskReason.INVITATION_EXPIRED, "p1")


def test_the_timer_of_an_answered_invitation_does_nothing() -> None:
    case = hospital()
    case.event(discharged())
    accept(case, token(case))
    (answer,) = case.fire_due(NOW + timedelta(days=8))
    assert note(answer) == "stale"
    assert seats(case) == (0, 1)


def test_a_new_token_voids_the_old_one_and_gives_seven_new_days() -> None:
    case = hospital()
    case.event(discharged())
    old = token(case)
    case.now = NOW + timedelta(days=6)
    reissue(case)
    assert note(accept(case, old)) == "not_found"
    (answer,) = case.fire_due(NOW + timedelta(days=8))
    assert note(answer) == "stale"
    assert note(accept(case, token(case))) == "accepted"


def test_issued_anew_it_is_told_anew_and_the_staffs_list_is_settled() -> None:
    case = hospital()
    case.event(discharged())
    case.fire_due(NOW + timedelta(days=7))
    answer = done(reissue(case))
    told = case.events(NotificationRequested)
    assert len({t.dedupe_key for t in told}) == 2
    assert [t.status for t in case.docs(StaffTask)] == [TaskStatus.DONE]
    assert "token" not in str(answer.result)
    assert case.secrets[-1] not in str(answer.result)


def test_issued_anew_into_a_full_group_it_takes_a_seat_in_the_next() -> None:
    case = hospital(group_limit=1)
    case.event(discharged("p1"))
    decline(case, token(case))
    case.event(discharged("p2"))
    done(reissue(case))
    assert [(g.id, g.reserved) for g in case.docs(Group)] == [("stroke:1", 1), ("stroke:2", 1)]
    assert case.events(InvitationIssued)[-1].group_id == "stroke:2"


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda case: case.event(cancelled("d1", "kid")), "discharge_cancelled"),
        (lambda case: case.event(deceased("kid")), "deceased"),
        (lambda case: case.event(unlinked()), "not_a_guardian"),
        (lambda case: accept(case, token(case, "mother")), "already_member"),
    ],
)
def test_it_is_not_issued_anew(spoil: Callable[[Case], Answer], reason: str) -> None:
    case = _child_invited()
    spoil(case)
    assert note(reissue(case, "mother")) == reason


def test_it_is_not_issued_anew_beside_another_one() -> None:
    case = hospital()
    case.event(discharged(encounter="e1"))
    decline(case, token(case))
    (first,) = case.docs(Invitation)
    case.event(discharged(encounter="e2"))
    again = InvitationCommand(invitation_id=first.id)
    assert note(case.command("invitation.reissue", again, actor=NURSE)) == "already_member"


def test_a_programme_that_has_ended_takes_nobody_new() -> None:
    ended = programme(group_limit=1, valid_until=NOW.date())
    case = hospital(ended)
    case.event(discharged("p1"))
    case.event(discharged("p2"))
    decline(case, token(case, "p1"))
    (p1,) = case.docs(Invitation, person_id="p1")
    case.event(discharged("p3"))
    case.advance(timedelta(days=1))
    again = InvitationCommand(invitation_id=p1.id)
    assert note(case.command("invitation.reissue", again, actor=NURSE)) == "programme_ended"


def test_staff_of_another_department_do_not_find_it() -> None:
    case = hospital()
    case.event(discharged())
    stranger = Actor("n-9", frozenset({"nurse"}), frozenset({"CARDIO"}))
    patient = Actor("p1", frozenset({"patient"}), frozenset({"NEURO"}))
    for actor in (stranger, patient):
        assert note(reissue(case, actor=actor)) == "not_found"


def test_ops_serve_the_whole_hospital() -> None:
    case = hospital()
    case.event(discharged())
    done(reissue(case, actor=Actor("o-1", frozenset({"ops"}))))


def test_a_change_made_meanwhile_stops_one_who_has_not_seen_it() -> None:
    case = hospital()
    case.event(discharged())
    (seen,) = case.docs(Invitation)
    decline(case, token(case))
    again = InvitationCommand(invitation_id=seen.id)
    answer = case.command("invitation.reissue", again, actor=NURSE, if_match=seen.version)
    assert note(answer) == "changed"


# -- leaving, consent, lists, closing ---------------------------------------------------


def test_leaving_frees_the_seat_and_is_told_to_others_once() -> None:
    case = hospital()
    case.event(discharged())
    accept(case, token(case))
    leave(case)
    leave(case)
    assert seats(case) == (0, 0)
    assert [m.reason for m in case.events(MemberLeft)] == ["left"]


def test_nobody_leaves_for_somebody_else() -> None:
    case = hospital()
    case.event(discharged())
    accept(case, token(case))
    (membership,) = case.docs(Membership)
    for actor in (Actor("p2"), NURSE, None):
        answer = case.command(
            "membership.leave", MembershipCommand(membership_id=membership.id), actor=actor
        )
        assert note(answer) == "not_found"


def _health_consent(case: Case) -> Consent:
    (consent,) = case.docs(Consent, scope="health_data")
    return consent


@pytest.mark.parametrize(("status", "action"), list(product(ConsentStatus, ConsentAction)))
def test_every_pair_of_a_consents_status_and_action(
    status: ConsentStatus, action: ConsentAction
) -> None:
    case = hospital()
    case.event(discharged())
    accept(case, token(case), health=status is not ConsentStatus.DECLINED)
    command = ConsentCommand(consent_id=_health_consent(case).id)
    if status is ConsentStatus.WITHDRAWN:
        case.command("consent.withdraw", command, actor=Actor("p1"))
    case.take()
    case.advance(timedelta(hours=1))
    done(case.command(f"consent.{action}", command, actor=Actor("p1")))
    assert _health_consent(case).status is CONSENT_TRANSITIONS.get((status, action), status)
    changed = (status, action) in CONSENT_TRANSITIONS
    told = len(case.events(ConsentGiven)) + len(case.events(ConsentWithdrawn))
    assert told == changed


def test_a_withdrawn_consent_is_published_with_its_time() -> None:
    case = _child_invited()
    accept(case, token(case, "mother"), health=True)
    case.advance(timedelta(days=3))
    command = ConsentCommand(consent_id=_health_consent(case).id)
    case.command("consent.withdraw", command, actor=Actor("mother"))
    (withdrawn,) = case.events(ConsentWithdrawn)
    assert (withdrawn.person_id, withdrawn.patient_id) == ("mother", "kid")
    assert withdrawn.withdrawn_at == NOW + timedelta(days=3)


def test_the_rules_are_left_by_leaving_the_group() -> None:
    case = hospital()
    case.event(discharged())
    accept(case, token(case))
    (rules,) = case.docs(Consent, scope="group_rules")
    command = ConsentCommand(consent_id=rules.id)
    answer = case.command("consent.withdraw", command, actor=Actor("p1"))
    assert note(answer) == "leave_the_group"


def test_nobody_withdraws_somebody_elses_consent() -> None:
    case = hospital()
    case.event(discharged())
    accept(case, token(case), health=True)
    command = ConsentCommand(consent_id=_health_consent(case).id)
    assert note(case.command("consent.withdraw", command, actor=Actor("p2"))) == "not_found"


def test_a_task_is_ticked_off_by_staff_of_its_department_only() -> None:
    case = hospital()
    case.event(discharged(codes=["J18"]))
    (task,) = case.docs(StaffTask)
    command = TaskCommand(task_id=task.id)
    stranger = Actor("n-9", frozenset({"nurse"}), frozenset({"CARDIO"}))
    assert note(case.command("staff_task.close", command, actor=stranger)) == "not_found"
    done(case.command("staff_task.close", command, actor=NURSE))
    (task,) = case.docs(StaffTask)
    assert (task.status, task.done_by) == (TaskStatus.DONE, "n-4001")


def test_a_closed_group_lets_its_members_go_and_takes_nobody() -> None:
    case = hospital()
    for patient in ("p1", "p2"):
        case.event(discharged(patient))
    accept(case, token(case, "p1"))
    done(case.command("group.close", GroupCommand(group_id="stroke:1"), actor=NURSE))
    (group,) = case.docs(Group)
    assert (group.status, group.reserved, group.joined) == (GroupStatus.CLOSED, 0, 0)
    assert [m.reason for m in case.events(MemberLeft)] == ["group_closed"]
    case.event(discharged("p3"))
    assert case.events(InvitationIssued)[-1].group_id == "stroke:2"


def test_a_guardian_named_by_nobody_else_may_act_for_the_group_only() -> None:
    case = hospital(KIDNEY)
    case.event(linked(scope=(LinkScope.GROUP,)))
    case.event(child_discharged(guardians=[guardian()]))
    accept(case, token(case, "mother"))
    assert case.events(MemberJoined)[0].scope == (LinkScope.GROUP,)
