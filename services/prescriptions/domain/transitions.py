"""Which ways may a renewal go?

One table; nothing outside it changes a status.
"""

from __future__ import annotations

from enum import StrEnum

from libs.common.events import RefillStage


class Status(StrEnum):
    """Where a renewal stands; docs/renewals.md has what each means, in words for screens."""

    WAITING_DOCTOR = "waiting_doctor"
    WAITING_PHARMACIST = "waiting_pharmacist"
    RETURNED = "returned"  # by a pharmacist, to the doctor who signed
    SUSPENDED = "suspended"  # by what the hospital told: a doctor looks at it again
    EFFECTIVE = "effective"
    WITHHELD = "withheld"  # the same once it was in effect: nothing may be handed out
    LAPSED = "lapsed"  # not dispensed while it was valid
    DECLINED = "declined"  # by the doctor
    VISIT_NEEDED = "visit_needed"  # the doctor wants to see the patient first
    REFUSED = "refused"  # by a rule or a pharmacist
    CANCELLED = "cancelled"  # by the patient's side
    EXPIRED = "expired"
    # After it was effective, as pharmacies tell it:
    DISPENSED = "dispensed"
    COLLECTED = "collected"
    DELIVERED = "delivered"
    RETURNED_TO_STOCK = "returned_to_stock"


class Action(StrEnum):
    """The step that was taken. `refuse` and `close` are a rule's no, `reject` a pharmacist's."""

    REQUEST = "request"
    REFUSE = "refuse"  # a rule says no to a request
    APPROVE = "approve"
    CHANGE = "change"  # approve another quantity, or fewer renewals after it
    REPLACE = "replace"  # prescribe another dosing instead
    DECLINE = "decline"
    NEED_VISIT = "need_visit"
    PASS = "pass"  # noqa: S105 - a pharmacist's word
    RETURN = "return"
    REJECT = "reject"  # a pharmacist refuses
    CANCEL = "cancel"
    EXPIRE = "expire"
    CLOSE = "close"  # a rule says no to a request that was under way
    SUSPEND = "suspend"  # something was told that a doctor has not seen
    LAPSE = "lapse"
    WARN = "warn"  # who has it already: ask a doctor before taking more
    DISPENSE = "dispense"
    COLLECT = "collect"
    DELIVER = "deliver"
    RETURN_TO_STOCK = "return_to_stock"


S, A = Status, Action
#: Where a pharmacy's report leads. Reports come late, in any order and of several parts, so
#: each may follow on each.
FULFILLED: dict[Action, Status] = {
    A.DISPENSE: S.DISPENSED,
    A.COLLECT: S.COLLECTED,
    A.DELIVER: S.DELIVERED,
    A.RETURN_TO_STOCK: S.RETURNED_TO_STOCK,
}
#: Every way that a renewal may go; what is not here is refused as ``wrong_status``.
TABLE: dict[tuple[Status | None, Action], Status] = {
    (None, A.REQUEST): S.WAITING_DOCTOR,
    (None, A.REFUSE): S.REFUSED,
    (S.WAITING_DOCTOR, A.APPROVE): S.WAITING_PHARMACIST,
    (S.WAITING_DOCTOR, A.CHANGE): S.WAITING_PHARMACIST,
    (S.WAITING_DOCTOR, A.REPLACE): S.WAITING_PHARMACIST,
    (S.WAITING_DOCTOR, A.DECLINE): S.DECLINED,
    (S.WAITING_DOCTOR, A.NEED_VISIT): S.VISIT_NEEDED,
    (S.WAITING_DOCTOR, A.CANCEL): S.CANCELLED,
    (S.WAITING_DOCTOR, A.EXPIRE): S.EXPIRED,
    (S.WAITING_DOCTOR, A.CLOSE): S.REFUSED,
    (S.WAITING_DOCTOR, A.SUSPEND): S.SUSPENDED,
    (S.RETURNED, A.APPROVE): S.WAITING_PHARMACIST,
    (S.RETURNED, A.CHANGE): S.WAITING_PHARMACIST,
    (S.RETURNED, A.REPLACE): S.WAITING_PHARMACIST,
    (S.RETURNED, A.DECLINE): S.DECLINED,
    (S.RETURNED, A.NEED_VISIT): S.VISIT_NEEDED,
    (S.RETURNED, A.CANCEL): S.CANCELLED,
    (S.RETURNED, A.EXPIRE): S.EXPIRED,
    (S.RETURNED, A.CLOSE): S.REFUSED,
    (S.RETURNED, A.SUSPEND): S.SUSPENDED,
    (S.SUSPENDED, A.APPROVE): S.WAITING_PHARMACIST,
    (S.SUSPENDED, A.CHANGE): S.WAITING_PHARMACIST,
    (S.SUSPENDED, A.REPLACE): S.WAITING_PHARMACIST,
    (S.SUSPENDED, A.DECLINE): S.DECLINED,
    (S.SUSPENDED, A.NEED_VISIT): S.VISIT_NEEDED,
    (S.SUSPENDED, A.CANCEL): S.CANCELLED,
    (S.SUSPENDED, A.EXPIRE): S.EXPIRED,
    (S.SUSPENDED, A.CLOSE): S.REFUSED,
    (S.WAITING_PHARMACIST, A.PASS): S.EFFECTIVE,
    (S.WAITING_PHARMACIST, A.RETURN): S.RETURNED,
    (S.WAITING_PHARMACIST, A.REJECT): S.REFUSED,
    (S.WAITING_PHARMACIST, A.CANCEL): S.CANCELLED,
    (S.WAITING_PHARMACIST, A.EXPIRE): S.EXPIRED,
    (S.WAITING_PHARMACIST, A.CLOSE): S.REFUSED,
    (S.WAITING_PHARMACIST, A.SUSPEND): S.SUSPENDED,
    **{(before, A.SUSPEND): S.WITHHELD for before in (S.EFFECTIVE, *FULFILLED.values())},
    (S.EFFECTIVE, A.LAPSE): S.LAPSED,
    **{(here, A.WARN): here for here in (S.EFFECTIVE, S.COLLECTED, S.DELIVERED)},
    **{
        (before, action): after
        for before in (S.EFFECTIVE, S.LAPSED, S.WITHHELD, *FULFILLED.values())
        for action, after in FULFILLED.items()
        if before is not after
    },
}

#: With whom a renewal lies while it is open; in any other status it is over.
STAGE: dict[Status, RefillStage] = {
    S.WAITING_DOCTOR: RefillStage.DOCTOR,
    S.RETURNED: RefillStage.DOCTOR,
    S.SUSPENDED: RefillStage.DOCTOR,
    S.WAITING_PHARMACIST: RefillStage.PHARMACIST,
}
