"""May a partner do what its file says, and nothing else?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from libs.common.devstack.places import ROOT
from scripts.contracts import CONTRACTS
from scripts.published import read
from services.interop.domain.partners import (
    PUBLISHABLE,
    SUBSCRIBABLE,
    TOPICS,
    NotAllowed,
    Partner,
    Partners,
)
from services.interop.edge.partners import PartnersError, load_partners

LIS = "https://lis.hospital.example/"


def partner(**changes: Any) -> Partner:
    given = {
        "client": "lis",
        "hospital": "h1",
        "name": "Laboratory",
        "sources": [LIS],
        "publishes": ["hospital.reports"],
        "subscribes": ["reports.events"],
    }
    return Partner.model_validate(given | changes)


def test_a_partner_writes_its_topics_under_its_sources() -> None:
    lis = partner()
    assert Partners([lis]).publishing("lis", "h1", "hospital.reports", LIS) is lis


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        (("his", "h1", "hospital.reports", LIS), NotAllowed.UNKNOWN_PARTNER),
        (("lis", "h2", "hospital.reports", LIS), NotAllowed.UNKNOWN_PARTNER),
        (("lis", "h1", "hospital.patients", LIS), NotAllowed.TOPIC),
        (("lis", "h1", "reports.events", LIS), NotAllowed.TOPIC),
        (("lis", "h1", "hospital.reports", LIS + "x"), NotAllowed.SOURCE),
    ],
)
def test_what_its_file_does_not_say_is_not_allowed(
    asked: tuple[str, str, str, str], why: NotAllowed
) -> None:
    assert Partners([partner()]).publishing(*asked) is why


def test_it_may_read_every_type_of_its_topics_and_no_other() -> None:
    assert partner(subscribes=["enrollment.groups"]).types == {
        "hospital.group.opened.v1",
        "hospital.group.full.v1",
        "hospital.group.closed.v1",
    }


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("subscribes", ["notify.requests"]),
        ("subscribes", ["lianxin.notify.dlq"]),
        ("subscribes", ["reports.event"]),
        ("publishes", ["reports.events"]),
        ("publishes", ["lianxin.notify.dlq"]),
        ("sources", ["/services/reports"]),
        ("sources", ["https://lis example/"]),
        ("sources", ["urn:a|b"]),
        ("client", "a b"),
        ("client", "*"),
        ("kafka_user", "*"),
        ("kafka_user", "a b"),
        ("kafka_user", "a/b"),
        ("kafka_user", "a\x85b"),
        ("hospital", "h/1"),
        ("subscribe", ["reports.events"]),
    ],
)
def test_a_wrong_file_stops_the_start_and_names_file_and_field(
    tmp_path: Path, field: str, value: Any
) -> None:
    with pytest.raises(ValidationError):
        partner(**{field: value})
    text = partner().model_dump_json(exclude={field})
    file = tmp_path / "lis.yaml"
    file.write_text(f"{text[:-1]}, {field!r}: {value!r}}}".replace("'", '"'))
    with pytest.raises(PartnersError) as raised:
        load_partners(tmp_path)
    assert str(file) in str(raised.value) and field in str(raised.value)


@pytest.mark.parametrize(
    ("other", "field"),
    [
        ({"sources": []}, "client"),
        ({"client": "lis-2"}, "sources"),
        ({"client": "lis-2", "sources": [], "kafka_user": "lis"}, "kafka_user"),
        ({"client": "lis-2", "sources": [], "kafka_user": "lis", "hospital": "h2"}, "kafka_user"),
    ],
)
def test_two_partners_share_neither_client_nor_source_nor_user_in_kafka(
    tmp_path: Path, other: dict[str, Any], field: str
) -> None:
    (tmp_path / "a.yaml").write_text(partner().model_dump_json())
    (tmp_path / "b.yaml").write_text(partner(**other).model_dump_json())
    with pytest.raises(PartnersError, match=f"b.yaml: {field}: "):
        load_partners(tmp_path)


def test_a_user_of_two_partners_is_refused_whoever_names_it() -> None:
    one, other = partner(kafka_user="k"), partner(client="lis-2", sources=[], kafka_user="k")
    with pytest.raises(ValueError, match="kafka_user: k is lis's, too"):
        Partners([one, other])
    swapped = partner(kafka_user="lis-2"), partner(client="lis-2", sources=[], kafka_user="lis")
    assert Partners(swapped).of("lis-2", "h1") is swapped[1]


def test_two_hospitals_systems_may_use_one_source() -> None:
    both = Partners([partner(), partner(client="lis-2", hospital="h2")])
    assert isinstance(both.publishing("lis-2", "h2", "hospital.reports", LIS), Partner)


def test_a_key_that_stands_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("client: a\nclient: b\n")
    with pytest.raises(PartnersError, match="stands there twice"):
        load_partners(tmp_path)


def test_the_sample_is_sound_and_without_files_there_are_no_partners(tmp_path: Path) -> None:
    sample = load_partners(ROOT / "policies/partners").of("sample-partner", "h1")
    assert sample is not None and sample.publishes and sample.subscribes
    assert load_partners(tmp_path).of("sample-partner", "h1") is None


def test_the_topic_registry_says_the_same_of_partners() -> None:
    topics = read(CONTRACTS).topics.values()
    assert {t.name for t in topics if "read" in t.partners} == SUBSCRIBABLE
    assert {t.name for t in topics if "write" in t.partners} == PUBLISHABLE
    assert {t.name for t in topics if not t.internal} == TOPICS
    written_by_hospitals = {t.name for t in topics if "hospital systems" in t.producers}
    assert written_by_hospitals == PUBLISHABLE
