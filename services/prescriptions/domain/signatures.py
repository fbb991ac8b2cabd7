"""When does a signature count?

The private keys are elsewhere and so is the arithmetic: a signature is made and verified
before a command is decided, over the text that the rule said it would store. The rule
then takes it only if that is still the text, and the signer the one who acts.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace

from pydantic import BaseModel, ConfigDict

from libs.common.decision import Actor, Answer, Common, Decision, Input, Need, Refusal, State
from services.prescriptions.domain.documents import Signature, SigningKey
from services.prescriptions.domain.form import PrescriptionForm
from services.prescriptions.domain.health import Practitioner
from services.prescriptions.domain.reasons import Reason

#: In this order, and never one person as both.
SIGNATORIES = ("doctor", "pharmacist")


class MadeSignature(BaseModel):
    """A signature that was verified with the public key ``jwk``."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    text: str
    person_id: str
    role: str
    jws: str
    kid: str
    jwk: Mapping[str, str]


class Signs(BaseModel):
    """What a command carries whose step has to be signed."""

    signed: MadeSignature | None = None


@dataclass(frozen=True, slots=True)
class ToSign(Refusal):
    """Nothing else stands against the step: ``text`` is what has to be signed for it."""

    text: str = ""


def to_sign(text: str) -> ToSign:
    return ToSign(Reason.UNSIGNED, text=text)


def signed_with(input: Input) -> MadeSignature | None:
    return input.data.signed if isinstance(input.data, Signs) else None


def needs_key(input: Input) -> Iterator[Need]:
    signed = signed_with(input)
    if signed is not None:
        yield Need(SigningKey, "id", signed.kid)


@dataclass(frozen=True, slots=True)
class Taken:
    """A signature that counts, with its key if that is seen for the first time."""

    signature: Signature
    new_key: SigningKey | None

    def beside(self, answer: Answer) -> Answer:
        if self.new_key is None or not isinstance(answer, Decision):
            return answer
        return replace(answer, changes=(*answer.changes, self.new_key))


def taken(input: Input, state: State, actor: Actor, role: str, text: str) -> Taken | Refusal:
    """The signature that ``input`` carries, if it is the actor's, in ``role``, of ``text``."""
    signed = signed_with(input)
    if signed is None:
        return to_sign(text)
    if signed.text != text:
        return Refusal(Common.CHANGED)  # by what was told in the meantime
    key = SigningKey(
        id=signed.kid,
        hospital=input.hospital,
        person_id=actor.person,
        jwk=dict(signed.jwk),
        first_used_at=input.time,
    )
    known = state.get(SigningKey, signed.kid)
    same = known is None or (known.person_id, known.jwk) == (key.person_id, key.jwk)
    if (signed.person_id, signed.role) != (actor.person, role) or not same:
        return Refusal(Reason.KEY_OF_ANOTHER)
    practitioner = state.get(Practitioner, actor.person)
    signature = Signature(
        role=role,
        person_id=actor.person,
        at=input.time,
        kid=signed.kid,
        jws=signed.jws,
        name=practitioner.name if practitioner is not None else None,
    )
    return Taken(signature, key if known is None else None)


def complete(form: PrescriptionForm, signed_by: Collection[tuple[str, str]]) -> bool:
    """Whether these verified (role, person) make ``form`` a prescription that took effect."""
    persons = dict(signed_by)
    return (
        len(signed_by) == len(SIGNATORIES)
        and set(persons) == set(SIGNATORIES)
        and persons["doctor"] == form.doctor_id
        and len(set(persons.values())) == len(SIGNATORIES)
    )
