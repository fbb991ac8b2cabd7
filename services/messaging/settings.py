"""What can be set for messaging from outside? Nothing of its own: see ``policies``."""

from __future__ import annotations

from pydantic import Field

from libs.common.settings import Settings as CommonSettings


class Settings(CommonSettings):
    http_port: int = Field(8002, description="the port of its HTTP API")
