"""What is one decision about to leave?

A rule here often touches several documents one after another (a child's two guardians
take two seats of one group). The draft shows each step what the steps before it left,
and becomes one ``Decision`` or ``Refusal`` at the end.
"""

from __future__ import annotations

from typing import Any, TypeVar

from libs.common.decision import Decision, Document, Emit, Env, Input, Refusal, State, Timer
from libs.common.events import Event
from services.enrollment.domain.programme import Policy

D = TypeVar("D", bound=Document)


class Draft:
    """Changes, events and timers so far, over the state that was loaded."""

    def __init__(self, input: Input, state: State, env: Env) -> None:
        self.input = input
        self.state = state
        self.env = env
        self.policy: Policy = env.policy
        self.now = env.now
        self.hospital = input.hospital
        self.told_at = input.time
        self._docs: dict[tuple[type[Document], str], Document] = {}
        self._events: list[Emit] = []
        self._timers: list[Timer] = []

    def get(self, model: type[D], id: str) -> D | None:
        changed: Any = self._docs.get((model, id))
        return changed if changed is not None else self.state.get(model, id)

    def the(self, model: type[D], id: str) -> D:
        """The document ``id``, which must exist: another one of ours refers to it."""
        doc = self.get(model, id)
        if doc is None:
            raise LookupError(f"{model.__name__} is referred to but does not exist")
        return doc

    def where(self, model: type[D], field: str, value: str) -> list[D]:
        found: dict[str, Any] = {d.id: d for d in self.state.where(model, field, value)}
        for (m, id), doc in self._docs.items():
            if m is model:
                found.pop(id, None)
                if getattr(doc, field) == value:
                    found[id] = doc
        return [found[id] for id in sorted(found)]

    def put(self, doc: D) -> D:
        self._docs[(type(doc), doc.id)] = doc
        return doc

    def emit(self, data: Event, about: Document | None = None) -> None:
        """Publish ``data``; ``about`` must have been put into this draft."""
        self._events.append(Emit(data, about))

    def wake(self, timer: Timer) -> None:
        self._timers.append(timer)

    def decision(self, result: Any = None, note: str = "done") -> Decision:
        return Decision(tuple(self._docs.values()), self._events, self._timers, result, note)

    def refusal(self, reason: str, detail: str = "") -> Refusal:
        return Refusal(reason, detail, tuple(self._docs.values()), self._events, self._timers)
