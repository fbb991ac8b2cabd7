"""How does an open list learn what has changed, as it happens?

Each change of a renewal that is the caller's concern is pushed as its id, version and where
it now stands, also when it has left the list; what it is about is then read, and recorded,
by its id. Only where it stands at last is told, not each step, and after a reconnect some of
it twice. ``Last-Event-ID`` is a moment, not a number: no counter has to be written by all.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from libs.common.audit import Outcome
from libs.common.auth import Principal, Role
from libs.common.decision import Answer, Common, Input
from libs.common.events import RefillStage
from libs.common.http.access import Access, Caller
from libs.common.http.problems import Problem
from libs.common.http.reads import Reads
from libs.common.http.sse import EventStream, LastEventId, Pushed
from libs.common.wakes import Wakes, woken
from services.prescriptions.api.reading import (
    PATIENT_SIDE,
    RESOURCE,
    PatientId,
    Policy,
    Prescriptions,
    is_theirs,
)
from services.prescriptions.domain import doctor, pharmacist
from services.prescriptions.domain.documents import Refill
from services.prescriptions.domain.persons import ids_of
from services.prescriptions.domain.steps import alone
from services.prescriptions.domain.transitions import Status
from services.prescriptions.store import Store

#: A change is stored up to so long after the moment that it bears: a transaction takes 10 s at
#: most (``mongo.transaction.TRANSACTION_SECONDS``), and the clocks of replicas differ a little.
LOOK_BACK: Final = timedelta(seconds=15)
#: A client that was away for longer reads its list anew.
REPLAY: Final = timedelta(minutes=10)
#: Changes that are looked at together.
AT_A_TIME: Final = 1_000
#: Seconds in which changes gather, so that a burst of them is one look.
GATHER: Final = 0.2

PHARMACISTS: Final = "pharmacists"


class Changed(BaseModel):
    """The data of an event `renewal`. An event `reset` says: read the list anew."""

    id: str
    version: int = Field(description="Its ETag; one that you have already is no news.")
    status: Status
    stage: RefillStage | None
    listed: bool = Field(description="Whether it is on the list now. False: it has left it.")
    holder_id: str | None = Field(default=None, description="To staff: who decides on it alone.")


@dataclass(frozen=True, slots=True)
class Watch:
    """What one stream is about: whose concerns, what they may see, what is on the list and
    who has it; ``may`` tells whether it goes on."""

    keys: frozenset[str]
    sees: Callable[[Refill], bool]
    listed: Callable[[Refill], bool]
    holder: Callable[[Refill], str | None]
    may: Callable[[], Awaitable[bool]]

    def concerns(self, row: Mapping[str, Any]) -> bool:
        return not self.keys.isdisjoint(concerned(row))


def new_wakes() -> Wakes:
    """Those who wait for changes, by whose concern they are."""
    return Wakes(Refill.COLLECTION, concerned, changes=True)


def concerned(refill: Mapping[str, Any]) -> Iterator[str]:
    """Whom a change of ``refill`` concerns, as the keys that they wait for."""
    yield f"department/{refill.get('department_code')}"
    yield f"patient/{refill.get('patient_id')}"
    for field in ("prescriber_id", "doctor_id", "holder_id"):
        if refill.get(field) is not None:
            yield f"practitioner/{refill[field]}"
    if refill.get("signed_at") is not None:
        yield PHARMACISTS


def waker(wakes: Wakes) -> Callable[[Input, Answer], None]:
    """Wakes by what this process has committed; other replicas' changes come by the database."""

    def committed(_input: Input, answer: Answer) -> None:
        for doc in answer.changes:
            if isinstance(doc, Refill):
                for key in concerned(vars(doc)):
                    wakes.wake((doc.hospital, key))

    return committed


async def changes(
    watch: Watch,
    hospital: str,
    last: datetime | None,
    *,
    store: Store,
    wakes: Wakes,
    now: Callable[[], datetime],
    sleep: Callable[[float], Awaitable[None]],
) -> AsyncIterator[Pushed]:
    """What changes from now on, or has since ``last``; ends when the caller may no longer see."""
    told: dict[str, int] = {}
    limit = AT_A_TIME
    begun = now()
    fresh_start = last is None or last < begun - REPLAY
    since = (begun if last is None or fresh_start else last) - LOOK_BACK
    with wakes.waiting((hospital, key) for key in watch.keys) as event:
        if fresh_start:
            # What stands there already is in the list that the client reads after this.
            rows = await store.changed(hospital, since, AT_A_TIME)
            told = {row["id"]: row["version"] for row in rows}
            yield Pushed(_id(begun), "reset", {})
        while await watch.may():
            event.clear()
            looked = now()
            rows = await store.changed(hospital, since, limit)
            news = [
                row["id"]
                for row in rows
                if told.get(row["id"]) != row["version"] and watch.concerns(row)
            ]
            for refill in await _in_order(store, hospital, news):
                told[refill.id] = refill.version
                if watch.sees(refill):
                    yield Pushed(_id(refill.changed_at), "renewal", _change(refill, watch))
            if len(rows) == limit:
                limit *= 2  # not yet the whole of a burst
                continue
            limit = AT_A_TIME
            since = looked - LOOK_BACK
            told = {row["id"]: told[row["id"]] for row in rows if row["id"] in told}
            await woken(event)
            await sleep(GATHER)


def _change(refill: Refill, watch: Watch) -> dict[str, Any]:
    change = Changed(
        id=refill.id,
        version=refill.version,
        status=refill.status,
        stage=refill.stage,
        listed=watch.listed(refill),
        holder_id=watch.holder(refill),
    )
    return change.model_dump(mode="json")


async def _in_order(store: Store, hospital: str, ids: list[str]) -> list[Refill]:
    if not ids:
        return []
    found = await store.refills_by_id(hospital, ids)
    return sorted(found, key=lambda r: (r.changed_at, r.id))


def _id(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds")


def _moment(last_event_id: str | None) -> datetime | None:
    """When the last event that a client has got was; what is not ours counts as nothing."""
    try:
        at = datetime.fromisoformat(last_event_id or "")
    except ValueError:
        return None
    return at if at.tzinfo is not None else None


async def _always() -> bool:
    return True


def _nobody(_refill: Refill) -> None:
    """Who has it is none of the patient's concern."""


def _holder(request: Request) -> Callable[[Refill], str | None]:
    clock = request.app.state.ports.clock
    return lambda refill: alone(refill, clock.now())


def router(wakes: Wakes) -> APIRouter:
    """The routes; ``wakes`` is what the process's own commits wake live streams by."""
    routes = APIRouter(prefix="/v1")

    def streamed(
        request: Request, caller: Principal, store: Store, watch: Watch, last: str | None
    ) -> Response:
        clock = request.app.state.ports.clock
        events = changes(
            watch,
            caller.hospital,
            _moment(last),
            store=store,
            wakes=wakes,
            now=clock.now,
            sleep=clock.sleep,
        )
        streams = request.app.state.streams
        response: Response = streams.response(events, until=caller.expires)
        return response

    @routes.get("/work-lists/doctor/live", response_class=EventStream, tags=["work lists"])
    async def live_for_doctor(
        request: Request, caller: Caller, store: Prescriptions, last_event_id: LastEventId = None
    ) -> Response:
        """Changes of what concerns me or my departments, as server-sent events."""
        actor = caller.actor
        mine = [f"practitioner/{actor.person}", *(f"department/{d}" for d in actor.departments)]

        def sees(refill: Refill) -> bool:
            return doctor.may_see(refill, actor)

        def listed(refill: Refill) -> bool:
            return refill.stage is RefillStage.DOCTOR

        watch = Watch(frozenset(mine), sees, listed, _holder(request), _always)
        return streamed(request, caller, store, watch, last_event_id)

    @routes.get("/work-lists/pharmacist/live", response_class=EventStream, tags=["work lists"])
    async def live_for_pharmacist(
        request: Request, caller: Caller, store: Prescriptions, last_event_id: LastEventId = None
    ) -> Response:
        """Changes of what a doctor has signed, as server-sent events."""

        def sees(refill: Refill) -> bool:
            return pharmacist.may_see(refill, caller.actor)

        def listed(refill: Refill) -> bool:
            return refill.stage is RefillStage.PHARMACIST

        watch = Watch(frozenset((PHARMACISTS,)), sees, listed, _holder(request), _always)
        return streamed(request, caller, store, watch, last_event_id)

    @routes.get("/refills/live", response_class=EventStream, tags=["renewals"])
    async def live_for_patient(
        request: Request,
        caller: Caller,
        store: Prescriptions,
        policy: Policy,
        reads: Reads,
        patient_id: PatientId,
        last_event_id: LastEventId = None,
    ) -> Response:
        """Changes of a patient's renewals, as server-sent events, to the patient's side."""

        async def may() -> bool:
            known = await store.patient(caller.hospital, patient_id)
            return await is_theirs(request, caller, store, policy, known)

        care = await store.patient(caller.hospital, patient_id)
        if not await may():
            await reads.of(care.id, RESOURCE, outcome=Outcome.MINOR_FAILURE)
            raise Problem(404, Common.NOT_FOUND)
        await reads.of(care.id, RESOURCE)
        ids = ids_of(care)

        def sees(refill: Refill) -> bool:
            return refill.patient_id in ids

        def listed(refill: Refill) -> bool:
            return refill.stage is not None

        watch = Watch(frozenset(f"patient/{id}" for id in ids), sees, listed, _nobody, may)
        return streamed(request, caller, store, watch, last_event_id)

    return routes


ACCESS: Access = {
    ("GET", "/v1/work-lists/doctor/live"): frozenset({Role.DOCTOR}),
    ("GET", "/v1/work-lists/pharmacist/live"): frozenset({Role.PHARMACIST}),
    ("GET", "/v1/refills/live"): PATIENT_SIDE,
}
