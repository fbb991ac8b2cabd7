"""Who is invited when a patient leaves hospital?"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from libs.common.events import (
    Disposition,
    EncounterDischarged,
    GroupOpened,
    GuardianLinked,
    InvitationIssued,
    InvitationWithdrawn,
    LinkScope,
    MemberRole,
    NotificationCancelled,
    NotificationRequested,
)
from services.enrollment.domain.encounter import Encounter, Fate
from services.enrollment.domain.group import Group
from services.enrollment.domain.invitation import Invitation, InvitationStatus, hash_of
from services.enrollment.domain.patient import Patient
from services.enrollment.domain.staff import StaffTask, TaskReason, TaskStatus
from tests.unit.enrollment.given import (
    NOW,
    accept,
    cancelled,
    child_discharged,
    deceased,
    decline,
    discharged,
    guardian,
    hospital,
    invited,
    leave,
    linked,
    merged,
    note,
    programme,
    seats,
    token,
    unlinked,
)


def test_an_adult_is_invited_to_the_group_of_the_disease() -> None:
    case = hospital()
    case.event(discharged(), id="d1")
    (issued,) = case.events(InvitationIssued)
    assert (issued.person_id, issued.role, issued.group_id) == (
        "p1",
        MemberRole.PATIENT,
        "stroke:1",
    )
    assert issued.discharge_event_id == "d1"
    assert issued.expires_at == NOW + timedelta(days=7)
    (opened,) = case.events(GroupOpened)
    assert [s.practitioner_id for s in opened.staff] == ["d-3001", "n-4001"]
    assert seats(case) == (1, 0)


def test_the_link_travels_only_in_the_notification_and_only_its_hash_is_stored() -> None:
    case = hospital()
    case.event(discharged())
    (asked,) = case.events(NotificationRequested)
    assert asked.link == f"https://hospital.example/accept#token=h1.{case.secrets[0]}"
    (invitation,) = case.docs(Invitation)
    assert invitation.token_hash == hash_of(f"h1.{case.secrets[0]}")
    assert case.secrets[0] not in invitation.model_dump_json()
    others = [e.data for e in case.emitted if not isinstance(e.data, NotificationRequested)]
    assert not [e for e in others if case.secrets[0] in e.model_dump_json()]


def test_a_childs_guardians_are_invited_and_the_child_is_not() -> None:
    case = hospital()
    case.event(child_discharged(guardians=[guardian("mother"), guardian("father")]))
    issued = case.events(InvitationIssued)
    assert {(i.person_id, i.patient_id, i.role) for i in issued} == {
        ("mother", "kid", MemberRole.GUARDIAN),
        ("father", "kid", MemberRole.GUARDIAN),
    }
    assert seats(case, "ped-neph:1") == (2, 0)


@pytest.mark.parametrize(
    ("discharge", "whom"),
    [
        # In Shanghai the birthday begins at 16:00 UTC on the day before.
        (datetime(2026, 11, 8, 15, 59, 59, tzinfo=UTC), ["mother"]),
        (datetime(2026, 11, 8, 16, 0, tzinfo=UTC), ["p1"]),
        (datetime(2026, 11, 8, 18, 0, tzinfo=UTC), ["p1"]),
    ],
)
def test_age_counts_by_the_calendar_at_the_hospital(discharge: datetime, whom: list[str]) -> None:
    case = hospital()
    case.event(discharged(born=date(2008, 11, 9), at=discharge, guardians=[guardian()]))
    assert [i.person_id for i in case.events(InvitationIssued)] == whom


def test_the_age_of_an_adult_is_the_one_of_the_day_of_the_discharge() -> None:
    case = hospital(adult_age=lambda day: 16 if day == date(2026, 11, 18) else 30)
    case.event(discharged(born=date(2010, 1, 1), guardians=[guardian()]))
    assert [i.person_id for i in case.events(InvitationIssued)] == ["p1"]


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (discharged(disposition=Disposition.DECEASED), "deceased"),
        (discharged(deceased=True), "deceased"),
        (discharged(disposition=Disposition.TRANSFERRED), "transferred"),
        (discharged(at=NOW - timedelta(days=30, milliseconds=1)), "backfill"),
        (discharged(at=datetime(1850, 2, 3, tzinfo=UTC)), "backfill"),
        (discharged(at=NOW + timedelta(days=400)), "in_the_future"),
    ],
)
def test_nobody_is_told_of_some_discharges_which_are_recorded(
    event: EncounterDischarged, reason: str
) -> None:
    case = hospital()
    assert note(case.event(event)) == reason
    assert case.emitted == []
    assert case.docs(StaffTask) == []
    (encounter,) = case.docs(Encounter)
    assert encounter.discharges[0].fate == reason


def test_how_far_ahead_a_discharge_may_be_booked_is_a_setting() -> None:
    ahead = discharged(at=NOW + timedelta(hours=25))
    assert note(hospital().event(ahead)) == "in_the_future"
    assert note(hospital(discharge_ahead=timedelta(hours=25)).event(ahead)) == "invited"


def test_thirty_days_ago_to_the_millisecond_is_no_backfill() -> None:
    case = hospital()
    assert note(case.event(discharged(at=NOW - timedelta(days=30)))) == "invited"


def test_a_patient_born_in_1850_is_an_adult() -> None:
    case = hospital()
    assert note(case.event(discharged(born=date(1850, 1, 1)))) == "invited"


def test_a_patient_born_after_the_discharge_is_a_child() -> None:
    case = hospital()
    case.event(child_discharged(born=date(2031, 1, 1)))
    assert [i.person_id for i in case.events(InvitationIssued)] == ["mother"]


def test_without_a_programme_it_is_on_the_staffs_list_and_nobody_is_invited() -> None:
    case = hospital()
    assert note(case.event(discharged(codes=["J18.9"]))) == "no_programme"
    assert case.emitted == []
    (task,) = case.docs(StaffTask)
    assert (task.reason, task.department_code) == (TaskReason.NO_PROGRAMME, "NEURO")


def test_without_a_programme_the_departments_default_group_takes_the_patient() -> None:
    case = hospital(programme(), programme("neuro", default=True))
    case.event(discharged(codes=["J18.9"]))
    assert [i.group_id for i in case.events(InvitationIssued)] == ["neuro:1"]


def test_a_child_without_a_guardian_is_on_the_staffs_list() -> None:
    case = hospital()
    assert note(case.event(child_discharged(guardians=[]))) == "no_guardian"
    assert case.emitted == []
    assert [t.reason for t in case.docs(StaffTask)] == [TaskReason.NO_GUARDIAN]


def test_a_repeated_event_changes_nothing() -> None:
    case = hospital()
    case.event(discharged(), id="d1")
    before = len(case.emitted)
    case.event(discharged(), id="d1")
    assert len(case.emitted) == before
    assert seats(case) == (1, 0)


def test_one_who_is_invited_or_a_member_already_is_not_invited_again() -> None:
    case = hospital()
    case.event(discharged(encounter="e1"))
    assert note(case.event(discharged(encounter="e2"))) == "already_member"
    accept(case, token(case))
    assert note(case.event(discharged(encounter="e3"))) == "already_member"
    assert len(case.events(InvitationIssued)) == 1


def test_a_mother_of_two_patients_has_one_seat() -> None:
    case = hospital()
    case.event(child_discharged("kid"))
    assert note(case.event(child_discharged("twin"))) == "already_member"
    assert seats(case, "ped-neph:1") == (1, 0)


def test_one_who_left_is_invited_by_the_next_stay() -> None:
    case = hospital()
    case.event(discharged(encounter="e1"))
    accept(case, token(case))
    leave(case)
    assert note(case.event(discharged(encounter="e2"))) == "invited"
    assert seats(case) == (1, 0)


def test_the_same_stay_discharged_again_under_another_id_invites_nobody_who_declined() -> None:
    case = hospital()
    case.event(discharged(), id="d1")
    decline(case, token(case))
    assert note(case.event(discharged(), id="d2")) == "repeated_discharge"
    assert invited(case) is InvitationStatus.DECLINED


# -- cancelled --------------------------------------------------------------------------


def test_a_cancelled_discharge_takes_the_invitation_back_and_frees_the_seat() -> None:
    case = hospital()
    case.event(discharged(), id="d1")
    case.event(cancelled("d1"))
    assert invited(case) is InvitationStatus.WITHDRAWN
    assert seats(case) == (0, 0)
    assert [w.reason for w in case.events(InvitationWithdrawn)] == ["discharge_cancelled"]
    (asked,) = case.events(NotificationRequested)
    assert [c.notification_id for c in case.events(NotificationCancelled)] == [
        asked.notification_id
    ]


def test_a_discharge_that_was_cancelled_before_it_came_invites_nobody() -> None:
    case = hospital()
    assert note(case.event(cancelled("d1"))) == "cancelled_before_it_came"
    assert note(case.event(discharged(), id="d1")) == "discharge_cancelled"
    assert case.docs(Invitation) == []


def test_another_system_may_cancel_a_discharge() -> None:
    case = hospital()
    case.event(discharged(), id="d1")
    assert note(case.event(cancelled("d1"), source="/other")) == "cancelled"
    assert invited(case) is InvitationStatus.WITHDRAWN
    assert seats(case) == (0, 0)
    assert note(case.event(cancelled("d1"), source="/other")) == "stale"


def test_another_system_may_cancel_a_discharge_before_it_comes() -> None:
    case = hospital()
    case.event(cancelled("d1"), source="/other")
    assert note(case.event(discharged(), id="d1")) == "discharge_cancelled"
    assert case.docs(Invitation) == []


def test_staff_decide_what_a_cancellation_of_an_unknown_discharge_means() -> None:
    case = hospital()
    case.event(discharged(), id="d1")
    case.event(cancelled("d-unknown"), source="/other")
    assert invited(case) is InvitationStatus.OPEN
    (task,) = case.docs(StaffTask)
    assert (task.reason, task.status, task.department_code, task.encounter_id) == (
        TaskReason.UNKNOWN_DISCHARGE_CANCELLED,
        TaskStatus.OPEN,
        "NEURO",
        "e-p1",
    )
    # It was only early: the discharge that it names comes after all.
    assert note(case.event(discharged(), id="d-unknown")) == "discharge_cancelled"
    assert [t.status for t in case.docs(StaffTask)] == [TaskStatus.DONE]
    assert invited(case) is InvitationStatus.OPEN


def test_a_later_discharge_of_the_same_stay_invites_again() -> None:
    case = hospital()
    case.event(discharged(), id="d1")
    case.event(cancelled("d1"))
    assert note(case.event(discharged(), id="d2")) == "invited"
    assert seats(case) == (1, 0)


def test_a_discharge_that_stands_invites_when_the_one_it_repeats_is_cancelled_late() -> None:
    case = hospital()
    case.event(discharged(), id="d1")
    case.event(discharged(), id="d2")
    case.event(cancelled("d1"))
    open_ones = case.docs(Invitation, status="open")
    assert [i.discharge_event_id for i in open_ones] == ["d2"]
    assert seats(case) == (1, 0)


def test_a_discharge_that_has_become_backfill_meanwhile_does_not_stand_in() -> None:
    case = hospital()
    case.event(discharged(), id="d1")
    case.event(discharged(), id="d2")
    case.advance(timedelta(days=31))
    case.event(cancelled("d1", at=case.now))
    assert case.docs(Invitation, status="open") == []


def test_another_stay_stands_in_for_a_cancelled_one() -> None:
    case = hospital()
    case.event(discharged(encounter="e1"), id="d1")
    case.event(discharged(encounter="e2"), id="d2")
    case.event(cancelled("d1", encounter="e1"))
    assert [i.encounter_id for i in case.docs(Invitation, status="open")] == ["e2"]


def test_how_long_staff_are_told_of_what_happened_is_a_setting() -> None:
    case = hospital(tell_staff_within=timedelta(days=2))
    case.event(discharged(), id="d1")
    accept(case, token(case))
    case.take()
    case.event(cancelled("d1"))
    told = case.events(NotificationRequested)
    assert {t.expires_at for t in told} == {NOW + timedelta(days=2)}


def test_who_has_joined_stays_when_the_discharge_is_cancelled_and_staff_are_told() -> None:
    case = hospital()
    case.event(discharged(), id="d1")
    accept(case, token(case))
    case.take()
    case.event(cancelled("d1"))
    assert invited(case) is InvitationStatus.ACCEPTED
    assert seats(case) == (0, 1)
    assert [t.reason for t in case.docs(StaffTask)] == [TaskReason.CANCELLED_AFTER_JOINING]
    told = case.events(NotificationRequested)
    assert {t.recipient_id for t in told} == {"d-3001", "n-4001"}
    assert {t.template for t in told} == {"staff.discharge_cancelled"}


def test_no_notification_names_the_group_which_names_the_disease() -> None:
    case = hospital()
    case.event(discharged(), id="d1")
    accept(case, token(case))
    case.event(cancelled("d1"))
    told = case.events(NotificationRequested)
    assert [t.parameters for t in told] == [{}, {}, {}]


def test_a_cancellation_settles_what_was_on_the_staffs_list() -> None:
    case = hospital()
    case.event(child_discharged(guardians=[]), id="d1")
    case.event(cancelled("d1", "kid"))
    assert [t.status for t in case.docs(StaffTask)] == [TaskStatus.DONE]


def test_the_same_cancellation_under_another_id_is_stale() -> None:
    case = hospital()
    case.event(discharged(), id="d1")
    case.event(cancelled("d1"))
    assert note(case.event(cancelled("d1"))) == "stale"


def test_a_discharge_under_the_wrong_patient_is_put_right() -> None:
    case = hospital()
    case.event(discharged("wrong", "e1"), id="d1")
    case.event(cancelled("d1", "wrong", "e1"))
    case.event(discharged("right", "e1"), id="d2")
    assert [i.person_id for i in case.docs(Invitation, status="open")] == ["right"]


# -- guardians, in any order ------------------------------------------------------------


def test_a_guardian_linked_after_the_discharge_is_invited_and_the_list_is_settled() -> None:
    case = hospital()
    case.event(child_discharged(guardians=[]))
    case.event(linked())
    assert [i.person_id for i in case.events(InvitationIssued)] == ["mother"]
    assert [i.language for i in case.events(InvitationIssued)] == ["en"]
    assert [t.status for t in case.docs(StaffTask)] == [TaskStatus.DONE]
    (encounter,) = case.docs(Encounter)
    assert encounter.discharges[0].fate is Fate.INVITED


def test_a_guardian_linked_before_the_discharge_is_invited() -> None:
    case = hospital()
    case.event(linked())
    case.event(child_discharged(guardians=[]))
    assert [i.person_id for i in case.events(InvitationIssued)] == ["mother"]


def test_a_second_guardian_linked_later_is_invited_too() -> None:
    case = hospital()
    case.event(child_discharged())
    case.event(linked("father"))
    assert [i.person_id for i in case.events(InvitationIssued)] == ["mother", "father"]


def test_a_guardian_who_declined_is_not_invited_by_being_linked_again() -> None:
    case = hospital()
    case.event(child_discharged())
    decline(case, token(case, "mother"))
    case.event(linked())
    assert len(case.events(InvitationIssued)) == 1


def test_an_adults_relatives_are_not_invited() -> None:
    case = hospital()
    case.event(linked("daughter", "p1"))
    case.event(discharged(guardians=[guardian("daughter")]))
    case.event(linked("son", "p1"))
    assert [i.person_id for i in case.events(InvitationIssued)] == ["p1"]


@pytest.mark.parametrize(
    "link",
    [
        linked(scope=(LinkScope.RECORDS,)),
        linked(valid_until=NOW - timedelta(days=1), at=NOW - timedelta(days=300)),
    ],
)
def test_a_link_that_does_not_reach_this_far_invites_nobody(link: GuardianLinked) -> None:
    case = hospital()
    case.event(link)
    assert note(case.event(child_discharged(guardians=[]))) == "no_guardian"


def test_a_link_that_ended_before_the_discharge_named_the_person_holds_no_more() -> None:
    case = hospital()
    case.event(unlinked(at=NOW - timedelta(days=50)))
    case.event(child_discharged())
    assert [i.person_id for i in case.events(InvitationIssued)] == ["mother"]


def test_a_link_that_ended_after_the_discharge_keeps_the_person_out() -> None:
    case = hospital()
    case.event(unlinked(at=NOW - timedelta(minutes=1)))
    assert note(case.event(child_discharged())) == "no_guardian"


def test_an_unlinked_guardians_invitation_is_taken_back() -> None:
    case = hospital()
    case.event(child_discharged())
    case.event(unlinked())
    assert invited(case, "mother") is InvitationStatus.WITHDRAWN
    assert seats(case, "ped-neph:1") == (0, 0)
    assert [t.reason for t in case.docs(StaffTask)] == [TaskReason.GUARDIAN_UNLINKED]


def test_an_unlinked_guardian_who_has_joined_is_on_the_staffs_list() -> None:
    case = hospital()
    case.event(child_discharged())
    accept(case, token(case, "mother"))
    case.event(unlinked())
    assert invited(case, "mother") is InvitationStatus.ACCEPTED
    assert [t.reason for t in case.docs(StaffTask)] == [TaskReason.GUARDIAN_UNLINKED]


def test_an_older_link_arriving_late_does_not_undo_a_newer_end() -> None:
    case = hospital()
    case.event(unlinked(at=NOW))
    assert note(case.event(linked(at=NOW - timedelta(days=1)))) == "stale"
    assert note(case.event(child_discharged(guardians=[]))) == "no_guardian"


# -- death and merges -------------------------------------------------------------------


def test_open_invitations_of_a_patient_who_died_are_taken_back() -> None:
    case = hospital()
    case.event(child_discharged(guardians=[guardian("mother"), guardian("father")]))
    case.event(deceased("kid"))
    assert {i.status for i in case.docs(Invitation)} == {InvitationStatus.WITHDRAWN}
    assert seats(case, "ped-neph:1") == (0, 0)


def test_a_death_in_a_later_stay_takes_the_open_invitation_back() -> None:
    case = hospital()
    case.event(discharged(encounter="e1"))
    link = token(case)
    assert note(case.event(discharged(encounter="e2", disposition=Disposition.DECEASED))) == (
        "deceased"
    )
    assert invited(case) is InvitationStatus.WITHDRAWN
    assert seats(case) == (0, 0)
    assert note(accept(case, link)) == "invitation_withdrawn"
    (patient,) = case.docs(Patient)
    assert patient.deceased_at == NOW - timedelta(minutes=5)


def test_a_guardian_linked_after_a_childs_death_in_hospital_is_not_invited() -> None:
    case = hospital()
    case.event(child_discharged(encounter="e1", guardians=[]))
    died = child_discharged(encounter="e2", guardians=[], disposition=Disposition.DECEASED)
    case.event(died)
    case.event(linked())
    assert case.docs(Invitation) == []
    assert [t.status for t in case.docs(StaffTask)] == [TaskStatus.DONE]


def test_a_death_in_hospital_is_understood_after_any_merges() -> None:
    case = hospital()
    case.event(linked("mum-old", "kid-old"))
    case.event(child_discharged("kid-old", "e1", guardians=[]))
    case.event(merged("kid-old", "kid-new"))
    case.event(merged("mum-old", "mum-new"))
    died = child_discharged("kid-old", "e2", disposition=Disposition.DECEASED)
    assert note(case.event(died)) == "deceased"
    assert invited(case, "mum-old") is InvitationStatus.WITHDRAWN
    assert note(case.event(child_discharged("kid-new", "e3"))) == "deceased"


def test_a_death_that_was_a_slip_of_the_pen_is_taken_back_with_its_discharge() -> None:
    for confirmed, then in (False, "invited"), (True, "deceased"):
        case = hospital()
        case.event(discharged(encounter="e1", disposition=Disposition.DECEASED), id="d1")
        if confirmed:
            case.event(deceased())
        case.event(cancelled("d1", encounter="e1"))
        assert note(case.event(discharged(encounter="e2"))) == then


def test_a_death_holds_as_long_as_one_discharge_says_so() -> None:
    case = hospital()
    for encounter, id in (("e1", "d1"), ("e2", "d2")):
        died = discharged(encounter=encounter, disposition=Disposition.DECEASED)
        case.event(died, id=id)
    case.event(cancelled("d1", encounter="e1"))
    assert note(case.event(discharged(encounter="e3"))) == "deceased"
    case.event(merged("p1", "p2"))
    case.event(cancelled("d2", encounter="e2"))
    assert note(case.event(discharged(encounter="e4"))) == "invited"


def test_a_patient_known_to_be_dead_is_not_invited() -> None:
    case = hospital()
    case.event(deceased())
    assert note(case.event(discharged())) == "deceased"


def test_a_dead_guardian_is_not_invited() -> None:
    case = hospital()
    case.event(deceased("mother"))
    assert note(case.event(child_discharged())) == "no_guardian"


def test_a_member_who_died_leaves_but_a_dead_childs_parents_are_for_staff_to_talk_to() -> None:
    case = hospital()
    case.event(discharged())
    accept(case, token(case))
    case.event(deceased())
    assert seats(case) == (0, 0)
    case.event(child_discharged())
    accept(case, token(case, "mother"))
    case.event(deceased("kid"))
    assert seats(case, "ped-neph:1") == (0, 1)
    assert [t.reason for t in case.docs(StaffTask)] == [TaskReason.PATIENT_DECEASED]


def test_a_merged_patient_is_one_person_with_one_invitation() -> None:
    case = hospital()
    case.event(discharged("old", "e1"))
    case.event(merged("old", "new"))
    assert note(case.event(discharged("new", "e2"))) == "already_member"
    assert note(case.event(discharged("old", "e3"))) == "already_member"


def test_a_discharge_under_an_alias_invites_the_surviving_person() -> None:
    case = hospital()
    case.event(merged("old", "new"))
    case.event(discharged("old"))
    assert [(i.person_id, i.patient_id) for i in case.events(InvitationIssued)] == [("new", "new")]


def test_two_invitations_of_one_person_become_one_when_the_records_are_merged() -> None:
    case = hospital()
    case.event(discharged("old"))
    case.event(discharged("new"))
    accept(case, token(case, "old"))
    case.event(merged("old", "new"))
    assert invited(case, "old") is InvitationStatus.ACCEPTED
    assert invited(case, "new") is InvitationStatus.WITHDRAWN
    assert seats(case) == (0, 1)


def test_a_chain_of_merges_in_any_order_names_one_person() -> None:
    for order in (("a", "b"), ("b", "c")), (("b", "c"), ("a", "b")):
        case = hospital()
        for gone, survivor in order:
            case.event(merged(gone, survivor))
        case.event(discharged("a", "e1"))
        assert [i.person_id for i in case.events(InvitationIssued)] == ["c"]
        assert note(case.event(discharged("b", "e2"))) == "already_member"


def test_the_guardian_of_a_merged_child_is_found_under_every_id() -> None:
    case = hospital()
    case.event(linked("mum-old", "kid-old"))
    case.event(merged("mum-old", "mum-new"))
    case.event(merged("kid-old", "kid-new"))
    case.event(merged("kid-third", "kid-new"))
    case.event(child_discharged("kid-third", guardians=[]))
    assert [(i.person_id, i.patient_id) for i in case.events(InvitationIssued)] == [
        ("mum-new", "kid-new")
    ]


def test_a_merge_that_brings_a_guardian_invites_them() -> None:
    case = hospital()
    case.event(linked("mother", "kid-old"))
    case.event(child_discharged("kid-new", guardians=[]))
    case.event(merged("kid-old", "kid-new"))
    assert [i.person_id for i in case.events(InvitationIssued)] == ["mother"]


def test_a_merge_into_one_who_died_takes_the_invitation_back() -> None:
    case = hospital()
    case.event(discharged("old"))
    case.event(deceased("new"))
    case.event(merged("old", "new"))
    assert invited(case, "old") is InvitationStatus.WITHDRAWN


# -- seats ------------------------------------------------------------------------------


def test_the_next_group_opens_when_one_is_full_even_within_one_batch() -> None:
    case = hospital(group_limit=2)
    case.batch([case.event_input(discharged(f"p{n}")) for n in range(5)])
    groups = case.docs(Group)
    assert [(g.id, g.reserved) for g in groups] == [
        ("stroke:1", 2),
        ("stroke:2", 2),
        ("stroke:3", 1),
    ]


def test_a_freed_seat_is_taken_before_another_group_is_opened() -> None:
    case = hospital(group_limit=1)
    case.event(discharged("p1"))
    case.event(discharged("p2"))
    decline(case, token(case, "p1"))
    case.event(discharged("p3"))
    assert [(g.id, g.reserved) for g in case.docs(Group)] == [("stroke:1", 1), ("stroke:2", 1)]


def test_both_parents_sit_in_one_group_where_there_is_room() -> None:
    case = hospital(group_limit=3)
    case.event(child_discharged("k1", guardians=[guardian("m1"), guardian("f1")]))
    case.event(child_discharged("k2", guardians=[guardian("m2"), guardian("f2")]))
    by_person = {i.person_id: i.group_id for i in case.events(InvitationIssued)}
    assert by_person["m2"] == by_person["f2"] == "ped-neph:2"


def test_a_family_larger_than_a_group_is_seated_all_the_same() -> None:
    case = hospital(group_limit=1)
    case.event(child_discharged(guardians=[guardian("m"), guardian("f"), guardian("g")]))
    assert [(g.reserved, g.limit) for g in case.docs(Group)] == [(1, 1)] * 3
