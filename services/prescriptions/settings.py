"""What can be set for prescriptions from outside? Nothing of its own: see ``policies/renewal``."""

from __future__ import annotations

from libs.common.settings import Settings as CommonSettings


class Settings(CommonSettings):
    http_port: int = 8004
