"""How many of a hospital's prescriptions could be renewed online, and why not the others?

``python -m scripts.renewal_report [folder]`` reads every ``*.json`` and ``*.json.gz`` below the
folder as the FHIR that a hospital would send (dates shifted, see ``interop_fhir.py``), lets
interop's own edge and rules make events of it, puts these to the rules of prescriptions, and
then asks for a renewal of each prescription, as if it were the only one and nothing had
changed; the local set checks it clinically. No broker, no database: both services' rules
decide over what they keep in memory. It prints counts, rules and codes of medicines; no name,
no id and no finding of anybody.
"""

from __future__ import annotations

import argparse
import itertools
import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

from libs.common.decision import Actor, Answer, Emit, Env, Handler, Input
from libs.common.events import Event
from libs.common.planning import NEED_ROUNDS
from libs.common.working_set import WorkingSet
from scripts.interop_fhir import CLIENT, addressed, files, read, shifted
from services.interop import handlers as interop
from services.interop import main as interop_main
from services.interop.domain.kept import Kept
from services.interop.edge.fhir import receive
from services.interop.edge.fhir.bundle import Request
from services.interop.settings import Settings as InteropSettings
from services.prescriptions import handlers as prescriptions
from services.prescriptions import main as prescriptions_main
from services.prescriptions.domain.checking import ToCheck
from services.prescriptions.domain.checks import Checked
from services.prescriptions.domain.documents import PatientCare, Prescription, Refill
from services.prescriptions.domain.facts import Outcome, Verdict
from services.prescriptions.domain.reasons import Reason
from services.prescriptions.domain.request import CheckedRequest
from services.prescriptions.ports import CheckRequest
from services.prescriptions.senders.local_rules import LocalRules
from services.prescriptions.settings import Settings

CORPUS: Final = Path(__file__).resolve().parents[1] / "tests" / "data" / "fhir"
#: Whose the sample sender is.
HOSPITAL: Final = "h1"
_ATC: Final = re.compile(r"[A-Z]\d\d[A-Z][A-Z]\d\d")
#: Rounds of looking up what a request refers to, as the service has it.
_ROUNDS: Final = 6


@dataclass
class Rules:
    """One service's rules over all that they have left so far."""

    handlers: Mapping[str, Handler]
    policy: Any
    now: datetime
    work: WorkingSet = field(default_factory=WorkingSet)
    kept: dict[str, Kept] = field(default_factory=dict)

    def decide(self, input: Input) -> Answer:
        """What is decided of ``input``, which changes nothing yet."""
        handler, view = self.handlers[input.type], self.work.view(input.hospital)
        for _ in range(NEED_ROUNDS):  # what there is, is in the working set already
            if not self.work.missing(input.hospital, handler.needs(input, view)):
                break
        env = Env(now=self.now, policy=self.policy, secret=lambda: "")
        return handler.decide(input, view, env)

    def take(self, input: Input) -> Answer:
        answer = self.decide(input)
        written, _ = self.work.stage(input.hospital, answer.changes, answer.events)
        self.work.take(written)
        self.kept |= {doc.id: doc for doc in written.values() if isinstance(doc, Kept)}
        return answer


class Asked(NamedTuple):
    """What became of the question for one prescription; ``reason`` is empty if it is yes."""

    code: str
    reason: str
    outcomes: Sequence[Outcome]


class Hospital:
    """Interop and prescriptions of one hospital, whose FHIR server is the sample sender."""

    def __init__(self, now: datetime) -> None:
        policy = interop_main.load_policy(InteropSettings())
        partner = policy.partners.of(CLIENT, HOSPITAL)
        if partner is None:
            raise SystemExit(f"no partner {CLIENT} of {HOSPITAL} in policies/partners")
        self.now, self.topics, self.senders = now, partner.publishes, policy.senders
        self.policy = (rules := prescriptions_main.load_policy(Settings())).at(now)
        self.edge = Rules(interop.HANDLERS, policy, now)
        zone = ZoneInfo(Settings().hospital_time_zone)
        self.checker = LocalRules(Settings().policies_dir / "clinical", zone)
        self.rules = Rules(prescriptions.HANDLERS, rules, now)
        self.requests = 0  # MedicationRequests that came
        self.faults = Counter[str]()  # what the edge refused, and why
        self._numbers = itertools.count(1)

    def receive(self, raw: bytes) -> None:
        """One file, as ``POST /fhir``, or ``PUT`` and ``POST /fhir/{type}``, takes it."""
        method, type, id = addressed(raw)
        sent = Request(method, type, id) if type else Request()
        parts = None if type else receive.parts(raw)
        for part in [raw] if parts is None else parts:
            for emit in self._taken(part, sent):
                event: Event = emit.data
                if event.TYPE in self.rules.handlers:
                    self.rules.take(self._input(event.TYPE, event))

    def _taken(self, raw: bytes, sent: Request) -> Sequence[Emit]:
        exchange = receive.begin(HOSPITAL, CLIENT, raw, sent)
        for _ in range(_ROUNDS):
            ids, names = exchange.wanted()
            if not (ids or names):
                break
            known = self.edge.kept.values()
            exchange.learn([k for k in known if k.id in ids or names.intersection(k.names)])
        received = exchange.received(
            self.senders.of_subject(CLIENT),
            self.senders.zone,
            self.now,
            self.senders.adult_age,
            self.topics,
        )
        entries = exchange.unit.entries if exchange.unit else ()
        self.requests += sum(entry.type == "MedicationRequest" for entry in entries)
        self.faults.update(f"{fault.code}: {fault.text}" for fault in received.faults)
        return self.edge.take(self._input(interop.RECEIVE, received)).events

    def asked(self) -> Iterator[Asked]:
        """Every prescription that there is, each asked for by itself."""
        changed = self.rules.work.changed()
        guardians = {
            care.id: [link.person_id for link in care.links]
            for care, _ in changed.get(PatientCare, [])
            if isinstance(care, PatientCare)
        }
        for found, _ in changed.get(Prescription, []):
            assert isinstance(found, Prescription)
            if found.order is not None:  # else only its end was told
                refill = self._renewal(found, guardians.get(found.patient_id, []))
                code, step = found.order.medication.code, refill.history[0]
                yield Asked(code, step.reason or "", step.outcomes)

    def _renewal(self, prescription: Prescription, guardians: Sequence[str]) -> Refill:
        """What the patient's request leaves; of who may not ask for oneself, a guardian's."""
        questions = self.policy.rules.declaration.parameters.questions
        data = CheckedRequest(
            prescription_id=prescription.id,
            patient_id=prescription.patient_id,
            declaration={q.id: q.wanted for q in questions},
        )
        found: list[Refill] = []
        for person in (prescription.patient_id, *guardians):
            input = self._input(prescriptions.REQUEST, data, Actor(person))
            answer = self.rules.decide(input)
            if isinstance(answer, ToCheck) and answer.question is not None:
                asked = CheckRequest(input.id, HOSPITAL, self.now, answer.question)
                checked = Checked(question=asked.question, checks=self.checker.found(asked))
                input = input._replace(data=data.model_copy(update={"checked": checked}))
                answer = self.rules.decide(input)
            found += [doc for doc in answer.changes if isinstance(doc, Refill)]
            if found and found[-1].reason != Reason.GUARDIAN_NEEDED:
                break
        return found[-1]

    def _input(self, type: str, data: Any, actor: Actor | None = None) -> Input:
        return Input(
            id=str(next(self._numbers)),
            source="/renewal-report",
            type=type,
            hospital=HOSPITAL,
            subject="",
            time=self.now,
            data=data,
            actor=actor,
        )


def report(hospital: Hospital) -> Iterator[str]:
    """The lines of the report on what ``hospital`` received."""
    asked, policy = list(hospital.asked()), hospital.policy
    yield f"{hospital.requests} MedicationRequests gave {len(asked)} prescriptions"
    for fault, n in hospital.faults.most_common():
        yield f"{n:6}  refused as FHIR: {fault}"
    uncoded = sum(not _ATC.fullmatch(one.code) for one in asked)
    if uncoded:
        yield f"{uncoded:6}  of a medicine without an ATC code, which is on no list"
    first = Counter(one.reason for one in asked)
    yield f"{first['']} of {len(asked)} can be renewed today by {policy.version}"
    no, unknown, unknown_of_yes = Counter[str](), Counter[str](), Counter[str]()
    for one in asked:
        no.update(o.rule for o in one.outcomes if o.verdict is Verdict.REFUSED)
        rules = [o.rule for o in one.outcomes if o.verdict is Verdict.NOT_CHECKED]
        unknown.update(rules)
        unknown_of_yes.update(rules if not one.reason else ())
    yield "why not: the reason that is told, and how often its rule says no at all"
    for rule in filter(no.__getitem__, policy.order):
        reason = policy.rule(rule).reason
        yield f"{first[reason]:6} {no[rule]:6}  {rule}: {reason}"
    yield "not checked, and shown to the doctor: of those that can be renewed, and of all"
    for rule in filter(unknown.__getitem__, policy.order):
        yield f"{unknown_of_yes[rule]:6} {unknown[rule]:6}  {rule}"
    yield "by medicine: how many of its prescriptions can be renewed, and why not the others"
    for code in sorted({one.code for one in asked}):
        reasons = Counter(one.reason for one in asked if one.code == code)
        all, yes = reasons.total(), reasons.pop("", 0)
        whys = ", ".join(f"{reason} {n}" for reason, n in reasons.most_common())
        yield f"{yes:6} {all:6}  {code}  {whys}".rstrip()


def main(argv: Sequence[str], now: datetime | None = None) -> int:
    parser = argparse.ArgumentParser(prog="renewal-report", description=(__doc__ or "")[:80])
    parser.add_argument("folder", nargs="?", type=Path, default=CORPUS)
    folder = parser.parse_args(argv).folder
    if not (found := files(folder)):
        parser.error(f"neither *.json nor *.json.gz below {folder}")
    now = now or datetime.now(UTC)
    hospital = Hospital(now)
    for file in found:
        hospital.receive(shifted(read(file), now.date()))
    for line in report(hospital):
        print(line)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
