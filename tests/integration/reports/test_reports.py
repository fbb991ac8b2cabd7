"""Does a report reach its patient, and nobody else, through the real broker and database?"""

from __future__ import annotations

import asyncio
from datetime import date, timedelta
from typing import Any

import pytest

from libs.common.events import (
    Contact,
    GuardianLinked,
    GuardianUnlinked,
    NotificationRequested,
    Observation,
    PatientMerged,
    PatientRegistered,
    Relationship,
    ReportCorrected,
    ReportKind,
    ReportReady,
    ReportStatus,
    ReportWithdrawn,
    ResultReleased,
    ResultViewed,
)
from libs.common.http.app import create_app
from tests.support.access import assert_access
from tests.support.running import Running
from tests.support.toy import eventually

ADULT, CHILD = date(1970, 5, 1), date(2018, 5, 1)


def content(service: Running, id: str = "r1", version: int = 1, **more: Any) -> ReportReady:
    corrected = more.pop("corrected", False)
    fields: dict[str, Any] = {
        "report_id": id,
        "patient_id": "p1",
        "kind": ReportKind.LABORATORY,
        "code": "24323-8",
        "title": "Metabolic panel",
        "status": ReportStatus.FINAL,
        "version": version,
        "ordering_practitioner_id": "dr1",
        "department_code": "NEURO",
        "issued_at": service.now(),
        "observations": (Observation(code="2345-7", display="Glucose", value=5.6, unit="mmol/L"),),
        "conclusion": f"Version {version}",
        **more,
    }
    return ReportCorrected(**fields) if corrected else ReportReady(**fields)  # type: ignore[return-value]


def patient(service: Running, id: str = "p1", born: date = ADULT) -> PatientRegistered:
    at = service.now()
    return PatientRegistered(patient_id=id, name="Test Person", birth_date=born, updated_at=at)


def guardian(service: Running, person: str, of: str = "p1") -> GuardianLinked:
    return GuardianLinked(
        patient_id=of,
        person_id=person,
        relationship=Relationship.MOTHER,
        verified_by="id_card",
        linked_at=service.now(),
        contact=Contact(name="Test Guardian"),
    )


async def status(service: Running, id: str, wanted: str) -> None:
    async def reached() -> bool:
        return bool(await service.rows("reports", id=id, status=wanted))

    await eventually(reached)


async def known(service: Running, *ids: str) -> None:
    async def all_there() -> bool:
        return len(await service.rows("patients", id={"$in": list(ids)})) == len(ids)

    await eventually(all_there)


async def test_a_report_is_told_read_and_marked_as_seen(reports: Running) -> None:
    await reports.publish(patient(reports), ("same", content(reports)), ("same", content(reports)))
    (push,) = await reports.published(NotificationRequested)
    assert (push.recipient_id, push.template) == ("p1", "report.ready")
    (released,) = await reports.published(ResultReleased)
    assert released.report_id == "r1"
    async with reports.client("patient", person="p1") as p1:
        (line,) = (await p1.get("/v1/reports")).json()["items"]
        assert (line["id"], line["seen"]) == ("r1", False)
        answer = await p1.get("/v1/reports/r1")
        assert answer.status_code == 200, answer.text
        body = answer.json()
        assert body["observations"][0]["value"] == 5.6
        assert body["conclusion"] == "Version 1"
        assert answer.headers["etag"]
        (viewed,) = await reports.published(ResultViewed)
        assert (viewed.person_id, viewed.version) == ("p1", 1)
        await p1.get("/v1/reports/r1")
        (line,) = (await p1.get("/v1/reports")).json()["items"]
        assert line["seen"]
    (row,) = await reports.rows("reports")
    assert len(row["seen"]) == 1
    assert len(row["told"]) == 1


async def test_only_its_own_side_and_the_departments_staff_read_a_report(reports: Running) -> None:
    await reports.publish(
        patient(reports, born=CHILD), guardian(reports, "g1"), patient(reports, "p2"),
        content(reports), content(reports, "r2", patient_id="p2"),
    )  # fmt: skip
    await status(reports, "r1", "released")
    await status(reports, "r2", "released")
    await known(reports, "p1", "p2")
    may = {
        ("guardian", "g1", "-"): 200,
        ("patient", "p1", "-"): 200,
        ("doctor", "dr2", "NEURO"): 200,
        ("nurse", "n1", "NEURO"): 200,
        ("doctor", "dr1", "CARDIO"): 200,  # who ordered it
        ("doctor", "dr9", "CARDIO"): 404,
        ("nurse", "n9", "CARDIO"): 404,
        ("patient", "p2", "NEURO"): 404,  # a patient's department is no staff's
        ("guardian", "g2", "-"): 404,
    }
    for (role, person, department), expected in may.items():
        async with reports.client(role, person=person, departments=[department]) as c:
            answer = await c.get("/v1/reports/r1")
            assert answer.status_code == expected, (role, person, answer.text)
            if expected == 404:
                assert answer.json()["reason"] == "not_found"
                unknown = await c.get("/v1/reports/no-such-report")
                assert unknown.json() == answer.json()
    async with reports.client("guardian", person="g1") as g1:
        assert [r["id"] for r in (await g1.get("/v1/reports")).json()["items"]] == ["r1"]
        assert (await g1.get("/v1/reports", params={"patient_id": "p2"})).status_code == 404
        own = await g1.get("/v1/reports", params={"patient_id": "p1"})
        assert [r["id"] for r in own.json()["items"]] == ["r1"]


async def test_another_hospital_does_not_exist(reports: Running) -> None:
    await reports.publish(patient(reports), content(reports))
    await status(reports, "r1", "released")
    headers = reports.callers.headers("patient", person="p1", hospital="other")
    async with reports.client("patient", person="p1") as c:
        assert (await c.get("/v1/reports/r1", headers=headers)).status_code == 404
        assert (await c.get("/v1/reports", headers=headers)).json()["items"] == []


async def test_every_read_and_every_refused_read_is_recorded(reports: Running) -> None:
    await reports.publish(patient(reports), content(reports))
    await status(reports, "r1", "released")
    async with reports.client("patient", person="p1") as c:
        await c.get("/v1/reports/r1")
        await c.get("/v1/reports")
    async with reports.client("patient", person="p9") as c:
        await c.get("/v1/reports/r1")
        await c.get("/v1/reports", params={"patient_id": "p1"})
    rows = await reports.rows("audit")
    seen = sorted((r["agent"]["who"], r["source"]["site"], r["outcome"]) for r in rows)
    assert seen == [
        ("p1", "GET /v1/reports", "0"),
        ("p1", "GET /v1/reports/{id}", "0"),
        ("p9", "GET /v1/reports", "4"),
        ("p9", "GET /v1/reports/{id}", "4"),
    ]
    assert {r["patient"] for r in rows} == {"p1"}


async def test_a_correction_replaces_and_a_withdrawal_closes(reports: Running) -> None:
    await reports.publish(patient(reports), content(reports))
    await status(reports, "r1", "released")
    await reports.publish(content(reports, version=2, corrected=True))
    pushes = await reports.published(NotificationRequested, 2)
    assert sorted(p.template for p in pushes) == ["report.corrected", "report.ready"]
    async with (
        reports.client("patient", person="p1") as p1,
        reports.client("patient", person="p9") as p9,
        reports.client("doctor", person="dr2", departments=["NEURO"]) as doctor,
    ):
        assert (await p1.get("/v1/reports/r1")).json()["conclusion"] == "Version 2"
        await reports.publish(
            ReportWithdrawn(report_id="r1", patient_id="p1", withdrawn_at=reports.now())
        )
        await status(reports, "r1", "withdrawn")
        for c in (p1, doctor):
            answer = await c.get("/v1/reports/r1")
            assert (answer.status_code, answer.json()["reason"]) == (410, "withdrawn")
        assert (await p9.get("/v1/reports/r1")).status_code == 404
        assert (await p1.get("/v1/reports")).json()["items"] == []


async def test_a_held_report_waits_for_a_doctor_of_the_department(reports: Running) -> None:
    await reports.publish(patient(reports), content(reports, kind=ReportKind.PATHOLOGY))
    await status(reports, "r1", "held")
    async with (
        reports.client("patient", person="p1") as p1,
        reports.client("doctor", person="dr2", departments=["NEURO"]) as doctor,
        reports.client("doctor", person="dr9", departments=["CARDIO"]) as other,
    ):
        assert (await p1.get("/v1/reports/r1")).status_code == 404
        (waiting,) = (await doctor.get("/v1/held-reports")).json()["items"]
        assert (waiting["id"], waiting["why"]) == ("r1", "talk_first")
        assert (await other.get("/v1/held-reports")).json()["items"] == []
        assert (await other.post("/v1/reports/r1/release")).status_code == 404
        assert (await p1.post("/v1/reports/r1/release")).status_code == 403
        stale = await doctor.post("/v1/reports/r1/release", headers={"If-Match": '"99"'})
        assert (stale.status_code, stale.json()["reason"]) == (412, "changed")
        released = await doctor.post("/v1/reports/r1/release")
        assert released.status_code == 200, released.text
        assert released.json() == {"id": "r1", "status": "released"}
        assert (await doctor.post("/v1/reports/r1/release")).json() == released.json()
        assert (await p1.get("/v1/reports/r1")).status_code == 200
        assert (await doctor.get("/v1/held-reports")).json()["items"] == []
    (push,) = await reports.published(NotificationRequested)
    assert push.recipient_id == "p1"


async def test_what_names_nobody_is_listed_for_ops_without_its_title(reports: Running) -> None:
    nobody: dict[str, Any] = {"ordering_practitioner_id": None, "department_code": None}
    early = ReportStatus.PRELIMINARY
    await reports.publish(
        content(reports, "r1", critical=True, **nobody),
        content(reports, "r2", critical=True, status=early, **nobody),
        content(reports, "r3", status=early, **nobody),
        content(reports, "r4", critical=True),
        content(reports, "r5", critical=True, ordering_practitioner_id=None, department_code="X"),
    )
    for id in ("r1", "r4", "r5"):
        await status(reports, id, "held")
    for id in ("r2", "r3"):
        await status(reports, id, "preliminary")
    async with (
        reports.client("ops", person="ops1") as ops,
        reports.client("doctor", person="dr9", departments=["X"]) as doctor,
    ):
        rows = (await ops.get("/v1/held-reports")).json()["items"]
        assert {(r["id"], r["title"], r["untold"]) for r in rows} == {
            ("r1", None, True),
            ("r2", None, True),
        }
        assert (await ops.get("/v1/reports/r1")).status_code == 403
        rows = (await doctor.get("/v1/held-reports")).json()["items"]
        assert [(r["id"], r["title"]) for r in rows] == [("r5", "Metabolic panel")]


async def test_a_doctor_finds_what_was_told_as_critical_before_it_is_final(
    reports: Running,
) -> None:
    early = ReportStatus.PRELIMINARY
    await reports.publish(
        content(reports, "r1", critical=True, status=early),
        content(reports, "r2", status=early),
    )
    for id in ("r1", "r2"):
        await status(reports, id, "preliminary")
    async with reports.client("doctor", person="dr1", departments=["CARDIO"]) as doctor:
        (row,) = (await doctor.get("/v1/held-reports")).json()["items"]
        assert (row["id"], row["why"], row["title"]) == ("r1", "preliminary", "Metabolic panel")


async def test_a_report_before_its_patient_is_told_when_the_patient_is_known(
    reports: Running,
) -> None:
    await reports.publish(content(reports))
    await status(reports, "r1", "released")
    assert await reports.rows("timers")
    await reports.publish(patient(reports, born=CHILD))
    await known(reports, "p1")
    await reports.publish(guardian(reports, "g1"), guardian(reports, "g2"))
    pushes = await reports.published(NotificationRequested, 2)
    assert {p.recipient_id for p in pushes} == {"g1", "g2"}


async def test_reports_of_merged_records_are_one_list(reports: Running) -> None:
    await reports.publish(
        patient(reports, "p1"), patient(reports, "p2"),
        content(reports, "r1"), content(reports, "r2", patient_id="p2"),
        PatientMerged(patient_id="p1", survivor_id="p2", merged_at=reports.now()),
    )  # fmt: skip
    await status(reports, "r1", "released")
    await status(reports, "r2", "released")

    async def merged() -> bool:
        return len(await reports.rows("patients", survivor_id="p2")) == 2

    await eventually(merged)
    for person in ("p1", "p2"):
        async with reports.client("patient", person=person) as c:
            items = (await c.get("/v1/reports")).json()["items"]
            assert {r["id"] for r in items} == {"r1", "r2"}
            assert (await c.get("/v1/reports/r1")).status_code == 200


async def test_who_was_unlinked_under_another_id_neither_lists_nor_reads(reports: Running) -> None:
    await reports.publish(
        patient(reports, "p1", born=CHILD), patient(reports, "p2", born=CHILD),
        guardian(reports, "g1"), content(reports),
    )  # fmt: skip
    await status(reports, "r1", "released")
    await known(reports, "p1", "p2")
    at = reports.now()
    async with (
        reports.client("guardian", person="g1") as g1,
        reports.client("guardian", person="g2") as g2,
    ):
        for c, expected in ((g1, ["r1"]), (g2, [])):
            assert [r["id"] for r in (await c.get("/v1/reports")).json()["items"]] == expected
        await reports.publish(
            PatientMerged(patient_id="p1", survivor_id="p2", merged_at=at),
            PatientMerged(patient_id="g1", survivor_id="g2", merged_at=at),
        )
        await known(reports, "g1", "g2")
        for c in (g1, g2):
            assert [r["id"] for r in (await c.get("/v1/reports")).json()["items"]] == ["r1"]
            assert (await c.get("/v1/reports/r1")).status_code == 200
        ended = GuardianUnlinked(patient_id="p2", person_id="g2", unlinked_at=reports.now())
        await reports.publish(ended)

        async def unlinked() -> bool:
            return bool(await reports.rows("related_persons", person_id="g2"))

        await eventually(unlinked)
        for c in (g1, g2):
            assert (await c.get("/v1/reports")).json()["items"] == []
            assert (await c.get("/v1/reports/r1")).status_code == 404


async def test_pages_hold_every_report_once_the_newest_first(reports: Running) -> None:
    start = reports.now()
    ids = [f"r{n}" for n in range(7)]
    old = content(reports, "old", issued_at=start - timedelta(days=200))
    await reports.publish(
        patient(reports), old,
        *(content(reports, id, issued_at=start - timedelta(minutes=n // 2))
          for n, id in enumerate(ids)),
    )  # fmt: skip
    for id in (*ids, "old"):
        await status(reports, id, "released")
    async with reports.client("patient", person="p1") as c:
        found: list[str] = []
        cursor: str | None = None
        while True:
            query: dict[str, Any] = {"limit": 2, **({"cursor": cursor} if cursor else {})}
            page = (await c.get("/v1/reports", params=query)).json()
            found += [r["id"] for r in page["items"]]
            cursor = page["next"]
            if cursor is None:
                break
        assert sorted(found) == ids  # each once, and not what is older than half a year
        minutes = [ids.index(id) // 2 for id in found]
        assert minutes == sorted(minutes)
        assert (await c.get("/v1/reports/old")).status_code == 200
        bad = await c.get("/v1/reports", params={"cursor": "nonsense"})
        assert (bad.status_code, bad.json()["reason"]) == (400, "invalid_cursor")


async def test_many_views_at_once_are_one_view(reports: Running) -> None:
    await reports.publish(patient(reports), content(reports))
    await status(reports, "r1", "released")
    async with reports.client("patient", person="p1") as c:
        answers = await asyncio.gather(*(c.get("/v1/reports/r1") for _ in range(12)))
    assert {a.status_code for a in answers} == {200}
    (row,) = await reports.rows("reports")
    assert len(row["seen"]) == 1


@pytest.mark.parametrize("accept", ["en", "zh-CN"])
async def test_a_problem_is_told_in_the_readers_language(reports: Running, accept: str) -> None:
    await reports.publish(patient(reports), content(reports))
    await status(reports, "r1", "released")
    await reports.publish(
        ReportWithdrawn(report_id="r1", patient_id="p1", withdrawn_at=reports.now())
    )
    await status(reports, "r1", "withdrawn")
    async with reports.client("patient", person="p1") as c:
        answer = await c.get("/v1/reports/r1", headers={"Accept-Language": accept})
    assert answer.headers["content-language"] == accept
    told = answer.json()
    assert ("withdrawn" in told["detail"]) == (accept == "en")
    assert told["title"] == ("No longer available" if accept == "en" else "已不再提供")


async def test_routes_are_open_to_their_roles_and_no_others(reports: Running) -> None:
    spec = reports.runtime.spec
    app = create_app(
        title="reports",
        routers=spec.routers,
        access=spec.access,
        verifier=reports.callers.verifier,
        ports=reports.runtime.ports,
        texts=spec.texts,
    )
    await assert_access(app, reports.callers)
