"""What becomes of one renewal against which something stands?

As long as somebody decides on it, it is closed or a doctor looks again; what is in effect is
withheld; and who has the medicine already is told to ask a doctor.
"""

from __future__ import annotations

from collections.abc import Sequence

from libs.common.decision import Env
from services.prescriptions.domain.documents import PatientCare, Refill, RenewalAccount
from services.prescriptions.domain.facts import Outcome, Verdict
from services.prescriptions.domain.policy import RenewalPolicy
from services.prescriptions.domain.reasons import Reason
from services.prescriptions.domain.rules import looked_at_again
from services.prescriptions.domain.steps import Over, closed, moved, possible, suspended
from services.prescriptions.domain.told import stop_told
from services.prescriptions.domain.transitions import Action


def stopped(
    refill: Refill,
    care: PatientCare,
    account: RenewalAccount,
    reason: Reason,
    env: Env,
    policy: RenewalPolicy,
    outcomes: tuple[Outcome, ...],
) -> Over | None:
    """``refill`` for which ``reason`` now stands; None if a doctor is to look at it already."""
    if not looked_at_again(reason, policy) and possible(refill, Action.CLOSE):
        return closed(refill, account, reason, env, policy, outcomes)
    if possible(refill, Action.SUSPEND):
        return suspended(refill, care, account, reason, env, policy, outcomes)
    return None


def warned(
    refill: Refill,
    care: PatientCare,
    account: RenewalAccount,
    reasons: Sequence[Reason],
    outcomes: tuple[Outcome, ...],
    env: Env,
    policy: RenewalPolicy,
) -> Over | None:
    """``refill``, which the patient has, when they are told to ask a doctor before they take more
    of it; None if none of ``reasons`` concerns them, or they know."""
    known = {step.reason for step in refill.history if step.action is Action.WARN}
    new = (r for r in reasons if policy.at_home(r) and r not in known)
    reason = next(new, None)
    if reason is None or care.deceased_at is not None:
        return None
    over: Refill = moved(refill, Action.WARN, env, policy, reason=reason, outcomes=outcomes).but(
        deadline=None
    )
    return over, account, stop_told(over, care, env.now, policy)


def unseen(refill: Refill, outcomes: Sequence[Outcome]) -> Reason | None:
    """Whether an allergy is told in words that was not there, or not in these, when ``refill``
    was last judged.

    Rules can't compare it with the medicine, so it is no refusal; but a pharmacist would ask.
    """
    known = (o for step in reversed(refill.history) for o in step.outcomes if o.rule == "allergy")
    seen = next((_in_words(o) for o in known), frozenset())
    now = [o for o in outcomes if o.rule == "allergy" and o.verdict is Verdict.NOT_CHECKED]
    new = any(_is_new(told, seen) for o in now for told in _in_words(o))
    return Reason.ALLERGY_TO_COMPARE if new else None


def _is_new(told: str, seen: frozenset[str]) -> bool:
    """``seen`` may name a record alone, as it was kept before."""
    return seen.isdisjoint({told, told.rpartition("@")[0]})


def _in_words(outcome: Outcome) -> frozenset[str]:
    """With those to a combination that can't be compared either."""
    figures = outcome.figures
    return frozenset((*figures.get("in_words", ()), *figures.get("not_compared", ())))
