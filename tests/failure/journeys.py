"""The three journeys in numbers: what hospital systems and people do, and what must come of it.

Everybody and everything in here is invented.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Iterable
from datetime import date, timedelta
from typing import Any

from libs.common.cloudevents import CloudEvent
from libs.common.devstack.day.records import WELL
from libs.common.events import (
    Department,
    Diagnosis,
    Disposition,
    EncounterDischarged,
    InvitationIssued,
    Medication,
    MemberJoined,
    PatientRegistered,
    PatientSnapshot,
    PrescriptionIssued,
    Quantity,
    RefillEffective,
    ReportKind,
    ReportReady,
    ReportStatus,
    ResultReleased,
)
from scripts import history_check
from services.prescriptions.main import load_policy
from services.prescriptions.settings import Settings
from tests.simulators.smtp import MailServer
from tests.simulators.webhooks import WebhookReceiver
from tests.support import topics
from tests.support.platform import PATIENCE, Hospital, eventually

DOCTOR, PHARMACIST = "d-3020", "ph-5001"
#: Programme, department, diagnosis.
PROGRAMMES = (
    ("stroke", "NEURO", "I63.900x001"),
    ("parkinson", "NEURO", "G20.x00"),
    ("colorectal-cancer", "GI-SURG", "C18.700"),
    ("gi-surgery", "GI-SURG", "K80.000"),
)
#: One patient of so many has e-mail, and the next one a webhook; the others the inbox alone.
REACHED = 5


def contacts(h: Hospital, n: int) -> dict[str, str]:
    if n % REACHED == 0:
        return {"email": f"p{n}@example.com"}
    if n % REACHED == 1:
        return {"webhook": f"http://127.0.0.1:{h.platform.webhook}/p{n}"}
    return {}


def discharge(
    h: Hospital, n: int, department: str, diagnosis: str, **changes: Any
) -> EncounterDischarged:
    now = h.ports.clock.now()
    born = changes.pop("birth_date", date(1960, 1, 1))
    given: dict[str, Any] = {
        "encounter_id": f"e{n}",
        "patient_id": f"p{n}",
        "patient": PatientSnapshot(name=f"甲{n}", birth_date=born, **contacts(h, n)),
        "department": Department(code=department),
        "diagnoses": (Diagnosis(code=diagnosis),),
        "discharged_at": now - timedelta(hours=1),
        "disposition": Disposition.HOME,
    }
    return EncounterDischarged(**{**given, **changes})


def registered(h: Hospital, n: int, **changes: Any) -> PatientRegistered:
    given: dict[str, Any] = {
        "patient_id": f"p{n}",
        "name": f"甲{n}",
        "birth_date": date(1960, 1, 1),
        "updated_at": h.ports.clock.now() - timedelta(days=1),
        **contacts(h, n),
    }
    return PatientRegistered(**{**given, **changes})


def report(h: Hospital, n: int, **changes: Any) -> ReportReady:
    now = h.ports.clock.now()
    given: dict[str, Any] = {
        "report_id": f"r{n}",
        "patient_id": f"p{n}",
        "kind": ReportKind.LABORATORY,
        "code": "2345-7",
        "title": "空腹血糖",
        "status": ReportStatus.FINAL,
        "issued_at": now,
        "conclusion": "正常。",
    }
    return ReportReady(**{**given, **changes})


def prescription(h: Hospital, n: int, **changes: Any) -> PrescriptionIssued:
    given: dict[str, Any] = {
        "prescription_id": f"rx{n}",
        "patient_id": f"p{n}",
        "medication": Medication(code="C08CA01", name="氨氯地平片", ingredient_code="C08CA01"),
        "dosage": "口服，每日一次，每次一片",
        "quantity": Quantity(value=7, unit="片"),
        "days_supply": 7,
        "prescriber_id": DOCTOR,
        "department": Department(code="CARDIO"),
        "issued_at": h.ports.clock.now() - timedelta(days=60),
    }
    return PrescriptionIssued(**{**given, **changes})


def require_each(found: Iterable[Any], wanted: Iterable[str], times: int = 1) -> None:
    """Each of ``wanted`` was found so often, and nobody else."""
    counted, ids = Counter(found), set(wanted)
    wrong = {id: counted[id] for id in {*ids, *counted} if counted[id] != times * (id in ids)}
    assert not wrong, f"{len(wrong)} were found not {times} times: {dict(list(wrong.items())[:20])}"


def require_order(told: Iterable[CloudEvent]) -> None:
    wrong = topics.out_of_order(told)
    assert not wrong, f"{len(wrong)} out of order: {wrong[:20]}"


class Discharges:
    """``count`` patients leave hospital; each shall be invited exactly once."""

    def __init__(self, h: Hospital, count: int) -> None:
        self.h, self.count = h, count

    def events(self, begin: int, end: int) -> list[CloudEvent]:
        found = []
        for n in range(begin, end):
            _, department, diagnosis = PROGRAMMES[n % len(PROGRAMMES)]
            found.append(self.h.event(discharge(self.h, n, department, diagnosis), id=f"d{n}"))
        return found

    async def check(self) -> None:
        h, wanted = self.h, [f"e{n}" for n in range(self.count)]
        rows = await h.rows("enrollment", "invitations")
        require_each((r["encounter_id"] for r in rows), wanted)
        seats = Counter(r["group_id"] for r in rows)
        groups = await h.rows("enrollment", "groups")
        assert {g["id"]: g["reserved"] + g["joined"] for g in groups} == dict(seats)
        assert all(g["reserved"] + g["joined"] <= g["limit"] for g in groups)
        told = await h.standing("enrollment.events", "enrollment.groups")
        issued = (
            e.data.encounter_id for e in topics.once(told) if isinstance(e.data, InvitationIssued)
        )
        require_each(issued, wanted)
        require_order(told)
        # messaging has made every group, with its two of the staff, once.
        made = await h.rows("messaging", "groups")
        assert sorted(g["id"] for g in made) == sorted(g["id"] for g in groups)


class Joining:
    """Every ``each``-th of the invited accepts as soon as the invitation has arrived."""

    def __init__(self, h: Hospital, count: int, each: int) -> None:
        self.h, self.wanted = h, {f"p{n}" for n in range(each - 1, count, each)}
        self.groups: dict[str, str] = {}

    async def run(self) -> None:
        async def arrived() -> list[Any]:
            rows = await self.h.rows("notify", "inbox_messages", template="invitation.issued")
            return [r for r in rows if r["person_id"] in self.wanted - self.groups.keys()]

        while self.wanted - self.groups.keys():
            links = {r["person_id"]: r["link"] for r in await eventually(arrived)}
            for person, link in links.items():
                await self._accept(person, link)

    async def _accept(self, person: str, link: str) -> None:
        body = {"token": link, "consent_to_rules": True, "consent_to_health_data": True}
        replica = "enrollment" if len(self.groups) % 2 else "enrollment-2"
        done = await self.h.insist("POST", replica, "/v1/invitations/accept", body=body)
        assert done.status_code == 200, done.text
        self.groups[person] = done.json()["group_id"]

    async def check(self) -> None:
        """Each is in the group, and has been welcomed once."""
        rows = await self.h.rows("messaging", "members", role="patient", active=True)
        assert sorted((r["person_id"], r["group_id"]) for r in rows) == sorted(self.groups.items())
        welcomes = await self.h.rows("messaging", "messages", kind="welcome")
        require_each((r["addressee_id"] for r in welcomes), self.wanted)
        told = await self.h.standing("enrollment.events", "messaging.events")
        joined = (e.data.person_id for e in topics.once(told) if isinstance(e.data, MemberJoined))
        require_each(joined, self.wanted)
        require_order(told)


class Reports:
    """A final report for each of the first ``count`` patients; each shall be told once."""

    def __init__(self, h: Hospital, count: int) -> None:
        self.h, self.count = h, count

    def events(self, begin: int, end: int) -> list[CloudEvent]:
        h, found = self.h, []
        for n in range(begin, min(end, self.count)):
            found.append(h.event(registered(h, n), id=f"reg{n}"))
            found.append(h.event(report(h, n), id=f"rep{n}"))
        return found

    async def check(self) -> None:
        told = await self.h.standing("reports.events")
        released = (
            e.data.report_id for e in topics.once(told) if isinstance(e.data, ResultReleased)
        )
        require_each(released, [f"r{n}" for n in range(self.count)])
        require_order(told)


class Told:
    """What must have reached whom, by which channel, how often."""

    def __init__(self, h: Hospital, mails: MailServer, hooks: WebhookReceiver) -> None:
        self.h, self.mails, self.hooks = h, mails, hooks

    async def check(self, template: str, persons: Iterable[int], each: int = 1) -> None:
        """Each of ``persons`` has ``each`` messages of ``template`` in the inbox, not more."""
        rows = await self.h.rows("notify", "inbox_messages", template=template)
        require_each((r["person_id"] for r in rows), [f"p{n}" for n in persons], each)

    async def check_calls(self) -> None:
        """E-mail: one Message-ID, taken once or twice. Webhook: one key, taken at least once."""
        rows = await self.h.rows("notify", "deliveries")
        assert rows
        lost = [(r["channel"], r["reason"], r["attempt"]) for r in rows if r["status"] != "sent"]
        assert not lost, lost
        mails = Counter(m.message_id for m in self.mails.mails)
        wanted = {f"<{r['key']}@hospital.example>" for r in rows if r["channel"] == "email"}
        assert set(mails) == wanted, set(mails) ^ wanted
        assert max(mails.values(), default=1) <= 2, mails.most_common(3)
        keys = {(r.data["notification_id"], r.key) for r in self.hooks.received}
        wanted_keys = {(r["notification_id"], r["key"]) for r in rows if r["channel"] == "webhook"}
        assert keys == wanted_keys, keys ^ wanted_keys


#: Refusals of a request that came before the hospital's events of that patient.
_EARLY = frozenset({"age_unknown", "unchecked"})


class Refills:
    """Patients who ask for the same medicine over and over, twice at a time."""

    def __init__(self, h: Hospital, numbers: Iterable[int], pace: float = 0.0) -> None:
        self.h, self.numbers, self.pace = h, list(numbers), pace
        self._random = random.Random(64)  # spreads the steps of patients, decides nothing
        self.effective: Counter[str] = Counter()
        self.refused: set[str] = set()

    def events(self) -> list[CloudEvent]:
        h, found = self.h, []
        for n in self.numbers:
            found.append(h.event(registered(h, n), id=f"reg{n}"))
            found.append(h.event(prescription(h, n), id=f"rx{n}"))
        return found

    async def run(self) -> None:
        async with asyncio.TaskGroup() as all:
            for n in self.numbers:
                all.create_task(self._of(n))

    async def _of(self, n: int) -> None:
        """Until the rule says that it was often enough; at most five times."""
        patient = f"p{n}"
        for attempt in range(5):
            await self._pause()
            answers = await asyncio.gather(*(self._ask(n, f"{n}-{attempt}-{i}") for i in "ab"))
            reasons = {a["reason"] for a in answers if a["reason"]}
            assert reasons <= {"open_request", "renewal_limit_reached"}, reasons
            accepted = [a for a in answers if not a["reason"]]
            assert len(accepted) <= 1
            if "renewal_limit_reached" in reasons:
                self.refused.add(patient)
            if not accepted:
                return
            await self._decide(patient, accepted[0])

    async def _ask(self, n: int, key: str) -> dict[str, Any]:
        """Ask, and with the same key once more: one answer."""
        body = {"prescription_id": f"rx{n}", "patient_id": f"p{n}", "declaration": WELL}
        headers = self.h.headers(f"p{n}", "patient")
        async with asyncio.timeout(PATIENCE):
            while True:
                first = await self.h.insist(
                    "POST", "prescriptions", "/v1/refills", body=body, headers=headers, key=key
                )
                # Unchecked: what it rests on came while it was asked, and it says to ask again.
                early = first.status_code == 422 and first.json()["reason"] in _EARLY
                if first.status_code != 404 and not early:  # record and prescription are there
                    break
                await asyncio.sleep(0.5)
                key += "'"
        assert first.status_code in (201, 422), first.text
        again = await self.h.insist(
            "POST", "prescriptions", "/v1/refills", body=body, headers=headers, key=key
        )
        answers = [a.json() for a in (first, again)]
        assert answers[0] == answers[1]
        assert again.headers["Idempotency-Replayed"] == "true"
        return {"reason": None, **answers[0]}

    async def _decide(self, patient: str, refill: dict[str, Any]) -> None:
        doctor = self.h.headers(DOCTOR, "doctor", departments=("CARDIO",))
        pharmacist = self.h.headers(PHARMACIST, "pharmacist")
        path = f"/v1/refills/{refill['id']}"
        await self._pause()
        await self._step(f"{path}/doctor-decision", doctor, "approve", "waiting_pharmacist")
        await self._pause()
        await self._step(f"{path}/pharmacist-review", pharmacist, "pass", "effective")
        self.effective[patient] += 1

    async def _step(self, path: str, headers: dict[str, str], decision: str, leads_to: str) -> None:
        """Decide on whatever version there is, until that is how it stands."""
        refill = path.rpartition("/")[0]
        async with asyncio.timeout(PATIENCE):
            while True:
                now = await self.h.insist("GET", "prescriptions", refill, headers=headers)
                assert now.status_code == 200, now.text
                if now.json()["status"] == leads_to:
                    return
                headers = {**headers, "If-Match": now.headers["ETag"]}
                # An answer that was lost makes the repetition a 409 or a 412: look again.
                done = await self.h.insist(
                    "POST", "prescriptions", path, body={"decision": decision}, headers=headers
                )
                assert done.status_code in (200, 409, 412), done.text

    async def _pause(self) -> None:
        await asyncio.sleep(self.pace * self._random.uniform(0.5, 1.5))

    async def check(self) -> None:
        patients = [f"p{n}" for n in self.numbers]
        require_each(self.effective.elements(), patients, times=3)
        assert self.refused == set(patients)
        rows = await self.h.rows("prescriptions", "refills", status="effective")
        require_each((r["patient_id"] for r in rows), patients, times=3)
        told = await self.h.standing("prescriptions.events")
        effective = [e.data for e in topics.once(told) if isinstance(e.data, RefillEffective)]
        require_each((e.patient_id for e in effective), patients, times=3)
        assert {e.number for e in effective} == {1, 2, 3}
        require_order(told)
        database, now = self.h.database("prescriptions"), self.h.ports.clock.now()
        found, _ = await history_check.check(database, self.h.id, load_policy(Settings()), now)
        assert found == []
