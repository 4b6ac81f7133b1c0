"""A load through Dagster, from the simulator to PostgreSQL: rows, metadata, checks by day."""

from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta

import dagster as dg
import psycopg
import pytest

from callkeeper_assets.config.source import Source
from callkeeper_assets.postgres.schemas import INTERNAL
from callkeeper_assets.postgres.url import connect
from callkeeper_assets.raw.store import Day, RawStore
from callkeeper_assets.simulator.server import RunningSimulator
from callkeeper_assets.warehouse import migrate
from callkeeper_assets.warehouse.filters import Filter
from callkeeper_assets.warehouse.migrate import VERSION_TABLE, ensure_schema
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

DAYS = ["2026-01-10", "2026-01-11", "2026-01-12"]
Count = Callable[[str], int]


@from_nothing
@with_all_tables
def test_a_ranged_run_gives_each_day_its_own_metadata_and_checks(
    source: Source, loader: Loader, count: Count
) -> None:
    loaded = loader.load(source)
    assert loaded.success
    logged = [one.user_message for one in loader.instance.all_logs(loaded.run_id)]
    assert not [text for text in logged if "did not yield" in text]
    assert count("callkeeper_calls") == count("callkeeper_calls_facts") == 180
    for asset in ("raw_calls", "callkeeper_calls", "callkeeper_calls_facts"):
        metadata = loader.metadata(source, asset)
        assert sorted(map(str, metadata)) == DAYS
        assert {values["dagster/partition_row_count"] for values in metadata.values()} == {60}
    assert {
        (values["rows_added"], values["rows_updated"], values["rows_deleted"])
        for values in loader.metadata(source, "callkeeper_calls").values()
    } == {(60, 0, 0)}
    for table, name in (
        ("callkeeper_calls", "keys_unique"),
        ("callkeeper_calls", "count_equals_raw"),
        ("callkeeper_calls", "no_unknown_fields"),
        ("callkeeper_calls", "values_readable"),
        ("callkeeper_calls_facts", "keys_unique"),
        ("callkeeper_calls_facts", "count_equals_raw"),
        ("callkeeper_calls_facts", "foreign_keys_found"),
    ):
        checks = loader.checks(source, table, name)
        assert sorted(map(str, checks)) == DAYS
        assert all(evaluation.passed for evaluation in checks.values())
        assert loader.current_days(source, table, name) == DAYS


def test_a_run_looks_at_the_schema_once_however_many_steps_it_has(
    source: Source, loader: Loader, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, looked_at = migrate.ensure_schema, list[str]()

    def ensure_schema(url: str) -> None:
        looked_at.append(url)
        real(url)

    monkeypatch.setattr(migrate, "ensure_schema", ensure_schema)
    for runs in (1, 2):
        assert loader.load(source).success
        assert len(looked_at) == runs


@with_all_tables
def test_a_second_load_reports_no_change(source: Source, loader: Loader) -> None:
    loader.load(source)
    assert loader.load(source).success
    assert {
        (values["rows_added"], values["rows_updated"], values["rows_deleted"])
        for table in source.tables
        for values in loader.metadata(source, table).values()
    } == {(0, 0, 0)}


@each_api
def test_changes_at_the_source_are_counted_on_their_day(
    source: Source, loader: Loader, simulator: RunningSimulator
) -> None:
    loader.load(source)
    account = simulator.account("moscow")
    account.add(LAST, 3)
    account.remove(FIRST, 2)
    changed = account.change(LAST, 4, column="attempt")
    assert loader.load(source).success
    metadata = loader.metadata(source, "callkeeper_calls_facts")
    assert {
        day: (values["rows_added"], values["rows_updated"], values["rows_deleted"])
        for day, values in metadata.items()
    } == {
        "2026-01-10": (0, 0, 2),
        "2026-01-11": (0, 0, 0),
        "2026-01-12": (3, len({change.call_id for change in changed}), 0),
    }


def test_a_day_that_lost_too_much_is_refused_and_the_others_are_loaded(
    source: Source, loader: Loader, simulator: RunningSimulator, count: Count
) -> None:
    loader.load(source)
    account = simulator.account("moscow")
    account.remove(FIRST, 60)
    account.add(LAST, 1)
    result = loader.load(source)
    assert not result.success
    assert describe_failure(result) == (
        "moscow, 2026-01-10: the source sends no calls for a day that had 60. The day is left as "
        "it was. If this is right, run "
        "`callkeeper load moscow --from 2026-01-10 --to 2026-01-10 --force`."
    )
    assert count("callkeeper_calls") == 181
    assert count("callkeeper_loads WHERE day = '2026-01-10' AND error LIKE '%--force%'") > 0
    assert loader.metadata(source, "callkeeper_calls")["2026-01-12"]["rows_added"] == 1
    assert loader.load(source, FIRST, FIRST, force=True).success
    assert count("callkeeper_calls") == 121


def test_a_refused_day_keeps_its_raw_calls_and_can_be_rebuilt_from_them(
    source: Source, loader: Loader, simulator: RunningSimulator, count: Count
) -> None:
    loader.load(source)
    simulator.account("moscow").remove(FIRST, 60)
    loader.load(source)
    assert loader.load(source, only=["callkeeper_calls", "callkeeper_calls_facts"]).success
    assert count("callkeeper_calls") == 180


def test_a_changed_filter_needs_no_new_download(
    source: Source, loader: Loader, simulator: RunningSimulator, count: Count
) -> None:
    loader.load(source)
    simulator.account("moscow").set_answers(refusal="wrong_key")
    filtered = replace(
        source, filters={"callkeeper_calls_facts": (Filter("status", "eq", "success"),)}
    )
    assert loader.load(filtered, only=list(source.tables)).success
    successes = count("callkeeper_calls WHERE status = 'success'")
    assert 0 < successes < 180
    assert count("callkeeper_calls_facts") == successes
    checks = loader.checks(filtered, "callkeeper_calls_facts", "count_equals_raw")
    assert all(evaluation.passed for evaluation in checks.values())
    assert sum(one.metadata["filtered"].value for one in checks.values()) == 180 - successes


@each_api
def test_new_fields_of_the_source_are_a_warning_that_names_them(
    source: Source, loader: Loader, simulator: RunningSimulator
) -> None:
    simulator.account("moscow").set_answers(unknown_fields=True)
    assert loader.load(source).success
    checks = loader.checks(source, "callkeeper_calls", "no_unknown_fields")
    assert {(one.passed, one.severity) for one in checks.values()} == {
        (False, dg.AssetCheckSeverity.WARN)
    }
    assert all(one.metadata["fields"].value for one in checks.values())


@each_api
def test_values_that_cannot_be_read_are_a_warning_that_counts_them_by_field(
    source: Source, loader: Loader, simulator: RunningSimulator
) -> None:
    day = date.fromisoformat(DAYS[0])
    simulator.account("moscow").change(day, 2, column="playback_tick", value="12.7")
    assert loader.load(source).success
    checks = loader.checks(source, "callkeeper_calls", "values_readable")
    passed = {str(day): one.passed for day, one in checks.items()}
    assert passed == {DAYS[0]: False, **dict.fromkeys(DAYS[1:], True)}
    [failed] = [one for one in checks.values() if not one.passed]
    assert failed.severity == dg.AssetCheckSeverity.WARN
    name = "ivr_count" if source.api == "ckct" else "playback_tick"
    assert f"{name} 2" in str(failed.description)
    assert failed.metadata["fields"].value == {name: 2}
    counted = loader.metadata(source, "callkeeper_calls")
    assert [values.get("unusable_values") for _, values in sorted(counted.items())] == [
        2,
        *[None] * (len(DAYS) - 1),
    ]


def test_only_the_chosen_tables_get_rows(source: Source, loader: Loader, count: Count) -> None:
    chosen = replace(source, tables=("general_dates", "callkeeper_calls"))
    assert loader.load(chosen).success
    assert count("callkeeper_calls") == 180
    assert count("callkeeper_calls_facts") == 0
    assert count("general_traffic") == 1


def test_an_unset_key_says_which_variable_and_file(
    source: Source, loader: Loader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MOSCOW_API_KEY")
    text = describe_failure(loader.load(source))
    assert "MOSCOW_API_KEY" in text
    assert "defs/moscow/defs.yaml" in text


@each_api
def test_a_wrong_key_says_what_the_source_said(
    source: Source, loader: Loader, simulator: RunningSimulator
) -> None:
    simulator.account("moscow").set_answers(refusal="wrong_key")
    text = describe_failure(loader.load(source))
    assert "moscow" in text
    assert WRONG_KEY[source.api] in text


def test_days_beyond_the_plan_are_refused_with_the_first_day_allowed(
    source: Source, loader: Loader
) -> None:
    today = source.today()
    limited = replace(source, history_days=31)
    text = describe_failure(loader.load(limited, today - timedelta(days=40), today))
    assert f"the first day is {today - timedelta(days=31)}: the plan gives 31 days back" in text
    assert "(history_days)" in text


def test_tables_without_raw_calls_say_what_to_do(source: Source, loader: Loader) -> None:
    text = describe_failure(loader.load(source, only=["callkeeper_calls"]))
    assert "callkeeper load moscow --from 2026-01-10 --to 2026-01-10" in text


def test_a_day_that_another_run_loads_meanwhile_ends_as_the_newer_answer_has_it(
    source: Source,
    loader: Loader,
    simulator: RunningSimulator,
    database: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The other run comes between a day's raw calls being read and their rows being locked."""
    assert loader.load(source, FIRST, FIRST).success
    real = RawStore.read
    overtaken: list[date] = []

    def read(store: RawStore, name: str, day: date) -> Day:
        found = real(store, name, day)
        if not overtaken:
            overtaken.append(day)
            simulator.account("moscow").change(FIRST, 5, column="attempt")
            assert loader.load(source, FIRST, FIRST).success
        return found

    monkeypatch.setattr(RawStore, "read", read)
    assert loader.load(source, FIRST, FIRST, only=list(source.tables)).success
    assert overtaken == [FIRST]
    query = "SELECT sum(attempt) FROM callkeeper_calls_facts"
    with connect(database) as connection:
        (found,) = connection.execute(query).fetchall()
    truth = simulator.account("moscow").truth(FIRST, FIRST, "Europe/Moscow")
    assert found == (truth.sums["attempt"],)


def test_a_user_without_rights_is_told_what_is_missing(
    database: str, loader: Loader, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    ensure_schema(database)
    with psycopg.connect(database) as connection:
        role = f"guest_{connection.info.dbname}"
        connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'secret'".encode())
        connection.execute(f"GRANT USAGE ON SCHEMA {INTERNAL} TO {role}".encode())
        connection.execute(f"GRANT SELECT ON {VERSION_TABLE} TO {role}".encode())
    place = database.rpartition("@")[2]
    monkeypatch.setenv("CALLKEEPER_DATABASE_URL", f"postgresql://{role}:secret@{place}")
    result = loader.load(source)
    assert "permission denied for table" in describe_failure(result)
    assert "ALTER TABLE … OWNER TO its name" in describe_failure(result)
    assert "secret" not in describe_failure(result)
    with psycopg.connect(database) as connection:
        connection.execute(f"DROP OWNED BY {role}; DROP ROLE {role}".encode())
