"""Which failures does the database have, and what does a caller do about each?

Three that the callers tell apart: :class:`Conflict` (load again), :class:`Unavailable` (wait and
try again) and :class:`Unstorable` (this will never work).
"""

from __future__ import annotations


class Conflict(Exception):
    """Somebody else wrote what we had read. Load again and decide again."""


class Duplicate(Conflict):
    """A unique key is taken. Mostly a race that a new load settles; if not, a rule's bug."""


class Unavailable(Exception):
    """The database can't be reached or can't answer now. Wait and try again."""


class Unstorable(Exception):
    """The server or the driver refuses this write for what it is."""
