"""Reconciliation through Dagster, against the simulator's own record of what it changed.

Rows are broken by SQL, calls deleted and invented, and the source changes as well: what is found is
what was broken, by call and parameter; what is healed is what was found; no other row is written.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from callkeeper_assets.assets import build_shared_definitions, build_source_definitions, progress
from callkeeper_assets.assets.reconciliation import name_reconciliation_job
from callkeeper_assets.config.source import Reconciliation, Source, Webhook
from callkeeper_assets.postgres.url import connect
from callkeeper_assets.raw.store import RawStore
from callkeeper_assets.reconcile.discrepancies import NUMBERS, ComparedDay
from callkeeper_assets.simulator.server import RunningSimulator
from callkeeper_assets.warehouse.filters import Filter
from callkeeper_assets_tests.assets.conftest import (
    FIRST,
    LAST,
    WRONG_KEY,
    Loader,
    describe_failure,
    with_all_tables,
)
from callkeeper_assets_tests.extent import each_api
from callkeeper_assets_tests.templates import from_nothing
from callkeeper_assets_tests.webhooks.inbox_of import Office, payload

DAYS = [FIRST + timedelta(days=n) for n in range(3)]
CHECKS = {
    "call_duration": "duration_sec",
    "talk_duration": "duration2_sec",
    "attempt": "attempt",
    "recognition_attempts": "asr_attempts",
    "ivr_readings": "playback_tick",
}
Key = tuple[date, int, str, str]
Count = Callable[[str], int]

_CALLS = """
    SELECT (c.called_at AT TIME ZONE 'Europe/Moscow')::date, c.call_id
    FROM callkeeper_calls c ORDER BY c.called_at, c.call_id
"""
_FOUND = "SELECT day, call_id, parameter, kind, healed_at IS NOT NULL FROM callkeeper_discrepancies"
_GHOST = """
    WITH ghost AS (
        INSERT INTO callkeeper_calls (account_id, call_id, called_at, is_final, origin, loaded_at)
        SELECT account_id, %(ghost)s, called_at, true, 'api', now()
        FROM callkeeper_calls WHERE call_id = %(call_id)s
        RETURNING account_id, id, called_at
    )
    INSERT INTO callkeeper_calls_facts (
        account_id, calls_id, dates_id, clientids_id, traffic_id, sites_id, locations_id,
        began_at, outcome, has_recording
    )
    SELECT account_id, id, 1, 1, 1, 1, 1, called_at, 'unknown', false FROM ghost
"""
_DELETE = """
    WITH gone AS (DELETE FROM callkeeper_calls WHERE call_id = %(call_id)s RETURNING id)
    DELETE FROM callkeeper_calls_facts WHERE calls_id IN (SELECT id FROM gone)
"""
_ROWS = """
    SELECT c.call_id, c.xmin::text, f.xmin::text
    FROM callkeeper_calls c JOIN callkeeper_calls_facts f ON f.calls_id = c.id
"""


def ask(url: str, statement: str, **values: object) -> list[tuple[Any, ...]]:
    """Run a statement and return its rows, if it has any."""
    with connect(url) as connection:
        cursor = connection.execute(statement.encode(), values or None)
        return cursor.fetchall() if cursor.description else []


def snapshot(url: str, folder: Path) -> dict[str, object]:
    """Return every row of every table of the warehouse, and every file of raw calls."""
    tables = ask(
        url,
        "SELECT relname FROM pg_class WHERE relkind = 'r' "
        "AND relnamespace IN ('public'::regnamespace, 'callkeeper_internal'::regnamespace)",
    )
    found: dict[str, object] = {
        table: sorted(map(str, ask(url, f"SELECT *, xmin FROM {table}"))) for (table,) in tables
    }
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            found[str(file)] = (file.stat().st_mtime_ns, file.read_bytes())
    return found


class Broken:
    """A loaded warehouse and its source, taken apart in each way; `keys` is what is to be found."""

    def __init__(self, url: str, simulator: RunningSimulator) -> None:
        self.keys: set[Key] = set()
        self.url = url
        self._account = simulator.account("moscow")
        self._calls: dict[date, list[int]] = {day: [] for day in DAYS}
        for day, call_id in ask(url, _CALLS):
            self._calls[day].append(call_id)

    def break_numbers(self, each: int) -> None:
        """Change so many rows of each day in each number."""
        for day in DAYS:
            for number in NUMBERS:
                for _ in range(each):
                    call_id = self._calls[day].pop()
                    ask(
                        self.url,
                        f"UPDATE callkeeper_calls_facts SET {number} = coalesce({number}, 0) + 100 "
                        "WHERE calls_id = (SELECT id FROM callkeeper_calls WHERE call_id = %(n)s)",
                        n=call_id,
                    )
                    self.keys.add((day, call_id, number, "differs"))

    def delete(self, each: int) -> None:
        """Delete so many rows of each day."""
        for day in DAYS:
            for _ in range(each):
                call_id = self._calls[day].pop()
                ask(self.url, _DELETE, call_id=call_id)
                self.keys.add((day, call_id, "call_id", "missing_in_warehouse"))

    def invent(self, each: int) -> None:
        """Add so many rows of calls that no source has."""
        for day in DAYS:
            for number in range(each):
                ghost = int(f"{day:%Y%m%d}{number:04}")
                ask(self.url, _GHOST, ghost=ghost, call_id=self._calls[day][0])
                self.keys.add((day, ghost, "call_id", "missing_in_source"))

    def change_source(self) -> None:
        """Let the source add late calls, remove some and change others, and take its record."""
        for day in DAYS:
            gone, longer = self._calls[day].pop(), self._calls[day].pop()
            changes = [
                *self._account.add(day, 2),
                *self._account.remove(day, call_ids=[gone]),
                *self._account.change(day, call_ids=[longer], column="duration2_sec"),
            ]
            for change in changes:
                if change.kind == "added":
                    key = (change.day, change.call_id, "call_id", "missing_in_warehouse")
                elif change.kind == "removed":
                    key = (change.day, change.call_id, "call_id", "missing_in_source")
                elif change.column in NUMBERS:
                    key = (change.day, change.call_id, str(change.column), "differs")
                else:
                    continue
                self.keys.add(key)


@pytest.fixture
def broken(source: Source, loader: Loader, simulator: RunningSimulator, database: str) -> Broken:
    """Loaded days, taken apart."""
    assert loader.load(source).success
    made = Broken(database, simulator)
    made.break_numbers(each=2)
    made.delete(each=2)
    made.invent(each=3)
    made.change_source()
    return made


def build(source: Source) -> dg.Definitions:
    """Build everything of a source."""
    return dg.Definitions.merge(
        build_shared_definitions([source]), build_source_definitions(source)
    )


def found(url: str) -> set[Key]:
    """What the log holds, whether it is healed or not."""
    return {tuple(row[:4]) for row in ask(url, _FOUND)}


def sum_metadata(loader: Loader, source: Source, name: str) -> int:
    """Sum a value over the days of the newest materializations."""
    return sum(values[name] for values in loader.metadata(source, "reconciliation").values())


@from_nothing
@each_api
@with_all_tables
def test_found_is_what_was_broken_and_healed_is_what_was_found(
    source: Source, loader: Loader, broken: Broken, database: str
) -> None:
    before = {row[0]: row for row in ask(database, _ROWS)}
    assert loader.reconcile(source).success
    assert found(database) == broken.keys
    assert len(ask(database, _FOUND)) == len(broken.keys) == 3 * (5 * 2 + 2 + 3 + 4)
    assert {row[4] for row in ask(database, _FOUND)} == {True}
    for name, number in (("found", len(broken.keys)), ("healed", len(broken.keys)), ("left", 0)):
        assert sum_metadata(loader, source, name) == number

    touched = {key[1] for key in broken.keys}
    after = {row[0]: row for row in ask(database, _ROWS)}
    assert {n: row for n, row in after.items() if n not in touched} == {
        n: row for n, row in before.items() if n not in touched
    }
    assert len(touched) < len(before)

    assert loader.reconcile(source).success
    assert len(ask(database, _FOUND)) == len(broken.keys)
    assert sum_metadata(loader, source, "found") == 0


def test_each_day_shows_its_own_checks_with_counts_samples_and_what_to_do(
    source: Source, loader: Loader, broken: Broken
) -> None:
    assert loader.reconcile(source).success
    kinds = {"missing_in_warehouse": 4, "missing_in_source": 4} | dict.fromkeys(CHECKS, 2)
    kinds["talk_duration"] = 3
    for name, count in kinds.items():
        checks = loader.checks(source, "reconciliation", name)
        assert sorted(map(str, checks)) == list(map(str, DAYS))
        assert loader.current_days(source, "reconciliation", name) == list(map(str, DAYS))
        for day, evaluation in checks.items():
            assert (evaluation.passed, evaluation.severity) == (
                False,
                dg.AssetCheckSeverity.WARN,
            ), name
            values = {key: value.value for key, value in evaluation.metadata.items()}
            assert (values["found"], values["healed"], values["left"]) == (count, count, 0)
            parameter = CHECKS.get(name, "call_id")
            ids = {key[1] for key in broken.keys if (str(key[0]), key[2]) == (day, parameter)}
            sample = evaluation.metadata["sample"].records
            assert {record.data["call_id"] for record in sample} <= ids
            assert len(sample) == count
            assert f"{count} calls, all healed." in evaluation.description
    assert loader.reconcile(source).success
    for name in kinds:
        assert {one.passed for one in loader.checks(source, "reconciliation", name).values()} == {
            True
        }


def test_the_days_that_healing_changed_are_observed_and_their_tables_checks_stay_current(
    source: Source, loader: Loader, database: str
) -> None:
    assert loader.load(source).success
    ask(
        database,
        "UPDATE callkeeper_calls_facts SET attempt = 77 WHERE calls_id = "
        "(SELECT min(id) FROM callkeeper_calls)",
    )
    assert loader.reconcile(source).success
    for table, days in (("callkeeper_calls_facts", [str(FIRST)]), ("callkeeper_calls", [])):
        records = loader.instance.fetch_observations(dg.AssetKey(["moscow", table]), 10).records
        assert [record.partition_key for record in records] == days
        for record in records:
            assert record.asset_observation is not None
            values = {k: v.value for k, v in record.asset_observation.metadata.items()}
            assert (values["dagster/partition_row_count"], values["rows_updated"]) == (60, 1)
        assert loader.current_days(source, table, "keys_unique") == list(map(str, DAYS))


def test_an_observed_day_counts_also_the_rows_that_only_webhooks_reported(
    source: Source, loader: Loader, database: str
) -> None:
    webhook = Webhook("TOKEN", {}, timedelta(days=10_000))
    source = replace(source, webhook=webhook)
    office = Office(database, RawStore("memory://unused"), source)
    assert loader.load(source).success
    at = datetime.combine(FIRST, time(12), source.time_zone)
    when = {"date": f"{at:%Y-%m-%d %H:%M:%S}", "date_timestamp": int(at.timestamp())}
    office.receive(payload(7) | when)
    assert [day.day for day in office.process().days] == [FIRST]
    ask(
        database,
        "UPDATE callkeeper_calls_facts SET attempt = 77 WHERE calls_id = "
        "(SELECT min(id) FROM callkeeper_calls)",
    )
    assert loader.reconcile(source).success
    key = dg.AssetKey(["moscow", "callkeeper_calls_facts"])
    (record,) = loader.instance.fetch_observations(key, 10).records
    assert record.asset_observation is not None
    assert record.asset_observation.metadata["dagster/partition_row_count"].value == 61


@pytest.mark.parametrize("how", ["dry run", "heal: false"])
def test_without_healing_neither_tables_nor_files_change(
    how: str, source: Source, loader: Loader, broken: Broken, home: Path
) -> None:
    database = broken.url
    before = snapshot(database, home)
    assert any(name.endswith(".parquet") for name in before)
    if how == "dry run":
        assert loader.reconcile(source, dry_run=True).success
    else:
        off = replace(source, reconciliation=Reconciliation("0 6 * * 0", 30, heal=False))
        assert loader.reconcile(off).success
    assert (sum_metadata(loader, source, "found"), sum_metadata(loader, source, "left")) == (
        len(broken.keys),
        len(broken.keys),
    )
    after = snapshot(database, home)
    changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    if how == "dry run":
        assert changed == set()
        remedy = "This was a dry run. To heal: callkeeper reconcile moscow --from 2026-01-10"
    else:
        # callkeeper_days notes when the days were compared.
        assert changed == {"callkeeper_discrepancies", "callkeeper_days"}
        assert found(database) == broken.keys
        assert {row[4] for row in ask(database, _FOUND)} == {False}
        remedy = "Healing is off (reconciliation.heal in defs/moscow/defs.yaml). To load the day"
    evaluation = loader.checks(source, "reconciliation", "attempt")[str(FIRST)]
    assert (evaluation.passed, evaluation.severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert "2 calls, 2 left." in evaluation.description
    assert remedy in evaluation.description


def test_what_was_fetched_is_kept_as_raw_calls(
    source: Source, loader: Loader, simulator: RunningSimulator, count: Count
) -> None:
    """So a table rebuilt from them without asking the source is the healed one."""
    assert loader.load(source).success
    simulator.account("moscow").add(LAST, 3)
    assert loader.reconcile(source).success
    assert count("callkeeper_calls") == 183
    assert loader.load(source, only=list(source.tables)).success
    assert count("callkeeper_calls") == 183


def test_a_filter_leaves_calls_out_on_both_sides(
    source: Source, loader: Loader, simulator: RunningSimulator, database: str
) -> None:
    chosen = replace(source, filters={"callkeeper_calls": (Filter("status", "eq", "success"),)})
    assert loader.load(chosen).success
    account = simulator.account("moscow")
    successes = {
        call["call_id"] for call in account.truth(FIRST, FIRST).calls if call["status"] == "success"
    }
    assert 0 < len(successes) < 60
    account.change(FIRST, 60, column="duration2_sec")
    assert loader.reconcile(chosen).success
    assert {key[1] for key in found(database)} == successes
    assert sum_metadata(loader, source, "rows_updated") == len(successes)


def test_a_day_that_the_source_suddenly_shows_as_empty_fails_with_what_to_do(
    source: Source, loader: Loader, simulator: RunningSimulator, count: Count, database: str
) -> None:
    assert loader.load(source).success
    simulator.account("moscow").remove(FIRST, 60)
    simulator.account("moscow").add(LAST, 1)
    result = loader.reconcile(source)
    assert not result.success
    assert describe_failure(result) == (
        "moscow, 2026-01-10: the source sends no calls for a day that had 60. The day is left as "
        "it was. If this is right, run `callkeeper reconcile moscow --from 2026-01-10 "
        "--to 2026-01-10 --force`."
    )
    assert count("callkeeper_calls") == 181
    assert {key[0] for key in found(database)} == {LAST}
    assert count("callkeeper_loads WHERE day = '2026-01-10' AND error LIKE '%--force%'") == 1
    shown = loader.checks(source, "reconciliation", "missing_in_warehouse")
    assert [shown[str(day)].passed for day in DAYS[1:]] == [True, False]
    assert str(FIRST) not in loader.metadata(source, "reconciliation")
    assert loader.reconcile(source, FIRST, FIRST, force=True).success
    assert count("callkeeper_calls") == 121
    assert {kind for day, *_, kind in found(database) if day == FIRST} == {"missing_in_source"}


def test_days_before_one_that_fails_are_reconciled_and_recorded(
    source: Source, loader: Loader, simulator: RunningSimulator, home: Path, database: str
) -> None:
    assert loader.load(source).success
    for day in DAYS:
        simulator.account("moscow").add(day, 1)
    (home / "raw" / "moscow" / "2026" / f"{LAST}.parquet").write_bytes(b"damaged")
    text = describe_failure(loader.reconcile(source))
    assert f"{LAST}.parquet cannot be read" in text
    assert sorted(key[0] for key in found(database)) == DAYS[:2]
    assert sorted(map(str, loader.metadata(source, "reconciliation"))) == list(map(str, DAYS[:2]))
    checks = loader.checks(source, "reconciliation", "missing_in_warehouse")
    assert [checks[str(day)].severity for day in DAYS[:2]] == [dg.AssetCheckSeverity.WARN] * 2


def test_a_failed_answer_changes_nothing_and_says_what_the_source_said(
    source: Source, loader: Loader, simulator: RunningSimulator, count: Count
) -> None:
    assert loader.load(source).success
    simulator.account("moscow").set_answers(refusal="wrong_key")
    result = loader.reconcile(source)
    said = WRONG_KEY[source.api]
    assert said in describe_failure(result)
    assert count("callkeeper_calls") == 180
    assert count("callkeeper_discrepancies") == 0
    assert count(f"callkeeper_loads WHERE error LIKE '%{said}%'") == 1


def test_days_beyond_history_are_left_alone(
    source: Source, loader: Loader, simulator: RunningSimulator, count: Count
) -> None:
    today = source.today()
    first, last = today - timedelta(days=33), today - timedelta(days=30)
    assert loader.load(source, first, last).success
    simulator.account("moscow").add(first, 1)
    simulator.account("moscow").add(last, 1)
    limited = replace(source, history_days=31)
    assert loader.reconcile(limited, first, last).success
    compared = [str(today - timedelta(days=back)) for back in (31, 30)]
    assert sorted(map(str, loader.metadata(source, "reconciliation"))) == compared
    assert count("callkeeper_discrepancies") == 1


def test_a_watcher_learns_of_each_day_with_all_that_differs(
    source: Source, loader: Loader, broken: Broken, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "_day_listeners", [])
    reported: list[ComparedDay] = []
    progress.listen_to_days(reported.append)
    assert loader.reconcile(source, dry_run=True).success
    assert [day.day for day in reported] == DAYS
    assert {
        (one.day, one.call_id, one.parameter, one.kind)
        for day in reported
        for one in day.discrepancies
    } == broken.keys


def test_a_source_without_calls_in_its_tables_has_no_reconciliation(source: Source) -> None:
    definitions = build(replace(source, tables=("general_dates",)))
    keys = {spec.key.to_user_string() for spec in definitions.resolve_all_asset_specs()}
    assert keys == {"moscow/raw_calls", "moscow/general_dates"}


@pytest.mark.parametrize(
    ("history_days", "first"), [(None, "2026-02-08"), (20, "2026-02-18")], ids=["all", "limited"]
)
def test_the_schedule_compares_the_days_before_today_that_the_source_gives(
    source: Source, history_days: int | None, first: str
) -> None:
    """In the source's zone: at 22:00 UTC Moscow has the next day."""
    definitions = build(replace(source, history_days=history_days))
    schedule = definitions.resolve_schedule_def(name_reconciliation_job("moscow"))
    assert (schedule.cron_schedule, schedule.execution_timezone) == ("0 6 * * 0", "Europe/Moscow")
    tick = datetime(2026, 3, 9, 22, 0, tzinfo=UTC)
    with dg.build_schedule_context(scheduled_execution_time=tick) as context:
        (request,) = schedule.evaluate_tick(context).run_requests or []
    assert request.tags["dagster/asset_partition_range_start"] == first
    assert request.tags["dagster/asset_partition_range_end"] == "2026-03-09"


def test_the_schedule_skips_a_source_that_has_only_today(source: Source) -> None:
    new = replace(source, start_date=date(2026, 3, 10))
    schedule = build(new).resolve_schedule_def(name_reconciliation_job("moscow"))
    tick = datetime(2026, 3, 10, 3, 0, tzinfo=UTC)
    with dg.build_schedule_context(scheduled_execution_time=tick) as context:
        data = schedule.evaluate_tick(context)
    assert not data.run_requests
    assert data.skip_message == "The source gives no day before 2026-03-10."
