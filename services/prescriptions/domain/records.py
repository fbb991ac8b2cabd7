"""What follows from what is told about patients, guardians and members?

Kept is only what a renewal asks for: the age, the name and sex that its prescription
states, whether the patient lives, which records
are one person, and who may act for whom.
"""

from __future__ import annotations

from collections.abc import Iterator

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
    when,
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
from services.prescriptions.domain.accounts import (
    account_id,
    all_accounts,
    emptied,
    united,
    with_alike,
    with_asked,
    with_visit,
)
from services.prescriptions.domain.consequences import (
    consequences,
    needs_consequences,
    needs_stoppable,
)
from services.prescriptions.domain.documents import Link, PatientCare, RenewalAccount
from services.prescriptions.domain.persons import (
    HOSPITAL,
    ids_of,
    needs_patient,
    patient,
    with_link,
    with_record,
)
from services.prescriptions.domain.reasons import Reason


def needs_care(input: Input, state: State) -> Iterator[Need]:
    return needs_patient(state, input.data.patient_id)


def decide_record(input: Input, state: State, env: Env) -> Answer:
    told: PatientRegistered | PatientUpdated = input.data
    known = patient(state, input.hospital, told.patient_id)
    at = when(input, told.updated_at)
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
            since=when(input, told.linked_at),
            valid_until=told.valid_until,
        ),
    )


def decide_unlinked(input: Input, state: State, env: Env) -> Answer:
    told: GuardianUnlinked = input.data
    at = when(input, told.unlinked_at)
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
            since=when(input, told.linked_at or told.joined_at),
            valid_until=told.valid_until,
        ),
    )


def _link(input: Input, state: State, link: Link) -> Answer:
    linked = with_link(patient(state, input.hospital, input.data.patient_id), link)
    return Refusal(Common.STALE) if linked is None else Decision(changes=(linked,), note="link")


def needs_deceased(input: Input, state: State) -> Iterator[Need]:
    return needs_consequences(state, input.hospital, input.data.patient_id)


def decide_deceased(input: Input, state: State, env: Env) -> Answer:
    told: PatientDeceased = input.data
    care = patient(state, input.hospital, told.patient_id)
    if care.deceased_at is not None:
        return Refusal(Common.STALE)
    dead = care.but(deceased_at=told.deceased_at)
    follows = consequences(state, dead, env)
    return Decision(
        changes=(dead, *follows.changes),
        events=follows.events,
        timers=follows.timers,
        note="deceased",
    )


def needs_merged(input: Input, state: State) -> Iterator[Need]:
    told: PatientMerged = input.data
    yield from needs_patient(state, told.patient_id)
    yield from needs_patient(state, told.survivor_id)
    gone = state.get(PatientCare, told.patient_id)
    aliases = gone.aliases if gone is not None else ()
    yield from by_id(PatientCare, *aliases)
    survivor = patient(state, input.hospital, told.survivor_id)
    yield from needs_stoppable(state, ids_of(survivor) | {told.patient_id, *aliases})
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
    for codes in gone.alike:
        both = with_alike(both, codes)
    if gone.asked_on is not None:
        both = with_asked(both, gone.asked, gone.asked_on)
    changes: list[Document] = [
        both,
        gone.but(
            merged_into=survivor.id,
            aliases=(),
            links=(),
            visits=(),
            alike=(),
            asked_on=None,
            asked=(),
        ),
    ]
    for alias in gone.aliases:
        known = state.get(PatientCare, alias)
        if known is not None:
            changes.append(known.but(merged_into=survivor.id))
    accounts = {a.id: a for a in all_accounts(state, both)}
    for account in state.where(RenewalAccount, "patient_id", gone.id):
        if account.renewals or account.open:
            id = account_id(survivor.id, account.ingredient_code)
            own = accounts.get(id) or RenewalAccount(
                id=id,
                hospital=input.hospital,
                patient_id=survivor.id,
                ingredient_code=account.ingredient_code,
            )
            # Writing both makes a decision that still sees the old record start again.
            accounts[id], accounts[account.id] = united(own, account), emptied(account)
            changes += [accounts[id], accounts[account.id]]
    # What was told of either record is now told of both.
    follows = consequences(state, both, env, accounts=list(accounts.values()))
    later = {doc.id: doc for doc in follows.changes}
    return Decision(
        changes=[*(later.pop(doc.id, doc) for doc in changes), *later.values()],
        events=follows.events,
        timers=follows.timers,
        note="merged",
    )
