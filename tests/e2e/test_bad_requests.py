"""Is every wrong request answered with the right problem, by every service, as it runs?"""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from libs.common.dev_issuer import DevelopmentIssuer
from libs.common.devstack.day.cast import Caller
from libs.common.devstack.day.records import prescription, report
from libs.common.devstack.day.wire import HOSPITAL, Wire
from libs.common.devstack.places import SERVICES
from libs.common.devstack.stack import Stack
from tests.e2e.given import Story

PATIENT = Caller("p-nobody", ("patient",))
DOCTOR = Caller("d-3001", ("doctor",), ("NEURO",))
OPS = Caller("ops-1", ("ops",))
PHARMACIST = Caller("ph-5001", ("pharmacist",))
OPS = Caller("ops-1", ("ops",))

#: One route of each service that needs a token, and who may call it.
GUARDED = {
    "enrollment": ("/v1/memberships", PATIENT),
    "messaging": ("/v1/groups", PATIENT),
    "reports": ("/v1/reports", PATIENT),
    "prescriptions": ("/v1/work-lists/doctor", DOCTOR),
    "notify": ("/v1/inbox", PATIENT),
    "interop": ("/v1/messages", OPS),
}


def problem_of(answer: httpx.Response, status: int) -> dict[str, Any]:
    """The problem detail (RFC 9457) that ``answer`` must be."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    found: dict[str, Any] = answer.json()
    assert found["status"] == status and found["title"]
    assert found["type"] == f"https://lianxin.example/problems/{found['reason']}"
    return found


# -- tokens -------------------------------------------------------------------------------


def tokens(issuer: DevelopmentIssuer) -> dict[str, tuple[str | None, str]]:
    """What is wrong with the token -> the header, and the reason of the refusal."""
    person: dict[str, Any] = {"person": "p-1", "hospital": HOSPITAL, "roles": ["patient"]}
    good = issuer.token(**person)
    thief = DevelopmentIssuer(
        ec.generate_private_key(ec.SECP256R1()), issuer=issuer.issuer, audience=issuer.audience
    )
    head, body, _ = good.split(".")
    unsigned = jwt.encode(jwt.decode(good, options={"verify_signature": False}), "", "none")
    return {
        "none": (None, "token_missing"),
        "another scheme": ("Basic cDpw", "token_missing"),
        "no token at all": ("Bearer garbage", "token_invalid"),
        "expired": (
            f"Bearer {issuer.token(**person, lifetime=timedelta(hours=-1))}",
            "token_expired",
        ),
        "forged by another key": (f"Bearer {thief.token(**person)}", "token_invalid"),
        "signature taken away": (f"Bearer {head}.{body}.", "token_invalid"),
        "algorithm none": (f"Bearer {unsigned}", "token_invalid"),
        "another issuer": (
            f"Bearer {issuer.token(**person, claims={'iss': 'https://elsewhere.example'})}",
            "token_foreign",
        ),
        "another audience": (
            f"Bearer {issuer.token(**person, claims={'aud': 'another-app'})}",
            "token_foreign",
        ),
        "without hospital": (
            f"Bearer {issuer.token(**person, claims={'hospital': None})}",
            "token_invalid",
        ),
    }


@pytest.mark.parametrize("service", SERVICES)
async def test_a_token_that_is_not_to_be_trusted_is_refused_with_its_reason(
    wire: Wire, service: str
) -> None:
    path, _ = GUARDED[service]
    for what, (header, reason) in tokens(wire.issuer).items():
        headers = {} if header is None else {"Authorization": header}
        answer = await wire.call(None, "GET", service, path, expect=None, headers=headers)
        problem = problem_of(answer, 401)
        assert problem["reason"] == reason, what
        assert answer.headers["www-authenticate"].startswith("Bearer"), what


@pytest.mark.parametrize("service", SERVICES)
async def test_a_role_that_may_not_is_refused(wire: Wire, service: str) -> None:
    path, _ = GUARDED[service]
    role = "patient" if service == "interop" else "integration"
    answer = await wire.call(Caller("x-1", (role,)), "GET", service, path, expect=None)
    assert problem_of(answer, 403)["reason"] == "role_not_allowed"


# -- requests -----------------------------------------------------------------------------


@pytest.mark.parametrize("service", SERVICES)
async def test_what_is_at_no_address_is_said_so(wire: Wire, service: str) -> None:
    path, who = GUARDED[service]
    nowhere = await wire.call(who, "GET", service, "/v1/nothing", expect=None)
    assert problem_of(nowhere, 404)["reason"] == "no_such_route"
    deleted = await wire.call(who, "DELETE", service, path, expect=None)
    assert problem_of(deleted, 405)["reason"] == "method_not_allowed"
    assert "GET" in deleted.headers["allow"]
    for query in ({"limit": 0}, {"limit": "many"}, {"cursor": "?"}):
        answer = await wire.call(who, "GET", service, path, expect=None, query=query)
        assert problem_of(answer, answer.status_code)["errors"][0]["location"] == "query"
        assert answer.status_code in (400, 422)


REFILL = {"prescription_id": "rx-1", "patient_id": "p-nobody"}
BODIES: list[tuple[str, str, Caller | None, Any, str]] = [
    # service, path, who, body, the field that is wrong
    ("enrollment", "/v1/invitations/accept", None, {}, "/token"),
    ("enrollment", "/v1/invitations/accept", None, {"token": 7}, "/token"),
    ("enrollment", "/v1/invitations/decline", None, {"token": "no token"}, "/token"),
    ("enrollment", "/v1/invitations/preview", None, [], ""),
    ("messaging", "/v1/groups/g-1/messages", PATIENT, {}, "/text"),
    ("messaging", "/v1/groups/g-1/messages", PATIENT, {"text": ["a"]}, "/text"),
    ("messaging", "/v1/groups/g-1/messages", PATIENT, {"text": "   "}, "/text"),
    ("messaging", "/v1/groups/g-1/messages", PATIENT, {"text": "a" * 2001}, "/text"),
    ("messaging", "/v1/groups/g-1/messages", PATIENT, {"text": "a", "kind": "rules"}, "/kind"),
    ("prescriptions", "/v1/refills", PATIENT, {"patient_id": "p-1"}, "/prescription_id"),
    ("prescriptions", "/v1/refills", PATIENT, REFILL | {"patient_id": 1}, "/patient_id"),
    ("prescriptions", "/v1/refills", PATIENT, REFILL | {"note": ""}, "/note"),
    ("prescriptions", "/v1/refills", PATIENT, REFILL | {"number": 9}, "/number"),
    ("prescriptions", "/v1/refills/x/doctor-decision", DOCTOR, {"decision": "maybe"}, "/decision"),
    ("prescriptions", "/v1/refills/x/doctor-decision", DOCTOR, {"decision": []}, "/decision"),
    ("prescriptions", "/v1/refills/x/pharmacist-review", PHARMACIST, {}, "/decision"),
]


@pytest.mark.parametrize(("service", "path", "who", "body", "field"), BODIES)
async def test_a_wrong_body_is_answered_with_the_field_that_is_wrong(
    wire: Wire, service: str, path: str, who: Caller | None, body: Any, field: str
) -> None:
    answer = await wire.call(
        who, "POST", service, path, body=body, expect=None, headers={"If-Match": "*"}
    )

    problem = problem_of(answer, 422)
    assert problem["reason"] == "invalid_request"
    assert ("body", field) in [(e["location"], e["field"]) for e in problem["errors"]]
    assert all(e["message"] for e in problem["errors"])


async def test_what_is_no_json_is_refused(wire: Wire) -> None:
    url = wire.services["prescriptions"] + "/v1/refills"
    headers = {"Authorization": f"Bearer {wire.token(PATIENT)}", "Idempotency-Key": "k-1"}
    async with httpx.AsyncClient(trust_env=False, timeout=30) as client:

        async def send(content: bytes, kind: str = "application/json") -> httpx.Response:
            return await client.post(
                url, content=content, headers={**headers, "Content-Type": kind}
            )

        broken = await send(b'{"prescription_id": ')
        assert problem_of(broken, 422)["reason"] == "invalid_request"
        problem_of(await send(b"prescription_id=rx-1", "application/x-www-form-urlencoded"), 422)


async def test_a_body_that_is_announced_as_too_large_is_not_even_read(wire: Wire) -> None:
    url = httpx.URL(wire.services["prescriptions"])
    reader, writer = await asyncio.open_connection(url.host, url.port)
    request = (
        "POST /v1/refills HTTP/1.1",
        f"Host: {url.host}",
        f"Authorization: Bearer {wire.token(PATIENT)}",
        "Content-Type: application/json",
        "Content-Length: 2000000",
    )
    writer.write("\r\n".join((*request, "", "")).encode())
    async with asyncio.timeout(30):
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()

    assert head.startswith(b"HTTP/1.1 413 ")
    assert json.loads(body)["reason"] == "body_too_large"


async def test_a_post_that_creates_needs_an_idempotency_key(wire: Wire) -> None:
    for headers, reason in (
        ({}, "idempotency_key_missing"),
        ({"Idempotency-Key": "with blanks"}, "idempotency_key_invalid"),
    ):
        async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
            answer = await client.post(
                wire.services["prescriptions"] + "/v1/refills",
                json=REFILL,
                headers={"Authorization": f"Bearer {wire.token(PATIENT)}", **headers},
            )
        assert problem_of(answer, 400)["reason"] == reason


UNKNOWN: list[tuple[str, str, str, Caller | None, Any]] = [
    ("GET", "messaging", "/v1/groups/none", PATIENT, None),
    ("GET", "messaging", "/v1/groups/none/messages", PATIENT, None),
    ("GET", "messaging", "/v1/groups/none/live", PATIENT, None),
    ("POST", "messaging", "/v1/groups/none/messages", PATIENT, {"text": "a"}),
    ("GET", "reports", "/v1/reports/none", PATIENT, None),
    ("POST", "reports", "/v1/reports/none/release", DOCTOR, None),
    ("GET", "prescriptions", "/v1/refills/none", PATIENT, None),
    ("POST", "prescriptions", "/v1/refills", PATIENT, REFILL),
    ("POST", "prescriptions", "/v1/refills/none/cancel", PATIENT, None),
    ("POST", "prescriptions", "/v1/refills/none/doctor-decision", DOCTOR, {"decision": "approve"}),
    ("POST", "prescriptions", "/v1/refills/none/pharmacist-review", PHARMACIST,
     {"decision": "pass"}),
    ("POST", "notify", "/v1/inbox/none/read", PATIENT, None),
    ("GET", "notify", "/v1/notifications/none", OPS, None),
    ("POST", "enrollment", "/v1/memberships/none/leave", PATIENT, None),
    ("POST", "enrollment", "/v1/consents/none/withdraw", PATIENT, None),
    ("POST", "enrollment", "/v1/staff-tasks/none/close", OPS, None),
    ("POST", "enrollment", "/v1/invitations/none/reissue", OPS, None),
    ("POST", "enrollment", "/v1/invitations/preview", None, {"token": f"{HOSPITAL}.{'x' * 43}"}),
    ("POST", "enrollment", "/v1/invitations/accept", None,
     {"token": f"{HOSPITAL}.{'x' * 43}", "consent_to_rules": True}),
]  # fmt: skip


@pytest.mark.parametrize(("method", "service", "path", "who", "body"), UNKNOWN)
async def test_what_does_not_exist_is_404(
    wire: Wire, method: str, service: str, path: str, who: Caller | None, body: Any
) -> None:
    answer = await wire.call(
        who, method, service, path, body=body, expect=None, headers={"If-Match": "*"}
    )
    assert problem_of(answer, 404)["reason"] == "not_found"


# -- other people's -----------------------------------------------------------------------


async def test_somebody_elses_things_are_the_same_404_as_what_does_not_exist(
    story: Story, wire: Wire
) -> None:
    patient, stranger = await story.adult(age=55), await story.adult()
    sent = await story.released(report(patient, story.new_id("r"), story.now()))
    await wire.publish(prescription(patient, story.ago(days=30)))
    await story.may_ask(patient.caller, patient)
    refill = await story.asks(patient.caller, patient)
    message = await wire.told(patient.caller, "report.ready")

    for method, service, path in (
        ("GET", "reports", f"/v1/reports/{sent.report_id}"),
        ("GET", "prescriptions", "/v1/refills/{}".format(refill["id"])),
        ("POST", "prescriptions", "/v1/refills/{}/cancel".format(refill["id"])),
        ("POST", "notify", "/v1/inbox/{}/read".format(message["id"])),
    ):
        theirs = await wire.call(stranger.caller, method, service, path, expect=None)
        parts = path.split("/")
        parts[3] = "none"
        nothing = await wire.call(stranger.caller, method, service, "/".join(parts), expect=None)
        assert problem_of(theirs, 404) == problem_of(nothing, 404), path
    listed = await wire.call(
        stranger.caller, "GET", "reports", "/v1/reports", expect=None,
        query={"patient_id": patient.id},
    )  # fmt: skip
    assert problem_of(listed, 404)


async def test_another_hospital_sees_nothing_of_this_one(
    story: Story, wire: Wire, platform: Stack
) -> None:
    patient = await story.adult()
    sent = await story.released(report(patient, story.new_id("r"), story.now()))
    await wire.told(patient.caller, "report.ready")
    elsewhere = wire.issuer.token(person=patient.id, hospital="h2", roles=["patient", "doctor"],
                                  departments=["NEURO"])  # fmt: skip

    async def there(service: str, path: str) -> httpx.Response:
        headers = {"Authorization": f"Bearer {elsewhere}"}
        return await wire.call(None, "GET", service, path, expect=None, headers=headers)

    problem_of(await there("reports", f"/v1/reports/{sent.report_id}"), 404)
    for service, path in (("notify", "/v1/inbox"), ("reports", "/v1/reports"),
                          ("messaging", "/v1/groups")):  # fmt: skip
        assert (await there(service, path)).json()["items"] == []


async def test_a_key_that_was_used_for_another_request_is_refused_even_at_once(
    story: Story, wire: Wire
) -> None:
    patient, group_id = await story.member()
    path = f"/v1/groups/{group_id}/messages"

    async def say(text: str, who: Caller = patient.caller) -> httpx.Response:
        headers = {"Idempotency-Key": key}
        return await wire.call(
            who, "POST", "messaging", path, body={"text": text}, expect=None, headers=headers
        )

    key = story.new_id("key")
    answers = await asyncio.gather(*(say("你好") for _ in range(8)))
    assert {a.status_code for a in answers} == {201}
    assert len({a.json()["id"] for a in answers}) == 1, "eight times the same is once"
    assert problem_of(await say("再见"), 422)["reason"] == "idempotency_key_reused"
    neighbour, _ = await story.member()
    assert (await say("再见", neighbour.caller)).status_code == 201, "a key is its sender's own"
