"""The store of raw calls: what is written comes back byte for byte, a day is replaced whole."""

import multiprocessing
import os
import signal
import time
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, ClassVar

import fsspec
import msgspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from callkeeper_assets.raw.place import StoreError
from callkeeper_assets.raw.store import (
    DayDetails,
    MissingDayError,
    RawStore,
    UnreadableDayError,
    build_calls,
)
from callkeeper_assets_tests.raw.stored import stored_ids

DAY = date(2026, 1, 31)


def make_details(run_id: str = "run", refusal: str = "", lost: int = 0) -> DayDetails:
    """Details of `DAY` with the given run, refusal and loss."""
    return DayDetails(
        source="moscow",
        day=DAY,
        time_zone="Europe/Moscow",
        window_from=datetime(2026, 1, 30, 21, tzinfo=UTC),
        window_to=datetime(2026, 1, 31, 21, tzinfo=UTC),
        requests=3,
        fetched_at=datetime(2026, 2, 1, 5, tzinfo=UTC),
        run_id=run_id,
        refusal=refusal,
        lost=lost,
    )


def test_payloads_come_back_byte_for_byte(tmp_path: Path) -> None:
    payloads = [
        '{"id": 1, "city": "Казань",  "tags": " "}'.encode(),
        b"{}",
        rb'{"id":"3","x":1e400,"y":"\u0000"}',
    ]
    store = RawStore(str(tmp_path))
    store.write(
        build_calls([1, 2, 3], [1769806800, 1769806800, 1769893199], payloads), make_details()
    )
    day = store.read("moscow", DAY)
    calls = day.calls
    assert [value.encode() for value in calls.column("payload").to_pylist()] == payloads
    assert calls.column("call_id").to_pylist() == [1, 2, 3]
    assert calls.column("called_at").to_pylist()[2] == datetime(2026, 1, 31, 20, 59, 59, tzinfo=UTC)
    assert day.details == make_details()


def test_a_day_without_calls_is_a_file_too(tmp_path: Path) -> None:
    store = RawStore(str(tmp_path))
    store.write(build_calls([], [], []), make_details())
    assert len(store.read("moscow", DAY)) == 0
    assert stored_ids(store, "moscow", DAY) == set()


def test_a_day_that_was_never_fetched_says_what_to_type(tmp_path: Path) -> None:
    store = RawStore(str(tmp_path))
    assert store.read_details("moscow", DAY) is None
    with pytest.raises(
        MissingDayError, match="callkeeper load moscow --from 2026-01-31 --to 2026-01-31"
    ):
        store.read("moscow", DAY)


def test_a_refused_answer_lies_beside_the_day_until_a_good_one_comes(tmp_path: Path) -> None:
    store = RawStore(str(tmp_path))
    store.write(build_calls([1], [1769806800], [b"{}"]), make_details("first"))
    store.refuse(build_calls([], [], []), make_details("second", refusal="too few"))
    assert store.read("moscow", DAY).details.run_id == "first"
    refused = store.read_details("moscow", DAY, "refused")
    assert refused is not None
    assert (refused.run_id, refused.refusal) == ("second", "too few")
    store.write(build_calls([1], [1769806800], [b"{}"]), make_details("third"))
    assert store.read_details("moscow", DAY, "refused") is None


def test_a_day_that_lost_calls_is_kept_as_it_was_until_it_has_them_again(tmp_path: Path) -> None:
    """The first one is kept, which has most; a kill in between leaves at most one too many."""
    store = RawStore(str(tmp_path))
    epoch = 1769806800
    whole = build_calls([1, 2, 3], [epoch] * 3, [b"{}"] * 3)
    store.write(whole, make_details("whole"))
    store.write(build_calls([1, 2], [epoch] * 2, [b"{}"] * 2), make_details("less", lost=1))
    store.write(build_calls([1], [epoch], [b"{}"]), make_details("least", lost=2))
    kept = store.look_up("moscow", DAY, "replaced")
    assert kept is not None
    assert (kept[0], kept[1].run_id) == ({1, 2, 3}, "whole")
    assert store.list_days("moscow", "replaced") == store.list_days("moscow") == {DAY}
    assert store.list_days("moscow", "refused") == set()
    old = store.measure_old("moscow", date(2026, 2, 1))
    assert sorted(path.rpartition(".")[2] for path in old) == ["parquet", "replaced"]
    store.write(whole, make_details("again"))
    assert store.list_days("moscow", "replaced") == set()


@pytest.mark.parametrize("content", [b"", b"PAR1 not really", b"\x00" * 100])
def test_a_damaged_file_is_named(tmp_path: Path, content: bytes) -> None:
    store = RawStore(str(tmp_path))
    path = Path(store.locate("moscow", DAY))
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    with pytest.raises(UnreadableDayError, match=str(path)):
        store.read("moscow", DAY)


def test_a_place_that_cannot_be_written_says_which_setting_names_it(tmp_path: Path) -> None:
    file = tmp_path / "occupied"
    file.write_text("a file where a folder should be")
    with pytest.raises(StoreError, match="CALLKEEPER_RAW_URL"):
        RawStore(str(file)).write(build_calls([], [], []), make_details())


def test_an_unknown_kind_of_place_says_which_setting_names_it() -> None:
    with pytest.raises(StoreError, match="CALLKEEPER_RAW_URL names a place that cannot be used"):
        RawStore("nosuch://bucket/raw")


def test_an_object_store_works_like_a_folder() -> None:
    store = RawStore("memory://callkeeper-raw")
    store.write(build_calls([7], [1769806800], [b'{"id": 7}']), make_details())
    store.refuse(build_calls([], [], []), make_details(refusal="empty"))
    assert stored_ids(store, "moscow", DAY) == {7}
    assert store.read_details("moscow", DAY, "refused") is not None


def write_for_ever(folder: str) -> None:
    """Replace the day again and again, with as many calls each time as bytes in each payload."""
    store = RawStore(folder)
    size = 1
    while True:
        size = size % 2000 + 1
        ids = list(range(size))
        store.write(
            build_calls(ids, [1769806800] * size, [b"x" * size] * size), make_details(str(size))
        )


def test_a_writer_killed_at_any_moment_leaves_a_whole_day(tmp_path: Path) -> None:
    """Five kills: the file is always one write, never parts of two."""
    context = multiprocessing.get_context("spawn")
    store = RawStore(str(tmp_path))
    for _ in range(5):
        writer = context.Process(target=write_for_ever, args=(str(tmp_path),))
        writer.start()
        before = store.read_details("moscow", DAY)
        while store.read_details("moscow", DAY) in {None, before}:
            time.sleep(0.002)
        assert writer.pid is not None
        os.kill(writer.pid, signal.SIGKILL)
        writer.join()
        day = store.read("moscow", DAY)
        assert len(day) == int(day.details.run_id)
        assert {len(value) for value in day.calls.column("payload").to_pylist()} == {len(day)}


class _PrefixStore(MemoryFileSystem):  # type: ignore[misc]  # fsspec has no types
    """An object store to which a folder is a prefix of names, as it lists them."""

    protocol = "prefixes"
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        stripped: str = super()._strip_protocol(path.replace("prefixes://", "memory://"))
        return stripped

    def find(
        self,
        path: str,
        maxdepth: int | None = None,
        withdirs: bool = False,
        detail: bool = False,
        **_: object,
    ) -> Any:  # noqa: ANN401 -- as fsspec
        found = super().find("", maxdepth, withdirs, detail=True)
        listed = {name: one for name, one in found.items() if name.startswith(path)}
        return listed if detail else sorted(listed)


def test_a_neighbours_files_are_not_listed_where_a_folder_is_a_prefix_of_names() -> None:
    """Retention deletes what it lists: `moscow` must not take in `moscow_2`, nor a root another."""
    fsspec.register_implementation("prefixes", _PrefixStore, clobber=True)
    store = RawStore("prefixes://bucket/raw")
    neighbours = [store, RawStore("prefixes://bucket/raw_old")]
    for source in ("moscow", "moscow_2"):
        for one in neighbours:
            details = msgspec.structs.replace(make_details(), source=source)
            one.write(build_calls([1], [1769806800], [b"{}"]), details)
    own = [store.locate("moscow", DAY)]
    assert store.list_days("moscow") == {DAY}
    assert list(store.measure_old("moscow", date(2026, 3, 1))) == own
    assert store.list_files() == [*own, store.locate("moscow_2", DAY)]
    for path in store.measure_old("moscow", date(2026, 3, 1)):
        store.delete(path)
    assert store.list_days("moscow") == set()
    assert store.list_days("moscow_2") == {DAY}
