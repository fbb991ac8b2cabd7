"""What happens when a child dies while the stack is up? It is restarted, and we say so."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass

from libs.common.devstack.part import Part, Said, Tell

LOOK_EVERY = 0.2
FIRST_PAUSE = 0.5
LONGEST_PAUSE = 15.0
#: Having answered for so long, a part that dies again is restarted at once.
GOOD_AFTER = 60.0


@dataclass(slots=True)
class _Case:
    """One part between its death and its next answer."""

    deaths: int = 0
    due: float | None = None
    answering: bool = True
    since: float = 0.0


class Watch:
    """Looks at ``parts`` in a thread of its own; never waits for one while another is down."""

    def __init__(self, parts: Mapping[str, Part], tell: Tell) -> None:
        self._parts = parts
        self._tell = tell
        self._cases: dict[str, _Case] = {}
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name="devstack-watch", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._done.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._done.wait(LOOK_EVERY):
            self.look(time.monotonic())

    def look(self, now: float) -> None:
        """Once at each part, at ``now`` (seconds of a monotonic clock)."""
        for part in list(self._parts.values()):
            if part.wanted:
                self._look_at(part, self._cases.setdefault(part.name, _Case()), now)

    def _look_at(self, part: Part, case: _Case, now: float) -> None:
        if case.due is not None:
            if now >= case.due:
                self._restart(part, case, now)
        elif not part.running():
            if case.answering and now - case.since > GOOD_AFTER:
                case.deaths = 0
            pause = min(FIRST_PAUSE * 2**case.deaths, LONGEST_PAUSE)
            case.deaths += 1
            case.answering = False
            case.due = now + pause
            self._tell(
                part.name,
                Said(
                    f"died with code {part.exit_code()}; restarting in {pause:g} s",
                    f"已退出（代码 {part.exit_code()}），{pause:g} 秒后重启",
                ),
            )
        elif not case.answering and part.ready():
            case.answering, case.since = True, now
            self._tell(part.name, Said("is back and answers", "已恢复应答"))

    def _restart(self, part: Part, case: _Case, now: float) -> None:
        try:
            part.start()
            case.due = None
        except OSError as e:  # above all a full disk; it may be freed
            case.due = now + LONGEST_PAUSE
            self._tell(
                part.name,
                Said(f"can't be restarted yet ({e.strerror})", f"暂时无法重启（{e.strerror}）"),
            )
