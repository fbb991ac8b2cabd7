"""What the tests on interop's port send, and by what."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from libs.common.devstack.mllp import Sender
from services.interop.settings import Settings
from tests.support.running import Running


def discharge(id: str, *, patient: str = "", more: bytes = b"") -> bytes:
    """An A03 with the control id ``id``, of a patient of its own; ``more``: further segments."""
    at = (datetime.now(UTC) - timedelta(hours=1)).strftime("%Y%m%d%H%M%S%z")
    pv1 = "|".join(["I", "NEURO", *[""] * 15, f"e-{id}", *[""] * 16, "01", *[""] * 8, at])
    segments = (
        f"MSH|^~\\&|HIS|LOAD|LIANXIN|LX|{at}||ADT^A03|{id}|P|2.5.1||||||UNICODE UTF-8",
        f"PID|1||{patient or f'p-{id}'}^^^^PI||甲||19600101|F",
        f"PV1||{pv1}",
        "DG1|1||I63.900x001^脑梗死^ICD10|||F",
    )
    return "".join(f"{s}\r" for s in segments).encode() + more


def sender(service: Running) -> Sender:
    """A connection to the port of ``service``."""
    settings = service.runtime.settings
    assert isinstance(settings, Settings)
    return Sender(settings.mllp_port)
