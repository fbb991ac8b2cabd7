"""Who has read which patient's data?

One record for every read, in the words of FHIR's AuditEvent (and IHE ATNA, its ground):
an agent did an action on entities, for a purpose, with an outcome. The answer to a read
waits until its record is durable; many reads share one write, so the wait is one round
trip. When records can't be written, patients' data can't be read.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Protocol

import structlog

from libs.common.auth import Principal, Role
from libs.common.clock import Ports

log = structlog.get_logger()

COLLECTION: Final = "audit"
#: Records in one write.
BATCH: Final = 500
#: Reads that may wait for their record; beyond it the next one is told to come back.
WAITING: Final = 5_000
#: A read is given up after so many seconds without a durable record.
PATIENCE: Final = 5.0


class AuditUnavailable(Exception):
    """The read could not be recorded, so it must not be answered."""


class Outcome(StrEnum):
    """FHIR R4 ``AuditEvent.outcome``."""

    SUCCESS = "0"
    MINOR_FAILURE = "4"  # not found, or not theirs
    SERIOUS_FAILURE = "8"


#: HL7 v3 PurposeOfUse, by the role that reads; the first that applies.
_PURPOSE: Final[Mapping[Role, str]] = {
    Role.DOCTOR: "TREAT",
    Role.NURSE: "TREAT",
    Role.PHARMACIST: "TREAT",
    Role.PATIENT: "PATRQT",
    Role.GUARDIAN: "FAMRQT",
    Role.OPS: "HOPERAT",
    Role.INTEGRATION: "HOPERAT",
}


class AuditSink(Protocol):
    """Where records go: a write that is durable when it returns."""

    async def insert_many(self, rows: Sequence[Mapping[str, Any]], /) -> None: ...


@dataclass(frozen=True, slots=True)
class _Waiting:
    row: Mapping[str, Any]
    written: asyncio.Future[None]


class Audit:
    """Writes audit records of one service, many at a time. An async context manager."""

    def __init__(self, *, service: str, sink: AuditSink, ports: Ports) -> None:
        self._observer = f"/services/{service}"
        self._sink = sink
        self._ports = ports
        self._waiting: list[_Waiting] = []
        self._writer: asyncio.Task[None] | None = None

    async def read(
        self,
        principal: Principal,
        *,
        patient_id: str,
        resource: str,
        resource_ids: Sequence[str] = (),
        route: str,
        correlation_id: str = "",
        outcome: Outcome = Outcome.SUCCESS,
    ) -> None:
        """Record that ``principal`` reads ``resource`` (a FHIR type) of ``patient_id``.

        Returns when the record is durable; call it before answering, and for a refused
        read, too. Raises :class:`AuditUnavailable`.
        """
        if len(self._waiting) >= WAITING:
            raise AuditUnavailable
        row = self._row(
            principal, patient_id, resource, resource_ids, route, correlation_id, outcome
        )
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(row, written))
        if self._writer is None or self._writer.done():
            # In a context of its own: it writes for many requests, and belongs to no one's trace.
            self._writer = asyncio.create_task(self._write(), context=contextvars.Context())
        try:
            # Not wait_for: below Python 3.12 it forgets a cancellation that comes in the moment of
            # the answer (python/cpython#86296), and a stream whose reader has gone would go on.
            async with asyncio.timeout(PATIENCE):
                await written
        except TimeoutError:
            raise AuditUnavailable from None

    async def close(self) -> None:
        """Wait for the records that are under way."""
        if self._writer is not None:
            await asyncio.wait([self._writer])

    async def __aenter__(self) -> Audit:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _write(self) -> None:
        # While one batch is written the next one gathers: no timer is needed.
        while self._waiting:
            batch, self._waiting = self._waiting[:BATCH], self._waiting[BATCH:]
            try:
                await self._sink.insert_many([w.row for w in batch])
            except Exception as error:
                log.error("audit_not_written", error=type(error).__name__, records=len(batch))
                for w in batch:
                    if not w.written.done():
                        w.written.set_exception(AuditUnavailable())
            else:
                for w in batch:
                    if not w.written.done():  # a caller may have gone, its record stays
                        w.written.set_result(None)

    def _row(
        self,
        principal: Principal,
        patient_id: str,
        resource: str,
        resource_ids: Sequence[str],
        route: str,
        correlation_id: str,
        outcome: Outcome,
    ) -> Mapping[str, Any]:
        id, roles = self._ports.ids.new(), principal.actor.roles
        purpose = next((p for role, p in _PURPOSE.items() if role in roles), None)
        return {
            "_id": f"{principal.hospital}/{id}",
            "id": id,
            "hospital": principal.hospital,
            "recorded": self._ports.clock.now(),
            "type": "rest",
            "action": "R",
            "outcome": outcome.value,
            "purposeOfEvent": purpose,
            "agent": {"who": principal.actor.person, "role": sorted(roles), "requestor": True},
            "source": {"observer": self._observer, "site": route},
            "patient": patient_id,
            "entity": {"type": resource, "what": list(resource_ids)},
            "correlation_id": correlation_id,
        }


def operation(
    ports: Ports,
    *,
    operator: str,
    what: str,
    kind: str,
    action: str,
    hospital: str,
    patient: str = "",
    entities: Sequence[str],
    run: str,
    outcome: Outcome | None = None,
    why: str = "",
) -> Mapping[str, Any]:
    """The record of what ``operator`` does at the command line, for the trail of the service that
    it concerns. ``kind``: ISO 21089's word (``access``, ``transmit``), or DICOM's code;
    ``action``: C, R, U, E or D; ``outcome``: None while it is only beginning; ``why``: what failed,
    without personal data."""
    id = ports.ids.new()
    return {
        "_id": f"{hospital}/{id}",
        "id": id,
        "hospital": hospital,
        "recorded": ports.clock.now(),
        "type": kind,
        "action": action,
        "outcome": outcome,
        "outcomeDesc": why,
        "purposeOfEvent": _PURPOSE[Role.OPS],
        "agent": {"who": operator, "role": [Role.OPS], "requestor": True},
        "source": {"observer": "/lianxin", "site": what},
        "patient": patient,
        "entity": {"type": "Record", "what": list(entities)},
        "correlation_id": run,
    }
