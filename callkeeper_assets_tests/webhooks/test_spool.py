"""The spool: what was kept is read again, whole, once, whoever dies when."""

import fcntl
import os
import signal
import sqlite3
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from callkeeper_assets.warehouse.records import Deleted
from callkeeper_assets.webhooks.payload import Delivery
from callkeeper_assets.webhooks.spool import Spool, drop_old_payloads, list_files, read_spooled

_NOW = datetime(2026, 11, 1, 12, 30, 0, 123456, tzinfo=UTC)

_texts = st.none() | st.text(max_size=20)
deliveries = st.builds(
    Delivery,
    st.sampled_from(["office", "clinic"]),
    st.binary(min_size=16, max_size=16),
    st.just(_NOW),
    st.sampled_from(["json", "form", "query"]),
    st.binary(max_size=200),
    _texts,
    st.none() | st.integers(0, 2**63 - 1),
    _texts,
)


def _deliver(number: int, size: int = 10) -> Delivery:
    body = str(number).encode().ljust(size, b"x")
    return Delivery("office", number.to_bytes(16, "big"), _NOW, "json", body, None, number, None)


def _read_all(spool: Spool, most: int = 3) -> list[Delivery]:
    read: list[Delivery] = []
    while some := spool.read(most):
        spool.forget_read()
        read += some
    return read


def _write_old(path: Path, deliveries: Sequence[Delivery]) -> list[int]:
    """Write a file as a release before did; return where each of its records ends."""
    content = b"callkeeper spool 1\n"
    ends = []
    for each in deliveries:
        record = msgspec.msgpack.encode(each)
        content += struct.pack("<II", len(record), zlib.crc32(record)) + record
        ends.append(len(content))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return ends


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "spool"


def test_what_is_kept_is_read_in_order_and_the_file_is_gone(folder: Path) -> None:
    spool = Spool(folder)
    spool.append([_deliver(1), _deliver(2)])
    spool.append([_deliver(3), _deliver(4), _deliver(5)])
    assert spool.waiting == 5
    assert _read_all(spool) == [_deliver(n) for n in range(1, 6)]
    assert spool.waiting == 0
    assert list(folder.iterdir()) == []
    spool.append([_deliver(6)])
    assert _read_all(spool) == [_deliver(6)]


def test_bodies_of_the_largest_size_are_read_window_by_window(folder: Path) -> None:
    kept = [_deliver(n, 1024 * 1024) for n in range(9)]
    spool = Spool(folder)
    for each in kept:
        spool.append([each])
    assert _read_all(spool, most=100) == kept
    spool.append(kept)
    spool.close()
    after = Spool(folder)
    assert after.take_over() == 9
    assert _read_all(after) == kept


def test_a_file_belongs_to_one_owner_until_he_is_gone(folder: Path) -> None:
    first, second = Spool(folder), Spool(folder)
    first.append([_deliver(1)])
    second.append([_deliver(2)])
    assert second.take_over() == 0
    assert second.waiting == 1
    first.close()
    assert second.take_over() == 1
    # The oldest first: what was left comes before one's own.
    assert _read_all(second) == [_deliver(1), _deliver(2)]
    assert second.take_over() == 0


def test_what_was_drained_but_not_removed_is_read_again(folder: Path) -> None:
    """A kill in between: the inbox knows the receipts, so that storing it again changes nothing."""
    spool = Spool(folder)
    spool.append([_deliver(1)])
    spool.append([_deliver(2)])
    assert spool.read(1) == [_deliver(1)]
    spool.forget_read()
    assert spool.read(1) == [_deliver(2)]
    spool.close()
    after = Spool(folder)
    assert after.take_over() == 2


@given(st.lists(deliveries, min_size=1, max_size=8), st.data())
def test_a_file_of_a_release_before_cut_anywhere_gives_its_whole_records(
    tmp_path_factory: pytest.TempPathFactory, kept: list[Delivery], data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("cut") / "a.spool"
    ends = _write_old(path, kept)
    cut = data.draw(st.integers(0, ends[-1]))
    filler = data.draw(st.sampled_from([b"", b"\0" * 100, b"garbage" * 10]))
    os.truncate(path, cut)
    with path.open("ab") as end:
        end.write(filler)
    whole = [each for each, end in zip(kept, ends, strict=True) if end <= cut]
    assert list(read_spooled(path.parent)) == whole
    spool = Spool(path.parent)
    assert spool.take_over() == len(whole)
    assert spool.waiting == len(whole)
    assert not path.exists()
    assert _read_all(spool) == whole
    # What is not whole is kept for somebody to look at, and does not come back.
    is_torn = (cut not in {ends[-1], 0} and cut not in ends[:-1]) or bool(filler)
    assert path.with_suffix(".torn").exists() in {is_torn, cut not in ends}
    assert list_files(path.parent) == []


def test_a_file_of_a_release_before_stays_its_receivers_until_that_is_gone(folder: Path) -> None:
    _write_old(folder / "a.spool", [_deliver(1)])
    spool = Spool(folder)
    with (folder / "a.spool").open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert spool.take_over() == 0
    assert spool.take_over() == 1
    assert _read_all(spool) == [_deliver(1)]
    assert list(folder.iterdir()) == []


@given(st.floats(0, 1, exclude_max=True), st.integers(1, 255))
def test_a_changed_byte_is_noticed(
    tmp_path_factory: pytest.TempPathFactory, place: float, change: int
) -> None:
    """Nothing is read otherwise than it was written; what is not read is kept to be looked at."""
    folder = tmp_path_factory.mktemp("bits")
    first = Spool(folder)
    kept = [_deliver(n, 100 + 3000 * (n % 2)) for n in range(5)]
    first.append(kept)
    first.close()
    [path] = list_files(folder)
    content = bytearray(path.read_bytes())
    content[int(place * len(content))] ^= change
    path.write_bytes(content)
    spool = Spool(folder)
    spool.take_over()
    read = _read_all(spool)
    assert [each for each in kept if each in read] == sorted(read, key=kept.index)
    assert spool.waiting == 0
    assert not path.exists()
    assert path.with_suffix(".torn").exists() or len(read) == len(kept)
    # It goes on.
    spool.append([_deliver(9)])
    assert _read_all(spool) == [_deliver(9)]


@pytest.mark.parametrize("garbage", [b"", b"no database at all" * 1000, b"\0" * 8192])
def test_garbage_is_put_aside_and_hinders_nobody(folder: Path, garbage: bytes) -> None:
    folder.mkdir()
    (folder / "a.sqlite").write_bytes(garbage)
    assert list(read_spooled(folder)) == []
    spool = Spool(folder)
    spool.append([_deliver(1)])
    assert spool.take_over() == 0
    assert _read_all(spool) == [_deliver(1)]
    assert spool.read(1) == []
    left = [one for one in folder.iterdir() if one.read_bytes()]
    assert left == ([folder / "a.torn"] if garbage else [])


def test_others_read_what_an_owner_holds_and_leave_it(folder: Path) -> None:
    spool = Spool(folder)
    spool.append([_deliver(1)])
    spool.append([_deliver(2)])
    code = (
        "import sys; from pathlib import Path; "
        "from callkeeper_assets.webhooks.spool import read_spooled; "
        "print([one.call_id for one in read_spooled(Path(sys.argv[1]))])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[1, 2]\n"
    spool.append([_deliver(3)])
    assert _read_all(spool) == [_deliver(n) for n in (1, 2, 3)]
    assert list(folder.iterdir()) == []


_APPEND = """
import sys
from pathlib import Path
from callkeeper_assets_tests.webhooks.test_spool import _deliver
from callkeeper_assets.webhooks.spool import Spool
spool = Spool(Path(sys.argv[1]))
for number in range(1_000_000):
    spool.append([_deliver(2 * number), _deliver(2 * number + 1)])
    print(number, flush=True)
"""


@pytest.mark.parametrize("groups", [1, 30, 200])
def test_what_a_killed_process_appended_is_whole_and_read_once(folder: Path, groups: int) -> None:
    """Both of a group or neither; all that it was told of."""
    with subprocess.Popen(
        [sys.executable, "-c", _APPEND, str(folder)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for _ in range(groups):
            reported = int(process.stdout.readline())
        time.sleep(0.003)
        process.send_signal(signal.SIGKILL)
        reported += sum(1 for _ in process.stdout)
    searched = [each.call_id for each in read_spooled(folder)]
    spool = Spool(folder)
    assert spool.take_over() == len(searched)
    read = [each.call_id for each in _read_all(spool)]
    assert read == searched == list(range(len(read)))
    assert len(read) % 2 == 0
    assert len(read) >= 2 * (reported + 1)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("is_old_form", [False, True])
def test_old_payloads_of_one_source_are_dropped_from_what_is_left(
    folder: Path, is_old_form: bool
) -> None:
    old, new = _NOW - timedelta(days=10), _NOW
    kept = [
        Delivery(source, bytes([number] * 16), at, "json", b"body-%d" % number, None, 1, None)
        for number, (source, at) in enumerate(
            [("office", old), ("office", new), ("clinic", old), ("office", old)]
        )
    ]
    if is_old_form:
        _write_old(folder / "a.spool", kept)
    else:
        left = Spool(folder)
        left.append(kept)
        left.close()
    before = _NOW - timedelta(days=1)
    counted = drop_old_payloads(folder, "office", before, dry_run=True)
    assert len(list(read_spooled(folder))) == 4
    assert counted == drop_old_payloads(folder, "office", before, dry_run=False) == Deleted(2, 12)
    assert list(read_spooled(folder)) == kept[1:3]
    content = b"".join(path.read_bytes() for path in folder.iterdir())
    assert b"body-1" in content
    assert b"body-0" not in content
    assert b"body-3" not in content
    assert drop_old_payloads(folder, "clinic", before, dry_run=False) == Deleted(1, 6)
    assert drop_old_payloads(folder, "office", _NOW + timedelta(1), dry_run=False).rows == 1
    assert list(folder.iterdir()) == []


def test_a_running_receivers_payloads_are_left_to_it(folder: Path) -> None:
    spool = Spool(folder)
    spool.append([_deliver(1)])
    assert drop_old_payloads(folder, "office", _NOW + timedelta(1), dry_run=False) == Deleted()
    assert _read_all(spool) == [_deliver(1)]


def test_each_group_waits_for_the_disk(folder: Path) -> None:
    spool = Spool(folder)
    spool.append([_deliver(1)])
    connection = spool._all[0]._connection
    assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
    assert connection.execute("PRAGMA journal_mode").fetchone() == (b"wal",)
    assert sqlite3.sqlite_version_info >= (3, 22)


_FILL = """
import resource, sys
from pathlib import Path
from callkeeper_assets_tests.webhooks.test_spool import _deliver, _read_all
from callkeeper_assets.webhooks.spool import Spool
resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, resource.RLIM_INFINITY))
spool = Spool(Path(sys.argv[1]))
kept, refused = [], 0
for number in range(30):
    group = [_deliver(3 * number + each, 2000 + 97 * number) for each in range(3)]
    try:
        spool.append(group)
        kept += group
    except OSError:
        refused += 1
assert kept and refused, (len(kept), refused)
assert spool.waiting == len(kept)
spool.close()
after = Spool(Path(sys.argv[1]))
assert after.take_over() == len(kept)
assert sorted(_read_all(after), key=lambda each: each.call_id) == kept
print(refused)
"""


def test_a_group_that_the_disk_refuses_is_nowhere_and_the_others_stay(folder: Path) -> None:
    """In a process of its own: the limit of a file's size is the process's."""
    done = subprocess.run(
        [sys.executable, "-c", _FILL, str(folder)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 0


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    spool = Spool(tmp_path / "file" / "spool")
    assert spool.probe() == "Not a directory"
    with pytest.raises(NotADirectoryError):
        spool.append([_deliver(1)])
    assert spool.waiting == 0
    assert Spool(tmp_path / "good").probe() is None
    assert list((tmp_path / "good").iterdir()) == []
