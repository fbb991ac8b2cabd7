"""Does personal data pass the cipher on its way into the database and out of it?"""

from __future__ import annotations

from libs.common.cipher import sealed_fields
from libs.common.events import EncounterDischarged
from libs.common.fates import Fate
from libs.common.mongo import Database
from tests.support.toy import HOSPITAL, SPEC, Replica, Tally, Toy, tick_command


class Backwards:
    """No cipher, but one can see that it was at work, and for which hospital."""

    def seal(self, hospital: str, plain: bytes) -> bytes:
        return hospital.encode() + b":" + plain[::-1]

    def open(self, hospital: str, sealed: bytes) -> bytes:
        assert sealed.startswith(hospital.encode() + b":")
        return sealed[len(hospital) + 1 :][::-1]


async def test_marked_fields_and_waiting_events_are_sealed_at_rest_and_whole_outside(
    toy: Toy,
) -> None:
    database = Database(toy.mongo_url, toy.name, cipher=Backwards())
    toy.databases.append(database)
    replica = Replica(toy, database)
    async with replica.running("commands"):
        await replica.commands.submit(tick_command(toy, "a", 1, id="k"))
        await replica.commands.submit(tick_command(toy, "a", 2, id="l", then="later"))
        (row,) = await toy.rows("tallies")
        assert row["remark"].startswith(b"h1:")
        assert b"remark 2" not in row["remark"]
        assert row["count"] == 2
        assert all(b'"name"' not in r["value"] for r in await toy.rows("outbox"))
        tally = await database.collection(SPEC).get(HOSPITAL, "a")
        assert isinstance(tally, Tally)
        assert tally.remark == "remark 2"
        assert all(r["result"].startswith(b"h1:") for r in await toy.rows("inbox"))
        assert [r["data"][:3] for r in await toy.rows("timers")] == [b"h1:"]
        again = await replica.commands.submit(tick_command(toy, "a", 1, id="k"))
        assert (again.fate, again.result) == (Fate.DUPLICATE, {"count": 1})
        replica.start("lease", "relay", "timers")
        events = await toy.published(lambda found: len(found) == 3)
    assert [e.sequence for e in events] == [1, 2, 3]


def test_personal_data_is_found_in_nested_models_too() -> None:
    assert {"patient", "guardians"} <= sealed_fields(EncounterDischarged)
    assert "encounter_id" not in sealed_fields(EncounterDischarged)
