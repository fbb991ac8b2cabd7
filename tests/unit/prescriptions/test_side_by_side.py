"""What of one ingredient is taken in the morning and in the evening, and renewed each by itself?"""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from libs.common.decision import Answer, Refusal
from libs.common.events import FulfilmentStatus, FulfilmentUpdated, Quantity
from services.prescriptions.domain.reasons import Reason
from tests.unit.prescriptions.given import (
    DAY,
    HOUR,
    NOW,
    Hospital,
    prescription,
    reason,
    visit,
)
from tests.unit.prescriptions.test_around import seen

ISSUED = NOW - 25 * DAY  # of 28 days three are left
MONTH: dict[str, Any] = {
    "at": ISSUED,
    "days_supply": 28,
    "quantity": Quantity(value=28, unit="tablet"),
    "diagnoses": ("I10",),
}
NIGHT: dict[str, Any] = {
    "dosage": "two tablets at night",
    "quantity": Quantity(value=56, unit="tablet"),
}
#: As the hospital may tell a renewal that it takes over.
NUMBERS = ["own", "new", None]


def both(**more: Any) -> Hospital:
    """Two dosings that a doctor prescribed at one visit; ``more`` of the second one."""
    case = Hospital()
    case.event(prescription("am", **MONTH))
    case.event(prescription("pm", **{**MONTH, **NIGHT, "at": ISSUED + HOUR, **more}))
    case.event(visit(ISSUED + HOUR))
    return case


def copied(case: Hospital, refill: str, number: str | None, **more: Any) -> str:
    """The prescription that the hospital makes of it, if it does; its id, or the renewal's own."""
    own = case.refill(refill).new_prescription_id or ""
    id = f"his-{refill}" if number == "new" else own
    if number is not None:
        told = {**MONTH, "at": case.now, "refill_id": refill, "based_on": "am", **more}
        case.event(prescription(id, **told))
    return id


@pytest.mark.parametrize("number", NUMBERS)
def test_the_supply_of_the_one_is_none_of_the_other(number: str | None) -> None:
    case = both()
    copied(case, case.renewed("am").id, number)
    case.advance(HOUR)
    copied(case, case.renewed("pm").id, number, **NIGHT)
    for rx in ("am", "pm"):
        assert reason(case.ask(rx)) == Reason.TOO_EARLY
    case.advance(20 * DAY)
    assert reason(case.ask("am")) == Reason.TOO_EARLY  # 8 days are left


@pytest.mark.parametrize("number", ["own", "new"])
def test_nor_is_that_of_a_renewal_of_a_renewal(number: str) -> None:
    case = both()
    copy = copied(case, case.renewed("am").id, number)
    case.renewed("pm")
    case.advance(21 * DAY)
    case.renewed(copy)
    case.event(visit(case.now, "v2"))
    for rx in (copy, "am"):
        assert reason(case.ask(rx)) == Reason.TOO_EARLY
    case.asked("pm")  # whose own renewal has lasted for three weeks


def test_both_share_the_renewals_that_there_may_be_until_the_next_visit() -> None:
    case = both()
    case.renewed("am")
    case.renewed("pm")
    case.advance(21 * DAY)
    case.renewed("am")
    answer = case.ask("pm")
    assert reason(answer) == Reason.RENEWAL_LIMIT_REACHED
    assert instead(answer)["step"] == "visit"
    case.event(visit(case.now, "v2"))
    case.asked("pm")


def test_while_the_one_is_under_way_the_other_waits() -> None:
    case = both()
    id = case.asked("am")
    answer = case.ask("pm")
    assert reason(answer) == Reason.OPEN_REQUEST
    assert instead(answer) == instead(answer) | {"step": "follow", "refill_id": id}


def instead(answer: Answer) -> dict[str, Any]:
    assert isinstance(answer, Refusal)
    return dict(answer.extra["instead"])


def test_a_pharmacy_tells_of_each() -> None:
    case = both()
    told = FulfilmentUpdated(
        fulfilment_id="d1",
        prescription_id="pm",
        patient_id="p1",
        status=FulfilmentStatus.COLLECTED,
        occurred_at=NOW - 10 * DAY,
    )
    case.event(told)
    assert reason(case.ask("pm")) == Reason.TOO_EARLY  # 18 days are left
    case.asked("am")


@pytest.mark.parametrize(
    "more",
    [
        {"quantity": MONTH["quantity"]},  # perhaps the same again, in other words
        {"department": "geriatrics"},  # who did not know of the other, perhaps
        {"refill_id": "of-before"},  # a renewal's, and of which one is not known
    ],
)
def test_what_is_not_known_to_be_taken_beside_it_is_a_supply_of_it(more: dict[str, Any]) -> None:
    case = both(**more)
    case.renewed("am")
    assert reason(case.ask("pm")) == Reason.TOO_EARLY


def test_a_renewal_that_was_kept_before_it_was_kept_of_what_counts_for_both() -> None:
    case = both()
    case.renewed("am")
    account = case.account()
    old = [r.model_copy(update={"based_on": None}) for r in account.renewals]
    case.put(account.but(renewals=tuple(old)))
    assert reason(case.ask("pm")) == Reason.TOO_EARLY


def test_a_prescription_that_is_told_in_the_name_of_its_own_renewal_stops_nothing() -> None:
    case = both()
    case.advance(HOUR)
    refill = case.renewed("am")
    case.event(prescription("am", **{**MONTH, "at": case.now, "refill_id": refill.id}))
    assert reason(case.ask("pm")) == Reason.TOO_EARLY  # of which of them it is a copy is not known


def test_who_decides_on_the_one_sees_the_other_and_how_long_it_lasts() -> None:
    case = both()
    case.renewed("am")
    id = case.asked("pm")
    [other] = seen(case, id).medicines
    assert (other.prescription_id, other.lasts_until) == ("am", date(2026, 3, 29))
    case.cancel(id)
    case.advance(21 * DAY)
    [other] = seen(case, case.asked("am")).medicines
    # From 5 February on for 28 days.
    assert (other.prescription_id, other.lasts_until) == ("pm", date(2026, 3, 4))
