"""Are finished reports told at once, to the right persons, and never with a result?"""

from __future__ import annotations

from typing import Any

import pytest

from libs.common.devstack.day.cast import STAFF, Caller, Patient, Person
from libs.common.devstack.day.hearing import eventually
from libs.common.devstack.day.records import report
from libs.common.devstack.day.wire import Wire
from libs.common.events import (
    GuardianUnlinked,
    Hold,
    Interpretation,
    Observation,
    ReportCorrected,
    ReportKind,
    ReportReady,
    ReportStatus,
    ReportWithdrawn,
    ResultRecalled,
    ResultViewed,
)
from tests.e2e.given import Story

DOCTOR, NURSE = STAFF["d-3001"].caller, STAFF["n-4001"].caller
OTHER_DOCTOR = STAFF["d-3020"].caller

GLUCOSE = Observation(
    code="2345-7",
    display="葡萄糖",
    value=7.93,
    unit="mmol/L",
    interpretation=Interpretation.HIGH,
)
RESULT = ("7.93", "葡萄糖", "空腹血糖", "mmol", "血糖偏高")


async def letters(wire: Wire, person: Person, template_word: str) -> list[dict[str, Any]]:
    """What came to the person's phone by another channel than the inbox."""

    async def look() -> Any:
        phones = (await wire.get(None, "page", "/api/phones"))["phones"]
        mine: list[dict[str, Any]] = next(
            (p["messages"] for p in phones if p["person"] == person.id), []
        )
        return [
            m for m in mine if m["channel"] in ("email", "webhook") and template_word in m["title"]
        ]

    return await eventually(f"{person.id} gets it by mail or app", look)


def ready(story: Story, patient: Patient, **more: Any) -> ReportReady:
    usual = {"observations": (GLUCOSE,), "conclusion": "血糖偏高，请复查。"}
    return report(patient, story.new_id("r"), story.now(), **{**usual, **more})


async def test_a_final_report_is_told_without_its_result_and_read_by_its_patient(
    story: Story, wire: Wire
) -> None:
    patient, stranger = await story.adult(), await story.adult()
    sent = await story.released(ready(story, patient))

    message = await wire.told(patient.caller, "report.ready", patient_id=patient.id)
    (letter,) = await letters(wire, patient, "报告")
    for text in (message["title"], message["body"], letter["title"], letter["text"]):
        assert not any(word in text for word in RESULT), text

    listed = await wire.items(patient.caller, "reports", "/v1/reports")
    assert [(r["id"], r["seen"]) for r in listed] == [(sent.report_id, False)]
    shown = await story.read(patient.caller, sent.report_id)
    assert shown["observations"][0]["value"] == 7.93
    assert shown["conclusion"] == "血糖偏高，请复查。"
    await wire.hears(ResultViewed, report_id=sent.report_id, person_id=patient.id)
    listed = await wire.items(patient.caller, "reports", "/v1/reports")
    assert [r["seen"] for r in listed] == [True]

    for who in (stranger.caller, OTHER_DOCTOR, Caller("d-9999", ("doctor",), ("CARDIO",))):
        await story.read(who, sent.report_id, expect=404)
    assert (await story.read(DOCTOR, sent.report_id))["title"] == "空腹血糖"


async def test_a_childs_report_goes_to_the_guardians(story: Story, wire: Wire) -> None:
    child = await story.child("mother", "father", age=5)
    sent = await story.released(ready(story, child, code="24356-8"))

    for _, guardian in child.guardians:
        await wire.told(guardian.caller, "report.ready", patient_id=child.id)
        assert await story.read(guardian.caller, sent.report_id)
    assert await wire.inbox(child.caller) == []

    (_, mother), (_, father) = child.guardians
    await wire.publish(
        GuardianUnlinked(patient_id=child.id, person_id=father.id, unlinked_at=story.now())
    )

    async def no_longer() -> bool:
        answer = await wire.call(
            father.caller, "GET", "reports", f"/v1/reports/{sent.report_id}", expect=None
        )
        return answer.status_code == 404

    await eventually("who is no guardian any more can't read it", no_longer)
    assert await story.read(mother.caller, sent.report_id)


@pytest.mark.parametrize(
    ("what", "held_because"),
    [
        ({"status": ReportStatus.PRELIMINARY}, "preliminary"),
        ({"hold": Hold(on=True, reason="under_review")}, "held"),
        ({"critical": True}, "critical"),
        ({"kind": ReportKind.PATHOLOGY, "title": "病理"}, "talk_first"),
    ],
    ids=["preliminary", "held", "critical", "pathology"],
)
async def test_what_is_not_for_the_patient_yet_is_stored_and_not_pushed(
    story: Story, wire: Wire, what: dict[str, Any], held_because: str
) -> None:
    patient = await story.adult()
    sent = ready(story, patient, **what)
    await wire.publish(sent)

    shown = await eventually(
        "staff of the department see it", lambda: seen(wire, NURSE, sent.report_id)
    )
    assert shown["why"] == held_because
    await story.read(patient.caller, sent.report_id, expect=404)
    assert await wire.inbox(patient.caller) == []
    if "critical" in what:
        await wire.told(DOCTOR, "report.critical", patient_id=patient.id)


async def seen(wire: Wire, who: Caller, report_id: str) -> Any:
    answer = await wire.call(who, "GET", "reports", f"/v1/reports/{report_id}", expect=None)
    return answer.json() if answer.status_code == 200 else None


async def test_a_doctor_releases_what_was_critical(story: Story, wire: Wire) -> None:
    patient = await story.adult()
    sent = ready(story, patient, critical=True)
    await wire.publish(sent)
    await eventually("it has arrived", lambda: seen(wire, DOCTOR, sent.report_id))
    path = f"/v1/reports/{sent.report_id}/release"

    await wire.post(NURSE, "reports", path, expect=403)
    await wire.post(OTHER_DOCTOR, "reports", path, expect=404)
    await wire.post(DOCTOR, "reports", path)

    await wire.told(patient.caller, "report.ready")
    assert await story.read(patient.caller, sent.report_id)


async def test_a_final_version_follows_the_preliminary_one(story: Story, wire: Wire) -> None:
    patient = await story.adult()
    first = ready(story, patient, status=ReportStatus.PRELIMINARY)
    await wire.publish(first)

    await story.released(first.model_copy(update={"status": ReportStatus.FINAL, "version": 2}))

    await wire.told(patient.caller, "report.ready")
    assert (await story.read(patient.caller, first.report_id))["version"] == 2


async def test_a_corrected_report_replaces_the_wrong_one_and_tells_again(
    story: Story, wire: Wire
) -> None:
    patient = await story.adult()
    wrong = await story.released(ready(story, patient))
    await wire.told(patient.caller, "report.ready")
    right = GLUCOSE.model_copy(update={"value": 5.12, "interpretation": Interpretation.NORMAL})

    await wire.publish(
        ReportCorrected(
            **{
                **wrong.model_dump(),
                "version": 2,
                "status": ReportStatus.CORRECTED,
                "observations": (right,),
                "corrects": 1,
                "correction": "样本已复检。",
            }
        )
    )

    message = await wire.told(patient.caller, "report.corrected")
    assert "5.12" not in message["body"]
    shown = await story.read(patient.caller, wrong.report_id)
    assert (shown["version"], shown["observations"][0]["value"]) == (2, 5.12)
    assert "7.93" not in str(shown)
    assert shown["correction"] == "样本已复检。"


async def test_a_withdrawn_report_is_closed(story: Story, wire: Wire) -> None:
    patient, stranger = await story.adult(), await story.adult()
    sent = await story.released(ready(story, patient))
    await wire.told(patient.caller, "report.ready")

    await wire.publish(
        ReportWithdrawn(report_id=sent.report_id, patient_id=patient.id, withdrawn_at=story.now())
    )
    told = await wire.hears(ResultRecalled, report_id=sent.report_id)

    assert told.reason == "withdrawn"
    problem = await story.read(patient.caller, sent.report_id, expect=410)
    assert problem["reason"] == "withdrawn" and problem["detail"]
    await story.read(stranger.caller, sent.report_id, expect=404)
    assert await wire.items(patient.caller, "reports", "/v1/reports") == []


async def test_a_report_of_last_week_can_be_read_and_wakes_nobody(story: Story, wire: Wire) -> None:
    patient = await story.adult()
    sent = await story.released(ready(story, patient, issued_at=story.ago(days=8)))

    assert await story.read(patient.caller, sent.report_id)
    later = await story.released(ready(story, patient))
    message = await wire.told(patient.caller, "report.ready")
    assert len(await wire.inbox(patient.caller)) == 1, message
    assert later.report_id != sent.report_id


async def test_a_report_before_its_patient_is_told_once_the_patient_is_known(
    story: Story, wire: Wire
) -> None:
    patient = story.casting.adult()
    await story.released(ready(story, patient))
    assert await wire.inbox(patient.caller) == [], "it might be a child"

    await story.known(patient)

    await wire.told(patient.caller, "report.ready")
