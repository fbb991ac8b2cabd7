"""What do a hospital's systems tell about people, reports and medicines?

The events of a day with all their fields; what differs is given by name.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime, timedelta
from typing import Any

from libs.common.devstack.day.cast import DEPARTMENTS, DOCTORS, Patient, Person, Practitioner
from libs.common.events import (
    Contact,
    Department,
    GuardianLinked,
    LinkScope,
    Medication,
    PatientRegistered,
    PractitionerRegistered,
    PrescriptionIssued,
    Quantity,
    Relationship,
    ReportKind,
    ReportReady,
    ReportStatus,
    VisitClass,
    VisitCompleted,
)

AMLODIPINE = Medication(
    code="C08CA01",
    name="苯磺酸氨氯地平片",
    ingredient_code="C08CA01",
    form="片剂",
    strength="5 mg",
)
ENALAPRIL = Medication(
    code="C09AA02", name="马来酸依那普利片", ingredient_code="C09AA02", form="片剂", strength="5 mg"
)


def department_called(code: str) -> Department:
    return Department(code=code, name=DEPARTMENTS[code][0])


def contact(person: Person) -> Contact:
    return Contact(
        name=person.name,
        phone=person.phone,
        email=person.email,
        webhook=person.webhook,
        language=person.language,
    )


def practitioner(one: Practitioner, at: datetime) -> PractitionerRegistered:
    return PractitionerRegistered(
        practitioner_id=one.id,
        name=one.name,
        roles=(one.role,),
        departments=one.departments,
        practising_since=date(2012, 7, 1),
        language="zh-CN",
        updated_at=at,
    )


def registered(patient: Patient, at: datetime) -> PatientRegistered:
    return PatientRegistered(
        patient_id=patient.id,
        **contact(patient).model_dump(),
        birth_date=patient.birth_date,
        gender=patient.gender,
        updated_at=at,
    )


def linked(
    patient: Patient,
    person: Person,
    at: datetime,
    relationship: str = "mother",
    scope: Iterable[LinkScope] = (LinkScope.FULL,),
) -> GuardianLinked:
    return GuardianLinked(
        patient_id=patient.id,
        person_id=person.id,
        relationship=Relationship(relationship),
        scope=tuple(scope),
        verified_by="household_register",
        linked_at=at,
        contact=contact(person),
    )


def family(patient: Patient, at: datetime) -> list[PatientRegistered | GuardianLinked]:
    """The patient and who may act for them."""
    return [
        registered(patient, at),
        *(linked(patient, person, at, relation) for relation, person in patient.guardians),
    ]


def report(
    patient: Patient, report_id: str, at: datetime, department: str = "NEURO", /, **more: Any
) -> ReportReady:
    """A final laboratory report, ordered by the doctor of ``department``."""
    usual: dict[str, Any] = {
        "kind": ReportKind.LABORATORY,
        "code": "2345-7",
        "title": "空腹血糖",
        "status": ReportStatus.FINAL,
        "ordering_practitioner_id": DOCTORS[department].id,
        "department_code": department,
        "effective_at": at - timedelta(hours=3),
        "issued_at": at,
    }
    return ReportReady(report_id=report_id, patient_id=patient.id, **{**usual, **more})


def prescription(
    patient: Patient,
    at: datetime,
    department: str = "CARDIO",
    medication: Medication = AMLODIPINE,
    /,
    **more: Any,
) -> PrescriptionIssued:
    usual: dict[str, Any] = {
        "prescription_id": f"rx-{patient.id}",
        "dosage": "口服，每日一次，每次一片",
        "quantity": Quantity(value=7, unit="片"),
        # So short that the next renewal may follow at once: it is asked for within a week of
        # the end of the last supply.
        "days_supply": 7,
        "prescriber_id": DOCTORS[department].id,
        "department": department_called(department),
        "diagnoses": ("I10.x00x002",),
        "issued_at": at,
    }
    return PrescriptionIssued(patient_id=patient.id, medication=medication, **{**usual, **more})


#: What the patient's side answers when nothing has changed.
WELL = {"no_new_symptoms": "yes", "taken_as_prescribed": "yes", "no_side_effects": "yes"}


def request(patient: Patient, prescription_id: str = "") -> dict[str, Any]:
    """Ask for a renewal of the patient's usual prescription."""
    return {
        "prescription_id": prescription_id or f"rx-{patient.id}",
        "patient_id": patient.id,
        "declaration": WELL,
    }


def visit(
    patient: Patient, visit_id: str, at: datetime, department: str = "CARDIO", /, **more: Any
) -> VisitCompleted:
    usual: dict[str, Any] = {
        "visit_class": VisitClass.AMBULATORY,
        "department": department_called(department),
        "practitioner_id": DOCTORS[department].id,
        "occurred_at": at,
    }
    return VisitCompleted(visit_id=visit_id, patient_id=patient.id, **{**usual, **more})
