"""May this prescription be renewed online now, and if not, why?

One list of rules in the order in which people are told; the first that says no is the
reason. The same list answers what may be renewed and decides on a request.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from services.prescriptions.domain.accounts import used
from services.prescriptions.domain.documents import (
    Order,
    PatientCare,
    Prescription,
    Reason,
    Refill,
    RenewalAccount,
)
from services.prescriptions.domain.persons import is_minor, is_of_unknown_age
from services.prescriptions.domain.policy import RenewalPolicy


def why_not(
    prescription: Prescription,
    order: Order,
    care: PatientCare,
    account: RenewalAccount,
    now: datetime,
    policy: RenewalPolicy,
    *,
    oneself: bool,
) -> Reason | None:
    """Why a renewal can't be asked for; ``oneself``: by the patient and nobody else."""
    rules = policy.rules
    code = order.medication.code
    never = rules.never_classes.parameters.classes.values()
    age = (policy.day(now) - policy.day(order.issued_at)).days
    return _first(
        (
            (Reason.PATIENT_DECEASED, care.deceased_at is not None),
            (Reason.AGE_UNKNOWN, oneself and is_of_unknown_age(care)),
            (Reason.GUARDIAN_NEEDED, oneself and is_minor(care, now, policy)),
            (Reason.OTHER_HOSPITAL, not order.authored_here),
            (Reason.PRESCRIPTION_STOPPED, stopped(prescription, now)),
            (Reason.NEVER_CLASS, any(is_of(code, c.atc) for c in never)),
            (Reason.NOT_ON_LIST, not is_of(code, rules.restricted_list.parameters.atc)),
            (Reason.TOO_OLD, age > rules.window.parameters.days),
            (Reason.OPEN_REQUEST, bool(account.open)),
            (Reason.RENEWAL_LIMIT_REACHED, exhausted(account, care, order.department.code, policy)),
        )
    )


def no_longer(
    refill: Refill,
    prescription: Prescription | None,
    care: PatientCare,
    account: RenewalAccount,
    now: datetime,
    policy: RenewalPolicy,
) -> Reason | None:
    """Why a request that was rightly accepted can no longer become effective."""
    return _first(
        (
            (Reason.PATIENT_DECEASED, care.deceased_at is not None),
            (Reason.PRESCRIPTION_STOPPED, prescription is None or stopped(prescription, now)),
            # Only a merge of records can bring this about, for the place was reserved.
            (
                Reason.RENEWAL_LIMIT_REACHED,
                exhausted(account, care, refill.department_code, policy),
            ),
        )
    )


def _first(checks: Iterable[tuple[Reason, bool]]) -> Reason | None:
    return next((reason for reason, broken in checks if broken), None)


def stopped(prescription: Prescription, now: datetime) -> bool:
    return prescription.stopped_at is not None and prescription.stopped_at <= now


def exhausted(
    account: RenewalAccount, care: PatientCare, department_code: str, policy: RenewalPolicy
) -> bool:
    return used(account, care, department_code) >= policy.rules.limit.parameters.renewals


def is_of(code: str, classes: Iterable[str]) -> bool:
    """Whether an ATC code is one of ``classes`` or below it: ``C09AA02`` is of ``C09``."""
    return code.upper().startswith(tuple(classes))
