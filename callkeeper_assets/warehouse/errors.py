"""What goes wrong in the warehouse, grouped by what to do about it.

Texts are for the person on duty: what was tried, what came back, what to do; no phone number.
"""

from datetime import date


class WarehouseError(Exception):
    """The warehouse could not do what was asked."""


class SchemaError(WarehouseError):
    """The database's schema is not this program's: abort, a person has to act."""


class BadDataError(WarehouseError):
    """What was to be loaded breaks the loader's contract: abort, asking again does not help."""


class NotJsonCallError(BadDataError):
    """A call of the raw calls is no JSON."""

    def __init__(self, day: date, call_id: int) -> None:
        super().__init__(
            f"The raw calls of {day} hold one that is not JSON (call {call_id}). Load the day "
            f"again from the source."
        )


class UnavailableError(WarehouseError):
    """The database did not answer, or ended the work: try again later."""


class DuplicateRowError(WarehouseError):
    """A row of this key exists by now: another load made it; look again."""


class SelectionError(WarehouseError):
    """The chosen tables do not go together, or one does not exist: correct the configuration."""


class FilterError(WarehouseError):
    """A filter names an unknown field, or compares it with something that does not fit."""
