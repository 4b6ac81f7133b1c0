"""Calls that are not final count as they are once nobody waits for them any more."""

from collections.abc import Sequence
from datetime import date, timedelta

import pytest

from callkeeper_assets.reconcile.discrepancies import ComparedDay, Mode
from callkeeper_assets.reconcile.reconciliation import reconcile_days
from callkeeper_assets.warehouse.queries import settled_calls, unsettled_days
from callkeeper_assets.warehouse.tables import SELECTABLE_TABLES
from callkeeper_assets_tests.warehouse.raw_days import (
    DAY,
    MAIN,
    MOSCOW,
    Call,
    call,
    day_of,
    load_all,
    rows,
)

_NEXT = DAY + timedelta(days=1)
_OPEN = {"status_code": 1, "status2_code": 0}


def _reconcile(url: str, calls: Sequence[Call], settled_before: date, mode: Mode) -> ComparedDay:
    (found,) = reconcile_days(
        url,
        MAIN,
        [day_of(DAY, calls)],
        tables=SELECTABLE_TABLES,
        filters={},
        run_id="reconciliation",
        mode=mode,
        guard=None,
        settled_before=settled_before,
    )
    assert isinstance(found, ComparedDay)
    return found


@pytest.mark.parametrize("mode", ["dry_run", "log", "heal"])
def test_an_old_open_call_is_compared_and_healed(database: str, mode: Mode) -> None:
    """An hour later than the table holds it, and one that it has not at all."""
    held = [call(1), call(2, **_OPEN, attempt=1)]
    now = [call(1), call(2, **_OPEN, attempt=4), call(3, **_OPEN)]
    load_all(database, [day_of(DAY, held)])
    waited = _reconcile(database, now, DAY, "dry_run")
    assert (waited.calls, waited.non_final, len(waited.discrepancies)) == (1, 2, 0)
    found = _reconcile(database, now, _NEXT, mode)
    assert (found.calls, found.non_final) == (3, 0)
    assert sorted((one.call_id, one.parameter, one.kind) for one in found.discrepancies) == [
        (2, "attempt", "differs"),
        (3, "call_id", "missing_in_warehouse"),
    ]
    assert {one.is_healed for one in found.discrepancies} == {mode == "heal"}


def test_settled_days_are_not_read_again_and_their_calls_are_counted(database: str) -> None:
    calls = [call(n, **_OPEN) for n in range(1, 4)]
    load_all(database, [day_of(DAY, calls), day_of(_NEXT, [call(9, **_OPEN), call(10)])])
    later = DAY + timedelta(days=40)
    assert unsettled_days(database, MAIN.name, MOSCOW, later, settled_before=DAY) == [DAY, _NEXT]
    assert unsettled_days(database, MAIN.name, MOSCOW, later, settled_before=_NEXT) == [_NEXT]
    assert settled_calls(database, MAIN.name, MOSCOW, DAY, 10) == (0, ())
    assert settled_calls(database, MAIN.name, MOSCOW, _NEXT, 2) == (3, (1, 2))
    assert settled_calls(database, MAIN.name, MOSCOW, later, 10) == (4, (1, 2, 3, 9))
    assert rows(database, "SELECT sum(non_final) FROM callkeeper_days") == [(4,)]


def test_an_open_call_of_a_webhook_has_its_day_read_all_the_same(database: str) -> None:
    """It is not the setting's: the API has not told of it yet."""
    load_all(database, [day_of(DAY, [call(1, **_OPEN)])])
    with_webhook = "UPDATE callkeeper_calls SET origin = 'webhook' RETURNING call_id"
    assert rows(database, with_webhook) == [(1,)]
    later = DAY + timedelta(days=40)
    assert unsettled_days(database, MAIN.name, MOSCOW, later, settled_before=later) == [DAY]
