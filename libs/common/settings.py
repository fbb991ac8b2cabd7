"""What can be set for a service from outside?

Environment variables, read once at the start into one frozen object. A service adds its
own in ``services/<name>/settings.py``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, SecretStr, model_validator

from libs.common.broker import KafkaSettings


class Settings(KafkaSettings):
    """Every field is the environment variable of the same name in capitals."""

    environment: Literal["production", "development"] = Field(
        "production", description="development lets in whom our own issuer names, and more"
    )
    kafka_idempotence: Literal["on", "off"] = Field(
        "on", description="'off' only for a broker that can't, in a demonstration"
    )
    kafka_group: str = Field("", description="consumer group; lianxin.<service> if empty")
    mongo_url: str = Field(
        "mongodb://127.0.0.1:27017/?replicaSet=rs0", description="without a password in it"
    )
    mongo_username: str = Field("", description="who we are to the database (SCRAM)")
    mongo_password: SecretStr = Field(SecretStr(""), description="its password")
    mongo_tls: Literal["on", "off"] = Field("off", description="on in an installation")
    mongo_ca: Path | None = Field(
        None, description="PEM: who vouches for it; the system's authorities if absent"
    )
    mongo_cert: Path | None = Field(None, description="PEM: our certificate to it with its key")
    mongo_database: str = Field("", description="lianxin_<service> if empty")
    cipher_keys_dir: Path | None = Field(
        None, description="keys that seal personal data in the database; absent: it is not sealed"
    )
    cipher_takes_plain: Literal["on", "off"] = Field(
        "off", description="on while an installation begins to seal what it has stored unsealed"
    )
    http_host: str = Field(
        "0.0.0.0",  # noqa: S104 - in a pod
        description="the address it listens at; one machine sets 127.0.0.1",
    )
    http_port: int = Field(8000, description="the port of its HTTP API")
    oidc_issuer: str = Field("", description="whose tokens are taken: their claim iss")
    oidc_audience: str = Field("lianxin", description="their claim aud")
    oidc_jwks_url: str = Field("", description="the issuer's keys (JWKS)")
    oidc_ca: Path | None = Field(
        None, description="PEM: who vouches for its server; the system's authorities if absent"
    )
    otel_exporter_otlp_endpoint: str = Field(
        "", description="OTLP over HTTP, as http://collector:4318; empty: no traces are sent"
    )
    trace_sample_ratio: float = Field(
        1.0, ge=0, le=1, description="of the traces that begin here, how many are kept"
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="the least that is logged"
    )
    hospital_time_zone: str = Field("Asia/Shanghai", description="IANA name, for calendar rules")
    policies_dir: Path = Field(Path("policies"), description="the dated rules")
    outbox_limit: int = Field(50_000, ge=1, description="rows; beyond it commands get 503")
    linger_seconds: float = Field(
        1.0, ge=0, le=10, description="a stopping service serves on, until no one is sent to it"
    )
    lianxin_version: str = Field("", description="the image's version; the image sets it")
    batch_records: int = Field(500, ge=1, le=500, description="records of one transaction")

    @model_validator(mode="after")
    def _database_is_whole(self) -> Self:
        if bool(self.mongo_username) != bool(self.mongo_password.get_secret_value()):
            raise ValueError("MONGO_USERNAME and MONGO_PASSWORD need each other")
        for name in ("mongo_ca", "mongo_cert"):
            file: Path | None = getattr(self, name)
            if file is not None and self.mongo_tls == "off":
                raise ValueError(f"{name.upper()} needs MONGO_TLS=on")
            if file is not None and not file.is_file():
                raise ValueError(f"{name.upper()} names {file}, which is no file")
        return self

    @model_validator(mode="after")
    def _issuer_is_whole(self) -> Self:
        if self.oidc_ca is not None and not self.oidc_ca.is_file():
            raise ValueError(f"OIDC_CA names {self.oidc_ca}, which is no file")
        return self

    @property
    def mongo_credentials(self) -> dict[str, Any]:
        """What the driver is told besides the address."""
        found: dict[str, Any] = {}
        if self.mongo_username:
            found["username"] = self.mongo_username
            found["password"] = self.mongo_password.get_secret_value()
        if self.mongo_tls == "on":
            files = {"tlsCAFile": self.mongo_ca, "tlsCertificateKeyFile": self.mongo_cert}
            found["tls"] = True
            found |= {name: str(file) for name, file in files.items() if file is not None}
        return found
