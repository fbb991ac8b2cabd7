"""How does the patient sign for a long supply?

By a command of their own, or of who may act for them, over the text that they were shown.
It is kept with the renewal, word for word, so that who decides on it sees what was signed.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from libs.common.decision import (
    Answer,
    Common,
    Decision,
    Env,
    Input,
    Refusal,
    State,
    unchanged,
)
from libs.common.events import RefillStage
from services.prescriptions.domain.documents import Consent, Refill
from services.prescriptions.domain.parameters import Language
from services.prescriptions.domain.persons import may_act, patient, persons, role_of
from services.prescriptions.domain.policy import RenewalPolicy
from services.prescriptions.domain.reasons import Reason
from services.prescriptions.domain.receipt import receipt
from services.prescriptions.domain.steps import overdue, refused


class GiveConsent(BaseModel):
    """Sign for a supply that is longer than usual."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)

    policy: str = Field(
        min_length=1, max_length=64, description="`policy` of `GET /v1/declaration`, as shown."
    )
    language: Language = Field(description="In which the text was shown.")


def decide_consent(input: Input, state: State, env: Env) -> Answer:
    given: GiveConsent = input.data
    refill, actor = state.get(Refill, input.subject), input.actor
    if refill is None or actor is None:
        return Refusal(Common.NOT_FOUND)
    policy: RenewalPolicy = env.policy.at(env.now)
    care = patient(state, input.hospital, refill.patient_id)
    ids = persons(state, input.hospital, actor)
    if not may_act(care, ids, env.now, policy):
        return Refusal(Common.NOT_FOUND)
    if not unchanged(input, refill):
        return Refusal(Common.CHANGED)
    if refill.stage is not RefillStage.DOCTOR:
        return Refusal(Common.WRONG_STATUS, extra={"status": refill.status})
    if overdue(refill, env.now):
        return refused(Reason.DEADLINE_PASSED, policy)
    if given.policy != policy.version:
        return Refusal(Reason.CONSENT_OUTDATED, extra={"policy": policy.version})
    consent = Consent(
        person_id=actor.person,
        role=role_of(care, ids),
        at=env.now,
        policy=policy.version,
        language=given.language,
        text=policy.rules.long_supply.parameters.shown(given.language),
    )
    # Of one person the last; it is the same thing that is signed.
    others = (c for c in refill.consents if c.person_id != actor.person)
    signed = refill.but(consents=(*others, consent))
    return Decision(changes=(signed,), result=receipt(signed), note="consented")
