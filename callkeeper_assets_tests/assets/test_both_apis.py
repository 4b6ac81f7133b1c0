"""One account through both APIs: the same facts for the same callbacks, whatever each API lacks.

The simulator serves one truth through both. What an API cannot tell is NULL, and what it spells in
its own way (numbers without a plus, countries by name) is the same once that is undone.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import Any, Final

import dagster as dg
import pytest

from callkeeper_assets.config.source import Source
from callkeeper_assets.postgres.url import connect
from callkeeper_assets.simulator.server import RunningSimulator, run_simulator
from callkeeper_assets.simulator.settings import AccountSettings
from callkeeper_assets.warehouse.tables import SELECTABLE_TABLES
from callkeeper_assets_tests.assets.conftest import KEY, KEY_VARIABLE, Loader, build_source
from callkeeper_assets_tests.templates import MakeDatabase, Template
from callkeeper_assets_tests.warehouse.raw_days import rows

_FIRST, _LAST = date(2026, 1, 10), date(2026, 1, 14)
_FACTS: Final = """
    SELECT c.call_id, c.called_at, c.ordered_at, c.status, c.is_final, c.status_code,
        c.status2_code, ltrim(c.client_phone, '+'), ltrim(c.manager_phone, '+'), c.widget_hash,
        c.widget_name, c.event_source, c.page, c.user_agent, c.ip, c.record_url, c.tags, c.service,
        f.duration2_sec, f.duration2_min, f.attempt, f.asr_attempts, f.playback_tick, f.pages,
        f.visit, f.dates_id, f.sites_id, f.traffic_id, v.clientid, v.userid, ltrim(v.phone, '+'),
        l.region, l.city
    FROM general_accounts AS a
    JOIN callkeeper_calls AS c USING (account_id)
    JOIN callkeeper_calls_facts AS f ON f.account_id = c.account_id AND f.calls_id = c.id
    JOIN general_clientids AS v ON v.id = f.clientids_id
    JOIN general_locations AS l ON l.id = f.locations_id
    WHERE a.name = %(name)s AND c.service = 'callback'
    ORDER BY c.call_id
"""
_MISSING: Final = """
    SELECT count(*), count(f.duration_sec), count(f.duration_min), count(c.status_reason),
        count(c.status2_reason), count(c.first_source), count(c.manager_extension)
    FROM general_accounts AS a
    JOIN callkeeper_calls AS c USING (account_id)
    JOIN callkeeper_calls_facts AS f ON f.account_id = c.account_id AND f.calls_id = c.id
    WHERE a.name = %(name)s
"""
_TOTAL: Final = """
    SELECT sum(c.call_id) FROM general_accounts AS a JOIN callkeeper_calls AS c USING (account_id)
    WHERE a.name = %(name)s
"""
_OTHERS: Final = """
    SELECT c.service, count(*), count(f.attempt), count(f.asr_attempts), count(f.playback_tick),
        min(c.call_id), max(c.call_id), count(c.widget_hash), count(f.duration2_sec)
    FROM general_accounts AS a
    JOIN callkeeper_calls AS c USING (account_id)
    JOIN callkeeper_calls_facts AS f ON f.account_id = c.account_id AND f.calls_id = c.id
    WHERE a.name = 'migrated' AND c.service <> 'callback' GROUP BY c.service ORDER BY c.service
"""


@dataclass(frozen=True)
class Both:
    """An account of every service, loaded through both APIs, all of whose calls have settled."""

    database: str
    simulator: RunningSimulator
    loader: Loader
    old: Source
    new: Source


@pytest.fixture(scope="module")
def both(make_database: MakeDatabase, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    """Loaded once: the tests only read."""
    account = AccountSettings(
        key=KEY, name="moscow", calls_per_day=250, calltracking_per_day=40, imports_per_day=3
    )
    with (
        make_database(Template.WAREHOUSE) as database,
        run_simulator([account], now=datetime(2026, 6, 1, tzinfo=UTC)) as simulator,
        dg.DagsterInstance.ephemeral() as instance,
        pytest.MonkeyPatch.context() as environment,
    ):
        environment.setenv("CALLKEEPER_HOME", str(tmp_path_factory.mktemp("home")))
        environment.setenv("CALLKEEPER_DATABASE_URL", database)
        environment.setenv(KEY_VARIABLE, KEY)
        old = build_source(simulator, "callkeeper", SELECTABLE_TABLES)
        new = build_source(simulator, "ckct", SELECTABLE_TABLES)
        new = replace(new, name="migrated", caption="Migrated")
        loader = Loader(instance)
        for source in (old, new):
            assert loader.load(source, _FIRST, _LAST).success
        yield Both(database, simulator, loader, old, new)


def ask(database: str, statement: str, name: str) -> list[tuple[Any, ...]]:
    with connect(database) as connection:
        return connection.execute(statement.encode(), {"name": name}).fetchall()


def test_the_same_callbacks_have_the_same_facts(both: Both) -> None:
    old, new = (ask(both.database, _FACTS, one.name) for one in (both.old, both.new))
    assert new == old
    assert len(old) == both.simulator.account("moscow").truth(_FIRST, _LAST).count > 1000
    assert {row[22] for row in old} > {None, 1}, "readings are missing where nothing was dialled"
    assert {row[21] for row in old} > {None, 0, 1}, "none is not the same as missing"


def test_what_an_api_lacks_is_null_and_not_zero(both: Both) -> None:
    [(calls, *known)] = ask(both.database, _MISSING, both.new.name)
    assert calls > 1000
    assert known == [0] * 6
    [(_, *known)] = ask(both.database, _MISSING, both.old.name)
    assert min(known) > 0


def test_calls_of_other_services_have_ids_and_no_counts_of_callbacks(both: Both) -> None:
    found = {service: values for service, *values in rows(both.database, _OTHERS)}
    assert found["calltracking"][0] == 200
    assert found["import"][0] == 15
    for values in found.values():
        assert values[1:4] == [0, 0, 0]
        assert values[6] == 0
        assert values[7] == values[0]
    assert found["calltracking"][4] > 4_000_000_000_000_000
    assert found["import"][4] >= 5_000_000_000_000_000
    truth = both.simulator.account("moscow").truth(_FIRST, _LAST, api="ckct")
    assert ask(both.database, _TOTAL, both.new.name) == [(truth.sums["call_id"],)]


def test_every_field_of_the_documentation_is_known(both: Both) -> None:
    checks = both.loader.checks(both.new, "callkeeper_calls", "no_unknown_fields")
    assert len(checks) == 5
    assert all(evaluation.passed for evaluation in checks.values())
