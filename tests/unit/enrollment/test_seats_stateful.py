"""Do the seats always add up, whatever happens in whatever order, however often it is said?"""

from __future__ import annotations

from collections import Counter
from datetime import date, timedelta

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from libs.common.decision import Actor, Input
from libs.common.events import GroupOpened, NotificationRequested
from services.enrollment.domain.desk import GroupCommand, InvitationCommand
from services.enrollment.domain.group import Group, Seat
from services.enrollment.domain.invitation import (
    PLACE,
    SEAT,
    Invitation,
    InvitationStatus,
)
from services.enrollment.domain.joining import Accept, Bearer, MembershipCommand
from services.enrollment.domain.membership import Membership, MembershipStatus
from services.enrollment.domain.patient import Patient
from tests.unit.enrollment.given import (
    ADULT,
    CHILD,
    NURSE,
    cancelled,
    deceased,
    discharged,
    guardian,
    hospital,
    linked,
    merged,
    programme,
    unlinked,
)

PERSONS = st.sampled_from(["p1", "p2", "p3", "p4"])
STAYS = st.sampled_from(["e1", "e2", "e3"])
EVENTS = st.sampled_from(["d1", "d2", "d3", "d4"])
ADDED = st.integers(min_value=0, max_value=5)


class Enrollment(RuleBasedStateMachine):
    """A small hospital with tiny groups, so that everything collides."""

    def __init__(self) -> None:
        super().__init__()
        # A group for strokes and one for the rest, of children and adults alike.
        self.case = hospital(
            programme(group_limit=2), programme("neuro", default=True), group_limit=1
        )
        self.sent: list[Input] = []

    def _send(self, *inputs: Input) -> None:
        self.sent += inputs
        self.case.batch(inputs)

    def _invitations(self) -> list[Invitation]:
        return self.case.docs(Invitation)

    def _tokens(self) -> list[str]:
        asked = self.case.events(NotificationRequested)
        return [(n.link or "").partition("#token=")[2] for n in asked if n.link]

    # -- news of the hospital -----------------------------------------------------------

    @rule(
        whom=st.lists(
            st.tuples(PERSONS, STAYS, EVENTS, st.sampled_from([ADULT, CHILD]), st.booleans()),
            min_size=1,
            max_size=4,
        ),
        guardians=st.sets(PERSONS, max_size=2),
    )
    def discharge(self, whom: list[tuple[str, str, str, date, bool]], guardians: set[str]) -> None:
        # One id is one event; which one comes first decides what it says.
        known = {i.id for i in self.sent}
        inputs = {
            event: self.case.event_input(
                discharged(
                    patient,
                    stay,
                    born=born,
                    codes=["I63" if stroke else "J18"],
                    guardians=[guardian(g) for g in sorted(guardians - {patient})],
                    at=self.case.now,
                ),
                id=event,
            )
            for patient, stay, event, born, stroke in whom
            if event not in known
        }
        self._send(*inputs.values())

    @rule(person=PERSONS, stay=STAYS, event=EVENTS)
    def cancel(self, person: str, stay: str, event: str) -> None:
        self._send(self.case.event_input(cancelled(event, person, stay, at=self.case.now)))

    @rule(person=PERSONS, patient=PERSONS)
    def link(self, person: str, patient: str) -> None:
        if person != patient:
            self._send(self.case.event_input(linked(person, patient, at=self.case.now)))

    @rule(person=PERSONS, patient=PERSONS)
    def unlink(self, person: str, patient: str) -> None:
        self._send(self.case.event_input(unlinked(person, patient, at=self.case.now)))

    @rule(gone=PERSONS, survivor=PERSONS)
    def merge(self, gone: str, survivor: str) -> None:
        self._send(self.case.event_input(merged(gone, survivor, at=self.case.now)))

    @rule(person=PERSONS)
    def die(self, person: str) -> None:
        self._send(self.case.event_input(deceased(person, at=self.case.now)))

    # -- people -------------------------------------------------------------------------

    @precondition(lambda self: self._tokens())
    @rule(which=ADDED, health=st.booleans())
    def accept(self, which: int, health: bool) -> None:
        tokens = self._tokens()
        body = Accept(
            token=tokens[which % len(tokens)], consent_to_rules=True, consent_to_health_data=health
        )
        self._send(self.case.command_input("invitation.accept", body))

    @precondition(lambda self: self._tokens())
    @rule(which=ADDED)
    def decline(self, which: int) -> None:
        tokens = self._tokens()
        body = Bearer(token=tokens[which % len(tokens)])
        self._send(self.case.command_input("invitation.decline", body))

    @precondition(lambda self: self.case.docs(Membership))
    @rule(which=ADDED)
    def leave(self, which: int) -> None:
        places = self.case.docs(Membership)
        place = places[which % len(places)]
        body = MembershipCommand(membership_id=place.id)
        self._send(self.case.command_input("membership.leave", body, actor=Actor(place.person_id)))

    @precondition(lambda self: self._invitations())
    @rule(which=ADDED)
    def reissue(self, which: int) -> None:
        found = self._invitations()
        body = InvitationCommand(invitation_id=found[which % len(found)].id)
        self._send(self.case.command_input("invitation.reissue", body, actor=NURSE))

    @precondition(lambda self: self.case.docs(Group))
    @rule(which=ADDED)
    def close(self, which: int) -> None:
        groups = self.case.docs(Group)
        body = GroupCommand(group_id=groups[which % len(groups)].id)
        self._send(self.case.command_input("group.close", body, actor=NURSE))

    # -- time and repetition ------------------------------------------------------------

    @rule(days=st.sampled_from([1, 7]))
    def time_passes(self, days: int) -> None:
        self.case.fire_due(self.case.now + timedelta(days=days))

    @precondition(lambda self: self.sent)
    @rule(which=st.integers(min_value=0, max_value=100))
    def say_again(self, which: int) -> None:
        again = self.sent[which % len(self.sent)]
        before = (len(self.case.emitted), self._invitations())
        self.case.batch([again, again])
        assert (len(self.case.emitted), self._invitations()) == before

    # -- what always holds --------------------------------------------------------------

    @invariant()
    def a_groups_counters_are_its_invitations(self) -> None:
        held = Counter(
            (i.group_id, SEAT[i.status]) for i in self._invitations() if i.status in SEAT
        )
        for group in self.case.docs(Group):
            assert group.reserved == held[(group.id, Seat.RESERVED)]
            assert group.joined == held[(group.id, Seat.JOINED)]
            assert group.reserved + group.joined <= group.limit

    @invariant()
    def a_person_holds_one_place_in_a_programme(self) -> None:
        same = {p.id: p.same or (p.id,) for p in self.case.docs(Patient)}
        held = Counter(
            (same.get(i.person_id, (i.person_id,)), i.programme_id)
            for i in self._invitations()
            if i.status in SEAT
        )
        assert all(n == 1 for n in held.values()), held

    @invariant()
    def a_place_is_what_its_invitation_says(self) -> None:
        by_id = {i.id: i for i in self._invitations()}
        for place in self.case.docs(Membership):
            invitation = by_id[place.invitation_id]
            assert place.status is PLACE.get(invitation.status, MembershipStatus.GONE)
            assert (place.joined_at is None) or place.status is not MembershipStatus.INVITED

    @invariant()
    def the_dead_have_no_open_invitation(self) -> None:
        dead = {p.id for p in self.case.docs(Patient) if p.deceased_at is not None}
        for invitation in self._invitations():
            if invitation.status is InvitationStatus.OPEN:
                assert dead.isdisjoint({invitation.person_id, invitation.patient_id})

    @invariant()
    def no_group_was_opened_twice(self) -> None:
        opened = Counter(g.group_id for g in self.case.events(GroupOpened))
        assert all(n == 1 for n in opened.values())


Enrollment.TestCase.settings = settings(max_examples=30, stateful_step_count=40, deadline=None)
test_seats_add_up = Enrollment.TestCase
