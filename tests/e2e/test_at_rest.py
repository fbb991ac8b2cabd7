"""Does what is stored and what is logged name nobody, after a whole day of a hospital?

The day's people are played again from its name, so every name, telephone and birth date is
known; on top come what a day has not: an identity number, addresses, a file, free text.
"""

from __future__ import annotations

import ast
import json
import signal
import sqlite3
from base64 import b64encode
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from itertools import chain
from typing import Any

import pytest

from libs.common.clock import Ports
from libs.common.devstack.day import conversation, play
from libs.common.devstack.day.cast import PHARMACIST, STAFF, Caller, Casting, Patient, Person
from libs.common.devstack.day.plan import Planning
from libs.common.devstack.day.records import prescription, request
from libs.common.devstack.day.results import GLUCOSE, POTASSIUM
from libs.common.devstack.day.wire import Wire
from libs.common.devstack.mllp import Sender
from libs.common.devstack.part import Said
from libs.common.devstack.places import ROOT, SERVICES
from libs.common.devstack.stack import Stack
from libs.common.mongo.database import Database
from tests.e2e.given import Story

pytestmark = pytest.mark.timeout(300)  # a whole day is played first
NAME = "atrest1"
#: None of it is anybody's: identity numbers begin with a region's code, and there is no 00.
IDENTITY_NUMBER = "000000195001011234"
ADDRESS = "示例市无名路 8 号 3 单元 401"
PHONE = "10000008888"
NOTE = "这两天夜里睡不好，想早点拿到药"
SAID = "家里老人昨晚又咳了两声，要紧吗"
FILE = "出院小结：患者一般情况可，伤口愈合良好".encode()
FHIR_NAME, FHIR_ADDRESS = "样例·丙", "示例区样例街 3 号"
PUBLISHER = Caller("sample-fhir", ("integration",))


class Told:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def tell(self, part: str, said: Said) -> None:
        self.lines.append(said.en)

    def say(self, text: str) -> None:
        pass


def of_the_day(stack: Stack) -> Iterator[str]:
    """What is personal in the day: as :func:`play.play` casts it."""
    now = Ports().clock.now()
    page = f"http://127.0.0.1:{stack.ports.page}"
    casting = Casting(NAME, now.astimezone(play.ZONE).date(), f"{page}/webhook")
    plan = Planning(casting, now).plan()
    patients = [*plan.patients, casting.adult(age=66), casting.child("mother", age=9)]
    patients.append(casting.adult(age=71))
    people: list[Person] = [*patients, *(g for p in patients for _, g in p.guardians)]
    for person in people:
        yield from filter(None, (person.name, person.phone, person.email, person.webhook))
    for patient in patients:
        yield from (f"{patient.birth_date}", f"{patient.birth_date:%Y%m%d}")
    # What the rules name anyway says nothing of anybody.
    rules = "".join(f.read_text("utf-8") for f in (ROOT / "policies").rglob("*.yaml"))
    diagnoses = {s.diagnosis for s in plan.stays}
    yield from (word for word in chain.from_iterable(diagnoses) if word not in rules)
    yield from (conversation.QUESTION, conversation.ANSWER, "口服，每日一次，每次一片")
    yield from (GLUCOSE.display or "", POTASSIUM.display or "")
    yield from (p.name for p in STAFF.values())


@pytest.fixture(scope="module")
def personal(platform: Stack) -> Sequence[str]:
    """The day is over; what must be found nowhere."""
    told: Any = Told()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAY", NAME)
        assert play.play_day(platform, told) == 0, told.lines
    more = [IDENTITY_NUMBER, ADDRESS, PHONE, NOTE, SAID, FILE.decode()]
    more += [FHIR_NAME, FHIR_ADDRESS, b64encode(FILE).decode()]
    return [*dict.fromkeys(of_the_day(platform)), *more]


async def by_hl7(story: Story, patient: Patient) -> None:
    """A record, a report with a file, and what is refused: of whom is it?"""
    at = story.now().strftime("%Y%m%d%H%M%S+0000")
    pid = (
        f"PID|1||{patient.id}^^^^PI~{IDENTITY_NUMBER}^^^^NNCHN||{patient.name}||"
        f"{patient.birth_date:%Y%m%d}|F|||{ADDRESS}||^PRN^CP^^^^{PHONE}"
    )
    order = f"OBR|1||{patient.id}|24627-2^CT^LN|||{at}|||||||||d-3001||||||{at}||CT|F"
    file = f"^application^pdf^Base64^{b64encode(FILE * 4000).decode()}"
    told = (
        ("ADT^A08", f"EVN|A08|{at}", pid),
        ("ORU^R01", pid, "PV1|1|O|NEURO", order, f"OBX|1|ED|PDF^报告||{file}||||||F"),
        ("ADT^A03", f"PID|1||||{patient.name}|{ADDRESS}"),
    )
    answers = []
    async with Sender(story.wire.mllp) as his:
        for type, *segments in told:
            id = story.new_id("c")
            head = f"MSH|^~\\&|HIS|E2E|LIANXIN|LX|{at}||{type}|{id}|P|2.5.1||||||UNICODE UTF-8"
            message = "".join(f"{s}\r" for s in (head, *segments))
            answers.append((await his.send(message.encode())).code)
    assert answers == ["AA", "AA", "AR"]


async def by_fhir(wire: Wire) -> None:
    bundle = (ROOT / "tests/data/fhir/transaction-stay.json").read_text(encoding="utf-8")
    assert FHIR_NAME in bundle
    bundle = bundle.replace('"telecom"', f'"address": [{{"text": "{FHIR_ADDRESS}"}}], "telecom"', 1)
    await wire.call(PUBLISHER, "POST", "interop", "/fhir", body=json.loads(bundle))


async def renews(story: Story, wire: Wire, patient: Patient) -> None:
    await wire.publish(prescription(patient, story.ago(days=60)))
    await story.may_ask(patient.caller, patient)
    body = {**request(patient), "note": NOTE}
    asked = await wire.post(patient.caller, "prescriptions", "/v1/refills", body, 201)
    await story.decides(STAFF["d-3020"].caller, asked["id"], "approve", comment=SAID)
    await story.decides(PHARMACIST.caller, asked["id"], "pass")
    await wire.call(
        patient.caller,
        "PUT",
        "prescriptions",
        f"/v1/refills/{asked['id']}/fulfilment",
        body={
            "method": "delivery",
            "pharmacy_id": "riverside",
            "address": ADDRESS,
            "telephone": PHONE,
        },
        headers={"If-Match": "*"},
    )


def named(value: Any, personal: Sequence[str], at: str = "") -> Iterator[str]:
    """Where in a row somebody's name or words stand in plain."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from named(str(key), personal, at)
            yield from named(inner, personal, f"{at}.{key}")
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from named(inner, personal, at)
    elif isinstance(value, str | bytes):
        text = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
        for word in personal:
            if word in text:
                yield f"{at}: {word}"


async def found_in(database: Database, personal: Sequence[str]) -> Counter[str]:
    found: Counter[str] = Counter()
    for name in await database.collection_names():
        for row in await database.find_rows(database.raw(name), {}):
            found.update(named(row, personal, name))
    return found


def event_names() -> set[str]:
    """Every name that our code gives to a line of the log."""
    found: set[str] = set()
    for file in chain(*((ROOT / part).rglob("*.py") for part in ("libs", "services"))):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
                called = ast.unparse(node.func)
                if called.startswith("log.") or called == "level":
                    found.add(str(node.args[0].value))
    return found


async def test_nothing_that_is_stored_names_anybody(
    personal: Sequence[str], platform: Stack, story: Story, wire: Wire
) -> None:
    patient = await story.adult(age=63)
    await by_hl7(story, patient)
    await by_fhir(wire)
    await renews(story, wire, patient)
    member, group = await story.member()
    platform.kill("kafka", signal.SIGSTOP, wait=False)
    try:  # while the broker is silent, what is to be told waits in the outbox
        await wire.post(
            member.caller, "messaging", f"/v1/groups/{group}/messages", {"text": SAID}, 201
        )
        waiting = platform.database("lianxin_messaging")
        assert await waiting.find_rows(waiting.raw("outbox"), {})
        found = {}
        for service in SERVICES:
            database = platform.database(f"lianxin_{service}")
            found[service] = await found_in(database, personal)
            if service == "interop":
                assert await database.find_rows(database.raw("blobs.chunks"), {}), "the file"
            await database.close()
        assert found == {name: Counter() for name in SERVICES}
    finally:
        platform.kill("kafka", signal.SIGCONT, wait=False)
    await waiting.close()


async def test_a_name_in_plain_would_be_found(personal: Sequence[str], platform: Stack) -> None:
    database = platform.database("lianxin_notify")
    planted = {"_id": "h1/planted", "nested": [{"b": b"x" + personal[0].encode() + b"x"}]}
    try:
        await database.raw("planted").insert_one(planted)
        assert await found_in(database, personal) == {f"planted.nested.b: {personal[0]}": 1}
    finally:
        await database.raw("planted").drop()
        await database.close()


def test_no_span_names_anybody(personal: Sequence[str], platform: Stack) -> None:
    with closing(sqlite3.connect(platform.folder / "page" / "page.sqlite3")) as db:
        spans = db.execute("SELECT service, name, attributes FROM spans").fetchall()
    assert {service for service, *_ in spans} >= set(SERVICES)
    assert Counter(chain.from_iterable(named(span, personal) for span in spans)) == Counter()


def test_every_line_of_every_log_is_an_object_with_a_name_out_of_the_code_and_names_nobody(
    personal: Sequence[str], platform: Stack
) -> None:
    names = {*event_names(), "library_log"}
    assert "http_answered" in names
    for service in SERVICES:
        lines = (platform.folder / "logs" / f"{service}.log").read_text("utf-8").splitlines()
        told = [json.loads(line) for line in lines]
        assert {line["event"] for line in told} <= names, service
        assert {line["service"] for line in told} == {service}
        answered = [line for line in told if line["event"] == "http_answered"]
        assert answered and all(len(line["trace_id"]) == 32 for line in answered), service
        assert Counter(chain.from_iterable(named(t, personal) for t in told)) == Counter()
