"""What follows from what is told about patients, guardians and members?

Kept is only what a renewal asks for: the age, the name and sex that its prescription
states, whether the patient lives, which records
are one person, and who may act for whom.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from libs.common.decision import (
    Answer,
    Common,
    Decision,
    Document,
    Env,
    Input,
    Need,
    Refusal,
    State,
    by_id,
)
from libs.common.events import (
    GuardianLinked,
    GuardianUnlinked,
    LinkScope,
    MemberJoined,
    MemberRole,
    PatientDeceased,
    PatientMerged,
    PatientRegistered,
    PatientUpdated,
)
from services.prescriptions.domain.accounts import account_id, united, with_asked, with_visit
from services.prescriptions.domain.documents import Link, PatientCare, Reason, RenewalAccount
from services.prescriptions.domain.ending import all_accounts, close_open, needs_open
from services.prescriptions.domain.persons import (
    HOSPITAL,
    needs_patient,
    patient,
    with_link,
    with_record,
)


def needs_care(input: Input, state: State) -> Iterator[Need]:
    return needs_patient(state, input.data.patient_id)


def decide_record(input: Input, state: State, env: Env) -> Answer:
    told: PatientRegistered | PatientUpdated = input.data
    known = patient(state, input.hospital, told.patient_id)
    at = _when(input, told.updated_at)
    recorded = with_record(
        known, told.patient_id, told.birth_date, at, name=told.name, gender=told.gender
    )
    if recorded is None:
        return Refusal(Common.STALE)
    return Decision(changes=(recorded,), note="recorded")


def decide_linked(input: Input, state: State, env: Env) -> Answer:
    told: GuardianLinked = input.data
    return _link(
        input,
        state,
        Link(
            person_id=told.person_id,
            origin=HOSPITAL,
            scope=frozenset(told.scope),
            since=_when(input, told.linked_at),
            valid_until=told.valid_until,
        ),
    )


def decide_unlinked(input: Input, state: State, env: Env) -> Answer:
    told: GuardianUnlinked = input.data
    at = _when(input, told.unlinked_at)
    ended = Link(person_id=told.person_id, origin=HOSPITAL, since=at, ended=True)
    return _link(input, state, ended)


def decide_joined(input: Input, state: State, env: Env) -> Answer:
    """A membership proves a link, as it was known to the hospital when it invited.

    Who leaves the group again stays a parent: only the hospital ends a link, or its date.
    """
    told: MemberJoined = input.data
    proves = frozenset(told.scope) - {LinkScope.GROUP}
    if told.role is MemberRole.PATIENT or not proves:
        return Decision(note="no_link")  # the group's own business
    return _link(
        input,
        state,
        Link(
            person_id=told.person_id,
            origin=told.member_id,
            scope=proves,
            since=_when(input, told.linked_at or told.joined_at),
            valid_until=told.valid_until,
        ),
    )


def _when(input: Input, at: datetime) -> datetime:
    """When a fact became so: never after it was told, or none could ever come after it.

    As the store keeps it, in milliseconds, so that facts compare alike before and after.
    """
    at = min(at, input.time)
    return at.replace(microsecond=at.microsecond // 1000 * 1000)


def _link(input: Input, state: State, link: Link) -> Answer:
    linked = with_link(patient(state, input.hospital, input.data.patient_id), link)
    return Refusal(Common.STALE) if linked is None else Decision(changes=(linked,), note="link")


def needs_deceased(input: Input, state: State) -> Iterator[Need]:
    return needs_open(state, input.hospital, input.data.patient_id)


def decide_deceased(input: Input, state: State, env: Env) -> Answer:
    told: PatientDeceased = input.data
    care = patient(state, input.hospital, told.patient_id)
    if care.deceased_at is not None:
        return Refusal(Common.STALE)
    accounts = all_accounts(state, input.hospital, told.patient_id)
    changes, events = close_open(
        state, accounts, Reason.PATIENT_DECEASED, env, env.policy.at(env.now)
    )
    dead = care.but(deceased_at=told.deceased_at)
    return Decision(changes=(dead, *changes), events=events, note="deceased")


def needs_merged(input: Input, state: State) -> Iterator[Need]:
    told: PatientMerged = input.data
    yield from needs_patient(state, told.patient_id)
    yield from needs_patient(state, told.survivor_id)
    gone = state.get(PatientCare, told.patient_id)
    yield from by_id(PatientCare, *(gone.aliases if gone is not None else ()))
    yield Need(RenewalAccount, "patient_id", told.patient_id)
    survivor = patient(state, input.hospital, told.survivor_id)
    for account in state.where(RenewalAccount, "patient_id", told.patient_id):
        yield Need(RenewalAccount, "id", account_id(survivor.id, account.ingredient_code))


def decide_merged(input: Input, state: State, env: Env) -> Answer:
    """Two records are one person: facts, links and accounts of both are the survivor's.

    Every alias points at the last survivor, however many merges followed one another.
    """
    told: PatientMerged = input.data
    gone = state.get(PatientCare, told.patient_id) or PatientCare(
        id=told.patient_id, hospital=input.hospital
    )
    survivor = patient(state, input.hospital, told.survivor_id)
    if gone.merged_into is not None or survivor.id == gone.id:
        return Refusal(Reason.ALREADY_MERGED)
    both = survivor.but(
        aliases=(*survivor.aliases, gone.id, *gone.aliases),
        deceased_at=survivor.deceased_at or gone.deceased_at,
    )
    if gone.birth_date is not None and gone.recorded_at is not None:
        as_told = gone.recorded_as or gone.id
        theirs = with_record(
            both,
            as_told,
            gone.birth_date,
            gone.recorded_at,
            name=gone.name,
            gender=gone.gender,
        )
        both = theirs or both
    for link in gone.links:
        both = with_link(both, link) or both
    for visit in gone.visits:
        both = with_visit(both, visit) or both
    if gone.asked_on is not None:
        both = with_asked(both, gone.asked, gone.asked_on)
    changes: list[Document] = [
        both,
        gone.but(merged_into=survivor.id, aliases=(), links=(), visits=(), asked_on=None, asked=()),
    ]
    for alias in gone.aliases:
        known = state.get(PatientCare, alias)
        if known is not None:
            changes.append(known.but(merged_into=survivor.id))
    for account in state.where(RenewalAccount, "patient_id", gone.id):
        if account.renewals or account.open:
            id = account_id(survivor.id, account.ingredient_code)
            own = state.get(RenewalAccount, id) or RenewalAccount(
                id=id,
                hospital=input.hospital,
                patient_id=survivor.id,
                ingredient_code=account.ingredient_code,
            )
            # Writing both makes a decision that still sees the old record start again.
            changes += [united(own, account), account.but(renewals=(), open=())]
    return Decision(changes=changes, note="merged")
