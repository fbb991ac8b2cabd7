"""Do the rules see what the hospital tells on its other topics, and who sees what they said?"""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import pytest

from lianxin import policy_replay
from libs.common.devstack.day.records import WELL
from libs.common.events import (
    AdmissionCancelled,
    ConditionRecorded,
    EncounterAdmitted,
    PractitionerRegistered,
    StaffRole,
)
from services.prescriptions.settings import Settings
from tests.integration.prescriptions.given import Hospital, ask, decide

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_new_diagnosis_or_stay_leads_to_a_visit_until_it_is_taken_back(
    hospital: Hospital,
) -> None:
    await hospital.prescribe("rx1")
    await hospital.prescribe("rx2", patient="p2")
    at = hospital.service.clock.now() - timedelta(days=1)
    await hospital.tell(
        EncounterAdmitted(encounter_id="s1", patient_id="p1", admitted_at=at),
        ConditionRecorded(condition_id="c1", patient_id="p2", code="I50", recorded_at=at),
    )
    await hospital.settled("admitted")
    await hospital.settled("condition")
    for rx, patient in (("rx1", "p1"), ("rx2", "p2")):
        answer = await ask(hospital.patient(patient), rx, patient)
        assert (answer.status_code, answer.json()["reason"]) == (422, "condition_changed")
        assert answer.json()["rule"] == "stable_condition"
        assert "复诊" in answer.json()["detail"]
    now = hospital.service.clock.now()
    await hospital.tell(AdmissionCancelled(encounter_id="s1", patient_id="p1", cancelled_at=now))
    await hospital.settled("admission_cancelled")
    assert (await ask(hospital.patient())).status_code == 201


async def test_a_doctor_who_practises_too_short_does_not_decide(hospital: Hospital) -> None:
    await hospital.prescribe()
    now = hospital.service.clock.now()
    await hospital.tell(
        PractitionerRegistered(
            practitioner_id="dr1",
            name="王一",
            roles=(StaffRole.DOCTOR,),
            practising_since=date(now.year - 1, 1, 1),
            updated_at=now,
        )
    )
    await hospital.settled("practitioner")
    refill = await hospital.asked()
    answer = await decide(hospital.doctor(), refill, "approve")
    assert (answer.status_code, answer.json()["reason"]) == (422, "practice_too_short")
    assert (await decide(hospital.doctor("dr2"), refill, "approve")).status_code == 200


async def test_staff_see_what_every_rule_said_and_the_patient_sees_the_no(
    hospital: Hospital,
) -> None:
    await hospital.prescribe()
    refill = await hospital.asked()
    path, english = f"/v1/refills/{refill['id']}", {"Accept-Language": "en"}
    [step] = (await hospital.doctor().get(path, headers=english)).json()["history"]
    said = {o["rule"]: o for o in step["outcomes"]}
    assert said["window"]["figures"] == {"days": 30}
    assert said["window"]["text"].startswith("The prescription is not older than 183 days;")
    assert said["child"]["kind"] == "law" and said["child"]["source"]
    [step] = (await hospital.patient().get(path)).json()["history"]
    assert step["outcomes"] == []
    changed = await ask(hospital.patient(), "rx1", declaration={**WELL, "no_new_symptoms": "no"})
    assert changed.json()["reason"] == "open_request"
    path = f"/v1/refills/{changed.json()['refill_id']}"
    [step] = (await hospital.patient().get(path)).json()["history"]
    assert {o["rule"] for o in step["outcomes"]} == {"one_at_a_time", "nothing_changed"}


async def test_the_questions_come_from_the_policy_in_both_languages(hospital: Hospital) -> None:
    await hospital.prescribe()
    asked = (await hospital.patient().get("/v1/declaration")).json()
    assert {q["id"] for q in asked["questions"]} == set(WELL)
    assert all(set(q["text"]) == {"zh-CN", "en"} for q in asked["questions"])
    answer = await ask(hospital.patient(), declaration={})
    assert (answer.status_code, answer.json()["reason"]) == (422, "declaration_missing")
    assert await hospital.service.rows("refills", hospital.id) == []


def stricter(folder: Path) -> Path:
    text = Path("policies/renewal/2026-01-01.yaml").read_text(encoding="utf-8")
    file = folder / "stricter.yaml"
    file.write_text(text.replace("days: 183", "days: 29"), encoding="utf-8")
    return file


async def test_other_rules_are_tried_on_what_was_asked(
    hospital: Hospital,
    tmp_path: Path,
) -> None:  # fmt: skip
    await hospital.prescribe("rx1")
    refill = await hospital.asked("rx1")
    file = stricter(tmp_path)
    database = hospital.service.database
    since = hospital.service.clock.now() - timedelta(hours=1)
    policy = policy_replay.version_of(file, Settings())
    found, asked, without = await policy_replay.replay(database, hospital.id, since, policy)
    assert (asked, without) == (1, 0)
    assert [policy_replay.line(d) for d in found] == [
        f"{refill['id']}  renewal-2026-01-01: accepted -> too_old  (days=30)"
    ]
