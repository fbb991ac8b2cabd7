"""Is every change told to an open list, whenever it was stored, and where it now stands?"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any, cast

import pytest

from libs.common.decision import Decision
from libs.common.http.sse import Pushed
from libs.common.wakes import Wakes
from services.prescriptions.api import live
from services.prescriptions.api.live import LOOK_BACK, REPLAY, Watch, changes, concerned, new_wakes
from services.prescriptions.domain.assigning import Claim
from services.prescriptions.domain.documents import Refill
from services.prescriptions.domain.transitions import Status
from services.prescriptions.handlers import CLAIM
from services.prescriptions.store import CHANGED_FIELDS, Store
from tests.unit.prescriptions.given import (
    DOCTOR,
    HOUR,
    NOW,
    PATIENT,
    PHARMACIST,
    Hospital,
    hospital,
)

SECOND = timedelta(seconds=1)
KEY = "department/cardiology"


class Kept:
    """Renewals of a hospital, as the store would find them."""

    def __init__(self) -> None:
        self.refills: dict[str, Refill] = {}

    def put(self, *refills: Refill) -> None:
        self.refills |= {r.id: r for r in refills}

    async def changed(self, hospital: str, since: datetime, limit: int) -> list[dict[str, Any]]:
        found = sorted(
            (r for r in self.refills.values() if r.changed_at >= since),
            key=lambda r: (r.changed_at, r.id),
        )
        return [r.model_dump(include=set(CHANGED_FIELDS)) for r in found[:limit]]

    async def refills_by_id(self, hospital: str, ids: Iterable[str]) -> list[Refill]:
        return [self.refills[id] for id in ids]


class Listener:
    """One open stream, under a clock that can be set."""

    def __init__(
        self,
        kept: Kept,
        last: datetime | None = None,
        sees: Callable[[Refill], bool] = lambda _refill: True,
    ) -> None:
        self.now = NOW
        self.allowed = True
        self.pushed: list[Pushed] = []
        self._wakes = new_wakes()
        watch = Watch(
            frozenset((KEY,)), sees, lambda r: r.stage is not None, lambda _r: None, self._may
        )
        self._events = changes(
            watch, "h1", last, store=cast(Store, kept), wakes=self._wakes, now=lambda: self.now,
            sleep=self._sleep,
        )  # fmt: skip
        self.task = asyncio.create_task(self._listen())

    async def _may(self) -> bool:
        return self.allowed

    async def _sleep(self, _seconds: float) -> None:
        await asyncio.sleep(0)

    async def _listen(self) -> None:
        async for pushed in self._events:
            self.pushed.append(pushed)

    async def heard(self) -> list[tuple[str, int, bool] | str]:
        """What came since the last look, after a wake."""
        for _ in range(10):
            await asyncio.sleep(0)
        self._wakes.wake(("h1", KEY))
        for _ in range(50):
            await asyncio.sleep(0)
        new, self.pushed = self.pushed, []
        return [
            "reset" if p.event == "reset" else (p.data["id"], p.data["version"], p.data["listed"])
            for p in new
        ]


@asynccontextmanager
async def listening(kept: Kept, **more: Any) -> AsyncIterator[Listener]:
    listener = Listener(kept, **more)
    yield listener
    listener.task.cancel()
    await asyncio.gather(listener.task, return_exceptions=True)


def asked(case: Hospital, at: datetime) -> Refill:
    """A renewal that was asked for at that moment."""
    case.now = at
    return case.refill(case.asked())


def changed(refill: Refill, at: datetime, status: Status = Status.WAITING_PHARMACIST) -> Refill:
    step = refill.history[-1].model_copy(update={"at": at})
    over = status not in (Status.WAITING_DOCTOR, Status.WAITING_PHARMACIST)
    next: Refill = refill.but(
        version=refill.version + 1,
        status=status,
        stage=None if over else refill.stage,
        history=(*refill.history, step),
    )
    return next


async def test_a_stream_begins_with_a_reset_and_not_with_what_the_list_shows_anyway() -> None:
    kept, one = Kept(), asked(hospital(), NOW - SECOND)
    kept.put(one)
    async with listening(kept) as listener:
        assert await listener.heard() == ["reset"]
        kept.put(changed(one, NOW))
        assert await listener.heard() == [(one.id, 2, True)]
        assert await listener.heard() == []
        kept.put(changed(changed(one, NOW), NOW, Status.CANCELLED))
        assert await listener.heard() == [(one.id, 3, False)]  # it has left the list


async def test_what_is_stored_late_is_told_all_the_same() -> None:
    kept, one = Kept(), asked(hospital(), NOW - HOUR)
    async with listening(kept) as listener:
        await listener.heard()
        for late in (SECOND, LOOK_BACK - SECOND):
            listener.now += HOUR
            assert await listener.heard() == []
            one = changed(one, listener.now - late + SECOND)
            listener.now += SECOND
            kept.put(one)
            assert await listener.heard() == [(one.id, one.version, True)]
            listener.now += SECOND
            assert await listener.heard() == []


async def test_after_a_reconnect_all_since_is_told_and_after_long_the_list_is_read_anew() -> None:
    kept, one = Kept(), asked(hospital(), NOW - HOUR)
    kept.put(changed(one, NOW - 30 * SECOND))
    async with listening(kept, last=NOW - 40 * SECOND) as listener:
        assert await listener.heard() == [(one.id, 2, True)]
    async with listening(kept, last=NOW - 10 * SECOND) as listener:
        assert await listener.heard() == []
    async with listening(kept, last=NOW - REPLAY - SECOND) as listener:
        assert await listener.heard() == ["reset"]


async def test_a_burst_is_told_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "AT_A_TIME", 5)
    kept, one = Kept(), asked(hospital(), NOW - HOUR)
    many = [changed(one.but(id=f"r{n:02}"), NOW + n // 3 * SECOND) for n in range(23)]
    async with listening(kept) as listener:
        await listener.heard()
        kept.put(*many)
        listener.now += 8 * SECOND
        assert await listener.heard() == [(r.id, 2, True) for r in many]
        assert await listener.heard() == []


async def test_who_may_no_longer_see_hears_no_more() -> None:
    kept, one = Kept(), asked(hospital(), NOW - HOUR)
    async with listening(kept) as listener:
        await listener.heard()
        listener.allowed = False
        kept.put(changed(one, NOW))
        assert await listener.heard() == []
        assert listener.task.done()


async def test_what_concerns_others_or_may_not_be_seen_is_not_told() -> None:
    kept, one = Kept(), asked(hospital(), NOW - HOUR)
    async with listening(kept, sees=lambda r: r.id != "hidden") as listener:
        await listener.heard()
        kept.put(
            changed(one.but(id="hidden"), NOW),
            changed(one.but(id="theirs", department_code="surgery"), NOW),
            changed(one, NOW),
        )
        assert await listener.heard() == [(one.id, 2, True)]


async def test_what_is_pushed_names_no_patient_and_no_medicine() -> None:
    kept, one = Kept(), asked(hospital(), NOW - HOUR)
    async with listening(kept, last=NOW - SECOND) as listener:
        kept.put(changed(one, NOW))
        for _ in range(50):
            await asyncio.sleep(0)
        [pushed] = listener.pushed
    assert pushed.data == {
        "id": one.id,
        "version": 2,
        "status": "waiting_pharmacist",
        "stage": "doctor",
        "listed": True,
        "holder_id": None,
    }
    assert pushed.id == "2026-03-02T02:00:00.000+00:00"


def test_every_step_of_a_renewal_bears_the_moment_at_which_it_was_taken() -> None:
    """Or an open list would never hear of it."""
    case = hospital()
    steps: list[Callable[[str], Any]] = [
        lambda id: case.command(CLAIM, Claim(), actor=DOCTOR, subject=id),
        lambda id: case.doctor(id, "approve"),
        lambda id: case.pharmacist(id, "return"),
        lambda id: case.doctor(id, "approve"),
        lambda id: case.pharmacist(id, "pass"),
    ]
    id = case.asked()
    for step in steps:
        case.advance(HOUR)
        assert isinstance(step(id), Decision)
        assert case.refill(id).changed_at == case.now


def test_a_change_concerns_its_department_its_people_and_once_signed_the_pharmacists() -> None:
    case = hospital()
    id = case.asked(by=PATIENT)
    assert set(concerned(vars(case.refill(id)))) == {
        "department/cardiology",
        "patient/p1",
        "practitioner/dr1",
    }
    case.doctor(id, "approve", by=DOCTOR)
    case.pharmacist(id, "return", by=PHARMACIST)
    assert set(concerned(vars(case.refill(id)))) == {
        "department/cardiology",
        "patient/p1",
        "practitioner/dr1",
        "pharmacists",
    }
    row = {"department_code": "surgery", "patient_id": "p1", "signed_at": None}
    assert set(concerned(row)) == {"department/surgery", "patient/p1"}


async def test_what_this_process_commits_wakes_who_is_concerned() -> None:
    case = hospital()
    wakes: Wakes = new_wakes()
    answer = case.ask()
    with (
        wakes.waiting([("h1", "department/cardiology")]) as mine,
        wakes.waiting([("h1", "department/surgery"), ("h1", "pharmacists")]) as others,
    ):
        live.waker(wakes)(case.command_input("x", case.refill(case.docs(Refill)[0].id)), answer)
        assert mine.is_set() and not others.is_set()
