"""Is a patient's renewal hidden from everybody else, on every route of the service?"""

from __future__ import annotations

import uuid
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest

from libs.common.audit import Outcome
from libs.common.auth import Role
from services.prescriptions.domain.staff import Absence
from services.prescriptions.main import SPEC
from tests.integration.prescriptions.given import Hospital
from tests.support.access import client
from tests.support.own_process import document
from tests.support.strangers import Person, World, assert_hidden
from tests.unit.prescriptions.given import linked, unlinked

pytestmark = pytest.mark.asyncio(loop_scope="module")

PATIENT, RX, DOSAGE = "p-ours", "rx-ours", "half of ours in the evening"


def persons(hospital: Hospital, elsewhere: Hospital) -> tuple[list[Person], list[Person]]:
    """Who may see what is the patient's, and who may not."""

    def person(who: str, role: Role, id: str, *departments: str, at: Hospital = hospital) -> Person:
        caller = at.caller(id, role, departments=departments)
        return Person(who, role, id, caller, here=at is hospital)

    insiders = [
        person("the patient", Role.PATIENT, PATIENT),
        person("their guardian", Role.GUARDIAN, "g-ours"),
        person("a doctor of the department", Role.DOCTOR, "dr1", "cardiology"),
        person("a pharmacist", Role.PHARMACIST, "ph1", "pharmacy"),
        person("the chosen pharmacy's system", Role.INTEGRATION, "sample-partner"),
    ]
    strangers = [
        person("another patient", Role.PATIENT, "p-other"),
        person("a guardian of nobody", Role.GUARDIAN, "g-nobody"),
        person("a guardian of another patient", Role.GUARDIAN, "g-other"),
        person("one who was their guardian", Role.GUARDIAN, "g-former"),
        person("a doctor of another department", Role.DOCTOR, "dr3", "surgery"),
        person("a doctor without a department", Role.DOCTOR, "dr4"),
        person("another pharmacy's system", Role.INTEGRATION, "another-partner"),
        *(
            person(f"{p.who}, at another hospital", p.role, p.id, "cardiology", at=elsewhere)
            for p in insiders
        ),
    ]
    return insiders, strangers


async def given_a_renewal(hospital: Hospital) -> dict[str, Any]:
    """In effect and to be had at a pharmacy, so that everybody whom it concerns may see it."""
    at = hospital.service.clock.now() - timedelta(days=1)
    await hospital.prescribe(RX, patient=PATIENT, dosage=DOSAGE)
    await hospital.prescribe("rx-other", patient="p-other")
    await hospital.tell(
        linked("g-ours", PATIENT, linked_at=at),
        linked("g-other", "p-other", linked_at=at),
        linked("g-former", PATIENT, linked_at=at),
        unlinked(at + timedelta(hours=1), "g-former", PATIENT),
    )
    await hospital.settled("link", 4)
    refill = await hospital.renewed(RX, PATIENT)
    chosen = await hospital.patient(PATIENT).put(
        f"/v1/refills/{refill['id']}/fulfilment",
        json={"method": "pickup", "pharmacy_id": "riverside"},
        headers={"If-Match": "*"},
    )
    assert chosen.status_code == 200, chosen.text
    return refill


async def test_a_patients_renewal_is_hidden_from_everybody_else_on_every_route(
    hospital: Hospital,
) -> None:
    refill = await given_a_renewal(hospital)
    service = hospital.service
    elsewhere = Hospital(service, f"h{uuid.uuid4().hex[:10]}")
    insiders, strangers = persons(hospital, elsewhere)

    async def stored() -> Any:
        # All but what everybody says of themselves.
        names = [s.model.COLLECTION for s in SPEC.collections if s.model is not Absence]
        return {name: await service.rows(name, hospital.id) for name in names}

    async def refused() -> Counter[str]:
        rows = await service.rows("audit", hospital.id)
        ours = [r for r in rows if r["patient"] == PATIENT]
        return Counter(r["agent"]["who"] for r in ours if r["outcome"] == Outcome.MINOR_FAILURE)

    world = World(
        objects={
            "/v1/refills/{id}": refill["id"],
            "/v1/prescriptions/{id}": refill["new_prescription_id"],
        },
        fields={"patient_id": PATIENT, "prescription_id": RX, "hospital": hospital.id},
        secrets=(PATIENT, RX, refill["id"], "g-ours", DOSAGE),
        insiders=insiders,
        strangers=strangers,
        nobody=client(service.apps[0]),
        with_role=lambda role: Person(role, role, f"x-{role}", hospital.caller(f"x-{role}", role)),
        stored=stored,
        refused=refused,
    )
    await assert_hidden(document(SPEC), SPEC.access, world)
