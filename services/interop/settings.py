"""What can be set for interop from outside? Who sends what is in ``policies/senders``."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from libs.common.settings import Settings as CommonSettings


class Settings(CommonSettings):
    http_port: int = Field(8006, description="the port of its HTTP API")
    interop_hospital: str = Field("h1", description="whose systems send here over MLLP")
    interop_public_url: str = Field(
        "http://127.0.0.1:8006",
        pattern=r"^https?://[^/\s]+$",
        description="under which other services and systems reach this one's HTTP",
    )
    mllp_host: str = Field("", description="HTTP_HOST if empty")
    mllp_port: int = Field(2575, ge=0, le=65_535, description="IANA's for HL7; 0: no MLLP")
    mllp_max_frame: int = Field(
        64 * 1024 * 1024,
        ge=1_024,
        le=256 * 1024 * 1024,
        description="bytes of one message; all connections together may hold 256 MiB",
    )
    mllp_max_connections: int = Field(256, ge=1, description="at a time, of all senders")
    mllp_max_per_address: int = Field(
        32, ge=1, description="connections; more for an interface engine or a TLS proxy"
    )
    mllp_frame_seconds: float = Field(60.0, gt=0, description="from a message's begin to its end")
    mllp_unread_seconds: float = Field(30.0, gt=0, description="for a sender to read its answers")
    mllp_idle_seconds: float = Field(3_600.0, gt=0, description="until the next message begins")
    mllp_tls_cert: Path | None = Field(None, description="PEM; with it MLLP speaks TLS only")
    mllp_tls_key: Path | None = Field(None, description="PEM: its key, if in another file")
    mllp_tls_client_ca: Path | None = Field(
        None, description="PEM; with it every sender needs a certificate"
    )
    fhir_max_body: int = Field(
        10 * 1024 * 1024,
        ge=1_024,
        le=15 * 1024 * 1024,
        description="bytes of one FHIR request; the database's documents end at 16 MiB",
    )
    message_retention_days: int = Field(
        90, ge=0, le=36_500, description="messages are kept so long after they came; 0: for ever"
    )

    webhook_allow_private: bool = Field(
        False, description="lets partners' endpoints lie in private networks and speak http"
    )
    webhook_timeout: float = Field(10.0, gt=0, le=60, description="seconds for each answer")
    webhook_calls: int = Field(64, ge=1, le=500, description="webhooks under way at a time")
    webhook_parallel: int = Field(
        8, ge=1, le=64, description="patients of one subscription whose events go side by side"
    )
    webhook_retry_base: float = Field(5.0, gt=0, description="seconds before the first repetition")
    webhook_retry_cap: float = Field(600.0, gt=0, description="seconds between two at most")
    webhook_give_up_hours: float = Field(72.0, gt=0, description="then a delivery is parked")
    webhook_keep_days: int = Field(
        14, ge=0, le=36_500, description="delivered events can be read again so long; 0: for ever"
    )
    webhook_suspended_days: float = Field(
        30.0,
        gt=0,
        description="what waits longer under a suspended subscription is dropped; by then Kafka's"
        " topics have forgotten it, too",
    )
    webhook_secret_overlap_hours: float = Field(
        24.0, gt=0, description="a secret that was replaced still signs"
    )
