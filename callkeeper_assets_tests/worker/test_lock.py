"""The lock of a run that is alive: it goes with its process, however that ends."""

import subprocess
import sys

from callkeeper_assets.postgres.locks import held_run_lock, is_run_alive
from callkeeper_assets.postgres.url import connect

HOLDER = """
import sys, time
from callkeeper_assets.postgres.locks import held_run_lock
with held_run_lock(sys.argv[1], "a run"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_run_is_alive_while_any_step_of_it_is(database: str) -> None:
    assert not is_run_alive(database, "a run")
    with held_run_lock(database, "a run"):
        with held_run_lock(database, "a run"):
            assert is_run_alive(database, "a run")
        assert is_run_alive(database, "a run")
        assert not is_run_alive(database, "another run")
    assert not is_run_alive(database, "a run")


def test_a_killed_process_leaves_its_run_dead(database: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, database], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        assert is_run_alive(database, "a run")
        holder.kill()
        holder.wait()
        # The server notices the closed connection, in its own time.
        for _ in range(200):
            if not is_run_alive(database, "a run"):
                break
    assert not is_run_alive(database, "a run")


def test_a_lock_whose_connection_was_ended_is_taken_anew_by_the_next_step(database: str) -> None:
    """A server that was restarted has forgotten it, and the run goes on."""
    with held_run_lock(database, "a run"):
        with connect(database, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'"
                " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
            )
        assert not is_run_alive(database, "a run")
        with held_run_lock(database, "a run"):
            assert is_run_alive(database, "a run")
        assert is_run_alive(database, "a run")
    assert not is_run_alive(database, "a run")
