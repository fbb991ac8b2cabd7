"""What follows for a renewal when something is told while it is under way?"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any, cast

import pytest

from libs.common.decision import Actor, Common, Decision
from libs.common.events import (
    AllergyCategory,
    ClinicalStatus,
    Event,
    NotificationRequested,
    PractitionerLeft,
    RefillRefused,
    RefillSuspended,
    VerificationStatus,
)
from services.prescriptions.domain.documents import Prescription, Refill, RenewalAccount
from services.prescriptions.domain.facts import Outcome, Verdict
from services.prescriptions.domain.fulfilment import Fulfilment
from services.prescriptions.domain.health import Allergy
from services.prescriptions.domain.history import faults
from services.prescriptions.domain.parameters import Language
from services.prescriptions.domain.reasons import Reason
from services.prescriptions.domain.saying import reason_text
from services.prescriptions.domain.stopping import unseen
from services.prescriptions.domain.supply import supplied
from services.prescriptions.domain.transitions import Status
from services.prescriptions.store import ACCOUNTS
from tests.unit.prescriptions.given import (
    COLLEAGUE,
    DAUGHTER,
    DAY,
    DOCTOR,
    HOUR,
    NOW,
    Hospital,
    deceased,
    hospital,
    linked,
    merged,
    policies,
    prescription,
    reason,
    stopped,
    visit,
)
from tests.unit.prescriptions.test_rules import said
from tests.unit.prescriptions.test_stable import admitted, allergy, condition, doctor, taken_back

MINUTE = timedelta(minutes=1)
IN_WORDS = allergy(None, system=None, recorded_at=NOW)
#: What stands against amlodipine as soon as it is told, and why.
TOLD: dict[str, tuple[Event, Reason]] = {
    "allergy": (allergy("C08CA01", recorded_at=NOW), Reason.ALLERGY_RECORDED),
    "class": (allergy("C08", recorded_at=NOW - 9 * DAY), Reason.ALLERGY_RECORDED),
    "words": (IN_WORDS, Reason.ALLERGY_TO_COMPARE),
    "admission": (admitted(NOW - HOUR), Reason.CONDITION_CHANGED),
    "diagnosis": (condition(NOW), Reason.CONDITION_CHANGED),
    "another_stopped": (stopped(NOW, "rx2"), Reason.CONDITION_CHANGED),
    "stopped": (stopped(NOW), Reason.PRESCRIPTION_STOPPED),
    "death": (deceased(), Reason.PATIENT_DECEASED),
}
#: After these nothing is left to decide.
FINAL = ("stopped", "death")


def asked(case: Hospital) -> str:
    return case.asked()


def approved(case: Hospital, by: Any = DOCTOR) -> str:
    id = case.asked()
    case.doctor(id, "approve", by, valid_days=3)
    return id


def returned(case: Hospital) -> str:
    id = approved(case)
    case.pharmacist(id, "return")
    return id


def effective(case: Hospital) -> str:
    id = approved(case)
    case.pharmacist(id, "pass")
    return id


OPEN: list[Callable[[Hospital], str]] = [asked, approved, returned]


@pytest.mark.parametrize("way", OPEN)
@pytest.mark.parametrize("name", [n for n in TOLD if n not in FINAL])
def test_an_open_renewal_goes_back_to_a_doctor_at_once(
    way: Callable[[Hospital], str], name: str
) -> None:
    case = hospital()
    id = way(case)
    signer = case.refill(id).doctor_id
    case.take()
    fact, why = TOLD[name]
    case.event(fact)
    refill = case.refill(id)
    assert (refill.status, refill.reason, refill.stage) == (Status.SUSPENDED, why, "doctor")
    assert refill.bound_to == signer
    assert refill.deadline == NOW + 48 * HOUR
    assert case.account().open == (id,)
    [event] = case.events(RefillSuspended)
    assert (event.reason, event.new_prescription_id) == (why, None)
    assert case.told() == [("p1", "refill.suspended"), ("dr1", "refill.to_look_at")]
    case.event(fact)  # told twice
    assert case.refill(id) == refill
    case.fire_due(NOW + 48 * HOUR)
    assert case.refill(id).status is Status.EXPIRED


@pytest.mark.parametrize("way", OPEN)
@pytest.mark.parametrize("name", FINAL)
def test_after_a_death_or_a_stop_there_is_nothing_left_to_decide(
    way: Callable[[Hospital], str], name: str
) -> None:
    case = hospital()
    id = way(case)
    case.event(IN_WORDS)  # suspended
    fact, why = TOLD[name]
    case.event(fact)
    assert (case.refill(id).status, case.refill(id).reason) == (Status.REFUSED, why)
    assert [e.reason for e in case.events(RefillRefused)] == [why]
    assert case.account().open == ()


@pytest.mark.parametrize("name", TOLD)
def test_what_is_in_effect_must_not_be_dispensed_any_more(name: str) -> None:
    case = hospital()
    id = effective(case)
    case.choose(id)
    case.take()
    fact, why = TOLD[name]
    case.event(fact)
    refill = case.refill(id)
    assert (refill.status, refill.reason, refill.stage) == (Status.WITHHELD, why, None)
    [event] = case.events(RefillSuspended)
    assert (event.reason, event.new_prescription_id) == (why, refill.new_prescription_id)
    assert event.pharmacy_id == "riverside"
    told = case.told()
    assert told == ([] if name == "death" else [("p1", "refill.withheld")])
    [renewal] = case.account().renewals  # it goes on counting: a pharmacy may have been faster
    assert (renewal.supplied, case.account().watched) == (False, ())
    case.event(fact)
    case.fire_due(NOW + 5 * DAY)
    assert case.refill(id) == refill


@pytest.mark.parametrize("name", TOLD)
def test_what_lies_ready_or_is_on_its_way_must_not_be_handed_out_any_more(name: str) -> None:
    case = hospital()
    id = effective(case)
    case.choose(id)
    case.reported(id, "dispensed")
    case.advance(MINUTE)
    case.take()
    fact, why = TOLD[name]
    case.event(fact)
    refill = case.refill(id)
    assert (refill.status, refill.reason, refill.irregular) == (Status.WITHHELD, why, ())
    assert refill.paper_status is Status.WITHHELD
    [event] = case.events(RefillSuspended)
    assert (event.new_prescription_id, event.pharmacy_id) == (
        refill.new_prescription_id,
        "riverside",
    )
    told = case.told()
    assert told == ([] if name == "death" else [("p1", "refill.withheld")])
    assert case.account().watched == ()
    case.event(fact)
    assert case.refill(id) == refill
    case.reported(id, "preparing", "d2")  # whatever else is told of it, it stays void
    assert case.refill(id).status is Status.WITHHELD


@pytest.mark.parametrize("chosen", [False, True])
def test_the_pharmacy_where_it_lies_hears_of_it_whichever_was_chosen(chosen: bool) -> None:
    case = hospital()
    id = effective(case)
    if chosen:
        case.choose(id)
    case.reported(id, "returned_to_stock", "d1")  # a part went back there
    case.reported(id, "dispensed", "d2", pharmacy_id="old-town")
    case.advance(MINUTE)
    case.reported(id, "collected", "d3")  # the patient has another part already
    case.event(IN_WORDS)
    assert [e.pharmacy_id for e in case.events(RefillSuspended)] == ["old-town"]


@pytest.mark.parametrize(
    ("then", "stands", "irregular"),
    [
        ("collected", Status.COLLECTED, ("withheld",)),
        ("delivered", Status.DELIVERED, ("withheld",)),
        ("returned_to_stock", Status.RETURNED_TO_STOCK, ()),
    ],
)
def test_what_a_pharmacy_does_with_it_after_that_is_a_fact(
    then: str, stands: Status, irregular: tuple[str, ...]
) -> None:
    case = Hospital()
    case.event(prescription(days_supply=7))
    id = effective(case)
    case.reported(id, "dispensed")
    case.advance(MINUTE)
    case.event(stopped(case.now, case.refill(id).new_prescription_id or ""))
    assert case.refill(id).status is Status.WITHHELD
    case.reported(id, then)
    refill = case.refill(id)
    assert (refill.status, refill.irregular) == (stands, irregular)
    assert refill.paper_status is Status.WITHHELD  # and void all the same
    assert list(faults(refill, policies())) == []
    # What came back is no supply, so a doctor may prescribe and renew it anew.
    assert had_any(case) == (then != "returned_to_stock")


def had_any(case: Hospital) -> bool:
    """Whether the patient has had anything of the renewal."""
    account, [known] = case.account(), case.docs(Prescription, id="rx1")
    assert known.order is not None
    codes, told, policy = (
        (account.ingredient_code,),
        case.docs(Fulfilment),
        case.policy.at(case.now),
    )
    return supplied(known.id, known.order, codes, account, {}, told, policy) is not None


@pytest.mark.parametrize("merge_first", [False, True])
def test_a_patient_who_asked_under_another_of_their_ids_is_told_of_it_once(
    merge_first: bool,
) -> None:
    case = hospital()
    alias = Actor("p2", frozenset({"patient"}))
    if merge_first:
        case.event(merged("p2", "p1"))
        id = case.renewed("rx1", "p1", alias).id
    else:
        id = case.renewed().id
        case.event(merged("p1", "p2"))
    case.take()
    case.event(IN_WORDS)
    asked_by = case.refill(id).requested_by
    assert asked_by == ("p2" if merge_first else "p1")
    assert case.told() == [(asked_by, "refill.withheld")]


def test_whom_another_asked_for_is_told_beside_them() -> None:
    case = hospital()
    case.event(linked())
    case.renewed(by=DAUGHTER)
    case.take()
    case.event(IN_WORDS)
    assert case.told() == [("p5", "refill.withheld"), ("p1", "refill.withheld")]


HALF: dict[str, Any] = {"quantity": {"value": 4, "unit": "tablet"}}  # of seven


@pytest.mark.parametrize("arrived", ["collected", "delivered"])
@pytest.mark.parametrize(
    "parts",
    [
        [("collected", HALF)],  # of the rest nothing was told yet
        [("collected", HALF), ("preparing", {})],
        [("collected", {}), ("preparing", {})],  # how much was not told
        [("collected", HALF), ("dispensed", HALF)],
        [("collected", HALF), ("returned_to_stock", HALF)],  # may be dispensed again
        [("collected", {}), ("returned_to_stock", {})],
    ],
)
def test_a_second_part_is_withheld_when_the_first_one_is_at_home(
    parts: list[tuple[str, dict[str, Any]]], arrived: str
) -> None:
    case = hospital()
    id = effective(case)
    case.choose(id)
    for n, (status, more) in enumerate(parts):
        status = arrived if status == "collected" else status
        case.reported(id, status, f"d{n}", **more)
    case.advance(MINUTE)
    case.take()
    case.event(IN_WORDS)
    refill = case.refill(id)
    assert (refill.status, refill.irregular) == (Status.WITHHELD, ())
    assert refill.paper_status is Status.WITHHELD
    [event] = case.events(RefillSuspended)
    assert event.pharmacy_id == "riverside"
    assert case.told() == [("p1", "refill.withheld")]
    assert had_any(case)  # by the first part
    case.reported(id, arrived, "d0", occurred_at=case.now - MINUTE / 2, **HALF)  # told again
    assert case.refill(id).status is Status.WITHHELD
    case.reported(id, "dispensed", "d9")
    assert case.refill(id).irregular == ("withheld",)
    assert case.told()[-1:] == [("p1", "refill.withheld")]
    assert list(faults(case.refill(id), policies())) == []


@pytest.mark.parametrize("more", [{}, {"quantity": {"value": 7, "unit": "tablet"}}])
def test_what_the_patient_has_at_home_is_not_withheld(more: dict[str, Any]) -> None:
    case = hospital()
    id = effective(case)
    case.reported(id, "collected", **more)
    case.event(IN_WORDS)
    assert case.refill(id).status is Status.COLLECTED


def test_the_renewals_own_prescription_may_be_stopped_too() -> None:
    case = hospital()
    id = effective(case)
    own = case.refill(id).new_prescription_id or ""
    case.event(stopped(NOW, own))
    case.event(prescription(own, at=NOW, refill_id=id))  # its issue comes late
    assert case.refill(id).status is Status.WITHHELD
    assert case.refill(id).reason == Reason.PRESCRIPTION_STOPPED


@pytest.mark.parametrize("stopped_first", [False, True])
def test_a_copy_may_name_its_renewal_by_the_number_of_its_prescription(stopped_first: bool) -> None:
    case = hospital()
    id = effective(case)
    own = case.refill(id).new_prescription_id
    told = [prescription("his-7", at=NOW, refill_id=own), stopped(NOW, "his-7")]
    for fact in reversed(told) if stopped_first else told:
        case.event(fact)
    copy = case.doc(Prescription, "his-7")
    assert copy is not None and copy.order is not None and copy.order.refill_id == id
    assert case.refill(id).status is Status.WITHHELD


def test_a_prescription_of_another_patient_is_no_copy_of_a_renewal() -> None:
    case = hospital()
    own = case.refill(effective(case)).new_prescription_id
    case.event(prescription("his-7", at=NOW, refill_id=own, patient_id="p2"))
    copy = case.doc(Prescription, "his-7")
    assert copy is not None and copy.order is not None and copy.order.refill_id == own


@pytest.mark.parametrize(
    "fact",
    [
        allergy("J01CA04", recorded_at=NOW),
        allergy(None, system=None, category=AllergyCategory.FOOD),
        allergy("227493005", system="SNOMED", category=AllergyCategory.ENVIRONMENT),
        allergy("C08CA01", clinical_status=ClinicalStatus.RESOLVED),
        allergy(None, system=None, verification_status=VerificationStatus.REFUTED),
        admitted(NOW - 31 * DAY),
        condition(NOW, clinical_status=ClinicalStatus.INACTIVE),
        condition(NOW, patient="p2"),
        deceased("p2"),
        stopped(NOW, "rx3", "p2"),
        visit(NOW, "v2"),
    ],
)
def test_what_does_not_concern_it_stops_nothing(fact: Event) -> None:
    case = hospital()
    case.event(prescription("rx2", code="C10AA05", ingredient="atorvastatin"))
    in_effect, waiting = effective(case), case.asked("rx2")
    case.event(fact)
    assert case.refill(in_effect).status is Status.EFFECTIVE
    assert case.refill(waiting).status is Status.WAITING_DOCTOR


@pytest.mark.parametrize(
    ("why", "fact", "mends"),
    [
        (Reason.CONDITION_CHANGED, admitted(NOW - HOUR), taken_back(NOW)),
        (Reason.CONDITION_CHANGED, condition(NOW), visit(NOW, "v2")),
        (
            Reason.CONDITION_CHANGED,
            condition(NOW),
            condition(NOW + MINUTE, verification_status=VerificationStatus.REFUTED),
        ),
        (
            Reason.ALLERGY_RECORDED,
            allergy("C08CA01", recorded_at=NOW),
            allergy(
                "C08CA01",
                recorded_at=NOW + MINUTE,
                verification_status=VerificationStatus.ENTERED_IN_ERROR,
            ),
        ),
    ],
)
def test_a_doctor_approves_again_only_when_the_rules_hold_again(
    why: Reason, fact: Event, mends: Event
) -> None:
    case = hospital()
    id = approved(case)
    case.event(fact)
    assert reason(case.doctor(id, "approve")) == why
    assert case.refill(id).status is Status.SUSPENDED
    case.event(mends)
    assert case.refill(id).status is Status.SUSPENDED  # never by itself
    assert reason(case.doctor(id, "approve", COLLEAGUE)) == Reason.NOT_THE_SIGNING_DOCTOR
    assert reason(case.doctor(id, "approve", valid_days=3)) is None
    case.pharmacist(id, "pass")
    assert case.refill(id).status is Status.EFFECTIVE
    assert len(case.refill(id).forms) == 2  # what was signed before is superseded


def test_a_doctor_may_decline_what_is_suspended_and_the_patient_take_it_back() -> None:
    for status in (Status.DECLINED, Status.CANCELLED):
        case = hospital()
        id = asked(case)
        case.event(condition(NOW))
        if status is Status.DECLINED:
            case.doctor(id, "decline")
        else:
            case.cancel(id)
        assert case.refill(id).status is status
        assert case.account().open == ()


# -- allergies in words -------------------------------------------------------------------


def test_an_allergy_in_words_is_looked_at_by_a_doctor_once() -> None:
    case = hospital()
    id = approved(case)
    case.event(IN_WORDS)
    assert case.refill(id).status is Status.SUSPENDED
    assert reason(case.doctor(id, "approve", valid_days=3)) is None
    assert said(case.refill(id), "allergy", 3).verdict is Verdict.NOT_CHECKED
    again = allergy(None, system=None, recorded_at=NOW + MINUTE)  # the same record, told again
    case.event(again)
    case.event(condition(NOW, patient="p2"))
    case.pharmacist(id, "pass")
    case.event(again)
    assert case.refill(id).status is Status.EFFECTIVE
    case.event(allergy(None, "a2", None, recorded_at=NOW))  # another one
    assert case.refill(id).status is Status.WITHHELD


def test_so_is_one_to_a_combination_that_says_not_to_what() -> None:
    case = hospital()
    id = approved(case)
    case.event(allergy("C09DB01", recorded_at=NOW))
    assert case.refill(id).status is Status.SUSPENDED
    assert reason(case.doctor(id, "approve")) is None
    assert reason(case.pharmacist(id, "pass")) is None
    assert case.refill(id).status is Status.EFFECTIVE


def test_one_that_was_there_when_it_was_asked_for_is_no_news() -> None:
    case = hospital()
    case.event(allergy(None, system=None))
    id = effective(case)
    assert case.refill(id).status is Status.EFFECTIVE


def reworded(display: str, recorded_at: Any = NOW) -> Event:
    told = allergy(None, system=None, recorded_at=recorded_at)
    return told.model_copy(update={"display": display})


@pytest.mark.parametrize("way", [approved, effective])
def test_one_that_was_there_and_says_another_thing_by_now_is(
    way: Callable[[Hospital], str],
) -> None:
    case = hospital()
    case.event(reworded("待查", NOW - DAY))
    id = way(case)
    case.event(reworded("待查"))
    status = case.refill(id).status
    assert status in (Status.WAITING_PHARMACIST, Status.EFFECTIVE)
    case.event(reworded("氨氯地平, 过敏性休克", NOW + MINUTE))
    refill = case.refill(id)
    void = status is Status.EFFECTIVE
    assert refill.status is (Status.WITHHELD if void else Status.SUSPENDED)
    assert refill.reason == Reason.ALLERGY_TO_COMPARE


def test_what_was_kept_as_seen_by_its_id_alone_is_seen() -> None:
    refill, [outcome] = judged_by_words("a1")
    assert unseen(refill, [outcome]) is None
    other = outcome.model_copy(update={"figures": {"in_words": ["a2@1"]}})
    assert unseen(refill, [other]) is Reason.ALLERGY_TO_COMPARE


def judged_by_words(seen: str) -> tuple[Refill, list[Outcome]]:
    """A renewal in effect at whose last step the record ``seen`` was there, and what is told."""
    case = hospital()
    case.event(allergy(None, system=None))
    refill = case.refill(effective(case))
    *before, step = refill.history
    [now] = [o for o in step.outcomes if o.rule == "allergy"]
    then = now.model_copy(update={"figures": {"in_words": [seen]}})
    return refill.but(history=(*before, step.model_copy(update={"outcomes": (then,)}))), [now]


def test_who_is_perhaps_allergic_is_not_told_to_be_and_to_stop_the_medicine() -> None:
    case = hospital()
    id = effective(case)
    case.event(IN_WORDS)
    step = case.refill(id).history[-1]
    policy = policies().at(NOW)
    for language, said_so, stop in (
        ("zh-CN", "对这种药品", "请勿自行停药"),
        ("en", "you are allergic", "Don't stop"),
    ):
        text = reason_text(step, policy, cast(Language, language)) or ""
        assert said_so in (policy.words(Reason.ALLERGY_RECORDED, cast(Language, language)) or "")
        assert said_so not in text and stop in text


def test_one_that_turns_out_to_be_to_the_medicine_is() -> None:
    case = hospital()
    case.event(allergy(None, system=None))
    id = effective(case)
    case.event(allergy("C08CA01", recorded_at=NOW))
    assert case.refill(id).status is Status.WITHHELD


@pytest.mark.parametrize(
    ("code", "system", "why"),
    [
        ("C08CA01", "ATC", Reason.ALLERGY_RECORDED),
        (None, None, Reason.ALLERGY_TO_COMPARE),
    ],
)
def test_a_pharmacist_passes_nothing_against_which_something_stands_that_no_doctor_saw(
    code: str | None, system: str | None, why: Reason
) -> None:
    case = hospital()
    id = approved(case)
    # Told in the very moment in which the renewal came up, so that its event found none.
    told = allergy(code, system=system, recorded_at=NOW)
    case.put(Allergy(id="a1", hospital="h1", **told.model_dump(exclude={"allergy_id"})))
    assert reason(case.pharmacist(id, "pass")) == why
    refill = case.refill(id)
    assert (refill.status, refill.bound_to) == (Status.SUSPENDED, "dr1")
    assert refill.deadline is not None
    case.fire_due(refill.deadline)
    assert case.refill(id).status is Status.EXPIRED


# -- records that are merged --------------------------------------------------------------


@pytest.mark.parametrize("gone", ["p1", "p2"])
@pytest.mark.parametrize("name", [n for n in TOLD if n != "another_stopped"])
def test_what_was_told_of_the_other_record_counts_once_they_are_one(gone: str, name: str) -> None:
    survivor = {"p1": "p2", "p2": "p1"}[gone]
    results = []
    for merge_first in (True, False):
        case = hospital()
        case.event(prescription("rx2", code="C10AA05", ingredient="atorvastatin"))
        waiting, in_effect = case.asked("rx2"), effective(case)
        of_other = TOLD[name][0].model_copy(update={"patient_id": "p2"})
        if name == "stopped":
            case.event(prescription("rx3", patient_id="p2", code="A10BA02", ingredient="metformin"))
            of_other = stopped(NOW, "rx3", "p2")
        merge = merged(gone, survivor)
        for fact in (merge, of_other) if merge_first else (of_other, merge):
            case.event(fact)
        for patient in ("p1", "p2"):
            accounts = [case.account(patient)] if patient == survivor else []
            assert all(a.watched == () for a in accounts)
        results.append([case.refill(id) for id in (waiting, in_effect)])
    # An allergy to calcium channel blockers does not concern a statin.
    other = name in ("allergy", "class")
    suspended = Status.REFUSED if name == "death" else Status.SUSPENDED
    for first, second in results:
        assert first.status is (Status.WAITING_DOCTOR if other else suspended)
        assert second.status is Status.WITHHELD
    assert {r.reason for r in results[0]} == {r.reason for r in results[1]}


# -- what is told ahead of its time -------------------------------------------------------


def test_a_stop_or_an_admission_that_is_still_to_come_counts_when_it_does() -> None:
    for fact, at in ((stopped(NOW + DAY), NOW + DAY), (admitted(NOW + MINUTE), NOW + MINUTE)):
        case = hospital()
        case.event(prescription("rx2", code="C10AA05", ingredient="atorvastatin"))
        waiting, in_effect = case.asked("rx2"), effective(case)
        case.event(fact)
        case.fire_due(at - timedelta(milliseconds=1))
        assert case.refill(waiting).status is Status.WAITING_DOCTOR
        assert case.refill(in_effect).status is Status.EFFECTIVE
        case.fire_due(at)
        assert case.refill(in_effect).status is Status.WITHHELD
        assert case.refill(waiting).status is Status.SUSPENDED


def test_an_admission_that_is_taken_back_before_it_comes_stops_nothing() -> None:
    case = hospital()
    id = effective(case)
    case.event(admitted(NOW + MINUTE))
    case.event(taken_back(NOW))
    [answer] = case.fire_due(NOW + MINUTE)
    assert isinstance(answer, Decision) and answer.note == "nothing_follows"
    assert case.refill(id).status is Status.EFFECTIVE


# -- practitioners who leave --------------------------------------------------------------


def left(at: Any, person: str = "dr1") -> PractitionerLeft:
    return PractitionerLeft(practitioner_id=person, left_at=at)


@pytest.mark.parametrize("way", [approved, returned])
def test_what_a_doctor_signed_who_left_comes_back_to_the_department(
    way: Callable[[Hospital], str],
) -> None:
    case = hospital()
    id = way(case)
    case.event(left(NOW))
    if way is approved:
        case.pharmacist(id, "return")
    assert reason(case.doctor(id, "approve")) == Reason.PRACTITIONER_LEFT
    assert case.refill(id).status is Status.RETURNED
    assert reason(case.doctor(id, "approve", COLLEAGUE)) is None
    assert case.refill(id).bound_to == "dr2"


def test_who_has_left_decides_nothing_until_registered_again() -> None:
    case = hospital()
    id = case.asked()
    case.event(left(NOW - HOUR))
    case.event(doctor(None, NOW - 2 * HOUR))  # an older record comes late
    case.event(left(NOW - HOUR, "ph1"))
    assert reason(case.doctor(id, "decline")) == Reason.PRACTITIONER_LEFT
    case.event(doctor(None, NOW))
    assert reason(case.doctor(id, "approve")) is None
    assert reason(case.event(left(NOW - HOUR))) == Common.STALE
    for decision in ("pass", "return", "refuse"):
        assert reason(case.pharmacist(id, decision)) == Reason.PRACTITIONER_LEFT
    assert case.refill(id).status is Status.WAITING_PHARMACIST


def test_a_doctor_who_is_to_leave_decides_until_then() -> None:
    case = hospital()
    id = returned(case)
    case.event(left(NOW + HOUR))
    assert case.refill(id).bound_to == "dr1"
    case.fire_due(NOW + HOUR)
    assert case.refill(id).bound_to is None
    assert reason(case.doctor(id, "approve")) == Reason.PRACTITIONER_LEFT
    assert reason(case.doctor(id, "approve", COLLEAGUE)) is None


def test_notifications_name_no_reason_and_doctors_are_told_as_staff() -> None:
    case = hospital()
    approved(case)
    case.event(condition(NOW))
    told = [e for e in case.events(NotificationRequested) if e.template.startswith("refill.to_")]
    [work] = told
    assert (work.recipient_id, work.patient_id, work.health_data) == ("dr1", "p1", False)
    assert work.parameters == {"deadline": "2026-03-04 10:00"}
    assert len({e.notification_id for e in case.events(NotificationRequested)}) == 4


def test_only_what_a_doctor_has_signed_is_bound() -> None:
    case = hospital()
    case.event(condition(NOW, patient="p3"))
    id = asked(case)
    case.event(condition(NOW))
    assert case.refill(id).bound_to is None
    assert [r.bound_to for r in case.docs(Refill)] == [None]


def test_a_step_of_the_history_is_found_again_by_what_led_to_it() -> None:
    case = hospital()
    id = case.asked()
    case.event(TOLD["admission"][0], id="of-the-hospital")
    asked, suspended = (step.correlation_id for step in case.refill(id).history)
    assert suspended == "of-the-hospital" != asked


def test_a_renewal_that_an_older_release_kept_in_mind_is_not_forgotten() -> None:
    account = RenewalAccount(id="p1/a", hospital="h1", patient_id="p1", ingredient_code="a")
    row = {**account.model_dump(exclude={"watched"}), "undispensed": ["r1"]}
    assert ACCOUNTS.upcast is not None
    stored = RenewalAccount.model_validate(ACCOUNTS.upcast(row))
    assert stored == account.but(watched=("r1",))
