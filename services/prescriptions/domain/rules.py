"""What does each rule say?

One small function for each: the facts, the rule's parameters and today in, an outcome with
the figures that it looked at out. None knows of another, and all of a stage are asked:
a decision keeps every outcome, and of several refusals the first in the policy's order is
the reason that is told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date, datetime
from typing import Any, NamedTuple

from libs.common.years import years
from services.prescriptions.domain.facts import Facts, Outcome, Verdict, counting, still_allowed
from services.prescriptions.domain.parameters import (
    Alerts,
    Child,
    Contraindications,
    Declaration,
    Early,
    Limit,
    LongSupply,
    Medicines,
    NeverClasses,
    Parameters,
    Practice,
    ReasonedSupply,
    Replacement,
    RestrictedList,
    Supply,
    Validity,
    Window,
)
from services.prescriptions.domain.policy import RenewalPolicy
from services.prescriptions.domain.reasons import Reason
from services.prescriptions.domain.substances import is_atc


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


def requester(facts: Facts, _p: Parameters, _when: When) -> Found:
    """Who asked may have been somebody's guardian then, and be it no more."""
    return holds(facts.requester_acts)


def child(facts: Facts, p: Child, when: When) -> Found:
    if facts.birth_date is None:
        return not_checked()
    age = years(facts.birth_date, when.today)
    return holds(age >= p.years, age=age)


# -- the prescription ---------------------------------------------------------------------


def this_hospital(facts: Facts, _p: Parameters, _when: When) -> Found:
    return holds(facts.authored_here)


def stable_regimen(facts: Facts, _p: Parameters, when: When) -> Found:
    """A stop that is told for later is no refusal; whoever decides sees when it comes."""
    at = facts.stopped_at
    if at is None or at <= when.now:
        return holds(at is None)
    return holds(True, stops_at=at.isoformat())


def never_classes(facts: Facts, p: NeverClasses, _when: When) -> Found:
    """A code of the hospital's own can't be compared with ATC classes, unless it is listed."""
    found = next((name for name, c in p.classes.items() if is_of(facts.code, c.atc)), None)
    if found is not None:
        return holds(False, **{"class": found})
    return holds(True) if is_atc(facts.code) else not_checked()


def restricted_list(facts: Facts, p: RestrictedList, _when: When) -> Found:
    """A medicine may be for another condition than the one for which it is listed: where no
    diagnosis says that it is for that one, it is for the doctor to know."""
    found = next((name for name, c in p.conditions.items() if is_of(facts.code, c.atc)), None)
    if found is None:
        return holds(False)
    icd10, told = p.conditions[found].icd10, facts.diagnoses
    if told is None or not icd10 or any(is_of(code, icd10) for code in told):
        return holds(True, condition=found)
    return not_checked(condition=found)


def window(facts: Facts, p: Window, when: When) -> Found:
    """Of a renewal's own prescription since a doctor saw the patient: renewals don't add up."""
    seen = _seen(facts)
    days = when.days_since(facts.issued_at if seen is None else min(seen, facts.issued_at))
    return holds(days <= p.days, days=days) if seen or days > p.days else not_checked(days=days)


def _seen(facts: Facts) -> datetime | None:
    """When a doctor last saw the patient for it, if anybody told."""
    return max((at for at in (facts.seen_at, facts.last_visit_at) if at), default=None)


def is_of(code: str, classes: Iterable[str]) -> bool:
    """Whether a code is one of ``classes`` or below it: ``C09AA02`` is of ``C09``."""
    return code.upper().startswith(tuple(classes))


# -- how often, how much ------------------------------------------------------------------


def one_at_a_time(facts: Facts, _p: Parameters, _when: When) -> Found:
    return holds(facts.under_way == 0)


def limit(facts: Facts, p: Limit, _when: When) -> Found:
    counted = counting(facts.renewals, facts.last_visit_at)
    more = still_allowed(counted, p.renewals)
    capped = more < p.renewals - len(counted)
    return holds(more > 0, used=len(counted), **({"left": more} if capped else {}))


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
    it; an admission only if it came before. Where neither a condition nor a stay was ever told
    of the patient, or not when a doctor saw them, that none is new is not known."""
    seen = _seen(facts) or facts.issued_at
    day = when.policy.day(seen)
    new = {
        "diagnoses": sum(when.policy.day(at) > day for at in facts.diagnosed),
        "admissions": sum(seen < at <= when.now for at in facts.admitted),
        "stopped": sum(when.policy.day(at) > day and at <= when.now for at in facts.others_stopped),
    }
    if any(new.values()):
        return holds(False, **new)
    return holds(True, **new) if facts.health_told and _seen(facts) else not_checked()


def allergy(facts: Facts, _p: Parameters, when: When) -> Found:
    """An allergy to the medicine, to a substance in it, or to a class that one of these is of.
    What is told in words only, or is a combination of which the substances aren't known, can't
    be compared; then, and where none was ever told, it is for the doctor to look."""
    if facts.allergies is None:
        return not_checked()
    combinations = when.policy.combinations(when.now)
    compared = {a: combinations.is_against(a, facts.code) for a in facts.allergies}
    if True in compared.values():
        return holds(False)
    unknown = [a for a, against in compared.items() if against is None]
    figures: dict[str, Any] = {"not_compared": unknown} if unknown else {}
    if facts.allergies_uncoded:
        figures |= {
            "uncoded": facts.allergies_uncoded,
            "in_words": list(facts.allergies_in_words),
        }
    return not_checked(**figures) if figures else holds(True)


def clinical_checks(facts: Facts, p: Contraindications, _when: When) -> Found:
    if facts.alerts is None:
        return not_checked()
    barring = sum(a.severity in p.severities for a in facts.alerts)
    if barring:
        return holds(False, alerts=barring)
    return not_checked(checks=list(facts.unchecked)) if facts.unchecked else holds(True)


def clinical_alerts(facts: Facts, p: Alerts, _when: When) -> Found:
    """Who goes on has said why, of each alert."""
    act = facts.deciding
    if facts.alerts is None or act is None:
        return not_checked()
    asked = {a.id for a in facts.alerts if a.severity in p.severities}
    missing = asked.difference(act.acknowledged)
    return holds(not missing, alerts=len(asked), not_acknowledged=len(missing))


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


def works_here(facts: Facts, _p: Parameters, _when: When) -> Found:
    return not_checked() if facts.deciding is None else holds(not facts.deciding.has_left)


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


def not_replaced(facts: Facts, _p: Parameters, when: When) -> Found:
    """What doctors prescribed on one day with several dosings is taken beside each other."""
    day = when.policy.day(facts.effective_at or facts.issued_at)
    since = any(
        when.policy.day(other.at) > day and (other.until is None or other.until > when.now)
        for other in facts.redosed
    )
    return holds(not facts.replaced and not since)


def replacement(facts: Facts, p: Replacement, _when: When) -> Found:
    """Another dosing without a visit in person: so often since the last one, for so long."""
    act = facts.deciding
    if act is None or not act.replaces:
        return not_checked()
    used = sum(r.replaces for r in counting(facts.renewals, facts.last_visit_at))
    days = act.days_supply
    yes = used < p.replacements and days is not None and days <= p.days
    return holds(yes, used=used, days=days)


def validity(facts: Facts, p: Validity, _when: When) -> Found:
    act = facts.deciding
    if act is None:
        return not_checked()
    return holds(act.valid_days <= p.maximum_days, days=act.valid_days)


#: The rules by their ids. ``deadlines`` is not among them: a timer asks for it.
RULES: dict[str, Callable[[Facts, Any, When], Found]] = {
    f.__name__: f
    for f in (
        alive, age_known, authority, requester, child, this_hospital, stable_regimen, never_classes,
        restricted_list, window, one_at_a_time, limit, not_too_early, medicines_a_day, supply,
        declaration, nothing_changed, works_here, separation_of_duties, same_doctor,
        reasoned_supply, long_supply, validity, stable_condition, practice, allergy,
        not_replaced, replacement, clinical_checks, clinical_alerts,
    )
}  # fmt: skip

_DECLARED = frozenset({"declaration", "nothing_changed"})
_WHO = frozenset({"works_here", "separation_of_duties", "same_doctor"})
#: When one of these no longer holds a doctor looks at it again.
_LOOKED_AT_AGAIN = frozenset({"stable_condition", "allergy"})
#: What the hospital may tell at any time, and what follows then at once.
TOLD = _LOOKED_AT_AGAIN | {"alive", "stable_regimen", "not_replaced"}
#: What must hold until a renewal is effective, by the version that is in force by then; when
#: it no longer does, the request is closed, or a doctor looks at it again.
LASTING = TOLD | {
    "authority", "requester", "this_hospital", "never_classes", "restricted_list",
    "limit", "not_too_early",
}  # fmt: skip
#: These stop a step and leave the renewal to people: they may answer otherwise.
CLINICAL = frozenset({"clinical_checks", "clinical_alerts"})

#: Which rules are asked when.
APPROVING = (
    _WHO
    | LASTING
    | CLINICAL
    | {
        "child",  # the record may have come since it was asked for
        "practice",
        "supply",
        "reasoned_supply",
        "long_supply",
        "validity",
    }
)
#: Beside those of the step: of what changes the dosing.
REPLACING = frozenset({"replacement"})
DECLINING = _WHO
SENDING_BACK = frozenset({"works_here", "separation_of_duties"})
PASSING = LASTING | CLINICAL | SENDING_BACK | {"child"}
ASKING = frozenset(RULES) - _WHO - {
    "requester", "practice", "reasoned_supply", "long_supply", "validity", "replacement",
    "clinical_alerts",
}  # fmt: skip
#: Before anybody asks, to list what may be renewed.
LISTING = ASKING - _DECLARED - CLINICAL


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
    looked_at = (o for o in outcomes if among is None or o.rule in among)
    return next(refusals(looked_at, policy), None)


def refusals(outcomes: Iterable[Outcome], policy: RenewalPolicy) -> Iterator[Reason]:
    """The reasons of all rules that refuse."""
    for outcome in outcomes:
        if outcome.verdict is Verdict.REFUSED:
            yield Reason(policy.rule(outcome.rule).reason)


def looked_at_again(reason: Reason, policy: RenewalPolicy) -> bool:
    """Whether a doctor has something to decide once ``reason`` stands against a renewal."""
    if reason is Reason.ALLERGY_TO_COMPARE:
        return True
    return policy.rule_of(reason) in _LOOKED_AT_AGAIN
