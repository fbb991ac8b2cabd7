"""Which diagnoses, allergies and procedures does a message tell?"""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from libs.common.events import (
    AllergyCategory,
    AllergyRecorded,
    ClinicalStatus,
    ConditionRecorded,
    Criticality,
    ProcedurePerformed,
    VerificationStatus,
)
from services.interop.edge.profile import Profile
from tests.unit.interop.hl7_given import EVN, codes, mapped, pid, profile, pv1, segment

SINCE = datetime(2026, 11, 20, 1, 40, tzinfo=UTC)


def dg1(code: str = "I63.9^脑梗死^I10", **fields: str) -> str:
    return segment("DG1", f3=code, **fields)


def al1(substance: str, kind: str = "DA", severity: str = "") -> str:
    return segment("AL1", f2=kind, f3=substance, f4=severity)


def iam(substance: str = "X1^青霉素^99HIS", **fields: str) -> str:
    return segment("IAM", f2="DA", f3=substance, **{"f6": "A", "f7": "AL1^HIS", **fields})


def conditions(*segments: str, kind: str = "ADT^A08") -> list[ConditionRecorded]:
    events = mapped(kind, EVN, pid(), *segments).events
    return [e for e in events if isinstance(e, ConditionRecorded)]


def allergies(
    *segments: str, kind: str = "ADT^A08", by: Profile | None = None
) -> list[AllergyRecorded]:
    events = mapped(kind, EVN, pid(), *segments, by=by).events
    return [e for e in events if isinstance(e, AllergyRecorded)]


@pytest.mark.parametrize("trigger", ["A01", "A03", "A04", "A08", "A28", "A31"])
def test_diagnoses_and_allergies_come_from_every_message_with_them(trigger: str) -> None:
    segments = (pv1(), dg1(f16="d-1"), al1("J01CA04^阿莫西林^ATC"))
    (found,) = conditions(*segments, kind=f"ADT^{trigger}")
    assert (found.code, found.display, found.practitioner_id) == ("I63.9", "脑梗死", "d-1")
    assert (found.encounter_id, found.department_code) == ("V1", "NEURO")
    assert found.recorded_at == (
        SINCE if trigger != "A03" else datetime(2026, 11, 20, 1, 30, tzinfo=UTC)
    )
    assert len(allergies(*segments, kind=f"ADT^{trigger}")) == 1


def test_a_condition_keeps_its_id_which_is_the_senders_or_its_code() -> None:
    (first,), (again,) = conditions(dg1()), conditions(dg1(f6="F"), kind="ADT^A31")
    assert first.condition_id == again.condition_id
    (other,) = conditions(dg1("I10^高血压^I10"))
    (own,), (renamed,) = conditions(dg1(f20="7^HIS")), conditions(dg1("I64^中风^I10", f20="7^HIS"))
    assert len({first.condition_id, other.condition_id, own.condition_id}) == 3
    assert own.condition_id == renamed.condition_id


@pytest.mark.parametrize(
    ("fields", "certainty"),
    [
        ({}, VerificationStatus.CONFIRMED),
        ({"f6": "F"}, VerificationStatus.CONFIRMED),
        ({"f6": "A"}, VerificationStatus.PROVISIONAL),
        ({"f6": "W"}, VerificationStatus.PROVISIONAL),
        ({"f6": "own"}, VerificationStatus.CONFIRMED),
        ({"f6": "F", "f21": "D"}, VerificationStatus.ENTERED_IN_ERROR),
    ],
)
def test_how_sure_a_condition_is(fields: dict[str, str], certainty: VerificationStatus) -> None:
    assert [c.verification_status for c in conditions(dg1(**fields))] == [certainty]


def test_of_two_lines_on_one_condition_the_surer_is_told() -> None:
    for lines in ([dg1(f6="A"), dg1(f6="F")], [dg1(f6="F"), dg1(f6="A")]):
        (found,) = conditions(*lines)
        assert found.verification_status is VerificationStatus.CONFIRMED


def test_what_is_not_icd10_is_left_out_and_noted_once_though_two_events_are_read_from_it() -> None:
    found = mapped("ADT^A03", pid(), pv1(), dg1("422504002^Stroke^SCT"))
    assert [n.code for n in found.notes] == ["diagnosis_left_out"]


@pytest.mark.parametrize(
    ("substance", "told"),
    [
        ("J01CA04^阿莫西林^ATC", ("J01CA04", "ATC", "阿莫西林")),
        ("X1^青霉素^99HIS", ("X1", "99HIS", "青霉素")),
        ("X1^青霉素", ("X1", "LOCAL", "青霉素")),
        ("^花生", (None, None, "花生")),
        ("X1^青霉素^99HIS^J01CE01^青霉素G^ATC", ("J01CE01", "ATC", "青霉素")),
        ("A7^氨氯地平^LOCAL", ("C08CA01", "ATC", "氨氯地平")),
    ],
)
def test_a_substance_is_told_by_atc_its_own_code_or_in_words(
    substance: str, told: tuple[str | None, str | None, str]
) -> None:
    by = profile(tables={"drug": {"codes": {"LOCAL|A7": {"atc": "C08CA01"}}}})
    (found,) = allergies(al1(substance), by=by)
    assert (found.code, found.system, found.display) == told


@pytest.mark.parametrize("none", ["NKDA", "^No known allergies", "0^无^99HIS", "^无"])
def test_that_there_is_no_allergy_is_none(none: str) -> None:
    found = mapped("ADT^A08", EVN, pid(), al1(none))
    assert len(found.events) == 1 and codes(found) == {"no_allergy"}


def test_kind_and_danger_of_an_allergy_are_read_by_table() -> None:
    kinds = [allergies(al1("^x", kind))[0].category for kind in ("DA", "FA", "LA", "MA", "?")]
    medication, food, pollen = (
        AllergyCategory.MEDICATION,
        AllergyCategory.FOOD,
        AllergyCategory.ENVIRONMENT,
    )
    assert kinds == [medication, food, pollen, None, None]
    grades = [allergies(al1("^x", severity=s))[0].criticality for s in ("SV", "MO", "MI", "U", "")]
    unable = Criticality.UNABLE_TO_ASSESS
    assert grades == [Criticality.HIGH, None, Criticality.LOW, unable, None]


@pytest.mark.parametrize(
    ("fields", "clinical", "certainty"),
    [
        ({}, ClinicalStatus.ACTIVE, VerificationStatus.CONFIRMED),
        ({"f17": "C"}, ClinicalStatus.ACTIVE, VerificationStatus.CONFIRMED),
        ({"f17": "S"}, ClinicalStatus.ACTIVE, VerificationStatus.UNCONFIRMED),
        ({"f17": "I"}, ClinicalStatus.INACTIVE, VerificationStatus.CONFIRMED),
        ({"f17": "E"}, ClinicalStatus.INACTIVE, VerificationStatus.ENTERED_IN_ERROR),
        ({"f6": "D", "f17": "C"}, ClinicalStatus.INACTIVE, VerificationStatus.ENTERED_IN_ERROR),
    ],
)
def test_a_message_about_allergies_says_how_each_stands(
    fields: dict[str, str], clinical: ClinicalStatus, certainty: VerificationStatus
) -> None:
    (found,) = allergies(iam(**fields), kind="ADT^A60")
    assert (found.clinical_status, found.verification_status) == (clinical, certainty)


def test_an_allergy_keeps_its_id_whatever_is_said_of_it() -> None:
    (one,), (other) = allergies(iam()), allergies(iam(f17="E"))
    assert one.allergy_id == other[0].allergy_id
    (mild,), (severe,) = allergies(al1("^x", severity="MI")), allergies(al1("^x", severity="SV"))
    assert mild.allergy_id == severe.allergy_id != one.allergy_id


def performed(*segments: str) -> list[ProcedurePerformed]:
    events = mapped("ADT^A03", pid(), pv1(), *segments).events
    return [e for e in events if isinstance(e, ProcedurePerformed)]


def test_a_procedure_that_has_a_time_was_performed() -> None:
    pr1 = segment("PR1", f3="99.10^溶栓^I9C", f5="20261110120000", f11="d-7^样例")
    (found,) = performed(pr1, pr1)
    assert (found.code, found.system, found.display) == ("99.10", "ICD-9-CM-3", "溶栓")
    assert (found.encounter_id, found.performer_id) == ("V1", "d-7")
    assert found.performed_at == datetime(2026, 11, 10, 4, 0, tzinfo=UTC)
    (own,), (again,) = (
        performed(segment("PR1", f3="99.10", f5=f"202611{d}", f19="7")) for d in ("10", "11")
    )
    assert own.procedure_id == again.procedure_id != found.procedure_id


@pytest.mark.parametrize("time", ["", "20270101"])
def test_a_procedure_without_a_time_or_yet_to_come_was_not(time: str) -> None:
    assert performed(segment("PR1", f3="99.10^溶栓^I9C", f5=time)) == []


def test_an_allergy_is_told_once_as_its_iam_says_or_its_gravest_line() -> None:
    lines = [al1("X1^青霉素^99HIS", severity=level) for level in ("MI", "SV", "MI")]
    (found,) = allergies(*lines)
    assert found.criticality is Criticality.HIGH
    gone = iam(f6="D", f7="")
    for both in ((gone, *lines), (*lines, gone)):
        (found,) = allergies(*both)
        assert found.verification_status is VerificationStatus.ENTERED_IN_ERROR
    for both in ((gone, iam(f7="")), (iam(f7=""), gone)):
        (found,) = allergies(*both)
        assert found.verification_status is VerificationStatus.CONFIRMED
