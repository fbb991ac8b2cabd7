"""What does each rule say?

One small function for each: the facts, the rule's parameters and today in, an outcome with
the figures that it looked at out. None knows of another, and all of a stage are asked:
a decision keeps every outcome, and of several refusals the first in the policy's order is
the reason that is told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime
from typing import Any, NamedTuple

from libs.common.years import years
from services.prescriptions.domain.documents import Reason
from services.prescriptions.domain.facts import Facts, Outcome, Verdict
from services.prescriptions.domain.parameters import (
    Child,
    Declaration,
    Early,
    Limit,
    LongSupply,
    Medicines,
    NeverClasses,
    Parameters,
    Practice,
    ReasonedSupply,
    RestrictedList,
    Supply,
    Validity,
    Window,
)
from services.prescriptions.domain.policy import RenewalPolicy


class When(NamedTuple):
    """The moment of a decision, on the hospital's calendar."""

    now: datetime
    policy: RenewalPolicy

    @property
    def today(self) -> date:
        return self.policy.day(self.now)

    def days_since(self, at: datetime) -> int:
        return (self.today - self.policy.day(at)).days


Figures = Mapping[str, Any]
Found = tuple[Verdict, Figures]


def holds(yes: bool, **figures: Any) -> Found:
    return (Verdict.PASSED if yes else Verdict.REFUSED), figures


def not_checked(**figures: Any) -> Found:
    return Verdict.NOT_CHECKED, figures


# -- the patient --------------------------------------------------------------------------


def alive(facts: Facts, _p: Parameters, _when: When) -> Found:
    return holds(not facts.deceased)


def age_known(facts: Facts, _p: Parameters, _when: When) -> Found:
    """Every record holds a date of birth: who asks for oneself waits for it, since it might
    be a child who asks; a guardian may ask for either."""
    return holds(facts.birth_date is not None or not facts.oneself)


def authority(facts: Facts, _p: Parameters, when: When) -> Found:
    if facts.birth_date is None:
        return not_checked() if facts.oneself else holds(True)
    age = years(facts.birth_date, when.today)
    return holds(not facts.oneself or age >= when.policy.adult_age(when.today), age=age)


def child(facts: Facts, p: Child, when: When) -> Found:
    if facts.birth_date is None:
        return not_checked()
    age = years(facts.birth_date, when.today)
    return holds(age >= p.years, age=age)


# -- the prescription ---------------------------------------------------------------------


def this_hospital(facts: Facts, _p: Parameters, _when: When) -> Found:
    return holds(facts.authored_here)


def stable_regimen(facts: Facts, _p: Parameters, when: When) -> Found:
    return holds(facts.stopped_at is None or facts.stopped_at > when.now)


def never_classes(facts: Facts, p: NeverClasses, _when: When) -> Found:
    found = next((name for name, c in p.classes.items() if is_of(facts.code, c.atc)), None)
    return holds(found is None, **({} if found is None else {"class": found}))


def restricted_list(facts: Facts, p: RestrictedList, _when: When) -> Found:
    found = next((name for name, c in p.conditions.items() if is_of(facts.code, c.atc)), None)
    return holds(found is not None, **({} if found is None else {"condition": found}))


def window(facts: Facts, p: Window, when: When) -> Found:
    days = when.days_since(facts.issued_at)
    return holds(days <= p.days, days=days)


def is_of(code: str, classes: Iterable[str]) -> bool:
    """Whether an ATC code is one of ``classes`` or below it: ``C09AA02`` is of ``C09``."""
    return code.upper().startswith(tuple(classes))


# -- how often, how much ------------------------------------------------------------------


def one_at_a_time(facts: Facts, _p: Parameters, _when: When) -> Found:
    return holds(facts.under_way == 0)


def limit(facts: Facts, p: Limit, _when: When) -> Found:
    since = facts.last_visit_at
    used = sum(since is None or at >= since for at in facts.renewals)
    return holds(used < p.renewals, used=used)


def not_too_early(facts: Facts, p: Early, when: When) -> Found:
    """A supply of 28 days that began today leaves 28, and none in four weeks."""
    if facts.dispensed is None or facts.dispensed.days is None:
        return not_checked()
    left = facts.dispensed.days - when.days_since(facts.dispensed.at)
    return holds(left <= p.days_left, days_left=max(0, left))


def medicines_a_day(facts: Facts, p: Medicines, _when: When) -> Found:
    return holds(facts.others_today < p.medicines, others_today=facts.others_today)


def _days(facts: Facts) -> int | None:
    return facts.days_supply if facts.deciding is None else facts.deciding.days_supply


def supply(facts: Facts, p: Supply, _when: When) -> Found:
    days = _days(facts)
    return not_checked() if days is None else holds(days <= p.days, days=days)


def reasoned_supply(facts: Facts, p: ReasonedSupply, _when: When) -> Found:
    days, act = _days(facts), facts.deciding
    if days is None or act is None:
        return not_checked()
    return holds(days <= p.days or facts.has_diagnosis or act.noted, days=days, noted=act.noted)


def long_supply(facts: Facts, p: LongSupply, _when: When) -> Found:
    days, act = _days(facts), facts.deciding
    if days is None or act is None:
        return not_checked()
    met = {"assessed": act.assessed, "noted": act.noted, "patient_signed": act.patient_signed}
    return holds(days <= p.days or all(met.values()), days=days, **met)


def stable_condition(facts: Facts, _p: Parameters, when: When) -> Found:
    """Nothing new since a doctor saw the patient: when it was prescribed, or at the last visit
    in person to the treating department. What was diagnosed or stopped on that day belongs to
    it; an admission only if it came before."""
    seen = max(facts.issued_at, facts.last_visit_at or facts.issued_at)
    day = when.policy.day(seen)
    new = {
        "diagnoses": sum(when.policy.day(at) > day for at in facts.diagnosed),
        "admissions": sum(seen < at <= when.now for at in facts.admitted),
        "stopped": sum(when.policy.day(at) > day and at <= when.now for at in facts.others_stopped),
    }
    return holds(not any(new.values()), **new)


def allergy(facts: Facts, _p: Parameters, _when: When) -> Found:
    """An allergy to the medicine, or to a class that it is of. One that is told in words only
    can't be compared; then, and where none was ever told, it is for the doctor to look."""
    if facts.allergies is None:
        return not_checked()
    if any(is_of(facts.code, (code,)) or is_of(code, (facts.code.upper(),))
           for code in facts.allergies):  # fmt: skip
        return holds(False)
    uncoded = facts.allergies_uncoded
    return not_checked(uncoded=uncoded) if uncoded else holds(True)


# -- what the patient's side says ---------------------------------------------------------


def declaration(facts: Facts, p: Declaration, _when: When) -> Found:
    given = facts.declaration or {}
    missing = [q.id for q in p.questions if q.id not in given]
    return holds(not missing, missing=missing) if missing else holds(True)


def nothing_changed(facts: Facts, _p: Parameters, when: When) -> Found:
    given = facts.declaration or {}
    asked = when.policy.rules.declaration.parameters.questions
    if not given:
        return not_checked()
    changed = [q.id for q in asked if given.get(q.id, q.wanted) != q.wanted]
    return holds(not changed, **({"changed": changed} if changed else {}))


# -- who decides --------------------------------------------------------------------------


def separation_of_duties(facts: Facts, _p: Parameters, _when: When) -> Found:
    act = facts.deciding
    return not_checked() if act is None else holds(not act.is_party and not act.has_signed)


def same_doctor(facts: Facts, _p: Parameters, _when: When) -> Found:
    act = facts.deciding
    return not_checked() if act is None else holds(not act.is_anothers)


def practice(facts: Facts, p: Practice, when: When) -> Found:
    act = facts.deciding
    if act is None or act.practising_since is None:
        return Verdict(p.unknown), {}
    practised = years(act.practising_since, when.today)
    return holds(practised >= p.years, years=max(0, practised))


def validity(facts: Facts, p: Validity, _when: When) -> Found:
    act = facts.deciding
    if act is None:
        return not_checked()
    return holds(act.valid_days <= p.maximum_days, days=act.valid_days)


#: The rules by their ids. ``deadlines`` is not among them: a timer asks for it.
RULES: dict[str, Callable[[Facts, Any, When], Found]] = {
    f.__name__: f
    for f in (
        alive, age_known, authority, child, this_hospital, stable_regimen, never_classes,
        restricted_list, window, one_at_a_time, limit, not_too_early, medicines_a_day, supply,
        declaration, nothing_changed, separation_of_duties, same_doctor, reasoned_supply,
        long_supply, validity, stable_condition, practice, allergy,
    )
}  # fmt: skip

_DECLARED = frozenset({"declaration", "nothing_changed"})
_WHO = frozenset({"separation_of_duties", "same_doctor"})
#: What must hold until a renewal is effective; when it no longer does, the request is closed.
LASTING = frozenset({"alive", "stable_regimen", "limit", "stable_condition", "allergy"})

#: Which rules are asked when.
APPROVING = (
    _WHO
    | LASTING
    | {
        "practice",
        "supply",
        "reasoned_supply",
        "long_supply",
        "validity",
    }
)
DECLINING = _WHO
PASSING = LASTING | {"separation_of_duties"}
SENDING_BACK = frozenset({"separation_of_duties"})
ASKING = frozenset(RULES) - _WHO - {"practice", "reasoned_supply", "long_supply", "validity"}
#: Before anybody asks, to list what may be renewed.
LISTING = ASKING - _DECLARED


def evaluate(
    facts: Facts, policy: RenewalPolicy, now: datetime, ids: frozenset[str]
) -> tuple[Outcome, ...]:
    """What each of the rules ``ids`` says, in the policy's order."""
    when = When(now, policy)
    outcomes = []
    for id in policy.order:
        if id in ids:
            verdict, figures = RULES[id](facts, policy.rule(id).parameters, when)
            outcomes.append(Outcome(rule=id, verdict=verdict, figures=figures))
    return tuple(outcomes)


def refusal(
    outcomes: Iterable[Outcome], policy: RenewalPolicy, among: frozenset[str] | None = None
) -> Reason | None:
    """The reason of the first rule that refuses, of all or of those ``among`` which we look."""
    for outcome in outcomes:
        if outcome.verdict is Verdict.REFUSED and (among is None or outcome.rule in among):
            return Reason(policy.rule(outcome.rule).reason)
    return None
