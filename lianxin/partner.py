"""Who are the partner systems, and how does one begin?

A partner's rights over HTTP stand in a file of ``policies/partners``, and its credential there is
the OIDC provider's: a client whose tokens have its ``sub``, the role ``integration`` and its
hospital. Over Kafka it is a user with ACLs. What a file may hold says interop, what a topic allows
its registry; neither is said here again. How one ends is in ``retire.py``.
"""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Literal

import typer
import yaml
from rich.text import Text

from lianxin import asked, retire
from lianxin.installation import Installation
from lianxin.output import LOOK, WELL, Answer, Failed, Json, command, table
from lianxin.partner_files import as_file, aside_of, files, new_partner, write_new
from lianxin.partner_rights import admitted, partners_own
from lianxin.retire import let_in, recorded, shut_out
from libs.common import yaml_files
from libs.common.kafka import rights as kafka_rights
from services.interop.domain.partners import Partner, Retired
from services.interop.domain.subscription import Status, Subscription

app = typer.Typer(no_args_is_help=True, help="Partner systems: who, from when, until when.")


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
        out = await database.find_rows(database.raw(Retired.COLLECTION), {}, fields=("id",))
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
    retired = {row["_id"] for row in out}
    left += [
        f"{p.client} was retired, has a file all the same, and can subscribe to nothing new: take"
        f" the file away, or let it in again by that and `lianxin partner add {p.client}`."
        for p in partners
        if f"{p.hospital}/{p.client}" in retired
    ]
    return Answer(facts, [shown, *left], LOOK if left else WELL)


def _counts(found: dict[str, int]) -> str:
    return ", ".join(f"{count} {status}" for status, count in sorted(found.items())) or "-"


@app.command("add")
@command
async def add(
    client: retire.Client,
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
    kafka_user: retire.KafkaName = "",
    kafka_cluster: Annotated[str, typer.Option(help="Strimzi's Kafka.")] = "lianxin-kafka",
    namespace: Annotated[str, typer.Option(help="Where its KafkaUser goes.")] = "lianxin",
    really: asked.Apply = False,
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
        of = {partner.hospital}
        in_kafka = user if kafka == "cluster" else ""
        async with installation.open(), recorded(installation, client, of, in_kafka, who, "C"):
            await asyncio.to_thread(write_new, file, as_file(partner))
            was_out = False
            try:
                was_out = await let_in(installation, partner)
                if kafka == "cluster":
                    password = await admitted(installation, user, rights)
                    facts["password"] = password
                    shown.append(f"Its password, shown here and never again: {password}")
            except BaseException:
                await asyncio.to_thread(file.unlink)
                if was_out:
                    await shut_out(installation, client, of)
                raise
    facts["next"] = _next_steps(partner, kafka, really)
    if aside_of(file).exists():
        facts["next"].append(
            f"{client} was retired before: what it subscribed to then stays closed to it, until ops"
            " resume or delete those subscriptions."
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


app.command("retire")(retire.retire)
