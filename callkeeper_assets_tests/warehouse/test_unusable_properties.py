"""Whatever stands between a day's calls: tables, reports and reconciliation see the calls alone.

Hypothesis makes the answers; the oracle is a load of the same calls from an answer without it.
"""

import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from callkeeper_assets.personal_data.shield import Shield
from callkeeper_assets.privacy.rewriting import Eraser, Protector
from callkeeper_assets.privacy.rule import Rule
from callkeeper_assets.raw.store import Day, RawStore, add_unusable, build_calls
from callkeeper_assets.reconcile.discrepancies import ComparedDay
from callkeeper_assets.reconcile.reconciliation import reconcile_days
from callkeeper_assets.reports.definition import Report
from callkeeper_assets.warehouse.records import Account
from callkeeper_assets.warehouse.tables import SELECTABLE_TABLES
from callkeeper_assets_tests.callkeeper.keying import key_payloads
from callkeeper_assets_tests.extent import examples
from callkeeper_assets_tests.raw.test_store import DAY, make_details
from callkeeper_assets_tests.reports.building import build_all, fetch
from callkeeper_assets_tests.warehouse.raw_days import MOSCOW, call, load_all, moment_of
from callkeeper_assets_tests.warehouse.test_loader_properties import tables

_SHIELD = Shield(Protector(Rule()), Eraser(), {})
_START = int(moment_of(DAY, 0).timestamp())


def _good(call_id: int, tags: str) -> dict[str, Any]:
    return call(call_id, date_timestamp=_START + 60 * call_id, tags=tags)


CALLS = st.dictionaries(
    st.integers(1, 30), st.sampled_from(["a", "b", "cut \ud83d"]), max_size=6
).map(lambda calls: [_good(call_id, tags) for call_id, tags in calls.items()])
# In the place of an id, or of both times, of a call that may be there in truth, too.
WRONG = st.one_of(
    st.sampled_from([None, {}, [], 7, "79161234567", {"phone2": "+79161234567"}]),
    st.tuples(
        st.integers(1, 30), st.sampled_from([None, 12.0, -3, True, "x1", "", [1], 2**70])
    ).map(lambda one: {**_good(one[0], "wrong"), "id": one[1]}),
    st.tuples(
        st.integers(1, 30), st.sampled_from([None, "0000-00-00 00:00:00", "", 0, {"a": 1}])
    ).map(lambda one: {**_good(one[0], "wrong"), "date_timestamp": one[1], "date": one[1]}),
)


@pytest.fixture
def accounts() -> Iterator[Account]:
    """Names of accounts that no example used before: examples share the database."""
    return (Account(f"source_{n}", "Source", MOSCOW) for n in range(10_000))


def _store(store: RawStore, records: Sequence[object]) -> Day:
    """Store an answer as a load does, and read the day back as a load does."""
    found = key_payloads("callkeeper", [json.dumps(one).encode() for one in records])
    rows = sorted((epoch, call_id, bytes(raw)) for call_id, (epoch, raw) in found.items())
    calls = build_calls([one[1] for one in rows], [one[0] for one in rows], [r[2] for r in rows])
    unusable = _SHIELD.pass_unusable(found.unusable.values())
    assert len({one.payload for one in unusable}) == len(unusable)
    store.write(add_unusable(calls, unusable), make_details())
    return Day(DAY, store.read("moscow", DAY).calls)


@settings(max_examples=examples(3))
@given(calls=CALLS, wrong=st.lists(WRONG, min_size=1, max_size=6), rng=st.randoms())
def test_an_answer_with_unusable_records_loads_as_one_without(
    database: str,
    accounts: Iterator[Account],
    tmp_path: Path,
    *,
    calls: list[dict[str, Any]],
    wrong: list[object],
    rng: random.Random,
) -> None:
    store = RawStore(str(tmp_path))
    mixed = [*calls, *wrong]
    rng.shuffle(mixed)
    dirty, clean = next(accounts), next(accounts)
    report = Report("by_tag", fields=(("id", "id"), ("tags", "tags")))
    for account, records in ((dirty, mixed), (clean, calls)):
        day = _store(store, records)
        [loaded] = load_all(database, [day], account, force=True)
        assert loaded.raw_calls == len(calls)
        build_all(database, [day], report, account=account)
    assert tables(database, dirty.name) == tables(database, clean.name)
    assert _report(database, dirty) == _report(database, clean)
    day = _store(store, mixed)
    for result in reconcile_days(
        database,
        dirty,
        [day],
        tables=SELECTABLE_TABLES,
        filters={},
        run_id="r",
        mode="dry_run",
        guard=None,
    ):
        assert isinstance(result, ComparedDay)
        assert result.discrepancies == ()


def _report(url: str, account: Account) -> list[tuple[Any, ...]]:
    return fetch(
        url,
        "SELECT call_id, called_at, data FROM callkeeper_reports JOIN general_accounts a "
        "USING (account_id) WHERE a.name = %s ORDER BY call_id",
        (account.name,),
    )
