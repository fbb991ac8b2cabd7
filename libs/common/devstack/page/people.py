"""Who are the (invented) people of the day, and what are the groups called?

Learned from the events that carry names; the page is the only reader that shows them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from libs.common.cloudevents import CloudEvent
from libs.common.devstack.page.sentences import Language
from libs.common.events import (
    Contact,
    EncounterDischarged,
    GroupOpened,
    GuardianLinked,
    PatientRegistered,
    PatientUpdated,
    PractitionerRegistered,
    PractitionerUpdated,
)

#: (hospital, id)
Key = tuple[str, str]


@dataclass(slots=True)
class Person:
    hospital: str
    id: str
    name: str
    roles: set[str] = field(default_factory=set)
    departments: tuple[str, ...] = ()
    #: patient's id -> what this person is to the patient
    relations: dict[str, str] = field(default_factory=dict)
    email: str | None = None
    webhook: str | None = None


class People:
    """Everybody and every group that an event has named so far."""

    def __init__(self) -> None:
        self._people: dict[Key, Person] = {}
        self._groups: dict[Key, dict[Language, str]] = {}
        self._emails: dict[str, Person] = {}
        self._webhooks: dict[str, Person] = {}

    def __iter__(self) -> Iterator[Person]:
        return iter(self._people.values())

    def get(self, hospital: str, id: str) -> Person | None:
        return self._people.get((hospital, id))

    def name(self, hospital: str, id: str, language: Language) -> str | None:
        """What the person or group is called; None if no event has told yet."""
        person = self._people.get((hospital, id))
        if person is not None:
            return person.name
        group = self._groups.get((hospital, id))
        return None if group is None else group[language]

    def by_email(self, address: str) -> Person | None:
        return self._emails.get(address.lower())

    def by_webhook(self, path: str) -> Person | None:
        """By the path of the webhook, or by its last part if that is a person's id."""
        last = path.rstrip("/").rpartition("/")[2]
        return self._webhooks.get(path) or next((p for p in self if p.id == last), None)

    def learn(self, event: CloudEvent) -> list[Key]:
        """Take what ``event`` tells; returns whose name is new or another."""
        data, hospital = event.data, event.hospital
        match data:
            case PatientRegistered() | PatientUpdated():
                return self._contact(hospital, data.patient_id, data, "patient")
            case EncounterDischarged():
                learned = self._contact(hospital, data.patient_id, data.patient, "patient")
                for g in data.guardians:
                    learned += self._contact(hospital, g.person_id, g, "guardian")
                    self._people[hospital, g.person_id].relations[data.patient_id] = g.relationship
                return learned
            case GuardianLinked():
                learned = self._contact(hospital, data.person_id, data.contact, "guardian")
                person = self._people[hospital, data.person_id]
                person.relations[data.patient_id] = data.relationship
                return learned
            case PractitionerRegistered() | PractitionerUpdated():
                person, learned = self._person(hospital, data.practitioner_id, data.name)
                person.roles |= set(data.roles)
                person.departments = data.departments
                return learned
            case GroupOpened():
                self._groups[hospital, data.group_id] = {"zh": data.name.zh, "en": data.name.en}
                return [(hospital, data.group_id)]
        return []

    def _person(self, hospital: str, id: str, name: str) -> tuple[Person, list[Key]]:
        known = self._people.get((hospital, id))
        if known is None:
            known = self._people[hospital, id] = Person(hospital, id, name)
        elif known.name == name:
            return known, []
        known.name = name
        return known, [(hospital, id)]

    def _contact(self, hospital: str, id: str, contact: Contact, role: str) -> list[Key]:
        person, learned = self._person(hospital, id, contact.name)
        person.roles.add(role)
        if contact.email:
            person.email = contact.email
            self._emails[contact.email.lower()] = person
        if contact.webhook:
            person.webhook = contact.webhook
            self._webhooks[urlsplit(contact.webhook).path] = person
        return learned
