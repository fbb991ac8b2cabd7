"""Is a service well? Rate, errors and duration of its requests, the database, resources."""

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
)

OF_ROUTE: Final = '{ span.http.route = "${__field.labels.route}" }'
OF_SERVICE: Final = '{ resource.service.name = "${__field.labels.service}" && kind = server }'
FAILED: Final = "{ kind = server && span.http.response.status_code >= 500 }"

REQUESTS: Final = (
    Panel(
        "Rate",
        "Requests a second by route. Nothing from a service that is used all day: the gateway does "
        "not reach it.",
        [rate("http_request_seconds_count", "service, route", CHOSEN)],
        traces=("Requests of this route", OF_ROUTE),
    ),
    Panel(
        "Errors",
        "The share of requests that we failed (5xx), by service. Answers such as 404, 409 or 422 "
        "are no faults. 503 with Retry-After: the database was away, or the outbox is full.",
        [
            Query(
                "(sum by (service) (rate(http_request_seconds_count"
                f'{{{CHOSEN}, status=~"5.."}}[$__rate_interval])) / sum by (service) '
                f"(rate(http_request_seconds_count{{{CHOSEN}}}[$__rate_interval]))) {ELSE_ZERO}",
                "{{service}}",
            )
        ],
        unit="percentunit",
        limits=(0.001, 0.01),
        traces=("Failed requests", FAILED),
    ),
    Panel(
        "Duration",
        "95 of 100 requests were faster, by route. Points are examples: a click leads to their "
        "trace. One slow route: its query; all of them: the database or the processor.",
        [quantile(0.95, "http_request_seconds", "route", CHOSEN)],
        unit="s",
        traces=("Slow requests of this route", OF_ROUTE.replace(" }", " && duration > 250ms }")),
    ),
    Panel(
        "Answers",
        "Requests a second by status. 401 and 403 rise: tokens or roles changed; 409 and 412: two "
        "people at one thing, or a client without If-Match.",
        [rate("http_request_seconds_count", "service, status", CHOSEN)],
        traces=(
            "Requests with this status",
            "{ span.http.response.status_code = ${__field.labels.status} }",
        ),
    ),
    Panel(
        "Commands",
        "Commands decided a second, by what became of them. refused: a rule said no.",
        [rate("commands_total", "service, type, fate", CHOSEN)],
        traces=(
            "Commands of this type",
            '{ span.lianxin.input = "${__field.labels.type}" }',
        ),
    ),
    Panel(
        "Commands in a transaction",
        "How many commands shared one transaction (p95): more under load, which is what makes it "
        "bear load.",
        [quantile(0.95, "command_batch_size", "service", CHOSEN)],
    ),
)

DATABASE: Final = (
    Panel(
        "Commands to MongoDB",
        "Round trips a second by command. They should grow slower than events and requests.",
        [rate("mongo_commands_total", "service, command", CHOSEN)],
        traces=(
            "Traces with this command",
            '{ span.db.system.name = "mongodb" '
            '&& span.db.operation.name = "${__field.labels.command}" }',
        ),
    ),
    Panel(
        "Time of a command",
        "95 of 100 commands were answered faster. find slow: an index or memory; commitTransaction "
        "slow: the disks or the replication of the replica set.",
        [quantile(0.95, "mongo_command_seconds", "command", CHOSEN)],
        unit="s",
        traces=(
            "Slow commands",
            '{ span.db.operation.name = "${__field.labels.command}" && duration > 100ms }',
        ),
    ),
    Panel(
        "Failed commands",
        "Commands that MongoDB failed an hour. A few after an election are normal; they are tried "
        "again.",
        [
            hourly(
                "mongo_command_seconds_count",
                "service, command",
                f'{CHOSEN}, outcome="failed"',
            )
        ],
        traces=("Failed commands", '{ span.db.system.name = "mongodb" && status = error }'),
    ),
    Panel(
        "Transactions",
        "Transactions a second: committed; conflict: somebody else was faster, decided again; "
        "failed: the database was away or refused.",
        [rate("transactions_total", "service, outcome", CHOSEN)],
        traces=(
            "Slow commits",
            '{ span.db.operation.name = "commitTransaction" && duration > 50ms }',
        ),
    ),
    Panel(
        "Version conflicts",
        "Saves that came second, an hour. Many on one service: one hot document, as a group that "
        "fills up.",
        [hourly("version_conflicts_total", "service", CHOSEN)],
    ),
    Panel(
        "Replicas that answer",
        "Replicas that Prometheus reaches. Fewer than were asked for: one is starting, or dies: "
        "runbook, ReplicaDown.",
        [Query(f"sum by (service) (up{{{CHOSEN}}})", "{{service}}")],
    ),
)

RESOURCES: Final = (
    Panel(
        "Processor",
        "Cores used by each replica. Near 1: a replica has one event loop, so add replicas.",
        [
            Query(
                f"rate(process_cpu_seconds_total{{{CHOSEN}}}[$__rate_interval])",
                "{{service}} {{instance}}",
            )
        ],
        limits=(0.7, 0.9),
    ),
    Panel(
        "Memory",
        "Resident memory of each replica. It grows for days without an end: a leak, report it; "
        "near the limit of the Deployment: raise it.",
        [Query(f"process_resident_memory_bytes{{{CHOSEN}}}", "{{service}} {{instance}}")],
        unit="bytes",
    ),
    Panel(
        "Open files",
        "The share of the file descriptors that a replica may have. It climbs without load: "
        "connections are not closed.",
        [
            Query(
                f"process_open_fds{{{CHOSEN}}} / process_max_fds{{{CHOSEN}}}",
                "{{service}} {{instance}}",
            )
        ],
        unit="percentunit",
        limits=(0.6, 0.8),
    ),
    Panel(
        "Loop lag",
        "The longest wait of a replica's event loop within 15 s. Above 1 s requests are felt to "
        "be slow and Kafka may drop it.",
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
        "Garbage collections",
        "A second, by generation. Generation 2 many times a second: large batches with little "
        "memory.",
        [rate("python_gc_collections_total", "service, generation", CHOSEN)],
    ),
    Panel(
        "Spans lost",
        "Spans dropped an hour because the collector refused them or was away: traces have holes.",
        [hourly("spans_lost_total", "service", CHOSEN)],
    ),
)

SERVICE: Final = Board(
    uid="lianxin-service",
    title="Service",
    chinese="服务运行状况",
    about="Rate, errors and duration of requests, the database, resources",
    variables=[service_variable()],
    rows=(
        ("Requests", REQUESTS),
        ("Database", DATABASE),
        ("Resources", RESOURCES),
        (
            "Traces",
            (
                Traces(
                    "Failed requests",
                    "Requests that we failed (5xx). The span's log has the fault.",
                    FAILED,
                    width=12,
                ),
                Traces(
                    "Slow requests",
                    "Requests of over half a second, with the database's commands below them.",
                    "{ kind = server && duration > 500ms }",
                    width=12,
                ),
            ),
        ),
    ),
)
