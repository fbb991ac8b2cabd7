"""Does the database keep what was acknowledged, is it as the code needs it, and who may what?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from lianxin.checks import Deployment, Finding, Findings
from libs.common.migrate import missing
from libs.common.mongo.database import Database
from libs.common.mongo.errors import Unavailable, Unstorable

CHECK: Final = "database"
#: The oldest major version that its maker still mends (MongoDB's support policy, 2026).
_OLDEST: Final = 7
_FULL, _NEARLY_FULL = 0.9, 0.8
#: What a service does in its own database.
_NEEDED: Final = frozenset({"find", "insert", "update", "remove", "changeStream"})
#: What may be done elsewhere without seeing or changing anything.
_HARMLESS: Final = frozenset({"listDatabases", "ping"})


async def examine(of: Deployment) -> list[Finding]:
    found = Findings(CHECK)
    for n, (name, settings) in enumerate(of.services.items()):
        database = Database.of(settings, name) if of.own else of.installation.database(name)
        try:
            if n == 0:
                await _server(found, of, database)
            await _indexes(found, of, name, database)
            await _user(found, of, name, database)
        except (Unavailable, Unstorable) as error:
            said = f"does not answer ({error})"
            remedy = "see MONGO_URL, its certificates, MONGO_USERNAME and MONGO_PASSWORD"
            found.wrong(name, said, remedy)
        finally:
            if of.own:
                await database.close()
    return found.all


async def _server(found: Findings, of: Deployment, database: Database) -> None:
    before = list(found.all)
    hello, build = await database.ask("hello"), await database.ask("buildInfo")
    name, version = hello.get("setName"), str(build["version"])
    members = len(hello.get("hosts", ())) + len(hello.get("passives", ()))
    if name is None:
        said = "it is no replica set: no transactions, and one machine lost is all lost"
        found.wrong("server", said, "rs.initiate, with three members")
    elif of.production and members < 3:
        said = f"{members} members keep the data of {name}"
        found.wrong("server", said, "three: w=majority needs two, whichever is away")
    if hello.get("arbiters"):
        said = "an arbiter keeps no data: with one member away no write is acknowledged"
        found.warn("server", said, "a member that keeps data in its place")
    if int(version.split(".")[0]) < _OLDEST:
        said = f"version {version} is not mended any more"
        found.warn("server", said, f"{_OLDEST}.0 or newer, one major version after another")
    space = await _space(found, database)
    if total := space.get("fsTotalSize"):
        used = float(space["fsUsedSize"]) / float(total)
        if used >= _NEARLY_FULL:
            tell = found.wrong if used >= _FULL else found.warn
            tell("server", f"its disk is {used:.0%} full", "a larger disk; docs/capacity.md")
    writes = "every write waits for a majority (in the code)"
    found.ok_unless(before, "server", f"{name}, {members} members, version {version}; {writes}")


async def _space(found: Findings, database: Database) -> Mapping[str, Any]:
    """Which is not a service's right, nor does it need it."""
    try:
        return await database.ask("dbStats", admin=False)
    except Unavailable as error:
        said = f"how full its disk is can't be seen ({error})"
        found.warn("server", said, "the role clusterMonitor for this user; or look at its volumes")
        return {}


async def _indexes(found: Findings, of: Deployment, name: str, database: Database) -> None:
    spec = of.installation.spec(name)
    if unmade := await missing(database, spec.collections, spec.buckets):
        said = f"missing: {'; '.join(unmade)}"
        remedy = f"the Job migrate, or python -m libs.common.migrate {name}"
        found.wrong(name, said, remedy)
    else:
        found.ok(name, "collections and indexes as the code has them")


async def _user(found: Findings, of: Deployment, name: str, database: Database) -> None:
    info = (await database.ask("connectionStatus", showPrivileges=True))["authInfo"]
    named = of.services[name].mongo_database or f"lianxin_{name}"
    judge_user(found, name, named if of.own else None, info, production=of.production)


def judge_user(
    found: Findings, name: str, named: str | None, info: Mapping[str, Any], *, production: bool
) -> None:
    """By ``connectionStatus``; ``named`` is the database of a service's own user."""
    users = info.get("authenticatedUsers", [])
    if not users:
        if production:
            said = "the database asks nobody for a password"
            found.wrong(f"{name}'s user", said, "security.authorization: enabled, a user each")
        return
    if named is None:
        return
    who, beyond, may = f"{name} as {users[0]['user']}", set[str](), set[str]()
    for privilege in info.get("authenticatedUserPrivileges", []):
        resource, actions = privilege["resource"], set(privilege["actions"])
        if resource.get("db") == named:
            may |= actions
        elif actions - _HARMLESS:
            where = resource.get("db", "the cluster") or "every database"
            beyond.add(f"{', '.join(sorted(actions)[:3])} … on {where}")
    if beyond:
        said = f"may also {'; '.join(sorted(beyond))}"
        found.wrong(who, said, f"what it needs on {named}, and nothing else")
    elif lacking := sorted(_NEEDED - may):
        said = f"may not {', '.join(lacking)} in {named}"
        found.wrong(who, said, f"readWrite on {named}, or the roles of deploy/k8s")
    else:
        found.ok(who, f"may write {named}, and nothing else")
