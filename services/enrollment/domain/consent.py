"""To what did a person agree, when, to which text, and does it still hold?

Health data need a consent of their own, apart from the group's rules, and it can be
withdrawn (Personal Information Protection Law of the PRC, art. 15, 29 and 30).
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar

from libs.common.decision import Document, Need, derived_id
from libs.common.events import ConsentGiven, ConsentScope, ConsentWithdrawn
from services.enrollment.domain.draft import Draft


class ConsentStatus(StrEnum):
    GIVEN = "given"
    WITHDRAWN = "withdrawn"


class ConsentAction(StrEnum):
    GIVE = "give"
    WITHDRAW = "withdraw"


#: Doing again what is done already changes nothing.
TRANSITIONS: dict[tuple[ConsentStatus, ConsentAction], ConsentStatus] = {
    (ConsentStatus.GIVEN, ConsentAction.WITHDRAW): ConsentStatus.WITHDRAWN,
    (ConsentStatus.WITHDRAWN, ConsentAction.GIVE): ConsentStatus.GIVEN,
}


class Consent(Document):
    """One person's consent to one thing on account of one patient."""

    COLLECTION: ClassVar[str] = "consents"

    person_id: str
    patient_id: str
    scope: ConsentScope
    status: ConsentStatus = ConsentStatus.GIVEN
    text_version: str
    given_at: datetime
    withdrawn_at: datetime | None = None


def consent_id(hospital: str, patient: str, person: str, scope: ConsentScope) -> str:
    return derived_id(hospital, "consent", patient, person, scope)


def needs_consents(hospital: str, patient: str, person: str) -> Iterator[Need]:
    for scope in ConsentScope:
        yield Need(Consent, "id", consent_id(hospital, patient, person, scope))


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


def withdraw(draft: Draft, consent: Consent) -> Consent:
    consent = draft.put(consent.but(status=ConsentStatus.WITHDRAWN, withdrawn_at=draft.now))
    draft.emit(ConsentWithdrawn(**_about(consent), withdrawn_at=draft.now), consent)
    return consent


def _about(consent: Consent) -> dict[str, Any]:
    return {
        "consent_id": consent.id,
        "patient_id": consent.patient_id,
        "person_id": consent.person_id,
        "scope": consent.scope,
    }
