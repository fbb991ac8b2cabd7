"""Is a patient's condition stable, whatever is told late, twice or taken back?"""

from __future__ import annotations

import itertools
from datetime import date, datetime, timedelta
from typing import Any

import pytest

from libs.common.decision import Common
from libs.common.events import (
    AdmissionCancelled,
    AllergyRecorded,
    ClinicalStatus,
    ConditionRecorded,
    EncounterAdmitted,
    Event,
    PractitionerRegistered,
    StaffRole,
    VerificationStatus,
)
from services.prescriptions.domain.documents import Refill
from services.prescriptions.domain.facts import Verdict
from services.prescriptions.domain.policy import RenewalPolicies
from services.prescriptions.domain.reasons import Reason
from services.prescriptions.domain.transitions import Status
from tests.unit.prescriptions.given import (
    DAY,
    HOUR,
    NOW,
    Hospital,
    hospital,
    merged,
    prescription,
    reason,
    stopped,
    visit,
)
from tests.unit.prescriptions.test_policy import SHANGHAI, eighteen, file
from tests.unit.prescriptions.test_rules import said

ISSUED = NOW - 30 * DAY


def condition(at: datetime, id: str = "c1", code: str = "I50", **more: Any) -> ConditionRecorded:
    return ConditionRecorded(
        condition_id=id, patient_id=more.pop("patient", "p1"), code=code, recorded_at=at, **more
    )


def admitted(at: datetime, id: str = "s1", patient: str = "p1") -> EncounterAdmitted:
    return EncounterAdmitted(encounter_id=id, patient_id=patient, admitted_at=at)


def taken_back(at: datetime, id: str = "s1") -> AdmissionCancelled:
    return AdmissionCancelled(encounter_id=id, patient_id="p1", cancelled_at=at)


def asked_after(*facts: Event, case: Hospital | None = None) -> str | None:
    case = case or hospital()
    for fact in facts:
        case.event(fact)
    return reason(case.ask())


@pytest.mark.parametrize(
    ("fact", "expected"),
    [
        (condition(ISSUED + DAY), Reason.CONDITION_CHANGED),
        (condition(ISSUED + HOUR), None),  # at the same visit
        (condition(ISSUED - DAY), None),
        (condition(ISSUED + DAY, clinical_status=ClinicalStatus.RESOLVED), None),
        (condition(ISSUED + DAY, verification_status=VerificationStatus.REFUTED), None),
        (condition(ISSUED + DAY, patient="p2"), None),
        (admitted(ISSUED + HOUR), Reason.CONDITION_CHANGED),  # sent to the ward
        (admitted(ISSUED - HOUR), None),
        (admitted(ISSUED + DAY, patient="p2"), None),
    ],
)
def test_what_is_new_since_it_was_prescribed_leads_to_a_visit(
    fact: Event, expected: Reason | None
) -> None:
    assert asked_after(fact) == expected


def test_the_day_of_the_prescription_is_the_hospitals() -> None:
    case = Hospital()
    case.event(prescription(at=ISSUED))  # 10:00 in Shanghai
    case.event(condition(ISSUED + 14 * HOUR - timedelta(milliseconds=1)))
    case.cancel(case.asked())
    case.event(condition(ISSUED + 14 * HOUR, "c2", "I51"))
    assert reason(case.ask()) == Reason.CONDITION_CHANGED


def test_a_condition_that_was_known_is_not_new_under_whichever_record_it_comes_again() -> None:
    again = condition(ISSUED + 2 * DAY, "c2")
    assert asked_after(condition(ISSUED - DAY), again) is None


BACK = [ClinicalStatus.RECURRENCE, ClinicalStatus.RELAPSE]


@pytest.mark.parametrize("status", BACK)
@pytest.mark.parametrize("record", ["c1", "c2"])
@pytest.mark.parametrize(
    ("at", "expected"), [(ISSUED + HOUR, None), (ISSUED + DAY, Reason.CONDITION_CHANGED)]
)
def test_what_is_told_to_have_come_back_is_new_also_if_the_medicine_is_for_it(
    status: ClinicalStatus, record: str, at: datetime, expected: Reason | None
) -> None:
    back = condition(at, record, clinical_status=status)
    assert asked_after(condition(ISSUED - 99 * DAY), back) == expected
    case = Hospital()
    case.event(prescription(diagnoses=("I50",)))
    assert asked_after(condition(ISSUED - 99 * DAY), back, case=case) == expected


def test_a_relapse_that_is_told_again_is_the_same_one() -> None:
    relapse = {"clinical_status": ClinicalStatus.RELAPSE}
    facts = [condition(at, **relapse) for at in (ISSUED - 2 * DAY, ISSUED + 2 * DAY)]
    assert asked_after(*facts) is None
    assert asked_after(*facts[::-1]) is None


KNOWN = 366  # days, of the sample policy
AT_HOME: dict[str, Any] = {"encounter_id": "e1"}
AWAY: dict[str, Any] = {"encounter_id": "e2"}


@pytest.mark.parametrize("record", ["c1", "c2"])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(
    ("days", "expected"), [(KNOWN, None), (KNOWN + 1, Reason.CONDITION_CHANGED)]
)
def test_a_diagnosis_of_long_ago_that_is_made_again_is_new(
    record: str, reverse: bool, days: int, expected: Reason | None
) -> None:
    now = ISSUED + DAY
    facts = [condition(now - days * DAY, **AT_HOME), condition(now, record, **AWAY)]
    assert asked_after(*(facts[::-1] if reverse else facts)) == expected


def test_a_record_that_is_changed_after_years_is_no_second_diagnosis() -> None:
    long_ago = condition(NOW - 3000 * DAY, **AT_HOME)
    assert asked_after(long_ago, condition(ISSUED + DAY, **AT_HOME)) is None
    assert asked_after(condition(NOW - 3000 * DAY), condition(ISSUED + DAY)) is None


@pytest.mark.parametrize("record", ["c1", "c2"])
@pytest.mark.parametrize(
    ("over", "expected"),
    [(ISSUED - DAY, Reason.CONDITION_CHANGED), (ISSUED + 5 * DAY, None)],
)
@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_what_was_over_and_is_recorded_again_is_a_second_episode(
    record: str, over: datetime, expected: Reason | None, order: tuple[int, ...]
) -> None:
    facts = [
        condition(ISSUED - 9 * DAY),
        condition(over, clinical_status=ClinicalStatus.RESOLVED),
        condition(ISSUED + 3 * DAY, record),
    ]
    if record == "c1" and over > ISSUED:
        return  # then its last form is that it is over
    assert asked_after(*(facts[n] for n in order)) == expected


@pytest.mark.parametrize("record", ["each its own", "one"])
@pytest.mark.parametrize("diagnoses", [(), ("E78",)])
def test_a_chronic_disease_that_is_recorded_at_every_visit_does_not_stand_against_a_renewal(
    record: str, diagnoses: tuple[str, ...]
) -> None:
    case = Hospital()
    case.event(prescription(diagnoses=diagnoses))
    for n in range(24, -1, -1):
        at = NOW - 28 * n * DAY
        id = "c1" if record == "one" else f"c{n}"
        case.event(condition(at, id, "E78", encounter_id=f"e{n}"), time=at)
    assert reason(case.ask()) is None


def test_what_the_medicine_is_for_is_not_new() -> None:
    case = Hospital()
    case.event(prescription(diagnoses=("I10",)))
    assert asked_after(condition(ISSUED + DAY, code="i10"), case=case) is None


CHANGES = [
    condition(ISSUED + DAY),
    condition(ISSUED + 2 * DAY, verification_status=VerificationStatus.ENTERED_IN_ERROR),
    condition(ISSUED - DAY, code="I49"),
]


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_a_record_holds_in_its_last_form_in_whichever_order_it_comes(
    order: tuple[int, ...],
) -> None:
    assert asked_after(*(CHANGES[i] for i in order)) is None
    last = condition(ISSUED + 3 * DAY)  # the same record again, known since before
    assert asked_after(*(CHANGES[i] for i in order), last) is None


@pytest.mark.parametrize("late", [True, False])
def test_an_admission_that_was_taken_back_never_was(late: bool) -> None:
    case = hospital()
    told = [
        (admitted(NOW - 2 * HOUR), NOW - 2 * HOUR),
        (taken_back(NOW - HOUR), NOW - HOUR),
    ]
    for fact, at in told[::-1] if late else told:
        case.event(fact, time=at)
    case.cancel(case.asked())
    assert reason(case.event(taken_back(NOW - HOUR))) == Common.STALE
    case.event(admitted(NOW - 2 * HOUR), time=NOW)  # told again after it was taken back
    assert reason(case.ask()) == Reason.CONDITION_CHANGED


def test_another_medicine_that_was_stopped_later_leads_to_a_visit() -> None:
    for at, expected in [
        (ISSUED + HOUR, None),
        (ISSUED + DAY, Reason.CONDITION_CHANGED),
        (NOW + HOUR, None),  # not yet
    ]:
        case = hospital()
        case.event(prescription("rx2", code="C10AA05", ingredient="atorvastatin"))
        assert asked_after(stopped(at, "rx2"), case=case) == expected


def test_a_visit_to_the_department_settles_it_and_no_other() -> None:
    case = hospital()
    assert asked_after(condition(NOW - DAY), case=case) == Reason.CONDITION_CHANGED
    assert asked_after(visit(NOW, "v2", department="surgery"), case=case) is not None
    assert asked_after(visit(NOW, "v3"), case=case) is None


def test_what_stands_in_a_merged_record_counts() -> None:
    case = hospital()
    facts = (admitted(NOW - DAY, patient="p2"), merged("p2", "p1"))
    assert asked_after(*facts, case=case) == Reason.CONDITION_CHANGED


def test_what_is_told_while_it_waits_stops_it_at_once_and_the_doctor_hears_why() -> None:
    case = hospital()
    id = case.asked()
    case.event(admitted(NOW - DAY))
    assert case.refill(id).status is Status.SUSPENDED
    assert reason(case.doctor(id, "approve")) == Reason.CONDITION_CHANGED
    assert case.refill(id).status is Status.SUSPENDED
    assert said(case.refill(id), "stable_condition", 1).figures["admissions"] == 1


def test_a_condition_of_tomorrow_was_not_recorded() -> None:
    assert reason(hospital().event(condition(NOW + DAY))) == Reason.IN_THE_FUTURE


# -- allergies ----------------------------------------------------------------------------


def allergy(code: str | None, id: str = "a1", system: str | None = "ATC", **more: Any) -> Event:
    more.setdefault("recorded_at", NOW - DAY)
    return AllergyRecorded(
        allergy_id=id, patient_id="p1", code=code, system=system, display="过敏", **more
    )


@pytest.mark.parametrize(
    ("facts", "verdict"),
    [
        ([], Verdict.NOT_CHECKED),  # none told is not none
        ([allergy("J01CA04")], Verdict.PASSED),
        ([allergy("C08CA01")], Verdict.REFUSED),
        ([allergy("c08")], Verdict.REFUSED),  # the class
        ([allergy(None)], Verdict.NOT_CHECKED),  # in words only
        ([allergy("C08CA01", system="LOCAL")], Verdict.NOT_CHECKED),
        ([allergy("C08CA01"), allergy(None, "a2")], Verdict.REFUSED),
        ([allergy("C08CA01", clinical_status=ClinicalStatus.RESOLVED)], Verdict.PASSED),
        ([allergy("C08CA01", verification_status=VerificationStatus.REFUTED)], Verdict.PASSED),
        ([allergy("J01CA04"), allergy("C08", recorded_at=NOW - 2 * DAY)], Verdict.PASSED),  # older
    ],
)
def test_an_allergy_is_compared_by_its_class(facts: list[Event], verdict: Verdict) -> None:
    case = hospital()
    answer = asked_after(*facts, case=case)
    assert answer == (Reason.ALLERGY_RECORDED if verdict is Verdict.REFUSED else None)
    [refill] = case.docs(Refill)
    assert said(refill, "allergy").verdict is verdict


def renewing(code: str) -> Hospital:
    case = Hospital()
    case.event(prescription(code=code, ingredient=code))
    case.event(visit(NOW - 30 * DAY))
    return case


@pytest.mark.parametrize(
    ("code", "to", "verdict"),
    [
        ("C09DB01", "C08CA01", Verdict.REFUSED),  # amlodipine is in it
        ("C09DB01", "C08", Verdict.REFUSED),
        ("C09DB01", "C09DB", Verdict.REFUSED),
        ("C09DB01", "C09CA01", Verdict.PASSED),  # not valsartan; the checks warn
        ("C09DX01", "C09DB01", Verdict.REFUSED),  # both are in it
        ("C08CA01", "C09DB01", Verdict.NOT_CHECKED),  # or it was the valsartan
        ("C09AA02", "C09DB01", Verdict.PASSED),
        ("C02LA51", "C02LA51", Verdict.REFUSED),
        ("C02LA51", "J01CA04", Verdict.NOT_CHECKED),  # what it holds is not listed
        ("C08CA01", "C02LA51", Verdict.NOT_CHECKED),
    ],
)
def test_an_allergy_is_compared_with_what_a_combination_holds(
    code: str, to: str, verdict: Verdict
) -> None:
    case = renewing(code)
    answer = asked_after(allergy(to), case=case)
    assert answer == (Reason.ALLERGY_RECORDED if verdict is Verdict.REFUSED else None)
    [refill] = case.docs(Refill)
    outcome = said(refill, "allergy")
    named = {"not_compared": [to]} if verdict is Verdict.NOT_CHECKED else {}
    assert (outcome.verdict, outcome.figures) == (verdict, named)


def test_a_code_of_the_hospitals_own_is_compared_with_no_atc_class() -> None:
    listed = file()
    listed["rules"]["restricted_list"]["parameters"]["conditions"]["hypertension"]["atc"] += [
        "H-4711"
    ]
    case = renewing("H-4711")
    case.policy = RenewalPolicies([listed], SHANGHAI, eighteen)
    assert asked_after(allergy("C08CA01"), case=case) is None
    [refill] = case.docs(Refill)
    for rule in ("allergy", "never_classes"):
        assert said(refill, rule).verdict is Verdict.NOT_CHECKED
    never = listed["rules"]["never_classes"]["parameters"]["classes"]
    never["toxic"]["atc"] += ["H-4711"]
    case = renewing("H-4711")
    case.policy = RenewalPolicies([listed], SHANGHAI, eighteen)
    assert reason(case.ask()) == Reason.NEVER_CLASS  # listed by the hospital, it is compared


# -- the doctor ---------------------------------------------------------------------------


def doctor(since: date | None, at: datetime = NOW - DAY) -> PractitionerRegistered:
    return PractitionerRegistered(
        practitioner_id="dr1",
        name="王一",
        roles=(StaffRole.DOCTOR,),
        practising_since=since,
        updated_at=at,
    )


@pytest.mark.parametrize(
    ("since", "expected"),
    [
        (date(2023, 3, 2), None),
        (date(2023, 3, 3), Reason.PRACTICE_TOO_SHORT),
        (date(2027, 1, 1), Reason.PRACTICE_TOO_SHORT),
    ],
)
def test_a_doctor_has_practised_for_three_years_to_the_day(
    since: date, expected: Reason | None
) -> None:
    case = hospital()
    case.event(doctor(since))
    id = case.asked()
    assert reason(case.doctor(id, "approve")) == expected
    assert reason(case.doctor(id, "decline")) is (None if expected else Common.WRONG_STATUS)


def test_an_older_record_of_a_doctor_changes_nothing() -> None:
    case = hospital()
    case.event(doctor(date(2010, 1, 1)))
    assert reason(case.event(doctor(date(2026, 1, 1), NOW - 2 * DAY))) == Common.STALE
    case.renewed()


def test_practice_that_nobody_told_is_shown_or_refused_as_the_policy_says() -> None:
    case = hospital()
    assert said(case.renewed(), "practice", 1).verdict is Verdict.NOT_CHECKED
    strict = file()
    strict["rules"]["practice"]["parameters"]["unknown"] = "refused"
    case.policy = RenewalPolicies([strict], SHANGHAI, eighteen)
    assert reason(case.doctor(case.asked(), "approve")) == Reason.PRACTICE_TOO_SHORT
