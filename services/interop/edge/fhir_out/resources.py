"""Which FHIR R4 resource is an event of ours? One function for each, in the table at the bottom.

An event is a fact, not a record: the resource holds what the event tells, under the id by
which later events name the same thing. Types that are not in the table have none.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from libs.common import events as e
from libs.common.decision import derived_id
from libs.common.events.prescriptions import VisitClass

Resource = dict[str, Any]

#: FHIR R4, datatypes: id.
_FHIR_ID: Final = re.compile(r"[A-Za-z0-9.-]{1,64}")
_ABSENT: Final = {
    "coding": [
        {"system": "http://terminology.hl7.org/CodeSystem/data-absent-reason", "code": "unknown"}
    ]
}
_ICD10: Final = "http://hl7.org/fhir/sid/icd-10"
_ATC: Final = "http://www.whocc.no/atc"
_LOINC: Final = "http://loinc.org"
_V3: Final = "http://terminology.hl7.org/CodeSystem/v3-"

#: HL7 v3 PersonalRelationshipRoleType and RoleClass.
_RELATIONSHIPS: Final[Mapping[e.Relationship, str]] = {
    e.Relationship.MOTHER: "MTH",
    e.Relationship.FATHER: "FTH",
    e.Relationship.GRANDPARENT: "GRPRN",
    e.Relationship.LEGAL_GUARDIAN: "GUARD",
    e.Relationship.SPOUSE: "SPS",
    e.Relationship.CHILD: "CHILD",
    e.Relationship.SIBLING: "SIB",
    e.Relationship.OTHER: "O",
}
#: http://terminology.hl7.org/CodeSystem/discharge-disposition
_DISPOSITIONS: Final[Mapping[e.Disposition, str]] = {
    e.Disposition.HOME: "home",
    e.Disposition.TRANSFERRED: "other-hcf",
    e.Disposition.DECEASED: "exp",
    e.Disposition.AGAINST_ADVICE: "aadvice",
    e.Disposition.OTHER: "oth",
}
_CLASSES: Final[Mapping[VisitClass, str]] = {
    VisitClass.AMBULATORY: "AMB",
    VisitClass.INPATIENT: "IMP",
    VisitClass.EMERGENCY: "EMER",
    VisitClass.VIRTUAL: "VR",
}
#: HL7 v2 table 0074, DiagnosticReport.category.
_CATEGORIES: Final[Mapping[e.ReportKind, str]] = {
    e.ReportKind.LABORATORY: "LAB",
    e.ReportKind.MICROBIOLOGY: "MB",
    e.ReportKind.PATHOLOGY: "PAT",
    e.ReportKind.IMAGING: "RAD",
    e.ReportKind.ULTRASOUND: "RUS",
    e.ReportKind.ENDOSCOPY: "OTH",
    e.ReportKind.FUNCTION_TEST: "OTH",
    e.ReportKind.OTHER: "OTH",
}
#: Where our words (R5's) are none of R4's: of a report, and of its lines.
_REPORT_STATUSES: Final = {e.ReportStatus.MODIFIED: "preliminary"}
_LINE_STATUSES: Final = {
    **_REPORT_STATUSES,
    e.ReportStatus.PARTIAL: "preliminary",
    e.ReportStatus.APPENDED: "amended",
}


# -- words ------------------------------------------------------------------------------


def fhir_id(id: str) -> str:
    """``id``, or where FHIR does not take it one that follows from it."""
    return id if _FHIR_ID.fullmatch(id) else derived_id("fhir", id)


def _identified(type: str, id: str) -> Resource:
    """The beginning of a resource. Our own id is its identifier, whatever FHIR makes of it."""
    identifier = {"system": f"urn:lianxin:{type.lower()}", "value": id}
    return {"resourceType": type, "id": fhir_id(id), "identifier": [identifier]}


def _to(type: str, id: str | None) -> Resource | None:
    return None if id is None else {"reference": f"{type}/{fhir_id(id)}"}


def _person(id: str) -> Resource:
    """A person who may be the patient or somebody else."""
    return {"identifier": {"system": "urn:lianxin:person", "value": id}}


def _code(system: str, code: str, text: str | None = None) -> Resource:
    return _without_nothing({"coding": [{"system": system, "code": code}], "text": text})


def _contact(contact: e.Contact) -> Resource:
    telecom = [
        {"system": system, "value": value}
        for system, value in (("phone", contact.phone), ("email", contact.email))
        if value
    ]
    return {"name": [{"text": contact.name}], "telecom": telecom or None}


def _without_nothing(resource: Resource) -> Resource:
    return {name: value for name, value in resource.items() if value is not None}


def _at(time: Any) -> str | None:
    return None if time is None else str(time.isoformat())


# -- people -----------------------------------------------------------------------------


def _patient(event: e.PatientRegistered | e.PatientUpdated) -> Resource:
    language = None
    if event.language is not None:
        language = [{"language": _code("urn:ietf:bcp:47", event.language), "preferred": True}]
    return {
        **_identified("Patient", event.patient_id),
        "active": event.active,
        **_contact(event),
        "gender": event.gender.value,
        "birthDate": event.birth_date.isoformat(),
        "communication": language,
    }


def _deceased(event: e.PatientDeceased) -> Resource:
    return {
        **_identified("Patient", event.patient_id),
        "deceasedDateTime": _at(event.deceased_at),
    }


def _merged(event: e.PatientMerged) -> Resource:
    link = {"other": _to("Patient", event.survivor_id), "type": "replaced-by"}
    return {**_identified("Patient", event.patient_id), "active": False, "link": [link]}


def _related_id(patient_id: str, person_id: str) -> str:
    return derived_id("related-person", patient_id, person_id)


def _guardian(event: e.GuardianLinked) -> Resource:
    code = _RELATIONSHIPS[event.relationship]
    system = f"{_V3}RoleCode" if code != "O" else "http://terminology.hl7.org/CodeSystem/v2-0131"
    period = {"start": _at(event.linked_at), "end": _at(event.valid_until)}
    return {
        **_identified("RelatedPerson", _related_id(event.patient_id, event.person_id)),
        "active": True,
        "patient": _to("Patient", event.patient_id),
        "relationship": [_code(system, code)],
        **_contact(event.contact),
        "period": _without_nothing(period),
    }


def _unlinked(event: e.GuardianUnlinked) -> Resource:
    return {
        **_identified("RelatedPerson", _related_id(event.patient_id, event.person_id)),
        "active": False,
        "patient": _to("Patient", event.patient_id),
        "period": {"end": _at(event.unlinked_at)},
    }


# -- stays and visits -------------------------------------------------------------------


def _encounter(id: str, patient_id: str, status: str, class_code: str | None) -> Resource:
    known = {"system": f"{_V3}ActCode", "code": class_code}
    return {
        **_identified("Encounter", id),
        "status": status,
        "class": known if class_code else _ABSENT["coding"][0],
        "subject": _to("Patient", patient_id),
    }


def _department(department: e.Department) -> Resource:
    identifier = {"system": "urn:lianxin:department", "value": department.code}
    return _without_nothing({"identifier": identifier, "display": department.name})


def _discharged(event: e.EncounterDischarged) -> Resource:
    conditions = [
        {
            "resourceType": "Condition",
            "id": f"c{n}",
            "code": _code(_ICD10, d.code, d.display),
            "subject": _to("Patient", event.patient_id),
        }
        for n, d in enumerate(event.diagnoses, 1)
    ]
    attending = event.attending
    participant = None
    if attending is not None:
        individual = _to("Practitioner", attending.practitioner_id) or {}
        individual["display"] = attending.name
        participant = [{"individual": _without_nothing(individual)}]
    period = {"start": _at(event.admitted_at), "end": _at(event.discharged_at)}
    disposition = "http://terminology.hl7.org/CodeSystem/discharge-disposition"
    return {
        **_encounter(event.encounter_id, event.patient_id, "finished", "IMP"),
        "contained": conditions or None,
        "participant": participant,
        "period": _without_nothing(period),
        "diagnosis": [{"condition": {"reference": f"#{c['id']}"}} for c in conditions] or None,
        "hospitalization": {
            "dischargeDisposition": _code(disposition, _DISPOSITIONS[event.disposition])
        },
        "serviceProvider": _department(event.department),
    }


def _stays(event: e.DischargeCancelled) -> Resource:
    return _encounter(event.encounter_id, event.patient_id, "in-progress", "IMP")


def _visited(event: e.VisitCompleted) -> Resource:
    class_code = _CLASSES[event.visit_class]
    return {
        **_encounter(event.visit_id, event.patient_id, "finished", class_code),
        "period": {"end": _at(event.occurred_at)},
        "serviceProvider": _department(event.department),
    }


def _not_visited(event: e.VisitCancelled) -> Resource | None:
    """Of a stay, what is told of its admission and discharge says how it stands."""
    if event.visit_class is VisitClass.INPATIENT:
        return None
    class_code = _CLASSES[event.visit_class] if event.visit_class else None
    return _encounter(event.visit_id, event.patient_id, "entered-in-error", class_code)


# -- reports ----------------------------------------------------------------------------


def _line(n: int, line: e.Observation, report: e.ReportReady | e.ReportCorrected) -> Resource:
    value: Resource = {}
    if isinstance(line.value, str):
        value = {"valueString": line.value}
    elif line.value is not None:
        value = {"valueQuantity": _without_nothing({"value": line.value, "unit": line.unit})}
    interpretation = None
    if line.interpretation is not None:
        system = f"{_V3}ObservationInterpretation"
        interpretation = [_code(system, line.interpretation.value)]
    return _without_nothing(
        {
            "resourceType": "Observation",
            "id": f"o{n}",
            "status": _LINE_STATUSES.get(report.status, report.status.value),
            "code": _code(_LOINC, line.code, line.display),
            "subject": _to("Patient", report.patient_id),
            **value,
            "interpretation": interpretation,
            "referenceRange": _range(line),
        }
    )


def _range(line: e.Observation) -> list[Resource] | None:
    usual = line.reference_range
    if usual is None:
        return None
    bounds = {
        name: _without_nothing({"value": value, "unit": line.unit})
        for name, value in (("low", usual.low), ("high", usual.high))
        if value is not None
    }
    return [_without_nothing({**bounds, "text": usual.text})]


def _category(kind: e.ReportKind) -> list[Resource]:
    return [_code("http://terminology.hl7.org/CodeSystem/v2-0074", _CATEGORIES[kind])]


def _report(event: e.ReportReady | e.ReportCorrected) -> Resource:
    lines = [_line(n, line, event) for n, line in enumerate(event.observations, 1)]
    documents = [
        _without_nothing(
            {"contentType": d.content_type, "url": d.url, "size": d.size, "title": d.title}
        )
        for d in event.documents
    ]
    return {
        **_identified("DiagnosticReport", event.report_id),
        "contained": lines or None,
        "status": _REPORT_STATUSES.get(event.status, event.status.value),
        "category": _category(event.kind),
        "code": _code(_LOINC, event.code, event.title),
        "subject": _to("Patient", event.patient_id),
        "encounter": _to("Encounter", event.encounter_id),
        "effectiveDateTime": _at(event.effective_at),
        "issued": _at(event.issued_at),
        "result": [{"reference": f"#{line['id']}"} for line in lines] or None,
        "conclusion": event.conclusion,
        "presentedForm": documents or None,
    }


def _report_gone(event: e.ReportWithdrawn) -> Resource:
    return {
        **_identified("DiagnosticReport", event.report_id),
        "status": "entered-in-error",
        "code": _ABSENT,
        "subject": _to("Patient", event.patient_id),
    }


def _released(event: e.ResultReleased) -> Resource:
    """That the patient may see it; the report's own status stands in its own event."""
    return {
        **_identified("DiagnosticReport", event.report_id),
        "status": "corrected" if event.corrected else "unknown",
        "category": _category(event.kind),
        "code": _code(_LOINC, event.code),
        "subject": _to("Patient", event.patient_id),
        "issued": _at(event.released_at),
    }


def _recalled(event: e.ResultRecalled) -> Resource:
    return {
        **_identified("DiagnosticReport", event.report_id),
        "status": "entered-in-error" if event.reason == "withdrawn" else "unknown",
        "code": _ABSENT,
        "subject": _to("Patient", event.patient_id),
    }


# -- medicines --------------------------------------------------------------------------


def _prescription(event: e.PrescriptionIssued) -> Resource:
    days = {"value": event.days_supply, "unit": "d", "system": "http://unitsofmeasure.org"}
    medicine, quantity = event.medication, event.quantity
    return {
        **_identified("MedicationRequest", event.prescription_id),
        "status": "active",
        "intent": "order",
        "medicationCodeableConcept": _code(_ATC, medicine.code, medicine.name),
        "subject": _to("Patient", event.patient_id),
        "authoredOn": _at(event.issued_at),
        "requester": _to("Practitioner", event.prescriber_id),
        "reasonCode": [_code(_ICD10, code) for code in event.diagnoses] or None,
        "dosageInstruction": [{"text": event.dosage}],
        "dispenseRequest": {
            "quantity": {"value": quantity.value, "unit": quantity.unit},
            "expectedSupplyDuration": {**days, "code": "d"},
        },
        "priorPrescription": _to("MedicationRequest", event.based_on),
    }


def _stopped(event: e.PrescriptionStopped) -> Resource:
    return {
        **_identified("MedicationRequest", event.prescription_id),
        "status": "stopped",
        "intent": "order",
        "medicationCodeableConcept": _ABSENT,
        "subject": _to("Patient", event.patient_id),
    }


def _renewed(event: e.RefillEffective) -> Resource:
    days = {"value": event.days_supply, "unit": "d", "system": "http://unitsofmeasure.org"}
    return {
        **_identified("MedicationRequest", event.new_prescription_id),
        "status": "active",
        "intent": "order",
        "medicationCodeableConcept": _code(_ATC, event.ingredient_code),
        "subject": _to("Patient", event.patient_id),
        "authoredOn": _at(event.effective_at),
        "requester": _to("Practitioner", event.doctor_id),
        "dispenseRequest": _without_nothing(
            {
                "expectedSupplyDuration": {**days, "code": "d"},
                "performer": _to("Organization", event.pharmacy_id),
            }
        ),
        "priorPrescription": _to("MedicationRequest", event.prescription_id),
    }


def _chosen(event: e.RefillFulfilmentChosen) -> Resource:
    """Which pharmacy is to dispense it; another one that hears this is not."""
    return {
        **_identified("MedicationRequest", event.new_prescription_id),
        "status": "active",
        "intent": "order",
        "medicationCodeableConcept": _code(_ATC, event.ingredient_code),
        "subject": _to("Patient", event.patient_id),
        "dispenseRequest": {"performer": _to("Organization", event.pharmacy_id)},
        "priorPrescription": _to("MedicationRequest", event.prescription_id),
    }


def _void(event: e.RefillSuspended | e.RefillLapsed) -> Resource:
    """What was in effect must not be dispensed any more; before that a doctor looks again."""
    if event.new_prescription_id is None:
        return _renewal("on-hold")(event)
    return {
        **_identified("MedicationRequest", event.new_prescription_id),
        "status": "stopped",
        "intent": "order",
        "medicationCodeableConcept": _code(_ATC, event.ingredient_code),
        "subject": _to("Patient", event.patient_id),
        "priorPrescription": _to("MedicationRequest", event.prescription_id),
    }


def _renewal(status: str) -> Callable[[Any], Resource]:
    """A renewal under way is a Task about the prescription."""

    def task(event: Any) -> Resource:
        return {
            **_identified("Task", event.refill_id),
            "status": status,
            "intent": "order",
            "code": {"text": "renew a prescription"},
            "focus": _to("MedicationRequest", event.prescription_id),
            "for": _to("Patient", event.patient_id),
            "requester": _person(event.requested_by),
        }

    return task


# -- groups, questions, notifications ---------------------------------------------------


def _invitation(status: str) -> Callable[[Any], Resource]:
    def task(event: Any) -> Resource:
        return {
            **_identified("Task", event.invitation_id),
            "status": status,
            "intent": "proposal",
            "code": {"text": "join a patient group"},
            "encounter": _to("Encounter", event.encounter_id),
            "for": _to("Patient", event.patient_id),
            "owner": _person(event.person_id),
            "restriction": {"period": {"end": _at(event.expires_at)}},
        }

    return task


def _question(event: e.QuestionAsked) -> Resource:
    return {
        **_identified("Communication", event.question_id),
        "status": "completed",
        "subject": _to("Patient", event.patient_id),
        "sent": _at(event.asked_at),
        "sender": _person(event.asked_by),
    }


def _answer(event: e.QuestionAnswered) -> Resource:
    return {
        **_identified("Communication", event.message_id),
        "inResponseTo": [_to("Communication", event.question_id)],
        "status": "completed",
        "subject": _to("Patient", event.patient_id),
        "sent": _at(event.answered_at),
        "recipient": [_person(event.asked_by)],
        "sender": _to("Practitioner", event.answered_by),
    }


def _notification(status: str) -> Callable[[Any], Resource]:
    def communication(event: Any) -> Resource:
        reason, channel = getattr(event, "reason", None), getattr(event, "channel", None)
        return {
            **_identified("Communication", event.notification_id),
            "status": status,
            "statusReason": None if reason is None else {"text": reason},
            "category": [{"text": event.template}],
            "medium": None if channel is None else [{"text": channel.value}],
            "subject": _to("Patient", event.patient_id),
            "sent": _at(getattr(event, "sent_at", None)),
            "received": _at(getattr(event, "delivered_at", None)),
            "recipient": [_person(event.recipient_id)],
        }

    return communication


def resource_of(event: e.Event) -> Resource | None:
    """The resource that ``event`` tells of, if there is one."""
    made = TABLE.get(type(event))
    found = made(event) if made is not None else None
    return found and _without_nothing(found)


TABLE: Final[Mapping[type[e.Event], Callable[[Any], Resource | None]]] = {
    e.PatientRegistered: _patient,
    e.PatientUpdated: _patient,
    e.PatientDeceased: _deceased,
    e.PatientMerged: _merged,
    e.GuardianLinked: _guardian,
    e.GuardianUnlinked: _unlinked,
    e.EncounterDischarged: _discharged,
    e.DischargeCancelled: _stays,
    e.VisitCompleted: _visited,
    e.VisitCancelled: _not_visited,
    e.ReportReady: _report,
    e.ReportCorrected: _report,
    e.ReportWithdrawn: _report_gone,
    e.ResultReleased: _released,
    e.ResultRecalled: _recalled,
    e.PrescriptionIssued: _prescription,
    e.PrescriptionStopped: _stopped,
    e.RefillEffective: _renewed,
    e.RefillFulfilmentChosen: _chosen,
    e.RefillSuspended: _void,
    e.RefillLapsed: _void,
    e.RefillRequested: _renewal("requested"),
    e.RefillRefused: _renewal("rejected"),
    e.RefillDoctorApproved: _renewal("accepted"),
    e.RefillDoctorChanged: _renewal("accepted"),
    e.RefillDoctorReplaced: _renewal("accepted"),
    e.RefillDoctorDeclined: _renewal("rejected"),
    e.RefillVisitNeeded: _renewal("rejected"),
    e.RefillPharmacistPassed: _renewal("in-progress"),
    e.RefillPharmacistReturned: _renewal("on-hold"),
    e.RefillPharmacistRefused: _renewal("rejected"),
    e.RefillCancelled: _renewal("cancelled"),
    e.RefillExpired: _renewal("failed"),
    e.InvitationIssued: _invitation("requested"),
    e.InvitationAccepted: _invitation("completed"),
    e.InvitationDeclined: _invitation("rejected"),
    e.InvitationExpired: _invitation("failed"),
    e.InvitationWithdrawn: _invitation("cancelled"),
    e.QuestionAsked: _question,
    e.QuestionAnswered: _answer,
    e.NotificationSent: _notification("in-progress"),
    e.NotificationDelivered: _notification("completed"),
    e.NotificationRead: _notification("completed"),
    e.NotificationFailed: _notification("not-done"),
    e.NotificationSuppressed: _notification("not-done"),
}
