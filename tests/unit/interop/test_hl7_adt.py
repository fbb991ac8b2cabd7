"""What do patients' and stays' messages tell, by the sender's profile?"""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from libs.common.events import (
    AdmissionCancelled,
    Attending,
    Department,
    Diagnosis,
    DiagnosisUse,
    DischargeCancelled,
    Disposition,
    EncounterDischarged,
    Event,
    GuardianLinked,
    PatientDeceased,
    PatientMerged,
    PatientRegistered,
    PatientUpdated,
    VisitCancelled,
    VisitClass,
    VisitCompleted,
)
from services.interop.edge.hl7.refused import ErrorCode
from tests.unit.interop.hl7_given import (
    EVN,
    codes,
    discharge,
    mapped,
    pid,
    profile,
    pv1,
    refusal,
    segment,
)

MOTHER = segment("NK1", f2="样例^乙", f3="MTH", f5="13800000002")
BORN_2020 = pid(f7="20200305")


def test_a_discharge_says_who_left_whence_whither_and_when() -> None:
    found = discharge(
        pid(f8="M", f13="13800000001"),
        pv1(f7="d-1^样例^医生", f44="20261110083000"),
        segment("DG1", f3="I63.9^脑梗死^I10", f6="F", f15="1"),
        segment("DG1", f3="R51^头痛^I10", f6="A"),
    )
    assert (found.encounter_id, found.patient_id) == ("V1", "100")
    assert found.patient.name == "样例甲" and found.patient.phone == "13800000001"
    assert found.patient.birth_date == date(1968, 4, 12)
    assert found.department == Department(code="NEURO")
    assert found.attending == Attending(practitioner_id="d-1", name="样例医生")
    assert found.admitted_at == datetime(2026, 11, 10, 0, 30, tzinfo=UTC)
    assert found.discharged_at == datetime(2026, 11, 20, 1, 30, tzinfo=UTC)
    assert found.disposition is Disposition.HOME
    assert found.diagnoses == (
        Diagnosis(code="I63.9", display="脑梗死", rank=1),
        Diagnosis(code="R51", display="头痛", use=DiagnosisUse.ADMISSION, rank=1),
    )


@pytest.mark.parametrize(
    ("segments", "place"),
    [
        ((pv1(),), ("PID", 0, 100)),
        ((pid(),), ("PV1", 0, 100)),
        ((pid(f3=""), pv1()), ("PID", 3, 101)),
        ((pid(f3="11010119900101^^^^NI"), pv1()), ("PID", 3, 204)),
        ((pid(f5=""), pv1()), ("PID", 5, 101)),
        ((pid(f7='""'), pv1()), ("PID", 7, 101)),
        ((pid(), pv1(f3="")), ("PV1", 3, 101)),
        ((pid(), pv1(f19="")), ("PV1", 19, 101)),
        ((pid(), pv1(f44="soon")), ("PV1", 44, 102)),
    ],
)
def test_a_discharge_without_what_it_needs_is_refused_at_the_place(
    segments: tuple[str, ...], place: tuple[str, int, int]
) -> None:
    assert refusal("ADT^A03", EVN, *segments) == place


def test_without_a_visit_number_the_stay_is_named_by_patient_and_admission() -> None:
    first = mapped("ADT^A03", pid(), pv1(f19="", f44="20261110083000"))
    again = mapped("ADT^A13", EVN, pid(), pv1(f19="", f44="20261110083000"))
    other = mapped("ADT^A03", pid(), pv1(f19="", f44="20261110083100"))
    assert "encounter_id_derived" in codes(first)
    assert first.events[0].encounter_id == again.events[0].encounter_id  # type: ignore[attr-defined]
    assert first.events[0].encounter_id != other.events[0].encounter_id  # type: ignore[attr-defined]


def test_the_account_number_can_stand_for_the_visits() -> None:
    assert discharge(pid(f18="ACC7"), pv1(f19="")).encounter_id == "ACC7"


@pytest.mark.parametrize(
    ("unknown", "outcome"), [("pass", Disposition.OTHER), ("refuse", ("PV1", 36, 103))]
)
def test_an_unknown_code_is_refused_or_passed_and_seen(unknown: str, outcome: object) -> None:
    by = profile(tables={"disposition": {"unknown": unknown}})
    if unknown == "refuse":
        assert refusal("ADT^A03", pid(), pv1(f36="77"), by=by) == outcome
        return
    found = mapped("ADT^A03", pid(), pv1(f36="77"), by=by)
    assert found.events[0].disposition is outcome  # type: ignore[attr-defined]
    assert [str(n) for n in found.notes] == ["unknown_code PV1-36 (1): unknown disposition code 77"]


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("I", [EncounterDischarged, VisitCompleted]),
        ("B", [EncounterDischarged, VisitCompleted]),
        ("O", [VisitCompleted]),
        ("E", [VisitCompleted]),
        ("P", []),
        ("U", []),
        ("", [EncounterDischarged, VisitCompleted]),
    ],
)
def test_only_who_was_in_is_discharged_and_everybody_was_seen(
    code: str, told: list[type[Event]]
) -> None:
    found = mapped("ADT^A03", pid(), pv1(f2=code))
    assert [type(e) for e in found.events] == told
    assert codes(found) == ({"not_used"} if not told else {"defaulted"} if not code else set())


def test_a_visit_says_how_where_by_whom_and_when_the_patient_was_seen() -> None:
    (seen,) = mapped("ADT^A03", EVN, pid(f5="", f7=""), pv1(f2="O", f7="d-1^样例", f36="")).events
    assert seen == VisitCompleted(
        visit_id="V1",
        patient_id="100",
        visit_class=VisitClass.AMBULATORY,
        department=Department(code="NEURO"),
        practitioner_id="d-1",
        occurred_at=datetime(2026, 11, 20, 1, 30, tzinfo=UTC),
        recorded_at=datetime(2026, 11, 20, 1, 40, tzinfo=UTC),
    )


def test_a_class_that_the_table_does_not_know_is_refused_as_it_decides_who_is_invited() -> None:
    assert refusal("ADT^A03", pid(), pv1(f2="Q")) == ("PV1", 2, 103)
    by = profile(
        tables={"visit_class": {"unknown": "pass"}}, defaults={"visit_class": "ambulatory"}
    )
    assert [type(e) for e in mapped("ADT^A03", pid(), pv1(f2="Q"), by=by).events] == [
        VisitCompleted
    ]


@pytest.mark.parametrize("dead", [{"f36": "20"}, {"f36": ""}])
def test_who_died_in_the_emergency_room_is_told_as_dead(dead: dict[str, str]) -> None:
    of_death = pid(f30="Y" if not dead["f36"] else "")
    found = mapped("ADT^A03", of_death, pv1(f2="E", **dead))
    assert [type(e) for e in found.events] == [PatientDeceased, VisitCompleted]


#: Recorded at 9:40; what it takes back had happened at 9:00.
WRONG = segment("EVN", f2="20261120094000", f6="20261120090000")
ADMISSION: list[type[Event]] = [AdmissionCancelled, VisitCancelled]
DISCHARGE: list[type[Event]] = [DischargeCancelled, VisitCancelled]


@pytest.mark.parametrize(
    ("trigger", "code", "types", "visit_class"),
    [
        ("A11", "I", ADMISSION, VisitClass.INPATIENT),
        ("A11", "O", [VisitCancelled], VisitClass.AMBULATORY),
        ("A11", "E", [VisitCancelled], VisitClass.EMERGENCY),
        ("A11", "P", [], None),  # neither a stay nor a visit
        ("A11", "Q", ADMISSION, VisitClass.INPATIENT),
        ("A11", "", ADMISSION, VisitClass.INPATIENT),
        ("A13", "I", DISCHARGE, VisitClass.INPATIENT),
        ("A13", "O", DISCHARGE, VisitClass.AMBULATORY),
        ("A13", "P", DISCHARGE, None),
        ("A13", "Q", DISCHARGE, VisitClass.INPATIENT),
    ],
)
def test_what_never_was_or_has_not_ended_takes_the_visit_back_and_is_never_refused(
    trigger: str, code: str, types: list[type[Event]], visit_class: VisitClass | None
) -> None:
    found = mapped(f"ADT^{trigger}", WRONG, pid(), pv1(f2=code, f45=""))
    assert [type(e) for e in found.events] == types
    assert codes(found) == (set() if types else {"not_used"})
    if types:
        assert found.events[-1] == VisitCancelled(
            visit_id="V1",
            patient_id="100",
            visit_class=visit_class,
            cancelled_at=datetime(2026, 11, 20, 1, 40, tzinfo=UTC),
        )


def test_an_admission_that_never_was_is_taken_back_when_that_is_recorded() -> None:
    taken_back, _ = mapped("ADT^A11", WRONG, pid(), pv1()).events
    assert isinstance(taken_back, AdmissionCancelled)
    assert taken_back.cancelled_at == datetime(2026, 11, 20, 1, 40, tzinfo=UTC)


def test_a_visit_that_has_no_number_is_taken_back_by_none() -> None:
    found = mapped("ADT^A11", EVN, pid(), pv1(f2="O", f19=""))
    assert (found.events, codes(found)) == ((), {"not_used"})
    seen = mapped("ADT^A03", EVN, pid(), pv1(f2="O", f19="", f44="20261120080000"))
    back = mapped("ADT^A11", EVN, pid(), pv1(f2="O", f19="", f44="20261120080000"))
    ids = {e.visit_id for f in (seen, back) for e in f.events if hasattr(e, "visit_id")}
    assert len(ids) == 1 and codes(back) == {"encounter_id_derived"}


def test_what_a_profile_takes_an_unknown_class_for_is_taken_back_as_that() -> None:
    by = profile(
        tables={"visit_class": {"unknown": "pass"}}, defaults={"visit_class": "ambulatory"}
    )
    (event,) = mapped("ADT^A11", EVN, pid(), pv1(f2="Q"), by=by).events
    assert isinstance(event, VisitCancelled) and event.visit_class is VisitClass.AMBULATORY


def test_who_has_died_did_not_go_home() -> None:
    found = discharge(pid(f30="Y"), pv1(f36=""))
    assert found.disposition is Disposition.DECEASED and found.patient.deceased


def test_a_sign_of_death_that_the_profile_does_not_believe_ends_no_discharge_in_death() -> None:
    by = profile(deaths=False)
    found = discharge(pid(f30="Y"), pv1(f36=""), by=by)
    assert found.disposition is Disposition.OTHER and not found.patient.deceased
    assert "death_not_told" in codes(mapped("ADT^A03", pid(f30="Y"), pv1(), by=by))
    assert discharge(pid(f30="Y"), pv1(f36="20"), by=by).disposition is Disposition.DECEASED


def test_a_diagnosis_in_another_system_needs_a_table() -> None:
    stroke = segment("DG1", f3="422504002^Ischemic stroke^SCT", f6="F")
    assert "diagnosis_left_out" in codes(mapped("ADT^A03", pid(), pv1(), stroke))
    by = profile(tables={"diagnosis": {"codes": {"SCT|422504002": "I63.9"}}})
    assert [d.code for d in discharge(pid(), pv1(), stroke, by=by).diagnoses] == ["I63.9"]
    strict = profile(tables={"diagnosis": {"unknown": "refuse"}})
    assert refusal("ADT^A03", pid(), pv1(), stroke, by=strict) == ("DG1", 3, 103)


def test_an_alternate_code_in_icd10_will_do() -> None:
    both = segment("DG1", f3="422504002^Stroke^SCT^I63.9^脑梗死^I10")
    assert [d.code for d in discharge(pid(), pv1(), both).diagnoses] == ["I63.9"]


def test_the_department_is_the_first_place_that_the_table_knows() -> None:
    by = profile(tables={"department": {"codes": {"N1": {"code": "NEURO", "name": "神经内科"}}}})
    found = discharge(pid(), pv1(f3="WARD 7", f10="N1"), by=by)
    assert found.department == Department(code="NEURO", name="神经内科")
    assert discharge(pid(), pv1(f3="WARD 7")).department.code == "WARD~207"


@pytest.mark.parametrize(
    ("trigger", "types"),
    [
        ("A28", [PatientRegistered, GuardianLinked]),
        ("A31", [PatientUpdated, GuardianLinked]),
        ("A08", [PatientUpdated, GuardianLinked]),
        ("A04", [PatientUpdated, GuardianLinked]),
        ("A01", [PatientUpdated, GuardianLinked]),
    ],
)
def test_records_and_links_come_from_each_message_with_them(
    trigger: str, types: list[type[Event]]
) -> None:
    found = mapped(f"ADT^{trigger}", EVN, BORN_2020, MOTHER)
    assert [type(e) for e in found.events] == types


def test_a_time_ahead_is_not_believed() -> None:
    ahead = segment("EVN", f2="20290801070624", f6="20261120090000")
    found = mapped("ADT^A08", ahead, pid())
    assert found.events[0].updated_at == datetime(2026, 11, 20, 1, 0, tzinfo=UTC)  # type: ignore[attr-defined]
    assert codes(found) == {"time_ahead"}


def test_a_cancelled_discharge_names_the_stay_whose_last_discharge_is_meant() -> None:
    found = mapped("ADT^A13", EVN, pid(), pv1(f45=""))
    event = found.events[0]
    assert isinstance(event, DischargeCancelled)
    assert (event.encounter_id, event.discharge_event_id) == ("V1", "unknown")
    assert event.cancelled_at == datetime(2026, 11, 20, 1, 40, tzinfo=UTC)


def test_a_merge_leaves_an_alias_for_each_patient_that_goes() -> None:
    found = mapped("ADT^A40", EVN, pid(), "MRG|200^^^^MR", pid(f3="300^^^^MR"), "MRG|400^^^^MR")
    pairs = [(e.patient_id, e.survivor_id) for e in found.events if isinstance(e, PatientMerged)]
    assert pairs == [("200", "100"), ("400", "300")]
    assert refusal("ADT^A40", EVN, pid(), "MRG|100^^^^MR") == ("MRG", 1, 102)
    assert refusal("ADT^A40", EVN, pid()) == ("MRG", 0, 100)


@pytest.mark.parametrize(
    ("kept", "gone", "pair"),
    [
        ("100^^^EMPI^PI~7^^^LX^MR", "200^^^EMPI^PI", None),  # known by MR
        ("100^^^EMPI^PI~7^^^LX^MR", "200^^^EMPI^PI~8^^^LX^MR", ("8", "7")),
        ("100^^^EMPI^PI", "200^^^EMPI^PI", ("200", "100")),
        ("100^^^EMPI^PI", "200^^^^PI", ("200", "100")),
        ("100^^^EMPI^PI", "200^^^LAB^PI", None),
        ("100^^^&1.2.3&ISO^PI", "200^^^&1.2.4&ISO^PI", None),
        ("100^^^EMPI^PI", "200^^^EMPI^MR", None),
        ("100^^^EMPI^PI", "200", None),
    ],
)
def test_a_number_is_merged_only_into_one_of_its_own_kind(
    kept: str, gone: str, pair: tuple[str, str] | None
) -> None:
    segments = (EVN, pid(f3=kept), segment("MRG", f1=gone))
    if pair is None:
        assert refusal("ADT^A40", *segments) == ("MRG", 1, 204)
        return
    (event,) = mapped("ADT^A40", *segments).events
    assert isinstance(event, PatientMerged)
    assert (event.patient_id, event.survivor_id) == pair


def test_a_death_is_told_only_where_the_profile_says_so() -> None:
    dead = pid(f29="20261119", f30="Y")
    assert codes(mapped("ADT^A08", EVN, dead, by=profile(deaths=False))) == {"death_not_told"}
    found = mapped("ADT^A08", EVN, dead)
    assert [type(e) for e in found.events] == [PatientUpdated, PatientDeceased]


def test_what_we_know_and_do_not_use_is_taken_and_noted() -> None:
    for kind in ("ADT^A02", "SIU^S18", "ORR^O02", "VXU^V04", "RDS^O13"):
        found = mapped(kind, pid())
        assert (found.events, found.patient_id, codes(found)) == ((), "100", {"not_used"})


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("QRY^A19", ErrorCode.UNSUPPORTED_MESSAGE_TYPE),
        ("ADT^A99", ErrorCode.UNSUPPORTED_EVENT),
        ("ADT", ErrorCode.UNSUPPORTED_EVENT),
        ("", ErrorCode.REQUIRED_FIELD_MISSING),
    ],
)
def test_what_we_do_not_know_is_refused(kind: str, code: ErrorCode) -> None:
    assert refusal(kind, pid()) == ("MSH", 9, int(code))


def test_what_stands_as_empty_is_left_out_and_what_is_null_is_taken_away() -> None:
    for fields, left_out in (
        ({}, {"phone", "email", "gender", "language"}),
        ({"f13": '""'}, {"gender", "language"}),
        ({"f8": "F", "f15": "zh"}, {"phone", "email"}),
    ):
        assert mapped("ADT^A08", EVN, pid(**fields)).left_out == left_out
