"""Do the programs of the partner kit run as they stand, and are they understood?"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from libs.common.cloudevents import decode, partition_for
from libs.common.devstack.kafka import java
from libs.common.devstack.places import ROOT, jars
from libs.common.devstack.stack import Stack
from libs.common.events import EncounterDischarged, InvitationIssued
from scripts.conformance import judge
from scripts.contracts import CONTRACTS
from scripts.published import read
from services.enrollment.main import SPEC
from tests.support.examples import BODIES
from tests.support.running import running
from tests.support.topics import standing

KIT = CONTRACTS / "partner-kit"
TOPIC = "hospital.encounters"
TYPE = "hospital.encounter.discharged.v1"
#: What kafka-clients needs of the jars that the broker runs with.
CLIENT = [jar for jar in jars() if jar.name.startswith(("kafka-clients-", "slf4j-api-"))]

Command = Callable[..., list[str]]


@pytest.fixture(scope="session")
def classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Java programs, compiled for Java 17 without a warning, where there is only a JRE too."""
    target = tmp_path_factory.mktemp("classes")
    (compiler,) = jars(ROOT / "requirements" / "ecj.txt")
    options = ["-source", "17", "-target", "17", "-failOnWarning", "-d", str(target)]
    command = [str(java()), "-jar", str(compiler), *options, "-cp", path_of(CLIENT)]
    subprocess.run([*command, str(KIT / "java")], check=True)
    return target


def path_of(entries: Sequence[Path]) -> str:
    return os.pathsep.join(map(str, entries))


@pytest.fixture
def program(request: pytest.FixtureRequest, classes: Path) -> Command:
    return of(request.param, classes)


def of(language: str, classes: Path) -> Command:
    """How one of the kit's programs is called."""
    if language == "java":
        return lambda name, *rest: [str(java()), "-cp", path_of([classes, *CLIENT]), name, *rest]
    return lambda name, *rest: [sys.executable, str(KIT / "python" / f"{name.lower()}.py"), *rest]


def environment(stack: Stack) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "KAFKA_"))}
    return {**kept, "KAFKA_BOOTSTRAP_SERVERS": stack.bootstrap}


async def run(stack: Stack, command: list[str], cwd: Path) -> str:
    process = await asyncio.create_subprocess_exec(
        *command, cwd=cwd, env=environment(stack), stdout=asyncio.subprocess.PIPE
    )
    out, _ = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0
    return out.decode()


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


@pytest.mark.parametrize("program", ["java", "python"], indirect=True)
async def test_what_a_producer_of_the_kit_publishes_is_understood(
    stack: Stack, program: Command, tmp_path: Path
) -> None:
    patient, file = discharge(tmp_path)
    hospital = f"h{patient}"
    command = program("Producer", TOPIC, TYPE, hospital, patient, str(file))
    begun = datetime.now(UTC)
    said = [(await run(stack, command, tmp_path)).split() for _ in range(2)]
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
    async with running(stack, SPEC) as enrollment:
        arguments = (TOPIC, TYPE, enrollment.hospital, patient, str(file))
        await run(stack, of("java", classes)("Producer", *arguments), tmp_path)
        (invitation,) = await enrollment.published(InvitationIssued)
        assert (invitation.patient_id, invitation.person_id) == (patient, "p-200871")
        for language in ("java", "python"):
            line = await first_line(stack, of(language, classes), enrollment.hospital, tmp_path)
            type, _, source, _, body = line.split(" ", 4)
            assert (type, source) == (InvitationIssued.TYPE, "/services/enrollment")
            assert InvitationIssued.model_validate_json(body) == invitation


async def first_line(stack: Stack, program: Command, hospital: str, cwd: Path) -> str:
    """What a consumer of the kit prints first of ``hospital``."""
    command = program("Consumer", f"partner-{uuid.uuid4().hex[:8]}", "enrollment.events")
    process: Any = await asyncio.create_subprocess_exec(
        *command, cwd=cwd, env=environment(stack), stdout=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(60):
            async for line in process.stdout:
                if f" {hospital} " in line.decode():
                    return str(line.decode().rstrip("\n"))
    finally:
        process.kill()
        await process.wait()
    raise AssertionError(f"{command[0]} ended without a line of {hospital}")
