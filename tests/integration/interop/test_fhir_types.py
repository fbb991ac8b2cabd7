"""Is each type that FHIR's clients are promised taken by itself, and what does it tell?"""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from libs.common import logs
from libs.common.devstack.places import ROOT
from libs.common.devstack.stack import Stack
from services.interop.main import SPEC
from tests.support.running import Running, running
from tests.unit.interop import fhir_given as given

FHIR = "application/fhir+json"
PATIENT = {"reference": "Patient/p1"}
DAY = "2026-11-25T09:00:00+08:00"
#: In an order in which each refers to earlier ones alone, with the areas of its events.
RESOURCES: tuple[tuple[dict[str, Any], set[str]], ...] = (
    # These three tell nothing: others refer to them.
    (given.organization(), set()),
    ({"resourceType": "Location", "id": "l1", "name": "四病区"}, set()),
    (
        {"resourceType": "Medication", "id": "x1", "code": given.concept(given.ATC, "N03AG01")},
        set(),
    ),
    (given.patient(), {"patient"}),
    (given.practitioner(), set()),  # its role tells
    (
        {
            "resourceType": "PractitionerRole",
            "id": "role1",
            "active": True,
            "practitioner": {"reference": "Practitioner/d1"},
            "code": [{"coding": [{"code": "doctor"}]}],
        },
        {"practitioner"},
    ),
    (
        {
            "resourceType": "RelatedPerson",
            "id": "k1",
            "active": True,
            "patient": PATIENT,
            "identifier": [{"type": given.MR, "value": "K1"}],
            "name": [{"text": "样例乙"}],
            "relationship": [{"coding": [{"code": "GUARD"}]}],
        },
        {"guardian"},
    ),
    (
        given.encounter(serviceProvider={"identifier": {"value": "NEURO"}}, status="in-progress"),
        {"encounter"},
    ),
    (given.observation(), set()),  # its report tells
    (given.report(), {"report"}),
    (given.prescription(), {"prescription"}),
    (
        {
            "resourceType": "MedicationDispense",
            "id": "md1",
            "status": "completed",
            "medicationCodeableConcept": given.concept(given.ATC, "C08CA01"),
            "subject": PATIENT,
            "authorizingPrescription": [{"reference": "MedicationRequest/m1"}],
            "performer": [{"actor": {"identifier": {"value": "riverside"}}}],
            "whenHandedOver": "2026-11-25T15:30:00+08:00",
        },
        {"fulfilment"},
    ),
    (
        {
            "resourceType": "ServiceRequest",
            "id": "o1",
            "status": "active",
            "intent": "order",
            "category": [given.concept("http://terminology.hl7.org/CodeSystem/v2-0074", "RAD")],
            "code": given.concept(given.LOINC, "24558-9", "头颅磁共振"),
            "subject": PATIENT,
            "authoredOn": DAY,
        },
        {"exam"},
    ),
    (
        {
            "resourceType": "Appointment",
            "id": "a1",
            "status": "booked",
            "basedOn": [{"reference": "ServiceRequest/o1"}],
            "start": "2026-12-08T14:30:00+08:00",
            "end": "2026-12-08T15:00:00+08:00",
            "created": DAY,
            "participant": [{"actor": PATIENT, "status": "accepted"}],
        },
        {"exam"},
    ),
    (
        {
            "resourceType": "Procedure",
            "id": "op1",
            "status": "completed",
            "code": given.concept("http://snomed.info/sct", "7246002"),
            "subject": PATIENT,
            "performedDateTime": DAY,
        },
        {"procedure"},
    ),
    (
        {
            "resourceType": "Condition",
            "id": "c1",
            "code": given.concept(given.ICD10, "I10"),
            "subject": PATIENT,
            "recordedDate": DAY,
        },
        {"condition"},
    ),
    (
        {
            "resourceType": "AllergyIntolerance",
            "id": "al1",
            "code": given.concept(given.ATC, "J01CE01", "青霉素"),
            "patient": PATIENT,
            "recordedDate": DAY,
        },
        {"allergy"},
    ),
)
TYPES = {resource["resourceType"] for resource, _ in RESOURCES}


@pytest.fixture
async def interop(stack: Stack, tmp_path: Path) -> AsyncIterator[Running]:
    logs.configure("interop", level="WARNING")
    hospital = f"h{uuid.uuid4().hex[:8]}"
    policies = tmp_path / "policies"
    (policies / "partners").mkdir(parents=True)
    for part in ("senders", "persons"):
        (policies / part).symlink_to(ROOT / "policies" / part)
    sample = yaml.safe_load((ROOT / "policies/partners/sample-fhir.yaml").read_text())
    partner = {**sample, "client": "ehr", "hospital": hospital}
    (policies / "partners" / "ehr.yaml").write_text(yaml.safe_dump(partner))
    async with running(stack, SPEC, mllp_port=0, policies_dir=policies) as service:
        service.hospital = hospital
        yield service


async def told(service: Running) -> set[str]:
    """The areas of all events so far: ``hospital.<area>.<event>``."""
    return {
        type.split(".")[1] for row in await service.rows("messages") for type, _ in row["events"]
    }


async def test_each_type_is_taken_by_itself_and_the_statement_promises_just_these(
    interop: Running,
) -> None:
    async with interop.client("integration", person="ehr") as ehr:
        statement = (await ehr.get("/fhir/metadata")).json()
        promised = {
            r["type"]: {i["code"] for i in r["interaction"]}
            for r in statement["rest"][0]["resource"]
        }
        assert promised == {type: {"create", "update"} for type in TYPES}
        before: set[str] = set()
        for resource, areas in RESOURCES:
            path = f"/fhir/{resource['resourceType']}"
            body, headers = json.dumps(resource), {"Content-Type": FHIR}
            put = await ehr.put(f"{path}/{resource['id']}", content=body, headers=headers)
            assert put.status_code == 201, (path, put.text)
            now = await told(interop)
            assert now - before == areas - before, path
            before = now
            again = await ehr.put(f"{path}/{resource['id']}", content=body, headers=headers)
            assert again.status_code == 200, (path, again.text)
            new = given.without(resource, "id", "identifier")
            if resource["resourceType"] == "Patient":  # without a number it is nobody
                new |= {"identifier": [{"type": given.MR, "value": "M2"}]}
            created = await ehr.post(path, content=json.dumps(new), headers=headers)
            assert created.status_code == 201, (path, created.text)
            assert created.headers["location"].startswith(path)
        assert {m["standing"] for m in await interop.rows("messages")} == {"accepted"}
