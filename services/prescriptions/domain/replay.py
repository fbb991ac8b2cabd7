"""What would another version of the rules have answered?

A request is put to it with the facts that were kept when it was asked for, at that moment.
Each case stands by itself: what an answer that differs would have changed for the next ones
is not played on. That the questions were all answered is not asked again, since another
version may have others.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from services.prescriptions.domain.documents import Refill
from services.prescriptions.domain.policy import RenewalPolicy
from services.prescriptions.domain.rules import ASKING, evaluate, refusal

ACCEPTED = "accepted"
_ASKED_AGAIN = ASKING - {"declaration"}


class Difference(NamedTuple):
    """One request whose answer would be another: ``accepted``, or the reason of the refusal."""

    refill_id: str
    by: str
    was: str
    would_be: str
    #: What the rule that refuses would look at, or looked at.
    figures: dict[str, Any]


def differences(refills: Iterable[Refill], policy: RenewalPolicy) -> Iterator[Difference]:
    """Those of ``refills`` that ``policy`` would have answered otherwise.

    A request of before facts were kept can't be asked about: leave it out and say so.
    """
    for refill in refills:
        if refill.facts is None:
            raise ValueError(f"{refill.id} has no facts")
        asked = refill.history[0]
        outcomes = evaluate(refill.facts, policy, asked.at, _ASKED_AGAIN)
        would_be = refusal(outcomes, policy) or ACCEPTED
        was = asked.reason or ACCEPTED
        if was != would_be:
            rule = policy.rule_of(would_be if would_be != ACCEPTED else was)
            figures = next((dict(o.figures) for o in outcomes if o.rule == rule), {})
            yield Difference(refill.id, asked.policy, was, str(would_be), figures)
