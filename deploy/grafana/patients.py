"""Are patients reached? The journeys from end to end: how much, how well, how fast, who waits."""

from __future__ import annotations

from typing import Final

from deploy.grafana.parts import (
    JOB,
    Board,
    Panel,
    Query,
    Traces,
    hourly,
    quantile,
    total,
    worst,
)

OF: Final = f'{JOB}, department=~"$department"'
DISCHARGED: Final = f'{JOB}, type="hospital.encounter.discharged.v1", fate="done"'


def _share(part: str, whole: str) -> Query:
    """Of what began within the time that is shown, how much ended well; nothing began: all."""
    return Query(f"clamp_max(({part} / ({whole} > 0)) or on() vector(1), 1)")


def _stages(journey: str, q: float) -> Query:
    return quantile(q, "journey_stage_seconds", "stage", f'{JOB}, journey="{journey}"')


def _waiting(stages: str) -> Query:
    where = f'{JOB}, stage=~"{stages}"'
    return worst("waiting_oldest_age_seconds", "stage", where)


def _by_department(metric: str) -> Query:
    return hourly(metric, "department", OF)


def _times(journey: str, stages: str, topic: str) -> Panel:
    return Panel(
        "Time by stage",
        f"How long each stage took, by the events' own times: {stages} Half were faster than p50, "
        "one in twenty was slower than p95. A slow stage of machines (released, pushed): see "
        "Consumers and outbox, then Providers; of people: Response times of people.",
        [_stages(journey, 0.5), _stages(journey, 0.95)],
        unit="s",
        traces=(
            "Traces of this journey",
            f'{{ span.messaging.destination.name = "{topic}" '
            '&& span.messaging.operation.type = "process" }',
        ),
    )


def _oldest(stages: str, meaning: str) -> Panel:
    return Panel(
        "Oldest waiting",
        f"For how long what has waited longest has waited: {meaning} 0: nothing waits. A line "
        "that climbs for hours means that nobody works on it: ring whoever should.",
        [_waiting(stages)],
        unit="s",
    )


def _departments(metric: str, what: str) -> Panel:
    return Panel(
        "By department",
        f"{what} an hour, by the hospital's own codes. A department that falls to nothing while "
        "others go on has most likely stopped sending: ask those who run its system.",
        [_by_department(metric)],
        kind="bars",
    )


DISCHARGES: Final = (
    Panel(
        "Invitations",
        "Invited an hour, and how invitations ended. Many expired: people do not see the message, "
        "or do not understand it; look at Pushes below. Many declined: ask the department.",
        [
            Query(
                f"3600 * sum(rate(invitations_issued_total{{{OF}}}[$__rate_interval]))", "issued"
            ),
            hourly("invitations_outcome_total", "outcome", OF),
        ],
        traces=(
            "Traces of discharges",
            '{ span.messaging.destination.name = "hospital.encounters" '
            '&& span.messaging.operation.type = "process" }',
        ),
    ),
    _times(
        "discharge",
        "invited since the discharge, pushed since what is told happened, accepted since the "
        "invitation, staff since a line came on a department's list.",
        "hospital.encounters",
    ),
    _departments("invitations_issued_total", "Invitations"),
    Panel(
        "Left to staff",
        "People whom the platform could not invite by itself, an hour, and why. no_programme: no "
        "group fits the diagnosis, add one in policies/programmes; no_guardian: the child's "
        "guardians are unknown, ask at the discharge. They stand on the department's list.",
        [hourly("staff_tasks_total", "reason", OF)],
        kind="bars",
    ),
    _oldest(
        "invitation|staff_task",
        "an invitation for its answer, a line of a department's list for somebody.",
    ),
    Panel(
        "Pushes",
        "What people were told an hour, by channel and how it ended. failed: given up after all "
        "attempts; suppressed: rightly not sent (expired, no consent, deceased). The inbox never "
        "fails. See Providers for the reasons.",
        [hourly("notifications_total", "channel, outcome")],
        traces=(
            "Traces of this channel",
            '{ span.lianxin.channel = "${__field.labels.channel}" }',
        ),
    ),
)

REPORTS: Final = (
    Panel(
        "Results released",
        "Results that patients may read from then on, an hour, by kind.",
        [hourly("reports_released_total", "kind", OF)],
        traces=(
            "Traces of reports",
            '{ span.messaging.destination.name = "hospital.reports" '
            '&& span.messaging.operation.type = "process" }',
        ),
    ),
    _times(
        "report",
        "released since it was issued (what rules let through at once), doctor the same of what a "
        "doctor had to release, pushed since what is told happened, viewed since the release.",
        "hospital.reports",
    ),
    _departments("reports_released_total", "Results released"),
    Panel(
        "Kept back",
        "Results that did not go to the patient at once, an hour, and why. critical and talk_first "
        "wait for a doctor; held for the hospital's own system; preliminary for the final result. "
        "critical_untold: no doctor could be told, name one in policies/reports (duty).",
        [hourly("reports_held_total", "reason", OF)],
        kind="bars",
    ),
    _oldest("critical|talk_first|held", "a result that is kept back, by why."),
)

RENEWALS: Final = (
    Panel(
        "Renewals",
        "Renewals that reached a status, an hour. refused: by a rule or a pharmacist; expired: "
        "nobody decided in time, which patients feel: see Response times of people.",
        [hourly("refills_total", "status", OF)],
        traces=(
            "Traces of requests",
            '{ span.http.route = "/v1/refills" && span.http.request.method = "POST" }',
        ),
    ),
    _times(
        "refill",
        "doctor since the request, pharmacist since the doctor signed, effective since the "
        "request, pushed since what is told happened.",
        "notify.requests",
    ),
    _departments("refills_total", "Steps of renewals"),
    Panel(
        "Refused by a rule",
        "What a rule said no to an hour, of all services. Not errors; a sudden change follows a "
        "new policy or a system that sends something else than it did.",
        [hourly("refusals_total", "reason")],
        kind="bars",
        traces=(
            "Traces with this outcome",
            '{ span.lianxin.outcome = "${__field.labels.reason}" }',
        ),
    ),
    _oldest("doctor|pharmacist", "a renewal, by with whom it lies."),
    Panel(
        "Questions in the groups",
        "Answers of staff an hour, and how many questions wait. The waiting ones grow for days: "
        "the group has too few who answer.",
        [
            hourly(
                "journey_stage_seconds_count",
                "stage",
                f'{JOB}, journey="question", stage="answered"',
            ),
            Query(f'max(waiting_for_person{{{JOB}, stage="question"}})', "waiting"),
        ],
    ),
)

PATIENTS: Final = Board(
    uid="lianxin-patients",
    title="Are patients reached?",
    chinese="患者收到了吗",
    about="The journeys of patients: volume, success, time by stage, who waits longest",
    variables=[("department", f"label_values(invitations_issued_total{{{JOB}}}, department)")],
    rows=(
        (
            "Within the time that is shown",
            (
                Panel(
                    "Discharges",
                    "Discharges that were handled. 0 on a working day: the hospital's system has "
                    "stopped sending, or nobody reads: see Consumers and outbox.",
                    [Query(total("events_consumed_total", DISCHARGED))],
                    kind="number",
                    width=4,
                    traces=(
                        "Traces of discharges",
                        '{ span.cloudevents.event_type = "hospital.encounter.discharged.v1" }',
                    ),
                ),
                Panel(
                    "Invitations accepted",
                    "Accepted, of the invitations issued in that time (those of before count). A "
                    "hospital's usual value says more than any target; a fall needs a look.",
                    [
                        _share(
                            total("invitations_outcome_total", f'{OF}, outcome="accepted"'),
                            total("invitations_issued_total", OF),
                        )
                    ],
                    kind="number",
                    unit="percentunit",
                    width=4,
                ),
                Panel(
                    "Results released",
                    "Results that patients may read. 0 on a working day: as with discharges.",
                    [Query(total("reports_released_total", OF))],
                    kind="number",
                    width=4,
                    traces=(
                        "Traces of reports",
                        '{ span.messaging.destination.name = "hospital.reports" }',
                    ),
                ),
                Panel(
                    "Results read",
                    "First readings for each result released: what was told has been looked at. It "
                    "may be more than one person for each result; more than all is shown as all.",
                    [
                        _share(
                            total(
                                "journey_stage_seconds_count",
                                f'{JOB}, journey="report", stage="viewed"',
                            ),
                            total("reports_released_total"),
                        )
                    ],
                    kind="number",
                    unit="percentunit",
                    width=4,
                ),
                Panel(
                    "Renewals in effect",
                    "Renewals that became effective: what can be dispensed from then on.",
                    [Query(total("refills_total", f'{OF}, status="effective"'))],
                    kind="number",
                    width=4,
                    traces=(
                        "Traces of reviews",
                        '{ span.http.route = "/v1/refills/{id}/pharmacist-review" }',
                    ),
                ),
                Panel(
                    "Pushes that failed",
                    "Pushes that were given up, besides which the inbox has them. More than a few: "
                    "see Providers.",
                    [Query(total("notifications_total", f'{JOB}, outcome="failed"'))],
                    kind="number",
                    width=4,
                    limits=(1, 20),
                    traces=(
                        "Traces of later attempts",
                        '{ span.lianxin.channel =~ ".+" && span.lianxin.attempt > 1 }',
                    ),
                ),
            ),
        ),
        ("Discharge → invited → accepted", DISCHARGES),
        ("Report ready → released → told → read", REPORTS),
        ("Renewal asked → doctor → pharmacist → in effect", RENEWALS),
        (
            "Traces",
            (
                Traces(
                    "Newest discharges",
                    "One line for each trace: from the hospital's system to the patient's phone. "
                    "Open one to see every step; the span's log leads to its lines.",
                    '{ span.cloudevents.event_type = "hospital.encounter.discharged.v1" }',
                    width=12,
                ),
                Traces(
                    "Newest reports",
                    "The same of reports that have become ready.",
                    '{ span.cloudevents.event_type = "hospital.report.ready.v1" }',
                    width=12,
                ),
            ),
        ),
    ),
)
