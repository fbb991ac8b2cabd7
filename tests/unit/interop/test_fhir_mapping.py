"""Which events does each kind of resource give?"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import pytest

from libs.common.events import (
    AdmissionCancelled,
    AllergyRecorded,
    ConditionRecorded,
    DischargeCancelled,
    Disposition,
    EncounterAdmitted,
    EncounterDischarged,
    GuardianLinked,
    GuardianUnlinked,
    Interpretation,
    PatientDeceased,
    PatientMerged,
    PatientRegistered,
    PatientUpdated,
    PrescriptionIssued,
    PrescriptionStopped,
    ProcedurePerformed,
    ReportCorrected,
    ReportReady,
    ReportStatus,
    ReportWithdrawn,
    VisitCancelled,
    VisitClass,
    VisitCompleted,
)
from tests.unit.interop.fhir_given import (
    ATC,
    ICD10,
    LOINC,
    MR,
    Sender,
    codes,
    concept,
    encounter,
    faults,
    observation,
    only,
    organization,
    patient,
    practitioner,
    prescription,
    report,
    stay,
    transaction,
    without,
)
from tests.unit.interop.hl7_given import ZONE, profile

# -- people -----------------------------------------------------------------------------


def test_a_patient_is_registered_once_and_updated_when_something_changed() -> None:
    sender = Sender()
    first = only(sender.put(patient()).events, PatientRegistered)
    assert (first.patient_id, first.name, first.birth_date) == ("M1", "样例甲", date(1968, 4, 12))
    assert sender.put(patient()).events == (), "the same again tells nothing"
    phone = [{"system": "phone", "value": "1"}, {"system": "phone", "value": "2", "use": "mobile"}]
    assert only(sender.put(patient(telecom=phone)).events, PatientUpdated).phone == "2"


def test_a_patient_without_an_identifier_of_the_profile_is_refused_at_its_place() -> None:
    found = Sender().put(patient(identifier=[{"value": "M1"}]))
    assert faults(found) == [("Patient.identifier", "value")]


def test_an_identity_cards_number_never_becomes_an_id() -> None:
    card = {"type": MR, "value": "11010519491231002X"}
    found = Sender().put(patient(identifier=[card]))
    assert faults(found) == [("Patient.identifier", "value")]
    assert "identity_number" in codes(found)


def test_a_replaced_patient_is_merged_and_not_updated() -> None:
    sender = Sender()
    sender.put(patient())
    link = [{"other": {"reference": "Patient/p1"}, "type": "replaced-by"}]
    gone = patient(id="p2", identifier=[{"type": MR, "value": "M2"}], link=link)
    (merged,) = sender.put(gone).events
    assert isinstance(merged, PatientMerged)
    assert (merged.patient_id, merged.survivor_id) == ("M2", "M1")


def test_a_death_is_told_once_unless_the_profile_says_no() -> None:
    sender = Sender()
    died = sender.put(patient(deceasedDateTime="2026-11-20T03:00:00+08:00"))
    assert only(died.events, PatientDeceased).deceased_at == datetime(2026, 11, 19, 19, tzinfo=UTC)
    assert not sender.put(patient(deceasedDateTime="2026-11-20T03:00:00+08:00")).events
    silent = Sender(profile(deaths=False)).put(patient(deceasedBoolean=True))
    assert [type(e) for e in silent.events] == [PatientRegistered]


def related(**differs: Any) -> dict[str, Any]:
    return {
        "resourceType": "RelatedPerson",
        "id": "k1",
        "patient": {"reference": "Patient/p1"},
        "relationship": [{"coding": [{"code": "MTH"}]}],
        "name": [{"text": "样例母"}],
        **differs,
    }


def test_a_mother_is_linked_to_her_child_until_it_comes_of_age() -> None:
    linked = only(Sender().told(patient(birthDate="2019-04-12"), related()), GuardianLinked)
    assert linked.patient_id == "M1"
    assert linked.valid_until == datetime(2037, 4, 11, 16, tzinfo=UTC)


@pytest.mark.parametrize(
    ("end", "until"),
    [("2026-12-31", date(2027, 1, 1)), ("2027-02", date(2027, 3, 1)), ("2027", date(2028, 1, 1))],
)
def test_a_day_or_month_at_the_end_of_a_period_is_within_it(end: str, until: date) -> None:
    child = patient(birthDate="2020-01-01")
    linked = only(Sender().told(child, related(period={"end": end})), GuardianLinked)
    assert linked.valid_until == datetime.combine(until, time(), ZONE)


def test_an_adults_mother_is_nobody_who_could_act() -> None:
    sender = Sender()
    received = sender.send(transaction(patient(), related()))
    assert [type(e) for e in received.events] == [PatientRegistered]
    assert "no_guardian" in codes(received)


@pytest.mark.parametrize(
    "ended", [{"active": False}, {"period": {"end": "2026-11-20"}}], ids=["inactive", "period"]
)
def test_a_link_that_ended_is_unlinked(ended: dict[str, Any]) -> None:
    sender = Sender()
    linked = only(sender.told(patient(birthDate="2019-04-12"), related()), GuardianLinked)
    gone = only(sender.put(related(**ended)).events, GuardianUnlinked)
    assert gone.person_id == linked.person_id


# -- encounters -------------------------------------------------------------------------


def test_a_finished_stay_is_a_discharge_with_all_that_readers_need() -> None:
    condition = {
        "resourceType": "Condition",
        "id": "c1",
        "code": concept(ICD10, "I63.9", "脑梗死"),
        "subject": {"reference": "Patient/p1"},
    }
    events = Sender().told(
        *stay(condition, diagnosis=[{"condition": {"reference": "Condition/c1"}}])
    )
    left = only(events, EncounterDischarged)
    assert (left.encounter_id, left.patient_id) == ("e1@ehr", "M1")
    assert (left.department.code, left.department.name) == ("NEURO", "神经内科")
    assert [(d.code, d.display) for d in left.diagnoses] == [("I63.9", "脑梗死")]
    assert left.attending is not None and left.attending.practitioner_id == "D-1"
    assert left.discharged_at == datetime(2026, 11, 25, 2, tzinfo=UTC)
    assert left.disposition is Disposition.OTHER
    assert left.patient.name == "样例甲"
    assert only(events, VisitCompleted).visit_class is VisitClass.INPATIENT
    assert only(events, ConditionRecorded).code == "I63.9"


def test_the_stay_of_a_child_names_its_guardians_of_this_and_earlier_requests() -> None:
    sender = Sender()
    sender.told(patient(birthDate="2019-04-12"), related())
    left = only(sender.told(practitioner(), organization(), encounter()), EncounterDischarged)
    assert [g.name for g in left.guardians] == ["样例母"]


def test_a_stay_that_began_is_an_admission() -> None:
    events = Sender().told(*stay(status="in-progress", period={"start": "2026-11-25"}))
    assert only(events, EncounterAdmitted).encounter_id == "e1@ehr"


@pytest.mark.parametrize("status", ["in-progress", "cancelled", "entered-in-error"])
def test_a_stay_that_is_no_more_finished_takes_its_discharge_back(status: str) -> None:
    sender = Sender()
    sender.told(*stay())
    events = sender.put(encounter(status=status)).events
    assert only(events, DischargeCancelled).encounter_id == "e1@ehr"


def test_a_discharge_is_taken_back_also_where_last_updated_is_from_before_it() -> None:
    sender = Sender()
    before = {"lastUpdated": "2026-11-18T08:00:00+08:00"}
    discharged = only(sender.told(*stay(meta=before)), EncounterDischarged)
    events = sender.put(encounter(status="entered-in-error", meta=before)).events
    assert only(events, DischargeCancelled).cancelled_at >= discharged.discharged_at


CLASSES = {"AMB": VisitClass.AMBULATORY, "VR": VisitClass.VIRTUAL, "IMP": VisitClass.INPATIENT}


@pytest.mark.parametrize("code", CLASSES)
@pytest.mark.parametrize("status", ["in-progress", "cancelled", "entered-in-error"])
def test_a_visit_that_is_no_more_finished_is_taken_back(status: str, code: str) -> None:
    sender, of = Sender(), {"class": {"code": code}}
    sender.told(*stay(**of))
    events = sender.put(encounter(status=status, **of)).events
    assert only(events, VisitCancelled) == VisitCancelled(
        visit_id="e1@ehr",
        patient_id="M1",
        visit_class=CLASSES[code],
        cancelled_at=sender.now,
    )
    kinds = {DischargeCancelled, AdmissionCancelled, EncounterAdmitted} & {type(e) for e in events}
    assert bool(kinds) == (code == "IMP")


@pytest.mark.parametrize("status", ["cancelled", "entered-in-error"])
def test_what_is_taken_back_may_come_before_the_visit(status: str) -> None:
    sender, of = Sender(), {"class": {"code": "AMB"}}
    assert only(sender.told(*stay(status=status, **of)), VisitCancelled).visit_id == "e1@ehr"
    assert sender.put(encounter(status=status, **of)).events == (), "told once"


def test_a_visit_to_come_takes_nothing_back() -> None:
    for status in ("planned", "in-progress"):
        events = Sender().told(*stay(status=status, **{"class": {"code": "AMB"}}))
        assert not any(isinstance(e, VisitCancelled) for e in events)


@pytest.mark.parametrize(
    "stated",
    [
        (None, None, None),
        ("08:00", "09:00", "10:00"),
        ("08:00", "08:00", "08:00"),  # as it was read before
        ("08:00", None, None),
        (None, None, "08:00"),
        (None, "08:00", "08:00"),
    ],
)
def test_each_form_of_a_visit_is_recorded_after_the_one_before(
    stated: tuple[str | None, ...],
) -> None:
    sender, of = Sender(), {"class": {"code": "AMB"}}
    sender.told(patient(), practitioner(), organization())
    times = []
    for status, at in zip(("finished", "entered-in-error", "finished"), stated, strict=True):
        sender.now += timedelta(minutes=1)
        meta = {"meta": {"lastUpdated": f"2026-11-25T{at}:00+08:00"}} if at else {}
        (event,) = sender.put(encounter(status=status, **meta, **of)).events
        assert isinstance(event, VisitCompleted | VisitCancelled)
        at_last = event.recorded_at if isinstance(event, VisitCompleted) else event.cancelled_at
        assert at_last is not None
        times.append(at_last)
    assert times[0] < times[1] < times[2]


def test_a_death_that_was_told_stands_which_is_noted() -> None:
    sender = Sender()
    sender.put(patient(deceasedBoolean=True))
    assert codes(sender.put(patient(deceasedBoolean=False))) == {"death_stands"}


@pytest.mark.parametrize("clock", ["the sender's", "ours"])
def test_what_was_overtaken_on_its_way_takes_nothing_back(clock: str) -> None:
    sender = Sender()
    said = clock == "the sender's"
    sender.told(*stay(**({"meta": {"lastUpdated": "2026-11-25T03:00:00Z"}} if said else {})))
    kept = dict(sender.kept)
    older = {"meta": {"lastUpdated": "2026-11-25T02:00:00Z"}} if said else {}
    if not said:
        sender.now -= timedelta(hours=1)  # refused then, and taken up again
    received = sender.put(encounter(status="in-progress", **older))
    assert (received.events, codes(received)) == ((), {"stale"})
    assert sender.kept == kept


def test_a_stay_that_ended_on_a_day_ends_after_it_began() -> None:
    period = {"start": "2026-11-25T08:00:00+08:00", "end": "2026-11-25"}
    told = only(Sender().told(*stay(period=period)), EncounterDischarged)
    assert told.discharged_at == told.admitted_at == datetime(2026, 11, 25, tzinfo=UTC)


def test_a_stay_that_began_takes_nothing_back() -> None:
    events = Sender().told(*stay(status="in-progress"))
    assert not any(isinstance(e, DischargeCancelled) for e in events)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("AMB", VisitClass.AMBULATORY),
        ("EMER", VisitClass.EMERGENCY),
        ("VR", VisitClass.VIRTUAL),
    ],
)
def test_everybody_who_was_seen_made_a_visit(code: str, kind: VisitClass) -> None:
    events = Sender().told(*stay(**{"class": {"code": code}}))
    assert only(events, VisitCompleted).visit_class is kind
    assert not any(isinstance(e, EncounterDischarged) for e in events)


def test_a_stay_without_an_end_is_refused_at_its_place() -> None:
    found = Sender().send(transaction(*stay(period={"start": "2026-11-18"})))
    assert faults(found) == [("Bundle.entry[3].resource.period.end", "required")]


def test_a_new_telephone_of_the_patient_discharges_nobody_again() -> None:
    sender = Sender()
    sender.told(*stay())
    sender.put(patient(telecom=[{"system": "phone", "value": "1"}]))
    assert sender.put(encounter()).events == ()


# -- reports ----------------------------------------------------------------------------


def test_a_report_has_its_observations_as_lines() -> None:
    flagged = observation(
        interpretation=[{"coding": [{"code": "HH"}]}],
        referenceRange=[{"low": {"value": 3.5}, "high": {"value": 5.3}}],
    )
    found = only(Sender().told(patient(), flagged, report()), ReportReady)
    (one,) = found.observations
    assert (one.code, one.value, one.unit) == ("2823-3", 4.1, "mmol/L")
    assert one.interpretation is Interpretation.CRITICALLY_HIGH
    assert one.reference_range is not None and one.reference_range.low == 3.5
    assert found.critical


def test_a_panel_and_its_components_are_lines_each() -> None:
    panel = without(
        observation(
            component=[
                {"code": concept(LOINC, "8480-6"), "valueQuantity": {"value": 168}},
                {"code": concept(LOINC, "8462-4"), "valueInteger": 96},
            ],
            hasMember=[{"reference": "Observation/b2"}],
        ),
        "valueQuantity",
    )
    member = observation(id="b2", valueQuantity={"value": 5, "comparator": "<"})
    found = only(Sender().told(patient(), panel, member, report()), ReportReady)
    assert [o.value for o in found.observations] == [168, 96, "<5"]


@pytest.mark.parametrize(
    ("status", "line", "model", "told"),
    [
        ("final", "final", ReportReady, ReportStatus.FINAL),
        ("final", "preliminary", ReportReady, ReportStatus.PRELIMINARY),
        ("final", "corrected", ReportCorrected, ReportStatus.CORRECTED),
        ("corrected", "final", ReportCorrected, ReportStatus.CORRECTED),
        ("preliminary", "final", ReportReady, ReportStatus.PRELIMINARY),
        ("final", "entered-in-error", ReportWithdrawn, None),
        ("cancelled", "final", ReportWithdrawn, None),
        ("entered-in-error", "final", ReportWithdrawn, None),
        ("registered", "registered", None, None),
    ],
)
def test_the_stricter_of_report_and_line_holds(
    status: str, line: str, model: type[Any] | None, told: ReportStatus | None
) -> None:
    events = Sender().told(patient(), observation(status=line), report(status=status))
    found = [e for e in events if not isinstance(e, PatientRegistered)]
    assert [type(e) for e in found] == ([model] if model else [])
    assert not told or found[0].status is told  # type: ignore[attr-defined]


def test_a_line_that_nobody_knows_is_refused() -> None:
    found = Sender().send(transaction(patient(), report()))
    assert faults(found) == [("Bundle.entry[1].resource.result[0]", "not-found")]


def test_a_line_of_another_patient_is_refused() -> None:
    other = patient(id="p2", identifier=[{"type": MR, "value": "M2"}])
    mixed = observation(subject={"reference": "Patient/p2"})
    found = Sender().send(transaction(patient(), other, mixed, report()))
    assert faults(found) == [("Bundle.entry[3].resource.result[0]", "business-rule")]


OTHER = {"subject": {"reference": "Patient/p2"}}
CONDITION = {"resourceType": "Condition", "id": "c1", "code": concept(ICD10, "I10"), **OTHER}


@pytest.mark.parametrize(
    ("resources", "place"),
    [
        # Only an identifier says whose report it is.
        (
            [observation(**OTHER), report(subject={"identifier": {"type": MR, "value": "M1"}})],
            "result[0]",
        ),
        ([observation(), report(encounter={"reference": "Encounter/e2"})], "encounter"),
        ([prescription(encounter={"reference": "Encounter/e2"})], "encounter"),
        ([prescription(reasonReference=[{"reference": "Condition/c1"}])], "reasonReference[0]"),
        (
            [encounter(id="e9", diagnosis=[{"condition": {"reference": "Condition/c1"}}])],
            "diagnosis[0].condition",
        ),
    ],
)
def test_nothing_of_another_patient_gets_into_a_record(
    resources: list[dict[str, Any]], place: str
) -> None:
    other = patient(id="p2", identifier=[{"type": MR, "value": "M2"}])
    theirs = [other, encounter(id="e2", **OTHER), CONDITION]
    received = Sender().send(transaction(*stay(*theirs, *resources)))
    (fault,) = received.faults
    assert (fault.expression.partition(".resource.")[2], fault.code) == (place, "business-rule")


def test_a_condition_of_another_patient_that_names_the_stay_refuses_the_discharge() -> None:
    other = patient(id="p2", identifier=[{"type": MR, "value": "M2"}])
    wrong = {**CONDITION, "encounter": {"reference": "Encounter/e1"}}
    assert "business-rule" in {
        c for _, c in faults(Sender().send(transaction(*stay(other, wrong))))
    }


def test_what_was_filed_under_a_number_that_was_merged_is_the_survivors() -> None:
    link = [{"other": {"reference": "Patient/p1"}, "type": "replaced-by"}]
    gone = patient(id="p2", identifier=[{"type": MR, "value": "M2"}], link=link)
    events = Sender().told(patient(), gone, observation(**OTHER), report())
    assert only(events, ReportReady).patient_id == "M1"


def test_a_panel_that_is_critical_makes_its_report_critical() -> None:
    panel = observation(
        id="panel",
        hasMember=[{"reference": "Observation/b1"}],
        interpretation=[{"coding": [{"code": "AA"}]}],
    )
    del panel["valueQuantity"]
    of_panel = report(result=[{"reference": "Observation/panel"}])
    told = only(Sender().told(patient(), observation(), panel, of_panel), ReportReady)
    assert told.critical and len(told.observations) == 1


def test_an_observation_that_came_before_is_a_line_of_a_later_report() -> None:
    sender = Sender()
    sender.told(patient(), observation())
    assert only(sender.put(report()).events, ReportReady).observations[0].value == 4.1


# -- prescriptions ----------------------------------------------------------------------


def test_a_prescription_says_what_how_much_and_for_how_long() -> None:
    found = only(Sender().told(*stay(prescription())), PrescriptionIssued)
    assert (found.prescription_id, found.prescriber_id) == ("m1@ehr", "D-1")
    assert (found.medication.code, found.department.code) == ("C08CA01", "NEURO")
    assert (found.quantity.value, found.quantity.unit, found.days_supply) == (28, "片", 28)
    assert found.dosage == "每日一次，每次一片"
    assert not found.assumed


def test_a_prescription_says_when_it_was_written_so_and_only_what_changed_tells_anything() -> None:
    sender = Sender()
    sender.told(*stay(prescription(meta={"lastUpdated": "2026-11-25T02:00:00Z"})))
    later: dict[str, Any] = {"meta": {"lastUpdated": "2026-11-25T03:00:00Z"}}
    assert sender.put(prescription(**later)).events == ()
    (changed,) = sender.put(prescription(**later, authoredOn="2026-11-02T09:00:00+08:00")).events
    assert isinstance(changed, PrescriptionIssued)
    assert changed.updated_at == datetime(2026, 11, 25, 3, 0, tzinfo=UTC)


def test_what_is_stopped_was_issued_before() -> None:
    sender = Sender()
    at_once = sender.told(*stay(prescription(status="stopped")))
    assert only(at_once, PrescriptionIssued) and only(at_once, PrescriptionStopped)
    later = Sender()
    later.told(*stay(prescription()))
    (stopped,) = later.put(prescription(status="stopped")).events
    assert isinstance(stopped, PrescriptionStopped)
    assert stopped.stopped_at == later.now


def test_what_comes_stopped_of_a_past_told_as_a_whole_is_no_change_of_today() -> None:
    old = {"status": "stopped", "authoredOn": "2019-03-04T09:00:00+08:00"}
    written = datetime(2019, 3, 4, 1, 0, tzinfo=UTC)
    sender = Sender()
    told = only(sender.told(*stay(prescription(**old))), PrescriptionStopped)
    assert told.stopped_at == written
    assert sender.put(prescription(**old)).events == ()  # the same fact, not one of later on
    said = prescription(**old, meta={"lastUpdated": "2026-11-25T10:00:00+08:00"})
    at = datetime(2026, 11, 25, 2, 0, tzinfo=UTC)
    assert only(Sender().told(*stay(said)), PrescriptionStopped).stopped_at == at


def test_what_was_filed_under_the_wrong_patient_is_not_moved_in_silence() -> None:
    sender = Sender()
    other = patient(id="p2", identifier=[{"type": MR, "value": "M2"}])
    sender.told(*stay(other, prescription()))
    for moved in (encounter(**OTHER), prescription(**OTHER, encounter=None)):
        moved = {name: value for name, value in moved.items() if value is not None}
        (fault,) = sender.put(moved).faults
        place = f"{moved['resourceType']}.subject"
        assert (fault.expression, fault.code) == (place, "business-rule")


def test_what_was_filed_under_a_merged_number_moves_to_the_survivor() -> None:
    sender = Sender()
    sender.told(*stay())
    link = [{"other": {"reference": "Patient/p1"}, "type": "replaces"}]
    sender.told(patient(id="p2", identifier=[{"type": MR, "value": "M2"}], link=link))
    assert only(sender.put(encounter(**OTHER)).events, EncounterDischarged).patient_id == "M2"


def test_a_stop_that_is_told_again_keeps_its_time() -> None:
    sender = Sender()
    sender.told(*stay(prescription()))
    assert len(sender.put(prescription(status="stopped")).events) == 1
    for noted in ("晨起血压偏低", "已告知患者"):  # not as of when it was written
        again = sender.put(prescription(status="stopped", note=[{"text": noted}]))
        assert again.events == () and not again.faults
    other_number = prescription(status="stopped", identifier=[{"value": "RX-9"}])
    assert only(sender.put(other_number).events, PrescriptionStopped).prescription_id == "RX-9"


def test_what_is_put_on_hold_is_stopped_for_that_reason() -> None:
    sender = Sender()
    number = only(sender.told(*stay(prescription())), PrescriptionIssued).prescription_id
    sender.now += timedelta(hours=3)
    (held,) = sender.put(prescription(status="on-hold")).events
    assert isinstance(held, PrescriptionStopped)
    assert (held.prescription_id, held.patient_id) == (number, "M1")
    assert (held.reason, held.stopped_at) == ("on_hold", sender.now)
    since = sender.now
    sender.now += timedelta(days=1)
    assert sender.put(prescription(status="on-hold", note=[{"text": "肾功能"}])).events == ()
    (ended,) = sender.put(prescription(status="stopped")).events
    assert isinstance(ended, PrescriptionStopped)
    assert ended.reason is None and ended.stopped_at == sender.now > since
    first = Sender().told(*stay(prescription(status="on-hold")))
    assert only(first, PrescriptionIssued), "one knows what it is that cannot be renewed"
    assert only(first, PrescriptionStopped).reason == "on_hold"


@pytest.mark.parametrize("was", ["on-hold", "stopped"])
def test_what_is_active_again_stays_stopped_and_the_note_says_so(was: str) -> None:
    sender = Sender()
    sender.told(*stay(prescription()))
    sender.put(prescription(status=was))
    again = sender.put(prescription())
    assert "stop_stands" in codes(again)
    (event,) = again.events
    assert isinstance(event, PrescriptionIssued), "of which the stop is kept"
    assert "stop_stands" not in codes(sender.put(prescription(id="m2")))


@pytest.mark.parametrize("status", ["cancelled", "entered-in-error"])
def test_what_never_was_a_prescription_is_only_stopped(status: str) -> None:
    events = Sender().told(*stay(prescription(status=status)))
    assert only(events, PrescriptionStopped)
    assert not any(isinstance(e, PrescriptionIssued) for e in events)


@pytest.mark.parametrize(
    "differs",
    [
        {"status": "draft"},
        {"intent": "proposal"},
        {"intent": "instance-order"},
        {"doNotPerform": True},
        {"category": [concept("medicationrequest-category", "inpatient")]},
    ],
)
def test_what_is_no_prescription_yet_tells_nothing(differs: dict[str, Any]) -> None:
    events = Sender().told(*stay(prescription(**differs)))
    assert not any(isinstance(e, PrescriptionIssued | PrescriptionStopped) for e in events)


def test_a_medicine_by_reference_or_contained_is_read_alike() -> None:
    medication = {"resourceType": "Medication", "id": "x", "code": concept(ATC, "N03AG01")}
    by_reference = without(prescription(), "medicationCodeableConcept") | {
        "medicationReference": {"reference": "Medication/x"}
    }
    found = only(Sender().told(*stay(medication, by_reference)), PrescriptionIssued)
    contained = by_reference | {
        "medicationReference": {"reference": "#x"},
        "contained": [medication],
    }
    again = only(Sender().told(*stay(contained)), PrescriptionIssued)
    assert found.medication == again.medication


def test_a_drug_without_atc_passes_under_the_senders_code_and_is_noted() -> None:
    local = prescription(medicationCodeableConcept=concept("https://x.example/drugs", "77"))
    received = Sender().send(transaction(*stay(local)))
    assert only(received.events, PrescriptionIssued).medication.code == "drugs:77"
    assert "unknown_code" in codes(received)


def test_a_dosing_that_nobody_told_is_said_to_be_the_profiles() -> None:
    bare = without(prescription(), "dosageInstruction")
    assert faults(Sender().send(transaction(*stay(bare)))) == [
        ("Bundle.entry[4].resource.dosageInstruction", "required")
    ]
    lenient = Sender(profile(defaults={"dosage": "遵医嘱"}))
    usual = only(lenient.told(*stay(bare)), PrescriptionIssued)
    assert (usual.dosage, usual.dosage_assumed) == ("遵医嘱", True)
    told = only(lenient.told(*stay(prescription())), PrescriptionIssued)
    assert not told.dosage_assumed


def test_no_supply_is_refused_unless_the_profile_has_a_default() -> None:
    bare = without(prescription(), "dispenseRequest")
    assert faults(Sender().send(transaction(*stay(bare)))) == [
        ("Bundle.entry[4].resource.dispenseRequest.quantity", "required")
    ]
    lenient = profile(defaults={"quantity": 1, "quantity_unit": "份", "days_supply": 28})
    received = Sender(lenient).send(transaction(*stay(bare)))
    usual = only(received.events, PrescriptionIssued)
    assert (usual.days_supply, usual.assumed) == (28, ("quantity", "days_supply"))
    assert "defaulted" in codes(received)


# -- conditions, allergies, procedures --------------------------------------------------


def test_an_allergy_says_to_what_and_how_dangerous() -> None:
    allergy = {
        "resourceType": "AllergyIntolerance",
        "id": "a1",
        "patient": {"reference": "Patient/p1"},
        "code": concept(ATC, "J01CA04", "阿莫西林"),
        "criticality": "high",
        "category": ["medication"],
        "reaction": [{"manifestation": [{"text": "皮疹"}]}],
    }
    found = only(Sender().told(patient(), allergy), AllergyRecorded)
    assert (found.code, found.system, found.display) == ("J01CA04", "ATC", "阿莫西林")
    assert (found.criticality, found.reaction) == ("high", "皮疹")


def test_a_condition_outside_icd_10_is_left_out_and_noted() -> None:
    condition = {
        "resourceType": "Condition",
        "id": "c1",
        "code": concept("http://snomed.info/sct", "38341003"),
        "subject": {"reference": "Patient/p1"},
    }
    received = Sender().send(transaction(patient(), condition))
    assert [type(e) for e in received.events] == [PatientRegistered]
    assert "diagnosis_left_out" in codes(received)
    mapped = Sender(profile(tables={"diagnosis": {"codes": {"SCT|38341003": "I10"}}}))
    assert only(mapped.told(patient(), condition), ConditionRecorded).code == "I10"


def test_a_procedure_that_was_done_is_told_and_stands_in_the_discharge() -> None:
    procedure = {
        "resourceType": "Procedure",
        "id": "x1",
        "status": "completed",
        "code": concept("http://snomed.info/sct", "7246002", "活检"),
        "subject": {"reference": "Patient/p1"},
        "encounter": {"reference": "Encounter/e1"},
        "performedDateTime": "2026-11-20",
    }
    events = Sender().told(*stay(procedure))
    done = only(events, ProcedurePerformed)
    assert (done.code, done.system, done.encounter_id) == ("7246002", "SNOMED-CT", "e1@ehr")
    assert [p.code for p in only(events, EncounterDischarged).procedures] == ["7246002"]
