"""To what did a person agree, when, to which text, and does it still hold?

Health data need a consent of their own, apart from the group's rules, and it can be
withdrawn (Personal Information Protection Law of the PRC, art. 15, 29 and 30). A no is kept
like a yes: where nothing is kept, nobody was asked.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from enum import StrEnum
from itertools import product
from typing import Any, ClassVar

from pydantic import BaseModel

from libs.common.decision import (
    Answer,
    Common,
    Document,
    Env,
    Input,
    Need,
    Refusal,
    State,
    by_id,
    derived_id,
    unchanged,
)
from libs.common.events import ConsentGiven, ConsentScope, ConsentWithdrawn
from services.enrollment.domain.draft import Draft
from services.enrollment.domain.patient import is_caller, needs_same, same_person
from services.enrollment.domain.programme import HEALTH_DATA
from services.enrollment.domain.reasons import Reason

CONSENT_WITHDRAW = "consent.withdraw"
CONSENT_GIVE = "consent.give"


class ConsentStatus(StrEnum):
    GIVEN = "given"
    WITHDRAWN = "withdrawn"
    DECLINED = "declined"


class ConsentAction(StrEnum):
    GIVE = "give"
    WITHDRAW = "withdraw"


#: Doing again what is done already changes nothing.
TRANSITIONS: dict[tuple[ConsentStatus, ConsentAction], ConsentStatus] = {
    (ConsentStatus.GIVEN, ConsentAction.WITHDRAW): ConsentStatus.WITHDRAWN,
    (ConsentStatus.WITHDRAWN, ConsentAction.GIVE): ConsentStatus.GIVEN,
    (ConsentStatus.DECLINED, ConsentAction.GIVE): ConsentStatus.GIVEN,
}


class Consent(Document):
    """What one person decided about one thing on account of one patient.

    ``withdrawn_at`` is also when somebody who had never agreed said no.
    """

    COLLECTION: ClassVar[str] = "consents"

    person_id: str
    patient_id: str
    scope: ConsentScope
    status: ConsentStatus = ConsentStatus.GIVEN
    text_version: str
    given_at: datetime | None = None
    withdrawn_at: datetime | None = None


def consent_id(hospital: str, patient: str, person: str, scope: ConsentScope) -> str:
    return derived_id(hospital, "consent", patient, person, scope)


def needs_consents(state: State, hospital: str, patient: str, person: str) -> Iterator[Need]:
    """What the person decided under any id. Needs: both persons' records."""
    for ids in product(same_person(state, patient), same_person(state, person)):
        for scope in ConsentScope:
            yield Need(Consent, "id", consent_id(hospital, *ids, scope))


def decisions(draft: Draft, patient: str, person: str) -> list[Consent]:
    """All that the person decided on account of the patient. Needs: ``needs_consents``."""
    needs = needs_consents(draft.state, draft.hospital, patient, person)
    found = [draft.get(Consent, need.value) for need in needs]
    return [c for c in found if c is not None]


def give(
    draft: Draft, *, patient: str, person: str, scope: ConsentScope, text_version: str
) -> Consent:
    """Record and publish a consent that is given now; a later one replaces an earlier one."""
    id = consent_id(draft.hospital, patient, person, scope)
    known = draft.get(Consent, id)
    consent = draft.put(
        Consent(
            id=id,
            hospital=draft.hospital,
            version=known.version if known else 0,
            person_id=person,
            patient_id=patient,
            scope=scope,
            text_version=text_version,
            given_at=draft.now,
        )
    )
    draft.emit(ConsentGiven(**_about(consent), given_at=draft.now), consent)
    return consent


def decline(
    draft: Draft, *, patient: str, person: str, scope: ConsentScope, text_version: str
) -> None:
    """Record and publish a no, unless the person has decided before: a later no is a
    withdrawal, which is asked for by itself."""
    if any(c.scope is scope for c in decisions(draft, patient, person)):
        return
    consent = Consent(
        id=consent_id(draft.hospital, patient, person, scope),
        hospital=draft.hospital,
        person_id=person,
        patient_id=patient,
        scope=scope,
        status=ConsentStatus.DECLINED,
        text_version=text_version,
    )
    withdraw(draft, consent, ConsentStatus.DECLINED)


def withdraw(
    draft: Draft, consent: Consent, status: ConsentStatus = ConsentStatus.WITHDRAWN
) -> Consent:
    consent = draft.put(consent.but(status=status, withdrawn_at=draft.now))
    draft.emit(ConsentWithdrawn(**_about(consent), withdrawn_at=draft.now), consent)
    return consent


def _about(consent: Consent) -> dict[str, Any]:
    return {
        "consent_id": consent.id,
        "patient_id": consent.patient_id,
        "person_id": consent.person_id,
        "scope": consent.scope,
    }


def text_version(draft: Draft, key: str) -> str:
    """The version of a text that is in force today."""
    return draft.policy.text(key, draft.policy.day(draft.now)).version


class ConsentCommand(BaseModel):
    consent_id: str


def needs_consent(input: Input, state: State) -> Iterator[Need]:
    yield from by_id(Consent, input.data.consent_id)
    consent = state.get(Consent, input.data.consent_id)
    if consent is not None and input.actor is not None:
        yield from needs_same(state, consent.person_id)
        yield from needs_same(state, input.actor.person)


def decide_consent(action: ConsentAction, input: Input, state: State, env: Env) -> Answer:
    """Withdrawn, or given again to the text as it is today. Done already: nothing changes."""
    draft = Draft(input, state, env)
    consent = draft.get(Consent, input.data.consent_id)
    if consent is None or not is_caller(draft, consent.person_id):
        return Refusal(Common.NOT_FOUND)
    if consent.scope is ConsentScope.GROUP_RULES:
        return Refusal(Reason.LEAVE_THE_GROUP)
    if not unchanged(input, consent):
        return Refusal(Common.CHANGED)
    if (consent.status, action) in TRANSITIONS:
        if action is ConsentAction.WITHDRAW:
            consent = withdraw(draft, consent)
        else:
            consent = give(
                draft,
                patient=consent.patient_id,
                person=consent.person_id,
                scope=consent.scope,
                text_version=text_version(draft, HEALTH_DATA),
            )
    return draft.decision({"consent_id": consent.id, "status": consent.status})
