"""The spool: what was kept is read again, whole, once, whoever dies when."""

import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callkeeper_assets.webhooks.delivery import Delivery
from callkeeper_assets.webhooks.spool import Spool
from callkeeper_assets.webhooks.spool_file import SpoolFile

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
    while True:
        found = spool.read(most)
        if found is None:
            return read
        file, some, position = found
        file.forget(len(some), position)
        read += some


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
    spool.append([_deliver(1), _deliver(2)])
    found = spool.read(1)
    assert found is not None
    file, some, position = found
    file.forget(len(some), position)
    spool.close()
    after = Spool(folder)
    assert after.take_over() == 2


@given(st.lists(deliveries, min_size=1, max_size=8), st.data())
def test_a_file_cut_anywhere_gives_its_whole_records(
    tmp_path_factory: pytest.TempPathFactory, kept: list[Delivery], data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("cut") / "a.spool"
    file = SpoolFile.create(path)
    ends = []
    for each in kept:
        file.append([each])
        ends.append(path.stat().st_size)
    file.close()
    cut = data.draw(st.integers(0, ends[-1]))
    filler = data.draw(st.sampled_from([b"", b"\0" * 100, b"garbage" * 10]))
    os.truncate(path, cut)
    with path.open("ab") as end:
        end.write(filler)
    spool = Spool(path.parent)
    spool.take_over()
    whole = [each for each, end in zip(kept, ends, strict=True) if end <= cut]
    assert spool.waiting == len(whole)
    assert _read_all(spool) == whole
    assert not path.exists()
    # What is not whole is kept for somebody to look at, and does not come back.
    is_torn = (cut not in {ends[-1], 0} and cut not in ends[:-1]) or bool(filler)
    assert path.with_suffix(".torn").exists() in {is_torn, cut not in ends}


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_a_changed_byte_is_noticed(
    tmp_path_factory: pytest.TempPathFactory, place: int, change: int
) -> None:
    path = tmp_path_factory.mktemp("bits") / "a.spool"
    file = SpoolFile.create(path)
    kept = [_deliver(n) for n in range(5)]
    file.append(kept)
    file.close()
    content = bytearray(path.read_bytes())
    content[place % len(content)] ^= change
    path.write_bytes(content)
    spool = Spool(path.parent)
    spool.take_over()
    read = _read_all(spool)
    assert read == kept[: len(read)]
    assert len(read) < len(kept)
    assert path.with_suffix(".torn").read_bytes() == content


_FILL = """
import resource, sys
from pathlib import Path
from callkeeper_assets_tests.webhooks.test_spool import _deliver, _read_all
from callkeeper_assets.webhooks.spool import Spool
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
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
