"""How do people say on the command line since when, of whom, and who they are?"""

from __future__ import annotations

import getpass
import re
from datetime import datetime, timedelta
from typing import Annotated, Final
from zoneinfo import ZoneInfo

import typer

from lianxin.output import Failed

_AGO: Final = re.compile(r"(\d+)\s*(s|min|h|d)")
_UNIT: Final = {"s": "seconds", "min": "minutes", "h": "hours", "d": "days"}

Since = Annotated[
    str | None, typer.Option("--from", help="From when: 2026-01-31T08:00, or 2h, 30min, 3d ago.")
]
Until = Annotated[str | None, typer.Option("--to", help="To when, said in the same way.")]
Type = Annotated[str | None, typer.Option("--type", help="Of this event type only.")]
Source = Annotated[str | None, typer.Option("--source", help="Of this publisher (ce_source) only.")]
Hospital = Annotated[str | None, typer.Option("--hospital", help="Of this hospital only.")]
Apply = Annotated[bool, typer.Option("--apply", help="Do it; else it is only shown.")]
Rate = Annotated[float, typer.Option("--rate", min=0.1, max=10_000, help="Records a second.")]
Operator = Annotated[
    str | None,
    typer.Option("--operator", envvar="LIANXIN_OPERATOR", help="Who you are, for the audit trail."),
]


def moment(said: str | None, option: str, now: datetime, zone: str) -> datetime | None:
    """When that is; without an offset it is the hospital's time."""
    if said is None:
        return None
    ago = _AGO.fullmatch(said.strip())
    try:
        if ago is not None:
            return now - timedelta(**{_UNIT[ago[2]]: int(ago[1])})
        at = datetime.fromisoformat(said.strip())
    except (ValueError, OverflowError):
        raise Failed(
            f"{option} {said!r} is no time: write 2026-01-31T08:00, or 2h, 30min, 3d ago."
        ) from None
    return at if at.tzinfo is not None else at.replace(tzinfo=ZoneInfo(zone))


def named(operator: str | None) -> str:
    """Who acts; the user of this machine, unless they say."""
    if operator is not None and not operator.strip():
        raise Failed("--operator is empty: say who you are.")
    try:
        return (operator or getpass.getuser()).strip()
    except (KeyError, OSError):
        raise Failed("Say who you are: --operator NAME, or LIANXIN_OPERATOR.") from None
