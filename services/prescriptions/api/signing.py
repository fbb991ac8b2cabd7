"""How does a doctor's or pharmacist's step get its signature?

The rule is asked first what it would store; that is signed outside; the signature is
verified with the key that the signer names, or that we know; then the step is decided,
which stores both or neither. Whatever a rule refuses is not signed at all.
"""

from __future__ import annotations

import structlog
from fastapi import Request

from libs.common import detached_jws
from libs.common.decision import Input
from libs.common.http.problems import Problem, unavailable
from services.prescriptions.domain.documents import SigningKey
from services.prescriptions.domain.signatures import MadeSignature, Signs, ToSign
from services.prescriptions.ports import (
    MadeJws,
    NotSigned,
    SignatureRequest,
    Signer,
    SigningFailed,
)
from services.prescriptions.store import Store

log = structlog.get_logger()


async def with_signature(request: Request, input: Input, role: str) -> Input:
    """``input`` with its actor's signature, if it needs one and nothing else forbids it."""
    runtime = request.app.state.runtime
    assert isinstance(input.data, Signs) and input.actor is not None
    answer = await runtime.engine.rehearse(input)
    if not isinstance(answer, ToSign):
        return input
    signer: Signer = request.app.state.adapters.signer
    asked = SignatureRequest(
        hospital=input.hospital,
        person=input.actor.person,
        role=role,
        at=input.time,
        payload=answer.text.encode(),
    )
    try:
        made = await signer.sign(asked)
    except SigningFailed as error:
        log.warning("not_signed", reason=error.reason, why=error.why)
        if error.reason is NotSigned.NO_CERTIFICATE:
            raise Problem(422, error.reason) from None
        raise unavailable(error.reason) from None
    kid = _kid(made)
    known = (await Store(runtime.database).keys(input.hospital, (kid,))).get(kid)
    signature = _verified(asked, made, kid, known, answer.text)
    return input._replace(data=input.data.model_copy(update={"signed": signature}))


def _verified(
    asked: SignatureRequest, made: MadeJws, kid: str, known: SigningKey | None, text: str
) -> MadeSignature:
    jwk = dict(made.jwk if known is None else known.jwk)
    try:
        header = detached_jws.verify(made.jws, asked.payload, jwk)
    except detached_jws.NotVerified as error:
        raise _wrong(error.reason) from None
    if any(header.get(name) != value for name, value in asked.claims.items()):
        raise _wrong("claims")
    return MadeSignature(
        text=text,
        person_id=asked.person,
        role=asked.role,
        jws=made.jws,
        kid=kid,
        jwk=jwk,
    )


def _kid(made: MadeJws) -> str:
    try:
        kid = detached_jws.header_of(made.jws).get("kid")
    except detached_jws.NotVerified as error:
        raise _wrong(error.reason) from None
    if not isinstance(kid, str) or not detached_jws.KID.fullmatch(kid):
        raise _wrong("kid")
    return kid


def _wrong(why: str) -> Problem:
    """The signer's mistake, and nothing that the person could mend."""
    log.error("signature_not_taken", why=why)
    return unavailable("signature_not_taken")
