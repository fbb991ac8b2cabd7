"""What can be set for a service from outside?

Environment variables, read once at the start into one frozen object. A service adds its
own in ``services/<name>/settings.py``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Every field is the environment variable of the same name in capitals."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore")

    environment: Literal["production", "development"] = "production"
    kafka_bootstrap_servers: str = Field("127.0.0.1:9092", description="host:port, …")
    kafka_idempotence: Literal["on", "off"] = Field(
        "on", description="'off' only for a broker that can't, in a demonstration"
    )
    kafka_group: str = Field("", description="consumer group; lianxin.<service> if empty")
    mongo_url: str = "mongodb://127.0.0.1:27017/?replicaSet=rs0"
    mongo_database: str = Field("", description="lianxin_<service> if empty")
    http_host: str = "0.0.0.0"  # noqa: S104 - in a pod; one machine sets 127.0.0.1
    http_port: int = 8000
    oidc_issuer: str = ""
    oidc_audience: str = "lianxin"
    oidc_jwks_url: str = ""
    otel_exporter_otlp_endpoint: str = ""
    trace_sample_ratio: float = Field(1.0, ge=0, le=1)
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    hospital_time_zone: str = Field("Asia/Shanghai", description="IANA name, for calendar rules")
    policies_dir: Path = Path("policies")
    outbox_limit: int = Field(50_000, ge=1, description="rows; beyond it commands get 503")
    linger_seconds: float = Field(
        1.0, ge=0, le=10, description="a stopping service serves on, until no one is sent to it"
    )
    batch_records: int = Field(500, ge=1, le=500, description="records of one transaction")
