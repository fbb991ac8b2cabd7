"""Does Kafka keep what was acknowledged, and let everybody do what they need and no more?

The conditions of our promise that nothing is lost: enough copies, of which enough acknowledge, and
no leader that lacks what others have.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from lianxin import partner_rights, topics
from lianxin.checks import Deployment, Finding, Findings
from lianxin.output import Failed
from libs.common.kafka import access as kafka_access
from libs.common.kafka import rights as kafka_rights
from libs.common.kafka.client import BusError
from libs.common.kafka.cluster import Cluster, cluster
from libs.common.kafka.member import CONSUMER
from libs.common.kafka.rights import Right

CHECK: Final = "kafka"
#: Each broker's, with what it should be and why.
_BROKERS: Final[Mapping[str, tuple[str, str]]] = {
    "auto.create.topics.enable": ("false", "a misspelt topic would come to life"),
    "unclean.leader.election.enable": ("false", "acknowledged events could be lost"),
}


async def examine(of: Deployment) -> list[Finding]:
    found = Findings(CHECK)
    try:
        async with cluster(of.installation.broker) as at:
            await _brokers(found, of, at)
            await _topics(found, of, at)
            await _acls(found, of, at)
    except BusError as error:
        said = f"{of.installation.broker.servers} does not answer: {error}"
        remedy = "see KAFKA_BOOTSTRAP_SERVERS, the certificates, and the user's password"
        found.wrong("cluster", said, remedy)
        return found.all
    if of.own:
        for name in of.services:
            await _principal(found, of, name)
    reset = CONSUMER["auto_offset_reset"]
    found.ok("consumers", f"auto.offset.reset is {reset} in the code: nothing is passed over")
    return found.all


async def _brokers(found: Findings, of: Deployment, at: Cluster) -> None:
    brokers = await at.brokers()
    if len(brokers) < of.figures.replication:
        said = f"{len(brokers)} brokers for {of.figures.replication} copies"
        found.wrong("cluster", said, "a broker for each copy, each in a zone of its own")
    else:
        found.ok("cluster", f"{len(brokers)} brokers")
    try:
        configs = await at.broker_configs()
    except BusError as error:
        said = f"the brokers' settings can't be seen ({error})"
        found.warn("brokers", said, "let this user DescribeConfigs the cluster")
        return
    before = list(found.all)
    for id, config in sorted(configs.items()):
        for name, (wanted, why) in _BROKERS.items():
            if config.get(name, wanted) != wanted:
                found.wrong(f"broker {id}", f"{name}={config[name]}: {why}", f"{name}={wanted}")
        copies = int(config.get("offsets.topic.replication.factor", of.figures.replication))
        if copies < of.figures.replication:
            said = f"offsets.topic.replication.factor={copies}: a lost broker loses positions"
            found.wrong(f"broker {id}", said, f"{of.figures.replication}, and move the copies")
    found.ok_unless(before, "brokers", "no unclean leaders, no topics that nobody asked for")


async def _topics(found: Findings, of: Deployment, at: Cluster) -> None:
    before, registry = list(found.all), of.installation.topics
    for each in await topics.look(at, registry, of.figures):
        said = f"{each.what}: {each.found} instead of {each.wanted}"
        if each.what == "unknown":
            found.warn(each.topic, "is not in the registry", each.remedy)
        else:
            remedy = "lianxin topics apply" if each.action else each.remedy
            found.wrong(each.topic, said, remedy)
    for name, state in (await at.topics()).items():
        if name in registry and state.behind:
            said = f"{state.behind} of {state.partitions} partitions lack a copy in step"
            found.wrong(name, said, "docs/runbook.md, Broker lost")
    found.ok_unless(
        before,
        "topics",
        f"{len(registry)} as in the registry, {of.figures.replication} copies,"
        f" {of.figures.min_insync} acknowledge",
    )


async def _acls(found: Findings, of: Deployment, at: Cluster) -> None:
    """By the rules, for the users that are named as their services, unless each is asked as the
    user that it is; and whether anybody else may something."""
    try:
        everybodys = await kafka_access.everybodys_rights(at)
    except kafka_access.NoAuthorizer:
        said = "whoever reaches it may do everything (no authorizer)"
        if of.production:
            remedy = "Strimzi: authorization.type simple; else authorizer.class.name and ACLs"
            found.wrong("ACLs", said, remedy)
        else:
            found.ok("ACLs", f"{said}: fine on a developer's machine")
        return
    except BusError as error:
        said = f"can't be seen ({error})"
        remedy = "let this user Describe the cluster, or give --settings with the services' users"
        found.warn("ACLs", said, remedy)
        return
    if not of.own:
        for name in of.services:
            needs = kafka_rights.of_service(name, of.installation.topics)
            _judge(found, f"user {name}", needs, everybodys.get(name, set()))
    try:
        ours = (settings.kafka_username for settings in of.services.values())
        unknown = partner_rights.strangers(of.installation, everybodys, filter(None, ours))
    except Failed as error:
        found.warn("others", f"can't be told from partners: {error}", "see the check policies")
        return
    if unknown:
        said = f"unknown principals may do something with what is ours: {', '.join(unknown)}"
        remedy = (
            "a partner's: kafka_user in its file, or `lianxin partner retire CLIENT --kafka-user"
            " …`; else delete its KafkaUser, or its ACLs"
        )
        found.wrong("others", said, remedy)
    else:
        found.ok("others", "nobody else may anything, but partners that have a file")


def _judge(found: Findings, of: str, needs: list[Right], may: set[Right]) -> None:
    before = list(found.all)
    # Write and Read imply Describe (Kafka's security documentation, Operations in Kafka).
    implied = may | {Right(r.kind, r.name, "Describe", r.prefixed) for r in may}
    lacking = [right for right in needs if right not in implied]
    if lacking:
        said = f"may not {', '.join(map(str, lacking))}"
        found.wrong(of, said, "its KafkaUser, or kafka-acls.sh --add: the service stands still")
    described = {(r.kind, r.name) for r in needs}
    beyond = sorted(r for r in may - set(needs) if (r.kind, r.name) not in described
                    or r.operation != "Describe")  # fmt: skip
    if beyond:
        said = f"may also {', '.join(map(str, beyond))}"
        found.wrong(of, said, "take it away: whoever has this password reads what is not its own")
    found.ok_unless(before, of, f"may the {len(needs)} things that it needs, and no others")


async def _principal(found: Findings, of: Deployment, name: str) -> None:
    """As the service itself: what the broker lets it do, whatever the rules are called."""
    settings, registry = of.services[name], of.installation.topics
    who = f"{name} as {settings.kafka_username or 'anybody'}"
    try:
        async with cluster(settings.broker) as at:
            states = await at.topics(registry)
            may = {
                Right("topic", topic, operation)
                for topic, state in states.items()
                for operation in ("Read", "Write", "Describe")
                if operation in state.may
            }
            for service in of.services:
                group = await at.group(of.installation.group(service))
                if group is not None and "Read" in group.may:
                    may.add(Right("group", group.name, "Read"))
    except BusError as error:
        said = f"is not let in: {error}"
        found.wrong(who, said, "see its KAFKA_USERNAME, KAFKA_PASSWORD, KAFKA_CA")
        return
    needs = kafka_rights.of_service(name, registry)
    everything = {Right("topic", t, o) for t in registry for o in ("Read", "Write", "Describe")}
    if not of.production and may >= everything:
        found.ok(who, "may everything: fine on a developer's machine")
        return
    _judge(found, who, needs, may)
