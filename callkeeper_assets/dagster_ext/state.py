"""How Dagster's daemon and runs are, read from its tables without importing it.

Its tables `daemon_heartbeats` and `runs` are private, as their columns are; a test asks a real
instance. Where they are not there yet, there is nothing to tell. Stays light to import.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import psycopg

_TABLES: Final = "SELECT to_regclass('dagster.runs'), to_regclass('dagster.daemon_heartbeats')"
# Both write times without a zone, in UTC.
_HEARTBEATS: Final = """
    SELECT daemon_type, timestamp AT TIME ZONE 'UTC' FROM dagster.daemon_heartbeats
"""
# Ended long ago, they are too many to be counted each time.
_RUNS: Final = """
    SELECT status, count(*), min(create_timestamp) AT TIME ZONE 'UTC'
    FROM dagster.runs
    WHERE status NOT IN ('SUCCESS', 'FAILURE', 'CANCELED')
        OR end_time > extract(epoch FROM now() - interval '1 day')
    GROUP BY status
"""


@dataclass(frozen=True)
class DagsterState:
    """What the tables say.

    Attributes:
        heartbeats: By daemon, when it last said that it lives: every half minute.
        runs: By status, how many are under way, or ended within a day.
        oldest_queued_at: When the run that has waited for longest was made; None if none waits.
    """

    heartbeats: Mapping[str, datetime]
    runs: Mapping[str, int]
    oldest_queued_at: datetime | None


def read_dagster_state(connection: "psycopg.Connection[tuple[Any, ...]]") -> DagsterState:
    """Read it."""
    if connection.execute(_TABLES).fetchone() in {(None, None), None}:
        return DagsterState({}, {}, None)
    heartbeats = {name: at for name, at in connection.execute(_HEARTBEATS) if at}
    runs = {status: (number, oldest) for status, number, oldest in connection.execute(_RUNS)}
    return DagsterState(
        heartbeats,
        {status: number for status, (number, _) in runs.items()},
        runs["QUEUED"][1] if "QUEUED" in runs else None,
    )
