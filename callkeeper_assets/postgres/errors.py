"""What goes wrong between this program and its PostgreSQL, said to the person on duty.

The caller can do nothing but show it, and, of what is lost, try again later. Its text
names what was tried, what came back and what to do, and never holds a password.
"""


class DatabaseError(Exception):
    """The database cannot be used as it is; the text says why and what to do."""


class DatabaseLostError(DatabaseError):
    """The database went away, or ended the work, while it was in use: try again later."""


class LockLostError(DatabaseLostError):
    """A lock that the work relies on has gone: somebody else may do the same by now. Stop."""
