"""What can be set for prescriptions from outside, besides ``policies``?"""

from __future__ import annotations

from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from libs.common.settings import Settings as CommonSettings


class Settings(CommonSettings):
    http_port: int = Field(8004, description="the port of its HTTP API")
    signing_url: str = Field(
        "", description="the hospital's signing service; may be empty in development only"
    )
    signing_timeout: float = Field(5.0, gt=0, le=30, description="seconds for a signature")
    signing_ca: Path | None = Field(
        None, description="PEM: who vouches for it; the system's authorities if absent"
    )
    signing_client_cert: Path | None = Field(None, description="PEM: our certificate to it")
    signing_client_key: Path | None = Field(None, description="PEM: its key, if in another file")
    signing_keys_dir: Path = Field(
        Path(".data/signing-keys"), description="keys of our own, in development only"
    )
    clinical_url: str = Field(
        "", description="the hospital's rule engine; the set in policies/clinical if empty"
    )
    clinical_timeout: float = Field(2.0, gt=0, le=10, description="seconds for a check, in all")
    clinical_ca: Path | None = Field(
        None, description="PEM: who vouches for it; the system's authorities if absent"
    )
    clinical_client_cert: Path | None = Field(None, description="PEM: our certificate to it")
    clinical_client_key: Path | None = Field(None, description="PEM: its key, if in another file")
    prescriptions_public_url: str = Field(
        "http://127.0.0.1:8004",
        description="where people reach /verify, without a slash at the end",
    )

    @model_validator(mode="after")
    def _usable(self) -> Self:
        for name in ("signing_url", "clinical_url"):
            url = urlsplit(getattr(self, name))
            here = (url.scheme, self.environment) == ("http", "development")
            if url.geturl() and url.scheme != "https" and not here:
                raise ValueError(f"{name.upper()} must be an https URL")
        return self
