"""What does a MedicationDispense tell of how far a pharmacy is?"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from libs.common.events import FulfilmentUpdated
from tests.unit.interop.fhir_given import (
    Sender,
    codes,
    concept,
    faults,
    patient,
    prescription,
    stay,
    without,
)

PREPARED, HANDED = "2026-11-25T11:00:00+08:00", "2026-11-25T15:30:00+08:00"
RECORDED = {"lastUpdated": "2026-11-25T16:00:00+08:00"}
WAS = {
    PREPARED: datetime(2026, 11, 25, 3, 0, tzinfo=UTC),
    HANDED: datetime(2026, 11, 25, 7, 30, tzinfo=UTC),
    RECORDED["lastUpdated"]: datetime(2026, 11, 25, 8, 0, tzinfo=UTC),
}
PACKED = {"whenPrepared": PREPARED}


def dispense(**differs: Any) -> dict[str, Any]:
    return {
        "resourceType": "MedicationDispense",
        "id": "d1",
        "meta": RECORDED,
        "status": "in-progress",
        "medicationCodeableConcept": concept("http://www.whocc.no/atc", "C08CA01"),
        "subject": {"reference": "Patient/p1"},
        "authorizingPrescription": [{"reference": "MedicationRequest/m1"}],
        "performer": [{"actor": {"identifier": {"value": "riverside"}}}],
        "quantity": {"value": 28, "unit": "片"},
        **differs,
    }


def sender() -> Sender:
    known = Sender()
    known.told(*stay(prescription()))
    return known


def steps(events: Any) -> list[tuple[str, datetime]]:
    return [(e.status, e.occurred_at) for e in events if isinstance(e, FulfilmentUpdated)]


def test_a_dispensing_names_its_prescription_pharmacy_and_quantity() -> None:
    [fact] = sender().put(dispense(**PACKED)).events
    assert isinstance(fact, FulfilmentUpdated)
    assert fact.model_dump(exclude_none=True, mode="json") == {
        "fulfilment_id": "d1@ehr",
        "prescription_id": "m1@ehr",
        "patient_id": "M1",
        "pharmacy_id": "riverside",
        "status": "dispensed",
        "quantity": {"value": 28.0, "unit": "片"},
        "occurred_at": "2026-11-25T03:00:00Z",
    }


def test_a_renewals_own_prescription_is_named_by_its_identifier() -> None:
    own = {"identifier": {"value": "8f14e45f-ceea-5e7a-9b1c-0a1b2c3d4e5f"}}
    [fact] = sender().put(dispense(authorizingPrescription=[own])).events
    assert isinstance(fact, FulfilmentUpdated)
    assert fact.prescription_id == own["identifier"]["value"]


@pytest.mark.parametrize(
    ("differs", "told"),
    [
        ({"status": "preparation"}, [("preparing", RECORDED["lastUpdated"])]),
        ({"status": "in-progress"}, [("preparing", RECORDED["lastUpdated"])]),
        ({"status": "in-progress", **PACKED}, [("dispensed", PREPARED)]),
        ({"status": "completed", "whenHandedOver": HANDED}, [("collected", HANDED)]),
        ({"status": "completed"}, [("collected", RECORDED["lastUpdated"])]),
        (
            {"status": "completed", **PACKED, "whenHandedOver": HANDED},
            [("dispensed", PREPARED), ("collected", HANDED)],
        ),
        (
            {"status": "completed", "whenHandedOver": HANDED, "destination": {"display": "home"}},
            [("delivered", HANDED)],
        ),
        ({"status": "declined"}, [("declined", RECORDED["lastUpdated"])]),
        ({"status": "cancelled"}, [("declined", RECORDED["lastUpdated"])]),
        (
            {"status": "stopped", **PACKED},
            [("dispensed", PREPARED), ("returned_to_stock", RECORDED["lastUpdated"])],
        ),
    ],
)
def test_each_status_is_a_step(differs: dict[str, Any], told: list[tuple[str, str]]) -> None:
    found = sender().put(dispense(**differs))
    assert steps(found.events) == [(status, WAS[at]) for status, at in told]


def test_what_was_packed_is_told_once() -> None:
    known = sender()
    known.put(dispense(**PACKED))
    handed = known.put(dispense(**PACKED, status="completed", whenHandedOver=HANDED))
    assert steps(handed.events) == [("collected", WAS[HANDED])]
    assert known.put(dispense(**PACKED, status="completed", whenHandedOver=HANDED)).events == ()


@pytest.mark.parametrize("status", ["on-hold", "entered-in-error", "unknown"])
def test_other_statuses_tell_nothing_and_are_noted(status: str) -> None:
    found = sender().put(dispense(status=status))
    assert found.events == () and "not_used" in codes(found)


def test_without_a_prescription_it_tells_nothing_and_is_noted() -> None:
    found = sender().put(without(dispense(), "authorizingPrescription"))
    assert found.events == () and "not_used" in codes(found)


@pytest.mark.parametrize(
    ("differs", "place", "code"),
    [
        ({"status": "done"}, "status", "code-invalid"),
        (
            {"authorizingPrescription": [{"reference": "MedicationRequest/x"}]},
            "authorizingPrescription[0]",
            "not-found",
        ),
        (
            {"authorizingPrescription": [{"reference": "MedicationRequest/m1"}] * 2},
            "authorizingPrescription",
            "business-rule",
        ),
    ],
)
def test_what_is_wrong_is_refused_at_its_place(
    differs: dict[str, Any], place: str, code: str
) -> None:
    found = sender().put(dispense(**differs))
    assert [f[1] for f in faults(found)] == [code]
    assert faults(found)[0][0].startswith(f"MedicationDispense.{place}")


def test_the_prescription_of_another_patient_is_refused() -> None:
    known = sender()
    known.put(patient(id="p2", identifier=[{**patient()["identifier"][0], "value": "M2"}]))
    found = known.put(dispense(subject={"reference": "Patient/p2"}))
    assert faults(found) == [("MedicationDispense.authorizingPrescription[0]", "business-rule")]
