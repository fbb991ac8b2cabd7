"""Until when is a prescription valid, and what follows when nobody dispenses it?"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from libs.common.events import RefillExpired, RefillLapsed, RefillSuspended
from services.prescriptions.domain.accounts import used
from services.prescriptions.domain.documents import PatientCare
from services.prescriptions.domain.history import faults
from services.prescriptions.domain.policy import RenewalPolicies
from services.prescriptions.domain.reasons import Reason
from services.prescriptions.domain.transitions import Status
from tests.unit.prescriptions.given import (
    DAY,
    HOUR,
    NOW,
    Hospital,
    hospital,
    policies,
    prescription,
    reason,
    visit,
)
from tests.unit.prescriptions.test_policy import SHANGHAI, eighteen, file
from tests.unit.prescriptions.test_rules import said
from tests.unit.prescriptions.test_stable import condition

MOMENT = timedelta(milliseconds=1)
#: 23:50 in Shanghai, and the midnight that follows.
LATE = datetime(2026, 3, 2, 15, 50, tzinfo=UTC)
MIDNIGHT = datetime(2026, 3, 2, 16, 0, tzinfo=UTC)


def effective(case: Hospital, days: int = 1) -> str:
    id = case.asked()
    case.doctor(id, "approve", valid_days=days, comment="well controlled")
    case.pharmacist(id, "pass")
    return id


@pytest.mark.parametrize("by_timer", [True, False])
def test_what_is_approved_before_midnight_for_a_day_can_not_be_passed_after_it(
    by_timer: bool,
) -> None:
    case = hospital(now=LATE)
    id = case.asked()
    case.doctor(id, "approve", valid_days=1)
    assert (case.refill(id).valid_on, case.refill(id).deadline) == (date(2026, 3, 2), MIDNIGHT)
    if by_timer:
        case.fire_due(MIDNIGHT)
    case.now = MIDNIGHT + 10 * timedelta(minutes=1)
    answer = case.pharmacist(id, "pass")
    assert reason(answer) == ("wrong_status" if by_timer else Reason.DEADLINE_PASSED)
    assert case.refill(id).status is Status.EXPIRED
    assert len(case.events(RefillExpired)) == 1


@pytest.mark.parametrize("days", [2, 3])
def test_a_doctor_may_extend_it_past_midnight_and_every_day_is_a_whole_one(days: int) -> None:
    case = hospital(now=LATE)
    id = case.asked()
    case.doctor(id, "approve", valid_days=days, comment="well controlled")
    case.now = MIDNIGHT + MOMENT
    assert reason(case.pharmacist(id, "pass")) is None
    end = MIDNIGHT + (days - 1) * DAY
    assert case.refill(id).deadline == end
    case.fire_due(end - MOMENT)
    assert case.refill(id).status is Status.EFFECTIVE
    case.fire_due(end)
    assert case.refill(id).status is Status.LAPSED


def test_who_collected_nothing_in_time_is_told_and_may_ask_again() -> None:
    case = Hospital()
    case.event(prescription(days_supply=28))
    id = effective(case)
    own = case.refill(id).new_prescription_id or ""
    # As the hospital's system takes it over: under the renewal's own number, or a new one.
    case.event(prescription(own, at=NOW, days_supply=28, refill_id=id))
    case.event(prescription("rx5", at=NOW, days_supply=28, refill_id=id))
    assert reason(case.ask()) == Reason.TOO_EARLY
    case.take()
    case.fire_due(MIDNIGHT)
    refill = case.refill(id)
    assert (refill.status, refill.reason) == (Status.LAPSED, Reason.VALIDITY_OVER)
    assert refill.deadline is None
    [fact] = case.events(RefillLapsed)
    assert (fact.new_prescription_id, fact.valid_on) == (own, date(2026, 3, 2))
    assert fact.lapsed_at == MIDNIGHT
    assert fact.pharmacy_id is None
    assert case.told() == [("p1", "refill.lapsed")]
    again = case.refill(case.asked())  # nothing of it was supplied
    assert said(again, "not_too_early").figures == {"days_left": 0}
    assert again.number == 2  # and yet it counts, since a pharmacy's report may still come


def test_what_lapsed_goes_on_counting_until_the_next_visit() -> None:
    case = hospital()
    for _ in range(3):
        effective(case)
        case.fire_due(case.now + DAY)
    assert reason(case.ask()) == Reason.RENEWAL_LIMIT_REACHED
    case.event(visit(case.now, "v2"))
    care = case.doc(PatientCare, "p1")
    assert care is not None and used(case.account(), care, "cardiology") == 0


def test_where_pharmacies_report_nothing_nothing_lapses() -> None:
    silent = file()
    silent["rules"]["validity"]["parameters"]["pharmacies_report"] = False
    case = Hospital()
    case.event(prescription(days_supply=28))
    case.policy = RenewalPolicies([silent], SHANGHAI, eighteen)
    id = effective(case)
    case.take()
    case.fire_due(MIDNIGHT)
    assert case.refill(id).status is Status.EFFECTIVE
    assert (case.take(), case.events(RefillLapsed)) == ([], [])
    case.event(condition(case.now))
    assert case.refill(id).status is Status.EFFECTIVE  # nor is anything left to withhold
    assert reason(case.ask()) == Reason.TOO_EARLY
    case.fire_due(MIDNIGHT + 5 * DAY)
    assert case.refill(id).status is Status.EFFECTIVE


def test_what_a_pharmacy_dispensed_in_time_does_not_lapse() -> None:
    case = hospital()
    id = effective(case)
    case.reported(id, "dispensed")
    case.fire_due(MIDNIGHT)
    assert case.refill(id).status is Status.DISPENSED
    assert case.events(RefillLapsed) == []


#: A supply of seven days that was dispensed on the last of three days, 4 March.
USED_UP = MIDNIGHT + 8 * DAY


@pytest.mark.parametrize("at", [MIDNIGHT + 2 * DAY, MIDNIGHT + 5 * DAY, USED_UP - MOMENT])
@pytest.mark.parametrize("late", [False, True])
def test_what_lies_ready_or_is_on_its_way_is_withheld_after_its_last_day_too(
    at: datetime, late: bool
) -> None:
    case = hospital()
    id = effective(case, days=3)
    case.choose(id)
    if not late:
        case.reported(id, "dispensed")
    case.fire_due(at)  # the pharmacist's 24 hours, too, are over then
    if late:  # told when it had lapsed
        case.reported(id, "dispensed", occurred_at=NOW)
    case.take()
    case.event(condition(at))
    assert case.refill(id).status is Status.WITHHELD
    [fact] = case.events(RefillSuspended)
    assert fact.pharmacy_id == "riverside"
    assert case.told() == [("p1", "refill.withheld")]
    assert list(faults(case.refill(id), policies(), case.now)) == []


@pytest.mark.parametrize("status", ["collected", "delivered", "returned_to_stock"])
def test_what_has_arrived_or_came_back_is_not_withheld_after_its_last_day(status: str) -> None:
    case = hospital()
    id = effective(case)
    case.reported(id, "dispensed")
    case.fire_due(MIDNIGHT + HOUR)
    case.reported(id, status, quantity={"value": 3, "unit": "tablet"})  # the rest is not dispensed
    case.event(condition(case.now))
    assert case.refill(id).status == status


def test_nothing_follows_any_more_when_its_days_of_supply_are_over() -> None:
    case = hospital()
    id = effective(case, days=3)
    case.reported(id, "collected")
    case.fire_due(USED_UP - MOMENT)
    assert case.account().watched == (id,)
    case.fire_due(USED_UP)
    assert case.account().watched == ()
    case.event(condition(case.now))
    assert case.refill(id).status is Status.COLLECTED


def test_what_lies_ready_is_not_used_up() -> None:
    case = hospital()
    id = effective(case, days=3)
    case.reported(id, "dispensed")
    case.fire_due(USED_UP + DAY)
    case.event(condition(case.now))
    assert case.refill(id).status is Status.WITHHELD


def test_what_lay_ready_for_long_is_forgotten_when_it_is_used_up() -> None:
    case = hospital()
    id = effective(case, days=3)
    case.reported(id, "dispensed")
    case.fire_due(USED_UP + DAY)
    case.reported(id, "collected", occurred_at=case.now)
    case.fire_due(case.now + 6 * DAY)
    assert case.account().watched == (id,)
    case.fire_due(case.now + DAY)
    assert case.account().watched == ()


def test_what_came_late_is_used_up_later() -> None:
    case = hospital()
    id = effective(case, days=3)
    case.reported(id, "dispensed")
    case.now = MIDNIGHT + 4 * DAY  # two days after its last one
    case.reported(id, "collected", "d1")
    case.reported(id, "dispensed", "d2")
    case.reported(id, "collected", "d2")
    case.fire_due(USED_UP + 3 * DAY - MOMENT)
    assert case.account().watched == (id,)
    case.fire_due(USED_UP + 3 * DAY)
    assert case.account().watched == ()


@pytest.mark.parametrize("names", ["own", "hospitals", "unknown"])
def test_a_report_that_comes_after_it_lapsed_makes_it_a_supply_again(names: str) -> None:
    case = Hospital()
    case.event(prescription(days_supply=28))
    id = effective(case)
    case.event(prescription("rx5", at=NOW, days_supply=28, refill_id=id))
    case.fire_due(MIDNIGHT)
    more = {"own": {}, "hospitals": {"prescription_id": "rx5"}, "unknown": {"prescription_id": "7"}}
    case.reported(id, "collected", occurred_at=NOW + HOUR, **more[names])
    assert (case.refill(id).status, case.refill(id).irregular) == (Status.COLLECTED, ())
    assert reason(case.ask()) == Reason.TOO_EARLY
    assert len(case.account().renewals) == 1


def test_what_was_dispensed_although_it_was_withheld_is_a_fact_that_a_pharmacist_sees() -> None:
    for at, irregular, stands in (
        (NOW + HOUR, ("withheld",), Status.DISPENSED),
        (NOW + HOUR - MOMENT, (), Status.WITHHELD),  # it lies ready, and is void
    ):
        case = hospital()
        id = effective(case)
        case.now = NOW + HOUR
        case.event(condition(NOW))
        assert case.refill(id).status is Status.WITHHELD
        case.take()
        case.reported(id, "dispensed", occurred_at=at)
        assert (case.refill(id).status, case.refill(id).irregular) == (stands, irregular)
        assert case.told() == [("p1", "refill.withheld")]  # and not that it is ready
        assert case.refill(id).paper_status is Status.WITHHELD  # it stays void
        case.reported(id, "collected", occurred_at=NOW + HOUR)
        assert case.refill(id).irregular == ("withheld",)
        assert case.told() == [("p1", "refill.withheld")]
        case.reported(id, "returned_to_stock", occurred_at=NOW + HOUR)
        assert case.told() == [("p1", "refill.returned_to_stock")]


def test_a_late_timer_does_not_make_it_valid_for_longer() -> None:
    """What is told after the last day finds it past its date already, and not withheld."""
    case = hospital()
    id = effective(case)
    case.now = MIDNIGHT + HOUR
    case.event(condition(MIDNIGHT))
    assert case.refill(id).status is Status.EFFECTIVE
    case.fire_due()
    assert case.refill(id).status is Status.LAPSED
