"""One account through both APIs: the same facts for the same callbacks, whatever each API lacks.

The simulator serves one truth through both. What an API cannot tell is NULL, and what it spells in
its own way (numbers without a plus, countries by name) is the same once that is undone.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any, Final

import pytest

from callkeeper_assets.callkeeper.records import ApiName
from callkeeper_assets.config.source import Source
from callkeeper_assets.postgres.url import connect
from callkeeper_assets.simulator.server import RunningSimulator, run_simulator
from callkeeper_assets.simulator.settings import AccountSettings
from callkeeper_assets_tests.assets.conftest import KEY, Loader
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


@pytest.fixture
def api() -> ApiName:
    """The first source's; the second one is made here."""
    return "callkeeper"


@pytest.fixture
def simulator() -> Iterator[RunningSimulator]:
    """An account of every service, all of whose calls have settled."""
    account = AccountSettings(
        key=KEY, name="moscow", calls_per_day=250, calltracking_per_day=40, imports_per_day=3
    )
    with run_simulator([account], now=datetime(2026, 6, 1, tzinfo=UTC)) as running:
        yield running


@pytest.fixture
def migrated(source: Source, simulator: RunningSimulator, loader: Loader) -> Source:
    """Both sources loaded; the migrated one."""
    other = replace(
        source,
        name="migrated",
        caption="Migrated",
        api="ckct",
        base_url=simulator.base_urls["ckct"],
    )
    for one in (source, other):
        assert loader.load(one, _FIRST, _LAST).success
    return other


def ask(database: str, statement: str, name: str) -> list[tuple[Any, ...]]:
    with connect(database) as connection:
        return connection.execute(statement.encode(), {"name": name}).fetchall()


def test_the_same_callbacks_have_the_same_facts(
    migrated: Source, database: str, simulator: RunningSimulator
) -> None:
    old, new = (ask(database, _FACTS, name) for name in ("moscow", migrated.name))
    assert new == old
    assert len(old) == simulator.account("moscow").truth(_FIRST, _LAST).count > 1000
    assert {row[22] for row in old} > {None, 1}, "readings are missing where nothing was dialled"
    assert {row[21] for row in old} > {None, 0, 1}, "none is not the same as missing"


def test_what_an_api_lacks_is_null_and_not_zero(migrated: Source, database: str) -> None:
    [(calls, *known)] = ask(database, _MISSING, migrated.name)
    assert calls > 1000
    assert known == [0] * 6
    [(_, *known)] = ask(database, _MISSING, "moscow")
    assert min(known) > 0


def test_calls_of_other_services_have_ids_and_no_counts_of_callbacks(
    migrated: Source, database: str, simulator: RunningSimulator
) -> None:
    found = {service: values for service, *values in rows(database, _OTHERS)}
    assert found["calltracking"][0] == 200
    assert found["import"][0] == 15
    for values in found.values():
        assert values[1:4] == [0, 0, 0]
        assert values[6] == 0
        assert values[7] == values[0]
    assert found["calltracking"][4] > 4_000_000_000_000_000
    assert found["import"][4] >= 5_000_000_000_000_000
    truth = simulator.account("moscow").truth(_FIRST, _LAST, api="ckct")
    assert ask(database, _TOTAL, migrated.name) == [(truth.sums["call_id"],)]


def test_every_field_of_the_documentation_is_known(migrated: Source, loader: Loader) -> None:
    checks = loader.checks(migrated, "callkeeper_calls", "no_unknown_fields")
    assert len(checks) == 5
    assert all(evaluation.passed for evaluation in checks.values())
