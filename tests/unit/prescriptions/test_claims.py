"""Who holds a renewal, and how does it come to another and back?"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from libs.common.decision import Actor, Answer, Decision, Refusal
from libs.common.events import (
    NotificationRequested,
    PractitionerRegistered,
    PractitionerUpdated,
    StaffRole,
)
from services.prescriptions.domain.assigning import ASSIGNMENTS, Claim, HandOver, Release
from services.prescriptions.domain.health import Practitioner
from services.prescriptions.domain.listing import Whose, WorkList, refill_row
from services.prescriptions.domain.staff import Absence, OutOfOffice, Roster, is_away
from services.prescriptions.domain.transitions import Status
from services.prescriptions.domain.views import Reader, refill_view
from services.prescriptions.handlers import CLAIM, HAND_OVER, OUT_OF_OFFICE, RELEASE
from tests.unit.prescriptions.given import (
    COLLEAGUE,
    DAY,
    DOCTOR,
    HOUR,
    NOW,
    OUTSIDER,
    PATIENT,
    PHARMACIST,
    Hospital,
    hospital,
    policies,
    prescription,
    reason,
)

MINUTE = timedelta(minutes=1)
MOMENT = timedelta(milliseconds=1)
SECOND_PHARMACIST = Actor("ph2", frozenset({"pharmacist"}))


def staff(id: str, *roles: str, departments: tuple[str, ...] = (), **more: Any) -> Any:
    fields = {"name": "某某", "updated_at": NOW - 300 * DAY, **more}
    return PractitionerRegistered(
        practitioner_id=id,
        roles=tuple(StaffRole(r) for r in roles),
        departments=departments,
        **fields,
    )


def ward() -> Hospital:
    """The hospital with its staff: three doctors, two pharmacists, one of ops."""
    case = hospital()
    case.event(staff("dr1", "doctor", departments=("cardiology",)))
    case.event(staff("dr2", "doctor", departments=("cardiology",), deputy_id="dr1"))
    case.event(staff("dr3", "doctor", departments=("surgery",)))
    case.event(staff("ph1", "pharmacist"))
    case.event(staff("ph2", "pharmacist"))
    case.event(staff("op1", "ops"))
    return case


def claim(case: Hospital, id: str, by: Actor, **more: Any) -> Answer:
    return case.command(CLAIM, Claim(), actor=by, subject=id, **more)


def release(case: Hospital, id: str, by: Actor) -> Answer:
    return case.command(RELEASE, Release(), actor=by, subject=id)


def hand_over(case: Hospital, id: str, by: Actor, to: str, **more: Any) -> Answer:
    asked = HandOver(to=to, reason="end_of_duty", **more)
    return case.command(HAND_OVER, asked, actor=by, subject=id)


def away(
    case: Hospital, by: Actor, since: datetime, until: datetime, deputy: str | None = None
) -> Answer:
    asked = OutOfOffice(since=since, until=until, deputy_id=deputy)
    return case.command(OUT_OF_OFFICE, asked, actor=by)


def extra(answer: Answer) -> dict[str, Any]:
    assert isinstance(answer, Refusal), answer
    return dict(answer.extra)


# -- claims -------------------------------------------------------------------------------


def test_nobody_decides_on_what_a_colleague_has_claimed_and_is_told_who_has_it() -> None:
    case = ward()
    id = case.asked()
    assert isinstance(claim(case, id, DOCTOR), Decision)
    case.advance(10 * MINUTE)
    for answer in (
        case.doctor(id, "approve", by=COLLEAGUE),
        case.doctor(id, "decline", by=COLLEAGUE),
        claim(case, id, COLLEAGUE),
        release(case, id, COLLEAGUE),
        hand_over(case, id, COLLEAGUE, "dr2"),
    ):
        assert reason(answer) == "claimed"
        assert extra(answer) == {
            "holder_id": "dr1",
            "held_until": (NOW + 30 * MINUTE).isoformat(),
            "minutes": 20,
        }
    assert isinstance(case.doctor(id, "approve", by=DOCTOR), Decision)


def test_a_claim_lapses_at_its_minute() -> None:
    case = ward()
    id = case.asked()
    claim(case, id, DOCTOR)
    case.advance(30 * MINUTE - MOMENT)
    assert reason(claim(case, id, COLLEAGUE)) == "claimed"
    case.advance(MOMENT)
    assert isinstance(claim(case, id, COLLEAGUE), Decision)
    assert reason(case.doctor(id, "approve", by=DOCTOR)) == "claimed"


def test_whoever_has_it_may_claim_it_for_longer() -> None:
    case = ward()
    id = case.asked()
    claim(case, id, DOCTOR)
    case.advance(20 * MINUTE)
    claim(case, id, DOCTOR)
    case.advance(20 * MINUTE)
    assert reason(claim(case, id, COLLEAGUE)) == "claimed"


def test_nobody_holds_it_beyond_its_deadline() -> None:
    case = ward()
    id = case.asked()
    case.advance(48 * HOUR - MINUTE)
    claim(case, id, DOCTOR)
    assert case.refill(id).held_until == case.refill(id).deadline
    case.advance(MINUTE)
    assert reason(claim(case, id, COLLEAGUE)) == "deadline_passed"
    assert case.refill(id).status is Status.EXPIRED


def test_two_who_claim_in_one_transaction_are_one_holder_and_one_who_is_told() -> None:
    case = ward()
    id = case.asked()
    version = case.refill(id).version
    inputs = [
        case.command_input(CLAIM, Claim(), actor=by, subject=id, if_match=version)
        for by in (COLLEAGUE, DOCTOR)
    ]
    first, second = case.batch(inputs)
    assert isinstance(first, Decision)
    assert (reason(second), extra(second)["holder_id"]) == ("claimed", "dr2")


def test_what_was_released_is_anybodys_again() -> None:
    case = ward()
    id = case.asked()
    assert reason(release(case, id, DOCTOR)) == "not_claimed"
    claim(case, id, DOCTOR)
    release(case, id, DOCTOR)
    assert isinstance(claim(case, id, COLLEAGUE), Decision)
    whats = [(a.what, a.by) for a in case.refill(id).assignments]
    assert whats == [("claim", "dr1"), ("release", "dr1"), ("claim", "dr2")]


def test_a_claim_needs_the_version_that_was_read() -> None:
    case = ward()
    id = case.asked()
    assert reason(claim(case, id, DOCTOR, if_match=99)) == "changed"


def test_a_claim_is_no_step_and_ends_with_the_next_one() -> None:
    case = ward()
    id = case.asked()
    claim(case, id, DOCTOR)
    assert len(case.refill(id).history) == 1
    case.doctor(id, "approve")
    refill = case.refill(id)
    assert (refill.holder_id, refill.held_until) == (None, None)
    assert len(refill.assignments) == 1
    assert isinstance(claim(case, id, PHARMACIST), Decision)
    assert reason(case.pharmacist(id, "pass", by=SECOND_PHARMACIST)) == "claimed"
    case.pharmacist(id, "pass")
    assert case.refill(id).status is Status.EFFECTIVE


def test_the_patient_takes_back_what_somebody_has_claimed() -> None:
    case = ward()
    id = case.asked()
    claim(case, id, DOCTOR)
    assert isinstance(case.cancel(id), Decision)


def test_who_may_not_see_it_may_not_claim_it() -> None:
    case = ward()
    id = case.asked()
    for by in (OUTSIDER, PHARMACIST, PATIENT):  # nothing is signed yet for a pharmacist to see
        assert reason(claim(case, id, by)) == "not_found"
        assert reason(release(case, id, by)) == "not_found"
        assert reason(hand_over(case, id, by, "dr2")) == "not_found"
    assert reason(claim(case, "unknown", DOCTOR)) == "not_found"
    case.doctor(id, "approve")
    assert reason(claim(case, id, DOCTOR)) == "wrong_status"  # it lies with the pharmacists
    case.pharmacist(id, "pass")
    assert reason(claim(case, id, PHARMACIST)) == "wrong_status"


def test_nobody_claims_what_they_may_not_decide_on() -> None:
    case = ward()
    both = Actor("dr1", frozenset({"doctor", "pharmacist"}), frozenset({"cardiology"}))
    party = Actor("p1", frozenset({"doctor"}), frozenset({"cardiology"}))
    id = case.asked()
    assert reason(claim(case, id, party)) == "separation_of_duties"
    case.doctor(id, "approve")
    assert reason(claim(case, id, both)) == "separation_of_duties"
    case.pharmacist(id, "return")
    assert reason(claim(case, id, COLLEAGUE)) == "not_the_signing_doctor"
    assert isinstance(claim(case, id, DOCTOR), Decision)


def test_what_is_passed_around_without_end_can_at_last_only_be_decided_on() -> None:
    case = ward()
    id = case.asked()
    for _ in range(ASSIGNMENTS // 2):
        claim(case, id, DOCTOR)
        release(case, id, DOCTOR)
    assert extra(claim(case, id, DOCTOR)) == {"times": ASSIGNMENTS}
    assert isinstance(case.doctor(id, "approve"), Decision)


# -- hand-over ----------------------------------------------------------------------------


def test_what_was_handed_over_is_the_receivers_who_is_told_and_knows_why() -> None:
    case = ward()
    id = case.asked()
    case.take()
    assert isinstance(hand_over(case, id, DOCTOR, "dr2", comment="please look"), Decision)
    assert case.told() == [("dr2", "refill.handed_over")]
    [entry] = case.refill(id).assignments
    assert (entry.by, entry.to, entry.reason, entry.comment) == (
        "dr1",
        ("dr2",),
        "end_of_duty",
        "please look",
    )
    case.advance(12 * HOUR - MOMENT)
    assert reason(case.doctor(id, "approve", by=DOCTOR)) == "claimed"
    case.advance(MOMENT)
    assert isinstance(case.doctor(id, "approve", by=DOCTOR), Decision)


@pytest.mark.parametrize(
    ("to", "why"),
    [
        ("dr1", "receiver_unsuitable"),  # oneself
        ("dr3", "receiver_unsuitable"),  # of another department
        ("ph1", "receiver_unsuitable"),  # of another role
        ("dr7", "receiver_unsuitable"),  # of whom nobody has told
        ("dr8", "receiver_unsuitable"),  # who has left
        ("p1", "separation_of_duties"),  # the patient
    ],
)
def test_it_is_handed_to_nobody_who_may_not_decide_on_it(to: str, why: str) -> None:
    case = ward()
    case.event(staff("p1", "doctor", departments=("cardiology",)))
    gone = Practitioner(
        id="dr8", hospital="h1", roles=(StaffRole.DOCTOR,), departments=("cardiology",),
        updated_at=NOW - 2 * DAY, left_at=NOW - DAY,
    )  # fmt: skip
    case.put(gone)
    id = case.asked()
    assert reason(hand_over(case, id, DOCTOR, to)) == why
    assert case.refill(id).assignments == ()


def test_a_prescriber_of_another_department_is_handed_what_they_prescribed() -> None:
    case = ward()
    case.event(staff("dr1", "doctor", departments=("surgery",), updated_at=NOW))
    id = case.asked()
    assert isinstance(hand_over(case, id, COLLEAGUE, "dr1"), Decision)


def test_at_the_pharmacists_stage_it_is_handed_to_another_pharmacist_than_the_doctor() -> None:
    case = ward()
    case.event(staff("dr1", "doctor", "pharmacist", departments=("cardiology",), updated_at=NOW))
    id = case.asked()
    case.doctor(id, "approve")
    assert reason(hand_over(case, id, PHARMACIST, "dr1")) == "separation_of_duties"
    assert reason(hand_over(case, id, PHARMACIST, "dr2")) == "receiver_unsuitable"
    assert isinstance(hand_over(case, id, PHARMACIST, "ph2"), Decision)


def test_what_came_back_stays_with_the_doctor_who_signed() -> None:
    case = ward()
    id = case.asked()
    case.doctor(id, "approve")
    case.pharmacist(id, "return")
    assert reason(hand_over(case, id, DOCTOR, "dr2")) == "not_the_signing_doctor"
    assert reason(release(case, id, DOCTOR)) == "not_claimed"


# -- out of office ------------------------------------------------------------------------


def test_a_deputy_decides_in_their_own_name_on_what_lies_with_who_is_away() -> None:
    case = ward()
    id = case.asked()
    hand_over(case, id, DOCTOR, "dr2")
    assert isinstance(away(case, COLLEAGUE, NOW + HOUR, NOW + 3 * HOUR), Decision)
    case.advance(HOUR - MOMENT)
    assert reason(case.doctor(id, "decline", by=DOCTOR)) == "claimed"
    case.advance(MOMENT)
    assert isinstance(case.doctor(id, "approve", by=DOCTOR), Decision)
    assert case.refill(id).doctor_id == "dr1"
    assert reason(case.pharmacist(id, "pass", by=Actor("dr1", frozenset({"pharmacist"})))) == (
        "separation_of_duties"
    )


def test_who_is_back_has_it_alone_again() -> None:
    case = ward()
    id = case.asked()
    hand_over(case, id, DOCTOR, "dr2")
    away(case, COLLEAGUE, NOW, NOW + 3 * HOUR)
    case.advance(3 * HOUR)
    assert reason(case.doctor(id, "approve", by=DOCTOR)) == "claimed"


def test_the_deputy_is_told_and_the_hospitals_record_names_one_if_nobody_else_does() -> None:
    case = ward()
    case.take()
    answer = away(case, COLLEAGUE, NOW, NOW + DAY)
    assert isinstance(answer, Decision)
    assert answer.result["deputy_id"] == "dr1"
    assert answer.result["from"] == "2026-03-02T02:00:00Z"
    assert case.told() == [("dr1", "refill.deputy")]
    assert reason(away(case, DOCTOR, NOW, NOW + DAY)) == "deputy_missing"


def test_a_deputy_does_not_stand_in_for_a_signature() -> None:
    case = ward()
    id = case.asked()
    case.doctor(id, "approve", by=COLLEAGUE)
    case.pharmacist(id, "return")
    away(case, COLLEAGUE, NOW, NOW + DAY)
    assert reason(case.doctor(id, "approve", by=DOCTOR)) == "not_the_signing_doctor"


@pytest.mark.parametrize(
    ("deputy", "why"),
    [
        ("dr2", "deputy_unsuitable"),
        ("dr3", "deputy_unsuitable"),
        ("ph1", "deputy_unsuitable"),
        ("dr7", "deputy_unsuitable"),
    ],
)
def test_a_deputy_has_the_same_role_and_department(deputy: str, why: str) -> None:
    assert reason(away(ward(), COLLEAGUE, NOW, NOW + DAY, deputy)) == why


def test_two_who_are_away_at_once_do_not_stand_in_for_one_another() -> None:
    case = ward()
    away(case, COLLEAGUE, NOW + DAY, NOW + 2 * DAY)
    assert reason(away(case, DOCTOR, NOW, NOW + DAY + MOMENT, "dr2")) == "deputy_away"
    assert isinstance(away(case, DOCTOR, NOW, NOW + DAY, "dr2"), Decision)


def test_a_period_is_two_times_in_order_and_none_is_being_here() -> None:
    case = ward()
    assert reason(away(case, COLLEAGUE, NOW, NOW)) == "period_invalid"
    half = OutOfOffice(since=NOW)
    assert reason(case.command(OUT_OF_OFFICE, half, actor=COLLEAGUE)) == "period_invalid"
    away(case, COLLEAGUE, NOW, NOW + DAY)
    stale = case.command(OUT_OF_OFFICE, OutOfOffice(), actor=COLLEAGUE, if_match=0)
    assert reason(stale) == "changed"
    back = case.command(OUT_OF_OFFICE, OutOfOffice(), actor=COLLEAGUE, if_match=1)
    assert isinstance(back, Decision)
    assert back.result == {"from": None, "until": None, "deputy_id": None, "version": 2}


def test_nothing_is_handed_to_who_is_away_but_their_deputy_is_named() -> None:
    case = ward()
    id = case.asked()
    away(case, COLLEAGUE, NOW - HOUR, NOW + HOUR)
    answer = hand_over(case, id, DOCTOR, "dr2")
    assert (reason(answer), extra(answer)) == ("receiver_away", {"deputy_id": "dr1"})


# -- reminders and escalation -------------------------------------------------------------


def whats(case: Hospital, id: str) -> list[tuple[str, tuple[str, ...]]]:
    return [(str(a.what), a.to) for a in case.refill(id).assignments]


def test_those_who_work_there_are_reminded_of_what_nobody_has_and_the_head_is_told_later() -> None:
    case = ward()
    case.policy = with_head("cardiology", "dr9")
    id = case.asked()
    case.take()
    case.fire_due(NOW + 36 * HOUR - MOMENT)
    assert case.told() == []
    case.fire_due(NOW + 36 * HOUR)
    assert case.told() == [("dr1", "refill.waiting"), ("dr2", "refill.waiting")]
    case.fire_due(NOW + 44 * HOUR)
    assert case.told() == [("dr9", "refill.escalated")]
    assert whats(case, id) == [("remind", ("dr1", "dr2")), ("escalate", ("dr9",))]
    case.fire_due(NOW + 48 * HOUR)
    assert case.told() == [("p1", "refill.expired")]


def test_however_much_waits_they_are_reminded_once_an_hour() -> None:
    case = ward()
    case.event(prescription("rx2", ingredient="another"))
    case.asked("rx1")
    case.asked("rx2")
    case.take()
    case.fire_due(NOW + 36 * HOUR)
    requests = case.events(NotificationRequested)
    keys = [(r.recipient_id, r.dedupe_key) for r in requests]
    assert len(keys) == 4
    assert len(set(keys)) == 2


def test_whoever_holds_it_is_reminded_and_for_who_is_away_their_deputy() -> None:
    case = ward()
    id = case.asked()
    case.advance(30 * HOUR)
    hand_over(case, id, DOCTOR, "dr2")
    away(case, COLLEAGUE, NOW + 36 * HOUR, NOW + 37 * HOUR)
    case.take()
    case.fire_due(NOW + 36 * HOUR)
    assert case.told() == [("dr1", "refill.reminder")]
    case.fire_due(NOW + 44 * HOUR)
    assert case.told() == [("op1", "refill.escalated")]  # no head is named


def test_who_is_away_or_has_left_is_not_reminded_of_what_nobody_has() -> None:
    case = ward()
    case.event(staff("dr4", "doctor", departments=("cardiology",)))
    gone = case.doc(Practitioner, "dr4")
    assert gone is not None
    case.put(gone.but(left_at=NOW))
    away(case, COLLEAGUE, NOW, NOW + 40 * HOUR)
    case.asked()
    case.take()
    case.fire_due(NOW + 36 * HOUR)
    assert case.told() == [("dr1", "refill.waiting")]


def test_a_head_who_is_away_has_a_deputy_and_for_one_who_has_left_it_is_ops() -> None:
    case = ward()
    case.policy = with_head("cardiology", "dr2")
    away(case, COLLEAGUE, NOW, NOW + 9 * DAY)
    case.asked()
    case.take()
    case.fire_due(NOW + 44 * HOUR)
    assert case.told()[-1:] == [("dr1", "refill.escalated")]
    head = case.doc(Practitioner, "dr2")
    assert head is not None
    case.put(head.but(left_at=NOW))
    case.fire_due(NOW + 48 * HOUR)
    case.asked()
    case.take()
    case.fire_due(case.now + 44 * HOUR)
    assert case.told()[-1:] == [("op1", "refill.escalated")]


def test_who_signed_is_reminded_of_what_came_back() -> None:
    case = ward()
    id = case.asked()
    case.doctor(id, "approve", by=COLLEAGUE, valid_days=3)
    case.pharmacist(id, "return")
    away(case, COLLEAGUE, NOW, NOW + 9 * DAY)
    case.take()
    case.fire_due(NOW + 36 * HOUR)
    assert case.told() == [("dr2", "refill.reminder")]


def test_a_stage_that_is_over_reminds_nobody() -> None:
    case = ward()
    id = case.asked()
    case.advance(35 * HOUR)
    case.doctor(id, "approve", valid_days=3)
    case.take()
    case.fire_due(NOW + 45 * HOUR)  # the doctor's reminders, and too early for the pharmacist's
    assert case.told() == []
    case.fire_due(NOW + 47 * HOUR)
    assert case.told() == [("ph1", "refill.waiting"), ("ph2", "refill.waiting")]


def test_what_has_little_time_from_the_beginning_is_escalated_at_once() -> None:
    case = ward()
    case.advance(13 * HOUR)  # 23:00 in the hospital
    id = case.asked()
    case.doctor(id, "approve")  # valid on the day
    case.take()
    case.fire_due()
    assert case.told() == [("op1", "refill.escalated")]
    assert whats(case, id) == [("escalate", ("op1",))]


def test_where_nobody_is_known_it_is_kept_that_nobody_was_told() -> None:
    case = hospital()
    id = case.asked()
    case.fire_due(NOW + 36 * HOUR)
    assert whats(case, id) == [("remind", ())]


def with_head(department: str, head: str) -> Any:
    version = policies().at(NOW)
    deadlines = version.rules.deadlines
    parameters = deadlines.parameters.model_copy(update={"heads": {department: head}})
    rule = deadlines.model_copy(update={"parameters": parameters})
    rules = version.rules.model_copy(update={"deadlines": rule})
    changed = version.model_copy(update={"rules": rules})

    class One:
        def at(self, _now: datetime) -> Any:
            return changed

    return One()


# -- staff --------------------------------------------------------------------------------


def test_rosters_follow_where_people_work() -> None:
    case = ward()
    moved = PractitionerUpdated(
        practitioner_id="dr2", name="某某", roles=(StaffRole.DOCTOR, StaffRole.OPS),
        departments=("surgery",), updated_at=NOW,
    )  # fmt: skip
    case.event(moved)
    rosters = {r.id: r.people for r in case.docs(Roster)}
    assert rosters == {
        "doctor|cardiology": ("dr1",),
        "doctor|surgery": ("dr2", "dr3"),
        "ops|": ("dr2", "op1"),
        "pharmacist|": ("ph1", "ph2"),
    }
    stale = moved.model_copy(update={"departments": ("eyes",), "updated_at": NOW - DAY})
    assert reason(case.event(stale)) == "stale"
    assert {r.id: r.people for r in case.docs(Roster)} == rosters


def test_one_is_away_from_the_first_moment_until_the_last() -> None:
    absence = Absence(id="dr1", hospital="h1", since=NOW, until=NOW + HOUR, deputy_id="dr2")
    moments = (NOW - MOMENT, NOW, NOW + HOUR - MOMENT, NOW + HOUR)
    assert [is_away(absence, at) for at in moments] == [False, True, True, False]


# -- what is shown ------------------------------------------------------------------------


def seen(case: Hospital, id: str, audience: Any) -> dict[str, Any]:
    reader = Reader(policies(), "en", audience, case.now)
    return refill_view(case.refill(id), reader).model_dump(mode="json")


def test_staff_see_who_has_it_while_they_have_it_and_the_patient_never() -> None:
    case = ward()
    id = case.asked()
    claim(case, id, DOCTOR)
    assert seen(case, id, "staff")["holder_id"] == "dr1"
    assert seen(case, id, "staff")["held_until"] == "2026-03-02T02:30:00Z"
    patients = seen(case, id, "patient")
    assert (patients["holder_id"], patients["held_until"], patients["assignments"]) == (
        None, None, [],
    )  # fmt: skip
    case.advance(30 * MINUTE)
    staffs = seen(case, id, "staff")
    assert (staffs["holder_id"], staffs["held_until"]) == (None, None)
    assert [a["what"] for a in staffs["assignments"]] == ["claim"]


def test_a_list_shows_mine_the_pool_or_all_and_nothing_else() -> None:
    case = ward()
    id = case.asked()

    def lists(by: Actor, away: frozenset[str] = frozenset()) -> set[str]:
        line = refill_row(case.refill(id).model_dump())
        return {
            str(whose)
            for whose in Whose
            if WorkList("h1", by, line.stage, whose).has(line, away, case.now)
        }

    assert lists(DOCTOR) == lists(COLLEAGUE) == {"pool", "all"}
    assert lists(OUTSIDER) == set()
    claim(case, id, DOCTOR)
    assert lists(DOCTOR) == {"mine", "all"}
    assert lists(COLLEAGUE) == {"all"}
    assert lists(COLLEAGUE, frozenset({"dr1"})) == {"mine", "all"}
    assert lists(OUTSIDER, frozenset({"dr1"})) == set()
    case.advance(30 * MINUTE)
    assert lists(DOCTOR) == lists(COLLEAGUE) == {"pool", "all"}
    case.doctor(id, "approve")
    assert lists(PHARMACIST) == {"pool", "all"}
    case.pharmacist(id, "return")
    assert lists(DOCTOR) == {"mine", "all"}
    assert lists(COLLEAGUE, frozenset({"dr1"})) == {"all"}
