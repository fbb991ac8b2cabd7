"""What has to be checked, when does a check count, and who may go on in spite of it?"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from libs.common.decision import Common, Decision, Input, Refusal
from libs.common.devstack.day.records import WELL
from libs.common.events import (
    AllergyCategory,
    AllergyRecorded,
    ClinicalStatus,
    ConditionRecorded,
    PrescriptionIssued,
)
from services.prescriptions.domain.checking import ToCheck
from services.prescriptions.domain.checks import (
    CheckName,
    CheckVerdict,
    ClinicalCheck,
    NotChecked,
    Question,
    not_checked,
    passed,
)
from services.prescriptions.domain.doctor import DoctorDecision, SignedDecision
from services.prescriptions.domain.documents import Refill
from services.prescriptions.domain.facts import Severity, Verdict
from services.prescriptions.domain.pharmacist import PharmacistReview, SignedReview
from services.prescriptions.domain.reasons import Reason
from services.prescriptions.domain.replay import ACCEPTED, differences
from services.prescriptions.domain.request import CheckedRequest, RefillRequest
from services.prescriptions.domain.transitions import Status
from services.prescriptions.domain.views import Reader, refill_view
from services.prescriptions.handlers import DOCTOR_DECISION, PHARMACIST_REVIEW, REQUEST
from tests.unit.prescriptions.given import (
    DAY,
    DOCTOR,
    NOW,
    PATIENT,
    PHARMACIST,
    Hospital,
    hospital,
    merged,
    policies,
    prescription,
    reason,
    registered,
    stopped,
)

Engine = Callable[[Question], Iterable[ClinicalCheck]]


def alert(severity: Severity | str, id: str = "a1") -> ClinicalCheck:
    return ClinicalCheck(
        id=id,
        check=CheckName.INTERACTION,
        verdict=CheckVerdict.ALERT,
        severity=Severity(severity),
        text={"zh-CN": "不宜合用。", "en": "Better not together."},
        source=("a label",),
    )


def finding(*found: ClinicalCheck) -> Engine:
    others = [passed(k) for k in CheckName if k not in {c.check for c in found}]
    return lambda _: (*found, *others)


def waiting(case: Hospital, *found: ClinicalCheck) -> str:
    """A request that was checked when nothing was known against it; now this is found."""
    id = case.asked()
    case.checker = finding(*found)
    return id


def signed_by_doctor(case: Hospital, *found: ClinicalCheck) -> str:
    id = case.asked()
    case.doctor(id, "approve", valid_days=3)
    case.checker = finding(*found)
    return id


def step(case: Hospital, who: str, id: str, **more: Any) -> Any:
    if who == "doctor":
        return case.doctor(id, "approve", valid_days=3, **more)
    return case.pharmacist(id, "pass", **more)


BEFORE: dict[str, Callable[..., str]] = {"doctor": waiting, "pharmacist": signed_by_doctor}
STATUS = {"doctor": Status.WAITING_DOCTOR, "pharmacist": Status.WAITING_PHARMACIST}


# -- nothing goes on unchecked --------------------------------------------------------------


def bare(case: Hospital, who: str) -> Input:
    if who == "patient":
        asked = CheckedRequest(prescription_id="rx1", patient_id="p1", declaration=WELL)
        return case.command_input(REQUEST, asked, actor=PATIENT)
    id = BEFORE[who](case)
    if who == "doctor":
        approve = SignedDecision(decision="approve", valid_days=3)
        return case.command_input(DOCTOR_DECISION, approve, actor=DOCTOR, subject=id)
    go = SignedReview(decision="pass")
    return case.command_input(PHARMACIST_REVIEW, go, actor=PHARMACIST, subject=id)


@pytest.mark.parametrize("who", ["patient", "doctor", "pharmacist"])
def test_without_a_check_nothing_moves(who: str) -> None:
    case = hospital()
    input = bare(case, who)
    before, case.emitted = case.docs(Refill), []
    answer = case.send(input)
    assert isinstance(answer, ToCheck) and answer.reason == Reason.UNCHECKED
    assert answer.question is not None and answer.question.order.code == "C08CA01"
    assert (case.docs(Refill), case.emitted) == (before, [])


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        (RefillRequest, {"prescription_id": "rx1", "patient_id": "p1"}),
        (DoctorDecision, {"decision": "approve"}),
        (PharmacistReview, {"decision": "pass"}),
    ],
)
@pytest.mark.parametrize("name", ["checked", "checks", "signed"])
def test_a_client_never_supplies_what_was_found(
    body: type[BaseModel], fields: dict[str, Any], name: str
) -> None:
    body.model_validate(fields)
    with pytest.raises(ValidationError, match="extra_forbidden"):
        body.model_validate({**fields, name: {}})


def test_what_a_rule_refuses_is_not_checked() -> None:
    case = hospital()
    asked: list[Question] = []
    case.checker = lambda question: asked.append(question) or []  # type: ignore[func-returns-value]
    assert reason(case.ask(declaration=WELL | {"no_new_symptoms": "no"})) is not None
    case.checker = finding()
    id = case.asked()
    case.checker = lambda question: asked.append(question) or []  # type: ignore[func-returns-value]
    case.doctor(id, "decline")
    assert asked == []


# -- alerts -----------------------------------------------------------------------------------


def test_what_is_contraindicated_refuses_a_request_in_plain_words() -> None:
    case = hospital()
    case.checker = finding(alert("contraindicated", "raas"))
    answer = case.ask()
    assert isinstance(answer, Refusal) and answer.reason == Reason.CLINICAL_CONTRAINDICATION
    assert "raas" not in str(dict(answer.extra))
    [refill] = case.docs(Refill)
    assert (refill.status, refill.reason) == (Status.REFUSED, "clinical_contraindication")
    assert refill.checks == refill.history[-1].checks
    assert case.account().open == ()


@pytest.mark.parametrize("who", ["doctor", "pharmacist"])
def test_nobody_goes_on_in_spite_of_what_is_contraindicated(who: str) -> None:
    case = hospital()
    id = BEFORE[who](case, alert("contraindicated"), alert("major", "a2"))
    answer = step(case, who, id, acknowledged={"a1": "I know", "a2": "I know"})
    assert reason(answer) == Reason.CLINICAL_CONTRAINDICATION
    assert answer.extra["alerts"] == [{"id": "a1", "severity": "contraindicated"}]
    # It is left to the person: another answer is possible, and what was found can be read.
    refill = case.refill(id)
    assert refill.status is STATUS[who]
    assert refill.checks is not None and refill.checks.alerts()[0].id == "a1"
    other = case.doctor(id, "decline") if who == "doctor" else case.pharmacist(id, "return")
    assert isinstance(other, Decision)


@pytest.mark.parametrize("who", ["doctor", "pharmacist"])
def test_each_alert_is_acknowledged_with_a_reason_by_each_of_them(who: str) -> None:
    case = hospital()
    found = (alert("major", "a1"), alert("moderate", "a2"), alert("minor", "a3"))
    id = BEFORE[who](case, *found)
    for given, missing in (({}, ["a1", "a2"]), ({"a2": "seen", "a3": "seen"}, ["a1"])):
        answer = step(case, who, id, acknowledged=given)
        assert reason(answer) == Reason.ALERTS_NOT_ACKNOWLEDGED
        assert [a["id"] for a in answer.extra["alerts"]] == missing
        assert case.refill(id).status is STATUS[who]
    given = {"a1": "potassium is watched", "a2": "seen", "gone": "not found any more"}
    assert isinstance(step(case, who, id, acknowledged=given), Decision)
    last = case.refill(id).history[-1]
    assert {a.alert: a.reason for a in last.acknowledged} == {
        "a1": "potassium is watched",
        "a2": "seen",
    }
    assert last.checks is not None and len(last.checks.alerts()) == 3


def test_the_pharmacist_acknowledges_what_the_doctor_has_acknowledged() -> None:
    case = hospital()
    id = waiting(case, alert("major"))
    case.doctor(id, "approve", valid_days=3, acknowledged={"a1": "seen"})
    assert reason(case.pharmacist(id, "pass")) == Reason.ALERTS_NOT_ACKNOWLEDGED
    assert isinstance(case.pharmacist(id, "pass", acknowledged={"a1": "agreed"}), Decision)
    doctor, pharmacist = case.refill(id).history[-2:]
    assert [a.reason for a in doctor.acknowledged] == ["seen"]
    assert [a.reason for a in pharmacist.acknowledged] == ["agreed"]


def test_what_is_found_anew_is_kept_to_be_read_and_what_is_not_new_changes_nothing() -> None:
    case = hospital()
    id = waiting(case, alert("major"))
    version = case.refill(id).version
    case.doctor(id, "approve", if_match=version)
    assert case.refill(id).version == version + 1  # whoever acknowledges has read it since
    answer = case.doctor(id, "approve", if_match=version, acknowledged={"a1": "unread"})
    assert reason(answer) == Common.CHANGED
    case.doctor(id, "approve", if_match=version + 1)
    assert case.refill(id).version == version + 1


@pytest.mark.parametrize("reasons", [{"a1": ""}, {"a1": "x" * 1001}, {"": "x"}, {"a b": "x"}])
def test_an_acknowledgement_has_words(reasons: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        DoctorDecision(decision="approve", acknowledged=reasons)


def test_what_was_not_checked_stops_nobody_and_is_shown() -> None:
    case = hospital()
    case.checker = lambda _: [not_checked(k, NotChecked.UNAVAILABLE) for k in CheckName]
    refill = case.renewed()
    for index in (0, 1, 2):
        step = refill.history[index]
        said = {o.rule: o for o in step.outcomes}["clinical_checks"]
        assert said.verdict is Verdict.NOT_CHECKED
        assert len(said.figures["checks"]) == len(CheckName)
        assert step.checks is not None
    case.checker = finding(passed(CheckName.DOSE))
    case.advance(7 * DAY)
    passing = case.renewed().history[-1].outcomes
    assert {o.rule: o.verdict for o in passing}["clinical_checks"] is Verdict.PASSED


# -- a check is of what is so now -------------------------------------------------------------


def more_told(case: Hospital) -> None:
    case.event(
        AllergyRecorded(
            allergy_id="al1", patient_id="p1", display="pollen", recorded_at=case.now,
            clinical_status=ClinicalStatus.ACTIVE, category=AllergyCategory.ENVIRONMENT,
        )
    )  # fmt: skip


@pytest.mark.parametrize("who", ["doctor", "pharmacist"])
def test_what_is_told_during_the_check_makes_it_void(who: str) -> None:
    case = hospital()
    [input] = case.signed(bare(case, who))
    more_told(case)
    assert reason(case.send(input)) == Common.CHANGED
    assert case.docs(Refill)[0].status is STATUS[who]


def test_a_request_that_was_checked_before_something_was_told_is_not_checked() -> None:
    case = hospital()
    [input] = case.signed(bare(case, "patient"))
    more_told(case)
    assert isinstance(case.send(input), Decision)
    [refill] = case.docs(Refill)
    assert refill.checks is not None
    assert {c.why for c in refill.checks.checks} == {NotChecked.CHANGED}


def test_each_step_is_checked_afresh() -> None:
    case = hospital()
    asked: list[str] = []

    def engine(question: Question) -> Iterable[ClinicalCheck]:
        asked.append(question.order.code)
        return finding()(question)

    case.checker = engine
    refill = case.renewed()
    assert len(asked) == 3
    assert len({step.checks.id for step in refill.history if step.checks}) == 3


# -- what is asked ----------------------------------------------------------------------------


def question(case: Hospital) -> Question:
    input = bare(case, "patient")
    answer = case.send(input)
    assert isinstance(answer, ToCheck) and answer.question is not None, answer
    return answer.question


def other(id: str = "rx9", **more: Any) -> PrescriptionIssued:
    """Losartan of another department, prescribed yesterday for four weeks."""
    losartan = {"code": "C09CA01", "ingredient": "losartan"}
    told = {"department": "nephrology", "days_supply": 28, "at": NOW - DAY}
    return prescription(id, **{**losartan, **told, **more})


def test_an_engine_is_told_what_it_needs_and_no_name() -> None:
    case = hospital()
    case.event(registered(at=NOW - 2 * DAY))
    case.event(
        ConditionRecorded(
            condition_id="c1", patient_id="p1", code="n18.300", recorded_at=NOW - 60 * DAY
        )
    )
    asked = question(case)
    assert (asked.patient_id, asked.age, asked.sex) == ("p1", 55, "unknown")
    assert asked.conditions == ("N18.300",)
    assert asked.allergies is None
    text = asked.model_dump_json()
    assert "李一" not in text and "1970" not in text


@pytest.mark.parametrize(
    ("told", "taken"),
    [
        ({"at": NOW - 34 * DAY}, True),  # 28 days of supply and 7 of grace
        ({"at": NOW - 35 * DAY}, False),
        ({"at": NOW - 400 * DAY, "assumed": ("days_supply",)}, True),  # nobody knows: it counts
        ({"at": NOW - 34 * DAY, "assumed": ("quantity",)}, True),
    ],
)
def test_a_medicine_counts_as_taken_until_a_week_after_its_supply(
    told: dict[str, Any], taken: bool
) -> None:
    case = hospital()
    case.event(other(**told))
    current = question(case).current
    assert [c.code for c in current] == (["C09CA01"] if taken else [])
    if taken:
        assert current[0].supply_known is ("days_supply" not in told.get("assumed", ()))


def test_what_was_stopped_is_not_taken() -> None:
    case = hospital()
    case.event(other(at=NOW - 60 * DAY, days_supply=84))
    assert len(question(case).current) == 1
    case.event(stopped(NOW - 31 * DAY, "rx9"))
    assert question(case).current == ()


def test_what_is_renewed_here_is_taken_though_its_prescription_has_run_out() -> None:
    case = hospital()
    case.event(other(at=NOW - 13 * DAY, days_supply=7, department="cardiology"))
    assert len(question(case).current) == 1
    id = case.asked("rx9")
    case.advance(DAY)
    assert len(question(case).current) == 1  # by the request alone
    case.doctor(id, "approve", valid_days=3)
    case.pharmacist(id, "pass")
    case.advance(13 * DAY)  # 7 days of supply and 7 of grace
    assert len(question(case).current) == 1
    case.advance(DAY)
    assert question(case).current == ()


def test_of_a_medicine_whose_dosing_was_replaced_here_the_old_dose_is_not_told() -> None:
    case = hospital()
    case.event(other(at=NOW - 8 * DAY, days_supply=7, department="cardiology"))
    [before] = question(case).current
    assert before.quantity is not None
    id = case.asked("rx9")
    more: dict[str, Any] = {
        "dosage": "two tablets",
        "quantity": {"value": 14, "unit": "tablet"},
        "days_supply": 7,
    }
    answer = case.doctor(id, "replace", valid_days=3, **more)
    assert isinstance(answer, Decision), answer
    case.pharmacist(id, "pass")
    [after] = question(case).current
    assert (after.code, after.quantity) == (before.code, None)


def test_a_renewal_that_was_stopped_is_not_taken() -> None:
    case = hospital()
    case.event(other(at=NOW - 13 * DAY, days_supply=7, department="cardiology"))
    own = case.renewed("rx9").new_prescription_id
    case.advance(DAY)
    assert len(question(case).current) == 1
    case.event(stopped(NOW - 31 * DAY, own or ""))
    assert question(case).current == ()


def test_what_is_renewed_is_no_duplicate_of_itself_but_of_another_departments() -> None:
    case = hospital()
    amlodipine = {"code": "C08CA01", "ingredient": "amlodipine", "at": NOW - 5 * DAY}
    case.event(other("rx2", department="cardiology", **amlodipine))
    case.event(other("rx3", based_on="rx1", **amlodipine))
    case.now = NOW + 17 * DAY  # little is left: the renewal may be asked for
    assert question(case).current == ()
    case.event(other("rx4", **amlodipine))
    [duplicate] = question(case).current
    assert duplicate.ingredient_code == "amlodipine"


def test_what_a_merged_record_takes_is_taken() -> None:
    case = hospital()
    case.event(other(patient_id="p2"))
    assert question(case).current == ()
    case.event(merged("p2", "p1"))
    assert len(question(case).current) == 1


def test_a_dose_goes_by_the_days_for_which_the_doctor_approves() -> None:
    case = hospital()
    case.event(prescription(assumed=("days_supply",)))
    assert question(case).order.days_supply is None
    id, asked = case.asked(), []

    def engine(question: Question) -> Iterable[ClinicalCheck]:
        asked.append(question.order.days_supply)
        return finding()(question)

    case.checker = engine
    case.doctor(id, "approve", valid_days=3, days_supply=5)
    case.pharmacist(id, "pass")
    assert asked == [5, 5]


# -- who sees it, and what another version would say ------------------------------------------


def test_staff_read_the_checks_in_their_language_and_the_patients_side_does_not() -> None:
    case = hospital()
    case.checker = finding(alert("moderate"), not_checked(CheckName.DOSE, NotChecked.UNKNOWN))
    id = case.asked()
    case.doctor(id, "approve", valid_days=3, acknowledged={"a1": "seen"})
    refill = case.refill(id)
    english = refill_view(refill, Reader(policies(), "en", "staff", NOW))
    assert english.clinical_checks is not None and english.clinical_checks.engine == "test"
    first, second = english.clinical_checks.checks[:2]
    assert (first.id, first.severity, first.text) == ("a1", "moderate", "Better not together.")
    assert (second.check, second.text) == (
        "dose", "What it would look at is not known: not checked.",
    )  # fmt: skip
    assert english.history[-1].acknowledged[0].reason == "seen"
    chinese = refill_view(refill, Reader(policies(), "zh-CN", "staff", NOW))
    assert (
        chinese.clinical_checks is not None
        and chinese.clinical_checks.checks[0].text == "不宜合用。"
    )
    patients = refill_view(refill, Reader(policies(), "en", "patient", NOW))
    assert patients.clinical_checks is None
    told = patients.model_dump_json()
    assert "a1" not in told and "together" not in told and "seen" not in told


def test_another_version_is_asked_with_what_was_found_then() -> None:
    case = hospital()
    case.checker = finding(alert("major"))
    case.asked()
    policy = policies().at(NOW)
    assert list(differences(case.docs(Refill), policy)) == []
    rule = policy.rules.clinical_checks
    parameters = rule.parameters.model_copy(
        update={"severities": frozenset({Severity.CONTRAINDICATED, Severity.MAJOR})}
    )
    rules = policy.rules.model_copy(
        update={"clinical_checks": rule.model_copy(update={"parameters": parameters})}
    )
    stricter = policy.model_copy(update={"rules": rules})
    [changed] = differences(case.docs(Refill), stricter)
    assert (changed.was, changed.would_be) == (ACCEPTED, "clinical_contraindication")


def test_a_department_of_an_other_prescription_is_not_told() -> None:
    case = hospital()
    case.event(other())
    assert "nephrology" not in question(case).model_dump_json()
