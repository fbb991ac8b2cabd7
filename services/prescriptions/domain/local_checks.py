"""What does the local rule set find against a medicine?

One small function for each kind of check. A check passes only if everything that it looks at is
known, of each substance of the medicine, and the set has an entry that says so.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from itertools import product

from services.prescriptions.domain.checks import (
    CheckName,
    ClinicalCheck,
    Medicine,
    NotChecked,
    Question,
    not_checked,
    passed,
)
from services.prescriptions.domain.rule_set import RuleSet
from services.prescriptions.domain.rules import is_of
from services.prescriptions.domain.substances import is_atc

Found = Iterator[ClinicalCheck]

_STRENGTH = re.compile(
    r"(\d+(?:\.\d+)?) ?(g|mg|µg|μg|ug|mcg|克|毫克|微克)(?: ?/ ?(?:片|粒|tablet|tab|capsule|cap))?"
)
_MG = {"g": 1000.0, "克": 1000.0, "mg": 1.0, "毫克": 1.0}  # the others are micrograms
#: Units of which one has the strength.
_PIECES = frozenset(
    {"片", "粒", "tablet", "tablets", "tab", "tabs", "capsule", "capsules", "cap", "caps"}
)


def findings(rules: RuleSet, asked: Question) -> tuple[ClinicalCheck, ...]:
    """All that the set says."""
    return tuple(f for check in CheckName for f in _CHECKS[check](rules, asked))


def daily_mg(medicine: Medicine) -> float | None:
    """Strength times quantity by days; None where one of them is not told or can't be read."""
    if not (medicine.strength and medicine.quantity and medicine.days_supply):
        return None
    read = _STRENGTH.fullmatch(_plain(medicine.strength))
    if read is None or _plain(medicine.quantity.unit) not in _PIECES:
        return None
    mg = float(read[1]) * _MG.get(read[2], 0.001)
    return round(mg * medicine.quantity.value / medicine.days_supply, 3)


def _plain(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).lower().split())


def _daily(rules: RuleSet, medicine: Medicine) -> float | None:
    """None also of a combination: of which substance a strength is, nobody told."""
    held = rules.combinations.of(medicine.code) or ()
    return daily_mg(medicine) if len(held) == 1 else None


def allergy(rules: RuleSet, asked: Question) -> Found:
    order = asked.order
    if asked.allergies is None or not is_atc(order.code):
        yield not_checked(CheckName.ALLERGY, NotChecked.UNKNOWN)
        return
    found, open_ = False, []
    coded = {a.code.upper(): a.text for a in asked.allergies if a.code and _in_atc(a.system)}
    for other, text in sorted(coded.items()):
        told = rules.combinations.is_against(other, order.code)
        if told:
            continue  # the policy's rule refuses it
        if rules.combinations.alike(other, order.code):
            found = True
            yield rules.allergy.alert(CheckName.ALLERGY, order, other, other=text)
        elif told is None:
            open_.append(text)
    uncoded = sum(not (a.code and _in_atc(a.system)) for a in asked.allergies)
    yield from _rest(CheckName.ALLERGY, found, uncoded, open_)


def _in_atc(system: str | None) -> bool:
    return (system or "").upper() == "ATC"


def duplicate(rules: RuleSet, asked: Question) -> Found:
    found, open_, order = False, [], asked.order
    held = rules.combinations.of(order.code)
    for other in asked.current:
        also = rules.combinations.of(other.code)
        same = other.ingredient_code == order.ingredient_code or bool(held and also and held & also)
        both_coded = is_atc(other.code) and is_atc(order.code)
        if same or (both_coded and rules.combinations.alike(other.code, order.code)):
            found = True
            rule = rules.duplicates.ingredient if same else rules.duplicates.atc_class
            yield rule.alert(
                CheckName.DUPLICATE, order, _about(other),
                other=other.name, supply_known=other.supply_known,
            )  # fmt: skip
        elif both_coded and (held is None or also is None):
            open_.append(other.name)
    yield from _rest(CheckName.DUPLICATE, found, _uncoded(asked), open_, others=len(asked.current))


def interaction(rules: RuleSet, asked: Question) -> Found:
    order = asked.order
    names = rules.combinations.names(order.code)
    pairs = (*rules.interactions, *rules.complete)
    if not any(is_of(name, (*pair.a, *pair.b)) for name in names for pair in pairs):
        yield not_checked(CheckName.INTERACTION, NotChecked.NOT_COVERED)
        return
    found = False
    for rule, other in product(rules.interactions, asked.current):
        others = rules.combinations.names(other.code)
        if rule.joins(names, others):
            limited: Medicine = order
        elif rule.joins(others, names):
            limited = other
        else:
            continue
        figures = {"other": other.name, "supply_known": other.supply_known}
        if rule.above_mg_a_day is not None:
            daily = _daily(rules, limited)
            figures |= {"limit": _number(rule.above_mg_a_day)}
            if daily is None:
                found = True
                yield not_checked(CheckName.INTERACTION, NotChecked.UNKNOWN, **figures)
                continue
            if daily <= rule.above_mg_a_day:
                continue
            figures |= {"daily": _number(daily)}
        found = True
        yield rule.alert(CheckName.INTERACTION, order, _about(other), **figures)
    open_ = [
        m.name for m in asked.current if is_atc(m.code) and not _compared(rules, order.code, m.code)
    ]
    yield from _rest(
        CheckName.INTERACTION, found, _uncoded(asked), open_, others=len(asked.current)
    )


def _compared(rules: RuleSet, one: str, other: str) -> bool:
    """Whether the set knows each substance of the one with each of the other."""
    held, also = rules.combinations.of(one), rules.combinations.of(other)
    pairs = (*rules.interactions, *rules.complete)
    return held is not None and also is not None and all(
        a == b or any(p.joins([a], [b]) or p.joins([b], [a]) for p in pairs)
        for a, b in product(held, also)
    )  # fmt: skip


def _about(other: Medicine) -> str:
    return f"{other.code}:{other.ingredient_code}"


def _uncoded(asked: Question) -> int:
    return sum(not is_atc(m.code) for m in (asked.order, *asked.current))


def _rest(
    check: CheckName, found: bool, uncoded: int, open_: Sequence[str], **figures: int
) -> Found:
    """What can be said beside what was ``found``: how many have no ATC code, and with what the
    set does not compare."""
    if uncoded:
        yield not_checked(check, NotChecked.UNKNOWN, uncoded=uncoded)
    if open_:
        yield not_checked(check, NotChecked.NOT_COVERED, not_covered=list(open_))
    if not (found or uncoded or open_):
        yield passed(check, **figures)


def dose(rules: RuleSet, asked: Question) -> Found:
    order, age = asked.order, asked.age
    entries = [rule for rule in rules.doses if rule.covers([order.code])]
    daily = _daily(rules, order)
    if not entries or daily is None:
        why = NotChecked.UNKNOWN if entries else NotChecked.NOT_COVERED
        yield not_checked(CheckName.DOSE, why)
        return
    over = [rule for rule in entries if daily > rule.mg_a_day]
    alerts = [rule for rule in over if rule.is_for(order, age)]
    for rule in alerts:
        yield rules.too_much(rule).alert(
            CheckName.DOSE, order, daily=_number(daily), limit=_number(rule.mg_a_day)
        )
    enough = alerts or any(r.says_enough(order, age, rules.adults_from_age) for r in entries)
    unsure = any(rule.is_for(order, age) is None for rule in over)
    if unsure or not enough:
        yield not_checked(CheckName.DOSE, NotChecked.UNKNOWN, daily=_number(daily))
    elif not alerts:
        yield passed(CheckName.DOSE, daily=_number(daily))


def _number(value: float) -> float | int:
    return int(value) if value == int(value) else value


def pregnancy(rules: RuleSet, asked: Question) -> Found:
    p = rules.pregnancy
    names = rules.combinations.names(asked.order.code)
    entries = [rule for rule in p.entries if rule.covers(names)]
    recorded = any(is_of(code, p.icd10) for code in asked.conditions)
    if not recorded and (asked.sex == "male" or p.holds_for(asked.age) is False):
        yield passed(CheckName.PREGNANCY)
    elif not entries or not recorded:
        why = NotChecked.UNKNOWN if entries else NotChecked.NOT_COVERED
        yield not_checked(CheckName.PREGNANCY, why)
    else:
        for rule in entries:
            yield rule.alert(CheckName.PREGNANCY, asked.order)


def age(rules: RuleSet, asked: Question) -> Found:
    names = rules.combinations.names(asked.order.code)
    entries = [rule for rule in rules.ages if rule.covers(names)]
    if not entries or asked.age is None:
        why = NotChecked.UNKNOWN if entries else NotChecked.NOT_COVERED
        yield not_checked(CheckName.AGE, why)
        return
    alerts = [rule for rule in entries if rule.holds_for(asked.age)]
    for rule in alerts:
        yield rule.alert(CheckName.AGE, asked.order, age=asked.age)
    speaking = [rule for rule in entries if rule.says_of(asked.age, rules.adults_from_age)]
    held = rules.combinations.of(asked.order.code)
    if held is None or not all(any(rule.covers([s]) for rule in speaking) for s in held):
        yield not_checked(CheckName.AGE, NotChecked.NOT_COVERED, age=asked.age)
    elif not alerts:
        yield passed(CheckName.AGE, age=asked.age)


_CHECKS: dict[CheckName, Callable[[RuleSet, Question], Found]] = {
    CheckName.ALLERGY: allergy,
    CheckName.DUPLICATE: duplicate,
    CheckName.INTERACTION: interaction,
    CheckName.DOSE: dose,
    CheckName.PREGNANCY: pregnancy,
    CheckName.AGE: age,
}
