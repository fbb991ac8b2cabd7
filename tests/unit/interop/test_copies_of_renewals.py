"""Is a hospital's copy of a renewal known as one, and a doctor's new prescription as none?"""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from libs.common.decision import derived_id
from libs.common.events import PrescriptionIssued, RefillEffective
from services.interop.edge.fhir_out.resources import resource_of
from tests.unit.interop import test_hl7_rde as rde
from tests.unit.interop.fhir_given import (
    MR,
    NOW,
    Sender,
    codes,
    only,
    patient,
    prescription,
    stay,
    transaction,
)
from tests.unit.interop.hl7_given import profile, segment

NUMBER = derived_id("prescription", "h1", "r-1")


def published() -> dict[str, Any]:
    """The renewal as a hospital's FHIR server hears of it."""
    effective = RefillEffective(
        refill_id="r-1",
        patient_id="M1",
        prescription_id="RX-1",
        ingredient_code="C08CA01",
        requested_by="M1",
        new_prescription_id=NUMBER,
        number=1,
        remaining=2,
        doctor_id="D-1",
        pharmacist_id="PH-1",
        effective_at=NOW,
        valid_on=date(2026, 11, 26),
        days_supply=28,
    )
    found = resource_of(effective)
    assert found is not None
    return found


OURS = published()["identifier"][0]
OWN = {"system": "https://his.example/rx", "value": "RX-2"}


def told(*resources: dict[str, Any]) -> PrescriptionIssued:
    """What the last one tells."""
    return [e for e in Sender().told(*stay(*resources)) if isinstance(e, PrescriptionIssued)][-1]


@pytest.mark.parametrize(
    "copy",
    [
        prescription(identifier=[OWN, OURS]),
        prescription(identifier=[OWN], basedOn=[{"identifier": OURS}]),
        prescription(
            identifier=[OWN], basedOn=[{"reference": "CarePlan/c1"}, {"identifier": OURS}]
        ),
    ],
)
def test_a_copy_names_the_renewal_by_the_identifier_that_we_gave_it(copy: dict[str, Any]) -> None:
    found = told(copy)
    assert (found.prescription_id, found.refill_id, found.based_on) == ("RX-2", NUMBER, None)


def test_what_is_based_on_a_copy_is_one() -> None:
    copy = prescription(id="m0", identifier=[OWN, OURS])
    order = prescription(identifier=[{"value": "RX-3"}])
    assert told(copy, order | {"basedOn": [{"reference": "MedicationRequest/m0"}]}).refill_id == (
        NUMBER
    )
    assert told(copy, order).refill_id is None


def test_a_doctors_prescription_instead_of_a_renewal_is_no_copy_of_it() -> None:
    rule = {"authorities": [OWN["system"]], "otherwise_first": False}
    theirs_alone = profile(fhir={"prescription": rule})
    new = prescription(identifier=[OURS | {"system": "x"}, OWN], priorPrescription={})
    for prior, expected in ((OURS, NUMBER), (OWN | {"value": "RX-1"}, "RX-1")):
        new["priorPrescription"] = {"identifier": prior}
        found = only(Sender(theirs_alone).told(*stay(new)), PrescriptionIssued)
        assert (found.prescription_id, found.refill_id) == ("RX-2", None)
        assert found.based_on == expected


def test_the_prescription_that_it_replaces_is_named_by_the_id_under_which_it_was_told() -> None:
    before = prescription(id="m0", authoredOn="2026-10-25T09:30:00+08:00")
    after = prescription(priorPrescription={"reference": "MedicationRequest/m0"})
    assert told(before, after).based_on == told(before).prescription_id == "m0@ehr"
    named = prescription(priorPrescription={"identifier": {"value": "RX-1"}})
    assert (told(named).based_on, told(named).refill_id) == ("RX-1", None)


OTHERS = prescription(id="m0", subject={"reference": "Patient/p2"}, identifier=[OURS])


@pytest.mark.parametrize(
    "differs",
    [
        {"priorPrescription": {"reference": "MedicationRequest/m9"}},
        {"priorPrescription": {"reference": "MedicationRequest?identifier=x|y"}},
        {"priorPrescription": {"reference": "MedicationRequest/m0"}},
        {"basedOn": [{"reference": "MedicationRequest/m0"}]},
    ],
)
def test_what_is_not_known_or_another_patients_is_left_out_and_noted(
    differs: dict[str, Any],
) -> None:
    other = patient(id="p2", identifier=[{"type": MR, "value": "M2"}])
    del (others := OTHERS.copy())["encounter"]
    lenient = Sender(profile(defaults={"department": {"code": "NEURO"}}))
    lenient.told(*stay(other, others))
    received = lenient.send(transaction(*stay(prescription(**differs))))
    assert not received.faults and codes(received) >= {"prescription_not_known"}
    found = only(received.events, PrescriptionIssued)
    assert (found.based_on, found.refill_id) == (None, None)


# -- HL7 v2 -----------------------------------------------------------------------------


def ordered(number: str = "", *, by: Any = None, f15: str = "") -> str | None:
    copy = segment("ORC", f1="NW", f2="RX2", f8=number, f9="20261120092000", f12="d-1")
    return rde.issued(copy, rde.rxe(f15=f15), rde.tq1(), by=by).refill_id


def test_a_renewals_number_comes_back_as_the_parent_of_the_order() -> None:
    assert (
        ordered(NUMBER) == ordered(f"{NUMBER.upper()}&LIANXIN") == ordered(f"^{NUMBER}") == NUMBER
    )


@pytest.mark.parametrize("parent", ["", "RX1", "RX1^77", "7f0e2b54-9c1d-4e63-8a55-1b0c3d9e4f21"])
def test_a_parent_that_is_no_number_of_ours_is_no_renewal(parent: str) -> None:
    assert ordered(parent) is None


def test_the_profile_says_where_the_number_comes_back() -> None:
    there = profile(prescriptions={"renewal_in": ["RXE-15", "ORC-4"]})
    assert ordered(f15=NUMBER) is None
    assert ordered(f15=NUMBER, by=there) == NUMBER
    assert ordered(NUMBER, by=there) is None
