"""What do we count, in which unit, and what does a number mean?

One table: each metric with its unit, meaning and labels is declared here and nowhere
else. ``python -m libs.common.metrics`` prints it as docs/metrics.md. Labels come from the
closed list ``LABELS`` with the most values that each may take; never a person's, a
hospital's or an aggregate's id. What comes from outside (an unknown event type) is
counted as ``unknown``; what a hospital or a provider names (departments, codes) is
:class:`Capped`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.exposition import choose_encoder

disable_created_metrics()  # type: ignore[no-untyped-call]  # a third more series, of no use here
REGISTRY = CollectorRegistry()
for collector in (ProcessCollector, PlatformCollector, GCCollector):
    collector(registry=REGISTRY)


@dataclass(frozen=True, slots=True)
class Label:
    meaning: str
    at_most: int


LABELS: Mapping[str, Label] = {
    "channel": Label("how a notification travels: inbox, email, webhook", 8),
    "code": Label("a provider's own code, such as 250 or ReadTimeout; the 65th is `other`", 66),
    "command": Label("the database command's name, such as find or commitTransaction", 40),
    "consumer": Label("the consumer group", 8),
    "department": Label(
        "the hospital's code of a department; `none` where nobody names one; codes beyond the "
        "40th, and what is no code in ASCII, are `other`",
        42,
    ),
    "engine": Label("who checks clinically: hospital, local", 2),
    "fate": Label("what became of an input: done, refused, duplicate, rejected, ignored", 6),
    "journey": Label("what a patient waits for: discharge, report, refill, question", 4),
    "kind": Label("a report's kind", 12),
    "method": Label("the HTTP method", 9),
    "outcome": Label("how it ended, a word from the owner's closed list", 16),
    "partition": Label("the partition's number", 64),
    "reason": Label("a reason from an enum in the code", 48),
    "route": Label("the route's template, never the path", 64),
    "stage": Label("a stage of a journey, or with whom something waits", 12),
    "status": Label("the HTTP status, or the status word of a state machine", 40),
    "topic": Label("a topic of contracts/topics", 24),
    "type": Label("the type of an event, a command or a timer that the code knows", 160),
    "verdict": Label("what a check says: passed, alert, not_checked", 3),
}


class Capped:
    """Values of a label that come from outside, so that nobody can make ever more series.

    The first ``most`` keep their names, further ones are ``other``; so is what is no short
    code in ASCII, since it might be a name.
    """

    _CODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}")

    def __init__(self, most: int) -> None:
        self.most = most
        self._known: set[str] = set()

    def __call__(self, value: str | None) -> str:
        if not value:
            return "none"
        if value not in self._known:
            if len(self._known) >= self.most or not self._CODE.fullmatch(value):
                return "other"
            self._known.add(value)
        return value


department: Final = Capped(40)
code: Final = Capped(64)


@dataclass(frozen=True, slots=True)
class Metric:
    name: str
    kind: str
    unit: str
    meaning: str
    labels: tuple[str, ...]


TABLE: dict[str, Metric] = {}

#: Upper bounds in seconds: from a cached read to a command that waits out a fault.
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
#: Upper bounds in seconds for what people do: from a minute to a week.
HUMAN_SECONDS = (60, 300, 900, 3600, 4 * 3600, 12 * 3600, 86400, 2 * 86400, 4 * 86400, 7 * 86400)
#: Upper bounds in seconds for a stage that a machine or a person may take.
STAGE_SECONDS = (1, 5, 15, *HUMAN_SECONDS)
#: Upper bounds in records, up to the largest batch.
RECORDS = (1, 2, 5, 10, 20, 50, 100, 200, 350, 500)


def _declare(name: str, kind: str, unit: str, meaning: str, labels: tuple[str, ...]) -> None:
    if name in TABLE:
        raise ValueError(f"metric {name} is declared twice")
    TABLE[name] = Metric(name, kind, unit, meaning, labels)


def _counter(name: str, unit: str, meaning: str, *labels: str) -> Counter:
    _declare(name, "counter", unit, meaning, labels)
    return Counter(name, meaning, labels, registry=REGISTRY)


def _gauge(name: str, unit: str, meaning: str, *labels: str) -> Gauge:
    _declare(name, "gauge", unit, meaning, labels)
    return Gauge(name, meaning, labels, registry=REGISTRY)


def _histogram(
    name: str, unit: str, meaning: str, *labels: str, buckets: Sequence[float] = SECONDS
) -> Histogram:
    _declare(name, "histogram", unit, meaning, labels)
    return Histogram(name, meaning, labels, registry=REGISTRY, buckets=buckets)


# Consuming
EVENTS_CONSUMED = _counter(
    "events_consumed_total",
    "events",
    "Events decided, by what became of them.",
    "topic",
    "type",
    "fate",
)
EVENTS_REJECTED = _counter(
    "events_rejected_total",
    "events",
    "Events that can never be handled (malformed, or our own bug); each goes to the dead letters.",
    "consumer",
    "reason",
)
DEAD_LETTERS = _counter(
    "dead_letters_total", "records", "Records acknowledged on the dead-letter topic.", "consumer"
)
CONSUMER_LAG = _gauge(
    "consumer_lag",
    "records",
    "How far the consumer's position is behind the topic's end.",
    "topic",
    "partition",
)
EVENTS_LATE = _counter(
    "events_late_total",
    "events",
    "Events decided more than a minute after Kafka took them: whom they concern heard late.",
)
CONSUMER_BATCH_SIZE = _histogram(
    "consumer_batch_size",
    "records",
    "Records decided and saved in one transaction.",
    buckets=RECORDS,
)
CONSUMER_BATCH_SECONDS = _histogram(
    "consumer_batch_seconds", "seconds", "From a batch's poll to the commit of its transaction."
)
BATCHES_SPLIT = _counter(
    "batches_split_total", "batches", "Batches cut in halves because one of their inputs failed."
)
CONSUMER_STOPPED = _gauge(
    "consumer_stopped",
    "0 or 1",
    "1 while the consumer has stopped because rejects flooded in. Alarm: somebody should "
    "look; it resumes by itself once a record is handled.",
)
CONSUMER_REBUILDS = _counter(
    "consumer_rebuilds_total",
    "rebuilds",
    "Consumers built anew by the watchdog or after a fault.",
    "reason",
)
CONSUMER_REBALANCES = _counter(
    "consumer_rebalances_total",
    "rebalances",
    "Times that the group took this consumer's partitions to share them out anew.",
)

# Publishing
OUTBOX_ROWS = _gauge("outbox_rows", "rows", "Rows committed but not yet acknowledged by Kafka.")
OUTBOX_OLDEST_AGE = _gauge(
    "outbox_oldest_age_seconds", "seconds", "Age of the oldest row of the outbox; 0 if it is empty."
)
RELAY_SENT = _counter("relay_sent_total", "records", "Records acknowledged by Kafka.")
RELAY_REBUILDS = _counter(
    "relay_rebuilds_total",
    "rebuilds",
    "Producers built anew; sending starts again at the outbox.",
)
RELAY_OWNER = _gauge(
    "relay_owner", "0 or 1", "1 while this replica holds the lease for sending and for timers."
)

# Saving, timers, commands
TRANSACTIONS = _counter(
    "transactions_total",
    "transactions",
    "Transactions by outcome: committed, conflict, failed.",
    "outcome",
)
VERSION_CONFLICTS = _counter(
    "version_conflicts_total", "conflicts", "Saves refused because somebody else had written first."
)
TIMERS_FIRED = _counter("timers_fired_total", "timers", "Timers brought back as inputs.", "type")
TIMERS_LATE = _histogram(
    "timers_late_seconds", "seconds", "How long after it was due a timer fired."
)
COMMANDS = _counter(
    "commands_total", "commands", "Commands decided, by what became of them.", "type", "fate"
)
COMMAND_BATCH_SIZE = _histogram(
    "command_batch_size", "commands", "Commands that shared one transaction.", buckets=RECORDS
)
REFUSALS = _counter(
    "refusals_total", "refusals", "Business refusals: a rule said no. Not errors.", "reason"
)

# The process and what it talks to
HTTP_REQUEST_SECONDS = _histogram(
    "http_request_seconds",
    "seconds",
    "From a request's first byte to its answer's last.",
    "route",
    "method",
    "status",
)
LOOP_LAG = _gauge(
    "loop_lag_seconds",
    "seconds",
    "The longest wait of the event loop within the last 15 s; above 1 s Kafka may drop us.",
)
MONGO_COMMANDS = _counter(
    "mongo_commands_total", "commands", "Commands sent to the database (round trips).", "command"
)
MONGO_SECONDS = _histogram(
    "mongo_command_seconds",
    "seconds",
    "How long the database took to answer a command: succeeded or failed.",
    "command",
    "outcome",
)
SPANS_LOST = _counter(
    "spans_lost_total", "spans", "Spans dropped: the queue was full or the collector refused them."
)

# The journeys of patients, by the times that the events themselves name
JOURNEY_STAGE_SECONDS = _histogram(
    "journey_stage_seconds",
    "seconds",
    "How long a stage of a patient's journey took. discharge: invited (since the discharge), "
    "pushed, accepted (since the invitation), staff (a line of a department's list, until it was "
    "ticked off). report: released (since it was issued, by the rules), doctor (the same of what "
    "a doctor released), pushed, viewed (since its release, each person). refill: doctor (since "
    "the request), pharmacist (since the doctor signed), effective (since the request), pushed. "
    "question: pushed, answered. Pushed: since what it tells of happened, each channel.",
    "journey",
    "stage",
    buckets=STAGE_SECONDS,
)


def begin(journey: str, *stages: str) -> None:
    """Show that a stage can be measured: what shows up with its first event is counted as none,
    since Prometheus compares with what there was before."""
    for stage in stages:
        JOURNEY_STAGE_SECONDS.labels(journey=journey, stage=stage)


WAITING_OLDEST_AGE = _gauge(
    "waiting_oldest_age_seconds",
    "seconds",
    "For how long what has waited longest for a person has waited; 0 if nothing waits. Shown by "
    "the replica that holds the lease: doctor, pharmacist (refills), critical, talk_first, held "
    "(reports that are kept back), question, staff_task, invitation (for an answer).",
    "stage",
)
WAITING = _gauge(
    "waiting_for_person",
    "items",
    "How many wait for a person at that stage; at most 10,000 are counted.",
    "stage",
)

# notify
PROVIDER_CALLS = _counter(
    "provider_calls_total",
    "calls",
    "Calls to a channel's provider by what came of them, and its code.",
    "channel",
    "outcome",
    "code",
)
DELIVERY_ATTEMPTS = _histogram(
    "delivery_attempts",
    "attempts",
    "Attempts that a notification took on a channel until it was sent or failed.",
    "channel",
    "outcome",
    buckets=(1, 2, 3, 5, 8, 13),
)
PROVIDER_SECONDS = _histogram(
    "provider_seconds", "seconds", "How long a provider took to answer.", "channel"
)
NOTIFICATIONS = _counter(
    "notifications_total",
    "notifications",
    "Notifications by how they ended on a channel.",
    "channel",
    "outcome",
)

# enrollment
INVITATIONS_ISSUED = _counter(
    "invitations_issued_total",
    "invitations",
    "Invitations to a group, one per person.",
    "department",
)
INVITATIONS_OUTCOME = _counter(
    "invitations_outcome_total",
    "invitations",
    "How invitations ended: accepted, declined, expired, withdrawn.",
    "outcome",
    "department",
)
STAFF_TASKS = _counter(
    "staff_tasks_total",
    "tasks",
    "Lines put on a department's list: whom the platform could not reach by itself, and why.",
    "reason",
    "department",
)
GROUPS_OPENED = _counter("groups_opened_total", "groups", "Patient groups opened.")

# reports
REPORTS_RELEASED = _counter(
    "reports_released_total", "reports", "Results released to the patient.", "kind", "department"
)
REPORTS_HELD = _counter(
    "reports_held_total",
    "reports",
    "Results stored but not pushed to the patient.",
    "reason",
    "department",
)

# interop
MESSAGES_RECEIVED = _counter(
    "interop_messages_total",
    "messages",
    "Messages of other systems: accepted, refused, not_production, repeated.",
    "outcome",
)
EVENTS_PUBLISHED = _counter(
    "interop_events_published_total", "events", "Events that partners published by HTTP.", "type"
)
FHIR_UNUSED = _counter(
    "interop_fhir_unused_total",
    "resources",
    "FHIR resources of types that are not used, in requests that were taken.",
    "type",
)

WEBHOOK_DELIVERIES = _counter(
    "webhook_deliveries_total",
    "deliveries",
    "Deliveries to partners: numbered, delivered, failed (an attempt; tried again), parked, "
    "dropped (its subscription was suspended for WEBHOOK_SUSPENDED_DAYS).",
    "outcome",
)
WEBHOOK_OLDEST_AGE = _gauge(
    "webhook_oldest_undelivered_age_seconds",
    "seconds",
    "Age of the oldest delivery that is still tried; 0 if there is none. Those of suspended "
    "subscriptions count.",
)
WEBHOOKS_PARKED = _gauge(
    "webhook_parked_deliveries",
    "deliveries",
    "Deliveries that were given up and wait for somebody to send them again.",
)

# prescriptions
REFILLS = _counter(
    "refills_total", "refills", "Refills that reached a status.", "status", "department"
)
REFILLS_IRREGULAR = _counter(
    "refills_irregular_total", "reports",
    "Pharmacies' reports of a refill that was dispensed as it should not have been.", "reason",
)  # fmt: skip
REFILL_DECISION_SECONDS = _histogram(
    "refill_decision_seconds", "seconds", "From a refill's request to the doctor's decision.",
    buckets=HUMAN_SECONDS,
)  # fmt: skip
CLINICAL_CHECKS = _counter(
    "clinical_checks_total",
    "findings",
    "Findings of clinical checks: each kind that passed or was not checked, and each alert.",
    "engine",
    "verdict",
)
CLINICAL_CHECK_SECONDS = _histogram(
    "clinical_check_seconds",
    "seconds",
    "From asking the rule engine to its answer, or to why there is none. Alarm: outcomes other "
    "than answered; doctors and pharmacists then see that nothing was checked.",
    "engine",
    "outcome",
)


#: The version that we write; the library fails at one that is no number.
_OPENMETRICS: Final = re.compile(r"application/openmetrics-text; ?version=1\.0\.0")


def render(accept: str = "") -> tuple[bytes, str]:
    """The body of ``/metrics`` and its content type: OpenMetrics, which alone has exemplars,
    where the header ``Accept`` asks for it as Prometheus does."""
    encode, content_type = choose_encoder(accept if _OPENMETRICS.search(accept) else "")
    return encode(REGISTRY), content_type


def markdown() -> str:
    """docs/metrics.md."""
    lines = [
        "# Metrics",
        "",
        "Every service shows those that concern it at `/metrics`, beside the usual",
        "`process_*` and `python_*`. Made by `python -m libs.common.metrics`; do not edit.",
        "",
        "| metric | kind | unit | meaning | labels |",
        "|---|---|---|---|---|",
    ]
    for m in TABLE.values():
        labels = ", ".join(f"`{label}`" for label in m.labels) or "none"
        lines.append(f"| `{m.name}` | {m.kind} | {m.unit} | {m.meaning} | {labels} |")
    lines += ["", "| label | meaning | values at most |", "|---|---|---|"]
    lines += [f"| `{name}` | {x.meaning} | {x.at_most} |" for name, x in LABELS.items()]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(markdown(), end="")
