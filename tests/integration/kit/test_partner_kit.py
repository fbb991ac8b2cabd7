"""Do the programs of the partner kit run as they stand, and are they understood?"""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime
from pathlib import Path

import pytest

from libs.common.cloudevents import decode, partition_for
from libs.common.devstack.stack import Stack
from libs.common.events import EncounterDischarged, InvitationIssued
from scripts.conformance import judge
from scripts.contracts import CONTRACTS
from scripts.published import read
from services.enrollment.main import SPEC
from tests.integration.kit.programs import environment, first_line, of, run
from tests.support.examples import BODIES
from tests.support.running import running
from tests.support.topics import standing

TOPIC = "hospital.encounters"
TYPE = "hospital.encounter.discharged.v1"


def discharge(folder: Path) -> tuple[str, Path]:
    """A patient of the test's own, who has just left."""
    patient = f"p-{uuid.uuid4().hex[:8]}"
    body = json.loads(BODIES[f"{TYPE}/child"])
    body |= {
        "patient_id": patient,
        "encounter_id": f"e-{patient}",
        "discharged_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    file = folder / "body.json"
    file.write_text(json.dumps(body, ensure_ascii=False), "utf-8")
    return patient, file


@pytest.mark.parametrize("language", ["java", "python"])
async def test_what_a_producer_of_the_kit_publishes_is_understood(
    stack: Stack, classes: Path, language: str, tmp_path: Path
) -> None:
    patient, file = discharge(tmp_path)
    hospital = f"h{patient}"
    command = of(language, classes)("Producer", TOPIC, TYPE, hospital, patient, str(file))
    env = environment(KAFKA_BOOTSTRAP_SERVERS=stack.bootstrap)
    begun = datetime.now(UTC)
    done = [await run(command, env, tmp_path) for _ in range(2)]
    assert [code for code, *_ in done] == [0, 0], done
    said = [out.split() for _, out, _ in done]
    assert said[0][2] == said[1][2], "the same content is the same event"

    key = f"{hospital}/{patient}".encode()
    first, second = (r for r in await standing(stack.bootstrap, TOPIC) if r.key == key)
    assert [f"{r.partition}:{r.offset}" for r in (first, second)] == [s[1] for s in said]
    assert first.partition == partition_for(key, 6)
    event = decode(first.headers, first.value)
    assert isinstance(event.data, EncounterDischarged)
    assert (event.hospital, event.id, event.data.patient_id) == (hospital, said[0][2], patient)

    count, found = await judge(stack.bootstrap, read(CONTRACTS).topics[TOPIC], begun, 100)
    assert count == 2
    assert [f for f in found if not f.hint] == []


async def test_from_a_discharge_in_java_to_an_invitation_that_partners_read(
    stack: Stack, classes: Path, tmp_path: Path
) -> None:
    patient, file = discharge(tmp_path)
    env = environment(KAFKA_BOOTSTRAP_SERVERS=stack.bootstrap)
    async with running(stack, SPEC) as enrollment:
        hospital = enrollment.hospital
        arguments = (TOPIC, TYPE, hospital, patient, str(file))
        assert (await run(of("java", classes)("Producer", *arguments), env, tmp_path))[0] == 0
        (invitation,) = await enrollment.published(InvitationIssued)
        assert (invitation.patient_id, invitation.person_id) == (patient, "p-200871")
        for language in ("java", "python"):
            command = of(language, classes)("Consumer", f"trial.{language}", "enrollment.events")
            line = await first_line(command, env, tmp_path, f" {hospital} ")
            type, _, source, _, body = line.split(" ", 4)
            assert (type, source) == (InvitationIssued.TYPE, "/services/enrollment")
            assert InvitationIssued.model_validate_json(body) == invitation
