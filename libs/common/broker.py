"""How is the broker reached, and who are we to it?

By the names that Kafka's own tools use. What stands in files (the authority, our certificate)
is read anew for each client, so a renewed file is taken up without a restart.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from libs.common import tls

Protocol = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
Mechanism = Literal["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"]


@dataclass(frozen=True)
class Broker:
    """``servers``: ``host:port, …``. Without more, whoever reaches it is let in."""

    servers: str
    protocol: Protocol = "PLAINTEXT"
    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    mechanism: Mechanism = "SCRAM-SHA-512"
    username: str = ""
    password: str = field(default="", repr=False)

    def options(self) -> dict[str, Any]:
        """What a Kafka client is made with. Raises ``OSError`` if a file can't be used."""
        found: dict[str, Any] = {"bootstrap_servers": self.servers}
        if self.protocol == "PLAINTEXT":
            return found
        found["security_protocol"] = self.protocol
        if "SSL" in self.protocol:
            found["ssl_context"] = tls.trusting(self.ca, self.cert, self.key)
        if "SASL" in self.protocol:
            found["sasl_mechanism"] = self.mechanism
            found["sasl_plain_username"] = self.username
            found["sasl_plain_password"] = self.password
        return found


class KafkaSettings(BaseSettings):
    """The variables that say so, alike for services, their tools and partners' programs."""

    # A complaint says what is wrong, not all that was given: passwords are among it.
    model_config = SettingsConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    kafka_bootstrap_servers: str = Field("127.0.0.1:9092", description="host:port, …")
    kafka_security_protocol: Protocol = Field(
        "PLAINTEXT", description="SASL_SSL, or SSL with a certificate, in an installation"
    )
    kafka_ca: Path | None = Field(
        None, description="PEM: who vouches for the brokers; the system's authorities if absent"
    )
    kafka_cert: Path | None = Field(None, description="PEM: our certificate to them")
    kafka_key: Path | None = Field(None, description="PEM: its key, if in another file")
    kafka_sasl_mechanism: Mechanism = Field("SCRAM-SHA-512", description="how we prove who we are")
    kafka_username: str = Field("", description="who we are to the brokers, with SASL")
    kafka_password: SecretStr = Field(SecretStr(""), description="its password")

    @model_validator(mode="after")
    def _broker_is_whole(self) -> Self:
        sasl, encrypted = (part in self.kafka_security_protocol for part in ("SASL", "SSL"))
        if sasl and not (self.kafka_username and self.kafka_password.get_secret_value()):
            raise ValueError(
                f"KAFKA_SECURITY_PROTOCOL={self.kafka_security_protocol} needs KAFKA_USERNAME and"
                " KAFKA_PASSWORD"
            )
        if not sasl and self.kafka_username:
            raise ValueError("KAFKA_USERNAME needs KAFKA_SECURITY_PROTOCOL=SASL_SSL")
        if not encrypted and (self.kafka_ca or self.kafka_cert):
            raise ValueError("KAFKA_CA and KAFKA_CERT need KAFKA_SECURITY_PROTOCOL=SASL_SSL or SSL")
        if self.kafka_key and not self.kafka_cert:
            raise ValueError("KAFKA_KEY needs KAFKA_CERT, the certificate that it belongs to")
        for name in ("kafka_ca", "kafka_cert", "kafka_key"):
            file: Path | None = getattr(self, name)
            if file is not None and not file.is_file():
                raise ValueError(f"{name.upper()} names {file}, which is no file")
        return self

    @property
    def broker(self) -> Broker:
        return Broker(
            servers=self.kafka_bootstrap_servers,
            protocol=self.kafka_security_protocol,
            ca=self.kafka_ca,
            cert=self.kafka_cert,
            key=self.kafka_key,
            mechanism=self.kafka_sasl_mechanism,
            username=self.kafka_username,
            password=self.kafka_password.get_secret_value(),
        )
