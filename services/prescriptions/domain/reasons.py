"""Why may something not be done?"""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """Why a rule says no. Texts: the policy's for its rules, in ``api`` and ``saying`` others."""

    AGE_UNKNOWN = "age_unknown"
    GUARDIAN_NEEDED = "guardian_needed"
    REQUESTER_MAY_NOT_ACT = "requester_may_not_act"
    OTHER_HOSPITAL = "other_hospital"
    PRESCRIPTION_STOPPED = "prescription_stopped"
    TOO_OLD = "too_old"
    NEVER_CLASS = "never_class"
    NOT_ON_LIST = "not_on_list"
    OPEN_REQUEST = "open_request"
    RENEWAL_LIMIT_REACHED = "renewal_limit_reached"
    PATIENT_DECEASED = "patient_deceased"
    SEPARATION_OF_DUTIES = "separation_of_duties"
    NOT_THE_SIGNING_DOCTOR = "not_the_signing_doctor"
    DEADLINE_PASSED = "deadline_passed"
    VALIDITY_OVER = "validity_over"
    VALIDITY_TOO_LONG = "validity_too_long"
    REASON_MISSING = "reason_missing"
    CHILD_TOO_YOUNG = "child_too_young"
    TOO_EARLY = "too_early"
    TOO_MANY_MEDICINES = "too_many_medicines"
    SUPPLY_TOO_LONG = "supply_too_long"
    SUPPLY_REASON_MISSING = "supply_reason_missing"
    LONG_SUPPLY_CONDITIONS = "long_supply_conditions"
    DECLARATION_MISSING = "declaration_missing"
    SOMETHING_CHANGED = "something_changed"
    CONDITION_CHANGED = "condition_changed"
    PRACTITIONER_LEFT = "practitioner_left"
    PRACTICE_TOO_SHORT = "practice_too_short"
    ALLERGY_RECORDED = "allergy_recorded"
    ALLERGY_TO_COMPARE = "allergy_to_compare"  # no rule could
    CLINICAL_CONTRAINDICATION = "clinical_contraindication"
    ALERTS_NOT_ACKNOWLEDGED = "alerts_not_acknowledged"
    DAYS_SUPPLY_MISSING = "days_supply_missing"
    DAYS_SUPPLY_FIXED = "days_supply_fixed"
    REPLACEMENT_NOT_ALLOWED = "replacement_not_allowed"
    PRESCRIPTION_REPLACED = "prescription_replaced"
    # About what a doctor or pharmacist says:
    REASON_UNKNOWN = "reason_unknown"
    COMMENT_MISSING = "comment_missing"
    NOT_OF_THIS_DECISION = "not_of_this_decision"
    NO_CHANGE = "no_change"
    UNIT_FIXED = "unit_fixed"
    DAYS_OF_QUANTITY = "days_of_quantity"
    REFILLS_TOO_MANY = "refills_too_many"
    DOSAGE_MISSING = "dosage_missing"
    QUANTITY_MISSING = "quantity_missing"
    STRENGTH_FIXED = "strength_fixed"
    RECORD_MISSING = "record_missing"
    NOT_CLAIMED = "not_claimed"
    ASSIGNED_TOO_OFTEN = "assigned_too_often"
    RECEIVER_UNSUITABLE = "receiver_unsuitable"
    RECEIVER_AWAY = "receiver_away"
    DEPUTY_MISSING = "deputy_missing"
    DEPUTY_UNSUITABLE = "deputy_unsuitable"
    DEPUTY_AWAY = "deputy_away"
    PERIOD_INVALID = "period_invalid"
    CONSENT_OUTDATED = "consent_outdated"
    UNCHECKED = "unchecked"  # of a step that has to be checked clinically
    UNSIGNED = "unsigned"  # of a step that has to be signed
    UNKNOWN_PHARMACY = "unknown_pharmacy"
    NOT_DELIVERED_THERE = "not_delivered_there"
    UNSIGNED_BY_DOCTOR = "unsigned_by_doctor"  # approved before signatures were kept
    KEY_OF_ANOTHER = "key_of_another"
    # About what the hospital told:
    IN_THE_FUTURE = "in_the_future"
    ALREADY_MERGED = "already_merged"
    ANOTHER_PRESCRIPTION = "another_prescription"  # a dispensing told of one before
    ANOTHER_PATIENT = "another_patient"  # the prescription is not that patient's
