"""What do people see of a renewal?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from pydantic import Field

from libs.common.events import Department, FulfilmentMethod, Medication, Quantity
from services.prescriptions.domain.assignment import Assigned
from services.prescriptions.domain.check_views import ChecksView, checks_view
from services.prescriptions.domain.checks import Acknowledgement
from services.prescriptions.domain.documents import Changes, Refill, Step
from services.prescriptions.domain.facts import Outcome, Verdict
from services.prescriptions.domain.parameters import Language
from services.prescriptions.domain.pharmacies import Place
from services.prescriptions.domain.policy import Audience, RenewalPolicies, RenewalPolicy
from services.prescriptions.domain.receipt import Receipt, View
from services.prescriptions.domain.saying import TO_THE_PATIENT, reason_text
from services.prescriptions.domain.steps import alone, claimed_by
from services.prescriptions.domain.transitions import Action, Status


class OutcomeView(View):
    """What one rule said at a step, in words, and where it stands."""

    rule: str
    verdict: Verdict
    figures: Mapping[str, Any] = Field(description="What it looked at.")
    kind: str | None = Field(description="`law` or `hospital_policy`.")
    text: str | None = Field(description="For staff what the rule asks, for the patient its no.")
    source: tuple[str, ...] = Field(description="Where it stands.")
    in_force_from: date | None


class StepView(View):
    """One entry of the history; without a person it was a rule or a deadline."""

    at: datetime
    action: Action
    from_status: Status | None
    to_status: Status
    person_id: str | None
    role: str = Field(
        description="`patient`, `guardian`, `doctor`, `pharmacist`, `pharmacy`; `system`: a rule or"
        " a deadline."
    )
    reason: str | None
    reason_text: str | None = Field(description="The reason in words for the patient.")
    comment: str | None = Field(
        description="Of doctor or pharmacist. The patient's side reads that of a no; what is noted "
        "with an approval, a pass or a return is for colleagues."
    )
    changes: Changes | None = Field(description="What a doctor changed at this step.")
    policy: str
    correlation_id: str = Field(description="The step's events and traces have the same.")
    outcomes: tuple[OutcomeView, ...] = Field(
        description="What each rule said: all of them to staff, a no to the patient's side."
    )
    clinical_checks: ChecksView | None = Field(
        description="The clinical checks made for it; to staff."
    )
    acknowledged: tuple[Acknowledgement, ...] = Field(
        description="The alerts in spite of which it was taken, and why; to staff."
    )


class ConsentView(View):
    """What the patient's side signed for a long supply, as it was shown."""

    person_id: str
    role: str
    at: datetime
    policy: str = Field(description="The version of the rules.")
    language: str
    text: str


class PrescribedView(View):
    """What a doctor prescribes: the order with the changes that were made."""

    medication: Medication
    dosage: str
    quantity: Quantity | None
    days_supply: int | None
    refills_allowed: int | None = Field(
        description="So many renewals after it until the next visit, if the doctor said so."
    )
    replaces: bool = Field(description="The dosing is another: a new prescription instead.")
    changed: tuple[str, ...] = Field(description="Which of these differ from the order.")


class PharmacyView(View):
    """Where a pharmacy is."""

    id: str
    name: str | None = Field(description="Null: this pharmacy is no longer one of ours.")
    address: str | None
    telephone: str | None
    place: Place | None = Field(description="WGS 84, in degrees.")

    @classmethod
    def of(cls, id: str, reader: Reader) -> PharmacyView:
        known = reader.policies.pharmacies.get(id)
        if known is None:
            return cls(id=id, name=None, address=None, telephone=None, place=None)
        return cls(
            id=id,
            name=known.name[reader.language],
            address=known.address[reader.language],
            telephone=known.telephone,
            place=known.place,
        )


class ChosenView(View):
    """Where the medicine comes from. Where it is delivered: `GET /v1/refills/{id}/fulfilment`."""

    method: FulfilmentMethod
    pharmacy: PharmacyView
    chosen_at: datetime
    declined_at: datetime | None = Field(
        description="The pharmacy will not dispense it: choose another one."
    )


class AssignmentView(View):
    """Who claimed, released or handed it over, or was reminded of it (without a `by`)."""

    at: datetime
    what: Assigned
    by: str | None
    to: tuple[str, ...]
    reason: str | None
    comment: str | None


class RefillView(Receipt):
    """One renewal. What is renewed is shown as it was when it was asked for, and beside it in
    ``prescribed`` what is signed and dispensed."""

    prescribed: PrescribedView | None = Field(description="Null: no doctor has signed it.")
    reason_text: str | None = Field(description="The reason in words for the patient.")

    requested_by: str
    requested_at: datetime
    note: str | None
    medication: Medication
    dosage: str
    dosage_assumed: bool = Field(
        description="True: the hospital did not tell, and `dosage` is its usual text."
    )
    quantity: Quantity | None = Field(description="Null: the hospital did not tell.")
    days_supply: int | None = Field(description="Null: the hospital did not tell.")
    approved_days_supply: int | None = Field(description="For how many days a doctor approved it.")
    patient_signature: str | None = Field(
        description="Where the signature for a long supply is, if it is on paper."
    )
    consents: tuple[ConsentView, ...] = Field(description="Given here for a long supply.")
    declaration: Mapping[str, str] = Field(description="What the patient's side declared.")
    diagnoses: tuple[str, ...]
    department: Department
    prescriber_id: str
    prescribed_at: datetime
    waiting_since: datetime | None
    doctor_id: str | None
    signed_at: datetime | None
    pharmacist_id: str | None
    effective_at: datetime | None
    fulfilment: ChosenView | None = Field(description="Null: not chosen yet.")
    irregular: tuple[str, ...] = Field(
        description="What is wrong with how it was dispensed: `not_effective`, `before_effective`,"
        " `withheld`, `after_validity`."
    )
    clinical_checks: ChecksView | None = Field(description="The newest clinical checks; to staff.")
    history: tuple[StepView, ...]
    assignments: tuple[AssignmentView, ...] = Field(description="To staff only.")


@dataclass(frozen=True, slots=True)
class Reader:
    """For whom something is shown: in which words, and how much of it."""

    policies: RenewalPolicies
    language: Language
    audience: Audience
    now: datetime


def refill_view(refill: Refill, reader: Reader) -> RefillView:
    order, facts = refill.order, refill.facts
    staff = reader.audience == "staff"
    holder = alone(refill, reader.now) if staff else None
    held = holder is not None and holder == claimed_by(refill, reader.now)
    return RefillView.model_validate(
        {
            **refill.model_dump(
                exclude={"order", "history", "facts", "checks", "days_supply", "fulfilment"}
            ),
            **order.model_dump(
                include={"medication", "dosage", "dosage_assumed", "quantity", "days_supply",
                         "diagnoses", "department", "prescriber_id"}
            ),
            "prescribed_at": order.issued_at,
            "prescribed": _prescribed(refill),
            "approved_days_supply": refill.days_supply,
            "reason_text": _reason_text(refill.history[-1], reader),
            "declaration": (facts.declaration if facts is not None else None) or {},
            "fulfilment": chosen_view(refill, reader),
            "holder_id": holder,
            "held_until": refill.held_until if held else None,
            "assignments": refill.assignments if staff else (),
            "clinical_checks": checks_view(refill.checks, reader.language) if staff else None,
            "history": [_step_view(step, reader) for step in refill.history],
        }
    )  # fmt: skip


def _prescribed(refill: Refill) -> dict[str, Any] | None:
    if refill.signed_at is None:
        return None
    order, changes = refill.prescribed, refill.changes or Changes()
    return {
        "medication": order.medication,
        "dosage": order.dosage,
        "quantity": order.quantity,
        "days_supply": refill.days_supply,
        "refills_allowed": changes.refills_allowed,
        "replaces": changes.replaces,
        "changed": tuple(changes.model_dump(exclude_none=True)),
    }


def _reason_text(step: Step, reader: Reader) -> str | None:
    return reason_text(step, reader.policies.version(step.policy), reader.language)


def chosen_view(refill: Refill, reader: Reader) -> ChosenView | None:
    choice = refill.fulfilment
    if choice is None:
        return None
    return ChosenView(
        method=choice.method,
        pharmacy=PharmacyView.of(choice.pharmacy_id, reader),
        chosen_at=choice.chosen_at,
        declined_at=choice.declined_at,
    )


def _step_view(step: Step, reader: Reader) -> dict[str, Any]:
    shown = [
        outcome_view(outcome, reader.policies.version(step.policy), reader)
        for outcome in step.outcomes
        if reader.audience == "staff" or outcome.verdict is Verdict.REFUSED
    ]
    staff = reader.audience == "staff"
    return {
        **step.model_dump(exclude={"outcomes", "checks", "acknowledged"}),
        "reason_text": _reason_text(step, reader),
        "comment": step.comment if staff or step.action in TO_THE_PATIENT else None,
        "outcomes": shown,
        "clinical_checks": checks_view(step.checks, reader.language) if staff else None,
        "acknowledged": step.acknowledged if staff else (),
    }


def outcome_view(outcome: Outcome, policy: RenewalPolicy | None, reader: Reader) -> OutcomeView:
    """In the words of the version that decided; without them if its file is gone."""
    rule = policy.rule(outcome.rule) if policy and outcome.rule in policy.order else None
    return OutcomeView(
        rule=outcome.rule,
        verdict=outcome.verdict,
        figures=outcome.figures,
        kind=rule.kind if rule else None,
        text=rule.words(reader.language, reader.audience) if rule else None,
        source=rule.source if rule else (),
        in_force_from=policy.in_force_from if policy else None,
    )
