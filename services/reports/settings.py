"""What can be set for reports from outside? Nothing of its own yet: see ``policies/reports``."""

from __future__ import annotations

from libs.common.settings import Settings as CommonSettings


class Settings(CommonSettings):
    http_port: int = 8003
