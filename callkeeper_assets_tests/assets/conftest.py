"""A source whose CallKeeper is the simulator, and its jobs run in this process.

Real HTTP, a real PostgreSQL, real files; only Dagster's instance is ephemeral.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import dagster as dg
import pytest

from callkeeper_assets.assets import build_shared_definitions, build_source_definitions
from callkeeper_assets.assets.days import build_range_tags
from callkeeper_assets.assets.jobs import name_load_job
from callkeeper_assets.assets.reconciliation import name_reconciliation_job
from callkeeper_assets.callkeeper.records import ApiName
from callkeeper_assets.config.source import Reconciliation, Refresh, Source
from callkeeper_assets.dagster_ext.dead_runs import COMMAND_LINE_TAG
from callkeeper_assets.postgres.url import connect
from callkeeper_assets.simulator.server import RunningSimulator, run_simulator
from callkeeper_assets.simulator.settings import AccountSettings
from callkeeper_assets.warehouse.schema import CALLS, DATES, FACTS
from callkeeper_assets.warehouse.tables import SELECTABLE_TABLES

KEY = "0123456789abcdef0123456789abcdef"
KEY_VARIABLE = "MOSCOW_API_KEY"
# What each API says of a key that it does not know.
WRONG_KEY = {"callkeeper": "Not the correct key api", "ckct": "User is not recognized"}
FIRST, LAST = date(2026, 1, 10), date(2026, 1, 12)
# Marks the tests whose source has every table.
with_all_tables = pytest.mark.parametrize("tables", [SELECTABLE_TABLES], ids=["all tables"])


@pytest.fixture
def simulator() -> Iterator[RunningSimulator]:
    """CallKeeper with one account: 60 calls every day."""
    account = AccountSettings(key=KEY, name="moscow", calls_per_day=60, rhythm="flat")
    with run_simulator([account]) as running:
        yield running


@pytest.fixture
def tables() -> tuple[str, ...]:
    """Facts, and what they cannot be loaded without: each further table is a third of a load."""
    return (DATES, CALLS, FACTS)


@pytest.fixture
def source(
    simulator: RunningSimulator,
    database: str,
    monkeypatch: pytest.MonkeyPatch,
    api: ApiName,
    tables: tuple[str, ...],
) -> Source:
    """The source of that account; `database` is in force."""
    assert database
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    return build_source(simulator, api, tables)


def build_source(simulator: RunningSimulator, api: ApiName, tables: tuple[str, ...]) -> Source:
    """Return the source of the account `moscow`, its key in `KEY_VARIABLE`."""
    return Source(
        name="moscow",
        caption="Moscow",
        api_key_env=KEY_VARIABLE,
        api=api,
        base_url=simulator.base_urls[api],
        time_zone=ZoneInfo("Europe/Moscow"),
        start_date=date(2026, 1, 1),
        history_days=None,
        tables=tables,
        filters={},
        refresh=Refresh(cron="0 5 * * *", overlap_days=3),
        webhook=None,
        reconciliation=Reconciliation(cron="0 6 * * 0", days=30, heal=True),
        owners=("team:data",),
        max_lost_share=0.3,
        parallel_days=4,
        file=Path("defs/moscow/defs.yaml"),
    )


@dataclass(frozen=True)
class Loader:
    """Runs loads of sources on one ephemeral instance."""

    instance: dg.DagsterInstance

    def load(
        self,
        source: Source,
        first: date = FIRST,
        last: date = LAST,
        *,
        force: bool = False,
        only: list[str] | None = None,
    ) -> dg.ExecuteInProcessResult:
        """Run the historic load as the command line does; `only` names assets of the source."""
        definitions = dg.Definitions.merge(
            build_shared_definitions([source]), build_source_definitions(source)
        )
        job = definitions.resolve_job_def(name_load_job(source.name))
        names = [f"{source.name}__raw_calls", f"{source.name}__tables"]
        if only is not None:
            names = names[1:] if "raw_calls" not in only else names[:1]
        return job.execute_in_process(
            instance=self.instance,
            tags={COMMAND_LINE_TAG: "test", **build_range_tags(first, last)},
            run_config={
                "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
                "ops": {name: {"config": {"force": force}} for name in names},
            },
            asset_selection=None if only is None else [dg.AssetKey([source.name, n]) for n in only],
            raise_on_error=False,
        )

    def reconcile(
        self, source: Source, first: date = FIRST, last: date = LAST, **config: bool
    ) -> dg.ExecuteInProcessResult:
        """Run the reconciliation as the command line does; `config` is the step's."""
        definitions = dg.Definitions.merge(
            build_shared_definitions([source]), build_source_definitions(source)
        )
        job = definitions.resolve_job_def(name_reconciliation_job(source.name))
        return job.execute_in_process(
            instance=self.instance,
            tags={COMMAND_LINE_TAG: "test", **build_range_tags(first, last)},
            run_config={
                "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
                "ops": {f"{source.name}__reconciliation": {"config": config}},
            },
            raise_on_error=False,
        )

    def checks(self, source: Source, table: str, name: str) -> Mapping[str | None, Any]:
        """Return the newest evaluation of a check by partition."""
        records = self.instance.event_log_storage.get_asset_check_execution_history(
            dg.AssetCheckKey(dg.AssetKey([source.name, table]), name), limit=1000
        )
        return {
            record.partition: record.event.dagster_event.event_specific_data
            for record in reversed(records)
            if record.event and record.event.dagster_event
        }

    def current_days(self, source: Source, table: str, name: str) -> list[str]:
        """Return the days whose result Dagster's UI shows: it is of the newest materialization."""
        key = dg.AssetCheckKey(dg.AssetKey([source.name, table]), name)
        infos = self.instance.event_log_storage.get_asset_check_partition_info([key])
        return sorted(str(info.partition_key) for info in infos if info.is_current)

    def metadata(self, source: Source, asset: str) -> Mapping[str | None, Mapping[str, Any]]:
        """Return the values of an asset's newest materialization by partition."""
        records = self.instance.fetch_materializations(
            dg.AssetKey([source.name, asset]), limit=1000
        ).records
        return {
            record.partition_key: {
                name: value.value for name, value in record.asset_materialization.metadata.items()
            }
            for record in reversed(records)
            if record.asset_materialization
        }


@pytest.fixture
def loader() -> Iterator[Loader]:
    """A fresh instance."""
    with dg.DagsterInstance.ephemeral() as instance:
        yield Loader(instance)


@pytest.fixture
def count(database: str) -> Callable[[str], int]:
    """Counts a table's rows."""

    def count_rows(table: str) -> int:
        with connect(database) as connection:
            row = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
        assert row is not None
        return int(str(row[0]))

    return count_rows


def describe_failure(result: dg.ExecuteInProcessResult) -> str:
    """Return what the failed step said."""
    texts = [
        event.step_failure_data.user_failure_data.description or ""
        for event in result.all_events
        if event.is_step_failure and event.step_failure_data.user_failure_data
    ]
    assert texts, [event.message for event in result.all_events if event.is_failure]
    return "\n".join(texts)
