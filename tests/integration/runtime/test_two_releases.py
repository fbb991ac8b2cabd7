"""Does a release leave alone what a newer one beside it has stored, as while it is rolled out?"""

from __future__ import annotations

import pytest

from libs.common.commands import Busy
from tests.support.toy import HOSPITAL, SPEC, Replica, Tally, Toy, tick_command


async def stored_by_a_newer_release(toy: Toy, **fields: object) -> None:
    raw = toy.database.raw(Tally.COLLECTION)
    assert await toy.database.update_row(raw, {"_id": f"{HOSPITAL}/a"}, {"$set": fields})


async def test_a_field_that_it_does_not_know_is_stored_again_as_it_is(toy: Toy) -> None:
    more = {"seen_by": ["n7"], "sealed_there": b"\x01only the newer one opens it"}
    replica = Replica(toy, toy.database)
    async with replica.running("commands"):
        await replica.commands.submit(tick_command(toy, "a", 1, id="k"))
        await stored_by_a_newer_release(toy, **more)
        await replica.commands.submit(tick_command(toy, "a", 2, id="l"))
        await replica.commands.submit(tick_command(toy, "b", 1, id="m"))
    a, b = sorted(await toy.rows(Tally.COLLECTION), key=lambda row: str(row["id"]))
    assert (a["count"], a["version"]) == (2, 2)
    assert a.items() >= more.items()
    assert a.keys() - b.keys() == more.keys(), "nothing of the runtime's own is stored"
    tally = await toy.database.collection(SPEC).get(HOSPITAL, "a")
    assert tally is not None
    assert not tally.model_dump().keys() & {*more, "unknown"}, "nobody is shown it"


async def test_nor_does_it_get_lost_where_a_rule_makes_the_document_anew(toy: Toy) -> None:
    replica = Replica(toy, toy.database)
    async with replica.running("commands"):
        await replica.commands.submit(tick_command(toy, "a", 1, id="k"))
        await stored_by_a_newer_release(toy, seen_by=["n7"])
        await replica.commands.submit(tick_command(toy, "a", 2, id="l", then="anew"))
    (a,) = await toy.rows(Tally.COLLECTION)
    assert (a["version"], a["count"], a["seen_by"]) == (2, 1, ["n7"])


async def test_a_form_that_it_does_not_know_waits_for_the_newer_one(toy: Toy) -> None:
    replica = Replica(toy, toy.database)
    async with replica.running("commands"):
        await replica.commands.submit(tick_command(toy, "a", 1, id="k"))
        await stored_by_a_newer_release(toy, schema_number=Tally.SCHEMA + 1)
        before = await toy.rows(Tally.COLLECTION)
        with pytest.raises(Busy):  # asked again, a replica of that release may answer
            await replica.commands.submit(tick_command(toy, "a", 2, id="l"))
        assert await toy.rows(Tally.COLLECTION) == before
        assert await toy.database.collection(SPEC).get(HOSPITAL, "a"), "to read it harms nobody"
        await stored_by_a_newer_release(toy, schema_number=Tally.SCHEMA)  # as if it were that one
        again = await replica.commands.submit(tick_command(toy, "a", 2, id="l"))
        assert again.result == {"count": 2}
