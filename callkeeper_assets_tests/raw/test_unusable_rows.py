"""Records that are no calls lie behind a day's calls: in one file with them, and hidden from it."""

from collections.abc import Sequence
from pathlib import Path

import msgspec
import pyarrow as pa

from callkeeper_assets.raw.store import (
    VERSIONS,
    RawStore,
    UnusableRow,
    add_unusable,
    build_calls,
    replace_payloads,
)
from callkeeper_assets_tests.raw.stored import stored_ids
from callkeeper_assets_tests.raw.test_store import DAY, make_details

ROWS = [
    UnusableRow(-7, '{"id": null, "city": "Казань"}'.encode(), "it has no id: id is missing"),
    UnusableRow(12, b'{"id": 12, "date": null}', "it has no time"),
]


def _calls(*ids: int) -> pa.Table:
    return build_calls(list(ids), [1769806800] * len(ids), [b'{"id": %d}' % one for one in ids])


def _write(folder: Path, calls: pa.Table, rows: Sequence[UnusableRow] = ROWS) -> RawStore:
    store = RawStore(str(folder))
    store.write(add_unusable(calls, rows), make_details())
    return store


def test_who_reads_calls_does_not_see_them(tmp_path: Path) -> None:
    """Ids too: the guard, webhooks and the audit ask for them."""
    store = _write(tmp_path, _calls(1, 12))
    calls = store.read("moscow", DAY).calls
    assert calls.column_names == ["call_id", "called_at", "payload"]
    assert calls["call_id"].to_pylist() == [1, 12]
    assert calls["called_at"].null_count == 0
    assert stored_ids(store, "moscow", DAY) == {1, 12}
    assert store.read_unusable("moscow", DAY) == ROWS
    assert len(_write(tmp_path, _calls()).read("moscow", DAY)) == 0
    assert stored_ids(store, "moscow", DAY) == set()
    assert store.read_unusable("moscow", DAY) == ROWS


def test_a_day_without_them_is_stored_as_ever_and_older_files_are_read(tmp_path: Path) -> None:
    store = _write(tmp_path, _calls(1), [])
    stored, details = store.read_stored("moscow", DAY)
    assert stored.column_names == ["call_id", "called_at", "payload"]
    assert details == make_details()
    assert (details.unusable, details.local_times) == ((), None)
    assert store.read_unusable("moscow", DAY) == []


def test_a_day_that_is_rewritten_keeps_them_rewritten_as_its_calls(tmp_path: Path) -> None:
    for version in VERSIONS:
        store = _write(tmp_path, _calls(1))
        store.rewrite(add_unusable(_calls(1), ROWS), make_details(), version)
        stored, details = store.read_stored("moscow", DAY, version)
        assert stored["call_id"].to_pylist() == [1, -7, 12]
        after = replace_payloads(stored, [b"{}", b"{}", b"gone"])
        store.rewrite(after, details, version)
        again, _ = store.read_stored("moscow", DAY, version)
        assert again["payload"].to_pylist() == ["{}", "{}", "gone"]
        assert again.drop(["payload"]) == stored.drop(["payload"])
        assert len(store.read("moscow", DAY, version)) == 1


def test_how_many_there_are_is_known_without_reading_them(tmp_path: Path) -> None:
    store = RawStore(str(tmp_path))
    details = msgspec.structs.replace(make_details(), unusable=(("it has no time", 1),))
    store.write(add_unusable(_calls(1), ROWS[1:]), details)
    assert store.read_details("moscow", DAY) == details
