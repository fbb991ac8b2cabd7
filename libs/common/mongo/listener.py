"""Who is told of each command that the driver sends?"""

from __future__ import annotations

from typing import Any, Protocol

from pymongo.monitoring import CommandListener

from libs.common import metrics


class Spans(Protocol):
    """Who is told of each command that is sent (``libs.common.mongo.spans.MongoSpans``)."""

    def command_started(self, name: str, collection: str | None, request_id: int) -> None: ...
    def command_succeeded(self, request_id: int) -> None: ...
    def command_failed(self, request_id: int, error_type: str) -> None: ...


class Listener(CommandListener):
    def __init__(self, spans: Spans | None) -> None:
        self._spans = spans

    def started(self, event: Any) -> None:
        metrics.MONGO_COMMANDS.labels(command=event.command_name).inc()
        if self._spans is not None:
            named = event.command.get(event.command_name)
            collection = named if isinstance(named, str) else None
            self._spans.command_started(event.command_name, collection, event.request_id)

    def succeeded(self, event: Any) -> None:
        self._ended(event, "succeeded")
        if self._spans is not None:
            self._spans.command_succeeded(event.request_id)

    def failed(self, event: Any) -> None:
        self._ended(event, "failed")
        if self._spans is not None:
            self._spans.command_failed(event.request_id, "command_failed")

    @staticmethod
    def _ended(event: Any, outcome: str) -> None:
        metrics.MONGO_SECONDS.labels(command=event.command_name, outcome=outcome).observe(
            event.duration_micros / 1e6
        )
