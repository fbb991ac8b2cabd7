"""What can become of an input, and where is that said?"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, NamedTuple

from libs.common.decision import Input, Refusal
from libs.common.mongo.documents import Row


class Fate(StrEnum):
    """What became of an input. Everything but ``REJECTED`` is settled for good."""

    DONE = "done"
    REFUSED = "refused"
    DUPLICATE = "duplicate"
    REJECTED = "rejected"


class Reject(StrEnum):
    """Why an input was set aside (besides the codec's reasons)."""

    RULE_FAILED = "rule_failed"
    ID_REUSED = "id_reused"
    UNSTORABLE = "unstorable"


class OtherBody(StrEnum):
    """Why a command is refused before any rule sees it."""

    IDEMPOTENCY_KEY_REUSED = "idempotency_key_reused"


class Outcome(NamedTuple):
    """The fate of one input, and for a command what to answer."""

    fate: Fate
    note: str
    result: Any = None
    refusal: Refusal | None = None
    error: str = ""


def repeated(input: Input, before: Row) -> Outcome:
    """The answer to an input whose (source, id) is already settled."""
    if before["hash"] != input.body_hash:
        if input.actor is not None or input.origin is None:
            return Outcome(
                Fate.REFUSED,
                OtherBody.IDEMPOTENCY_KEY_REUSED,
                refusal=Refusal(OtherBody.IDEMPOTENCY_KEY_REUSED),
            )
        return Outcome(Fate.REJECTED, Reject.ID_REUSED)
    if before["fate"] == Fate.REJECTED:  # twice in one batch: set aside twice
        return Outcome(Fate.REJECTED, before["note"])
    if before["fate"] == Fate.REFUSED:
        kept = before["result"]
        refusal = Refusal(before["note"], detail=kept["detail"], extra=kept["extra"])
        return Outcome(Fate.DUPLICATE, before["note"], refusal=refusal)
    return Outcome(Fate.DUPLICATE, before["note"], result=before["result"])
