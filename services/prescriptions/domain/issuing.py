"""What follows when the hospital tells that something was prescribed?

It may be a doctor's, or a renewal that comes back from the hospital's own system; told for the
first time, again, or as an older form that comes late; under another code of its ingredient.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import TypeVar

from libs.common.decision import (
    Answer,
    Common,
    Decision,
    Document,
    Env,
    Input,
    Need,
    Refusal,
    State,
    in_ms,
    when,
)
from libs.common.events import PrescriptionIssued
from services.prescriptions.domain.accounts import (
    account,
    all_accounts,
    needs_account,
    with_alike,
)
from services.prescriptions.domain.consequences import (
    Consequences,
    added,
    consequences,
    corrected,
    look_again,
    needs_consequences,
)
from services.prescriptions.domain.documents import (
    Order,
    PatientCare,
    Prescription,
    Refill,
    RenewalAccount,
)
from services.prescriptions.domain.following import caught_up, needs_dispensed
from services.prescriptions.domain.persons import ids_of, needs_patient, patient
from services.prescriptions.domain.prescribing import ahead
from services.prescriptions.domain.reasons import Reason
from services.prescriptions.domain.reissued import again, is_a_doctors, may_be_one, order_of

D = TypeVar("D", bound=Document)

#: Of what was kept before it was kept when it was told.
_BEFORE = datetime.min.replace(tzinfo=UTC)


def needs_issued(input: Input, state: State) -> Iterator[Need]:
    told: PrescriptionIssued = input.data
    yield Need(Prescription, "id", told.prescription_id)
    yield from needs_patient(state, told.patient_id)
    if told.refill_id is not None:
        yield Need(Refill, "id", told.refill_id)
        yield Need(Refill, "new_prescription_id", told.refill_id)
        refill = _renewal(input, state)
        yield from needs_dispensed(told.prescription_id, refill.id if refill else told.refill_id)
    if told.based_on is not None:
        yield Need(Prescription, "id", told.based_on)
    # What was prescribed before may be replaced by it, or stopped with it.
    yield from needs_consequences(state, input.hospital, told.patient_id)
    if codes := _codes(input, state):
        for code in (told.medication.ingredient_code, *sorted(codes)):
            yield from needs_account(state, input.hospital, told.patient_id, code)
    known = state.get(Prescription, told.prescription_id)
    if known is not None:
        yield from needs_consequences(state, input.hospital, known.patient_id)


def _codes(input: Input, state: State) -> frozenset[str]:
    """The other codes of its ingredient, if the hospital told another before: of this
    prescription, of the renewal whose own it is, or of the same medicine that it follows from."""
    told: PrescriptionIssued = input.data
    care = patient(state, input.hospital, told.patient_id)
    codes = set[str]()
    for id in filter(None, (told.prescription_id, told.based_on)):
        before = state.get(Prescription, id)
        if before is not None and before.order is not None and before.patient_id in ids_of(care):
            medication = before.order.medication
            if told.medication.code == medication.code or told.medication.name == medication.name:
                codes.add(medication.ingredient_code)
    for renewed in all_accounts(state, care):
        if any(
            r.prescription_id == told.prescription_id and may_be_one(told.medication, r.medication)
            for r in renewed.renewals
        ):
            codes.add(renewed.ingredient_code)
    if (refill := _renewal(input, state)) is not None:
        codes.add(refill.ingredient_code)
    return frozenset(codes - {told.medication.ingredient_code})


def _is_older(input: Input, known: Prescription) -> bool:
    """Whether what is told is an older form of what is ``known``, and comes late."""
    if known.issued_at is None:
        return False
    issued, before = in_ms(input.data.issued_at), in_ms(known.issued_at)
    told = (_written_at(input) or issued, issued, in_ms(input.time))
    return told < (known.updated_at or before, before, known.told_at or _BEFORE)


def _written_at(input: Input) -> datetime | None:
    """When it was written so, if its sender says that."""
    told: PrescriptionIssued = input.data
    return None if told.updated_at is None else when(input, told.updated_at)


def _named(input: Input, state: State) -> Refill | None:
    """The patient's renewal that it names, by whichever of its numbers."""
    told: PrescriptionIssued = input.data
    if told.refill_id is None:
        return None
    own = next(iter(state.where(Refill, "new_prescription_id", told.refill_id)), None)
    found = state.get(Refill, told.refill_id) or own
    care = patient(state, input.hospital, told.patient_id)
    return found if found is not None and found.patient_id in ids_of(care) else None


def _renewal(input: Input, state: State) -> Refill | None:
    """The same, if it is of that medicine."""
    named = _named(input, state)
    if named is None or not may_be_one(input.data.medication, named.order.medication):
        return None
    return named


def decide_issued(input: Input, state: State, env: Env) -> Answer:
    told: PrescriptionIssued = input.data
    if ahead(told.issued_at, env.now):
        return Refusal(Reason.IN_THE_FUTURE)
    known = state.get(Prescription, told.prescription_id)
    care = patient(state, input.hospital, told.patient_id)
    united = _united(input, state, care)
    kept = known.order if known is not None and known.patient_id in ids_of(care) else None
    order, refill = order_of(told), _renewal(input, state)
    if _named(input, state) is not None:
        order = order.model_copy(update={"refill_id": refill.id if refill is not None else None})
    is_copy = kept is not None and kept.refill_id is not None
    if refill is not None and not is_copy and is_a_doctors(order, refill, env.policy.at(env.now)):
        based = order.based_on or refill.new_prescription_id or refill.prescription_id
        order, refill = order.model_copy(update={"refill_id": None, "based_on": based}), None
    if known is not None and _is_older(input, known):
        return _stale(known, kept, order, united, state, care, env)
    order = again(order, kept) if kept is not None else order
    prescription = Prescription(
        id=told.prescription_id,
        hospital=input.hospital,
        patient_id=told.patient_id,
        order=order,
        issued_at=told.issued_at,
        updated_at=_written_at(input),
        told_at=in_ms(input.time),
        stopped_at=known.stopped_at if known is not None else None,
    )
    changes: list[Document] = [prescription, *united]
    follows = Consequences()
    if known is not None and known.patient_id not in ids_of(care):  # it never was that patient's
        whose = patient(state, input.hospital, known.patient_id)
        follows = corrected(state, whose, env, known.id)
    decision = added(Decision(changes=changes, note="issued"), follows)
    if refill is not None:
        # The hospital's own prescription for a renewal: it may have been dispensed already.
        after = caught_up(decision, refill, prescription.id, care, state, env)
        if after is not decision:  # what follows is looked at once that is stored
            look = look_again(refill.patient_id, env.now)
            return replace(after, timers=(*after.timers, look))
    return added(decision, _followed(state, care, united, env, prescription))


def _stale(
    known: Prescription,
    kept: Order | None,
    order: Order,
    united: list[Document],
    state: State,
    care: PatientCare,
    env: Env,
) -> Refusal:
    """An older form comes late: that two codes are one holds all the same, and what it alone
    says."""
    said = again(kept, order) if kept is not None else None
    learnt = [known.but(order=said)] if said is not None and said != kept else []
    changes: list[Document] = [*united, *learnt]
    if not changes:
        return Refusal(Common.STALE)
    decision = added(Decision(changes=changes), _followed(state, care, united, env, *learnt))
    return Refusal(
        Common.STALE,
        changes=decision.changes,
        events=decision.events,
        timers=decision.timers,
    )


def _followed(
    state: State, care: PatientCare, united: list[Document], env: Env, *told: Document
) -> Consequences:
    """What follows from what was ``told`` for the patient's renewals, once codes are ``united``."""
    accounts = {a.id: a for a in (*all_accounts(state, care), *_of(RenewalAccount, united))}
    now = next(iter(_of(PatientCare, united)), care)
    return consequences(state, now, env, *told, accounts=list(accounts.values()))


def _united(input: Input, state: State, care: PatientCare) -> list[Document]:
    """The patient and the accounts, if codes turn out to be of one ingredient. Writing all of
    them makes a decision that still sees two accounts start again."""
    ingredient = input.data.medication.ingredient_code
    same = with_alike(care, (ingredient, *sorted(_codes(input, state))))
    if same is care:
        return []
    own, taken_in = account(same, ingredient, lambda id: state.get(RenewalAccount, id))
    return [same, own, *taken_in]


def _of(model: type[D], documents: Iterable[Document]) -> list[D]:
    return [d for d in documents if isinstance(d, model)]
