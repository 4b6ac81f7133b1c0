"""A wall clock that is set back: Dagster's schedules and sensors would rest until it has caught up.

Dagster notes, in its tables and in the scheduler's memory, until when it has looked. What it noted
while the clock was ahead is forgotten when its daemon starts, and a daemon that sees the clock go
back ends, so that it is started anew. No run is started twice: each has its tick's key.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import dagster as dg

from callkeeper_assets.postgres.url import connect

# Less is waited for: clocks are corrected by some seconds all the time.
_MOST: Final = timedelta(minutes=1)
_FORGET_TICKS: Final = "DELETE FROM dagster.job_ticks WHERE timestamp > %s"
# Of what Dagster keeps of a schedule or a sensor.
_MOMENTS: Final = (
    *("start_timestamp", "last_iteration_timestamp"),
    *("last_tick_timestamp", "last_tick_start_timestamp"),
    *("last_sensor_start_timestamp", "last_tick_success_timestamp"),
)


class WallClock:
    """Tells that the wall clock was set back, by one that nobody sets."""

    def __init__(
        self,
        wall: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self._wall, self._steady = wall, steady
        self._ahead = wall() - steady()

    def measure_setback(self) -> float:
        """Return by how many seconds it was set back since the last time; 0 if it is hardly any."""
        ahead = self._wall() - self._steady()
        setback, self._ahead = self._ahead - ahead, ahead
        return setback if setback > _MOST.total_seconds() else 0.0


def forget_future(instance: dg.DagsterInstance, url: str) -> int:
    """Have schedules and sensors look from now on, if they have looked into the future.

    Returns:
        How many of them there were.

    Raises:
        DatabaseError: The database cannot be reached.
    """
    now = datetime.now(UTC)
    limit = now + _MOST
    found = 0
    for state in instance.all_instigator_state():
        data: Any = state.instigator_data
        ahead = {
            name: now.timestamp()
            for name in _MOMENTS
            if (getattr(data, name, None) or 0.0) > limit.timestamp()
        }
        if ahead:
            instance.update_instigator_state(state.with_data(data._replace(**ahead)))
            found += 1
    with connect(url, autocommit=True) as connection:
        # Dagster's column is without a zone, in UTC.
        connection.execute(_FORGET_TICKS, (limit.replace(tzinfo=None),))
    return found
