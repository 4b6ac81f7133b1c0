"""Dagster's event log in PostgreSQL, with events written by as few statements as there are tables.

A historic load of a year plans, materializes and checks 365 days of each table, and a refresh all
that for three days, many times a day. Dagster writes materializations in batches if asked to, but
plans and check results one by one, each in three transactions: more time than the load itself. And
with each event it notifies listeners of which it has none any more. Here events are written in
Dagster's tables, which it does not export, and by its storage's own methods, which it does not
promise to keep.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakKeyDictionary

import dagster as dg
import sqlalchemy as sa
from dagster._core.events import ASSET_EVENTS
from dagster._core.storage.asset_check_execution_record import (
    AssetCheckExecutionRecordStatus as Status,
)
from dagster._core.storage.event_log.migration import ASSET_KEY_INDEX_COLS
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
_OF_ASSETS = {
    _PLANNED,
    dg.DagsterEventType.ASSET_MATERIALIZATION,
    dg.DagsterEventType.ASSET_OBSERVATION,
}
_LEFT_TO_DAGSTER = ASSET_EVENTS - _OF_ASSETS
_CHECK_PLANNED = dg.DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED
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


class _Stored(NamedTuple):
    event: dg.EventLogEntry
    row: dict[str, Any]
    event_id: int

    @property
    def kind(self) -> dg.DagsterEventType | None:
        return self.event.dagster_event_type


class BatchingEventLogStorage(PostgresEventLogStorage):
    """The event log, which stores a batch of events of any kinds at once."""

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

    def _get_latest_materialization_records(
        self, raw_asset_rows: Sequence[Mapping[str, Any]]
    ) -> Mapping[dg.AssetKey, dg.EventLogRecord | None]:
        """Read them from the assets' rows, without Dagster's search for those that are not there.

        It searches for none, too: by a join, for each table that a run of ours makes facts of.
        """
        if not all(
            row["last_materialization"] and not row["asset_details"] for row in raw_asset_rows
        ):
            return super()._get_latest_materialization_records(raw_asset_rows)
        return {
            dg.AssetKey(json.loads(row["asset_key"])): dg.deserialize_value(
                row["last_materialization"], dg.EventLogRecord
            )
            for row in raw_asset_rows
        }

    def store_event(self, event: dg.EventLogEntry) -> None:
        """Store an event; a run that failed leaves no check planned."""
        if event.dagster_event_type == dg.DagsterEventType.RUN_FAILURE:
            self._before_failure(event.run_id)
        if _is_left_to_dagster(event):
            super().store_event(event)
        else:
            self.store_event_batch([event])
        if event.dagster_event_type in _ENDS_BEFORE_CHECKS:
            self._drop_planned(event.run_id)

    def store_event_batch(self, events: Sequence[dg.EventLogEntry]) -> None:
        """Store events of whatever kinds, such as a run's plan, at once."""
        if any(map(_is_left_to_dagster, events)):
            for event in events:
                self.store_event(event)
            return
        event_rows = self._pack(events)
        with self.index_connection() as connection:
            statement = _build_insert(SqlEventLogStorageTable, event_rows)
            found = connection.execute(statement.returning(SqlEventLogStorageTable.c.id))
            stored = [
                _Stored(event, row, int(event_id))
                for event, row, (event_id,) in zip(events, event_rows, found, strict=True)
            ]
            self._update_assets(connection, [one for one in stored if one.kind in _OF_ASSETS])
            planned = [row for one in stored if one.kind == _CHECK_PLANNED for row in _plan(one)]
            if planned:
                connection.execute(_build_insert(AssetCheckExecutionsTable, planned))
        results = [_build_check_row(one) for one in stored if one.kind == _EVALUATION]
        if results:
            with self.index_transaction() as connection:
                self._delete_planned(connection, results)
                connection.execute(_build_insert(AssetCheckExecutionsTable, results))

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

    def _update_assets(self, connection: "Connection", stored: Sequence["_Stored"]) -> None:
        """Keep what Dagster keeps of each asset: its events' tags, and its newest event."""
        self._store_asset_event_tags(
            connection, [one.event for one in stored], [one.event_id for one in stored]
        )
        newest = {one.row["asset_key"]: one for one in stored}
        has_times = self.has_secondary_index(ASSET_KEY_INDEX_COLS)
        rows: dict[tuple[str, ...], list[dict[str, Any]]] = {}
        for key, one in newest.items():
            values = self._get_asset_entry_values(one.event, one.event_id, has_times)
            rows.setdefault(tuple(values), []).append({"asset_key": key, **values})
        for names, alike in rows.items():
            statement = postgresql.insert(AssetKeyTable)
            new = {name: statement.excluded[name] for name in names}
            connection.execute(
                statement.from_select(
                    list(alike[0]), _unnest(AssetKeyTable, alike)
                ).on_conflict_do_update(index_elements=[AssetKeyTable.c.asset_key], set_=new)
            )

    def _pack(self, events: Sequence[dg.EventLogEntry]) -> list[dict[str, Any]]:
        """Return events' rows; an asset's plan is packed once: its days differ in the day alone."""
        packed: dict[tuple[str, dg.AssetKey], dict[str, Any]] = {}
        rows = []
        for event in events:
            if event.dagster_event_type != _PLANNED:
                rows.append(self._event_to_row(event))
                continue
            planned: Any = event.get_dagster_event().event_specific_data
            key = (event.run_id, planned.asset_key)
            if key not in packed or not planned.partition:
                packed[key] = self._event_to_row(event)
            row = packed[key]
            day, packed_day = (json.dumps(one) for one in (planned.partition, row["partition"]))
            text = row["event"].replace(f'"partition": {packed_day}', f'"partition": {day}')
            rows.append({**row, "partition": planned.partition, "event": text})
        return rows

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


def _unnest(table: sa.Table, rows: Sequence[dict[str, Any]]) -> sa.Select[Any]:
    """Select rows by a parameter a column: one a value takes SQLAlchemy longer than the insert."""
    arrays = [
        sa.cast([row[name] for row in rows], postgresql.ARRAY(table.c[name].type))
        for name in rows[0]
    ]
    values = sa.func.unnest(*arrays).table_valued(*rows[0]).render_derived()
    return sa.select(*values.c)


def _build_insert(table: sa.Table, rows: Sequence[dict[str, Any]]) -> sa.Insert:
    if len(rows) == 1:
        # Of values alone SQLAlchemy makes a statement in half the time.
        return table.insert().values(rows[0])
    return table.insert().from_select(list(rows[0]), _unnest(table, rows))


def _is_left_to_dagster(event: dg.EventLogEntry) -> bool:
    kind = event.dagster_event_type
    if kind != _EVALUATION:
        return kind in _LEFT_TO_DAGSTER
    # Whose plan is found by something else than its run and its day.
    return not event.run_id or not event.get_dagster_event().asset_check_evaluation_data.partition


def _plan(stored: _Stored) -> Iterator[dict[str, Any]]:
    """Yield the rows of a check that is planned: one for each of its days."""
    planned: Any = stored.event.get_dagster_event().event_specific_data
    days = planned.partitions_subset
    for day in days.get_partition_keys() if days else [None]:
        yield {
            "asset_key": planned.asset_key.to_string(),
            "check_name": planned.check_name,
            "partition": day,
            "run_id": stored.event.run_id,
            "execution_status": Status.PLANNED.value,
            "evaluation_event": stored.row["event"],
            "evaluation_event_timestamp": stored.row["timestamp"],
            "evaluation_event_storage_id": stored.event_id,
        }


def _build_check_row(stored: _Stored) -> dict[str, Any]:
    evaluation = stored.event.get_dagster_event().asset_check_evaluation_data
    target = evaluation.target_materialization_data
    return {
        "asset_key": evaluation.asset_key.to_string(),
        "check_name": evaluation.check_name,
        "partition": evaluation.partition,
        "run_id": stored.event.run_id,
        "execution_status": (Status.SUCCEEDED if evaluation.passed else Status.FAILED).value,
        "evaluation_event": stored.row["event"],
        "evaluation_event_timestamp": stored.row["timestamp"],
        "evaluation_event_storage_id": stored.event_id,
        "materialization_event_storage_id": target.storage_id if target else None,
    }
