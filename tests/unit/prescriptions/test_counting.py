"""How many renewals are used up, whatever is told late, twice or in another order?"""

from __future__ import annotations

from datetime import timedelta

import pytest

from libs.common.decision import Actor, Refusal
from libs.common.devstack.day.records import WELL
from libs.common.events import (
    NotificationRequested,
    RefillEffective,
    RefillRefused,
    RefillRequested,
    VisitClass,
)
from services.prescriptions.domain.accounts import kept
from services.prescriptions.domain.documents import PatientCare, Refill, Renewal, RenewalAccount
from services.prescriptions.domain.parameters import RENEWALS_KEPT
from services.prescriptions.domain.reasons import Reason
from services.prescriptions.domain.request import CheckedRequest
from services.prescriptions.domain.transitions import Status
from services.prescriptions.handlers import REQUEST
from tests.unit.prescriptions.given import (
    DAY,
    HOUR,
    NOW,
    PATIENT,
    Hospital,
    hospital,
    merged,
    prescription,
    reason,
    stopped,
    visit,
)

MS = timedelta(milliseconds=1)


def used_up(case: Hospital) -> Hospital:
    """Three renewals, a day apart; the clock stands a day after the last."""
    for _ in range(3):
        case.renewed()
        case.advance(DAY)
    return case


def test_the_fourth_renewal_is_refused_stored_published_and_told() -> None:
    case = used_up(hospital())
    case.take()
    answer = case.ask()
    assert isinstance(answer, Refusal)
    assert answer.reason == Reason.RENEWAL_LIMIT_REACHED
    refill = case.refill(answer.extra["refill_id"])
    assert (refill.status, refill.reason) == (Status.REFUSED, "renewal_limit_reached")
    published = [e.data for e in case.emitted]
    assert [type(e) for e in published] == [RefillRefused, NotificationRequested]


def test_each_renewal_knows_its_number_and_what_is_left() -> None:
    case = used_up(hospital())
    assert [(e.number, e.remaining) for e in case.events(RefillEffective)] == [
        (1, 2),
        (2, 1),
        (3, 0),
    ]
    assert [e.number for e in case.events(RefillRequested)] == [1, 2, 3]


def test_a_visit_in_person_resets_the_count() -> None:
    case = used_up(hospital())
    case.event(visit(case.now, "v2"))
    assert case.renewed().number == 1


@pytest.mark.parametrize(
    ("visit_class", "resets"),
    [
        (VisitClass.AMBULATORY, True),
        (VisitClass.INPATIENT, True),
        (VisitClass.EMERGENCY, False),
        (VisitClass.VIRTUAL, False),
    ],
)
def test_only_some_visits_are_in_person(visit_class: VisitClass, resets: bool) -> None:
    case = used_up(hospital())
    case.event(visit(case.now, "v2", visit_class=visit_class))
    assert reason(case.ask()) == (None if resets else Reason.RENEWAL_LIMIT_REACHED)


def test_a_visit_at_another_department_resets_nothing() -> None:
    case = used_up(hospital())
    case.event(visit(case.now, "v2", department="dermatology"))
    assert reason(case.ask()) == Reason.RENEWAL_LIMIT_REACHED


def test_a_late_visit_counts_where_it_happened() -> None:
    case = used_up(hospital())  # effective at NOW, NOW + 1 day and NOW + 2 days
    case.event(visit(NOW + DAY + HOUR, "v2"))  # between the second and the third, told now
    assert case.renewed().number == 2


def test_a_visit_before_all_renewals_gives_nothing_back() -> None:
    case = used_up(hospital())
    case.event(visit(NOW - HOUR, "v2"))
    assert reason(case.ask()) == Reason.RENEWAL_LIMIT_REACHED


def test_a_renewal_at_the_very_moment_of_the_visit_counts() -> None:
    case = used_up(hospital())
    case.event(visit(NOW + MS, "v2"))  # the first renewal is before it
    assert reason(case.ask()) is None
    case = used_up(hospital())
    case.event(visit(NOW, "v2"))
    assert reason(case.ask()) == Reason.RENEWAL_LIMIT_REACHED


def test_an_older_visit_that_comes_later_does_not_move_the_last_one_back() -> None:
    case = used_up(hospital())
    case.event(visit(case.now, "v3"))
    case.event(visit(NOW - 10 * DAY, "v2"))
    assert reason(case.ask()) is None


def test_without_any_visit_known_all_renewals_count() -> None:
    case = Hospital()
    case.event(prescription())
    used_up(case)
    assert reason(case.ask()) == Reason.RENEWAL_LIMIT_REACHED


def test_a_visit_while_a_request_is_open_is_seen_when_it_takes_effect() -> None:
    case = hospital()
    case.renewed()
    id = case.asked()
    case.advance(HOUR)
    case.event(visit(case.now, "v2"))
    case.doctor(id, "approve")
    case.pharmacist(id, "pass")
    assert (case.refill(id).number, case.refill(id).remaining) == (1, 2)


def test_a_renewals_own_prescription_resets_nothing_and_shares_the_account() -> None:
    case = hospital()
    first = case.renewed()
    assert first.new_prescription_id is not None
    case.event(
        prescription(first.new_prescription_id, at=case.now, based_on="rx1", refill_id=first.id)
    )
    second = case.renewed(first.new_prescription_id)
    case.event(prescription("rx3", at=case.now, based_on=first.new_prescription_id))
    third = case.renewed("rx3")
    assert (second.number, third.number) == (2, 3)
    for rx in ("rx1", first.new_prescription_id, "rx3"):
        assert reason(case.ask(rx)) == Reason.RENEWAL_LIMIT_REACHED


def test_departments_share_the_account_but_not_the_visit() -> None:
    case = used_up(hospital())
    case.event(prescription("rx2", department="geriatrics", at=case.now))
    assert reason(case.ask("rx2")) == Reason.RENEWAL_LIMIT_REACHED
    case.event(visit(case.now, "v2", department="geriatrics"))
    assert case.asked("rx2")
    assert reason(case.ask("rx1")) == Reason.OPEN_REQUEST


# -- merges -------------------------------------------------------------------------------


def two_patients(first: int, second: int) -> Hospital:
    """p1 and p2 with one prescription each, and so many renewals."""
    case = hospital()
    case.event(prescription("rx2", patient_id="p2"))
    p2 = _patient("p2")
    for _ in range(first):
        case.renewed()
    for _ in range(second):
        case.renewed("rx2", "p2", p2)
    return case


def _patient(id: str) -> Actor:
    return Actor(id, frozenset({"patient"}))


@pytest.mark.parametrize(
    ("first", "second", "number"), [(0, 0, 1), (1, 1, 3), (2, 0, 3), (0, 2, 3)]
)
def test_merged_patients_have_the_sum(first: int, second: int, number: int) -> None:
    case = two_patients(first, second)
    case.event(merged("p1", "p2"))
    assert case.renewed("rx1").number == number
    assert len(case.account("p2").renewals) == number


@pytest.mark.parametrize(("first", "second"), [(2, 1), (1, 2), (3, 3)])
def test_merged_patients_who_have_used_up_all_are_refused(first: int, second: int) -> None:
    case = two_patients(first, second)
    case.event(merged("p1", "p2"))
    for rx in ("rx1", "rx2"):
        assert reason(case.ask(rx)) == Reason.RENEWAL_LIMIT_REACHED


def test_two_open_requests_that_a_merge_brings_together_never_exceed_the_limit() -> None:
    case = two_patients(1, 1)
    ids = [case.asked(), case.asked("rx2", "p2", _patient("p2"))]
    case.event(merged("p1", "p2"))
    assert set(case.account("p2").open) == set(ids)
    for id in ids:
        case.doctor(id, "approve")
    assert reason(case.pharmacist(ids[0], "pass")) is None
    assert reason(case.pharmacist(ids[1], "pass")) == Reason.RENEWAL_LIMIT_REACHED
    assert [case.refill(id).status for id in ids] == [Status.EFFECTIVE, Status.REFUSED]
    account = case.account("p2")
    assert (len(account.renewals), account.open) == (3, ())
    assert case.told()[-1] == ("p2", "refill.refused")


def test_a_doctor_can_no_longer_approve_what_a_merge_has_made_too_much() -> None:
    case = two_patients(2, 1)
    id = case.asked()
    case.event(merged("p1", "p2"))
    assert reason(case.doctor(id, "approve")) == Reason.RENEWAL_LIMIT_REACHED
    assert case.refill(id).status is Status.REFUSED
    assert case.account("p2").open == ()


def test_merges_that_follow_one_another_lead_to_the_last_survivor() -> None:
    for merges in ([("p1", "p2"), ("p2", "p3")], [("p2", "p3"), ("p1", "p2")]):
        case = two_patients(1, 1)
        for gone, survivor in merges:
            case.event(merged(gone, survivor))
        for id in ("p1", "p2"):
            care = case.doc(PatientCare, id)
            assert care is not None
            assert care.merged_into == "p3"
        assert case.renewed("rx1", "p1", _patient("p3")).number == 3
        assert set(case.doc(PatientCare, "p3").aliases) == {"p1", "p2"}  # type: ignore[union-attr]


def test_merges_that_contradict_each_other_change_nothing() -> None:
    case = two_patients(1, 1)
    case.event(merged("p1", "p2"))
    before = case.docs(PatientCare), case.docs(RenewalAccount)
    for gone, survivor in [("p1", "p3"), ("p2", "p1"), ("p2", "p2"), ("p1", "p2")]:
        assert reason(case.event(merged(gone, survivor))) == Reason.ALREADY_MERGED
    assert (case.docs(PatientCare), case.docs(RenewalAccount)) == before


def test_what_is_told_of_a_merged_record_is_told_of_the_survivor() -> None:
    case = two_patients(2, 1)
    case.event(merged("p1", "p2"))
    assert reason(case.ask()) == Reason.RENEWAL_LIMIT_REACHED
    case.event(visit(case.advance(HOUR), "v2"))  # of p1
    assert reason(case.ask()) is None


def test_a_visit_of_either_record_counts_after_the_merge() -> None:
    case = two_patients(3, 0)
    case.event(visit(case.now + timedelta(minutes=1), "v2", patient_id="p2"))
    assert reason(case.ask()) == Reason.RENEWAL_LIMIT_REACHED
    case.event(merged("p2", "p1"))
    assert reason(case.ask()) is None


def test_an_account_that_was_begun_while_its_patient_was_merged_is_taken_in() -> None:
    case = two_patients(2, 0)
    case.event(merged("p1", "p2"))
    # What a request left that had been decided before it saw the merge.
    late = Renewal(refill_id="late", prescription_id="rx8", effective_at=case.now)
    account = case.account("p1")
    case.put(account.but(renewals=(late,), version=account.version + 1))
    assert reason(case.ask()) == Reason.RENEWAL_LIMIT_REACHED
    assert len(case.account("p2").renewals) == 3
    assert case.account("p1").renewals == ()


# -- one poll -----------------------------------------------------------------------------


def test_what_follows_from_a_merge_in_the_same_batch_is_decided_by_it() -> None:
    case = two_patients(1, 1)
    open_id = case.asked()
    case.event(prescription("rx4", ingredient="other", patient_id="p1"))
    events = [
        prescription("rx5", patient_id="p1"),
        merged("p1", "p2"),
        merged("p2", "p3"),
        visit(NOW - HOUR, "v8", patient_id="p2"),
        stopped(NOW, "rx1"),
        stopped(NOW, "rx4"),
        stopped(NOW, "rx5"),
    ]
    answers = case.batch([case.event_input(e) for e in events])
    assert [reason(a) for a in answers] == [None] * len(events)
    assert case.refill(open_id).reason == Reason.PRESCRIPTION_STOPPED
    assert case.account("p3").open == ()
    assert len(case.account("p3").renewals) == 2


def test_many_requests_in_one_transaction_take_one_place() -> None:
    case = hospital()
    data = CheckedRequest(prescription_id="rx1", patient_id="p1", declaration=WELL)
    inputs = [case.command_input(REQUEST, data, actor=PATIENT) for _ in range(64)]
    answers = case.batch([case.signed(input)[0] for input in inputs])
    assert [reason(a) for a in answers].count(None) == 1
    assert [reason(a) for a in answers].count(Reason.OPEN_REQUEST) == 63
    assert len(case.docs(Refill)) == 64


def test_an_account_keeps_the_newest_renewals_each_once() -> None:
    many = [
        Renewal(refill_id=f"r{n:03}", prescription_id="rx", effective_at=NOW + n * HOUR)
        for n in range(RENEWALS_KEPT + 5)
    ]
    left = kept([*many, *many])
    assert left == tuple(many[5:])
