"""Does the library of Standard Webhooks accept what we sign, and nothing else?"""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from libs.common.signing import secret_of, signed_headers
from services.interop.domain.subscription import new_secret

SECRET, OTHER = new_secret(lambda: "one"), new_secret(lambda: "another")
ids = st.uuids().map(str)


def headers(body: bytes, id: str, *secrets: str, ago: int = 0) -> dict[str, str]:
    return signed_headers([secret_of(s) for s in secrets], id, int(time.time()) - ago, body)


@given(body=st.text(max_size=200).map(str.encode), id=ids)
def test_what_we_sign_is_accepted(body: bytes, id: str) -> None:
    Webhook(SECRET).verify(body, headers(body, id, SECRET), json_parse=False)


@given(body=st.binary(max_size=50).map(lambda b: b.hex().encode()), id=ids)
def test_while_a_secret_is_exchanged_either_is_accepted(body: bytes, id: str) -> None:
    signed = headers(body, id, SECRET, OTHER)
    for secret in (SECRET, OTHER):
        Webhook(secret).verify(body, signed, json_parse=False)


def test_another_secret_body_id_or_time_is_refused() -> None:
    signed = headers(b"{}", "m-1", SECRET)
    wrong = [
        (OTHER, b"{}", signed),
        (SECRET, b"{ }", signed),
        (SECRET, b"{}", signed | {"webhook-id": "m-2"}),
        (SECRET, b"{}", signed | {"webhook-timestamp": str(int(time.time()) + 1)}),
        (SECRET, b"{}", headers(b"{}", "m-1", SECRET, ago=3600)),
    ]
    for secret, body, sent in wrong:
        with pytest.raises(WebhookVerificationError):
            Webhook(secret).verify(body, sent, json_parse=False)
