"""Is what was refused, mended and taken up again told as if it had come right the first time?"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import yaml

from libs.common import logs
from libs.common.devstack.places import ROOT, free_ports
from libs.common.devstack.stack import Stack
from libs.common.kafka.reading import read_all
from services.interop.main import SPEC, load_policy
from services.interop.settings import Settings
from tests.integration.interop.given import sender
from tests.support.running import Running, running

#: The cancelled discharge among them comes after its discharge, or before it if that is refused.
MESSAGES = ("adt-a03-adult", "oru-final", "rde-o11-atc", "adt-a13-cancelled")
TOPICS = [
    f"hospital.{topic}"
    for topic in ("encounters", "clinical", "prescriptions", "reports", "patients")
]
Fact = tuple[str, str, str]


def unknowing(folder: Path) -> Path:
    """The policies, with a profile of the sample sender that lacks the code of one ward."""
    folder.mkdir()
    for part in (ROOT / "policies").iterdir():
        if part.name != "senders":
            (folder / part.name).symlink_to(part)
    (folder / "senders").mkdir()
    for file in (ROOT / "policies/senders").glob("*.yaml"):
        profile = yaml.safe_load(file.read_text(encoding="utf-8"))
        if file.name == "sample-his.yaml":
            del profile["tables"]["department"]["codes"]["0301"]
        (folder / "senders" / file.name).write_text(yaml.safe_dump(profile), encoding="utf-8")
    return folder


@asynccontextmanager
async def interop(stack: Stack, policies: Path) -> AsyncIterator[Running]:
    hospital, (port,) = f"h{uuid.uuid4().hex[:8]}", free_ports(1)
    settings = {"interop_hospital": hospital, "mllp_port": port, "mllp_host": "127.0.0.1"}
    async with running(stack, SPEC, policies_dir=policies, **settings) as service:
        service.hospital = hospital
        yield service


async def sent(service: Running) -> list[str]:
    async with sender(service) as his:
        files = [ROOT / f"tests/data/hl7/{name}.hl7" for name in MESSAGES]
        return [(await his.send(file.read_bytes())).code for file in files]


async def facts(service: Running) -> list[Fact]:
    """Topic, type and body of all that the messages are said to have told, on the topics."""
    promised = {id for row in await service.rows("messages") for _, id in row["events"]}
    found: dict[str, Fact] = {}
    async with asyncio.timeout(30):
        async for record in read_all(service.stack.bootstrap, TOPICS):
            headers = {name: (value or b"").decode() for name, value in record.headers}
            if headers.get("ce_hospital") == service.hospital:
                body = json.loads(record.value or b"")
                body.pop("discharge_event_id", None)  # ids follow from the command
                found[headers["ce_id"]] = record.topic, headers["ce_type"], json.dumps(body)
                if found.keys() == promised:
                    break
    return sorted(found.values())


async def test_messages_that_were_mended_tell_what_they_would_have_told_at_once(
    stack: Stack, tmp_path: Path
) -> None:
    logs.configure("interop", level="WARNING")
    async with interop(stack, ROOT / "policies") as right:
        assert await sent(right) == ["AA"] * len(MESSAGES)
        wanted = await facts(right)
    assert len(wanted) > len(MESSAGES)
    async with interop(stack, unknowing(tmp_path / "policies")) as wrong:
        assert await sent(wrong) == ["AR", "AR", "AR", "AA"]
        settings = wrong.runtime.settings
        assert isinstance(settings, Settings)
        mended = settings.model_copy(update={"policies_dir": ROOT / "policies"})
        wrong.runtime.policy = load_policy(mended)
        ids = [row["id"] for row in await wrong.rows("messages")]
        async with wrong.client("ops", person="o1") as ops:
            again = await ops.post(
                "/v1/reprocessing", json={"ids": ids}, headers={"Idempotency-Key": "k1"}
            )
        assert [i["standing"] for i in again.json()["items"]] == ["accepted"] * len(ids)
        assert await facts(wrong) == wanted
