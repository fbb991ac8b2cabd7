"""Which discharges does a cancellation take back, in whatever order they come?

HL7's A13 names a visit, our event a discharge. A sender may tell a discharge twice under two
control ids, and over two connections the cancellation may overtake it: so a stay keeps the
discharges that stand, and the last cancellation.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import ClassVar, Final

from libs.common.decision import Document
from libs.common.events import DischargeCancelled, EncounterDischarged

#: Clocks differ; a discharge may be dated a little after the message that cancels it.
MARGIN: Final = timedelta(minutes=5)

#: Stands in a ``DischargeCancelled`` until the stay's discharges have been looked up.
UNKNOWN_DISCHARGE: Final = "unknown"

StayEvent = EncounterDischarged | DischargeCancelled


class Stay(Document):
    COLLECTION: ClassVar[str] = "stays"

    #: Event id and time of each discharge that stands.
    discharges: tuple[tuple[str, datetime], ...] = ()
    cancelled_at: datetime | None = None


def followed(
    stay: Stay, event: StayEvent, id_of: Callable[[int], str]
) -> tuple[list[StayEvent], Stay]:
    """What is to be told for ``event``, and ``stay`` after it.

    ``id_of(n)`` is the id of the ``n``-th event told here. A discharge that was cancelled
    before it came is told with its cancellation, so that whoever counts stays sees both.
    """
    if isinstance(event, EncounterDischarged):
        at = event.discharged_at
        if stay.cancelled_at is not None and at <= stay.cancelled_at + MARGIN:
            return [event, _cancelling(event, id_of(0), stay.cancelled_at)], stay
        return [event], stay.but(discharges=(*stay.discharges, (id_of(0), at)))
    until = event.cancelled_at + MARGIN
    taken = [id for id, at in stay.discharges if at <= until]
    rest = tuple(d for d in stay.discharges if d[0] not in taken)
    last = max(event.cancelled_at, stay.cancelled_at or event.cancelled_at)
    told = [event.model_copy(update={"discharge_event_id": id}) for id in taken]
    return list[StayEvent](told), stay.but(discharges=rest, cancelled_at=last)


def _cancelling(event: EncounterDischarged, id: str, at: datetime) -> DischargeCancelled:
    return DischargeCancelled(
        encounter_id=event.encounter_id,
        patient_id=event.patient_id,
        discharge_event_id=id,
        cancelled_at=at,
    )
