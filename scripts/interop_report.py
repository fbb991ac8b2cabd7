"""What becomes of a folder of HL7 v2 messages and FHIR bundles?

``python -m scripts.interop_report [folder]`` starts a platform of its own, sends every
``*.hl7`` below the folder through its MLLP port and every ``*.json`` and ``*.json.gz``
through its HTTP port (``interop_fhir.py``), and prints a line for each message: the answer,
the events that it gave, or where and why it was refused, and the notes; never a name or a
finding. The senders' profiles are those of ``policies/senders``. It ends with 1 if a message
got no answer that it asked for, if one was answered and not stored, or if one made an error
of ours.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import httpx

from libs.common.auth import Role
from libs.common.devstack.child import Child
from libs.common.devstack.errors import StackError
from libs.common.devstack.mllp import Acknowledgement, Sender
from libs.common.devstack.stack import Stack
from scripts import interop_fhir
from scripts.interop_fhir import FhirReporter, files, policies

#: Ours: HL7 v2, and FHIR beside it.
CORPUS: Final = Path(__file__).resolve().parents[1] / "tests" / "data" / "hl7"
OURS: Final = CORPUS.parent
#: Another message's begin; the first one may have a byte order mark before it.
_BEGIN: Final = re.compile(rb"(?<=[\r\n\x0b\x1c])MSH[^\w\s]")
#: Which of several alike a note is about: the segment's number, or the bundle's entry.
_PLACE: Final = re.compile(r" \(\d+\)(?=:)|(?<=entry)\[\d+\]")
_FS: Final = b"\x1c"
_BLANK: Final = b"\x0b\x1c\r\n\t \x00"
_POSITIVE: Final = ("AA", "CA")
#: Table 0357: an error of ours, which no sender can mend.
_INTERNAL: Final = "207"
#: Seconds until an answer; until none, from a message that may ask for none.
_ANSWER, _SILENCE = 30.0, 2.0


def messages(raw: bytes) -> list[bytes]:
    """The messages of one file as they stand there, but for MLLP's own framing."""
    edges = [0, *(found.start() for found in _BEGIN.finditer(raw)), len(raw)]
    parts = [raw[a:b] for a, b in pairwise(edges)]
    return [p.strip(_BLANK) if _FS in p else p for p in parts if p.strip(_BLANK)]


def named(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Every message below ``folder``; a file without one is sent as an empty message."""
    for file in sorted(folder.rglob("*.hl7")):
        parts = messages(file.read_bytes()) or [b""]
        for n, message in enumerate(parts, 1):
            yield str(file.relative_to(folder)) + (f" ({n})" if len(parts) > 1 else ""), message


def may_be_silent(message: bytes) -> bool:
    """Whether MSH-15 or MSH-16 is there: then an answer comes on some outcomes only."""
    line = re.split(rb"[\r\n]", message.removeprefix(b"\xef\xbb\xbf"), maxsplit=1)[0]
    fields = line.split(line[3:4] or b"|")
    return any(f.strip() for f in fields[14:16])


@dataclass(frozen=True)
class Line:
    """What became of one message. ``wrong``: what must not have happened."""

    name: str
    code: str
    standing: str
    text: str
    wrong: str = ""

    def __str__(self) -> str:
        wrong = f"  !! {self.wrong}" if self.wrong else ""
        return f"{self.name}  {self.code or '--'}  {self.text}{wrong}"


#: A message as the API shows it.
Kept = dict[str, Any]


@dataclass
class Reporter:
    """Sends the messages of one hospital, and asks the API what became of each."""

    port: int
    client: httpx.AsyncClient
    _ids: dict[bytes, str] = field(default_factory=dict)

    async def line(self, name: str, message: bytes) -> Line:
        again = message in self._ids
        answer = await self._sent(message)
        kept = await self._kept(message, _ANSWER if answer is None else 0)
        parts = list(_told(kept))
        if again:
            parts.append("the same message as before")
        if answer is None and may_be_silent(message):
            parts.append("no answer asked for")
        return Line(
            name=name,
            code=answer.code if answer else "",
            standing=str(kept["standing"]) if kept else "not stored",
            text="; ".join(parts),
            wrong=wrong(message, answer, kept),
        )

    def ids(self) -> Iterable[str]:
        """Of all that is stored."""
        return self._ids.values()

    async def _sent(self, message: bytes) -> Acknowledgement | None:
        # A connection for each: what one message does to its own must not hide the next one.
        seconds = _SILENCE if may_be_silent(message) else _ANSWER
        try:
            async with Sender(self.port) as sender:
                return await sender.send(message, seconds)
        except (TimeoutError, OSError, EOFError):
            return None

    async def _kept(self, message: bytes, patience: float) -> Kept | None:
        """What is stored of it. As messages go one by one, the one that is new."""
        if known := self._ids.get(message):
            return await self._get(f"/v1/messages/{known}")
        until = time.monotonic() + patience
        while True:
            for item in (await self._get("/v1/messages?limit=5"))["items"]:
                if item["id"] not in self._ids.values():
                    self._ids[message] = item["id"]
                    return dict(item)
            if time.monotonic() >= until:
                return None
            await asyncio.sleep(0.5)

    async def _get(self, path: str) -> Kept:
        answer = await self.client.get(path)
        answer.raise_for_status()
        found: Kept = answer.json()
        return found


def _told(kept: Kept | None) -> Iterator[str]:
    if kept is None:
        return
    for fault in kept["faults"]:
        if kept["format"] == "fhir":
            place = fault["expression"] or "the body"
            yield f"refused at {place}, {fault['code']}: {fault['text']}"
            continue
        place = f"{fault['segment']}-{fault['field']}" if fault["field"] else fault["segment"]
        yield f"refused at {place} ({fault['sequence']}), {fault['code']}: {fault['text']}"
    if not kept["faults"]:
        events = _counted(event["type"] for event in kept["events"])
        yield ", ".join(events) or "no event"
        if kept["standing"] != "accepted":
            yield str(kept["standing"])
    # One for what is noted of a hundred segments alike.
    yield from _counted(_PLACE.sub("", note, count=1) for note in kept["notes"])


def _counted(texts: Iterable[str]) -> Iterator[str]:
    for text, n in Counter(texts).items():
        yield f"{text} x{n}" if n > 1 else text


def wrong(message: bytes, answer: Acknowledgement | None, kept: Kept | None) -> str:
    """What must not have become of ``message``; empty if all is well, as a refusal is."""
    if kept and any(fault["code"] == _INTERNAL for fault in kept["faults"]):
        return "an error of ours"
    if answer is None:
        return "" if kept and may_be_silent(message) else "no answer"
    if kept is None:
        return "answered and not stored"
    if answer.code in _POSITIVE and kept["standing"] == "refused":
        return "acknowledged and refused"
    return ""


async def _report(folder: Path, port: int, url: str, ops: str, sender: str) -> list[Line]:
    def client(token: str) -> httpx.AsyncClient:
        headers = {"Authorization": f"Bearer {token}"}
        return httpx.AsyncClient(base_url=url, headers=headers, timeout=60, trust_env=False)

    async with client(ops) as asking, client(sender) as sending:
        reporter, lines = Reporter(port, asking), list[Line]()
        for name, message in named(folder):
            lines.append(await reporter.line(name, message))
            print(lines[-1], flush=True)
        fhir = FhirReporter(asking, sending, set(reporter.ids()))
        for file in files(folder):
            answer, stored = await fhir.sent(file)
            lines.append(_of_fhir(str(file.relative_to(folder)), answer, stored))
            print(lines[-1], flush=True)
        return lines


def _of_fhir(name: str, answer: httpx.Response, stored: list[Kept]) -> Line:
    parts = _counted(part for item in stored[::-1] for part in _told(item))
    standings = {str(item["standing"]) for item in stored}
    return Line(
        name=name,
        code=str(answer.status_code),
        standing="refused" if "refused" in standings else next(iter(standings), "not stored"),
        text="; ".join(parts) or "the same as before",
        wrong=interop_fhir.wrong(answer, stored, again=not stored),
    )


def report(folder: Path, stack: Stack) -> int:
    """Print the report of ``folder`` with an interop of its own over ``stack``."""
    hospital = f"report-{uuid.uuid4().hex[:8]}"  # nothing has come in there
    stack.migrate("interop")
    with tempfile.TemporaryDirectory() as own:
        environment = {
            "INTEROP_HOSPITAL": hospital,
            "POLICIES_DIR": str(policies(Path(own), hospital)),
        }
        interop: Child = stack.start_service("interop", environment=environment)
        try:
            url, port = stack.service_url(interop.name), int(interop.program.env["MLLP_PORT"])
            issuer = stack.issuer()
            ops = issuer.token(person="interop-report", hospital=hospital, roles=[Role.OPS])
            sender = interop_fhir.token(stack, hospital)
            lines = asyncio.run(_report(folder, port, url, ops, sender))
        finally:
            stack.remove(interop.name)
    return concluded(lines)


def concluded(lines: Sequence[Line]) -> int:
    """Print the sum of ``lines``; the exit code."""
    standings = Counter(line.standing for line in lines)
    failed = sum(1 for line in lines if line.wrong)
    counts = ", ".join(f"{n} {standing}" for standing, n in sorted(standings.items()))
    print(f"\n{len(lines)} messages: {counts}; {failed} went wrong")
    return 1 if failed else 0


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m scripts.interop_report")
    parser.add_argument("folder", nargs="?", type=Path, default=OURS)
    folder: Path = parser.parse_args(arguments).folder
    if not any(folder.rglob("*.hl7")) and not files(folder):
        parser.error(f"neither *.hl7 nor *.json below {folder}")
    try:
        with tempfile.TemporaryDirectory() as own, Stack(Path(own)) as stack:
            return report(folder, stack)
    except StackError as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
