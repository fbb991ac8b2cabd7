"""Do the channels and other systems take what we give them? Codes, attempts, unknown ends."""

from __future__ import annotations

from typing import Final

from deploy.grafana.parts import JOB, Board, Panel, Query, Traces, hourly, quantile, rate

OF_CHANNEL: Final = '{ span.lianxin.channel = "${__field.labels.channel}" }'
FAILED_SENDS: Final = '{ span.lianxin.channel =~ ".+" && span.lianxin.attempt > 1 }'

CHANNELS: Final = (
    Panel(
        "Calls",
        "Calls to a channel's provider a second, by what came of them. sent: taken; passing: "
        "surely not taken, tried again; refused: never will be; lost: nobody knows (Unknown).",
        [rate("provider_calls_total", "channel, outcome")],
        traces=("Calls of this channel", OF_CHANNEL),
    ),
    Panel(
        "Codes",
        "The provider's own codes an hour: of SMTP (250 taken, 4xx later, 5xx never), of HTTP, or "
        "the fault of the network. 429 or 421: it wants less; 401, 403, 535: our credentials.",
        [hourly("provider_calls_total", "channel, code")],
        kind="bars",
        traces=("Calls of this channel", OF_CHANNEL),
    ),
    Panel(
        "Unknown",
        "Calls an hour whose answer was lost, so that nobody knows whether the person was told. "
        "They are tried again with the same key; e-mail once. Many: the provider or the way to it "
        "is ill.",
        [hourly("provider_calls_total", "channel", f'{JOB}, outcome="lost"')],
        limits=(5, 50),
        traces=("Calls of this channel", OF_CHANNEL),
    ),
    Panel(
        "Time of a call",
        "How long a provider took to answer. Points are examples with their trace. Near the "
        "timeout: it is overloaded, and what is lost will rise next.",
        [
            quantile(0.5, "provider_seconds", "channel"),
            quantile(0.95, "provider_seconds", "channel"),
        ],
        unit="s",
        traces=("Calls of this channel", OF_CHANNEL),
    ),
    Panel(
        "Attempts",
        "Attempts that a notification took until it was sent or given up (p95). 1 is healthy.",
        [quantile(0.95, "delivery_attempts", "channel")],
        traces=("Later attempts", FAILED_SENDS),
    ),
    Panel(
        "How notifications ended",
        "An hour, by channel. failed: given up; the inbox has it still. suppressed: rightly not "
        "sent (expired, no consent, deceased).",
        [hourly("notifications_total", "channel, outcome")],
        traces=("Calls of this channel", OF_CHANNEL),
    ),
)

PARTNERS: Final = (
    Panel(
        "Deliveries to partners",
        "Webhooks to subscribed systems an hour. failed: an attempt, tried again; parked: given up "
        "after days, waits for somebody to send it again (docs/webhooks.md).",
        [hourly("webhook_deliveries_total", "outcome")],
    ),
    Panel(
        "Oldest undelivered",
        "Age of the oldest delivery that is still tried. It climbs: one partner does not take "
        "anything; find out who by GET /v1/subscriptions and ring them.",
        [Query(f"max(webhook_oldest_undelivered_age_seconds{{{JOB}}})", "oldest")],
        unit="s",
        limits=(3600, 86400),
    ),
    Panel(
        "Parked",
        "Deliveries that were given up. They are kept, and wait for a partner to be well again.",
        [Query(f"max(webhook_parked_deliveries{{{JOB}}})", "parked")],
        limits=(1, 1000),
    ),
    Panel(
        "Messages of other systems",
        "HL7 v2, FHIR and documents an hour. refused: the sender was told why and has to mend it; "
        "they can be read under /v1/messages.",
        [hourly("interop_messages_total", "outcome")],
        traces=("Requests to interop", '{ resource.service.name = "interop" && kind = server }'),
    ),
    Panel(
        "Clinical checks",
        "Answers of the rule engine for renewals an hour. Any outcome besides answered: doctors "
        "and pharmacists see that nothing was checked (docs/clinical-checks.md).",
        [hourly("clinical_check_seconds_count", "engine, outcome")],
        traces=("Checks", '{ name = "clinical check" && span.lianxin.engine =~ ".+" }'),
    ),
    Panel(
        "Time of a check",
        "How long the rule engine took to answer; who decides waits for it.",
        [quantile(0.95, "clinical_check_seconds", "engine")],
        unit="s",
        limits=(1, 3),
        traces=("Checks", '{ name = "clinical check" && span.lianxin.engine =~ ".+" }'),
    ),
)

PROVIDERS: Final = Board(
    uid="lianxin-providers",
    title="Providers",
    chinese="通道与外部系统",
    about="Do the channels and other systems take what we give them? Codes, attempts, unknown ends",
    rows=(
        ("Channels to people", CHANNELS),
        ("Other systems", PARTNERS),
        (
            "Traces",
            (
                Traces(
                    "Later attempts",
                    "Calls that were not the first for their notification.",
                    FAILED_SENDS,
                ),
            ),
        ),
    ),
)
