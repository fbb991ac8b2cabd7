"""What do people and pharmacies see of where a medicine comes from and how far it is?"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime

from pydantic import Field

from libs.common.events import FulfilmentStatus, Quantity
from services.prescriptions.domain.documents import Refill
from services.prescriptions.domain.fulfilment import Fulfilment
from services.prescriptions.domain.pharmacies import Near, Place, openness
from services.prescriptions.domain.receipt import View
from services.prescriptions.domain.transitions import Status
from services.prescriptions.domain.views import ChosenView, PharmacyView, Reader, chosen_view


class PharmacyFound(PharmacyView):
    """A pharmacy as seen from a place, now."""

    distance: int | None = Field(description="Metres as the crow flies; null without a place.")
    delivers: bool = Field(description="To that place; without one, whether it delivers at all.")
    open: bool
    opens_at: datetime | None = Field(description="If it is closed; null: not within a month.")
    closes_at: datetime | None = Field(description="If it is open; null: not within a month.")


class PharmaciesFound(View):
    items: tuple[PharmacyFound, ...]


def found(near: Near, place: Place | None, reader: Reader) -> PharmacyFound:
    state = openness(near.pharmacy, reader.now, reader.policies.zone)
    return PharmacyFound(
        **dict(PharmacyView.of(near.pharmacy.id, reader)),
        distance=None if near.distance is None else round(near.distance),
        delivers=near.pharmacy.delivers_to(place),
        open=state.open,
        opens_at=state.opens_at,
        closes_at=state.closes_at,
    )


class DispensingView(View):
    """How far a pharmacy is with the prescription, or with a part of it."""

    id: str = Field(description="The dispensing, as the pharmacy names it.")
    pharmacy: PharmacyView | None = Field(description="Null: not told.")
    status: FulfilmentStatus
    at: datetime = Field(description="When that happened.")
    quantity: Quantity | None
    reason: str | None


class FulfilmentView(View):
    """Where a renewal's medicine comes from, where it is delivered, and how far it is."""

    refill_id: str
    patient_id: str
    new_prescription_id: str | None
    status: Status
    valid_on: date | None = Field(description="The last day on which it may be dispensed.")
    chosen: ChosenView | None = Field(description="Null: not chosen yet.")
    address: str | None = Field(description="Where to deliver it, until that has served.")
    telephone: str | None
    dispensings: tuple[DispensingView, ...] = Field(description="The oldest first.")
    irregular: tuple[str, ...]
    version: int


def fulfilment_view(
    refill: Refill, fulfilments: Iterable[Fulfilment], reader: Reader
) -> FulfilmentView:
    choice = refill.fulfilment
    return FulfilmentView(
        refill_id=refill.id,
        patient_id=refill.patient_id,
        new_prescription_id=refill.new_prescription_id,
        status=refill.status,
        valid_on=refill.valid_on,
        chosen=chosen_view(refill, reader),
        address=choice.address if choice is not None else None,
        telephone=choice.telephone if choice is not None else None,
        dispensings=tuple(
            _dispensing(f, reader) for f in sorted(fulfilments, key=lambda f: f.latest.place)
        ),
        irregular=refill.irregular,
        version=refill.version,
    )


def _dispensing(fulfilment: Fulfilment, reader: Reader) -> DispensingView:
    latest = fulfilment.latest
    pharmacy = latest.pharmacy_id
    return DispensingView(
        id=fulfilment.id,
        pharmacy=None if pharmacy is None else PharmacyView.of(pharmacy, reader),
        status=latest.status,
        at=latest.at,
        quantity=latest.quantity,
        reason=latest.reason,
    )
