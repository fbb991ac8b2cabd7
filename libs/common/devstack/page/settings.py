"""How is the page told where everything is?"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from zoneinfo import ZoneInfo

from libs.common.dev_issuer import DEFAULT_AUDIENCE, DEVELOPMENT, PATH
from libs.common.devstack.errors import StackError
from libs.common.devstack.places import ROOT, Ports


@dataclass(frozen=True, slots=True)
class Settings:
    port: int
    smtp_port: int
    bootstrap: str
    folder: Path
    topics: Path
    services: Mapping[str, str]
    issuer: str
    audience: str
    zone: ZoneInfo

    @staticmethod
    def read(environ: Mapping[str, str] | None = None) -> Settings:
        """From the environment. Raises ``StackError`` anywhere but in development: the page
        shows names, letters and tokens to whoever opens it."""
        given = os.environ if environ is None else environ
        if given.get("ENVIRONMENT") != DEVELOPMENT:
            raise StackError("The page runs only with ENVIRONMENT=development.")
        ports = Ports.fixed(given)
        return Settings(
            port=ports.page,
            smtp_port=int(given.get("PAGE_SMTP_PORT", "8025")),
            bootstrap=given.get("KAFKA_BOOTSTRAP_SERVERS", f"127.0.0.1:{ports.kafka}"),
            folder=Path(given.get("DATA_DIR", ".data")),
            topics=ROOT / "contracts" / "topics",
            services={n: f"http://127.0.0.1:{p}" for n, p in ports.services.items()},
            issuer=given.get("OIDC_ISSUER") or f"http://127.0.0.1:{ports.page}{PATH}",
            audience=given.get("OIDC_AUDIENCE") or DEFAULT_AUDIENCE,
            zone=ZoneInfo(given.get("HOSPITAL_TIME_ZONE", "Asia/Shanghai")),
        )
