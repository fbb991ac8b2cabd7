"""Does a sender notice anything but a closed connection when interop is asked to stop?"""

from __future__ import annotations

import asyncio
import signal
import time
from collections import Counter

from libs.common.devstack.mllp import Sender
from tests.integration.interop.conftest import Start
from tests.integration.interop.given import discharge
from tests.support.toy import eventually

SENDERS = 12
#: Seconds that an orchestrator waits before it kills (see libs/common/runtime.py).
PATIENCE = 25


async def _in_full_swing(acknowledged: set[str]) -> bool:
    return len(acknowledged) > 10 * SENDERS


async def test_what_is_in_flight_is_acknowledged_and_nobody_is_told_to_send_again(
    interop_process: Start,
) -> None:
    codes: Counter[str] = Counter()
    acknowledged: set[str] = set()

    async def send(port: int, name: str) -> None:
        """One message after the other, until the connection ends."""
        async with Sender(port) as sender:
            for n in range(100_000):
                id = f"{name}-{n}"
                code = (await sender.send(discharge(id))).code
                codes[code] += 1
                if code == "AA":
                    acknowledged.add(f"HIS|LOAD|{id}")

    async with interop_process() as interop:
        sending = [asyncio.create_task(send(interop.port, f"s{n}")) for n in range(SENDERS)]
        await eventually(lambda: _in_full_swing(acknowledged))
        begun = time.monotonic()
        interop.child.kill(signal.SIGTERM)
        assert await asyncio.to_thread(interop.child.wait, PATIENCE)
        took = time.monotonic() - begun
        endings = await asyncio.gather(*sending, return_exceptions=True)

        assert set(codes) == {"AA"}
        assert {type(e) for e in endings} <= {asyncio.IncompleteReadError, ConnectionResetError}
        assert interop.child.exit_code() == 0
        assert took < PATIENCE
        events = {entry["event"] for entry in interop.logged()}
        assert not events & {"message_not_stored", "mllp_abandoned", "not_drained", "not_left"}
        stored = {r["control"] for r in await interop.rows("messages")}
        assert acknowledged <= stored
        # Stored and not acknowledged may be at most what was in flight on each connection.
        assert len(stored - acknowledged) <= SENDERS
