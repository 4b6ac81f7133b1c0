"""Finds out whether a pooler stands before the server that shares a session between clients.

PgBouncer in transaction mode, for one: a lock of a session is left behind in whichever connection
happened to serve it, another client gets it, and the parameter that makes Dagster's tables lie in
a schema of their own may be dropped without a word. What works there, works by chance.
"""

from typing import TYPE_CHECKING, Final

from callkeeper_assets.database.errors import DatabaseError

if TYPE_CHECKING:
    import psycopg

# Whose turn it is to ask: the same connection twice running, and both by turns. A pooler that
# hands out the connection that was used last shows in one, one that goes round them in the other.
_TURNS: Final = (0, 1, 0, 0, 1, 1, 0, 1)
_CLIENTS: Final = 2
_PROBE: Final = "callkeeper_probe"


def check_pooler(connection: "psycopg.Connection[tuple[object, ...]]", url: str) -> None:
    """See that sessions are the client's own; a round trip where no pooler is.

    A server names its process when a client connects. A pooler names one of its own making, since
    it has not chosen a connection yet.

    Args:
        connection: New; left without an open transaction.
        url: What it leads to.

    Raises:
        DatabaseError: They are not.
    """
    import psycopg  # noqa: PLC0415 -- 0.1 s, which a command without a database need not pay

    from callkeeper_assets.database.url import (  # noqa: PLC0415 -- it looks here
        NAME_THE_SERVER,
        describe,
        explain_failure,
    )

    try:
        if _ask(connection) == connection.info.backend_pid:
            return
        problem = _find_problem(url)
    except psycopg.Error as error:
        raise explain_failure(url, error) from None
    if problem:
        raise DatabaseError(
            f"At {describe(url)} a connection pooler answers, PgBouncer or another, that "
            f"{problem}. {NAME_THE_SERVER}"
        )


def _ask(connection: "psycopg.Connection[tuple[object, ...]]") -> int:
    """Return the server's process that serves a connection's transaction."""
    row = connection.execute("SELECT pg_backend_pid()").fetchone()
    connection.rollback()
    assert row is not None  # noqa: S101 -- it is one row
    return int(str(row[0]))


def _find_problem(url: str) -> str:
    """Say what the pooler does that may not be; empty if nothing."""
    import psycopg  # noqa: PLC0415 -- 0.1 s, which a command without a database need not pay
    from psycopg.conninfo import make_conninfo  # noqa: PLC0415

    from callkeeper_assets.database.url import build_conninfo  # noqa: PLC0415 -- it looks here

    conninfo = make_conninfo(build_conninfo(url), options=f"-c search_path={_PROBE}")
    with psycopg.connect(conninfo) as one, psycopg.connect(conninfo) as other:
        for connection in (one, other):
            # A pooler that keeps a session to a client once it has set something is fine.
            connection.execute("SET application_name = 'callkeeper'")
            connection.commit()
        asked = {(turn, _ask((one, other)[turn])) for turn in _TURNS}
        path = one.execute("SHOW search_path").fetchone()
    if len(asked) > _CLIENTS or len({process for _, process in asked}) < _CLIENTS:
        return "gives each transaction another session (pool_mode = transaction or statement)"
    return "" if path == (_PROBE,) else "drops the parameter `options`, with the search path in it"
