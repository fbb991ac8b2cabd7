"""What can be set for reports from outside? Nothing of its own yet: see ``policies/reports``."""

from __future__ import annotations

from pydantic import Field

from libs.common.settings import Settings as CommonSettings


class Settings(CommonSettings):
    http_port: int = Field(8003, description="the port of its HTTP API")
