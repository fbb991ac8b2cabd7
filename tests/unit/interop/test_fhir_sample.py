"""Does each line of the sample FHIR server's maps hold, from its code to the event?"""

from __future__ import annotations

import re
from typing import Any

import pytest

from libs.common import yaml_files
from libs.common.events import ConditionRecorded, EncounterDischarged, PrescriptionIssued
from tests.unit.interop.fhir_given import (
    Sender,
    concept,
    encounter,
    only,
    organization,
    patient,
    practitioner,
    prescription,
    stay,
)
from tests.unit.interop.hl7_given import SENDERS, profile

SAMPLE_FHIR = yaml_files.read(SENDERS / "sample-fhir.yaml")
RXNORM, SNOMED = "http://www.nlm.nih.gov/research/umls/rxnorm", "http://snomed.info/sct"


def by_sample() -> Sender:
    return Sender(profile(**SAMPLE_FHIR))


def codes_of(table: str) -> list[tuple[str, Any]]:
    """The sender's own codes and ours, whatever the name of their system."""
    codes = SAMPLE_FHIR["tables"][table]["codes"]
    return [(code.partition("|")[2], ours) for code, ours in sorted(codes.items())]


@pytest.mark.parametrize(("code", "drug"), codes_of("drug"))
def test_each_drug_of_the_samples_map_is_told_by_its_atc_code(
    code: str, drug: dict[str, str]
) -> None:
    asked = prescription(medicationCodeableConcept=concept(RXNORM, code, "Amlodipine"))
    issued = only(by_sample().told(*stay(asked)), PrescriptionIssued)
    assert issued.medication.code == issued.medication.ingredient_code == drug["atc"]
    assert re.fullmatch(r"[A-Z]\d\d[A-Z][A-Z]\d\d", drug["atc"])
    assert issued.medication.name == "Amlodipine"


@pytest.mark.parametrize(("code", "ours"), codes_of("diagnosis"))
def test_each_diagnosis_of_the_samples_map_is_told_by_its_icd_10_code(code: str, ours: str) -> None:
    sick = {"resourceType": "Condition", "id": "c1", "code": concept(SNOMED, code),
            "subject": {"reference": "Patient/p1"}}  # fmt: skip
    assert only(by_sample().told(patient(), sick), ConditionRecorded).code == ours
    assert re.fullmatch(r"[A-Z]\d\d(\.\d)?", ours)


@pytest.mark.parametrize(("code", "ours"), codes_of("department"))
def test_each_kind_of_encounter_of_the_samples_map_has_its_department(
    code: str, ours: dict[str, str]
) -> None:
    kind = encounter(type=[concept(SNOMED, code)])
    told = by_sample().told(patient(), practitioner(), organization(), kind)
    assert only(told, EncounterDischarged).department.code == ours["code"]
