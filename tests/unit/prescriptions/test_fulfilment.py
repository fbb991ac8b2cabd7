"""What follows from what the patient's side chooses and pharmacies tell?"""

from __future__ import annotations

import itertools
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import given as for_all
from hypothesis import strategies as st

from libs.common import metrics
from libs.common.decision import Common, Decision
from libs.common.events import (
    FulfilmentStatus,
    FulfilmentUpdated,
    RefillCollected,
    RefillDispensed,
    RefillEffective,
    RefillFulfilmentChosen,
    RefillReturnedToStock,
)
from services.prescriptions.domain.documents import Prescription
from services.prescriptions.domain.fulfilment import Fulfilment, in_part
from services.prescriptions.domain.history import faults
from services.prescriptions.domain.reasons import Reason
from services.prescriptions.domain.transitions import Status
from services.prescriptions.main import count
from tests.support.counted import counted
from tests.unit.prescriptions.given import (
    DAUGHTER,
    DAY,
    DOCTOR,
    HOUR,
    NOW,
    STRANGER,
    Hospital,
    deceased,
    hospital,
    linked,
    merged,
    policies,
    prescription,
    reason,
)

HOME: dict[str, Any] = {
    "method": "delivery",
    "address": "示例市示例路 8 号",
    "telephone": "+86 571 0000 0000",
}


# -- choosing -----------------------------------------------------------------------------


def test_what_was_chosen_with_the_request_goes_to_pharmacies_when_it_takes_effect() -> None:
    case = hospital()
    id = case.asked()
    assert isinstance(case.choose(id, **HOME), Decision)
    assert case.events(RefillFulfilmentChosen) == []  # nothing to prepare yet
    case.doctor(id, "approve")
    case.pharmacist(id, "pass")
    [fact] = case.events(RefillEffective)
    assert (fact.method, fact.pharmacy_id) == ("delivery", "riverside")
    assert case.told()[-1] == ("p1", "refill.effective_chosen")


def test_an_address_is_in_no_event() -> None:
    case = hospital()
    id = case.renewed().id
    case.choose(id, **HOME)
    case.reported(id, "dispensed")
    said = " ".join(e.data.model_dump_json() for e in case.take())
    assert HOME["address"] not in said and HOME["telephone"] not in said
    chosen = case.refill(id).fulfilment
    assert chosen is not None and chosen.address == HOME["address"]


def test_a_choice_can_be_changed_until_it_is_dispensed_and_the_former_pharmacy_hears() -> None:
    case = hospital()
    id = case.renewed().id
    case.choose(id)
    case.choose(id, pharmacy_id="old-town")
    case.choose(id, pharmacy_id="old-town")
    facts = case.events(RefillFulfilmentChosen)
    assert [(f.pharmacy_id, f.previous_pharmacy_id) for f in facts] == [
        ("riverside", None),
        ("old-town", "riverside"),
        ("old-town", None),
    ]
    case.reported(id, "preparing", pharmacy_id="old-town")
    assert isinstance(case.choose(id), Decision)
    case.reported(id, "dispensed")
    late = case.choose(id, pharmacy_id="old-town")
    assert reason(late) == Common.WRONG_STATUS
    chosen = case.refill(id).fulfilment
    assert chosen is not None and chosen.pharmacy_id == "riverside"


def test_only_the_patients_side_chooses_on_the_version_that_it_has_read() -> None:
    case = hospital()
    case.event(linked())
    refill = case.renewed()
    for actor in (STRANGER, DOCTOR):
        assert reason(case.choose(refill.id, by=actor)) == Common.NOT_FOUND
    assert reason(case.choose("nothing")) == Common.NOT_FOUND
    stale = case.choose(refill.id, by=DAUGHTER, if_match=refill.version - 1)
    assert reason(stale) == Common.CHANGED
    assert isinstance(case.choose(refill.id, by=DAUGHTER, if_match=refill.version), Decision)


def test_a_pharmacy_must_be_known_and_deliver_there() -> None:
    case = hospital()
    id = case.renewed().id
    assert reason(case.choose(id, pharmacy_id="nowhere")) == Reason.UNKNOWN_PHARMACY
    never = case.choose(id, **HOME, pharmacy_id="old-town")
    assert reason(never) == Reason.NOT_DELIVERED_THERE
    far = case.choose(id, **HOME, place={"latitude": 30.2, "longitude": 120.58})
    assert reason(far) == Reason.NOT_DELIVERED_THERE
    near = {"latitude": 30.01, "longitude": 120.58}
    assert isinstance(case.choose(id, **HOME, place=near), Decision)
    chosen = case.refill(id).fulfilment
    assert chosen is not None and "120.58" not in chosen.model_dump_json()


def test_what_is_over_has_nothing_to_choose() -> None:
    case = hospital()
    id = case.asked()
    case.cancel(id)
    assert reason(case.choose(id)) == Common.WRONG_STATUS
    out = case.renewed().id
    case.advance(DAY)  # valid on the day only
    assert reason(case.choose(out)) == Common.WRONG_STATUS


def test_who_has_not_chosen_is_reminded_once_while_it_can_still_be_dispensed() -> None:
    case = hospital()
    case.renewed()
    case.take()
    case.fire_due(case.now + 2 * HOUR)
    assert case.told() == [("p1", "refill.choose")]
    case.fire_due(case.now + DAY)
    assert case.told() == [("p1", "refill.lapsed")]


@pytest.mark.parametrize("then", ["choose", "dispensed", "deceased"])
def test_nobody_is_reminded_of_what_is_settled(then: str) -> None:
    case = hospital()
    id = case.renewed().id
    if then == "choose":
        case.choose(id)
    elif then == "dispensed":
        case.reported(id, "dispensed")
    else:
        case.event(deceased())
    case.take()
    case.fire_due(case.now + 2 * HOUR)
    assert case.told() == []


def test_an_address_is_deleted_when_it_has_served() -> None:
    case = hospital()
    id = case.renewed().id
    case.choose(id, **HOME)
    case.reported(id, "dispensed")
    case.fire_due(NOW + 30 * DAY)
    assert address(case, id) == HOME["address"]  # still on its way
    case.reported(id, "delivered")
    case.fire_due(NOW + 31 * DAY)
    assert address(case, id) is None
    chosen = case.refill(id).fulfilment
    assert chosen is not None and (chosen.telephone, chosen.pharmacy_id) == (None, "riverside")


def test_the_address_of_a_request_that_came_to_nothing_is_deleted_too() -> None:
    case = hospital()
    id = case.asked()
    case.choose(id, **HOME)
    case.cancel(id)
    case.fire_due(NOW + 30 * DAY)
    assert address(case, id) is None


def test_an_address_that_was_given_anew_is_kept_for_its_own_time() -> None:
    case = hospital()
    id = case.asked()
    case.choose(id, **HOME)
    case.advance(HOUR)
    case.choose(id, **HOME)
    case.cancel(id)
    case.fire_due(NOW + 30 * DAY)
    assert address(case, id) == HOME["address"]
    case.fire_due(NOW + 30 * DAY + HOUR)
    assert address(case, id) is None


def address(case: Hospital, id: str) -> str | None:
    chosen = case.refill(id).fulfilment
    return chosen.address if chosen is not None else None


# -- reports ------------------------------------------------------------------------------


def test_each_step_of_the_pharmacy_is_published_and_told() -> None:
    case = hospital()
    id = case.renewed().id
    case.choose(id)
    case.take()
    for status in ("preparing", "dispensed", "collected"):
        case.advance(HOUR)
        case.reported(id, status)
    told = [e.data for e in case.emitted]
    assert [(d.occurred_at, d.pharmacy_id) for d in told if isinstance(d, RefillDispensed)] == [
        (NOW + 2 * HOUR, "riverside")
    ]
    assert case.told() == [("p1", "refill.dispensed"), ("p1", "refill.collected")]
    assert case.refill(id).status is Status.COLLECTED


def test_what_is_delivered_is_on_its_way_first() -> None:
    case = hospital()
    id = case.renewed().id
    case.choose(id, **HOME)
    case.take()
    case.reported(id, "dispensed")
    case.advance(HOUR)
    case.reported(id, "delivered")
    assert case.told() == [("p1", "refill.on_its_way"), ("p1", "refill.delivered")]


def test_collected_before_dispensed_is_known_tells_nobody_to_collect_it_again() -> None:
    case = hospital()
    id = case.renewed().id
    case.take()
    case.reported(id, "collected", occurred_at=NOW + timedelta(minutes=2))
    late = case.reported(id, "dispensed", occurred_at=NOW)
    assert isinstance(late, Decision)
    assert case.refill(id).status is Status.COLLECTED
    assert len(case.events(RefillCollected)) == len(case.events(RefillDispensed)) == 1
    assert case.told() == [("p1", "refill.collected")]


def test_an_old_report_that_is_read_again_wakes_nobody() -> None:
    case = hospital()
    id = case.renewed().id
    happened = case.now
    case.advance(90 * DAY)
    case.take()
    case.reported(id, "dispensed", occurred_at=happened)
    [push] = [e.data for e in case.take() if e.type == "hospital.notification.requested.v1"]
    assert push.model_dump()["expires_at"] < case.now


def test_a_pharmacy_that_declines_leaves_the_choice_to_the_patient() -> None:
    case = hospital()
    id = case.renewed().id
    case.choose(id)
    case.advance(HOUR)
    case.take()
    case.reported(id, "declined", reason="out_of_stock")
    refill = case.refill(id)
    assert (refill.status, refill.fulfilment and refill.fulfilment.declined_at) == (
        Status.EFFECTIVE,
        case.now,
    )
    assert case.told() == [("p1", "refill.pharmacy_declined")]
    case.fire_due(case.now + 2 * HOUR)
    assert case.told() == [("p1", "refill.choose")]
    case.choose(id, pharmacy_id="old-town")
    case.reported(id, "declined", "d2", pharmacy_id="riverside")  # not the chosen one any more
    refill = case.refill(id)
    assert refill.fulfilment is not None and refill.fulfilment.declined_at is None


def test_a_pharmacy_that_is_chosen_again_after_it_declined_has_not_declined_that() -> None:
    case = hospital()
    id = case.renewed().id
    case.choose(id)
    case.reported(id, "declined")
    case.advance(HOUR)
    case.choose(id)  # they have spoken on the telephone
    case.reported(id, "preparing", "d2")
    chosen = case.refill(id).fulfilment
    assert chosen is not None and chosen.declined_at is None


def test_the_same_report_under_another_event_is_stale_and_tells_nobody_again() -> None:
    case = hospital()
    id = case.renewed().id
    fact = case.report(id, "dispensed", occurred_at=NOW + timedelta(microseconds=7))
    case.event(fact)
    case.take()
    assert reason(case.event(fact)) == Common.STALE
    assert case.take() == []


def test_parts_are_dispensed_each_under_its_own_id() -> None:
    case = hospital()
    id = case.renewed().id
    case.take()
    case.reported(id, "dispensed", "d1")
    case.reported(id, "collected", "d1", occurred_at=case.advance(HOUR))
    case.reported(id, "dispensed", "d2", occurred_at=case.advance(HOUR))
    assert case.refill(id).status is Status.DISPENSED  # something lies ready
    case.reported(id, "returned_to_stock", "d2", occurred_at=case.advance(HOUR))
    assert case.refill(id).status is Status.COLLECTED  # what was received counts
    assert [f.reason for f in case.events(RefillReturnedToStock)] == [None]
    assert [t for _, t in case.told()] == [
        "refill.dispensed",
        "refill.collected",
        "refill.dispensed",
        "refill.returned_to_stock",
    ]


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ([], False),
        ([("dispensed", 3, "tablet")], True),
        ([("dispensed", 3, "tablet"), ("collected", 3.9, "tablet")], True),
        ([("dispensed", 3, "tablet"), ("collected", 4, "tablet")], False),
        ([("dispensed", 7, "tablet"), ("returned_to_stock", 4, "tablet")], False),
        ([("dispensed", 3, "tablet"), ("returned_to_stock", 4, "tablet")], True),
        ([("dispensed", 1, "box")], False),  # of how many is not told
        ([("dispensed", 3, "tablet"), ("collected", None, None)], False),
        ([("preparing", 3, "tablet")], False),
    ],
)
def test_that_only_a_part_was_dispensed_is_known_where_it_is_told_how_much(
    parts: list[tuple[str, float | None, str | None]], expected: bool
) -> None:
    case = hospital()  # seven tablets
    id = case.renewed().id
    for n, (status, value, unit) in enumerate(parts):
        quantity = None if value is None else {"value": value, "unit": unit}
        case.reported(id, status, f"d{n}", quantity=quantity)
    assert in_part(case.refill(id).prescribed.quantity, case.docs(Fulfilment)) is expected
    assert in_part(None, case.docs(Fulfilment)) is False


def test_what_is_no_renewal_of_ours_is_kept_and_done() -> None:
    case = hospital()
    fact = FulfilmentUpdated(
        fulfilment_id="d1",
        prescription_id="rx1",
        patient_id="p1",
        status=FulfilmentStatus.DISPENSED,
        occurred_at=NOW,
    )
    answer = case.event(fact)
    assert isinstance(answer, Decision) and answer.note == "no_renewal_of_ours"
    assert case.doc(Fulfilment, "d1") is not None
    assert case.events(RefillDispensed) == []


def test_a_report_of_another_patient_or_prescription_moves_nothing() -> None:
    case = hospital()
    id = case.renewed().id
    assert reason(case.reported(id, "dispensed", patient_id="p2")) == Reason.ANOTHER_PATIENT
    assert case.refill(id).status is Status.EFFECTIVE
    case.reported(id, "preparing", "d2")
    other = case.reported(id, "collected", "d2", prescription_id="rx1")
    assert reason(other) == Reason.ANOTHER_PRESCRIPTION


def test_a_patient_whose_records_were_merged_is_the_same() -> None:
    case = hospital()
    id = case.renewed().id
    case.event(merged("p1", "p2"))
    case.reported(id, "dispensed", patient_id="p2")
    assert case.refill(id).status is Status.DISPENSED


def test_what_lies_ahead_is_not_believed() -> None:
    case = hospital()
    id = case.renewed().id
    ahead = case.reported(id, "dispensed", occurred_at=NOW + HOUR)
    assert reason(ahead) == Reason.IN_THE_FUTURE


def test_the_dead_are_told_nothing() -> None:
    case = hospital()
    id = case.renewed().id
    case.event(deceased())
    case.take()
    case.reported(id, "dispensed")
    assert case.told() == []


# -- before its renewal is known ------------------------------------------------------------


def test_what_was_dispensed_before_the_hospitals_own_prescription_came_is_caught_up() -> None:
    case = hospital()
    id = case.renewed().id
    case.take()
    of: dict[str, Any] = {"prescription_id": "his-7", "refill_id": None}
    for status in ("collected", "dispensed"):
        answer = case.reported(id, status, **of)
        assert isinstance(answer, Decision) and answer.note == "no_renewal_of_ours"
    assert case.docs(Prescription, id="his-7")[0].order is None
    case.event(prescription("his-7", at=case.now, refill_id=id, based_on="rx1"))
    assert case.refill(id).status is Status.COLLECTED
    assert len(case.events(RefillCollected)) == len(case.events(RefillDispensed)) == 1
    assert case.told() == [("p1", "refill.collected")]
    case.advance(HOUR)
    case.reported(id, "returned_to_stock", **of)
    assert case.refill(id).status is Status.RETURNED_TO_STOCK


def test_a_renewal_that_comes_back_as_a_prescription_tells_no_dispensing_again() -> None:
    case = hospital()
    refill = case.renewed()
    case.reported(refill.id, "dispensed")
    case.take()
    own = refill.new_prescription_id or ""
    for _ in range(2):
        case.event(prescription(own, at=case.now, based_on="rx1", refill_id=refill.id))
    assert case.take() == []


def test_what_was_dispensed_before_it_was_in_effect_is_a_fact_and_is_shown() -> None:
    case = hospital()
    id = case.asked()
    case.reported(id, "dispensed", prescription_id="paper")
    assert case.refill(id).irregular == ("not_effective",)
    assert case.refill(id).status is Status.WAITING_DOCTOR
    case.advance(HOUR)
    case.doctor(id, "approve")
    case.pharmacist(id, "pass")
    refill = case.refill(id)
    assert (refill.status, refill.irregular) == (Status.DISPENSED, ("before_effective",))
    assert refill.history[-1].reason == "before_effective"
    assert len(case.events(RefillDispensed)) == 1


def test_what_was_dispensed_after_its_validity_is_a_fact_and_is_counted() -> None:
    case = hospital()
    id = case.renewed().id
    case.advance(DAY)
    fact = case.report(id, "dispensed")
    before = metrics.REFILLS_IRREGULAR.labels(reason="after_validity")._value.get()
    input = case.event_input(fact)
    count(input, case.send(input))
    refill = case.refill(id)
    assert (refill.status, refill.irregular) == (Status.DISPENSED, ("after_validity",))
    assert metrics.REFILLS_IRREGULAR.labels(reason="after_validity")._value.get() == before + 1
    case.advance(HOUR)
    case.reported(id, "returned_to_stock")  # nobody has it
    assert case.refill(id).irregular == ()


def test_the_last_minute_of_the_day_is_still_valid() -> None:
    case = hospital()  # valid on 2 March in Shanghai, which ends at 16:00 UTC
    id = case.renewed().id
    end = NOW + 14 * HOUR
    case.advance(DAY)
    case.reported(id, "dispensed", occurred_at=end - timedelta(milliseconds=1))
    assert case.refill(id).irregular == ()
    case.reported(id, "dispensed", "d2", occurred_at=end)
    assert case.refill(id).irregular == ("after_validity",)


def test_what_changes_no_status_is_counted_as_none() -> None:
    case = hospital()
    id = case.renewed().id
    before = counted("refills_total", status="effective")
    input = case.event_input(case.report(id, "preparing"))
    count(input, case.send(input))
    assert counted("refills_total", status="effective") == before


# -- how long a supply lasts ----------------------------------------------------------------


def early(case: Hospital) -> str | None:
    answer = case.ask()
    return reason(answer)


def test_a_supply_counts_from_the_day_on_which_it_was_dispensed() -> None:
    case = Hospital()
    case.event(prescription(days_supply=28, at=NOW - 25 * DAY))
    case.event(
        FulfilmentUpdated(
            fulfilment_id="d1",
            prescription_id="rx1",
            patient_id="p1",
            status=FulfilmentStatus.DISPENSED,
            occurred_at=NOW - 20 * DAY,
        )
    )
    assert early(case) == Reason.TOO_EARLY  # 8 days are left, not 3
    case.advance(DAY)
    assert early(case) is None


def test_what_went_back_to_the_pharmacy_is_no_supply() -> None:
    case = Hospital()
    case.event(prescription(days_supply=28, at=NOW - 30 * DAY))
    id = case.asked()
    case.doctor(id, "approve", comment="stable")
    case.pharmacist(id, "pass")
    case.reported(id, "dispensed")
    case.advance(DAY)
    assert early(case) == Reason.TOO_EARLY
    case.reported(id, "returned_to_stock")
    assert early(case) is None


# -- any order ----------------------------------------------------------------------------

statuses = st.sampled_from(list(FulfilmentStatus))
told = st.tuples(
    st.sampled_from(["d1", "d2", "d3"]),
    statuses,
    st.integers(0, 30),
    st.sampled_from(["riverside", "old-town"]),
)


def end(reports: list[tuple[Any, ...]], chosen: bool, early: int) -> dict[str, Any]:
    """How it ends when ``reports`` come in this order, ``early`` of them before it is in effect."""
    case = hospital()
    id = case.asked()
    if chosen:
        case.choose(id)
    later = case.now + 40 * HOUR
    known: dict[str, Any] = {"prescription_id": "paper"}

    def tell(some: list[tuple[Any, ...]]) -> None:
        for dispensing, status, hours, pharmacy in some:
            case.reported(
                id,
                status,
                dispensing,
                occurred_at=NOW + hours * HOUR,
                pharmacy_id=pharmacy,
                **known,
            )

    effective_at = case.now + HOUR
    case.now = later
    tell(reports[:early])
    case.now = effective_at
    case.doctor(id, "approve")
    case.pharmacist(id, "pass")
    case.now = later
    tell(reports[early:])
    case.fire_due()  # it is past its date
    refill = case.refill(id)
    assert list(faults(refill, policies(), case.now)) == []
    fulfilment = refill.fulfilment
    return {
        "status": refill.status,
        "irregular": refill.irregular,
        "declined_at": fulfilment.declined_at if fulfilment is not None else None,
        "fulfilments": [f.model_dump(exclude={"version"}) for f in case.docs(Fulfilment)],
    }


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@for_all(st.data())
def test_reports_in_any_order_and_twice_have_the_same_end(data: st.DataObject) -> None:
    reports = data.draw(st.lists(told, max_size=6))
    chosen = data.draw(st.booleans())
    again = data.draw(st.lists(st.sampled_from(reports), max_size=3)) if reports else []
    shuffled = data.draw(st.permutations([*reports, *again]))
    early = data.draw(st.integers(0, len(shuffled)))
    assert end(reports, chosen, 0) == end(shuffled, chosen, early)


def test_of_every_order_of_one_dispensing_the_end_is_the_latest_by_its_time() -> None:
    steps = [("d1", "preparing", 1, "riverside"), ("d1", "dispensed", 2, "riverside"),
             ("d1", "returned_to_stock", 9, "riverside")]  # fmt: skip
    ends = [end(list(order), False, 0) for order in itertools.permutations(steps)]
    assert all(e == ends[0] for e in ends)
    assert ends[0]["status"] is Status.RETURNED_TO_STOCK
