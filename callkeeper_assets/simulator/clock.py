"""The simulator's clock: real time, or a moment that a test sets and moves."""

import datetime as dt
import time


class Clock:
    """Tells `now` in epoch seconds; calls after it do not exist yet."""

    def __init__(self, now: dt.datetime | None = None) -> None:
        self._fixed: int | None = None
        self.set(now)

    def set(self, now: dt.datetime | None) -> None:
        """Stop the clock at an aware moment, or let it follow real time again.

        Raises:
            ValueError: the moment has no offset from UTC.
        """
        if now is not None and now.utcoffset() is None:
            raise ValueError(
                f"the clock was set to {now.isoformat()}; it needs an offset, as +00:00"
            )
        self._fixed = None if now is None else int(now.timestamp())

    def now(self) -> int:
        """Epoch seconds."""
        return int(time.time()) if self._fixed is None else self._fixed
