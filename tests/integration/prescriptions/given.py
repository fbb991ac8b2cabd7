"""A hospital of its own for a test, with the people who use the service."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

import httpx

from libs.common.cloudevents import CloudEvent
from libs.common.devstack.day.records import WELL
from libs.common.events import Event
from tests.integration.prescriptions.replicas import Replicas
from tests.support.toy import eventually
from tests.unit.prescriptions.given import prescription, registered, visit

DAY = timedelta(days=1)
TOPICS = ("prescriptions.events", "notify.requests")


class Hospital:
    """Patients, doctors and pharmacists of one hospital, at one replica or the other."""

    def __init__(self, service: Replicas, id: str) -> None:
        self.service = service
        self.id = id

    def caller(self, person: str, *roles: str, **more: Any) -> httpx.AsyncClient:
        return self.service.caller(person, *roles, hospital=self.id, **more)

    def patient(self, person: str = "p1", replica: int = 0) -> httpx.AsyncClient:
        return self.caller(person, "patient", replica=replica)

    def guardian(self, person: str = "p5") -> httpx.AsyncClient:
        return self.caller(person, "guardian")

    def doctor(
        self, person: str = "dr1", department: str = "cardiology", replica: int = 0
    ) -> httpx.AsyncClient:
        return self.caller(person, "doctor", departments=[department], replica=replica)

    def pharmacist(self, person: str = "ph1", replica: int = 0) -> httpx.AsyncClient:
        return self.caller(person, "pharmacist", departments=["pharmacy"], replica=replica)

    async def tell(self, *facts: Event) -> None:
        await self.service.publish(self.id, *facts)

    async def prescribe(
        self, *ids: str, patient: str = "p1", days_ago: int = 30, **more: Any
    ) -> None:
        """Prescribe to a patient who was seen then; returns when it is known."""
        at = self.service.clock.now() - days_ago * DAY
        if "ingredient" in more:  # of another class: two of one are an alert
            more.setdefault("code", "C07AB02")
        await self.tell(
            registered(patient, at=at),
            *(prescription(id, patient_id=patient, at=at, **more) for id in ids or ("rx1",)),
            visit(at, f"v-{uuid.uuid4().hex[:8]}", patient_id=patient),
        )

        async def known() -> bool:
            stored = {r["id"] for r in await self.service.rows("prescriptions", self.id)}
            records = await self.service.rows("patient_care", self.id)
            recorded = any(r["id"] == patient and r.get("recorded_at") for r in records)
            return recorded and set(ids or ("rx1",)) <= stored

        await eventually(known)

    async def settled(self, note: str, count: int = 1) -> None:
        """Until so many events were decided with this note."""

        async def decided() -> bool:
            raw = self.service.database.raw("inbox")
            found = await self.service.database.find_rows(
                raw, {"_id": {"$regex": f"^{self.id}\\|"}, "note": note}
            )
            return len(found) >= count

        await eventually(decided)

    async def asked(self, rx: str = "rx1", patient: str = "p1", replica: int = 0) -> dict[str, Any]:
        answer = await ask(self.patient(patient, replica), rx, patient)
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    async def renewed(self, rx: str = "rx1", patient: str = "p1") -> dict[str, Any]:
        refill = await self.asked(rx, patient)
        answer = await decide(self.doctor(), refill, "approve")
        assert answer.status_code == 200, answer.text
        answer = await review(self.pharmacist(), answer.json(), "pass")
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    async def published(self, count: int, topics: Iterable[str] = TOPICS) -> list[CloudEvent]:
        return await self.service.published(self.id, topics, lambda found: len(found) >= count)


async def ask(
    caller: httpx.AsyncClient,
    rx: str = "rx1",
    patient: str = "p1",
    key: str = "",
    headers: Mapping[str, str] | None = None,
    **more: Any,
) -> httpx.Response:
    return await caller.post(
        "/v1/refills",
        json={
            "prescription_id": rx,
            "patient_id": patient,
            "declaration": WELL,
            **more,
        },
        headers={"Idempotency-Key": key or uuid.uuid4().hex, **(headers or {})},
    )


async def decide(
    caller: httpx.AsyncClient, refill: Mapping[str, Any], decision: str, **more: Any
) -> httpx.Response:
    if decision == "approve":
        # Valid for longer than today, so that no test depends on the hospital's midnight.
        more.setdefault("valid_days", 3)
    return await _act(caller, refill, "doctor-decision", decision, more)


async def review(
    caller: httpx.AsyncClient, refill: Mapping[str, Any], decision: str, **more: Any
) -> httpx.Response:
    return await _act(caller, refill, "pharmacist-review", decision, more)


async def _act(
    caller: httpx.AsyncClient,
    refill: Mapping[str, Any],
    what: str,
    decision: str,
    more: Mapping[str, Any],
) -> httpx.Response:
    return await caller.post(
        f"/v1/refills/{refill['id']}/{what}",
        json={"decision": decision, **more},
        headers={"If-Match": f'"{refill["version"]}"'},
    )
