"""The instance that is used before runs are forked: nothing of that use stays."""

import threading

import dagster as dg
import pytest
from dagster._serdes import serialize_value  # noqa: TID251 -- as the launcher names an instance

from callkeeper_assets.dagster_ext.warming import WarmInstance
from callkeeper_assets.home import set_dagster_home
from callkeeper_assets.postgres.url import connect

_KEPT = """
    SELECT (SELECT count(*) FROM dagster.runs), (SELECT count(*) FROM dagster.event_logs),
        (SELECT count(*) FROM dagster.asset_keys), (SELECT count(*) FROM dagster.concurrency_slots)
"""


def test_an_instance_is_warm_and_its_storage_as_before(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    set_dagster_home()
    with dg.DagsterInstance.get() as instance:
        reference = serialize_value(instance.get_ref())
    with connect(database, autocommit=True) as connection:
        before = connection.execute(_KEPT).fetchone()
        threads = threading.active_count()
        warm = WarmInstance()
        assert connection.execute(_KEPT).fetchone() == before
        assert threading.active_count() == threads
        others = connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND state = 'idle in transaction'"
        ).fetchone()
        assert others == (0,)
    taken = warm.take(reference)
    assert taken is not None
    assert taken.get_runs() == []
    assert warm.take(reference.replace("{", "{ ", 1)) is None

    # Of another place of the database it is not taken.
    monkeypatch.setenv("CALLKEEPER_DATABASE_URL", f"{database}_elsewhere")
    assert warm.take(reference) is None
