"""Who may ask for a renewal of what, each rule at its edge."""

from __future__ import annotations

import itertools
from datetime import UTC, date, datetime, timedelta

import pytest

from libs.common.decision import Actor, Common, Decision, Refusal
from libs.common.events import (
    Event,
    LinkScope,
    MemberJoined,
    MemberLeft,
    MemberRole,
    NotificationRequested,
    RefillRefused,
    RefillRequested,
)
from services.prescriptions.domain.documents import PatientCare, Refill
from services.prescriptions.domain.reasons import Reason
from services.prescriptions.domain.transitions import Status
from services.prescriptions.handlers import HANDLERS
from tests.unit.prescriptions.given import (
    DAUGHTER,
    DAY,
    HOUR,
    NOW,
    PATIENT,
    STRANGER,
    Hospital,
    deceased,
    hospital,
    linked,
    merged,
    prescription,
    reason,
    registered,
    stopped,
    unlinked,
    visit,
)


def test_a_renewal_that_may_be_asked_for_waits_for_a_doctor() -> None:
    case = hospital()
    answer = case.ask(note="no dizziness")
    assert isinstance(answer, Decision)
    refill = case.refill(answer.result["id"])
    assert refill.status is Status.WAITING_DOCTOR
    assert (refill.number, refill.remaining) == (1, 2)
    assert refill.deadline == NOW + 48 * HOUR
    assert case.account().open == (refill.id,)
    [fact] = case.events(RefillRequested)
    assert (fact.number, fact.requested_by, fact.department_code) == (1, "p1", "cardiology")
    [step] = refill.history
    assert (step.person_id, step.role, step.from_status) == ("p1", "patient", None)
    assert step.policy == "renewal-2026-01-01"


def test_the_receipt_names_neither_the_medicine_nor_the_note() -> None:
    answer = hospital().ask(note="no dizziness")
    assert isinstance(answer, Decision)
    assert "mlodipine" not in str(answer.result)
    assert "dizziness" not in str(answer.result)


def test_the_receipts_version_is_the_one_that_is_stored() -> None:
    case = hospital()
    answer = case.ask()
    assert isinstance(answer, Decision)
    assert answer.result["version"] == case.refill(answer.result["id"]).version


@pytest.mark.parametrize(("days", "allowed"), [(0, True), (183, True), (184, False)])
def test_a_prescription_may_be_renewed_for_183_calendar_days(days: int, allowed: bool) -> None:
    case = Hospital()
    case.event(prescription(at=NOW - timedelta(days=days)))
    assert reason(case.ask()) == (None if allowed else Reason.TOO_OLD)


def test_the_183_days_are_days_of_the_hospitals_calendar() -> None:
    # 23:30 in Shanghai on day 0; 00:30 in Shanghai on day 183, then on day 184.
    issued = datetime(2026, 3, 1, 15, 30, tzinfo=UTC)
    half_past_midnight = datetime(2026, 3, 1, 16, 30, tzinfo=UTC)
    for days, zone, expected in [
        (182, "Asia/Shanghai", None),
        (183, "Asia/Shanghai", Reason.TOO_OLD),
        # The same moments lie on one day in UTC, so a day later is still the 183rd.
        (183, "UTC", None),
        (184, "UTC", Reason.TOO_OLD),
    ]:
        case = Hospital(zone=zone, now=issued)
        case.event(prescription(at=issued))
        case.now = half_past_midnight + days * DAY
        assert reason(case.ask()) == expected, (days, zone)


def test_a_prescription_of_another_hospital_is_refused() -> None:
    case = Hospital()
    case.event(prescription(authored_here=False))
    assert reason(case.ask()) == Reason.OTHER_HOSPITAL


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("C08CA01", None),
        ("c09aa02", None),  # a sender's lower case
        ("A10BA02", None),
        ("C10AA05", None),
        ("A10BJ02", Reason.NEVER_CLASS),  # kept cold
        ("A10AE04", Reason.NEVER_CLASS),
        ("N05BA12", Reason.NEVER_CLASS),
        ("N02AA01", Reason.NEVER_CLASS),
        ("J01CA04", Reason.NEVER_CLASS),
        ("R03CA02", Reason.NEVER_CLASS),
        ("V10XX03", Reason.NEVER_CLASS),
        ("J04AC01", Reason.NOT_ON_LIST),  # against tuberculosis: not forbidden, not listed
        ("N03AX14", Reason.NOT_ON_LIST),
        ("C01AA05", Reason.NOT_ON_LIST),
        ("C", Reason.NOT_ON_LIST),
    ],
)
def test_only_listed_medicines_and_never_some_classes(code: str, expected: Reason | None) -> None:
    case = Hospital()
    case.event(prescription(code=code))
    assert reason(case.ask()) == expected


def test_a_stopped_prescription_is_refused() -> None:
    case = hospital()
    case.event(stopped(NOW - DAY))
    assert reason(case.ask()) == Reason.PRESCRIPTION_STOPPED


def test_a_stop_that_is_told_before_the_prescription_still_stops_it() -> None:
    case = Hospital()
    case.event(stopped(NOW - DAY))
    case.event(prescription())
    assert reason(case.ask()) == Reason.PRESCRIPTION_STOPPED


def test_a_stop_of_tomorrow_stops_tomorrow() -> None:
    case = hospital()
    case.event(stopped(NOW + DAY))
    case.cancel(case.asked())
    case.advance(DAY)
    assert reason(case.ask()) == Reason.PRESCRIPTION_STOPPED


def test_a_second_request_for_the_ingredient_is_refused_while_one_is_open() -> None:
    case = hospital()
    case.event(prescription("rx2"))
    case.asked()
    assert reason(case.ask("rx2")) == Reason.OPEN_REQUEST


def test_another_ingredient_has_an_account_of_its_own() -> None:
    case = hospital()
    case.event(prescription("rx2", code="C10AA05", ingredient="atorvastatin"))
    case.asked()
    case.asked("rx2")


def test_nobody_asks_for_who_has_died() -> None:
    case = hospital()
    case.event(linked())
    case.event(deceased())
    assert reason(case.ask(by=DAUGHTER)) == Reason.PATIENT_DECEASED
    assert case.told() == []


# -- refusals are kept --------------------------------------------------------------------


def test_a_refusal_is_stored_published_told_and_answered_with_its_policy() -> None:
    case = Hospital()
    case.event(prescription(at=NOW - 200 * DAY))
    answer = case.ask()
    assert isinstance(answer, Refusal)
    assert answer.extra["policy"] == "renewal-2026-01-01"
    refill = case.refill(answer.extra["refill_id"])
    assert (refill.status, refill.reason) == (Status.REFUSED, Reason.TOO_OLD)
    assert refill.history[0].policy == "renewal-2026-01-01"
    [fact] = case.events(RefillRefused)
    assert (fact.reason, fact.refill_id) == ("too_old", refill.id)
    assert case.told() == [("p1", "refill.refused")]


def test_who_asks_again_is_refused_again_but_told_once_a_day() -> None:
    case = Hospital()
    case.event(prescription(at=NOW - 200 * DAY))
    case.ask()
    case.ask()
    case.advance(DAY)
    case.ask()
    keys = [n.dedupe_key for n in case.events(NotificationRequested)]
    assert keys[0] == keys[1] != keys[2]


def test_the_text_never_names_the_medicine() -> None:
    case = hospital()
    case.event(stopped(NOW + DAY))
    case.renewed()
    case.ask()
    for notification in case.events(NotificationRequested):
        assert "mlodipine" not in notification.model_dump_json()
        assert "rx1" not in notification.model_dump_json()
        assert notification.health_data


def test_a_repetition_gets_the_first_answer_and_takes_no_second_place() -> None:
    case = hospital()
    first = case.ask(id="same")
    case.cancel(case.account().open[0])
    assert case.ask(id="same") is first
    assert case.account().open == ()
    assert len(case.docs(Refill)) == 1


# -- whose it is --------------------------------------------------------------------------


def test_somebody_elses_prescription_does_not_exist() -> None:
    case = hospital()
    assert reason(case.ask(by=STRANGER)) == Common.NOT_FOUND
    assert reason(case.ask(patient="p9", by=STRANGER)) == Common.NOT_FOUND
    assert case.docs(Refill) == []


def test_an_unknown_prescription_does_not_exist_nor_one_of_which_only_the_stop_is_known() -> None:
    case = hospital()
    assert reason(case.ask("rx7")) == Common.NOT_FOUND
    case.event(stopped(NOW, "rx7"))
    assert reason(case.ask("rx7")) == Common.NOT_FOUND


def test_a_prescription_of_another_hospital_of_the_region_does_not_exist() -> None:
    case = hospital()
    assert reason(case.ask(hospital="h2")) == Common.NOT_FOUND


def test_a_linked_person_may_ask() -> None:
    case = hospital()
    assert reason(case.ask(by=DAUGHTER)) == Common.NOT_FOUND
    case.event(linked())
    refill = case.refill(case.asked(by=DAUGHTER))
    assert (refill.requested_by, refill.history[0].role) == ("p5", "guardian")
    assert case.told() == [("p5", "refill.requested")]


@pytest.mark.parametrize(
    ("scope", "may"),
    [
        ((LinkScope.FULL,), True),
        ((LinkScope.GROUP, LinkScope.REFILLS), True),
        ((LinkScope.RECORDS,), False),
        ((LinkScope.GROUP,), False),
    ],
)
def test_a_link_suffices_by_its_scope(scope: tuple[LinkScope, ...], may: bool) -> None:
    case = hospital()
    case.event(linked(scope=scope))
    assert reason(case.ask(by=DAUGHTER)) == (None if may else Common.NOT_FOUND)


def test_a_link_ends_at_its_moment() -> None:
    case = hospital()
    case.event(linked(valid_until=NOW + HOUR))
    case.now = NOW + HOUR - timedelta(milliseconds=1)
    case.cancel(case.asked(by=DAUGHTER))
    case.now = NOW + HOUR
    assert reason(case.ask(by=DAUGHTER)) == Common.NOT_FOUND


def test_an_older_link_does_not_bring_back_one_that_ended() -> None:
    case = hospital()
    case.event(unlinked(NOW - HOUR))
    assert reason(case.event(linked(linked_at=NOW - 2 * HOUR))) == Common.STALE
    assert reason(case.ask(by=DAUGHTER)) == Common.NOT_FOUND
    case.event(linked(linked_at=NOW))
    assert reason(case.ask(by=DAUGHTER)) is None


@pytest.mark.parametrize("order", [1, -1])
def test_at_the_same_moment_the_end_of_a_link_holds(order: int) -> None:
    case, at = hospital(), NOW - HOUR + timedelta(microseconds=123)
    for fact in [linked(linked_at=at), unlinked(at)][::order]:
        case.event(fact)
    assert reason(case.ask(by=DAUGHTER)) == Common.NOT_FOUND


def joined(
    at: datetime,
    scope: tuple[LinkScope, ...] = (LinkScope.FULL,),
    since: datetime | None = None,
) -> MemberJoined:
    return MemberJoined(
        member_id="m1",
        patient_id="p1",
        person_id="p5",
        role=MemberRole.GUARDIAN,
        group_id="g1",
        programme_id="pr1",
        group_number=1,
        scope=scope,
        linked_at=since,
        joined_at=at,
    )


def test_a_membership_proves_a_link() -> None:
    case = hospital()
    case.event(joined(NOW - DAY))
    case.asked(by=DAUGHTER)


def test_who_leaves_the_group_stays_who_they_are_to_the_patient() -> None:
    assert MemberLeft.TYPE not in HANDLERS


def test_a_plain_membership_proves_nothing() -> None:
    case = hospital()
    case.event(joined(NOW - DAY, scope=(LinkScope.GROUP,)))
    assert reason(case.ask(by=DAUGHTER)) == Common.NOT_FOUND


def test_what_the_hospital_ended_no_older_membership_proves() -> None:
    case = hospital()
    case.event(joined(NOW - DAY))
    case.event(unlinked(NOW - HOUR))
    assert reason(case.ask(by=DAUGHTER)) == Common.NOT_FOUND


@pytest.mark.parametrize("late", [True, False])
def test_who_joins_on_an_invitation_from_before_the_end_is_not_linked_again(late: bool) -> None:
    case = hospital()
    facts = [unlinked(NOW - DAY), joined(NOW - HOUR, since=NOW - 2 * DAY)]
    for fact in facts[::-1] if late else facts:
        case.event(fact)
    assert reason(case.ask(by=DAUGHTER)) == Common.NOT_FOUND


def test_a_joining_that_does_not_say_since_when_links_from_then_on() -> None:
    case = hospital()
    case.event(unlinked(NOW - DAY))
    case.event(joined(NOW - HOUR))
    case.asked(by=DAUGHTER)


@pytest.mark.parametrize(
    "wrong", [linked(linked_at=NOW + 900 * DAY), joined(NOW, since=NOW + 900 * DAY)]
)
def test_a_link_from_the_future_ends_like_any_other(wrong: Event) -> None:
    case = hospital()
    case.event(wrong)
    case.advance(HOUR)
    case.event(unlinked(case.now))
    assert reason(case.ask(by=DAUGHTER)) == Common.NOT_FOUND


def test_a_record_from_the_future_gives_way_to_what_is_told_after_it() -> None:
    case = hospital()
    case.event(registered(at=NOW + 900 * DAY))
    case.advance(HOUR)
    case.event(registered(born=date(2020, 1, 1), at=case.now))
    assert reason(case.ask()) == Reason.GUARDIAN_NEEDED


#: The daughter under an old id (p5) and a new one (p6), her parent too (p1, p2).
ENDED_UNDER_ANOTHER_ID: list[list[Event]] = [
    [linked(), merged("p5", "p6"), unlinked(NOW, "p6")],
    [linked(), merged("p1", "p2"), unlinked(NOW, "p5", "p2")],
    [linked("p6", "p2"), merged("p5", "p6"), unlinked(NOW), merged("p1", "p2")],
    [joined(NOW - DAY), merged("p5", "p6"), unlinked(NOW, "p6")],
]


@pytest.mark.parametrize("facts", ENDED_UNDER_ANOTHER_ID)
@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_a_link_that_ended_under_another_id_has_ended(
    facts: list[Event], order: tuple[int, ...]
) -> None:
    case = hospital()
    for fact in [*(facts[i] for i in order), *facts[3:]]:
        case.event(fact)
    for person in ("p5", "p6"):
        by = Actor(person, DAUGHTER.roles)
        assert reason(case.ask(by=by)) == Common.NOT_FOUND


def test_a_link_after_the_end_under_another_id_opens_again() -> None:
    case = hospital()
    for fact in (merged("p5", "p6"), unlinked(NOW - HOUR, "p6"), linked(linked_at=NOW)):
        case.event(fact)
    for person in ("p5", "p6"):
        by = Actor(person, DAUGHTER.roles)
        case.cancel(case.asked(by=by), by=by)


@pytest.mark.parametrize(
    ("born", "expected"),
    [
        (date(2008, 3, 2), None),  # eighteen today, by the hospital's calendar
        (date(2008, 3, 3), Reason.GUARDIAN_NEEDED),
    ],
)
def test_a_child_does_not_ask_itself(born: date, expected: Reason | None) -> None:
    case = hospital()
    case.event(registered(born=born))
    assert reason(case.ask()) == expected


def unrecorded() -> Hospital:
    """A patient p4 with a prescription, of whose record nothing is known."""
    case = Hospital()
    case.event(prescription(patient_id="p4"))
    return case


UNRECORDED = Actor("p4", PATIENT.roles)


def test_who_might_be_a_child_waits_for_the_record() -> None:
    case = unrecorded()
    assert reason(case.ask(patient="p4", by=UNRECORDED)) == Reason.AGE_UNKNOWN
    case.event(registered("p4"))
    case.asked(patient="p4", by=UNRECORDED)


def test_a_guardian_asks_for_who_might_be_a_child() -> None:
    case = unrecorded()
    case.event(linked(patient="p4"))
    case.asked(patient="p4", by=DAUGHTER)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_the_record_of_an_alias_holds_until_there_is_the_survivors(order: tuple[int, ...]) -> None:
    case = unrecorded()
    child, older_child = date(2020, 1, 1), date(2019, 1, 1)
    facts = [
        merged("p7", "p4"),
        registered("p7", born=child, at=NOW - HOUR),
        registered("p7", born=older_child, at=NOW - 2 * HOUR),
    ]
    for i in order:
        case.event(facts[i])
    assert reason(case.ask(patient="p4", by=UNRECORDED)) == Reason.GUARDIAN_NEEDED
    care = case.doc(PatientCare, "p4")
    assert care is not None and care.birth_date == child
    case.event(registered("p4", at=NOW - DAY))
    case.asked(patient="p4", by=UNRECORDED)
    assert reason(case.event(registered("p7", born=child, at=NOW))) == Common.STALE


def test_a_guardian_asks_for_a_child() -> None:
    case = hospital()
    case.event(registered(born=date(2020, 1, 1)))
    case.event(linked())
    case.asked(by=DAUGHTER)


def test_an_older_record_changes_nothing() -> None:
    case = hospital()
    case.event(registered(born=date(2020, 1, 1)))
    older = registered(born=date(1960, 1, 1)).model_copy(update={"updated_at": NOW - 2 * DAY})
    assert reason(case.event(older)) == Common.STALE
    assert reason(case.ask()) == Reason.GUARDIAN_NEEDED


def test_a_merged_person_acts_under_either_id() -> None:
    case = hospital()
    case.event(linked())
    case.event(merged("p5", "p6"))
    case.event(merged("p1", "p2"))
    daughter = DAUGHTER.__class__("p6", DAUGHTER.roles)
    patient = PATIENT.__class__("p2", PATIENT.roles)
    for by, named in [(DAUGHTER, "p1"), (daughter, "p2"), (PATIENT, "p2"), (patient, "p1")]:
        id = case.asked(patient=named, by=by)
        assert case.refill(id).patient_id == "p2"
        case.cancel(id, by=by)


def test_a_prescription_told_again_is_what_it_is_now_and_an_older_one_is_not() -> None:
    case = hospital()
    case.event(prescription(code="N03AX14", at=NOW - 10 * DAY))
    assert reason(case.event(prescription(at=NOW - 20 * DAY))) == Common.STALE
    assert reason(case.ask()) == Reason.NOT_ON_LIST


def test_what_happens_in_the_future_did_not_happen() -> None:
    case = hospital()
    assert reason(case.event(prescription("rx2", at=NOW + HOUR))) == Reason.IN_THE_FUTURE
    assert reason(case.event(visit(NOW + HOUR, "v2"))) == Reason.IN_THE_FUTURE
    assert reason(case.event(visit(NOW + timedelta(minutes=5), "v3"))) is None
