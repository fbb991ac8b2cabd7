"""Who has died, and what if that was a slip of the pen?

``patient.deceased`` stands on its own. What a discharge says holds as long as the
discharge does: cancelled, before or after it came, it says nothing any more.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any, ClassVar, TypeGuard

from libs.common.decision import (
    Answer,
    Common,
    Decision,
    Document,
    Input,
    Need,
    Refusal,
    State,
    derived_id,
)
from libs.common.events import DischargeCancelled, Disposition, EncounterDischarged
from services.notify.domain.people import Death, Person, needs_person, root


class Discharge(Document):
    """A discharge that says that the patient has died, or that was cancelled, or both.

    Its id follows from the stay and the event's id: another system may cancel it.
    """

    COLLECTION: ClassVar[str] = "discharges"

    patient_id: str
    cancelled_at: datetime | None = None

    @staticmethod
    def id_of(encounter_id: str, event_id: str) -> str:
        return derived_id("discharge", encounter_id, event_id)


def says_deceased(data: Any) -> TypeGuard[EncounterDischarged]:
    return isinstance(data, EncounterDischarged) and (
        data.patient.deceased or data.disposition is Disposition.DECEASED
    )


def needs_death(input: Input, state: State) -> Iterator[Need]:
    if says_deceased(input.data):
        yield Need(Discharge, "id", Discharge.id_of(input.data.encounter_id, input.id))
        yield from needs_person(state, input.data.patient_id)


def died(input: Input, state: State, person: Person) -> tuple[Discharge, Person]:
    """The discharge that says so, and ``person``, its patient, after it."""
    data: EncounterDischarged = input.data
    id = Discharge.id_of(data.encounter_id, input.id)
    known = state.get(Discharge, id) or Discharge(
        id=id, hospital=input.hospital, patient_id=data.patient_id
    )
    discharge = known.but(patient_id=data.patient_id)
    if discharge.cancelled_at is not None or any(d.discharge == id for d in person.deaths):
        return discharge, person
    death = Death(discharge=id, source=input.source, event_id=input.id, at=data.discharged_at)
    return discharge, person.but(deaths=(*person.deaths, death))


def needs_cancelled(input: Input, state: State) -> Iterator[Need]:
    data: DischargeCancelled = input.data
    id = Discharge.id_of(data.encounter_id, data.discharge_event_id)
    yield Need(Discharge, "id", id)
    known = state.get(Discharge, id)
    # It may have been booked under another patient than the cancellation names.
    yield from needs_person(state, data.patient_id if known is None else known.patient_id)


def decide_cancelled(input: Input, state: State, _env: Any) -> Answer:
    data: DischargeCancelled = input.data
    id = Discharge.id_of(data.encounter_id, data.discharge_event_id)
    known = state.get(Discharge, id) or Discharge(
        id=id, hospital=input.hospital, patient_id=data.patient_id
    )
    if known.cancelled_at is not None:
        return Refusal(Common.STALE)
    changes: list[Document] = [known.but(cancelled_at=data.cancelled_at)]
    person = root(state, known.patient_id)
    if person is not None:
        rest = tuple(d for d in person.deaths if d.discharge != id)
        if rest != person.deaths:
            changes.append(person.but(deaths=rest))
            return Decision(changes=changes, note="death_taken_back")
    return Decision(changes=changes, note="discharge_cancelled")
