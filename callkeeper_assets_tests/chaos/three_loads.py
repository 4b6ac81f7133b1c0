"""Exactness: a load equals the source, a second one changes nothing, a third just what changed."""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from callkeeper_assets.simulator.account import SimulatedAccount
from callkeeper_assets.simulator.truth import SUMMED, ApiName, Scalar
from callkeeper_assets_tests.chaos.facts import (
    describe_copies,
    describe_difference,
    read_days,
    tell_days,
)
from callkeeper_assets_tests.chaos.installation import Installation

# The log of loads grows with every load; its rows are never written again.
_LOG: Final = "callkeeper_loads"
_NOTHING: Final = (0, 0, 0)
_SUMS: Final = f"""
    SELECT count(*), coalesce(sum(c.call_id), 0),
        {", ".join(f"coalesce(sum(f.{name}), 0)" for name in SUMMED)}
    FROM general_accounts AS a
    JOIN callkeeper_calls AS c USING (account_id)
    JOIN callkeeper_calls_facts AS f ON f.account_id = c.account_id AND f.calls_id = c.id
    WHERE a.name = %s
"""
_TABLES: Final = """
    SELECT table_name FROM information_schema.tables
    WHERE table_schema IN ('public', 'callkeeper_internal') AND table_type = 'BASE TABLE'
"""

Zones = Mapping[str, ZoneInfo]


def read_versions(installation: Installation) -> dict[str, set[tuple[Any, ...]]]:
    """Place and writing transaction of every row of every table."""
    with installation.connect() as connection:
        return {
            name: set(connection.execute(f"SELECT ctid::text, xmin::text FROM {name}").fetchall())
            for (name,) in connection.execute(_TABLES).fetchall()
        }


def check_against_truth(
    installation: Installation,
    accounts: Sequence[SimulatedAccount],
    zones: Zones,
    first: date,
    last: date,
    *,
    api: ApiName,
) -> None:
    """Every value of every call, and counts and sums of what the source itself adds up."""
    for account in accounts:
        name = account.settings.name
        zone = zones[name]
        truth = account.truth(first, last, zone.key, api=api)
        found = read_days(installation, first, last, zone, name)
        assert describe_difference(found, tell_days(truth, first, last, zone)) == "", name
        [(count, *sums)] = installation.query(_SUMS, name)
        assert count == truth.count > 0
        assert dict(zip(("call_id", *SUMMED), sums, strict=True)) == truth.sums


def change_facts(
    account: SimulatedAccount, days: Sequence[date], api: ApiName
) -> dict[str, tuple[int, int, int]]:
    """Change calls of these days of the account; return what a load then has to report."""
    updated: dict[str, set[int]] = {"callkeeper_calls": set(), "callkeeper_calls_facts": set()}
    for day in days:
        gone, *others = (int(str(call["call_id"])) for call in account.truth(day, day).calls)
        account.remove(day, call_ids=[gone])
        before = _by_id(account, day, api)
        account.change(day, call_ids=others[:7])
        # As the API shows them: it may not have what was changed.
        for call_id, call in _by_id(account, day, api).items():
            for column in (name for name in call if call[name] != before[call_id][name]):
                is_fact = column in SUMMED
                updated["callkeeper_calls_facts" if is_fact else "callkeeper_calls"].add(call_id)
            if describe_copies(call) != describe_copies(before[call_id]):
                updated["callkeeper_calls_facts"].add(call_id)
        account.add(day, 3)
    assert all(updated.values())
    return {name: (3 * len(days), len(ids), len(days)) for name, ids in updated.items()}


def _by_id(account: SimulatedAccount, day: date, api: ApiName) -> dict[int, dict[str, Scalar]]:
    return {int(str(call["call_id"])): call for call in account.truth(day, day, api=api).calls}


def check_three_loads(
    installation: Installation,
    accounts: Sequence[SimulatedAccount],
    zones: Zones,
    first: date,
    last: date,
    *,
    api: ApiName = "callkeeper",
) -> None:
    """Load the period three times, the third time after some facts have changed."""
    names = [account.settings.name for account in accounts]
    ended = installation.load(first, last, *names)
    assert ended.code == 0, ended
    check_against_truth(installation, accounts, zones, first, last, api=api)
    for account in accounts:
        zone = zones[account.settings.name].key
        count = account.truth(first, last, zone, has_calls=False, api=api).count
        changes = ended.changes(account.settings.name)
        assert changes["callkeeper_calls"] == changes["callkeeper_calls_facts"] == (count, 0, 0)

    before = read_versions(installation)
    ended = installation.load(first, last, *names)
    assert ended.code == 0, ended
    assert [set(ended.changes(name).values()) for name in names] == [{_NOTHING}] * len(names)
    after = read_versions(installation)
    assert before[_LOG] < after[_LOG]
    assert {**before, _LOG: set()} == {**after, _LOG: set()}

    # Not at the edges, which lie elsewhere in the source's zone than in the account's.
    days = [first + timedelta(days=n) for n in range(2, (last - first).days - 1, 3)]
    expected = {account.settings.name: change_facts(account, days, api) for account in accounts}
    ended = installation.load(first, last, *names)
    assert ended.code == 0, ended
    for name in names:
        changes = ended.changes(name)
        assert {table: changes[table] for table in expected[name]} == expected[name]
    check_against_truth(installation, accounts, zones, first, last, api=api)
