"""Does the check of stored histories find what a hand in the database has done?"""

from __future__ import annotations

from typing import Any

import pytest

from scripts import history_check
from services.prescriptions.domain.form import digest
from services.prescriptions.store import REFILLS
from tests.integration.prescriptions.given import Hospital, decide, review
from tests.support import stored

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def change(hospital: Hospital, id: str, **fields: Any) -> None:
    """Behind the service's back."""
    await stored.change(hospital.service.database, REFILLS, hospital.id, id, **fields)


async def check(
    hospital: Hospital, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> tuple[int, list[str]]:
    """The command's exit code and what it printed."""
    service = hospital.service
    told = service.stack.service_environment()
    monkeypatch.setenv("MONGO_URL", service.stack.mongo_url)
    monkeypatch.setenv("CIPHER_KEYS_DIR", told["CIPHER_KEYS_DIR"])
    monkeypatch.setenv("MONGO_DATABASE", service.database.raw("refills").database.name)
    monkeypatch.setattr(history_check, "PAGE", 2)
    code = await history_check.main(["--hospital", hospital.id])
    return code, capsys.readouterr().out.splitlines()


async def test_what_was_changed_in_the_database_is_found_and_nobody_is_named(
    hospital: Hospital, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    await hospital.prescribe("rx1")
    await hospital.prescribe("rx2", ingredient="another")
    good, reworded, moved = [await hospital.renewed() for _ in range(3)]
    asked = await hospital.asked("rx2")
    approved = (await decide(hospital.doctor(), asked, "approve")).json()
    returned = (await review(hospital.pharmacist(), approved, "return", reason="dose")).json()
    ids = [r["id"] for r in (good, reworded, moved, returned)]
    assert await check(hospital, monkeypatch, capsys) == (
        0,
        [f"0 of 4 renewals of {hospital.id} have a fault"],
    )

    rows = {r["id"]: r for r in await hospital.service.rows("refills", hospital.id)}
    [form] = rows[reworded["id"]]["forms"]
    text = form["text"].replace("one tablet", "two tablets")
    assert text != form["text"]
    await change(hospital, ids[1], forms=[{**form, "text": text, "digest": digest(text)}])
    await change(hospital, ids[2], history=rows[ids[2]]["history"][:-1])
    await change(hospital, ids[3], status="given away")
    code, said = await check(hospital, monkeypatch, capsys)
    assert code == 1
    assert {line for line in said if line.startswith(ids[1])} == {
        f"{ids[1]}  signature: forms.1 {role}: signature_wrong" for role in ("doctor", "pharmacist")
    }
    assert f"{ids[2]}  status_differs" in said
    assert f"{ids[3]}  unreadable: status" in said
    assert not any(line.startswith(good["id"]) for line in said)
    assert said[-1] == f"3 of 4 renewals of {hospital.id} have a fault"

    raw = hospital.service.database.raw("refills")
    sealed = {r["id"]: r["facts"] for r in await raw.find({"hospital": hospital.id}).to_list(None)}
    swapped = {"$set": {"facts": sealed[good["id"]]}}
    await raw.update_one({"_id": f"{hospital.id}/{ids[2]}"}, swapped)
    code, said = await check(hospital, monkeypatch, capsys)
    assert f"{ids[2]}  unreadable: it was changed, or sealed for another place" in said
    assert not any(name in "\n".join(said) for name in ("李一", "dr1", "ph1", "Amlodipine"))
