"""Is this prescription genuine, and may it still be dispensed?

For anyone, without a token: a pharmacy anywhere, a patient, a court. Who shows the code of
a prescription (the hash of its bytes, which only who holds it knows) or its text hears
whether it is genuine, who signed it and how it stands; never whose or of what it is. The
keys are those of the time of signing, so nothing depends on who signs today.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from libs.common import detached_jws
from libs.common.decision import Common
from libs.common.http.access import PUBLIC, Access
from libs.common.http.bodies import Body
from libs.common.http.problems import Problem
from services.prescriptions.api.reading import Policy, Prescriptions
from services.prescriptions.domain.documents import Refill, SignedForm, SigningKey
from services.prescriptions.domain.form import PrescriptionForm, digest
from services.prescriptions.domain.fulfilment import in_part
from services.prescriptions.domain.signatures import complete
from services.prescriptions.domain.transitions import Status
from services.prescriptions.store import Store

router = APIRouter(prefix="/v1", tags=["signatures"])

HospitalId = Annotated[str, Query(min_length=1, max_length=64, description="The hospital.")]
#: In a header, because addresses end up in logs.
Code = Annotated[
    str,
    Header(
        alias="Verification-Code",
        min_length=1,
        max_length=64,
        description="From the QR code: base64url of the SHA-256 of the prescription's text.",
    ),
]
#: The longest text there is: a dosage of 8,000 characters and the rest.
TEXT_MAX, SIGNATURES_MAX = 64 * 1024, 8


class Answer(BaseModel):
    model_config = ConfigDict(frozen=True)


class SignatureView(Answer):
    """One signature. What it says is true only if ``verified``."""

    verified: bool
    reason: str | None = Field(default=None, description="Why it is not.")
    role: str | None = None
    practitioner_id: str | None = None
    signed_at: datetime | None = None
    algorithm: str | None = None
    key_id: str | None = None


class Standing(Answer):
    """How the prescription stands at the hospital now."""

    status: str = Field(
        description="The renewal's status; ``superseded``: another version was signed after this "
        "one; ``stopped``: the hospital has stopped it."
    )
    dispensable: bool = Field(description="Genuine, in effect, and today is no later than valid_on")
    in_part: bool = Field(
        default=False, description="Less of it was dispensed than is prescribed, as pharmacies told"
    )
    effective_at: datetime | None
    valid_on: date | None


class Verification(Answer):
    """``valid``: doctor and pharmacist, two persons, have signed exactly this."""

    valid: bool
    reason: str | None = Field(default=None, description="Why not, if no signature is to blame.")
    signatures: tuple[SignatureView, ...] = ()
    standing: Standing | None = Field(
        default=None, description="Absent if this hospital's service does not know it."
    )


class Copy(Body):
    """A prescription that somebody holds."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=False)

    document: str = Field(
        min_length=1, max_length=TEXT_MAX, description="Its text, byte by byte as it was signed."
    )
    signatures: list[str] = Field(
        min_length=1, max_length=SIGNATURES_MAX, description="Detached JWS (RFC 7515, appendix F)."
    )


class KeySet(Answer):
    """JWKS (RFC 7517); ``sub`` is the practitioner whose key it is."""

    keys: list[dict[str, str]]


@router.get("/prescriptions/{id}/verification", response_model=Verification)
async def verify(
    id: str, store: Prescriptions, policy: Policy, request: Request, hospital: HospitalId,
    code: Code,
) -> Any:  # fmt: skip
    """Verify what the hospital holds, by the code on the prescription."""
    refill = await store.renewal_of(hospital, id)
    form = _of_code(refill, code)
    if refill is None or form is None:
        raise Problem(404, Common.NOT_FOUND)
    signatures = [s.jws for s in form.signatures]
    return await _verified(request, store, policy, form.text, signatures, refill)


@router.post("/prescriptions/verification", response_model=Verification)
async def verify_copy(body: Copy, store: Prescriptions, policy: Policy, request: Request) -> Any:
    """Verify a copy: of one byte that differs no signature holds."""
    try:
        form = PrescriptionForm.model_validate_json(body.document)
    except ValidationError:
        return Verification(valid=False, reason="not_a_prescription")
    refill = await store.renewal_of(form.hospital, form.prescription_id)
    known = refill if _of_code(refill, digest(body.document)) is not None else None
    return await _verified(request, store, policy, body.document, body.signatures, known)


@router.get("/signing-keys", response_model=KeySet)
async def signing_keys(
    store: Prescriptions,
    hospital: HospitalId,
    kid: Annotated[
        list[str], Query(max_length=SIGNATURES_MAX, description="As in a signature's header.")
    ],
) -> Any:
    """Public keys with which prescriptions of a hospital were signed, replaced ones, too."""
    found = await store.keys(hospital, [k for k in kid if detached_jws.KID.fullmatch(k)])
    return KeySet(
        keys=[{**k.jwk, "kid": k.id, "use": "sig", "sub": k.person_id} for k in found.values()]
    )


async def _verified(
    request: Request,
    store: Store,
    policy: Policy,
    text: str,
    signatures: Sequence[str],
    refill: Refill | None,
) -> Verification:
    form = PrescriptionForm.model_validate_json(text)
    kids = {kid for jws in signatures if (kid := _kid(jws)) is not None}
    keys = await store.keys(form.hospital, kids)
    seen = [examined(text, jws, keys.get(_kid(jws) or "")) for jws in signatures]
    signed_by = [(s.role or "", s.practitioner_id or "") for s in seen if s.verified]
    valid = len(signed_by) == len(seen) and complete(form, signed_by)
    standing = None
    if refill is not None:
        stopped = await store.is_stopped(refill, request.app.state.ports.clock.now())
        status = _status(refill, text, stopped=stopped)
        today = policy.day(request.app.state.ports.clock.now())
        in_time = refill.valid_on is not None and today <= refill.valid_on
        standing = Standing(
            status=status,
            dispensable=valid and status == Status.EFFECTIVE and in_time,
            in_part=in_part(refill.prescribed.quantity, await store.fulfilments(refill)),
            effective_at=refill.effective_at,
            valid_on=refill.valid_on,
        )
    return Verification(
        valid=valid,
        reason=None if valid or len(signed_by) < len(seen) else "signature_missing",
        signatures=tuple(seen),
        standing=standing,
    )


def _status(refill: Refill, text: str, *, stopped: bool) -> str:
    if refill.forms[-1].text != text:
        return "superseded"
    return "stopped" if stopped else refill.paper_status


def _of_code(refill: Refill | None, code: str) -> SignedForm | None:
    """The version whose hash ``code`` is."""
    forms = () if refill is None else refill.forms
    shown = code.encode()
    return next((f for f in forms if hmac.compare_digest(f.digest.encode(), shown)), None)


def _kid(jws: str) -> str | None:
    try:
        kid = detached_jws.header_of(jws).get("kid")
    except detached_jws.NotVerified:
        return None
    return kid if isinstance(kid, str) and detached_jws.KID.fullmatch(kid) else None


def examined(text: str, jws: str, key: SigningKey | None) -> SignatureView:
    if key is None:
        return SignatureView(verified=False, reason="key_unknown")
    try:
        header = detached_jws.verify(jws, text.encode(), key.jwk)
    except detached_jws.NotVerified as error:
        return SignatureView(verified=False, reason=error.reason, key_id=key.id)
    if header.get("sub") != key.person_id or not isinstance(header.get("iat"), int):
        return SignatureView(verified=False, reason="key_of_another", key_id=key.id)
    return SignatureView(
        verified=True,
        role=str(header.get("role")),
        practitioner_id=key.person_id,
        signed_at=datetime.fromtimestamp(header["iat"], UTC),
        algorithm=header["alg"],
        key_id=key.id,
    )


ACCESS: Access = {
    ("GET", "/v1/prescriptions/{id}/verification"): PUBLIC,
    ("POST", "/v1/prescriptions/verification"): PUBLIC,
    ("GET", "/v1/signing-keys"): PUBLIC,
}
