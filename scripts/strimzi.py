"""Which topics and users does the broker have on Kubernetes?

``python -m scripts.strimzi`` writes Strimzi's resources into deploy/k8s/components: the topics of
the registry, a user for each service and one for the command line with just the rights they need,
and those partners of ``policies/partners`` that come by Kafka. A site's own: ``--partners FOLDER``.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from libs.common import topic_registry, yaml_files
from libs.common.kafka import rights as kafka_rights
from libs.common.kafka.rights import CLUSTER, OPERATORS, Topics, kafka_user
from libs.common.topic_registry import Topic
from services.interop.domain.partners import Partner, Partners

COMPONENTS = Path("deploy/k8s/components")
PARTNERS = Path("policies/partners")
HEAD = "# Made by `python -m scripts.strimzi` from {source}; do not edit.\n"

#: Beside the topic's own: a record is acknowledged by two of three brokers, and stays when one
#: is lost. On each topic, since it holds there whatever the brokers' defaults are.
SAFE = {"min.insync.replicas": "2", "unclean.leader.election.enable": "false"}
REPLICAS = 3

Resource = dict[str, Any]


class Refused(Exception):
    """Says which field of which partner's file is wrong, and what to do."""


def topic(found: Topic) -> Resource:
    return {
        "apiVersion": "kafka.strimzi.io/v1",
        "kind": "KafkaTopic",
        "metadata": {
            "name": found.name,
            "labels": {"strimzi.io/cluster": CLUSTER, "app.kubernetes.io/part-of": "lianxin"},
        },
        "spec": {
            "partitions": found.partitions,
            "replicas": REPLICAS,
            "config": found.config | SAFE,
        },
    }


def users(topics: Topics) -> list[Resource]:
    """Their passwords stand in the Secrets that the services read: ``<name>-kafka``."""
    rights = {name: kafka_rights.of_service(name, topics) for name in kafka_rights.services(topics)}
    rights[OPERATORS] = kafka_rights.of_operators(topics)
    return [kafka_user(name, found, secret=f"{name}-kafka") for name, found in rights.items()]


def partner_users(partners: Iterable[Partner], topics: Topics) -> list[Resource]:
    """Those who write events themselves. The broker knows no hospital: who may read a topic
    reads all of it, so where one installation serves several, partners come over HTTP."""
    by_kafka = sorted((p for p in partners if p.sources), key=lambda p: p.client)
    if len(hospitals := {p.hospital for p in by_kafka}) > 1:
        raise Refused(
            f"hospital: {', '.join(sorted(hospitals))}. Kafka can't keep them apart: give these "
            "partners HTTP (docs/events-over-http.md), and Kafka at most to those of one hospital"
        )
    found = []
    for partner in by_kafka:
        name = partner.kafka_user or partner.client
        field = "kafka_user" if partner.kafka_user else "client"
        if not re.fullmatch(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?", name):
            raise Refused(
                f"{field}: {name!r} can't be a name on Kubernetes: take small letters, digits, "
                "'-' and '.' (RFC 1123)"
            )
        if name in (OPERATORS, *kafka_rights.services(topics)):
            raise Refused(f"{field}: {name} is a user of the platform's own: take another name")
        rights = kafka_rights.of_partner(name, partner.publishes, partner.subscribes, topics)
        found.append(kafka_user(name, rights))
    return found


def files(topics: Topics, partners: Iterable[Partner]) -> dict[Path, str]:
    """What stands in which file under deploy/k8s/components."""
    registry = "contracts/topics"
    return {
        Path("kafka/topics.yaml"): _text(registry, map(topic, topics.values())),
        Path("kafka/users.yaml"): _text(registry, users(topics)),
        Path("kafka-partners/users.yaml"): _text(
            "policies/partners", partner_users(partners, topics)
        ),
    }


def read_partners(folder: Path) -> list[Partner]:
    found = []
    for file in sorted(folder.glob("*.yaml")):
        try:
            found.append(Partner.model_validate(yaml_files.read(file)))
        except (ValidationError, yaml.YAMLError) as wrong:
            raise Refused(f"{file}: {wrong}") from wrong
    try:
        Partners(found)
    except ValueError as wrong:
        raise Refused(f"{folder}: {wrong}") from wrong
    return found


def _text(source: str, resources: Iterable[Resource]) -> str:
    return HEAD.format(source=source) + yaml.safe_dump_all(resources, sort_keys=False)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="strimzi", description=__doc__)
    parser.add_argument("--partners", type=Path, default=PARTNERS, help="their files")
    parser.add_argument("--into", type=Path, default=COMPONENTS, help="the components' folder")
    given = parser.parse_args(argv)
    try:
        found = files(topic_registry.read(), read_partners(given.partners))
    except Refused as refused:
        print(f"strimzi: {refused}.", file=sys.stderr)
        return 1
    for path, text in found.items():
        (given.into / path).parent.mkdir(parents=True, exist_ok=True)
        (given.into / path).write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
