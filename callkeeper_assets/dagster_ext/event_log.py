"""Dagster's event log in PostgreSQL, with the events of many days written at once.

A historic load of a year plans, materializes and checks 365 days of each table. Dagster writes
materializations in batches if asked to, but plans and check results one by one, each in three
transactions: more time than the load itself. Here are just those two batches, in Dagster's tables,
which it does not export, and by its storage's own methods, which it does not promise to keep.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import dagster as dg
import sqlalchemy as sa
from dagster._core.storage.asset_check_execution_record import (
    AssetCheckExecutionRecordStatus as Status,
)
from dagster._core.storage.event_log.schema import (
    AssetCheckExecutionsTable,
    AssetKeyTable,
    SqlEventLogStorageTable,
)
from dagster._core.storage.runs import SqlRunStorage
from dagster_postgres import PostgresEventLogStorage
from sqlalchemy.dialects import postgresql

from callkeeper_assets.dagster_ext.pruning import delete_superseded

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

_ROWS_AT_ONCE = 10_000
# What is known of the tables behind an engine, which storages share.
_found: "WeakKeyDictionary[sa.Engine, set[str]]" = WeakKeyDictionary()
_PLANNED = dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED
_EVALUATION = dg.DagsterEventType.ASSET_CHECK_EVALUATION
# When a run began and ended; that it was queued, and left the queue, is nobody's interest then.
_KEPT_OF_RUNS = [
    kind.value
    for kind in (
        dg.DagsterEventType.RUN_START,
        dg.DagsterEventType.RUN_SUCCESS,
        dg.DagsterEventType.RUN_FAILURE,
        dg.DagsterEventType.RUN_CANCELED,
    )
]
_ENDS_BEFORE_CHECKS = {dg.DagsterEventType.RUN_FAILURE, dg.DagsterEventType.RUN_CANCELED}


def recall(engine: "sa.Engine") -> set[str]:
    """Return the tables, columns and indexes that were found behind an engine; they stay."""
    found: set[str] = _found.setdefault(engine, set())
    return found


def has_runs_in_database(instance: dg.DagsterInstance) -> bool:
    """Whether the instance's runs are in a database of its own, as they are not in Dagster+.

    The base of Dagster's storages in databases is exported nowhere.
    """
    return isinstance(instance.run_storage, SqlRunStorage)


class BatchingEventLogStorage(PostgresEventLogStorage):
    """The event log, with batches for planned materializations and for results of checks."""

    def __init__(self, postgres_url: str, before_failure: Callable[[str], None]) -> None:
        """Open the event log, whose tables are there.

        Args:
            postgres_url: Of Dagster's tables.
            before_failure: Called with a run's id before its failure is stored.
        """
        self._before_failure = before_failure
        super().__init__(postgres_url, should_autocreate_tables=False)

    @property
    def _found_tables(self) -> set[str]:
        return recall(self._engine)

    @property
    def _found_columns(self) -> set[str]:
        return self._found_tables  # no column has a table's name

    def has_table(self, table_name: str) -> bool:
        """Ask once: Dagster asks at each batch, by a connection of its own. Tables stay."""
        if table_name not in self._found_tables and super().has_table(table_name):
            self._found_tables.add(table_name)
        return table_name in self._found_tables

    def has_asset_key_col(self, column_name: str) -> bool:
        """Ask once, as with tables: Dagster asks at each event of an asset, by three queries."""
        return column_name in self._found_columns or super().has_asset_key_col(column_name)

    def _has_asset_key_col_on_connection(self, conn: "Connection", column_name: str) -> bool:
        if column_name not in self._found_columns and super()._has_asset_key_col_on_connection(
            conn, column_name
        ):
            self._found_columns.add(column_name)
        return column_name in self._found_columns

    def store_event(self, event: dg.EventLogEntry) -> None:
        """Store an event as Dagster does; a run that failed leaves no check planned."""
        if event.dagster_event_type == dg.DagsterEventType.RUN_FAILURE:
            self._before_failure(event.run_id)
        super().store_event(event)
        if event.dagster_event_type in _ENDS_BEFORE_CHECKS:
            self._drop_planned(event.run_id)

    def store_event_batch(self, events: Sequence[dg.EventLogEntry]) -> None:
        """Store events at once if they are all of one kind that can be; else as Dagster does."""
        kinds = {event.dagster_event_type for event in events}
        if _PLANNED in kinds and len(kinds) > 1:
            # A run's plan: its assets' events, and one for each check.
            self.store_event_batch([one for one in events if one.dagster_event_type == _PLANNED])
            for event in events:
                if event.dagster_event_type != _PLANNED:
                    self.store_event(event)
        elif kinds == {_PLANNED}:
            self._store_planned(events)
        elif kinds == {_EVALUATION} and all(event.run_id for event in events):
            self._store_evaluations(events)
        else:
            super().store_event_batch(events)

    def delete_days(
        self,
        folder: Sequence[str],
        before: str,
        *,
        others: Iterable[Sequence[str]] = (),
        dry_run: bool,
    ) -> tuple[int, int]:
        """Delete what is kept of assets' days before a day; return how many rows, and their bytes.

        Dagster has no such thing: it deletes an asset's history as a whole, or a run.

        Args:
            folder: the first parts of their keys.
            before: partition keys in ISO form, which are in the order of their days.
            others: whole keys of more of them.
            dry_run: count, and delete nothing.
        """
        keys = f"{dg.AssetKey(folder).to_string()[:-1]}, "
        more = [dg.AssetKey(path).to_string() for path in others]
        rows = size = 0
        with self.index_transaction() as connection:
            for table, content in (
                (AssetCheckExecutionsTable, AssetCheckExecutionsTable.c.evaluation_event),
                (SqlEventLogStorageTable, SqlEventLogStorageTable.c.event),
            ):
                old = sa.and_(_belongs(table.c.asset_key, keys, more), table.c.partition < before)
                measure = sa.select(
                    sa.func.count(), sa.func.coalesce(sa.func.sum(sa.func.length(content)), 0)
                )
                found = connection.execute(measure.where(old)).one()
                rows, size = rows + int(found[0]), size + int(found[1])
                if found[0] and not dry_run:
                    connection.execute(table.delete().where(old))
            if rows and not dry_run:
                # The UI's grid of days is read from here, and would not notice.
                connection.execute(
                    AssetKeyTable.update()
                    .where(_belongs(AssetKeyTable.c.asset_key, keys, more))
                    .values(cached_status_data=None)
                )
        return rows, size

    def delete_details(self, before: datetime) -> Iterator[int]:
        """Delete what runs logged before a moment, some at a time; yields how many rows went.

        What belongs to an asset stays, and so does when a run began and ended.
        """
        table = SqlEventLogStorageTable
        old = (
            sa.select(table.c.id)
            .where(
                table.c.asset_key.is_(None),
                table.c.timestamp < before.astimezone(UTC).replace(tzinfo=None),
                sa.or_(
                    table.c.dagster_event_type.is_(None),
                    table.c.dagster_event_type.not_in(_KEPT_OF_RUNS),
                ),
            )
            .order_by(table.c.id)
            .limit(_ROWS_AT_ONCE)
        )
        deleted = _ROWS_AT_ONCE
        while deleted == _ROWS_AT_ONCE:
            with self.index_transaction() as connection:
                deleted = connection.execute(table.delete().where(table.c.id.in_(old))).rowcount
            yield deleted

    def delete_superseded(
        self, sources: Iterable[tuple[Sequence[str], Iterable[Sequence[str]]]], before: datetime
    ) -> Iterator[int]:
        """Delete what newer events of the same days have replaced; yields how many rows went.

        Args:
            sources: Of each the first parts of its assets' keys, and whole keys of others.
            before: What is newer stays.
        """
        for folder, others in sources:
            keys = f"{dg.AssetKey(folder).to_string()[:-1]}, "
            more = [dg.AssetKey(path).to_string() for path in others]
            with self.index_connection() as connection:
                found = connection.execute(
                    sa.select(AssetKeyTable.c.asset_key).where(
                        _belongs(AssetKeyTable.c.asset_key, keys, more)
                    )
                )
                names = [str(name) for (name,) in found]
            yield from delete_superseded(self, names, before)

    def _store_planned(self, events: Sequence[dg.EventLogEntry]) -> None:
        event_ids = self._insert_events(events)
        # What Dagster keeps of an asset comes from its newest event alone.
        newest = {
            event.get_dagster_event().asset_key: (event, event_id)
            for event, event_id in zip(events, event_ids, strict=True)
        }
        with self.index_transaction() as connection:
            for event, event_id in newest.values():
                self._store_asset_event(connection, event, event_id)

    def _store_evaluations(self, events: Sequence[dg.EventLogEntry]) -> None:
        event_rows = [self._event_to_row(event) for event in events]
        event_ids = self._insert_rows(event_rows)
        rows = [
            _build_check_row(event, event_row, event_id)
            for event, event_row, event_id in zip(events, event_rows, event_ids, strict=True)
        ]
        with self.index_transaction() as connection:
            self._delete_planned(connection, rows)
            connection.execute(_build_insert(AssetCheckExecutionsTable, rows))

    def _store_asset_check_evaluation_planned(
        self, event: dg.EventLogEntry, event_id: int | None
    ) -> None:
        """Plan a check for its days: one statement, and the event that they share packed once."""
        planned: Any = event.get_dagster_event().event_specific_data
        days = planned.partitions_subset
        row = {
            "asset_key": planned.asset_key.to_string(),
            "check_name": planned.check_name,
            "run_id": event.run_id,
            "execution_status": Status.PLANNED.value,
            "evaluation_event": dg.serialize_value(event),
            "evaluation_event_timestamp": _read_timestamp(event),
            "evaluation_event_storage_id": event_id,
        }
        rows = [
            {**row, "partition": day} for day in (days.get_partition_keys() if days else [None])
        ]
        if rows:
            with self.index_transaction() as connection:
                connection.execute(_build_insert(AssetCheckExecutionsTable, rows))

    def _insert_events(self, events: Sequence[dg.EventLogEntry]) -> list[int]:
        return self._insert_rows([self._event_to_row(event) for event in events])

    def _insert_rows(self, rows: Sequence[dict[str, Any]]) -> list[int]:
        statement = _build_insert(SqlEventLogStorageTable, rows)
        with self.index_transaction() as connection:
            result = connection.execute(statement.returning(SqlEventLogStorageTable.c.id))
            return [int(row[0]) for row in result]

    def prepare_insert_event_batch(self, events: Sequence[dg.EventLogEntry]) -> sa.Insert:
        """Build what Dagster inserts its own batches by."""
        return _build_insert(
            SqlEventLogStorageTable, [self._event_to_row(event) for event in events]
        )

    def _delete_planned(self, connection: "Connection", rows: Sequence[dict[str, Any]]) -> None:
        """Make way for the results: a day's planned check is a row without one."""
        table = AssetCheckExecutionsTable
        columns = (table.c.run_id, table.c.asset_key, table.c.check_name, table.c.partition)
        planned = _unnest(table, [{one.name: row[one.name] for one in columns} for row in rows])
        connection.execute(table.delete().where(sa.tuple_(*columns).in_(planned)))

    def _drop_planned(self, run_id: str) -> None:
        """Leave days with the results that they have, in place of checks that never came.

        Dagster takes a planned check of an ended run for a failed one, also where what is checked
        was not touched: a wrong key would paint good days red.
        """
        table = AssetCheckExecutionsTable
        with self.index_transaction() as connection:
            connection.execute(
                table.delete().where(
                    table.c.run_id == run_id, table.c.execution_status == Status.PLANNED.value
                )
            )


def _belongs(column: "sa.Column[str]", keys: str, more: Sequence[str]) -> sa.ColumnElement[bool]:
    return sa.or_(column.startswith(keys, autoescape=True), column.in_(more))


def _read_timestamp(event: dg.EventLogEntry) -> datetime:
    """Return an event's time as the columns take it: UTC, without saying so."""
    return datetime.fromtimestamp(event.timestamp, UTC).replace(tzinfo=None)


def _unnest(table: sa.Table, rows: Sequence[dict[str, Any]]) -> sa.Select[Any]:
    """Select rows by a parameter a column: one a value takes SQLAlchemy longer than the insert."""
    arrays = [
        sa.cast([row[name] for row in rows], postgresql.ARRAY(table.c[name].type))
        for name in rows[0]
    ]
    values = sa.func.unnest(*arrays).table_valued(*rows[0]).render_derived()
    return sa.select(*values.c)


def _build_insert(table: sa.Table, rows: Sequence[dict[str, Any]]) -> sa.Insert:
    return table.insert().from_select(list(rows[0]), _unnest(table, rows))


def _build_check_row(
    event: dg.EventLogEntry, event_row: dict[str, Any], event_id: int
) -> dict[str, Any]:
    evaluation = event.get_dagster_event().asset_check_evaluation_data
    target = evaluation.target_materialization_data
    return {
        "asset_key": evaluation.asset_key.to_string(),
        "check_name": evaluation.check_name,
        "partition": evaluation.partition,
        "run_id": event.run_id,
        "execution_status": (Status.SUCCEEDED if evaluation.passed else Status.FAILED).value,
        "evaluation_event": event_row["event"],
        "evaluation_event_timestamp": _read_timestamp(event),
        "evaluation_event_storage_id": event_id,
        "materialization_event_storage_id": target.storage_id if target else None,
    }
