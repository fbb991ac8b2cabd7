"""What the tests on HL7 messages begin with: profiles, segments by field number, a clock."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from libs.common import yaml_files
from libs.common.events import EncounterDischarged
from services.interop.edge.hl7.mapping import Mapped, map_message
from services.interop.edge.hl7.message import Message, parse
from services.interop.edge.hl7.refused import Refused
from services.interop.edge.profile import Profile, layered

ROOT = Path(__file__).parents[3]
CORPUS = ROOT / "tests/data/hl7"
SENDERS = ROOT / "policies/senders"
ZONE = ZoneInfo("Asia/Shanghai")
NOW = datetime(2026, 11, 26, 8, 0, tzinfo=UTC)

DEFAULT = yaml_files.read(SENDERS / "default.yaml")
SAMPLE = yaml_files.read(SENDERS / "sample-his.yaml")


def adult_age(_day: date) -> int:
    return 18


def profile(**differs: Any) -> Profile:
    """The default profile, with what differs laid over it."""
    return Profile.model_validate(layered(DEFAULT, differs))


def sample() -> Profile:
    return Profile.model_validate(layered(DEFAULT, SAMPLE))


def segment(name: str, **fields: str) -> str:
    """``segment("PV1", f2="I", f19="V1")``."""
    numbered = {int(key[1:]): value for key, value in fields.items()}
    return "|".join([name, *(numbered.get(n, "") for n in range(1, max(numbered) + 1))])


def raw(kind: str, *segments: str, charset: str = "") -> bytes:
    header = segment(
        "MSH|^~\\&", f1="HIS", f2="LX", f5="20261120101500", f7=kind, f8="1", f9="P", f10="2.5"
    )
    return "\r".join([f"{header}{'|' * 6}{charset}", *segments]).encode()


def message(kind: str, *segments: str) -> Message:
    return parse(raw(kind, *segments))


def mapped(kind: str, *segments: str, by: Profile | None = None) -> Mapped:
    return map_message(message(kind, *segments), by or profile(), ZONE, NOW, adult_age)


EVN = segment("EVN", f2="20261120094000")


def pid(**fields: str) -> str:
    return segment("PID", **{"f3": "100^^^EMPI^MR", "f5": "样例^甲", "f7": "19680412", **fields})


def pv1(**fields: str) -> str:
    usual = {"f2": "I", "f3": "NEURO", "f19": "V1", "f36": "01", "f45": "20261120093000"}
    return segment("PV1", **{**usual, **fields})


def codes(found: Mapped) -> set[str]:
    """The codes of the notes."""
    return {note.code for note in found.notes}


def discharge(*segments: str, by: Profile | None = None) -> EncounterDischarged:
    event = mapped("ADT^A03", *segments, by=by).events[0]
    assert isinstance(event, EncounterDischarged)
    return event


def refusal(kind: str, *segments: str, by: Profile | None = None) -> tuple[str, int, int]:
    with pytest.raises(Refused) as refused:
        mapped(kind, *segments, by=by)
    return refused.value.segment, refused.value.field, int(refused.value.code)
