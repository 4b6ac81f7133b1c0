"""Deletes from Dagster's tables what its UI shows nowhere: what a newer event of a day replaced.

Of an asset's day the newest materialization stays, and the newest result of each check: by them the
UI tells days' states. Dagster has a retention for ticks alone. Its tables are none of its promises;
their names and columns are here and in `event_log`.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

if TYPE_CHECKING:
    from dagster_postgres import PostgresEventLogStorage

# Of one statement: one that a kill undoes, or that others wait for, is short.
_ROWS_AT_ONCE: Final = 5_000

_CHECKS: Final = sa.text(
    "SELECT DISTINCT check_name FROM asset_check_executions WHERE asset_key = :key ORDER BY 1"
)
_MATERIALIZATIONS: Final = """
    DELETE FROM event_logs WHERE id IN (
        SELECT id FROM (
            SELECT id, timestamp,
                max(id) OVER (PARTITION BY dagster_event_type, partition) AS newest
            FROM event_logs WHERE asset_key = :key AND dagster_event_type IN
                ('ASSET_MATERIALIZATION', 'ASSET_OBSERVATION', 'ASSET_FAILED_TO_MATERIALIZE')
        ) AS e
        WHERE id < newest AND timestamp < :before ORDER BY id LIMIT :most
    )
"""
# What was planned says of a day that it failed, or never came, until it comes. The asset's newest
# names the run that the UI shows for it.
_PLANS: Final = """
    DELETE FROM event_logs WHERE id IN (
        SELECT id FROM event_logs AS old
        WHERE asset_key = :key AND dagster_event_type = 'ASSET_MATERIALIZATION_PLANNED'
            AND timestamp < :before AND id < (
                SELECT max(id) FROM event_logs WHERE asset_key = :key
                    AND dagster_event_type = 'ASSET_MATERIALIZATION_PLANNED'
            )
            AND EXISTS (
                SELECT FROM event_logs AS e
                WHERE e.asset_key = :key AND e.id > old.id AND e.dagster_event_type IN
                    ('ASSET_MATERIALIZATION', 'ASSET_MATERIALIZATION_PLANNED')
                    AND (e.partition = old.partition
                        OR e.partition IS NULL AND old.partition IS NULL)
            )
        ORDER BY id LIMIT :most
    )
"""
# A day's newest row may be of a run that never came to it: its last result stays, too. A check
# without days has its result elsewhere than where a run of many days has planned it.
_CHECK_RESULTS: Final = """
    DELETE FROM asset_check_executions WHERE id IN (
        SELECT id FROM (
            SELECT id, evaluation_event_timestamp, execution_status = 'PLANNED' AS is_plan,
                max(id) OVER (PARTITION BY partition) AS newest,
                max(id) FILTER (WHERE execution_status <> 'PLANNED') OVER (PARTITION BY partition)
                    AS newest_result,
                max(id) FILTER (WHERE execution_status <> 'PLANNED' AND partition IS NULL)
                    OVER (PARTITION BY run_id) AS result_without_day
            FROM asset_check_executions WHERE asset_key = :key AND check_name = :check
        ) AS c
        WHERE evaluation_event_timestamp < :before AND (
            id < newest AND id IS DISTINCT FROM newest_result
            OR is_plan AND id < result_without_day
        )
        ORDER BY id LIMIT :most
    )
"""
# Also of events that were deleted otherwise, with a day or by an older version.
_TAGS: Final = """
    DELETE FROM asset_event_tags WHERE id IN (
        SELECT t.id FROM asset_event_tags AS t
        WHERE t.asset_key = :key AND t.event_timestamp < :before
            AND NOT EXISTS (SELECT FROM event_logs AS e WHERE e.id = t.event_id)
        ORDER BY t.id LIMIT :most
    )
"""


def delete_superseded(
    storage: "PostgresEventLogStorage", keys: Sequence[str], before: datetime
) -> Iterator[int]:
    """Delete what was replaced, some rows at a time; yields how many rows went.

    A piece is a transaction: who is killed has deleted what was yielded, and begins anew.

    Args:
        storage: Dagster's event log.
        keys: Of assets, as Dagster's tables write them.
        before: What is newer stays, replaced or not.
    """
    values = {"before": before.astimezone(UTC).replace(tzinfo=None), "most": _ROWS_AT_ONCE}
    for key in keys:
        of_asset = {**values, "key": key}
        yield from _delete(storage, _MATERIALIZATIONS, of_asset)
        yield from _delete(storage, _PLANS, of_asset)
        with storage.index_connection() as connection:
            checks = connection.execute(_CHECKS, {"key": key}).scalars().all()
        for check in checks:
            yield from _delete(storage, _CHECK_RESULTS, {**of_asset, "check": check})
        yield from _delete(storage, _TAGS, of_asset)


def _delete(
    storage: "PostgresEventLogStorage", statement: str, values: dict[str, object]
) -> Iterator[int]:
    deleted = _ROWS_AT_ONCE
    while deleted == _ROWS_AT_ONCE:
        with storage.index_transaction() as connection:
            deleted = connection.execute(sa.text(statement), values).rowcount
        yield deleted
