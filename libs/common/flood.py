"""When do rejected events stop a consumer, and when do they only raise an alarm?

A bad message never blocks a good one; but if most of what comes is rejected, something
is wrong with *us* (a faulty release) or with everybody who sends, and going on would
move a whole topic into the dead letters. One bad source alone only raises an alarm.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

#: Seconds that count.
WINDOW = 60.0
#: Rejects by our own rules within the window that stop the consumer, if half of all are.
OWN_FAULTS = 10
#: Malformed events from at least this many sources ...
SOURCES = 3
#: ... that stop the consumer, if half of all are.
MALFORMED = 50
#: Rejects of one source within the window that raise the alarm.
ONE_SOURCE = 20


@dataclass(slots=True)
class FloodGuard:
    """Counts the last minute's settled and rejected events of one consumer."""

    _events: deque[tuple[float, int, int, dict[str, int]]] = field(default_factory=deque)

    def count(self, at: float, total: int, own_faults: int, malformed: dict[str, int]) -> None:
        """A batch of ``total`` events at monotonic ``at``; ``malformed`` by source."""
        self._events.append((at, total, own_faults, malformed))
        while self._events[0][0] < at - WINDOW:
            self._events.popleft()

    def flooded(self) -> bool:
        total = sum(e[1] for e in self._events)
        own = sum(e[2] for e in self._events)
        sources = self.sources()
        malformed = sum(sources.values())
        return (own >= OWN_FAULTS and own * 2 >= total) or (
            len(sources) >= SOURCES and malformed >= MALFORMED and malformed * 2 >= total
        )

    def sources(self) -> dict[str, int]:
        """Malformed events by source within the window."""
        sums: dict[str, int] = {}
        for _, _, _, malformed in self._events:
            for source, n in malformed.items():
                sums[source] = sums.get(source, 0) + n
        return sums

    def noisy(self) -> list[str]:
        return sorted(s for s, n in self.sources().items() if n >= ONE_SOURCE)

    def reset(self) -> None:
        self._events.clear()
