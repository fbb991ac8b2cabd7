"""Is one discharge one trace, and does nothing that we record name a person?"""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing, suppress
from typing import Any

from libs.common.devstack.day.cast import PHARMACIST, STAFF
from libs.common.devstack.day.hearing import Failed, eventually
from libs.common.devstack.day.records import prescription, report
from libs.common.devstack.day.wire import Wire
from libs.common.devstack.places import SERVICES
from libs.common.devstack.stack import Stack
from libs.common.events import InvitationIssued, MemberJoined
from tests.e2e.given import Story
from tests.e2e.test_from_hl7 import His

CARDIOLOGIST = STAFF["d-3020"].caller


def of(spans: list[dict[str, Any]], service: str, name: str = "") -> list[dict[str, Any]]:
    return [s for s in spans if s["service"] == service and name in s["name"]]


async def whole(
    wire: Wire, traceparent: str, root: str, *steps: tuple[str, str]
) -> list[dict[str, Any]]:
    """The spans of a trace once all ``steps`` (service and name) are there and every span but
    ``root`` hangs on another one."""
    path = f"/api/traces/{traceparent[3:35]}"
    seen: Any = ""

    async def look() -> Any:
        """Spans come from each process in its own time."""
        nonlocal seen
        answer = await wire.call(None, "GET", "page", path, expect=None)
        found = answer.json() if answer.status_code == 200 else {"spans": []}
        own = [s for s in found["spans"] if not s["linked"]]
        ids = {s["span_id"] for s in own}
        heads = {s["name"] for s in own if s["parent_id"] not in ids}
        seen = [step for step in steps if not of(own, *step)], heads
        return found if seen == ([], {root}) else None

    try:
        found = await eventually("one connected trace", look)
    except Failed as error:
        raise AssertionError(f"{error}: {seen}") from None
    spans: list[dict[str, Any]] = found["spans"]
    assert {s["trace_id"] for s in spans if not s["linked"]} == {traceparent[3:35]}
    return spans


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
    found = await whole(
        wire,
        traceparent,
        "discharge",
        ("enrollment", "process hospital.encounters"),
        ("enrollment", "POST /v1/invitations/accept"),
        ("messaging", "process enrollment.events"),
        ("notify", "process notify.requests"),
        ("notify", "send "),
    )
    spans = [s for s in found if not s["linked"]]

    # HTTP and Kafka
    assert of(spans, "enrollment", "process hospital.encounters")
    assert of(spans, "notify", "process notify.requests")
    assert of(spans, "messaging", "process enrollment.events")
    (served,) = of(spans, "enrollment", "POST /v1/invitations/accept")
    assert served["attributes"]["http.response.status_code"] == 200
    assert of(spans, "notify", "send email") or of(spans, "notify", "send webhook")

    # the database, in the batches that are linked
    batches = [s for s in found if s["linked"]]
    for service in ("enrollment", "messaging", "notify"):
        commands = {
            s["attributes"].get("db.operation.name")
            for s in of(batches, service)
            if s["attributes"].get("db.system.name") == "mongodb"
        }
        assert {"find", "insert", "commitTransaction"} <= commands, service


async def test_a_report_and_who_opens_it_are_one_trace(story: Story, wire: Wire) -> None:
    patient = await story.adult(age=58)
    told = report(patient, story.new_id("r"), story.now())
    with wire.tracing("report") as traceparent:
        await wire.publish(told)
    await wire.told(patient.caller, "report.ready")
    with wire.tracing("it is opened", traceparent):
        await story.read(patient.caller, told.report_id)
    await whole(
        wire,
        traceparent,
        "report",
        ("reports", "process hospital.reports"),
        ("notify", "process notify.requests"),
        ("notify", "send "),
        ("reports", "GET /v1/reports/{id}"),
    )


async def test_a_renewal_with_both_signatures_is_one_trace(story: Story, wire: Wire) -> None:
    patient = await story.adult(age=64)
    await wire.publish(prescription(patient, story.ago(days=60)))
    await story.may_ask(patient.caller, patient)
    with wire.tracing("renewal") as traceparent:
        await story.renewed(patient.caller, patient, CARDIOLOGIST, PHARMACIST.caller)
    await wire.told(patient.caller, "refill.effective")
    routes = ("", "/{id}/doctor-decision", "/{id}/pharmacist-review")
    asked = [("prescriptions", f"POST /v1/refills{route}") for route in routes]
    told = (("notify", "process notify.requests"), ("notify", "send "))
    await whole(wire, traceparent, "renewal", *asked, *told)


async def test_a_discharge_over_hl7_is_one_trace_from_its_message_on(
    story: Story, wire: Wire
) -> None:
    """Nobody outside has begun one, so interop does."""
    his = His(story)
    patient, stay = his.patient(age=61), story.new_id("stay")
    await his.discharges(patient, stay)
    await story.invited(patient)
    await wire.hears(InvitationIssued, encounter_id=stay)
    (issued,) = wire.heard(InvitationIssued, encounter_id=stay)
    spans = await whole(
        wire,
        issued.traceparent or "",
        "decide message.receive",
        ("enrollment", "process hospital.encounters"),
        ("notify", "process notify.requests"),
    )
    (began,) = [s for s in spans if not s["linked"] and s["parent_id"] == ""]
    assert began["service"] == "interop"


async def test_of_all_spans_of_all_journeys_none_is_an_orphan(platform: Stack) -> None:
    """Every parent is there, in the same trace: those who call here send theirs, too."""
    store = platform.folder / "page" / "page.sqlite3"

    async def orphans() -> list[Any]:
        with closing(sqlite3.connect(store)) as db:
            return db.execute(
                "SELECT service, name, trace_id FROM spans AS s WHERE parent_id != '' AND NOT"
                " EXISTS (SELECT 1 FROM spans AS p WHERE p.trace_id = s.trace_id"
                " AND p.span_id = s.parent_id)"
            ).fetchall()

    async def none() -> bool:
        return not await orphans()

    with closing(sqlite3.connect(store)) as db:
        assert db.execute("SELECT COUNT(*) FROM spans").fetchone()[0] > 200
    with suppress(Failed):
        await eventually("every span's parent has come", none)
    assert await orphans() == []


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
        found = re.findall(r"^invitations_issued_total\{.*\} ([0-9.e+]+)$", text, re.MULTILINE)
        return sum(map(float, found))

    before = await issued()
    patient = await story.adult(age=77)
    await wire.publish(story.discharge(patient))
    await story.invited(patient)
    assert await issued() == before + 1
