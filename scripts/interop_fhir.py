"""What becomes of a folder of FHIR bundles? The part of the report that speaks FHIR.

Every ``*.json`` and ``*.json.gz`` goes through interop's HTTP port, its dates shifted so that
the last encounter in it was yesterday: what is old tells nobody much.
"""

from __future__ import annotations

import gzip
import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import httpx
import yaml

from libs.common.auth import Role
from libs.common.devstack.places import ROOT
from libs.common.devstack.stack import Stack

#: Who sends: it has a profile in ``policies/senders`` and a partner's file of its own.
CLIENT: Final = "sample-fhir"
MEDIA_TYPE: Final = "application/fhir+json"
_DATE: Final = re.compile(r"(\d{4}-\d{2}-\d{2})(T[0-9:.]+(?:Z|[+-]\d{2}:\d{2}))?")


def files(folder: Path) -> list[Path]:
    return sorted((*folder.rglob("*.json"), *folder.rglob("*.json.gz")))


def policies(folder: Path, hospital: str) -> Path:
    """The policies as they are, with the sample partner in ``hospital``."""
    copy = folder / "policies"
    shutil.copytree(ROOT / "policies", copy)
    file = copy / "partners" / f"{CLIENT}.yaml"
    partner = yaml.safe_load(file.read_text(encoding="utf-8"))
    file.write_text(yaml.safe_dump({**partner, "hospital": hospital}), encoding="utf-8")
    return copy


def token(stack: Stack, hospital: str) -> str:
    return stack.issuer().token(person=CLIENT, hospital=hospital, roles=[Role.INTEGRATION])


def read(file: Path) -> bytes:
    raw = file.read_bytes()
    return gzip.decompress(raw) if file.suffix == ".gz" else raw


def shifted(raw: bytes, today: date) -> bytes:
    """``raw`` with all its dates moved by as many days as make its last encounter yesterday's."""
    try:
        body = json.loads(raw)
    except ValueError:
        return raw  # sent as it is: interop has to say what is wrong
    last = max(_encounters(body), default=None)
    if last is None:
        return raw
    days = today - timedelta(days=1) - last
    return json.dumps(_moved(body, days), ensure_ascii=False).encode()


def addressed(raw: bytes) -> tuple[str, str, str]:
    """How ``raw`` is sent: method, type and id; a bundle, or what is none, has no type."""
    try:
        body = json.loads(raw)
    except ValueError:
        body = None
    if not isinstance(body, dict) or body.get("resourceType", "Bundle") == "Bundle":
        return "POST", "", ""
    id = body.get("id", "")
    return "PUT" if id else "POST", body["resourceType"], id


def _encounters(body: Any) -> Iterator[date]:
    entries = body.get("entry", ()) if isinstance(body, dict) else ()
    for entry in entries:
        resource = entry.get("resource", {})
        if resource.get("resourceType") == "Encounter":
            period = resource.get("period", {})
            found = _DATE.fullmatch(period.get("end") or period.get("start") or "")
            if found:
                yield date.fromisoformat(found[1])


def _moved(value: Any, days: timedelta) -> Any:
    if isinstance(value, dict):
        return {name: _moved(one, days) for name, one in value.items()}
    if isinstance(value, list):
        return [_moved(one, days) for one in value]
    if isinstance(value, str) and (found := _DATE.fullmatch(value)):
        return f"{date.fromisoformat(found[1]) + days}{found[2] or ''}"
    return value


@dataclass
class FhirReporter:
    """Sends the files of one hospital, and asks the API what became of each."""

    ops: httpx.AsyncClient
    sender: httpx.AsyncClient
    known: set[str] = field(default_factory=set)

    async def sent(self, file: Path) -> tuple[httpx.Response, list[dict[str, Any]]]:
        """The answer, and the messages that are stored of it: one, or one for each entry."""
        raw = shifted(read(file), datetime.now(UTC).date())
        method, *path = addressed(raw)
        answer = await self.sender.request(
            method,
            "/".join(["/fhir", *filter(None, path)]),
            content=raw,
            headers={"Content-Type": MEDIA_TYPE},
        )
        listed = await self.ops.get("/v1/messages", params={"limit": 100})
        listed.raise_for_status()
        new = [item for item in listed.json()["items"] if item["id"] not in self.known]
        self.known.update(item["id"] for item in new)
        return answer, new


def wrong(answer: httpx.Response, stored: list[dict[str, Any]], *, again: bool) -> str:
    """What must not have become of a file; empty if all is well, as a refusal is."""
    if answer.status_code >= 500 or any(
        fault["code"] == "exception" for item in stored for fault in item["faults"]
    ):
        return "an error of ours"
    if answer.headers.get("content-type") != MEDIA_TYPE:
        return "not answered as FHIR has it"
    if not stored:
        return "" if again else "answered and not stored"
    if answer.is_success and answer.json().get("type") != "batch-response":
        return "accepted and refused" if any(map(_is_refused, stored)) else ""
    return ""


def _is_refused(item: dict[str, Any]) -> bool:
    return bool(item["standing"] == "refused")
