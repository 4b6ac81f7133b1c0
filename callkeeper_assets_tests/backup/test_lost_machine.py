"""The machine is lost, with home, database and project, and everything comes back.

Commands as processes, as a person types them. Compared table by table, file by file; afterwards
the product goes on where it was.
"""

import os
import shutil
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest

from callkeeper_assets.webhooks.spool import Spool
from callkeeper_assets_tests.backup.conftest import FIRST, NEXT, World
from callkeeper_assets_tests.contents import KEYS, KEYS_OF_STAR, list_tables
from callkeeper_assets_tests.other_servers import serve
from callkeeper_assets_tests.templates import MakeDatabase, Template
from callkeeper_assets_tests.warm import WarmPopen

# A command that is killed as it is about to do a thing for the n-th time.
_KILLED: Final = """
import os, signal, sys
from callkeeper_assets.backup import restoring
from callkeeper_assets.backup.place import Place
from callkeeper_assets.raw.store import RawStore
from callkeeper_assets.cli.main import main

what, number = sys.argv[1], int(sys.argv[2])
sys.argv[1:3] = []

def die(call):
    def count(*arguments, **options):
        global number
        number -= 1
        if number == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return call(*arguments, **options)
    return count

if what == "writing":
    Place.writing = die(Place.writing)
elif what == "storing":
    RawStore.write_file = die(RawStore.write_file)
elif what == "migrating":
    restoring._migrate = die(restoring._migrate)
main()
"""


@pytest.fixture(scope="module")
def lost(world: World) -> World:
    """The world, backed up."""
    made = world.installation.run("backup", str(world.backups), "--json")
    assert made.code == 0, made.stderr
    assert (made.document["ok"], made.document["raw_files_copied"]) == (True, 3)
    return world


def _kill(world: World, what: str, number: int, *arguments: str) -> None:
    with WarmPopen(
        [sys.executable, "-c", _KILLED, what, str(number), *arguments],
        env=dict(world.installation.environment),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        _, said = process.communicate()
    assert process.returncode == -signal.SIGKILL, said


def _restore(world: World, *arguments: str) -> dict[str, Any]:
    restored = world.installation.run("restore", str(world.backups), "--json", *arguments)
    assert restored.code == 0, restored.stderr
    assert restored.document["raw_files_damaged"] == []
    return restored.document


def test_every_call_webhook_report_erasure_and_audit_is_back_and_the_product_goes_on(
    lost: World,
) -> None:
    before = lost.read()
    for table in (
        "public.callkeeper_calls",
        "callkeeper_internal.callkeeper_webhooks",
        "public.talks",
        "callkeeper_internal.callkeeper_erasures",
        "callkeeper_internal.callkeeper_forgotten_calls",
        "callkeeper_internal.callkeeper_webhook_days",
        "dagster.runs",
        "dagster.event_logs",
    ):
        assert before[table][0] > 0, table
    assert len(before["spool"]) == 1
    new = lost.elsewhere()
    key = new.installation.home / "erasures.key"
    assert _restore(new)["files_to_put_back"] == [str(key)]
    key.write_bytes((lost.installation.home / key.name).read_bytes())
    after = new.read()
    assert after == before
    installation = new.installation
    assert not (installation.home / "restoring.json").exists()
    assert ".env" not in after["project"]
    # What waits is taken up, who was forgotten is known, a new day gets new ids.
    spool = Spool(installation.home / "spool")
    assert spool.take_over() == 1
    spool.close()
    assert installation.run("inbox", "--process").code == 0
    loaded = installation.load(FIRST, NEXT)
    assert loaded.code == 0, loaded.stderr
    # The day is new; the forgotten client's call is not.
    assert loaded.changes()["callkeeper_calls"] == (12, 0, 0)
    (erasure,) = installation.run("erasures", lost.phone, "--json").document["erasures"]
    assert erasure["reference"] == "a letter"
    made = installation.run("backup", str(new.backups.with_name("of_embedded")), "--json")
    assert made.code == 0, made.stderr
    refused = installation.run("restore", str(lost.backups))
    assert refused.code == 1
    assert "Nothing was changed." in refused.stderr


@pytest.fixture(scope="module")
def older_server() -> Iterator[str]:
    """A PostgreSQL of one's own, 15."""
    folder = Path(os.environ["CALLKEEPER_TESTS_FOLDER"]) / f"server-{uuid.uuid4().hex}"
    with serve(15, folder) as url:
        yield url


def test_it_comes_back_in_an_older_server_of_one_s_own_and_from_there_in_a_new_one(
    lost: World, older_server: str, make_database: MakeDatabase
) -> None:
    """The user owns the database and nothing else; others have a schema in it, left alone."""
    name = f"d{uuid.uuid4().hex}"
    with psycopg.connect(older_server, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'secret'".encode())
        connection.execute(
            f"CREATE DATABASE {name} OWNER {name} ENCODING 'UTF8' LOCALE 'C' "
            f"TEMPLATE template0".encode()
        )
    address = older_server.rpartition("@")[2].rpartition("/")[0]
    with psycopg.connect(f"{older_server.rpartition('/')[0]}/{name}", autocommit=True) as other:
        other.execute("CREATE SCHEMA elsewhere; CREATE TABLE elsewhere.secret (id int)")
    there = lost.elsewhere(f"postgresql://{name}:secret@{address}/{name}")
    _restore(there)
    before = lost.read()
    assert there.read() == before
    backups = str(there.backups.with_name(name))
    made = there.installation.run("backup", backups, "--json")
    assert made.code == 0, made.stderr
    assert "secret" not in made.stdout + made.stderr
    assert there.installation.run("verify-backup", backups).code == 0
    assert there.installation.query(KEYS) == []
    with make_database(Template.EMPTY) as url:
        back = replace(there, backups=Path(backups)).elsewhere(url)
        _restore(back)
        assert back.read() == before
        assert back.installation.query(KEYS) == KEYS_OF_STAR


@pytest.mark.parametrize("number", [pytest.param(20, marks=pytest.mark.chaos), 57])
def test_a_backup_that_was_killed_is_none_and_leaves_the_former_ones(
    lost: World, tmp_path: Path, number: int
) -> None:
    backups = tmp_path / "backups"
    shutil.copytree(lost.backups, backups)
    listed = lost.installation.run("backup", str(backups), "--list", "--json").document
    _kill(lost, "writing", number, "backup", str(backups))
    assert lost.installation.run("backup", str(backups), "--list", "--json").document == listed
    assert lost.installation.run("verify-backup", str(backups)).code == 0
    made = lost.installation.run("backup", str(backups), "--json")
    assert made.code == 0, made.stderr
    assert made.document["raw_files_copied"] == 0


@pytest.mark.parametrize(("what", "number"), [("storing", 2), ("migrating", 1)])
def test_a_restore_that_was_killed_is_typed_again_and_goes_on(
    lost: World, make_database: MakeDatabase, what: str, number: int
) -> None:
    with make_database(Template.EMPTY) as url:
        _kill_and_go_on(lost, lost.elsewhere(url), what, number)


def _kill_and_go_on(lost: World, new: World, what: str, number: int) -> None:
    _kill(new, what, number, "restore", str(lost.backups))
    with new.installation.connect() as connection:
        is_empty = list_tables(connection) == []
    assert is_empty == (what != "migrating"), "all of the database or nothing of it"
    _restore(new)
    assert new.read() == lost.read()
