"""Are events read, handled and sent on? Lag, age, rejects, rebalances, outbox and relay."""

from __future__ import annotations

from typing import Final

from deploy.grafana.parts import (
    CHOSEN,
    ELSE_ZERO,
    Board,
    Panel,
    Query,
    Traces,
    hourly,
    quantile,
    rate,
    service_variable,
    worst,
)

OF_SERVICE: Final = '{ resource.service.name = "${__field.labels.service}" '
PROCESSED: Final = '&& span.messaging.operation.type = "process" }'
REJECTED: Final = '{ span.messaging.operation.type = "process" && status = error }'

READING: Final = (
    Panel(
        "Lag",
        "Records that wait in Kafka, by service. It comes and goes with the hospital's day; one "
        "that grows for minutes means that the service is too slow or stands still: runbook, "
        "ConsumerFallsBehind.",
        [Query(f"sum by (service) (consumer_lag{{{CHOSEN}}})", "{{service}}")],
        traces=("Traces of this service", OF_SERVICE + PROCESSED),
    ),
    Panel(
        "Lag by topic",
        "The same by topic: one that waits alone points at its publisher, or at one hot key.",
        [Query(f"sum by (service, topic) (consumer_lag{{{CHOSEN}}})", "{{service}} {{topic}}")],
        traces=(
            "Traces of this topic",
            '{ span.messaging.destination.name = "${__field.labels.topic}" }',
        ),
    ),
    Panel(
        "Handled",
        "Events a second by what became of them. refused: a rule said no, which is right; "
        "duplicate: came again and changed nothing; rejected: went to the dead letters; ignored: "
        "of no type that the service knows.",
        [rate("events_consumed_total", "service, fate", CHOSEN)],
        traces=("Traces of this service", OF_SERVICE + PROCESSED),
    ),
    Panel(
        "Handled late",
        "Events that were handled over a minute after they arrived in Kafka, a second. Some after "
        "a deployment are normal; steadily: the service is too small or a part behind it too slow.",
        [rate("events_late_total", "service", CHOSEN)],
        traces=("Traces of this service", OF_SERVICE + PROCESSED),
    ),
    Panel(
        "Time of a batch",
        "From a poll to the commit of its transaction. Points are examples with their trace. "
        "Above a second: look at the database (dashboard Service).",
        [
            quantile(0.5, "consumer_batch_seconds", "service", CHOSEN),
            quantile(0.95, "consumer_batch_seconds", "service", CHOSEN),
        ],
        unit="s",
        traces=(
            "Slow batches",
            OF_SERVICE + "&& span.messaging.batch.message_count > 0 && duration > 500ms }",
        ),
    ),
    Panel(
        "Records in a batch",
        "How many records shared a transaction: the larger, the cheaper. Near 500: it is catching "
        "up; near 1 with lag: batches are split, see below.",
        [quantile(0.95, "consumer_batch_size", "service", CHOSEN)],
    ),
)

WRONG: Final = (
    Panel(
        "Rejected",
        "Events that can't be handled, a second, by why. One source that sends rubbish is a matter "
        "for whoever runs it; rule_failed and unstorable are bugs of ours, and they alone have "
        "traces. Look at all of them: lianxin dlq list.",
        [rate("events_rejected_total", "service, reason", CHOSEN)],
        traces=("Rejected events of this service", OF_SERVICE + "&& status = error }"),
    ),
    Panel(
        "Dead letters",
        "Dead letters within the time that is shown. Each waits for somebody: mend the cause, then "
        "lianxin dlq replay.",
        [Query(f"(sum(increase(dead_letters_total{{{CHOSEN}}}[$__range])) {ELSE_ZERO})")],
        kind="number",
        width=4,
        limits=(1, 100),
        traces=("Rejected events", REJECTED),
    ),
    Panel(
        "Stopped",
        "1: a service has stopped reading because rejects flooded in. It probes and resumes by "
        "itself; until then nothing that it reads reaches anybody: runbook, ConsumerStopped.",
        [worst("consumer_stopped", "service", CHOSEN)],
        kind="number",
        width=12,
        limits=(1, 1),
    ),
    Panel(
        "Rebalances and rebuilds",
        "Rebalances an hour: the group shares its partitions out anew, as after each deployment. "
        "Without one: a replica dies or blocks (Loop lag). Rebuilds: a consumer was made anew "
        "after a fault of the broker or because it stood still.",
        [
            hourly("consumer_rebalances_total", "service", CHOSEN),
            hourly("consumer_rebuilds_total", "service, reason", CHOSEN),
        ],
    ),
    Panel(
        "Loop lag",
        "The longest wait of a replica's event loop within 15 s. Above 1 s Kafka may drop it: "
        "something blocks the loop, or the replica has too little processor.",
        [
            Query(
                f"max by (service, instance) (loop_lag_seconds{{{CHOSEN}}})",
                "{{service}} {{instance}}",
            )
        ],
        unit="s",
        limits=(0.5, 1),
    ),
    Panel(
        "Batches split",
        "Batches cut in halves an hour because one of their inputs failed: a hint at poison.",
        [hourly("batches_split_total", "service", CHOSEN)],
    ),
)

SENDING: Final = (
    Panel(
        "Oldest in the outbox",
        "Age of the oldest event that is committed and not yet acknowledged by Kafka. Seconds are "
        "normal; minutes mean that Kafka can't be reached or nobody sends (Owner): runbook, "
        "OutboxAgeing.",
        [worst("outbox_oldest_age_seconds", "service", CHOSEN)],
        unit="s",
        limits=(30, 120),
        traces=(
            "Sends of this service",
            OF_SERVICE + '&& span.messaging.operation.type = "send" }',
        ),
    ),
    Panel(
        "Rows in the outbox",
        "How many wait to be sent. Beyond the limit commands are answered 503, so that nothing "
        "that was accepted is lost.",
        [worst("outbox_rows", "service", CHOSEN)],
    ),
    Panel(
        "Sent",
        "Records acknowledged by Kafka, a second. It follows what is handled; if that goes on and "
        "this stops, look at Oldest in the outbox.",
        [rate("relay_sent_total", "service", CHOSEN)],
        traces=(
            "Sends of this service",
            OF_SERVICE + '&& span.messaging.operation.type = "send" }',
        ),
    ),
    Panel(
        "Owner",
        "Replicas that hold the lease for sending and timers: exactly 1 for each service. 0 for "
        "over a minute: the database can't be written, or no replica is ready.",
        [Query(f"sum by (service) (relay_owner{{{CHOSEN}}})", "{{service}}")],
        width=8,
    ),
    Panel(
        "Relay rebuilt",
        "Producers built anew an hour after a fault; sending began again at the outbox, and "
        "consumers drop what came twice.",
        [hourly("relay_rebuilds_total", "service", CHOSEN)],
    ),
    Panel(
        "Timers",
        "Timers that came due an hour (expiries, reminders), and how late they fired (p95). Late "
        "by minutes: there was no owner, or the database was away.",
        [
            hourly("timers_fired_total", "service", CHOSEN),
            quantile(0.95, "timers_late_seconds", "service", CHOSEN),
        ],
    ),
)

CONSUMERS: Final = Board(
    uid="lianxin-consumers",
    title="Consumers and outbox",
    chinese="消费与发件箱",
    about="Are events read, handled and sent on? Lag, age, rejects, rebalances, outbox and relay",
    variables=[service_variable()],
    rows=(
        ("Reading", READING),
        ("What went wrong", WRONG),
        ("Sending", SENDING),
        (
            "Traces",
            (
                Traces(
                    "Rejected events",
                    "The newest events that a rule or the database could not take. What could not "
                    "even be read has no trace: lianxin dlq list has it all.",
                    REJECTED,
                    width=12,
                ),
                Traces(
                    "Slow batches",
                    "Batches of over half a second with the database's commands below them.",
                    '{ name = "process batch" && duration > 500ms }',
                    width=12,
                ),
            ),
        ),
    ),
)
