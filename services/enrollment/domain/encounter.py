"""What has become of each discharge of a stay?"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import ClassVar

from pydantic import BaseModel, ConfigDict

from libs.common.decision import Document


class Fate(StrEnum):
    """What became of a discharge; all but ``INVITED`` are reasons of a refusal."""

    INVITED = "invited"
    NO_PROGRAMME = "no_programme"
    NO_GUARDIAN = "no_guardian"
    ALREADY_MEMBER = "already_member"
    DECEASED = "deceased"
    TRANSFERRED = "transferred"
    BACKFILL = "backfill"
    REPEATED = "repeated_discharge"
    CANCELLED = "discharge_cancelled"
    IN_THE_FUTURE = "in_the_future"


#: While one of these stands, another discharge of the same stay only repeats it.
STANDING = frozenset({Fate.INVITED, Fate.NO_PROGRAMME, Fate.NO_GUARDIAN, Fate.ALREADY_MEMBER})


class Discharge(BaseModel):
    """One discharge. ``fate`` None: so far only its cancellation has arrived."""

    model_config = ConfigDict(frozen=True)

    source: str
    event_id: str
    patient_id: str
    fate: Fate | None = None
    department_code: str = ""
    discharged_at: datetime | None = None
    cancelled_at: datetime | None = None
    child: bool = False
    programme_id: str | None = None
    language: str | None = None

    @property
    def key(self) -> tuple[str, str]:
        return (self.source, self.event_id)

    def with_fate(self, fate: Fate) -> Discharge:
        return self.model_copy(update={"fate": fate})


class Encounter(Document):
    """One stay, with its discharges in the order in which they became known."""

    COLLECTION: ClassVar[str] = "encounters"

    patient_id: str
    discharges: tuple[Discharge, ...] = ()

    def find(self, source: str, event_id: str) -> Discharge | None:
        return next((d for d in self.discharges if d.key == (source, event_id)), None)

    def named(self, event_id: str) -> Discharge | None:
        """The discharge with this event id, whoever sent it, if it is the only one."""
        found = [d for d in self.discharges if d.event_id == event_id and d.fate is not None]
        return found[0] if len(found) == 1 else None

    def cancelled_at(self, event_id: str) -> datetime | None:
        """When a discharge that is still to come was cancelled, by whichever system."""
        return next(
            (d.cancelled_at for d in self.discharges if d.event_id == event_id and d.fate is None),
            None,
        )

    def having(self, discharge: Discharge) -> Encounter:
        """With ``discharge`` added, or in the place of what was known of it."""
        known = {d.key: d for d in self.discharges} | {discharge.key: discharge}
        changed: Encounter = self.but(discharges=tuple(known.values()))
        return changed
