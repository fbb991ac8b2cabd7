"""What can be set for notify from outside?"""

from __future__ import annotations

from datetime import timedelta
from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, model_validator

from libs.common.settings import Settings as Common
from libs.common.signing import secret_of


class Settings(Common):
    """A channel is on when its provider is configured: ``SMTP_HOST``, ``WEBHOOK_SECRET``."""

    http_port: int = Field(8005, description="the port of its HTTP API")

    smtp_host: str = Field("", description="the mail server; empty: no e-mail")
    smtp_port: int = Field(587, description="its port")
    smtp_security: Literal["none", "starttls", "tls"] = Field(
        "starttls", description="how the connection is kept private"
    )
    smtp_username: str = Field("", description="who we are to it; empty: nobody asks")
    smtp_password: SecretStr = Field(SecretStr(""), description="its password")
    smtp_from: str = Field("", description="the address that mails come from")
    smtp_from_name: str = Field("", description="the name beside that address")
    smtp_timeout: float = Field(20.0, gt=0, le=300, description="seconds for each answer")
    smtp_calls: int = Field(16, ge=1, le=200, description="mails under way at a time")

    webhook_secret: SecretStr = Field(
        SecretStr(""), description="whsec_… (Standard Webhooks); empty: no webhooks"
    )
    webhook_default_url: str = Field(
        "", description="takes the notifications of persons without a webhook of their own"
    )
    webhook_allow_private: bool = Field(
        False, description="lets persons' webhooks lead into private networks and over http"
    )
    webhook_timeout: float = Field(10.0, gt=0, le=60, description="seconds for each answer")
    webhook_calls: int = Field(32, ge=1, le=500, description="webhooks under way at a time")

    discharge_ahead: timedelta = Field(
        timedelta(days=1),
        description="as enrollment's: a time further ahead of the clock is a slip of the pen",
    )
    live_seconds: float = Field(
        900, gt=0, description="a live inbox is asked to reconnect after so long"
    )

    @model_validator(mode="after")
    def _usable(self) -> Self:
        if self.smtp_host and "@" not in self.smtp_from:
            raise ValueError("SMTP_HOST needs SMTP_FROM, an address")
        if self.webhook_secret.get_secret_value():
            secret_of(self.webhook_secret.get_secret_value())
        elif self.webhook_default_url:
            raise ValueError("WEBHOOK_DEFAULT_URL needs WEBHOOK_SECRET")
        if self.webhook_default_url:
            parts = urlsplit(self.webhook_default_url)
            if parts.scheme not in ("http", "https") or not parts.hostname:
                raise ValueError("WEBHOOK_DEFAULT_URL is no web address")
        return self
