"""Who are the partner systems, how does one begin, and how does one end?

A partner's rights over HTTP stand in a file of ``policies/partners``, and its credential there is
the OIDC provider's: a client whose tokens have its ``sub``, the role ``integration`` and its
hospital. Over Kafka it is a user with ACLs. What a file may hold says interop, what a topic allows
its registry; neither is said here again.
"""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Literal

import typer
import yaml
from rich.text import Text

from lianxin import asked, trail
from lianxin.installation import Installation
from lianxin.output import LOOK, WELL, Answer, Failed, Json, command, table
from lianxin.partner_files import as_file, aside_of, files, new_partner, write_new
from lianxin.partner_rights import admitted, expelled, partners_own, strangers
from libs.common import yaml_files
from libs.common.kafka import access as kafka_access
from libs.common.kafka import rights as kafka_rights
from libs.common.kafka.cluster import cluster
from services.interop.domain.partners import Partner
from services.interop.domain.subscription import LIVE, RETIRED, Status, Subscription

app = typer.Typer(no_args_is_help=True, help="Partner systems: who, from when, until when.")

Client = Annotated[str, typer.Argument(help="The claim `sub` of its tokens.")]
KafkaName = Annotated[
    str, typer.Option(help="Its user in Kafka; if absent its file's kafka_user, or its client.")
]
Really = Annotated[bool, typer.Option("--apply", help="Do it, instead of showing it.")]


@app.command("list")
@command
async def list_partners(json: Json = False) -> Answer:
    """Every partner, what it may write and read, and its subscriptions."""
    installation = Installation.of_environment()
    folder = installation.settings.policies_dir / "partners"
    partners = [Partner.model_validate(yaml_files.read(f)) for f in files(folder).values()]
    async with installation.open():
        database = installation.database("interop")
        rows = await database.find_rows(
            database.raw(Subscription.COLLECTION), {}, fields=("hospital", "client", "status")
        )
    counted: dict[tuple[str, str], dict[str, int]] = {}
    for row in rows:
        if row["status"] != Status.DELETED:
            of = counted.setdefault((row["client"], row["hospital"]), {})
            of[row["status"]] = of.get(row["status"], 0) + 1
    facts = [
        {
            **partner.model_dump(mode="json"),
            "subscriptions": counted.pop((partner.client, partner.hospital), {}),
        }
        for partner in partners
    ]
    shown = table(
        "",
        ("client", "hospital", "name", "writes", "reads", "subscriptions"),
        (
            (
                f["client"],
                f["hospital"],
                f["name"],
                ", ".join(sorted(f["publishes"])) or "-",
                ", ".join(sorted(f["subscribes"])) or "-",
                _counts(f["subscriptions"]),
            )
            for f in facts
        ),
    )
    left = [
        f"{client} of {hospital} has no file any more, but subscriptions: {_counts(found)}."
        f" `lianxin partner retire {client}` ends them."
        for (client, hospital), found in sorted(counted.items())
        if found.keys() - {Status.SUSPENDED}
    ]
    return Answer(facts, [shown, *left], LOOK if left else WELL)


def _counts(found: dict[str, int]) -> str:
    return ", ".join(f"{count} {status}" for status, count in sorted(found.items())) or "-"


@app.command("add")
@command
async def add(
    client: Client,
    hospital: Annotated[str, typer.Option(help="For which alone it may act.")],
    name: Annotated[str, typer.Option(help="For people.")],
    source: Annotated[
        list[str] | None, typer.Option(help="A URI under which it writes events.")
    ] = None,
    publish: Annotated[list[str] | None, typer.Option(help="A topic that it may write.")] = None,
    subscribe: Annotated[
        list[str] | None, typer.Option(help="A topic that it may be told.")
    ] = None,
    kafka: Annotated[
        Literal["no", "manifest", "cluster"],
        typer.Option(
            help="manifest: a KafkaUser for Strimzi; cluster: the user and its ACLs made there."
            " Only for a system that is trusted with every hospital of the installation."
        ),
    ] = "no",
    kafka_user: KafkaName = "",
    kafka_cluster: Annotated[str, typer.Option(help="Strimzi's Kafka.")] = "lianxin-kafka",
    namespace: Annotated[str, typer.Option(help="Where its KafkaUser goes.")] = "lianxin",
    really: Really = False,
    operator: asked.Operator = None,
    json: Json = False,
) -> Answer:
    """Write a partner's file, and let it into Kafka. Shows it; does it with --apply."""
    installation, who = Installation.of_environment(), asked.named(operator)
    folder = installation.settings.policies_dir / "partners"
    given: dict[str, Any] = {"client": client, "hospital": hospital, "name": name}
    given |= {"kafka_user": "" if kafka_user == client else kafka_user}
    given |= {"sources": source or [], "publishes": publish or [], "subscribes": subscribe or []}
    partner = new_partner(given, folder)
    user, file = kafka_user or client, folder / f"{client}.yaml"
    partners_own(installation, user)
    if file.exists():
        raise Failed(f"{file} is there already: change it, or name another client.")
    facts: dict[str, Any] = {"file": str(file), "partner": partner, "applied": really}
    shown: list[Any] = [f"# {file}", Text(as_file(partner))]
    if kafka != "no":
        try:
            rights = kafka_rights.of_partner(
                user, partner.publishes, partner.subscribes, installation.topics
            )
        except ValueError as error:
            raise Failed(f"{error}.") from None
        if kafka == "manifest":
            facts["manifest"] = kafka_rights.kafka_user(
                user, rights, cluster=kafka_cluster, namespace=namespace
            )
            shown += ["# KafkaUser", Text(yaml.safe_dump(facts["manifest"], sort_keys=False))]
        else:
            facts["rights"] = [str(right) for right in rights]
            shown += [f"# Kafka: the user {user} may", *(f"  {right}" for right in rights)]
    if really:
        await asyncio.to_thread(write_new, file, as_file(partner))
        if kafka == "cluster":
            try:
                async with installation.open():
                    await _record(installation, partner.client, {partner.hospital}, user, who, "C")
                    password = await admitted(installation, user, rights)
            except BaseException:
                await asyncio.to_thread(file.unlink)
                raise
            facts["password"] = password
            shown.append(f"Its password, shown here and never again: {password}")
    facts["next"] = _next_steps(partner, kafka, really)
    if aside_of(file).exists():
        facts["next"].append(
            f"{client} was retired before: what it subscribed to then stays closed to it, and it"
            " subscribes to nothing new (403), until ops resume or delete those subscriptions."
        )
    return Answer(facts, [*shown, *facts["next"]], WELL)


def _next_steps(partner: Partner, kafka: str, really: bool) -> list[str]:
    steps = [] if really else ["Nothing was done yet: with --apply."]
    steps += [
        f"1. At your OIDC provider: a client of its own, whose tokens have sub {partner.client},"
        f" the role integration and hospital {partner.hospital}.",
        "2. Put the file into the policies that are deployed, and restart interop.",
    ]
    if kafka == "manifest":
        steps.append("3. kubectl apply the KafkaUser; its password is in the Secret of its name.")
    return steps


async def _record(
    installation: Installation, client: str, hospitals: set[str], user: str, who: str, action: str
) -> None:
    """Rights came or went (DICOM PS3.16 CID 401: 110137, User Security Attributes Changed)."""
    await trail.record(
        installation.ports,
        installation.database("interop"),
        operator=who,
        what=f"partner {'add' if action == 'C' else 'retire'}",
        kind="110137",
        action=action,
        entities={hospital: [client, f"kafka/{user}"] for hospital in sorted(hospitals)},
    )


@app.command("retire")
@command
async def retire(
    client: Client,
    kafka_user: KafkaName = "",
    really: Really = False,
    operator: asked.Operator = None,
    json: Json = False,
) -> Answer:
    """Take its rights, suspend its subscriptions, set its file aside. With --apply it is done."""
    installation, who = Installation.of_environment(), asked.named(operator)
    folder = installation.settings.policies_dir / "partners"
    file = files(folder).get(client)
    said = Partner.model_validate(yaml_files.read(file)).kafka_user if file is not None else ""
    user = kafka_user or said or client
    partners_own(installation, user)
    database = installation.database("interop")
    async with installation.open():
        raw = database.raw(Subscription.COLLECTION)
        live = await database.find_rows(
            raw,
            {"client": client, "status": {"$in": list(LIVE)}, "reason": {"$ne": RETIRED}},
            fields=("hospital", "id", "version", "status"),
        )
        async with cluster(installation.broker) as at:
            unknown: list[str] = []
            try:
                everybodys = await kafka_access.everybodys_rights(at)
                may = sorted(everybodys.get(user, ()))
                unknown = [] if may else strangers(installation, everybodys)
            except kafka_access.NoAuthorizer:
                may = []  # it is a user of nothing
            # Who has no right may be the brokers' own administrator: taken away only if named.
            nobody = file is None and not live and not may
            unfound = Failed(
                f"There is no partner {client}: no file in {folder}, no subscription, no right of"
                f" Kafka's user {user}. See `lianxin partner list`; a user who has no right is"
                " taken away with --kafka-user and --apply."
            )
            if nobody and not (really and kafka_user):
                raise unfound
            gone, kept = False, ""
            if really:
                of = {row["hospital"] for row in live}
                if file is not None:
                    of.add(yaml_files.read(file)["hospital"])
                await _record(installation, client, of or {trail.EVERY_HOSPITAL}, user, who, "D")
                gone, kept = await expelled(at, user, len(may))
                if nobody and not gone and not kept:
                    raise unfound
        if really:
            for row in live:
                await suspend(installation, row)
    aside = None if file is None else aside_of(file)
    if really and file is not None and aside is not None:
        await asyncio.to_thread(file.rename, aside)
    facts = {
        "client": client,
        "applied": really,
        "kafka_kept": kept,
        "file": file,
        "kafka_user": user,
        "kafka_rights": [str(right) for right in may],
        "kafka_unknown": unknown,
        "subscriptions": [f"{row['hospital']}/{row['id']}" for row in live],
    }
    done = "" if really else "would be "
    if kept:
        rights = (
            f"Kafka: {kept}. kubectl delete kafkauser {user}, or as one who may alter the cluster:"
            f" `lianxin partner retire {client} --kafka-user {user} --apply`."
        )
    elif may:
        rights = f"Kafka: {len(may)} rights of the user {user} {done}taken away, and the user too."
    else:
        rights = f"Kafka: no user {user} has any right there."
        if gone:
            rights += " The user was there, and is taken away."
        if unknown:
            rights += (
                f" But these have some, and no file names them: {', '.join(unknown)}. If one"
                f" is this partner's: `lianxin partner retire {client} --kafka-user …`."
            )
    shown = [
        rights,
        f"Subscriptions: {len(live)} {done}suspended; what waits under them is kept.",
        "File: there is none." if file is None else f"File: {done}set aside as {aside}.",
        *([] if really else ["Nothing was done yet: with --apply."]),
        f"Then: take the client {client} away at your OIDC provider (a token lives on until it"
        " expires), its certificates out of policies/senders, its KafkaUser out of the manifests,"
        " and restart interop with the policies.",
    ]
    return Answer(facts, shown, LOOK if kept or unknown else WELL)


async def suspend(installation: Installation, row: dict[str, Any]) -> None:
    """As ``Subscription.moved`` does it, and whatever the reason of one that was suspended;
    somebody who changes it at the same time is first."""
    database = installation.database("interop")
    raw = database.raw(Subscription.COLLECTION)
    for _ in range(5):
        now = installation.ports.clock.now()
        change: dict[str, Any] = {"status": Status.SUSPENDED.value, "reason": RETIRED}
        if row["status"] != Status.SUSPENDED:
            change["changed_at"] = now
        guard = {"_id": row["_id"], "version": row["version"]}
        if await database.update_row(raw, guard, {"$set": change, "$inc": {"version": 1}}):
            return
        (row,) = await database.find_rows(
            raw, {"_id": row["_id"]}, fields=("hospital", "id", "version", "status")
        )
        if row["status"] == Status.DELETED:
            return
    raise Failed(f"The subscription {row['_id']} is changed all the time: try again.")
