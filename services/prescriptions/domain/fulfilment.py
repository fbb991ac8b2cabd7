"""How far are the pharmacies with a prescription, and what is wrong with it?

One small document for each dispensing (FHIR MedicationDispense), under the pharmacy's id.
Reports come late, twice and in any order, and a prescription may be dispensed in parts: what
is kept of each status is its latest report, and where a dispensing or a renewal stands
follows from all that is kept and from nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from enum import StrEnum
from typing import ClassVar, Final

from libs.common.decision import Document, in_ms
from libs.common.events import FulfilmentStatus, FulfilmentUpdated, Quantity
from services.prescriptions.domain.documents import Refill
from services.prescriptions.domain.facts import Value
from services.prescriptions.domain.policy import RenewalPolicy
from services.prescriptions.domain.transitions import FULFILLED, Action, Status

S = FulfilmentStatus
#: What moves a renewal. What of several dispensings holds: first what lies ready, then what was
#: received, then what came back.
ACTIONS: Final = {
    S.DISPENSED: Action.DISPENSE,
    S.COLLECTED: Action.COLLECT,
    S.DELIVERED: Action.DELIVER,
    S.RETURNED_TO_STOCK: Action.RETURN_TO_STOCK,
}
_FIRST: Final = ({S.DISPENSED}, {S.COLLECTED, S.DELIVERED}, {S.RETURNED_TO_STOCK})
#: What has left the shelf.
HANDED: Final = (S.DISPENSED, S.COLLECTED, S.DELIVERED)
#: Of reports of one moment the later in this order holds.
_ORDER: Final = (S.PREPARING, S.DECLINED, *ACTIONS)

#: By this much a pharmacy's clock may be behind ours before something looks too early.
BEHIND: Final = timedelta(minutes=5)


class Irregular(StrEnum):
    """What is wrong with how a renewal was dispensed."""

    NOT_EFFECTIVE = "not_effective"  # and perhaps never
    BEFORE_EFFECTIVE = "before_effective"
    WITHHELD = "withheld"  # or handed out: after it was
    AFTER_VALIDITY = "after_validity"


class Report(Value):
    """What a pharmacy told, and when it happened."""

    status: FulfilmentStatus
    at: datetime
    pharmacy_id: str | None = None
    quantity: Quantity | None = None
    reason: str | None = None

    @classmethod
    def of(cls, told: FulfilmentUpdated) -> Report:
        return cls(
            status=told.status,
            at=in_ms(told.occurred_at),  # so that what comes twice is the same
            pharmacy_id=told.pharmacy_id,
            quantity=told.quantity,
            reason=told.reason,
        )

    @property
    def place(self) -> tuple[bool, datetime, int, str]:
        """In time, but nothing that only prepares comes after what was dispensed. What is
        told twice and differently is put in some order that all share."""
        order = _ORDER.index(self.status)
        return self.status in ACTIONS, self.at, order, self.model_dump_json()


class Fulfilment(Document):
    """One dispensing: of each status the latest report."""

    COLLECTION: ClassVar[str] = "fulfilments"

    patient_id: str
    prescription_id: str
    #: The renewal that the prescription is of, once it is known.
    refill_id: str | None = None
    reports: tuple[Report, ...] = ()

    @property
    def latest(self) -> Report:
        """Where it stands."""
        return max(self.reports, key=lambda r: r.place)

    @property
    def handed_at(self) -> datetime | None:
        """When it left the shelf, unless it is back there."""
        if self.latest.status is S.RETURNED_TO_STOCK:
            return None
        return min((r.at for r in self.reports if r.status in HANDED), default=None)

    @property
    def handed_last(self) -> datetime | None:
        """When it was dispensed or came to the patient, whichever is later."""
        return max((r.at for r in self.reports if r.status in HANDED), default=None)

    @property
    def quantity(self) -> Quantity | None:
        """How much of it left the shelf, as it was told last."""
        handed = (r.quantity for r in reversed(self.reports) if r.status in HANDED)
        return next((q for q in handed if q is not None), None)

    @property
    def is_back(self) -> bool:
        return self.latest.status is S.RETURNED_TO_STOCK

    def told(self, report: Report) -> Fulfilment | None:
        """With ``report``; None if what is known of its status is later, or is this."""
        known = next((r for r in self.reports if r.status is report.status), None)
        if known is not None and known.place >= report.place:
            return None
        others = (r for r in self.reports if r.status is not report.status)
        ordered = sorted((*others, report), key=lambda r: r.place)
        with_it: Fulfilment = self.but(reports=tuple(ordered))
        return with_it


def standing(fulfilments: Iterable[Fulfilment]) -> Action | None:
    """The step that a renewal with these dispensings has come to, if to any."""
    latest = [f.latest for f in fulfilments]
    for statuses in _FIRST:
        found = [r for r in latest if r.status in statuses]
        if found:
            return ACTIONS[max(found, key=lambda r: r.place).status]
    return None


def dispensed_by(fulfilments: Iterable[Fulfilment]) -> str | None:
    """The pharmacy that has what lies ready or is on its way, else the one that had what the
    patient received; the last of several."""
    handed = (f.latest for f in fulfilments if f.latest.status in HANDED)
    last = max(handed, key=lambda r: (r.status is S.DISPENSED, r.place), default=None)
    return last.pharmacy_id if last is not None else None


def in_part(prescribed: Quantity | None, fulfilments: Iterable[Fulfilment]) -> bool:
    """Whether pharmacies have told that less of it than is ``prescribed`` has left the shelf."""
    handed = [f.quantity for f in fulfilments if f.handed_at is not None]
    told = [q.value for q in handed if q and prescribed and q.unit == prescribed.unit]
    if prescribed is None or not handed or len(told) < len(handed):
        return False  # how much is not known
    return round(sum(told), 6) < prescribed.value


def to_come(
    refill: Refill, fulfilments: Iterable[Fulfilment], now: datetime, policy: RenewalPolicy
) -> bool:
    """Whether any of it may still come to the patient: for however long what lies ready or is on
    its way; and to the end of its last day what was not dispensed yet, all of it or a part, or
    is back in stock."""
    if refill.status is Status.DISPENSED:
        return True
    if refill.valid_on is not None and now >= policy.end_of(refill.valid_on):
        return False
    if refill.status in (Status.EFFECTIVE, Status.RETURNED_TO_STOCK):
        return True
    parts = tuple(fulfilments)
    return refill.status in FULFILLED.values() and (
        in_part(refill.prescribed.quantity, parts)
        or any(f.latest.status in (S.PREPARING, S.RETURNED_TO_STOCK) for f in parts)
    )


def is_at_home(refill: Refill) -> bool:
    """Whether the patient has all of it that there is to come, or may have where no pharmacy
    tells."""
    untold = refill.status is Status.EFFECTIVE and refill.deadline is None
    return untold or refill.status in (Status.COLLECTED, Status.DELIVERED)


def used_up(refill: Refill, fulfilments: Iterable[Fulfilment], policy: RenewalPolicy) -> datetime:
    """When its days of supply are over: from the last day on which it may be dispensed, or later
    came to the patient."""
    days = [policy.day(f.handed_last) for f in fulfilments if f.handed_last is not None]
    last = max(filter(None, (refill.valid_on, *days)), default=None)
    if last is None:  # of before it was kept
        last = policy.day(refill.effective_at or refill.requested_at)
    return policy.end_of(last + timedelta(days=(refill.days_supply or 1) - 1))


def declined_at(refill: Refill, fulfilments: Iterable[Fulfilment]) -> datetime | None:
    """When the chosen pharmacy declined, after it was chosen."""
    chosen = refill.fulfilment
    if chosen is None:
        return None
    latest = (f.latest for f in fulfilments)
    return max(
        (
            r.at
            for r in latest
            if r.status is S.DECLINED
            and r.pharmacy_id in (None, chosen.pharmacy_id)
            and r.at >= chosen.chosen_at
        ),
        default=None,
    )


def irregular(refill: Refill, fulfilment: Fulfilment, policy: RenewalPolicy) -> Iterator[Irregular]:
    """What is wrong with a dispensing of ``refill``: a fact, but one for a pharmacist to see."""
    at, last = fulfilment.handed_at, fulfilment.handed_last
    if at is None or last is None:
        return
    if refill.effective_at is None:
        yield Irregular.NOT_EFFECTIVE
    elif at + BEHIND < refill.effective_at:
        yield Irregular.BEFORE_EFFECTIVE
    if refill.withheld_at is not None and last >= refill.withheld_at:
        yield Irregular.WITHHELD
    if refill.valid_on is not None and policy.day(at) > refill.valid_on:
        yield Irregular.AFTER_VALIDITY
