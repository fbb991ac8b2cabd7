"""Does docs/capacity.md say what its own figures give, and do the overlays follow it?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import yaml

from libs.common.devstack.places import SERVICES
from libs.common.migrate import INBOX_DAYS
from scripts import capacity
from scripts.anchors import ROOT
from scripts.capacity import SIZES, Choices, Hospital, Measured, Needs, number, tables, written

DEPLOY = ROOT / "deploy" / "k8s"


def needs(hospitals: int = 1, sampling: float = 1.0, **hospital: Any) -> Needs:
    return Needs(hospitals, sampling, Hospital(**hospital), Measured(), Choices())


def registry() -> list[Mapping[str, Any]]:
    files = (ROOT / "contracts" / "topics").glob("*.yaml")
    return [t for f in files if not (t := yaml.safe_load(f.read_bytes()))["name"].endswith(".dlq")]


def test_the_tables_of_the_page_are_what_the_figures_give() -> None:
    page = capacity.PAGE.read_text(encoding="utf-8")
    block = "\n".join(tables(Hospital(), SIZES)) + "\n"
    assert len(block) > 1000 and block in page, "run: python -m scripts.capacity --write"
    assert written(page, block) == page


def test_the_page_names_the_figures_that_it_reckons_with() -> None:
    page = capacity.PAGE.read_text(encoding="utf-8")
    for name, small, full in Measured().cpu:
        assert f"| {name} | {small:,.0f} | {full:,.0f} |" in page
    for figure in (Measured().kafka_bytes, Measured().inbox_bytes, Measured().kept_bytes):
        assert f"{figure:,.0f}" in page


def test_what_is_chosen_is_what_is_set_elsewhere() -> None:
    chosen = Choices()
    read_once = [t for t in registry() if not t["name"].endswith(".replay")]
    assert {t["partitions"] for t in read_once} == {chosen.partitions}
    assert max(t["retention_ms"] for t in registry()) == chosen.kafka_days * 86_400_000
    assert chosen.inbox_days == INBOX_DAYS
    assert {name for name, _, _ in Measured().cpu} == set(SERVICES)


def test_a_hospital_of_two_thousand_beds_tells_two_to_three_events_a_second_at_its_peak() -> None:
    one = Hospital()
    assert one.discharges == pytest.approx(205, abs=1)
    assert one.visits == pytest.approx(3563, abs=10)
    assert one.peak == pytest.approx(2.6, abs=0.1)


def test_nothing_has_fewer_than_two_replicas_and_more_hospitals_never_need_less() -> None:
    before = needs(1)
    for hospitals in (2, 10, 100, 1000):
        now = needs(hospitals)
        for service in now.services:
            assert now.replicas(service) >= max(2, before.readers(service))
        assert now.kafka_gb > before.kafka_gb and now.partitions >= before.partitions
        before = now


def test_another_hospital_s_numbers_count() -> None:
    small = needs(beds=200, reports_a_day=1000)
    assert small.daily < needs().daily / 8
    assert needs(sampling=0.1).traces_gb == pytest.approx(needs().traces_gb / 10)


@pytest.mark.parametrize(
    ("value", "said"),
    [(0, "0"), (0.0026, "0.0026"), (2.64, "2.6"), (31_107, "31,000"), (99.6, "100"), (10, "10")],
)
def test_a_figure_has_two_digits_that_count(value: float, said: str) -> None:
    assert number(value) == said


def test_the_overlays_have_the_replicas_of_the_page() -> None:
    """One hospital begins with what it needs; nobody gets more readers than partitions."""
    for component, least, most in (
        ("hpa", "minReplicas", "maxReplicas"),
        ("keda", "minReplicaCount", "maxReplicaCount"),
    ):
        text = (DEPLOY / "components" / component / "how.yaml").read_bytes()
        spec = next(yaml.safe_load_all(text))["spec"]
        assert spec[least] == max(needs().replicas(s) for s in needs().services), component
        assert spec[most] >= Choices().partitions
    region = (DEPLOY / "overlays" / "region" / "kustomization.yaml").read_text(encoding="utf-8")
    (_, sampling) = SIZES[-1]
    assert f"TRACE_SAMPLE_RATIO={sampling:g}" in region


#: What the overlay `region` says that it is for.
REGION = 70


def test_the_overlays_have_the_backups_of_the_page() -> None:
    """The volume holds those that are always kept and the next; a backup ends in its time."""
    text = (DEPLOY / "components" / "mongodb" / "backup.yaml").read_bytes()
    backup, claim, _ = yaml.safe_load_all(text)
    job = backup["spec"]["jobTemplate"]["spec"]
    told = {e["name"]: e.get("value") for e in job["template"]["spec"]["containers"][0]["env"]}
    assert told["KEEP_LEAST"] == str(Choices().backups)

    kustomization = yaml.safe_load((DEPLOY / "overlays/region/kustomization.yaml").read_bytes())
    patches = {p["target"].get("name"): p["patch"] for p in kustomization["patches"]}
    (volume,), (deadline,) = (
        yaml.safe_load(patches[name]) for name in ("mongodb-backups", "mongodb-backup")
    )
    for hospitals, size, seconds in (
        (1, claim["spec"]["resources"]["requests"]["storage"], job["activeDeadlineSeconds"]),
        (REGION, volume["value"], deadline["value"]),
    ):
        held = int(size[:-2]) * {"Gi": 2**30, "Ti": 2**40}[size[-2:]] / 1e9
        assert needs(hospitals).backups_gb < held < 1.5 * needs(hospitals).backups_gb
        assert 1.5 * needs(hospitals).backup_hours < seconds / 3600 < 24
    page = capacity.PAGE.read_text(encoding="utf-8")
    assert f"seventy hospitals' is {number(needs(REGION).backup_gb)} GB" in page
