"""What can be set for enrollment from outside, besides its ``policies``?"""

from __future__ import annotations

from datetime import timedelta

from pydantic import Field

from libs.common.settings import Settings as CommonSettings


class Settings(CommonSettings):
    http_port: int = Field(8001, description="the port of its HTTP API")
    public_base_url: str = Field(
        "http://127.0.0.1:8001",
        description="where people reach /accept, without a slash at the end",
    )
    group_limit: int = Field(200, ge=1, le=10_000, description="seats of a group")
    invitation_valid: timedelta = Field(timedelta(days=7), description="ISO 8601, as P7D")
    backfill_after: timedelta = Field(
        timedelta(days=30), description="older discharges are recorded and tell nobody"
    )
    discharge_ahead: timedelta = Field(
        timedelta(days=1),
        description="hospital policy: a time further ahead of the clock is a slip of the pen",
    )
    tell_staff_within: timedelta = Field(
        timedelta(days=7), description="hospital policy: staff are told of nothing older"
    )
