"""What a backup is made of, what it leaves alone, and what is said of one that is no good.

In this process, against real databases and folders; an object store is fsspec's in memory.
"""

import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Final

import msgspec
import psycopg
import pyarrow as pa
import pytest

from callkeeper_assets.backup.making import Made, make_backup
from callkeeper_assets.backup.place import BackupError, DamagedError, Place
from callkeeper_assets.backup.records import (
    Backup,
    encode_backup,
    find_newest,
    list_backups,
    name_blob,
    read_backup,
    read_raw_list,
)
from callkeeper_assets.backup.restoring import Restored, restore_backup
from callkeeper_assets.backup.verifying import verify_backup
from callkeeper_assets.postgres.errors import DatabaseError
from callkeeper_assets.postgres.locks import BACKUP_LOCK, Lock
from callkeeper_assets.raw.store import DayDetails, RawStore, build_calls
from callkeeper_assets.warehouse.migrate import HEAD, VERSION_TABLE, ensure_schema
from callkeeper_assets.warehouse.records import SchemaError
from callkeeper_assets_tests.contents import list_tables, read_all
from callkeeper_assets_tests.templates import MakeDatabase, Template
from callkeeper_assets_tests.warehouse.former import migrate_to

_DAYS: Final = [date(2026, 1, day) for day in (1, 2, 3)]
_ACCOUNT: Final = (
    "INSERT INTO general_accounts (account_id, service, enabled, name, caption) "
    "VALUES (%s, 'callkeeper', true, %s, 'Офис\t\\N')"
)
_DAY_SEC: Final = 86_400


@pytest.fixture(autouse=True)
def project(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a source's file and keys, in force."""
    folder = home / "project"
    (folder / "defs" / "office").mkdir(parents=True)
    (folder / "defs" / "office" / "defs.yaml").write_text("api_key: {env: OFFICE_API_KEY}\n")
    (folder / ".env").write_text("OFFICE_API_KEY=very-secret\nOTHER=secret\n")
    monkeypatch.setenv("CALLKEEPER_PROJECT", str(folder))
    monkeypatch.setenv("CALLKEEPER_DEFS", str(folder / "defs"))
    monkeypatch.setenv("CALLKEEPER_HOME", str(home / "home"))
    return folder


@pytest.fixture
def store(home: Path) -> RawStore:
    """Raw calls of three days."""
    made = RawStore(str(home / "home" / "raw"))
    for day in _DAYS:
        _write(made, day, day.day)
    return made


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A folder that is not there yet."""
    return Place(str(tmp_path / "backups"))


@pytest.fixture
def loaded(database: str) -> str:
    """A database with a row or two."""
    with psycopg.connect(database) as connection:
        connection.execute(_ACCOUNT, (17, "office"))
    return database


def _write(store: RawStore, day: date, call_id: int) -> None:
    moment = datetime(day.year, day.month, day.day, tzinfo=UTC)
    details = DayDetails(
        source="office",
        day=day,
        time_zone="UTC",
        window_from=moment,
        window_to=moment,
        requests=1,
        fetched_at=moment,
        run_id="",
    )
    store.write(build_calls([call_id], [int(moment.timestamp())], [b"{}"]), details)


def _read(url: str) -> dict[str, Any]:
    with psycopg.connect(url) as connection:
        return read_all(connection)


def _read_raw(store: RawStore) -> dict[str, bytes]:
    return {store.name(path): store.read_file(path) for path in store.list_files()}


@contextmanager
def _elsewhere(make_database: MakeDatabase) -> Iterator[str]:
    """Give another machine: a home and a project without anything, and an empty database."""
    with pytest.MonkeyPatch.context() as patched, make_database(Template.EMPTY) as url:
        folder = Path(os.environ["CALLKEEPER_HOME"]).parent / uuid.uuid4().hex
        (folder / "project").mkdir(parents=True)
        patched.setenv("CALLKEEPER_HOME", str(folder / "home"))
        patched.setenv("CALLKEEPER_PROJECT", str(folder / "project"))
        patched.setenv("CALLKEEPER_DEFS", str(folder / "project" / "defs"))
        yield url


def _open_new_store() -> RawStore:
    return RawStore(os.environ["CALLKEEPER_HOME"] + "/raw")


def _restore(place: Place, backup: Backup, url: str, *left: str) -> Restored:
    return restore_backup(
        place, backup, find_url=lambda: url, open_store=_open_new_store, left=frozenset(left)
    )


def _damage(place: Place, name: str) -> None:
    assert place.folder is not None
    file = place.folder / name
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def test_only_what_changed_is_copied_again_and_each_backup_has_its_own_days(
    loaded: str, store: RawStore, place: Place, make_database: MakeDatabase
) -> None:
    first = make_backup(place, loaded, store)
    as_it_was = _read_raw(store)
    assert first.copied_files == 3
    assert make_backup(place, loaded, store).copied_files == 0
    _write(store, _DAYS[0], 100)
    store.delete(store.locate("office", _DAYS[1]))
    last = make_backup(place, loaded, store)
    assert (last.copied_files, last.backup.raw_files) == (1, 2)
    now = _read_raw(store)
    for made, raw in ((first, as_it_was), (last, now)):
        with _elsewhere(make_database) as url:
            _restore(place, made.backup, url)
            assert _read_raw(_open_new_store()) == raw
            assert _read(url) == _read(loaded)


def test_keys_are_in_no_backup_and_are_named_when_it_is_restored(
    loaded: str, store: RawStore, place: Place, make_database: MakeDatabase
) -> None:
    key = Path(os.environ["CALLKEEPER_HOME"]) / "erasures.key"
    key.write_text("very-secret")
    made = make_backup(place, loaded, store)
    assert place.folder is not None
    for file in [place.folder, *place.folder.rglob("*")]:
        assert file.is_dir() or b"very-secret" not in file.read_bytes(), file
        assert file.stat().st_mode & 0o077 == 0, "others may not read it"
    with _elsewhere(make_database) as url:
        restored = _restore(place, made.backup, url)
        assert restored.unset == ("OFFICE_API_KEY", "OTHER")
        assert [file.name for file in restored.missing] == [".env", "erasures.key"]


def test_an_object_store_holds_backups_as_a_folder_does(
    loaded: str, store: RawStore, make_database: MakeDatabase
) -> None:
    place = Place(f"memory://{uuid.uuid4().hex}/backups")
    made = make_backup(place, loaded, store)
    assert make_backup(place, loaded, store, keep=1).deleted == (made.backup.name,)
    (backup,) = list_backups(place)
    assert list(verify_backup(place, backup)) == []
    with _elsewhere(make_database) as url:
        _restore(place, backup, url)
        assert _read(url) == _read(loaded)
        assert _read_raw(_open_new_store()) == _read_raw(store)


class _Hooked(Place):
    """Does something else as a file is about to be written."""

    def __init__(self, url: str, part: str, action: Callable[[], None]) -> None:
        super().__init__(url)
        self._part = part
        self._action = action

    @contextmanager
    def writing(self, name: str) -> Iterator[Any]:
        if self._part in name:
            self._action()
            self._part = "nothing"
        with super().writing(name) as file:
            yield file


def test_it_is_of_one_moment_while_rows_and_days_come_and_go(
    loaded: str, store: RawStore, tmp_path: Path, make_database: MakeDatabase
) -> None:
    before = _read(loaded)
    before_raw = _read_raw(store)

    def go_on() -> None:
        with psycopg.connect(loaded, autocommit=True) as connection:
            connection.execute("DELETE FROM general_accounts WHERE account_id = 17")
            connection.execute(_ACCOUNT, (18, "other"))
            # A migration's, which must not wait long for the backup, nor change what it is of.
            connection.execute("CREATE TABLE public.later (id int)")
        store.delete(store.locate("office", _DAYS[1]))
        _write(store, _DAYS[2], 300)

    place = _Hooked(str(tmp_path / "backups"), "callkeeper_calls.zst", go_on)
    made = make_backup(place, loaded, store)
    assert "public.later" in _read(loaded)
    with _elsewhere(make_database) as url:
        _restore(place, made.backup, url)
        after = _read(url)
        raw = _read_raw(_open_new_store())
    assert {**after, "sequences": 0} == {**before, "sequences": 0}
    # Raw calls are the newer ones, whole: the next load of the day brings them to the tables.
    assert sorted(raw) == sorted(set(before_raw) - {f"office/2026/{_DAYS[1]}.parquet"})
    assert raw == _read_raw(store)


def test_two_at_once_are_one(loaded: str, store: RawStore, place: Place) -> None:
    with Lock(loaded, "the other backup") as lock:
        assert lock.attempt(BACKUP_LOCK)
        with pytest.raises(BackupError, match="Another backup of this installation is under way"):
            make_backup(place, loaded, store)
    assert place.list_folders() == []


def test_old_backups_go_with_what_they_alone_had_and_what_others_need_stays(
    loaded: str, store: RawStore, place: Place, make_database: MakeDatabase
) -> None:
    make_backup(place, loaded, store)
    (own, *_) = read_raw_list(place, read_backup(place, None))
    store.delete(store.locate("office", _DAYS[0]))
    assert place.folder is not None
    young = place.folder / name_blob("ab" * 32)
    young.parent.mkdir(parents=True)
    young.write_bytes(b"of a backup of another installation that is being made")
    half = place.folder / f"raw/ab/.{'ab' * 32}.0123"
    half.write_bytes(b"of a process that was killed")
    long_ago = time.time() - 2 * _DAY_SEC
    for blob in place.list_files("raw"):
        if blob != name_blob("ab" * 32):
            os.utime(place.folder / blob, (long_ago, long_ago))
    unfinished = place.folder / "2026-01-01T000000Z" / "database"
    unfinished.mkdir(parents=True)
    (unfinished / ".half.0123").write_bytes(b"x")
    made = make_backup(place, loaded, store, keep=1)
    assert len(made.deleted) == 1
    assert not unfinished.parent.exists()
    assert place.list_folders() == [made.backup.name, "raw"]
    assert name_blob(own.sha256) not in place.list_files("raw")
    assert young.exists()
    assert not half.exists()
    assert list(verify_backup(place, made.backup)) == []
    with _elsewhere(make_database) as url:
        assert _restore(place, made.backup, url).raw_files == 2


@pytest.fixture
def made(loaded: str, store: RawStore, place: Place) -> Made:
    """A backup."""
    return make_backup(place, loaded, store)


def _write_no_rows(place: Place, name: str) -> None:
    """Put what is well compressed, and what the table does not take."""
    assert place.folder is not None
    with pa.CompressedOutputStream(str(place.folder / name), "zstd") as stream:
        stream.write(b"no\trow\n")


@pytest.mark.parametrize("damage", [_damage, _write_no_rows])
def test_a_damaged_table_is_found_and_nothing_of_it_is_restored(
    made: Made, place: Place, make_database: MakeDatabase, damage: Callable[[Place, str], None]
) -> None:
    backup = made.backup
    (table,) = [one for one in backup.tables if one.name == "general_accounts"]
    damage(place, f"{backup.name}/{table.file}")
    (problem,) = verify_backup(place, backup)
    assert table.file in problem or "cannot be read" in problem
    with _elsewhere(make_database) as url:
        with pytest.raises(DamagedError):
            _restore(place, backup, url)
        with psycopg.connect(url) as connection:
            assert list_tables(connection) == []
        assert not (Path(os.environ["CALLKEEPER_HOME"]) / "raw").exists()


def test_damaged_raw_calls_are_named_all_else_is_restored_and_the_next_backup_mends_it(
    made: Made, loaded: str, store: RawStore, place: Place, make_database: MakeDatabase
) -> None:
    assert place.folder is not None
    (first, second, _) = read_raw_list(place, made.backup)
    _damage(place, name_blob(first.sha256))
    (place.folder / name_blob(second.sha256)).unlink()
    problems = list(verify_backup(place, made.backup))
    assert [first.name in problems[0], second.name in problems[1]] == [True, True]
    with _elsewhere(make_database) as url:
        restored = _restore(place, made.backup, url)
        assert restored.damaged == (first.name, second.name)
        assert len(_read_raw(_open_new_store())) == 1
        assert _read(url) == _read(loaded)
    (place.folder / name_blob(first.sha256)).unlink()
    assert make_backup(place, loaded, store).copied_files == 2
    assert list(verify_backup(place, made.backup)) == []


def test_a_document_that_was_changed_is_no_backup_and_the_one_before_is_the_newest(
    made: Made, loaded: str, store: RawStore, place: Place
) -> None:
    last = make_backup(place, loaded, store)
    assert place.folder is not None
    file = place.folder / last.backup.name / "backup.json"
    file.write_bytes(file.read_bytes().replace(b'"rows": 1', b'"rows": 2'))
    with pytest.raises(DamagedError, match=r"backup\.json was changed"):
        read_backup(place, last.backup.name)
    newest = find_newest(place)
    assert newest is not None
    assert newest.name == made.backup.name
    # What such a one needs is not known, so nothing is deleted.
    third = make_backup(place, loaded, store, keep=1)
    assert third.deleted == ()
    assert third.problem.startswith("Old backups were not deleted: The backup ")


def test_one_of_before_there_were_two_schemas_is_restored_and_brought_to_both(
    store: RawStore, place: Place, make_database: MakeDatabase
) -> None:
    with make_database(Template.EMPTY) as former:
        migrate_to(former, "0013")
        with psycopg.connect(former) as connection:
            connection.execute(_ACCOUNT, (17, "office"))
        backup = make_backup(place, former, store).backup
    assert (backup.schema, backup.schemas) == ("0013", ("public",))
    with _elsewhere(make_database) as url:
        _restore(place, backup, url)
        restored = _read(url)
        # As a person does it.
        with psycopg.connect(url) as connection:
            assert connection.execute(f"SELECT * FROM {VERSION_TABLE}").fetchall() == [(HEAD,)]
        with make_database(Template.EMPTY) as new:
            ensure_schema(new)
            assert _read(new).keys() == restored.keys()


def test_tables_that_somebody_has_copied_to_a_schema_of_theirs_come_back_as_well(
    store: RawStore, place: Place, make_database: MakeDatabase
) -> None:
    with make_database(Template.EMPTY) as copied:
        ensure_schema(copied)
        with psycopg.connect(copied) as connection:
            connection.execute("CREATE SCHEMA archive")
            connection.execute(f"CREATE TABLE archive.{VERSION_TABLE} AS SELECT 1 AS n")
        backup = make_backup(place, copied, store).backup
        before = _read(copied)
    with _elsewhere(make_database) as url:
        _restore(place, backup, url)
        assert _read(url) == before


def test_a_newer_version_s_is_refused_before_anything_is_changed(
    made: Made, place: Place, make_database: MakeDatabase
) -> None:
    newer = msgspec.structs.replace(made.backup, schema="9999")
    with _elsewhere(make_database) as url:
        with pytest.raises(SchemaError, match=f"this program knows up to {HEAD}"):
            _restore(place, newer, url)
        assert not Path(os.environ["CALLKEEPER_HOME"]).exists()
    place.write(
        f"{made.backup.name}/backup.json", encode_backup(msgspec.structs.replace(newer, format=2))
    )
    with pytest.raises(BackupError, match="was made by a newer version of this program"):
        read_backup(place, made.backup.name)


def test_what_is_there_is_never_overwritten(
    made: Made, loaded: str, store: RawStore, place: Place, make_database: MakeDatabase
) -> None:
    with pytest.raises(
        BackupError, match=r"There are raw calls already: 3 files at .* --leave raw"
    ):
        _restore(place, made.backup, loaded)
    with pytest.raises(DatabaseError, match="is not empty, it has callkeeper_internal"):
        _restore(place, made.backup, loaded, "raw")
    with _elsewhere(make_database) as url:
        file = Path(os.environ["CALLKEEPER_DEFS"]) / "office" / "defs.yaml"
        file.parent.mkdir(parents=True)
        file.write_text("another")
        with pytest.raises(BackupError, match=r"is another one than the backup's.* --leave files"):
            _restore(place, made.backup, url)
        assert file.read_text() == "another"
        # What was not lost stays: of this machine the database alone was.
        _restore(place, made.backup, url, "raw", "files")
        assert _read(url) == _read(loaded)
    assert len(_read_raw(store)) == 3


def test_an_older_backup_says_who_was_forgotten_since(
    made: Made, loaded: str, store: RawStore, place: Place, make_database: MakeDatabase
) -> None:
    with psycopg.connect(loaded) as connection:
        connection.execute(
            "INSERT INTO callkeeper_erasures (account_id, request_id, requested_at, found) "
            "SELECT account_id, 'forget-17', now(), '{}' FROM general_accounts"
        )
    make_backup(place, loaded, store)
    with _elsewhere(make_database) as url:
        assert _restore(place, made.backup, url).erasures == ("forget-17",)


def test_a_place_that_will_not_do_is_refused_in_plain_words(
    loaded: str, store: RawStore, home: Path, tmp_path: Path
) -> None:
    with pytest.raises(BackupError, match="would lie in the home that they are of"):
        make_backup(Place(str(home / "home" / "backups")), loaded, store)
    file = tmp_path / "file"
    file.write_text("x")
    with pytest.raises(BackupError, match=r"cannot be (listed|written)"):
        make_backup(Place(str(file)), loaded, store)
    with pytest.raises(BackupError, match=r"Backups cannot lie at nosuch://…@host/b "):
        Place("nosuch://user:word@host/b")
    with pytest.raises(BackupError, match="There is no backup at"):
        read_backup(Place(str(tmp_path / "nothing")), None)


def test_an_object_store_that_is_away_is_said_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What S3's client raises then is none of the operating system's errors."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"):
        monkeypatch.setenv(name, "none")
    with pytest.raises(BackupError, match="The backups at s3://calls/backups cannot be listed"):
        Place("s3://calls/backups").list_folders()


_FILL: Final = """
import resource, signal, sys
from callkeeper_assets.backup.making import make_backup
from callkeeper_assets.backup.place import BackupError, Place
from callkeeper_assets.raw.store import RawStore
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
try:
    make_backup(Place(sys.argv[1]), sys.argv[2], RawStore(sys.argv[3]))
except BackupError as error:
    print(error)
"""


def test_a_full_disk_ends_it_leaves_nothing_of_it_and_the_former_one_good(
    made: Made, loaded: str, store: RawStore, place: Place
) -> None:
    """In a process of its own: the limit of a file's size is the process's."""
    assert place.folder is not None
    before = sorted(place.folder.rglob("*"))
    done = subprocess.run(
        [sys.executable, "-c", _FILL, str(place.folder), loaded, store.url],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "cannot be written: File too large. Check the place's permissions, free" in done.stdout
    assert sorted(place.folder.rglob("*")) == before
    assert list(verify_backup(place, made.backup)) == []
