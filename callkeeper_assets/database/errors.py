"""What goes wrong between this program and its PostgreSQL, said to the person on duty.

One class: whoever catches it can do nothing but show it. Its text names what was tried, what came
back and what to do, and never holds a password.
"""


class DatabaseError(Exception):
    """The database cannot be used as it is; the text says why and what to do."""
