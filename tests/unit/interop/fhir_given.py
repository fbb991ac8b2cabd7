"""What the tests on FHIR begin with: a sender's exchanges over what is kept in memory."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any, TypeVar

from libs.common.events import Event
from services.interop.domain.kept import Kept
from services.interop.domain.partners import TOPICS
from services.interop.domain.receipt import Received
from services.interop.edge.fhir import receive
from services.interop.edge.fhir.bundle import Request
from services.interop.edge.fhir.receive import Exchange
from services.interop.edge.profile import Profile
from tests.unit.interop.hl7_given import ROOT, ZONE, adult_age, profile

E = TypeVar("E", bound=Event)

CORPUS = ROOT / "tests/data/fhir"
NOW = datetime(2026, 11, 26, 8, 0, tzinfo=UTC)
MR = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "MR"}]}
LOINC = "http://loinc.org"
ICD10 = "http://hl7.org/fhir/sid/icd-10"
ATC = "http://www.whocc.no/atc"


@dataclass
class Sender:
    """Sends one request after another; what they leave is kept as the service would."""

    profile: Profile = field(default_factory=profile)
    name: str = "ehr"
    topics: frozenset[str] = TOPICS
    now: datetime = NOW
    kept: dict[str, Kept] = field(default_factory=dict)
    exchange: Exchange | None = None

    def send(self, body: Any, request: Request | None = None) -> Received:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.exchange = receive.begin("h1", self.name, raw, request or Request())
        for _ in range(6):
            ids, names = self.exchange.wanted()
            if not (ids or names):
                break
            self.exchange.learn(
                k for k in self.kept.values() if k.id in ids or names.intersection(k.names)
            )
        received = self.exchange.received(self.profile, ZONE, self.now, adult_age, self.topics)
        for kept in received.kept:
            self.kept[kept.id] = kept.but(version=kept.version + 1)
        return received

    def put(self, resource: dict[str, Any]) -> Received:
        return self.send(resource, Request("PUT", resource["resourceType"], resource["id"]))

    def post(self, resource: dict[str, Any], condition: str = "") -> Received:
        return self.send(resource, Request("POST", resource["resourceType"], "", condition))

    def told(self, *resources: dict[str, Any]) -> list[Event]:
        """What a transaction of ``resources`` tells; it must be accepted."""
        received = self.send(transaction(*resources))
        assert not received.faults, received.faults
        return list(received.events)


def transaction(*resources: dict[str, Any]) -> dict[str, Any]:
    """Each is put under its id, or posted if it has none."""
    entries = []
    for one in resources:
        kind = one["resourceType"]
        put = {"method": "PUT", "url": f"{kind}/{one['id']}"} if "id" in one else None
        entries.append({"resource": one, "request": put or {"method": "POST", "url": kind}})
    return {"resourceType": "Bundle", "type": "transaction", "entry": entries}


def only(events: list[Event] | tuple[Any, ...], model: type[E]) -> E:
    (found,) = [e for e in events if isinstance(e, model)]
    return found


def faults(received: Received) -> list[tuple[str, str]]:
    return [(f.expression, f.code) for f in received.faults]


def codes(received: Received) -> set[str]:
    """The codes of the notes."""
    return {note.split()[0] for note in received.notes}


def concept(system: str, code: str, text: str = "样例") -> dict[str, Any]:
    return {"coding": [{"system": system, "code": code}], "text": text}


def patient(**differs: Any) -> dict[str, Any]:
    return {
        "resourceType": "Patient",
        "id": "p1",
        "identifier": [{"type": MR, "value": "M1"}],
        "name": [{"text": "样例甲"}],
        "gender": "female",
        "birthDate": "1968-04-12",
        **differs,
    }


def practitioner(**differs: Any) -> dict[str, Any]:
    return {
        "resourceType": "Practitioner",
        "id": "d1",
        "identifier": [{"value": "D-1"}],
        "name": [{"text": "样例医生"}],
        **differs,
    }


def organization(**differs: Any) -> dict[str, Any]:
    return {
        "resourceType": "Organization",
        "id": "o1",
        "identifier": [{"value": "NEURO"}],
        "name": "神经内科",
        **differs,
    }


def encounter(**differs: Any) -> dict[str, Any]:
    return {
        "resourceType": "Encounter",
        "id": "e1",
        "status": "finished",
        "class": {"code": "IMP"},
        "subject": {"reference": "Patient/p1"},
        "participant": [{"individual": {"reference": "Practitioner/d1"}}],
        "period": {"start": "2026-11-18T08:00:00+08:00", "end": "2026-11-25T10:00:00+08:00"},
        "serviceProvider": {"reference": "Organization/o1"},
        **differs,
    }


def observation(**differs: Any) -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "id": "b1",
        "status": "final",
        "code": concept(LOINC, "2823-3", "钾"),
        "subject": {"reference": "Patient/p1"},
        "valueQuantity": {"value": 4.1, "unit": "mmol/L"},
        **differs,
    }


def report(**differs: Any) -> dict[str, Any]:
    return {
        "resourceType": "DiagnosticReport",
        "id": "r1",
        "status": "final",
        "category": [concept("http://terminology.hl7.org/CodeSystem/v2-0074", "LAB")],
        "code": concept(LOINC, "24326-1", "电解质"),
        "subject": {"reference": "Patient/p1"},
        "issued": "2026-11-25T09:00:00+08:00",
        "result": [{"reference": "Observation/b1"}],
        **differs,
    }


def prescription(**differs: Any) -> dict[str, Any]:
    return {
        "resourceType": "MedicationRequest",
        "id": "m1",
        "status": "active",
        "intent": "order",
        "medicationCodeableConcept": concept(ATC, "C08CA01", "氨氯地平 5 mg"),
        "subject": {"reference": "Patient/p1"},
        "encounter": {"reference": "Encounter/e1"},
        "authoredOn": "2026-11-25T09:30:00+08:00",
        "requester": {"reference": "Practitioner/d1"},
        "dosageInstruction": [{"text": "每日一次，每次一片"}],
        "dispenseRequest": {
            "quantity": {"value": 28, "unit": "片"},
            "expectedSupplyDuration": {"value": 4, "code": "wk"},
        },
        **differs,
    }


def stay(*more: dict[str, Any], **of_encounter: Any) -> list[dict[str, Any]]:
    """All that a discharge needs."""
    return [patient(), practitioner(), organization(), encounter(**of_encounter), *more]


def without(resource: dict[str, Any], *names: str) -> dict[str, Any]:
    return {n: v for n, v in resource.items() if n not in names}


def born(text: str) -> dict[str, Any]:
    assert date.fromisoformat(text)
    return patient(birthDate=text)
