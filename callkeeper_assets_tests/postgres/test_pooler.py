"""A pooler that shares sessions is refused, by `check` and by the first use, in words."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from callkeeper_assets.cli.checks import check_database
from callkeeper_assets.dagster_ext.storage import CallKeeperStorage
from callkeeper_assets.postgres import DatabaseError, connect
from callkeeper_assets_tests.postgres.pooler import Order, run_pgbouncer, run_pooler
from callkeeper_assets_tests.templates import from_nothing
from callkeeper_assets_tests.warehouse.raw_days import DAY, call, day_of, load_all

REMEDY = "Put the address and port of PostgreSQL itself (as a rule 5432) into"


@pytest.fixture(params=["last_used_first", "by_turns"])
def pooled(
    request: pytest.FixtureRequest, database: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """The database behind a pooler in transaction mode, in force."""
    order: Order = request.param
    with run_pooler(database, order) as url:
        monkeypatch.setenv("CALLKEEPER_DATABASE_URL", url)
        yield url


def test_check_tells_of_a_pooler_in_transaction_mode(pooled: str) -> None:
    assert pooled
    (finding,) = check_database()
    assert finding.state == "bad"
    assert "gives each transaction another session" in finding.text
    assert REMEDY in finding.text


@from_nothing
def test_the_first_use_refuses_it_before_anything_is_made(pooled: str, database: str) -> None:
    with pytest.raises(DatabaseError, match="another session"):
        load_all(pooled, [day_of(DAY, [call(1)])])
    with pytest.raises(DatabaseError, match="another session"):
        CallKeeperStorage.from_config_value(None, {})
    with connect(database) as connection:
        made = connection.execute(
            "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace"
        ).fetchone()
        locks = connection.execute(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database = "
            "(SELECT oid FROM pg_database WHERE datname = current_database())"
        ).fetchone()
    assert (made, locks) == ((0,), (0,))


@pytest.mark.skipif(
    shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin") is None,
    reason="PgBouncer is not on this machine, and no package index has it",
)
@pytest.mark.parametrize(
    ("mode", "ignored", "said"),
    [
        ("transaction", "extra_float_digits,options", "another session"),
        ("transaction", "extra_float_digits", "unsupported startup parameter"),
        ("statement", "extra_float_digits,options", "statement pooling"),
        ("session", "extra_float_digits,options", "drops the parameter `options`"),
        ("session", "extra_float_digits", "unsupported startup parameter"),
    ],
)
def test_pgbouncer_itself_is_refused_in_each_of_its_modes(
    database: str, home: Path, mode: str, ignored: str, said: str
) -> None:
    home.mkdir()
    with (
        run_pgbouncer(database, home, pool_mode=mode, ignore_startup_parameters=ignored) as url,
        pytest.raises(DatabaseError) as caught,
    ):
        connect(url)
    assert said in str(caught.value)
    assert REMEDY in str(caught.value)
