"""Is one discharge one trace, and does nothing that we record name a person?"""

from __future__ import annotations

import re
from typing import Any

from libs.common.devstack.day.hearing import eventually
from libs.common.devstack.day.records import report
from libs.common.devstack.day.wire import Wire
from libs.common.devstack.places import SERVICES
from libs.common.devstack.stack import Stack
from libs.common.events import MemberJoined
from tests.e2e.given import Story


def of(spans: list[dict[str, Any]], service: str, name: str = "") -> list[dict[str, Any]]:
    return [s for s in spans if s["service"] == service and name in s["name"]]


async def test_one_discharge_is_one_trace_over_enrollment_messaging_and_notify(
    story: Story, wire: Wire
) -> None:
    patient = await story.adult(age=69)
    with wire.tracing("discharge") as traceparent:
        await wire.publish(story.discharge(patient))
    link = await story.invited(patient)
    with wire.tracing("the invitation is accepted", traceparent):
        await story.accepts(link)
    await wire.hears(MemberJoined, person_id=patient.id)
    path = f"/api/traces/{traceparent[3:35]}"

    async def whole() -> Any:
        """Spans come from each process in its own time; a provider's call ends last."""
        answer = await wire.call(None, "GET", "page", path, expect=None)
        found = answer.json() if answer.status_code == 200 else {"services": [], "spans": []}
        own = [s for s in found["spans"] if not s["linked"]]
        ids = {s["span_id"] for s in own}
        roots = [s["name"] for s in own if s["parent_id"] not in ids]
        through = {"enrollment", "messaging", "notify"} <= set(found["services"])
        return found if through and of(own, "notify", "send ") and roots == ["discharge"] else None

    found = await eventually("one trace in which every span hangs on the discharge", whole)
    spans = [s for s in found["spans"] if not s["linked"]]
    assert {s["trace_id"] for s in spans} == {traceparent[3:35]}

    # HTTP and Kafka
    assert of(spans, "enrollment", "process hospital.encounters")
    assert of(spans, "notify", "process notify.requests")
    assert of(spans, "messaging", "process enrollment.events")
    (served,) = of(spans, "enrollment", "POST /v1/invitations/accept")
    assert served["attributes"]["http.response.status_code"] == 200
    assert of(spans, "notify", "send email") or of(spans, "notify", "send webhook")

    # the database, in the batches that are linked
    batches = [s for s in found["spans"] if s["linked"]]
    for service in ("enrollment", "messaging", "notify"):
        commands = {
            s["attributes"].get("db.operation.name")
            for s in of(batches, service)
            if s["attributes"].get("db.system.name") == "mongodb"
        }
        assert {"find", "insert", "commitTransaction"} <= commands, service


async def test_logs_spans_metrics_and_addresses_name_nobody(
    story: Story, wire: Wire, platform: Stack
) -> None:
    child = await story.child("mother", age=7)
    ((_, mother),) = child.guardians
    await wire.publish(story.discharge(child, "PED-NEPH", ("N04.900", "肾病综合征")))
    await story.accepts(await story.invited(mother))
    await story.released(report(child, story.new_id("r"), story.now(), "PED-NEPH"))
    await wire.told(mother.caller, "report.ready")
    secrets = [child.name, mother.name, *filter(None, (mother.phone, mother.email))]
    personal = re.compile("|".join(map(re.escape, [*secrets, "肾病综合征", "#token="])))

    for service in SERVICES:
        log = (platform.folder / "logs" / f"{service}.log").read_text()
        assert "http_answered" in log or "ready" in log, "there is something to look through"
        assert not personal.search(log), f"the log of {service}"
        told = (await wire.call(None, "GET", service, "/metrics")).text
        assert not personal.search(told) and child.id not in told, f"metrics of {service}"
    traces = await wire.get(None, "page", "/api/traces", {"limit": 300})
    assert traces["traces"]
    for trace in traces["traces"]:
        found = await wire.call(None, "GET", "page", f"/api/traces/{trace['trace_id']}")
        assert not personal.search(found.text)
        assert child.id not in found.text and mother.id not in found.text


async def test_metrics_count_what_the_hospital_looks_at(story: Story, wire: Wire) -> None:
    async def issued() -> float:
        text = (await wire.call(None, "GET", "enrollment", "/metrics")).text
        found = re.search(r"^invitations_issued_total ([0-9.e+]+)$", text, re.MULTILINE)
        return float(found[1]) if found else 0.0

    before = await issued()
    patient = await story.adult(age=77)
    await wire.publish(story.discharge(patient))
    await story.invited(patient)
    assert await issued() == before + 1
