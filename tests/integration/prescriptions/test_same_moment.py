"""When several people act on one renewal at the same moment, does one win and hear the others?

At two replicas, each with the version that all of them have read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import httpx
import pytest

from services.prescriptions.domain.documents import Refill
from services.prescriptions.domain.history import faults
from services.prescriptions.domain.transitions import STAGE, Status
from services.prescriptions.main import load_policy
from services.prescriptions.settings import Settings
from services.prescriptions.store import REFILLS
from tests.integration.prescriptions.given import Hospital, ask, decide, review

pytestmark = pytest.mark.asyncio(loop_scope="module")

Body = Mapping[str, Any]
Act = Callable[[Hospital, Body, int], Awaitable[httpx.Response]]
#: How often each is tried, with the replicas changed about.
TIMES = 6


def doctor(person: str, decision: str, **more: Any) -> Act:
    async def act(hospital: Hospital, refill: Body, replica: int) -> httpx.Response:
        return await decide(hospital.doctor(person, replica=replica), refill, decision, **more)

    return act


def pharmacist(person: str, decision: str, **more: Any) -> Act:
    async def act(hospital: Hospital, refill: Body, replica: int) -> httpx.Response:
        return await review(hospital.pharmacist(person, replica=replica), refill, decision, **more)

    return act


def cancel(*, if_match: bool) -> Act:
    async def act(hospital: Hospital, refill: Body, replica: int) -> httpx.Response:
        headers = {"If-Match": f'"{refill["version"]}"'} if if_match else {}
        caller = hospital.patient(refill["patient_id"], replica)
        return await caller.post(f"/v1/refills/{refill['id']}/cancel", headers=headers)

    return act


async def asked(hospital: Hospital, patient: str) -> Body:
    await hospital.prescribe(f"rx-{patient}", patient=patient)
    answer = await ask(hospital.patient(patient), f"rx-{patient}", patient)
    return dict(answer.json())


async def approved(hospital: Hospital, patient: str) -> Body:
    refill = await asked(hospital, patient)
    return dict((await decide(hospital.doctor(), refill, "approve")).json())


async def returned(hospital: Hospital, patient: str) -> Body:
    refill = await approved(hospital, patient)
    answer = await review(hospital.pharmacist("ph9"), refill, "return", reason="dose")
    return dict(answer.json())


APPROVE, DECLINE = doctor("dr1", "approve"), doctor("dr1", "decline", reason="not_appropriate")
PASS = pharmacist("ph1", "pass")

RACES: dict[str, tuple[Callable[[Hospital, str], Awaitable[Body]], list[Act], set[Status]]] = {
    "two doctors": (
        asked,
        [APPROVE, doctor("dr2", "decline", reason="not_appropriate"), doctor("dr3", "approve")],
        {Status.WAITING_PHARMACIST, Status.DECLINED},
    ),
    "a doctor and the patient": (
        asked,
        [APPROVE, cancel(if_match=True), cancel(if_match=True)],
        {Status.WAITING_PHARMACIST, Status.CANCELLED},
    ),
    "a doctor and a pharmacist, while it lies with the pharmacist": (
        approved,
        [DECLINE, PASS],
        {Status.EFFECTIVE},
    ),
    "a doctor and a pharmacist, while it lies with the doctor": (
        returned,
        [APPROVE, PASS],
        {Status.WAITING_PHARMACIST},
    ),
    "two pharmacists": (
        approved,
        [
            PASS,
            pharmacist("ph2", "return", reason="dose"),
            pharmacist("ph3", "refuse", reason="dose"),
        ],
        {Status.EFFECTIVE, Status.RETURNED, Status.REFUSED},
    ),
    "a pharmacist and the patient": (
        approved,
        [PASS, cancel(if_match=False)],
        {Status.EFFECTIVE, Status.CANCELLED},
    ),
    "all of them": (
        approved,
        [PASS, DECLINE, pharmacist("ph2", "pass"), cancel(if_match=True), cancel(if_match=False)],
        {Status.EFFECTIVE, Status.CANCELLED},
    ),
}


@pytest.mark.parametrize("race", RACES)
async def test_one_wins_and_the_others_are_told(hospital: Hospital, race: str) -> None:
    before, acts, possible = RACES[race]
    refills = hospital.service.database.collection(REFILLS)
    for n in range(TIMES):
        refill = await before(hospital, f"p{n}")
        turned = acts[n % len(acts) :] + acts[: n % len(acts)]
        answers = await asyncio.gather(
            *(act(hospital, refill, (n + m) % 2) for m, act in enumerate(turned))
        )
        [won] = [a.json() for a in answers if a.status_code == 200]
        for lost in (a for a in answers if a.status_code != 200):
            assert (lost.status_code, lost.json()["reason"]) in (
                (412, "changed"),
                (409, "wrong_status"),
            )
            assert lost.json()["detail"]
        stored = await refills.get(hospital.id, refill["id"])
        assert stored is not None
        assert stored.status in possible
        # It is the winner's step, and the only one that was added.
        assert (won["status"], won["version"]) == (stored.status, refill["version"] + 1)
        assert stored.version == won["version"]
        assert list(faults(stored, load_policy(Settings()))) == []
        await holds_its_place(hospital, stored)


async def holds_its_place(hospital: Hospital, refill: Refill) -> None:
    rows = await hospital.service.rows("renewal_accounts", hospital.id)
    [account] = [a for a in rows if a["patient_id"] == refill.patient_id]
    assert account["open"] == ([refill.id] if refill.status in STAGE else [])
    counted = [r["refill_id"] for r in account["renewals"]]
    assert counted == ([refill.id] if refill.status is Status.EFFECTIVE else [])
