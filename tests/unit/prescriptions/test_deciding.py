"""Who decides on a renewal, in which status, until when?"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from libs.common.decision import Actor, Answer, Common, Decision, Refusal
from libs.common.events import (
    Event,
    RefillCancelled,
    RefillDoctorApproved,
    RefillDoctorDeclined,
    RefillEffective,
    RefillExpired,
    RefillPharmacistPassed,
    RefillPharmacistRefused,
    RefillPharmacistReturned,
    RefillRefused,
    RefillStage,
)
from services.prescriptions.domain.policy import RenewalPolicies
from services.prescriptions.domain.reasons import Reason
from services.prescriptions.domain.told import BY_ACTION, TEMPLATES
from services.prescriptions.domain.transitions import FULFILLED, STAGE, TABLE, Action, Status
from tests.unit.prescriptions.given import (
    COLLEAGUE,
    DAUGHTER,
    DAY,
    DOCTOR,
    HOUR,
    NOW,
    OUTSIDER,
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
)
from tests.unit.prescriptions.test_policy import SHANGHAI, eighteen, file
from tests.unit.prescriptions.test_stable import allergy


def allergy_in_words(id: str) -> Event:
    return allergy(None, id, None)


# -- the table ----------------------------------------------------------------------------


def waiting_doctor(case: Hospital) -> str:
    return case.asked()


def waiting_pharmacist(case: Hospital) -> str:
    id = case.asked()
    case.doctor(id, "approve")
    return id


def returned(case: Hospital) -> str:
    id = waiting_pharmacist(case)
    case.pharmacist(id, "return")
    return id


def effective(case: Hospital) -> str:
    return case.renewed().id


def declined(case: Hospital) -> str:
    # Signed once, so that a pharmacist may see it too.
    id = returned(case)
    case.doctor(id, "decline")
    return id


def visit_needed(case: Hospital) -> str:
    id = returned(case)
    case.doctor(id, "visit_needed")
    return id


def refused(case: Hospital) -> str:
    id = waiting_pharmacist(case)
    case.pharmacist(id, "refuse")
    return id


def cancelled(case: Hospital) -> str:
    id = waiting_pharmacist(case)
    case.cancel(id)
    return id


def expired(case: Hospital) -> str:
    id = waiting_pharmacist(case)
    due = case.refill(id).deadline
    assert due is not None
    case.fire_due(due)
    return id


def dispensed(case: Hospital) -> str:
    return fulfilled(case, "dispensed")


def collected(case: Hospital) -> str:
    return fulfilled(case, "collected")


def delivered(case: Hospital) -> str:
    return fulfilled(case, "delivered")


def returned_to_stock(case: Hospital) -> str:
    return fulfilled(case, "returned_to_stock")


def fulfilled(case: Hospital, status: str) -> str:
    id = effective(case)
    case.reported(id, status, quantity={"value": 3, "unit": "tablet"})  # a part of it
    case.advance(HOUR)
    return id


def suspended(case: Hospital) -> str:
    id = waiting_pharmacist(case)
    case.event(allergy_in_words("a0"))
    return id


def withheld(case: Hospital) -> str:
    id = effective(case)
    case.event(allergy_in_words("a0"))
    return id


def lapsed(case: Hospital) -> str:
    id = effective(case)
    case.fire_due(case.refill(id).deadline)
    return id


REACHED: dict[Status, Callable[[Hospital], str]] = {
    Status.WAITING_DOCTOR: waiting_doctor,
    Status.WAITING_PHARMACIST: waiting_pharmacist,
    Status.RETURNED: returned,
    Status.EFFECTIVE: effective,
    Status.DECLINED: declined,
    Status.VISIT_NEEDED: visit_needed,
    Status.REFUSED: refused,
    Status.CANCELLED: cancelled,
    Status.EXPIRED: expired,
    Status.DISPENSED: dispensed,
    Status.COLLECTED: collected,
    Status.DELIVERED: delivered,
    Status.RETURNED_TO_STOCK: returned_to_stock,
    Status.SUSPENDED: suspended,
    Status.WITHHELD: withheld,
    Status.LAPSED: lapsed,
}


def expire(case: Hospital, id: str) -> Answer:
    deadline = case.refill(id).deadline
    due = deadline if deadline is not None else case.now + 3 * DAY
    [*_, last] = case.fire_due(due) or [Decision(note="not_due")]
    return last


def warn(case: Hospital, id: str) -> Answer:
    """An allergy to what the patient has: the rest came, too, or where no pharmacy tells, may."""
    refill = case.refill(id)
    if refill.status in (Status.COLLECTED, Status.DELIVERED):
        case.reported(id, refill.status, "d2", quantity={"value": 4, "unit": "tablet"})
    elif refill.status is Status.EFFECTIVE:
        silent = file()
        silent["rules"]["validity"]["parameters"]["pharmacies_report"] = False
        case.policy = RenewalPolicies([silent], SHANGHAI, eighteen)
        case.fire_due(refill.deadline)
    case.take()
    return case.event(allergy("C08CA01", recorded_at=case.now))


TWO_WEEKS = {"value": 14, "unit": "tablet"}
FOR_A_WEEK: dict[str, Any] = {"quantity": TWO_WEEKS, "days_supply": 7}

TAKEN: dict[Action, Callable[[Hospital, str], Answer]] = {
    Action.APPROVE: lambda case, id: case.doctor(id, "approve"),
    Action.CHANGE: lambda case, id: case.doctor(id, "change", quantity=TWO_WEEKS, comment="x"),
    Action.REPLACE: lambda case, id: case.doctor(id, "replace", dosage="two", **FOR_A_WEEK),
    Action.DECLINE: lambda case, id: case.doctor(id, "decline"),
    Action.NEED_VISIT: lambda case, id: case.doctor(id, "visit_needed"),
    Action.PASS: lambda case, id: case.pharmacist(id, "pass"),
    Action.RETURN: lambda case, id: case.pharmacist(id, "return"),
    Action.REJECT: lambda case, id: case.pharmacist(id, "refuse"),
    Action.CANCEL: lambda case, id: case.cancel(id),
    Action.EXPIRE: expire,
    Action.LAPSE: expire,
    Action.CLOSE: lambda case, _id: case.event(stopped(case.now)),
    Action.DISPENSE: lambda case, id: case.reported(id, "dispensed"),
    Action.COLLECT: lambda case, id: case.reported(id, "collected"),
    Action.DELIVER: lambda case, id: case.reported(id, "delivered"),
    Action.RETURN_TO_STOCK: lambda case, id: case.reported(id, "returned_to_stock"),
    Action.SUSPEND: lambda case, _id: case.event(allergy_in_words("a1")),
    Action.WARN: warn,
}

AT_HOME = (Status.EFFECTIVE, Status.COLLECTED, Status.DELIVERED)
#: What happens to be another action in another status: a deadline passes, something is told.
INSTEAD = {
    (Status.EFFECTIVE, Action.EXPIRE): Action.LAPSE,
    (Status.EFFECTIVE, Action.CLOSE): Action.SUSPEND,
    **{(status, Action.CLOSE): Action.SUSPEND for status in FULFILLED.values()},
    **{(status, Action.LAPSE): Action.EXPIRE for status in STAGE},
    **{(status, Action.WARN): Action.SUSPEND for status in Status if status not in AT_HOME},
}
#: What nobody asks for, so that nobody is answered.
BY_ITSELF = (Action.EXPIRE, Action.LAPSE, Action.CLOSE, Action.SUSPEND, Action.WARN)


@pytest.mark.parametrize(("status", "action"), list(itertools.product(Status, TAKEN)))
def test_every_pair_of_status_and_action(status: Status, action: Action) -> None:
    case = hospital()
    id = REACHED[status](case)
    before = case.refill(id)
    assert before.status is status
    answer = TAKEN[action](case, id)
    action = INSTEAD.get((status, action), action)
    after = case.refill(id)
    expected = TABLE.get((status, action))
    if expected is None and action in FULFILLED:
        assert (after.status, after.history) == (status, before.history)  # a fact all the same
        return
    if expected is None:
        assert after == before
        if action not in BY_ITSELF:
            # A pharmacist has not seen what no doctor has signed.
            unseen = status is Status.WAITING_DOCTOR and action in PHARMACISTS
            assert reason(answer) == (Common.NOT_FOUND if unseen else Common.WRONG_STATUS)
        return
    assert after.status is expected
    step = after.history[-1]
    assert (step.action, step.from_status, step.to_status) == (action, status, expected)
    in_effect, void = expected is Status.EFFECTIVE, bool({status, expected} & VOID)
    assert after.stage == STAGE.get(expected)
    assert (after.deadline is not None) == (
        expected in STAGE or (in_effect and action is not Action.WARN)
    )
    assert case.account().open == ((id,) if expected in STAGE else ())
    assert (id in case.account().watched) == (
        expected in EFFECT and Status.WITHHELD not in (status, expected)
    )
    assert [r.supplied for r in case.account().renewals] == [not void] * (expected in EFFECT)
    # Whoever has what was withheld is told that, and not that it is ready.
    handed = action in FULFILLED and action is not Action.RETURN_TO_STOCK
    stands = status if status is Status.WITHHELD and handed else expected
    assert ("p1", BY_ACTION.get(action) or TEMPLATES[stands]) in case.told()[-2:]


#: It has taken effect, whatever came of it.
VOID = frozenset({Status.WITHHELD, Status.LAPSED})
EFFECT = frozenset({Status.EFFECTIVE, *FULFILLED.values()}) | VOID
PHARMACISTS = (Action.PASS, Action.RETURN, Action.REJECT)


def test_every_status_is_reachable_and_has_a_text() -> None:
    assert set(TABLE.values()) == set(Status) == set(REACHED) == set(TEMPLATES)


def test_every_action_of_the_table_is_tried_in_every_status() -> None:
    assert {action for status, action in TABLE if status is not None} == set(TAKEN)


def test_only_what_lies_with_somebody_or_was_in_effect_can_still_move() -> None:
    assert {status for status, _ in TABLE if status is not None} == set(STAGE) | EFFECT


# -- doctors ------------------------------------------------------------------------------


def test_a_doctor_signs_and_a_pharmacist_makes_it_effective() -> None:
    case = hospital()
    id = case.asked()
    case.advance(HOUR)
    case.doctor(id, "approve", comment="blood pressure well controlled")
    signed = case.now
    case.advance(HOUR)
    case.pharmacist(id, "pass")
    refill = case.refill(id)
    assert (refill.doctor_id, refill.signed_at) == ("dr1", signed)
    assert (refill.pharmacist_id, refill.effective_at) == ("ph1", case.now)
    [approved], [passed], [fact] = (
        case.events(RefillDoctorApproved),
        case.events(RefillPharmacistPassed),
        case.events(RefillEffective),
    )
    assert (approved.doctor_id, approved.days_supply) == ("dr1", 7)
    assert passed.pharmacist_id == "ph1"
    assert (fact.doctor_id, fact.pharmacist_id) == ("dr1", "ph1")
    assert (fact.valid_on, fact.effective_at) == (date(2026, 3, 2), case.now)
    assert fact.new_prescription_id == refill.new_prescription_id != "rx1"
    assert [s.person_id for s in refill.history] == ["p1", "dr1", "ph1"]
    assert [s.role for s in refill.history] == ["patient", "doctor", "pharmacist"]
    assert refill.history[1].comment == "blood pressure well controlled"


def test_the_same_refill_has_its_events_in_order() -> None:
    case = hospital()
    case.renewed()
    about = [e for e in case.emitted if e.type.startswith("hospital.refill.")]
    assert [e.sequence for e in about] == [1, 2, 3, 4]


def test_comments_and_notes_stay_in_the_service() -> None:
    case = hospital()
    answer = case.ask(note="private note")
    assert isinstance(answer, Decision)
    id = answer.result["id"]
    case.doctor(id, "approve", comment="private words")
    case.pharmacist(id, "return", comment="private words")
    case.doctor(id, "decline", comment="private words")
    assert not [e for e in case.emitted if "private" in e.data.model_dump_json()]


def test_a_colleague_of_the_department_may_decide() -> None:
    case = hospital()
    assert reason(case.doctor(case.asked(), "approve", COLLEAGUE)) is None


def test_the_prescriber_may_decide_from_another_department() -> None:
    case = hospital()
    moved_on = Actor("dr1", frozenset({"doctor"}), frozenset({"surgery"}))
    assert reason(case.doctor(case.asked(), "approve", moved_on)) is None


@pytest.mark.parametrize(
    "by", [OUTSIDER, Actor("n1", frozenset({"nurse"}), frozenset({"cardiology"}))]
)
def test_for_staff_of_elsewhere_it_does_not_exist(by: Actor) -> None:
    case = hospital()
    id = case.asked()
    assert reason(case.doctor(id, "approve", by)) == Common.NOT_FOUND
    assert reason(case.doctor("unknown", "approve")) == Common.NOT_FOUND
    assert case.refill(id).status is Status.WAITING_DOCTOR


def test_a_decline_gives_the_place_back_and_says_why_by_a_code() -> None:
    case = hospital()
    id = case.asked()
    case.doctor(id, "decline", reason="condition_changed")
    [fact] = case.events(RefillDoctorDeclined)
    assert (fact.reason, fact.doctor_id) == ("condition_changed", "dr1")
    assert case.refill(id).reason == "condition_changed"
    assert case.renewed().number == 1


def test_saying_no_needs_a_reason() -> None:
    case = hospital()
    id = case.asked()
    assert reason(case.doctor(id, "decline", reason=None)) == Reason.REASON_MISSING
    case.doctor(id, "approve")
    for decision in ("return", "refuse"):
        assert reason(case.pharmacist(id, decision, reason=None)) == Reason.REASON_MISSING
    assert case.refill(id).status is Status.WAITING_PHARMACIST


def test_who_read_another_version_decides_nothing() -> None:
    case = hospital()
    id = case.asked()
    version = case.refill(id).version
    assert reason(case.doctor(id, "approve", if_match=version + 1)) == Common.CHANGED
    assert reason(case.doctor(id, "approve", if_match=version)) is None
    assert reason(case.pharmacist(id, "pass", if_match=version)) == Common.CHANGED
    assert reason(case.cancel(id, if_match=version)) == Common.CHANGED


def test_a_doctor_does_not_decide_on_a_request_of_their_own() -> None:
    case = Hospital()
    case.event(registered("dr2"))
    case.event(prescription(patient_id="dr2"))
    own = Actor("dr2", frozenset({"doctor", "patient"}), frozenset({"cardiology"}))
    id = case.asked("rx1", "dr2", own)
    assert reason(case.doctor(id, "approve", own)) == Reason.SEPARATION_OF_DUTIES
    case.doctor(id, "approve")
    pharmacist = Actor("dr2", frozenset({"pharmacist"}))
    assert reason(case.pharmacist(id, "pass", pharmacist)) == Reason.SEPARATION_OF_DUTIES


def test_who_asked_for_somebody_does_not_decide_either() -> None:
    case = hospital()
    case.event(linked("dr2"))
    guardian = Actor("dr2", frozenset({"doctor", "guardian"}), frozenset({"cardiology"}))
    id = case.asked(by=guardian)
    assert reason(case.doctor(id, "approve", guardian)) == Reason.SEPARATION_OF_DUTIES


def test_a_patient_who_was_merged_stays_a_party() -> None:
    case = Hospital()
    case.event(prescription(patient_id="p1"))
    id = case.asked()
    case.event(merged("p1", "dr2"))
    assert reason(case.doctor(id, "approve", COLLEAGUE)) == Reason.SEPARATION_OF_DUTIES


# -- pharmacists --------------------------------------------------------------------------


@pytest.mark.parametrize("decision", ["pass", "return", "refuse"])
def test_who_signed_does_not_review(decision: str) -> None:
    case = hospital()
    id = waiting_pharmacist(case)
    both = Actor("dr1", frozenset({"doctor", "pharmacist"}), frozenset({"cardiology"}))
    assert reason(case.pharmacist(id, decision, both)) == Reason.SEPARATION_OF_DUTIES
    assert case.refill(id).status is Status.WAITING_PHARMACIST


@pytest.mark.parametrize("by", [DOCTOR, PATIENT, STRANGER])
def test_only_a_pharmacist_reviews(by: Actor) -> None:
    case = hospital()
    assert reason(case.pharmacist(waiting_pharmacist(case), "pass", by)) == Common.NOT_FOUND


def test_what_is_returned_goes_to_the_same_doctor() -> None:
    case = hospital()
    id = case.asked()
    case.doctor(id, "approve", COLLEAGUE)
    case.pharmacist(id, "return", reason="dose")
    [fact] = case.events(RefillPharmacistReturned)
    assert (fact.doctor_id, fact.reason, fact.pharmacist_id) == ("dr2", "dose", "ph1")
    assert case.account().open == (id,)
    for decision in ("approve", "decline"):
        assert reason(case.doctor(id, decision, DOCTOR)) == Reason.NOT_THE_SIGNING_DOCTOR
    case.doctor(id, "approve", COLLEAGUE)
    case.pharmacist(id, "pass")
    assert case.refill(id).status is Status.EFFECTIVE
    assert len(case.refill(id).history) == 5


def test_what_was_returned_has_a_new_deadline_and_needs_a_new_review() -> None:
    case = hospital()
    id = waiting_pharmacist(case)
    case.advance(5 * HOUR)
    case.pharmacist(id, "return")
    assert case.refill(id).deadline == case.now + 48 * HOUR
    assert reason(case.pharmacist(id, "pass")) == Common.WRONG_STATUS


def test_a_pharmacists_refusal_gives_the_place_back() -> None:
    case = hospital()
    id = waiting_pharmacist(case)
    case.pharmacist(id, "refuse", reason="interaction")
    [fact] = case.events(RefillPharmacistRefused)
    assert fact.reason == "interaction"
    assert case.renewed().number == 1


# -- validity and deadlines ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("days", "valid_on"),
    [(None, date(2026, 3, 2)), (1, date(2026, 3, 2)), (3, date(2026, 3, 4)), (4, None)],
)
def test_a_prescription_is_valid_on_the_day_and_at_most_three(
    days: int | None, valid_on: date | None
) -> None:
    case = hospital()
    id = case.asked()
    answer = case.doctor(id, "approve", valid_days=days)
    assert reason(answer) == (Reason.VALIDITY_TOO_LONG if valid_on is None else None)
    assert case.refill(id).valid_on == valid_on


def test_what_has_run_out_can_not_be_passed() -> None:
    case = hospital(now=datetime(2026, 3, 2, 14, 0, tzinfo=UTC))  # 22:00 in Shanghai
    id = waiting_pharmacist(case)
    midnight = datetime(2026, 3, 2, 16, 0, tzinfo=UTC)
    assert case.refill(id).deadline == midnight
    case.now = midnight
    assert reason(case.pharmacist(id, "pass")) == Reason.DEADLINE_PASSED
    assert case.refill(id).status is Status.EXPIRED
    [fact] = case.events(RefillExpired)
    assert fact.stage is RefillStage.PHARMACIST


def test_a_pharmacist_has_a_day_if_it_is_valid_for_longer() -> None:
    case = hospital()
    id = case.asked()
    case.doctor(id, "approve", valid_days=3)
    assert case.refill(id).deadline == NOW + 24 * HOUR


def test_a_doctor_has_two_days() -> None:
    case = hospital()
    id = case.asked()
    case.fire_due(NOW + 48 * HOUR - timedelta(milliseconds=1))
    assert case.refill(id).status is Status.WAITING_DOCTOR
    case.fire_due(NOW + 48 * HOUR)
    assert case.refill(id).status is Status.EXPIRED
    [fact] = case.events(RefillExpired)
    assert fact.stage is RefillStage.DOCTOR
    assert case.renewed().number == 1


def test_a_decision_after_the_deadline_expires_it_even_before_the_timer_fires() -> None:
    case = hospital()
    id = case.asked()
    case.now = NOW + 48 * HOUR
    answer = case.doctor(id, "approve")
    assert isinstance(answer, Refusal)
    assert answer.reason == Reason.DEADLINE_PASSED
    assert case.refill(id).status is Status.EXPIRED
    assert case.account().open == ()
    case.fire_due()
    assert len(case.events(RefillExpired)) == 1


def test_the_timer_of_an_earlier_stage_does_nothing() -> None:
    case = hospital()
    id = case.asked()
    case.now = NOW + 47 * HOUR
    case.doctor(id, "approve", valid_days=3)
    case.fire_due(NOW + 48 * HOUR)
    assert case.refill(id).status is Status.WAITING_PHARMACIST


# -- other ends ---------------------------------------------------------------------------


def test_the_patients_side_takes_it_back() -> None:
    case = hospital()
    case.event(linked())
    id = case.asked()
    assert reason(case.cancel(id, STRANGER)) == Common.NOT_FOUND
    assert reason(case.cancel("unknown")) == Common.NOT_FOUND
    case.cancel(id, DAUGHTER)
    [fact] = case.events(RefillCancelled)
    assert fact.cancelled_by == "p5"
    assert case.refill(id).history[-1].role == "guardian"
    assert case.told()[-1] == ("p1", "refill.cancelled")  # who asked is told


def test_a_stop_closes_the_request_for_that_prescription_only() -> None:
    case = hospital()
    case.event(prescription("rx2", code="C10AA05", ingredient="atorvastatin"))
    ids = case.asked(), case.asked("rx2")
    case.event(stopped(NOW))
    # To a doctor who looks at the other, it is news.
    assert [case.refill(id).status for id in ids] == [Status.REFUSED, Status.SUSPENDED]
    [fact] = case.events(RefillRefused)
    assert fact.reason == Reason.PRESCRIPTION_STOPPED
    assert ("p1", "refill.refused") in case.told()


def test_a_stop_that_begins_later_is_found_when_it_is_decided() -> None:
    case = hospital()
    id = case.asked()
    case.event(stopped(NOW + HOUR))
    assert case.refill(id).status is Status.WAITING_DOCTOR
    case.now = NOW + HOUR
    assert reason(case.doctor(id, "approve")) == Reason.PRESCRIPTION_STOPPED
    assert case.refill(id).status is Status.REFUSED
    assert case.account().open == ()


def test_an_earlier_stop_is_the_one_that_holds() -> None:
    case = hospital()
    case.event(stopped(NOW + DAY))
    assert reason(case.event(stopped(NOW + 2 * DAY))) == Common.STALE
    assert reason(case.event(stopped(NOW - DAY))) is None
    assert reason(case.ask()) == Reason.PRESCRIPTION_STOPPED


def test_a_death_closes_everything_and_nobody_is_told() -> None:
    case = hospital()
    case.event(prescription("rx2", code="C10AA05", ingredient="atorvastatin"))
    case.event(prescription("rx3", patient_id="p2"))
    ids = [case.asked(), case.asked("rx2"), case.asked("rx3", "p2", Actor("p2", PATIENT.roles))]
    case.event(merged("p2", "p1"))
    case.take()
    case.event(deceased())
    assert [case.refill(id).reason for id in ids] == [Reason.PATIENT_DECEASED] * 3
    assert case.told() == []
    assert reason(case.event(deceased())) == Common.STALE
    assert case.account().open == ()


def test_the_history_only_grows() -> None:
    case = hospital()
    id = case.asked()
    seen: list[Any] = list(case.refill(id).history)
    acts: list[Callable[[], Answer]] = [
        lambda: case.doctor(id, "approve"),
        lambda: case.pharmacist(id, "return"),
        lambda: case.doctor(id, "approve"),
        lambda: case.pharmacist(id, "pass"),
    ]
    for act in acts:
        act()
        history = list(case.refill(id).history)
        assert history[:-1] == seen
        seen = history
