"""How much of everything do one hospital, ten and a thousand need?

``python -m scripts.capacity`` prints the tables of docs/capacity.md; with ``--write`` it puts
them there. Another hospital's numbers: ``--beds 800 --reports 6000 --hospitals 3``. What was
measured is ``bench/footprint.py``'s; what is assumed says so.
"""

from __future__ import annotations

import argparse
import math
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "capacity.md"
DAY = 86_400


@dataclass(frozen=True)
class Hospital:
    """What a hospital brings. The first three are public figures, the others to be asked for."""

    beds: int = 2000
    occupancy: float = 0.86  # of the beds of public hospitals
    stay_days: float = 8.4
    visits_per_admission: float = 17.4
    reports_a_day: int = 20_000
    busiest_hour: float = 0.30  # of a day's events
    opened: float = 3.0  # requests of the patient's side for each report

    @property
    def discharges(self) -> float:
        return self.beds * self.occupancy / self.stay_days

    @property
    def visits(self) -> float:
        return self.discharges * self.visits_per_admission

    @property
    def events_a_day(self) -> float:
        """A visit comes with a prescription and an update of the patient."""
        return self.reports_a_day + 3 * self.visits + self.discharges

    @property
    def peak(self) -> float:
        """Events a second in the busiest hour."""
        return self.events_a_day * self.busiest_hour / 3600

    @property
    def requests_peak(self) -> float:
        return self.reports_a_day * self.opened * self.busiest_hour / 3600


@dataclass(frozen=True)
class Measured:
    """For each event of the hospital, all that follows from it included (docs/capacity.md)."""

    #: Microseconds of CPU by service: small batches, full batches.
    cpu: tuple[tuple[str, float, float], ...] = (
        ("enrollment", 1133, 285),
        ("messaging", 1600, 302),
        ("reports", 5167, 585),
        ("prescriptions", 4044, 398),
        ("notify", 7156, 2282),
        ("interop", 4567, 680),
    )
    #: Microseconds of CPU for a request, and how many of three go there.
    requests: tuple[tuple[str, float, int], ...] = (("notify", 5700, 1), ("reports", 11050, 2))
    rss_mb: int = 142
    kafka_records: float = 3.58
    kafka_bytes: float = 2844
    inbox_bytes: float = 1250  # kept for 75 days
    kept_bytes: float = 2149  # kept for years
    trace_bytes: float = 3050  # at a sampling of 1


#: Events a second from which batches are taken as full; the small ones were measured at 20.
FULL_FROM = 50


@dataclass(frozen=True)
class Choices:
    """Ours; a site may choose otherwise."""

    #: Of a core that a replica may use at the peak: the rest is for bursts, and for the work of
    #: the one that fails.
    load: float = 0.5
    least: int = 2
    partitions: int = 6
    replication: int = 3
    kafka_days: int = 30
    inbox_days: int = 75
    trace_days: int = 7
    #: Backups that are kept whatever the volume holds (KEEP_LEAST); it must hold one more.
    backups: int = 3
    #: Assumed: what reading and packing a backup comes to.
    backup_mb_s: float = 50.0
    #: Free space, indexes and the database's journal over what is stored.
    spare: float = 2.0


@dataclass(frozen=True)
class Needs:
    hospitals: int
    sampling: float
    hospital: Hospital
    measured: Measured
    choices: Choices

    @property
    def peak(self) -> float:
        return self.hospitals * self.hospital.peak

    @property
    def daily(self) -> float:
        return self.hospitals * self.hospital.events_a_day

    def handling(self, service: str) -> float:
        """Cores for events, in the busiest hour."""
        small, full = next((s, f) for n, s, f in self.measured.cpu if n == service)
        return self.peak * (small if self.peak <= FULL_FROM else full) / 1e6

    def answering(self, service: str) -> float:
        """Cores for what people read then."""
        asked = self.hospitals * self.hospital.requests_peak / 3
        found = self.measured.requests
        return sum(asked * of_three * us for n, us, of_three in found if n == service) / 1e6

    def replicas(self, service: str) -> int:
        cores = self.handling(service) + self.answering(service)
        return max(self.choices.least, math.ceil(cores / self.choices.load))

    def readers(self, service: str) -> int:
        """Replicas that must have a partition; what the others do is answer people."""
        return max(self.choices.least, math.ceil(self.handling(service) / self.choices.load))

    @property
    def services(self) -> Sequence[str]:
        return [name for name, _, _ in self.measured.cpu]

    @property
    def all_replicas(self) -> int:
        return sum(self.replicas(s) for s in self.services)

    @property
    def partitions(self) -> int:
        return max(self.choices.partitions, *(self.readers(s) for s in self.services))

    @property
    def memory_gb(self) -> float:
        return self.all_replicas * self.measured.rss_mb * self.choices.spare / 1000

    @property
    def records(self) -> float:
        """Kafka records a second at the peak."""
        return self.peak * self.measured.kafka_records

    @property
    def kafka_gb(self) -> float:
        c = self.choices
        return self.daily * self.measured.kafka_bytes * c.kafka_days * c.replication * c.spare / 1e9

    @property
    def inbox_gb(self) -> float:
        c = self.choices
        return self.daily * self.measured.inbox_bytes * c.inbox_days * c.replication * c.spare / 1e9

    @property
    def kept_gb_a_year(self) -> float:
        c = self.choices
        return self.daily * self.measured.kept_bytes * 365 * c.replication * c.spare / 1e9

    @property
    def backup_gb(self) -> float:
        """One night's after a year, before it is packed."""
        m, c = self.measured, self.choices
        return self.daily * (m.inbox_bytes * c.inbox_days + m.kept_bytes * 365) / 1e9

    @property
    def backup_hours(self) -> float:
        return self.backup_gb * 1000 / self.choices.backup_mb_s / 3600

    @property
    def backups_gb(self) -> float:
        return self.backup_gb * (self.choices.backups + 1)

    @property
    def traces_gb(self) -> float:
        return (
            self.daily * self.measured.trace_bytes * self.sampling * self.choices.trace_days / 1e9
        )


#: Hospitals, and the share of traces that is kept (the overlays' TRACE_SAMPLE_RATIO).
SIZES = ((1, 1.0), (10, 1.0), (1000, 0.1))


def number(value: float) -> str:
    """Two digits that count, and no more."""
    if value == 0:
        return "0"
    if value >= 10:
        digits = max(0, len(str(int(value))) - 2)
        return f"{round(value / 10**digits) * 10**digits:,}"
    return f"{value:.2g}"


def tables(hospital: Hospital, sizes: Sequence[tuple[int, float]]) -> Iterator[str]:
    measured, choices = Measured(), Choices()
    needs = [Needs(n, sampling, hospital, measured, choices) for n, sampling in sizes]

    def line(what: str, values: Sequence[object]) -> str:
        return f"| {what} | " + " | ".join(map(str, values)) + " |"

    yield line("hospitals", [f"{n.hospitals:,}" for n in needs])
    yield "|---|" + "---|" * len(needs)
    yield line("events of the hospitals a day", [number(n.daily) for n in needs])
    yield line("a second in the busiest hour", [number(n.peak) for n in needs])
    yield line("Kafka records a second then", [number(n.records) for n in needs])
    for service in needs[0].services:
        cells = [
            f"{number(n.handling(service))} + {number(n.answering(service))}, {n.replicas(service)}"
            for n in needs
        ]
        yield line(f"{service}: cores for events + people, replicas", cells)
    yield line("replicas in all", [n.all_replicas for n in needs])
    yield line("their memory, GB", [number(n.memory_gb) for n in needs])
    yield line("partitions of a topic, at least", [n.partitions for n in needs])
    yield line("Kafka's disks in all, GB", [number(n.kafka_gb) for n in needs])
    yield line("database, inboxes, GB in all", [number(n.inbox_gb) for n in needs])
    yield line("database, a year's growth, GB in all", [number(n.kept_gb_a_year) for n in needs])
    yield line(
        f"a night's backup after a year, GB, and hours at {choices.backup_mb_s:g} MB/s",
        [f"{number(n.backup_gb)}, {number(n.backup_hours)}" for n in needs],
    )
    yield line("backups' volume then, GB", [number(n.backups_gb) for n in needs])
    yield line(
        "traces, GB at a sampling of", [f"{number(n.traces_gb)} at {n.sampling:g}" for n in needs]
    )
    yield ""
    yield "| service | its six readers suffice for so many hospitals |"
    yield "|---|---|"
    many = Needs(1000, 1.0, hospital, measured, choices)
    for service in many.services:
        most = choices.partitions * choices.load / many.handling(service) * many.hospitals
        yield f"| {service} | {number(most)} |"


def written(page: str, block: str) -> str:
    begin, end = "<!-- python -m scripts.capacity -->\n", "<!-- end -->"
    return re.sub(f"(?<={begin}).*?(?={end})", lambda _: block, page, flags=re.S)


def main(argv: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m scripts.capacity")
    parser.add_argument("--write", action="store_true", help="put the tables into docs/capacity.md")
    parser.add_argument("--hospitals", type=int, help="another number of hospitals")
    parser.add_argument("--sampling", type=float, default=1.0, help="share of traces kept")
    named = {
        "beds": "beds",
        "occupancy": "occupancy",
        "stay_days": "stay-days",
        "visits_per_admission": "visits-per-admission",
        "reports_a_day": "reports",
        "busiest_hour": "busiest-hour",
        "opened": "requests-per-report",
    }
    for field in fields(Hospital):
        kind = int if field.type == "int" else float
        parser.add_argument(f"--{named[field.name]}", dest=field.name, type=kind)
    told = vars(parser.parse_args(argv))
    given = {f.name: told[f.name] for f in fields(Hospital) if told[f.name] is not None}
    sizes = SIZES if told["hospitals"] is None else ((told["hospitals"], told["sampling"]),)
    block = "\n".join(tables(Hospital(**given), sizes)) + "\n"
    if told["write"]:
        PAGE.write_text(written(PAGE.read_text("utf-8"), block), encoding="utf-8")
    else:
        print(block, end="")


if __name__ == "__main__":
    main(sys.argv[1:])
