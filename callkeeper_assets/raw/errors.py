"""What can go wrong with raw calls' files, grouped by what to do.

`MissingDayError`: fetch the day. `UnreadableDayError`: fetch it again. `StoreError`: mend the
folder or the object store that CALLKEEPER_RAW_URL names, then run again.
"""

from datetime import date


class RawError(Exception):
    """A file of raw calls that cannot be used or written."""


class MissingDayError(RawError):
    """A day's raw calls were never fetched, or their file is gone."""

    def __init__(self, *, source: str, day: date, name: str) -> None:
        super().__init__(
            f"Source '{source}': the raw calls of {day} are not there ({name}). Materialize "
            f"{source}/raw_calls for that day first, or run: "
            f"callkeeper load {source} --from {day} --to {day}"
        )


class UnreadableDayError(RawError):
    """A day's file is damaged or is not this product's."""

    def __init__(self, *, name: str, cause: str) -> None:
        super().__init__(
            f"The raw calls in {name} cannot be read ({cause[:200]}). Move the file away and load "
            f"the day again."
        )


class StoreError(RawError):
    """The place of raw calls cannot be read or written."""
