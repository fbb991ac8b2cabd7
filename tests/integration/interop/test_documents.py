"""Is a large document that comes in a message stored, told by reference, and read back?"""

from __future__ import annotations

import os
from base64 import b64encode
from hashlib import sha256

import pytest

from libs.common.blobs import StoredBlobs
from libs.common.events import ReportReady
from libs.common.mongo.errors import Unavailable
from services.interop.edge.cuts import joined
from services.interop.store import BODIES, RECEIPTS, Store
from tests.integration.interop.given import sender
from tests.support.running import Running

SCAN = b"%PDF-1.7" + os.urandom(30 * 1024 * 1024)


def message(content: bytes, *, patient: str = "100^^^^MR") -> bytes:
    return "\r".join(
        (
            "MSH|^~\\&|PACS|LX|||20261120101500||ORU^R01|7|P|2.5||||||UNICODE UTF-8",
            f"PID|1||{patient}||样例^甲||19680412",
            "PV1|1|O|CT-ROOM",
            "OBR|1||L7|24627-2^胸部CT^LN||||||||||||d-9||||||20261119113000||CT|F",
            "OBX|1|TX|GDT^影像所见||未见异常||||||F",
            f"OBX|2|ED|PDF^报告||^application^pdf^Base64^{b64encode(content).decode()}||||||F",
            "",
        )
    ).encode()


async def test_a_document_of_thirty_megabytes_is_told_by_reference_and_read_by_its_staff(
    interop: Running,
) -> None:
    sent = message(SCAN)
    async with sender(interop) as pacs:
        assert (await pacs.send(sent)).code == "AA"
        assert (await pacs.send(sent)).code == "AA", "the same again"
    (report,) = await interop.published(ReportReady)
    (ref,) = report.documents
    assert (ref.size, ref.sha256) == (len(SCAN), sha256(SCAN).hexdigest())
    path = ref.url.removeprefix("http://127.0.0.1:8006")
    async with interop.client("doctor", person="d-9") as orderer:
        got = await orderer.get(path)
    assert got.content == SCAN
    assert got.headers["content-type"] == "application/pdf"
    assert got.headers["content-disposition"].startswith("attachment")
    async with interop.client("nurse", person="n-1", departments=["OTHER"]) as stranger:
        assert (await stranger.get(path)).status_code == 404
    async with interop.client("integration", person="unknown") as partner:
        assert (await partner.get(path)).status_code == 404
    async with interop.client("patient", person="100") as patient:
        assert (await patient.get(path)).status_code == 403
    async with interop.client("ops", person="o-1") as ops:
        assert (await ops.get(f"{path}x")).status_code == 404
        (kept,) = (await ops.get("/v1/messages")).json()["items"]
        shown = (await ops.get(f"/v1/messages/{kept['id']}")).json()["raw"]
    assert ref.sha256 in shown and len(shown) < 1_000
    reads = await interop.rows("audit")
    told = [(r["entity"]["what"], r["outcome"], r["patient"]) for r in reads]
    assert told[:2] == [([ref.document_id], "0", "100"), ([ref.document_id], "4", "100")]
    files = await interop.database.find_rows(interop.database.raw("blobs.files"), {})
    assert len(files) == 1
    # The document outlives its message, and its content with it.
    await interop.database.raw("bodies").delete_many({})
    names = Store(interop.database).names
    assert await names(interop.hospital, ref.sha256)
    assert not await names("another", ref.sha256)


async def test_a_refused_message_with_a_document_is_taken_up_again_as_it_came(
    interop: Running,
) -> None:
    sent = message(SCAN, patient="")
    async with sender(interop) as pacs:
        assert (await pacs.send(sent)).code == "AR"
    database, hospital = interop.database, interop.hospital
    (receipt,) = await database.collection(RECEIPTS).find(hospital, {"standing": "refused"})
    body = await database.collection(BODIES).get(hospital, receipt.id)
    assert body is not None and len(body.raw) < 1_000
    (stored,) = await database.find_rows(database.raw("bodies"), {"hospital": hospital})
    blobs = StoredBlobs(database)
    contents = {c.sha256: await blobs.whole(hospital, c.sha256) for c in body.cuts}
    assert joined(body.raw, body.cuts, contents) == sent
    assert not await interop.rows("documents")
    names = Store(database).names
    assert all([await names(hospital, one) for one in contents])
    await database.raw("bodies").delete_many({})
    assert not any([await names(hospital, one) for one in contents]), "nothing keeps them now"
    await database.raw("bodies").insert_one(stored)
    async with interop.client("ops", person="o1") as ops:
        again = await ops.post(
            f"/v1/messages/{receipt.id}/reprocess", headers={"Idempotency-Key": "k1"}
        )
    assert again.json()["id"] == receipt.id and again.json()["standing"] == "refused"


async def test_without_the_document_stored_nothing_is_acknowledged(
    interop: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: object) -> None:
        raise Unavailable("no primary")

    with monkeypatch.context() as broken:
        broken.setattr(StoredBlobs, "put", away)
        async with sender(interop) as pacs:
            assert (await pacs.send(message(b"%PDF"))).code == "AE"
    assert not await interop.rows("messages")
    async with sender(interop) as pacs:
        assert (await pacs.send(message(b"%PDF"))).code == "AA"
    assert len(await interop.rows("documents")) == 1
