"""`callkeeper upgrade`: says what it would do, does it whole, and goes on where it was killed."""

import hashlib
import os
import time
import uuid
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest
import sqlalchemy
from alembic import command
from alembic.config import Config

from callkeeper_assets.cli import project_files as module
from callkeeper_assets.cli.project_files import FOLLOWED, TEXTS, hash_text, render_file
from callkeeper_assets.cli.serving import find_free_port, held_alone
from callkeeper_assets.dagster_ext.storage import CallKeeperStorage, storage_url
from callkeeper_assets.postgres.locks import held_run_lock
from callkeeper_assets.postgres.url import connect
from callkeeper_assets.warehouse.migrate import HEAD, VERSION_TABLE
from callkeeper_assets_tests.cli.conftest import Done, callkeeper, started
from callkeeper_assets_tests.templates import MakeDatabase, Template
from callkeeper_assets_tests.upgrade.conftest import Installation

# Before the table, indexes and columns that later releases of Dagster added.
_OLD_DAGSTER: Final = "1aca709bba64"
_COLUMNS: Final = """
    SELECT table_schema, table_name, column_name, data_type, is_nullable
    FROM information_schema.columns
    WHERE table_schema IN ('public', 'callkeeper_internal', 'dagster') ORDER BY 1, 2, 3
"""
_INDEXES: Final = """
    SELECT c.relname, pg_get_indexdef(i.indexrelid), i.indisvalid
    FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid
    JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE n.nspname IN ('public', 'callkeeper_internal', 'dagster') ORDER BY 1
"""
_REVISIONS: Final = f"""
    SELECT version_num FROM {VERSION_TABLE}
    UNION ALL SELECT version_num FROM dagster.alembic_version
    UNION ALL (
        SELECT name FROM dagster.secondary_indexes WHERE migration_completed IS NOT NULL ORDER BY 1
    )
"""


def age_dagster(url: str) -> None:
    """Let Dagster make its tables, and take back what its newest migrations did."""
    config = Config()
    config.set_main_option("script_location", "dagster:_core/storage/alembic")
    engine = sqlalchemy.create_engine(storage_url(url), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, _OLD_DAGSTER)
        connection.exec_driver_sql(
            "DELETE FROM secondary_indexes WHERE name IN ('run_backfill_id', "
            "'backfill_job_name_and_tags')"
        )
    engine.dispose()


@pytest.fixture
def aged(old: Installation, monkeypatch: pytest.MonkeyPatch) -> Installation:
    """The stored installation, with Dagster's tables as an older Dagster left them."""
    monkeypatch.setenv("DAGSTER_EVENT_BATCH_SIZE", "1000")
    CallKeeperStorage.from_config_value(None, {})
    age_dagster(old.url)
    return old


Schema = tuple[list[Any], list[Any], list[Any]]


def look(url: str) -> Schema:
    """Return everything of a schema that a migration changes, and the revisions."""
    with psycopg.connect(url) as connection:
        columns = connection.execute(_COLUMNS).fetchall()
        indexes = connection.execute(_INDEXES).fetchall()
        return columns, indexes, connection.execute(_REVISIONS).fetchall()


def assert_as_new(url: str, new: Schema) -> None:
    columns, indexes, revisions = look(url)
    # Of a report of the stored installation.
    assert [row for row in columns if row[1] != "talks"] == new[0]
    # Dagster makes one in new tables that a migration of its own takes away.
    missing = set(new[1]) - set(indexes)
    assert {name for name, *_ in missing} <= {"idx_run_tags"}
    assert revisions == new[2]


def files_of(folder: Path) -> dict[str, str]:
    """Return each file's hash, and each folder."""
    return {
        str(one.relative_to(folder)): hashlib.sha256(one.read_bytes()).hexdigest()
        if one.is_file()
        else ""
        for one in folder.rglob("*")
    }


def pending(done: Done) -> list[tuple[str, str]]:
    return [
        (change["part"], change["what"])
        for change in done.document()["changes"]
        if change["state"] == "pending"
    ]


def test_a_dry_run_says_all_and_changes_nothing(aged: Installation, home: Path) -> None:
    schema, files = look(aged.url), files_of(home)
    asked = callkeeper("upgrade", "--dry-run")
    assert asked.code == 0, asked.err
    for words in (
        "tables    0007",
        "By which reading a day was filled",
        "0008",
        "0009",
        "0010",
        "0011",
        "0012",
        "0013",
        "0014",
        "6 days filled by an older version: the next refresh",
        "dagster   16e3655b4d9b",
        "run_backfill_id",
        "PostgreSQL",
        "2 sources, accepted by this version",
    ):
        assert words in asked.out
    assert "Nothing was changed. `callkeeper upgrade` does what → marks." in asked.err
    parts = [part for part, _ in pending(callkeeper("upgrade", "--dry-run", "--json"))]
    assert parts.count("tables") == 9
    assert parts.count("dagster") == 7
    assert (look(aged.url), files_of(home)) == (schema, files)


def test_an_upgraded_installation_is_as_a_new_one(
    aged: Installation, make_database: MakeDatabase
) -> None:
    done = callkeeper("upgrade")
    assert done.code == 0, done.out + done.err
    assert done.err.endswith("Done.\n")
    with make_database(Template.INSTALLATION) as new:
        assert_as_new(aged.url, look(new))
    again = callkeeper("upgrade", "--json")
    assert (again.code, pending(again), again.err) == (0, [], "There is nothing to do.\n")
    assert callkeeper("rebuild").code == 0
    assert "filled by an older version" not in callkeeper("upgrade", "--dry-run").out


def test_killed_after_each_step_the_next_one_goes_on(
    aged: Installation, make_database: MakeDatabase
) -> None:
    with make_database(Template.INSTALLATION) as new:
        whole = look(new)
    at = look(aged.url)[2]
    with connect(aged.url, autocommit=True) as watch:
        for _ in range(2):
            with started("upgrade") as process:
                while (now := watch.execute(_REVISIONS).fetchall()) == at:
                    assert process.poll() is None, process.communicate()
                    time.sleep(0.005)
                process.kill()
            at = now
    assert at != whole[2]
    assert callkeeper("upgrade").code == 0
    assert_as_new(aged.url, whole)


def test_an_index_that_was_being_built_when_it_was_killed_is_built_anew(
    aged: Installation, make_database: MakeDatabase
) -> None:
    """Dagster's migrations take it for one that is there, and readers find nothing by it."""
    assert callkeeper("upgrade").code == 0
    with psycopg.connect(aged.url, autocommit=True) as connection:
        connection.execute("UPDATE dagster.alembic_version SET version_num = '16e3655b4d9b'")
        connection.execute("DROP INDEX dagster.idx_run_tags_run_id")
        connection.execute(
            "INSERT INTO dagster.runs (run_id, pipeline_name, status, run_body) "
            "VALUES ('1', 'moved_refresh', 'SUCCESS', '')"
        )
        connection.execute(
            "INSERT INTO dagster.run_tags (run_id, key, value) VALUES ('1', 'a', 'b'), "
            "('1', 'a', 'b')"
        )
        with pytest.raises(psycopg.errors.UniqueViolation):
            connection.execute(
                "CREATE UNIQUE INDEX CONCURRENTLY idx_run_tags_run_id "
                "ON dagster.run_tags (key, value, run_id)"
            )
        connection.execute("DELETE FROM dagster.runs")
    assert callkeeper("upgrade").code == 0
    with make_database(Template.INSTALLATION) as new:
        assert_as_new(aged.url, look(new))


def test_who_is_in_the_way_is_named_and_nothing_is_changed(aged: Installation) -> None:
    before = look(aged.url)
    run, dead = uuid.uuid4().hex, uuid.uuid4().hex
    with psycopg.connect(aged.url) as connection:
        for run_id, job in ((run, "moved_refresh"), (dead, "office_refresh")):
            connection.execute(
                "INSERT INTO dagster.runs (run_id, pipeline_name, status, run_body) "
                "VALUES (%s, %s, 'STARTED', '')",
                (run_id, job),
            )
    with held_run_lock(aged.url, run):
        asked = callkeeper("upgrade", "--dry-run")
        assert asked.code == 0
        assert f"run {run} of moved_refresh: wait for its end" in asked.err
        refused = callkeeper("upgrade")
    assert refused.code == 1
    assert f"run {run} of moved_refresh" in refused.err
    assert dead not in refused.err
    assert look(aged.url) == before
    assert callkeeper("upgrade").code == 0


def test_a_running_dev_or_receiver_is_asked_to_be_stopped(aged: Installation, home: Path) -> None:
    before = look(aged.url)
    with held_alone(home / "dev.lock", "callkeeper dev"):
        of_dev = callkeeper("upgrade", "--json")
    with psycopg.connect(aged.url, application_name="callkeeper webhooks"):
        of_receiver = callkeeper("upgrade")
    assert (of_dev.code, of_receiver.code) == (1, 1)
    assert of_dev.document()["in_the_way"] == [f"callkeeper dev, process {os.getpid()}: stop it"]
    assert of_dev.document()["ok"] is False
    assert "callkeeper webhooks, connected from 127.0.0.1: stop it" in of_receiver.err
    assert look(aged.url) == before


def test_a_reader_who_has_dagsters_table_open_is_named(aged: Installation) -> None:
    with psycopg.connect(aged.url, application_name="Metabase") as reader:
        reader.execute("SELECT count(*) FROM dagster.concurrency_limits")
        refused = callkeeper("upgrade")
        assert refused.code == 1
        assert "(Metabase)" in refused.err
        assert "Type the command again" in refused.err
    assert callkeeper("upgrade").code == 0


@pytest.mark.parametrize("options", [(), ("--dry-run",)], ids=["upgrade", "dry run"])
def test_a_newer_database_is_refused_in_words(aged: Installation, options: tuple[str, ...]) -> None:
    with psycopg.connect(aged.url, autocommit=True) as connection:
        connection.execute("UPDATE dagster.alembic_version SET version_num = 'feedbeef'")
        before = look(aged.url)
        of_dagster = callkeeper("upgrade", *options)
        connection.execute(f"UPDATE {VERSION_TABLE} SET version_num = '9999'")
        of_tables = callkeeper("upgrade", *options)
        of_dev = callkeeper("dev", "--port", str(find_free_port()))
        connection.execute(f"UPDATE {VERSION_TABLE} SET version_num = '0006'")
    assert (of_dagster.code, of_tables.code, of_dev.code) == (1, 1, 1)
    assert "are of a newer Dagster: schema feedbeef" in of_dagster.err
    for refused in (of_tables, of_dev):
        assert f"newer version of this program: schema 9999, this program knows up to {HEAD}" in (
            refused.err
        )
    assert look(aged.url) == before


@pytest.mark.usefixtures("environment")
def test_a_dead_database_is_an_error_that_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALLKEEPER_DATABASE_URL", "postgresql://a:secret@127.0.0.1:9/db")
    done = callkeeper("upgrade", "--dry-run")
    assert done.code == 1
    assert "No connection to the database" in done.err
    assert "Check that the server runs" in done.err
    assert "secret" not in done.err


@pytest.fixture
def project(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of `init`, without a database."""
    monkeypatch.setenv("CALLKEEPER_PROJECT", str(home / "calls"))
    monkeypatch.delenv("CALLKEEPER_HOME")
    assert callkeeper("init", str(home / "calls")).code == 0
    return home / "calls"


def test_files_that_nobody_has_edited_are_replaced(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    former = (
        (project / "dagster.yaml")
        .read_text()
        .replace("poll_interval_seconds: 60", "poll_interval_seconds: 30")
    )
    (project / "dagster.yaml").write_text(former)
    (project / "dagster.yaml").chmod(0o640)
    (project / "defs.schema.json").write_text("{}")
    (project / ".gitignore").write_text("mine\n")
    (project / "README.md").unlink()
    # Its hash is listed, as that of each text that came along with a release.
    texts = project.parent / "texts"
    texts.write_text(f"{TEXTS.read_text()}{hash_text(former)}  dagster.yaml\n")
    monkeypatch.setattr(module, "TEXTS", texts)
    before = files_of(project)
    found = {change.file.name: change for change in module.list_changes()}
    assert found.keys() == {"dagster.yaml", "defs.schema.json"}
    assert files_of(project) == before
    for change in found.values():
        module.write_change(change)
    for name in found:
        assert (project / name).read_text() == render_file(name, project)
    assert (project / "dagster.yaml").stat().st_mode & 0o777 == 0o640
    assert (project / ".gitignore").read_text() == "mine\n"
    assert module.list_changes() == []


def test_an_edited_dagster_yaml_is_its_owners_and_the_difference_is_named(project: Path) -> None:
    file = project / "dagster.yaml"
    text = file.read_text()
    edited = (
        text.replace("poll_interval_seconds: 60", "poll_interval_seconds: 25")
        .replace("run_retries:\n  enabled: true\n", "run_retries:\n")
        .replace(
            "dagster_ext.storage\n    class: CallKeeperS",
            "database.dagster_storage\n    class: CallKeeperS",
        )
    )
    file.write_text(edited)
    (project / "defs.schema.json").write_text("{}")
    asked = callkeeper("upgrade", "--dry-run", "--json")
    assert pending(asked) == [("files", "dagster.yaml"), ("files", "defs.schema.json")]
    assert file.read_text() == edited
    done = callkeeper("upgrade")
    assert done.code == 0
    assert "run_monitoring.poll_interval_seconds is 25 (60)" in done.out
    assert "run_retries.enabled is missing (true)" in done.out
    # Names of modules are ours.
    assert file.read_text() == edited.replace("database.dagster_storage", "dagster_ext.storage")
    assert not (project / ".callkeeper").exists()
    assert pending(callkeeper("upgrade", "--json")) == []


def test_every_text_that_comes_along_is_listed_so_that_it_is_known_once_it_is_old() -> None:
    """Who changes a template adds its new hash, and leaves the others: `sha256sum` prints it."""
    listed = TEXTS.read_text().splitlines()
    for name in FOLLOWED:
        if name != "defs.schema.json":
            assert f"{hash_text(render_file(name, Path('any')))}  {name}" in listed
