"""How is the hospital's signing service asked? (The contract is docs/signatures.md.)

One POST for each signature. Any answer but a signature means that nothing was signed.
"""

from __future__ import annotations

from typing import Final

import httpx
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from libs.common import detached_jws, tls
from services.prescriptions.ports import MadeJws, NotSigned, SignatureRequest, SigningFailed
from services.prescriptions.settings import Settings

#: An answer above this size is not a signature.
MAX_BYTES: Final = 32 * 1024


class Answer(BaseModel):
    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)

    jws: str = Field(max_length=detached_jws.MAX_CHARS)
    jwk: dict[str, str]


class SigningService:
    def __init__(self, settings: Settings) -> None:
        self._url = settings.signing_url
        self._timeout = settings.signing_timeout
        # Kept: reading certificates takes longer than a signature.
        self._tls = tls.renewed(
            settings.signing_ca, settings.signing_client_cert, settings.signing_client_key
        )

    async def sign(self, asked: SignatureRequest) -> MadeJws:
        body = {
            "hospital": asked.hospital,
            "person": asked.person,
            "role": asked.role,
            "header": dict(asked.claims),
            "payload": detached_jws.text(asked.payload),
        }
        try:
            # Redirects are not followed: only the configured address may sign.
            async with httpx.AsyncClient(
                timeout=self._timeout, verify=self._tls(), follow_redirects=False
            ) as client:
                response = await client.post(self._url, json=body)
        except httpx.HTTPError as error:
            raise SigningFailed(NotSigned.UNAVAILABLE, type(error).__name__) from None
        if response.status_code == 404:
            raise SigningFailed(NotSigned.NO_CERTIFICATE, "404")
        if response.status_code != 200 or len(response.content) > MAX_BYTES:
            raise SigningFailed(NotSigned.UNAVAILABLE, str(response.status_code))
        try:
            answer = Answer.model_validate_json(response.content)
        except ValidationError:
            raise SigningFailed(NotSigned.UNAVAILABLE, "not the answer agreed on") from None
        return MadeJws(answer.jws, answer.jwk)
