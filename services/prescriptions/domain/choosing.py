"""How does the patient's side choose where the medicine comes from?

At a pharmacy, or home from one that delivers; with the request or later, until something
was dispensed. Where somebody lives is kept for as long as it serves, and is read by the
pharmacy that was chosen: it stands in no event.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from libs.common.decision import (
    Actor,
    Answer,
    Common,
    Decision,
    Emit,
    Env,
    Input,
    Need,
    Refusal,
    State,
    Timer,
    unchanged,
)
from libs.common.events import FulfilmentMethod, RefillFulfilmentChosen, Sensitive
from libs.common.events.base import Id
from services.prescriptions.domain.documents import Chosen, Refill
from services.prescriptions.domain.persons import may_act, needs_patient, patient, persons
from services.prescriptions.domain.pharmacies import Pharmacies, Place
from services.prescriptions.domain.policy import RenewalPolicy
from services.prescriptions.domain.reasons import Reason
from services.prescriptions.domain.receipt import receipt
from services.prescriptions.domain.steps import which
from services.prescriptions.domain.told import pushed
from services.prescriptions.domain.transitions import STAGE, Status

CHOSEN: Final = "chosen"
DELETED: Final = "address_deleted"
REMINDER: Final = "refill.choice_reminder"
ADDRESS: Final = "refill.address"
#: How long after what still needs an address is asked again whether it does.
_AGAIN: Final = timedelta(days=1)


class FulfilmentChoice(BaseModel):
    """What both ways have in common."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", str_strip_whitespace=True, hide_input_in_errors=True
    )

    method: FulfilmentMethod
    pharmacy_id: Id = Field(description="The pharmacy that dispenses it.")


class PickUp(FulfilmentChoice):
    """Collect it at a pharmacy."""

    method: Literal[FulfilmentMethod.PICKUP]


class HomeDelivery(FulfilmentChoice):
    """Have it delivered by a pharmacy."""

    method: Literal[FulfilmentMethod.DELIVERY]
    address: Sensitive[Annotated[str, Field(min_length=5, max_length=500)]] = Field(
        description="Where to; only the chosen pharmacy reads it."
    )
    telephone: Sensitive[Annotated[str, Field(pattern=r"^\+?[0-9][0-9 ()-]{4,30}$")]] = Field(
        description="Whom the courier calls."
    )
    place: Sensitive[Place | None] = Field(
        default=None,
        description="Where the address is, to see whether it is delivered there; not kept.",
    )


#: A choice, by its method.
Choice = Annotated[PickUp | HomeDelivery, Field(discriminator="method")]


def chosen(
    choice: FulfilmentChoice, by: Actor, env: Env, pharmacies: Pharmacies
) -> Chosen | Refusal:
    """``choice`` as it is kept, or why it can't be."""
    pharmacy = pharmacies.get(choice.pharmacy_id)
    if pharmacy is None:
        return Refusal(Reason.UNKNOWN_PHARMACY)
    if not isinstance(choice, HomeDelivery):
        return Chosen(
            method=choice.method,
            pharmacy_id=pharmacy.id,
            chosen_by=by.person,
            chosen_at=env.now,
        )
    if not pharmacy.delivers_to(choice.place):
        return Refusal(Reason.NOT_DELIVERED_THERE)
    return Chosen(
        method=choice.method,
        pharmacy_id=pharmacy.id,
        address=choice.address,
        telephone=choice.telephone,
        chosen_by=by.person,
        chosen_at=env.now,
    )


def decide_choice(input: Input, state: State, env: Env) -> Answer:
    refill, actor = state.get(Refill, input.subject), input.actor
    if refill is None or actor is None:
        return Refusal(Common.NOT_FOUND)
    policy: RenewalPolicy = env.policy.at(env.now)
    care = patient(state, refill.hospital, refill.patient_id)
    if not may_act(care, persons(state, input.hospital, actor), env.now, policy):
        return Refusal(Common.NOT_FOUND)
    if not unchanged(input, refill):
        return Refusal(Common.CHANGED)
    if not _open(refill, env, policy):
        return Refusal(Common.WRONG_STATUS, extra={"status": refill.status})
    choice = chosen(input.data, actor, env, env.policy.pharmacies)
    if isinstance(choice, Refusal):
        return choice
    after: Refill = refill.but(fulfilment=choice)
    return Decision(
        changes=(after,),
        events=_published(after, refill.fulfilment),
        timers=address_timers(after, policy),
        result=receipt(after),
        note=CHOSEN,
    )


def _open(refill: Refill, env: Env, policy: RenewalPolicy) -> bool:
    """Whether there is still something to choose."""
    if refill.status is Status.EFFECTIVE:
        return refill.valid_on is None or policy.day(env.now) <= refill.valid_on
    return refill.status in STAGE


def _published(refill: Refill, before: Chosen | None) -> Sequence[Emit]:
    """To pharmacies, once there is a prescription: nobody prepares what may be refused. What
    was chosen before then goes out with ``hospital.refill.effective.v1``."""
    choice = refill.fulfilment
    if choice is None or refill.new_prescription_id is None:
        return ()
    previous = before.pharmacy_id if before is not None else None
    fact = RefillFulfilmentChosen(
        **which(refill),
        new_prescription_id=refill.new_prescription_id,
        method=choice.method,
        pharmacy_id=choice.pharmacy_id,
        previous_pharmacy_id=previous if previous != choice.pharmacy_id else None,
        valid_on=refill.valid_on,
        chosen_at=choice.chosen_at,
    )
    return (Emit(fact, refill),)


# -- reminding ----------------------------------------------------------------------------


def is_missing(refill: Refill) -> bool:
    """Whether it is in effect and no pharmacy is going to dispense it."""
    choice = refill.fulfilment
    return refill.status is Status.EFFECTIVE and (choice is None or choice.declined_at is not None)


def reminders(refill: Refill, env: Env, policy: RenewalPolicy) -> Sequence[Timer]:
    """Look again whether somebody has chosen, if now nobody has."""
    return (_timer(REMINDER, refill, env.now + _wait(policy)),) if is_missing(refill) else ()


def _wait(policy: RenewalPolicy) -> timedelta:
    return timedelta(hours=policy.rules.deadlines.parameters.choice_hours)


def needs_timer(input: Input, state: State) -> Iterator[Need]:
    yield Need(Refill, "id", input.data.refill_id)
    refill = state.get(Refill, input.data.refill_id)
    if refill is not None:
        yield from needs_patient(state, refill.patient_id)


def decide_reminder(input: Input, state: State, env: Env) -> Answer:
    refill = state.get(Refill, input.data.refill_id)
    policy: RenewalPolicy = env.policy.at(env.now)
    if refill is None or not is_missing(refill) or not _open(refill, env, policy):
        return Decision(note="not_due")
    choice = refill.fulfilment
    declined_at = choice.declined_at if choice is not None else None
    if declined_at is not None and input.time < declined_at + _wait(policy):
        return Decision(note="not_due")  # told of that only now; a later timer looks again
    care = patient(state, refill.hospital, refill.patient_id)
    if care.deceased_at is not None:
        return Decision(note="not_due")
    key = f"choose:{input.time.isoformat()}"
    push = pushed(refill, "refill.choose", key, input.time, policy)
    return Decision(events=(push,), note="reminded")


# -- deleting -----------------------------------------------------------------------------


def address_timers(refill: Refill, policy: RenewalPolicy) -> Sequence[Timer]:
    choice = refill.fulfilment
    if choice is None or choice.address is None:
        return ()
    days = policy.rules.deadlines.parameters.address_days
    return (_timer(ADDRESS, refill, choice.chosen_at + timedelta(days=days)),)


def decide_address(input: Input, state: State, env: Env) -> Answer:
    """Delete an address that has served; what is under way keeps it until it is there."""
    refill = state.get(Refill, input.data.refill_id)
    choice = refill.fulfilment if refill is not None else None
    if refill is None or choice is None or choice.address is None:
        return Decision(note="not_due")
    policy: RenewalPolicy = env.policy.at(env.now)
    days = policy.rules.deadlines.parameters.address_days
    if env.now < choice.chosen_at + timedelta(days=days):
        return Decision(note="not_due")  # chosen anew since, with a timer of its own
    if _open(refill, env, policy) or refill.status is Status.DISPENSED:
        return Decision(timers=(_timer(ADDRESS, refill, env.now + _AGAIN),), note="still_needed")
    gone = choice.model_copy(update={"address": None, "telephone": None})
    return Decision(changes=(refill.but(fulfilment=gone),), note=DELETED)


def _timer(type: str, refill: Refill, due: datetime) -> Timer:
    return Timer(
        id=f"{type}|{refill.id}",
        due=due,
        type=type,
        subject=refill.id,
        data={"refill_id": refill.id},
    )
