"""Our connection (psycopg 3): lost connections as errors of ours, a look at locks before commits.

The first connection of a process finds out whether a pooler stands before the server that shares a
session between clients, or drops `options`; either is refused.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Final

import psycopg
from psycopg.pq import TransactionStatus

from callkeeper_assets.language import look_up, tr
from callkeeper_assets.postgres.errors import DatabaseError, DatabaseLostError
from callkeeper_assets.postgres.keeping import keep
from callkeeper_assets.postgres.locks import check_locks

_Row = tuple[object, ...]

# Which connection asks: the same one twice running, and both alternately. A pooler that
# hands out the connection that was used last shows in one, one that goes round them in the other.
_TURNS: Final = (0, 1, 0, 0, 1, 1, 0, 1)
_CLIENTS: Final = 2
_PROBE: Final = "callkeeper_probe"


def explain_loss(place: str, error: psycopg.Error) -> DatabaseLostError:
    """Say that a database which had been reached went away, or ended the work.

    Args:
        place: The database, as `describe` names it.
        error: The driver's.
    """
    said = (error.diag.message_primary or str(error)).partition("\n")[0].rstrip(". ")
    return DatabaseLostError(
        tr(
            "The database {place} went away, or ended the work: {said}. What was stored before "
            "stays, nothing is half stored; try again when it runs.",
            place=place,
            said=said,
        )
    )


def _explain_privilege(place: str, error: psycopg.Error) -> DatabaseError:
    """Say that the database's user may not do what the product does, which no retry changes."""
    return DatabaseError(
        tr(
            "The database {place} does not let its user work: {said}. Nothing of this is stored. "
            "All of the product's tables are to be the user's own: ALTER TABLE … OWNER TO its "
            "name; or let the user who made them do it.",
            place=place,
            said=error.diag.message_primary,
        )
    )


class Connection(psycopg.Connection[_Row]):
    """A connection which commits only while this process has the locks that it holds.

    Left as a context, it raises an operational error of the driver's as `DatabaseLostError`, and a
    missing right as `DatabaseError`.

    Attributes:
        place: The database, as `describe` names it.
        kept_for: The URL for which it may be used again; empty if it may not.
    """

    place = ""
    kept_for = ""

    def close(self) -> None:
        """Close, or have it kept for who connects next: `keeping.kept_connection`."""
        is_at_rest = not self.closed and self.info.transaction_status == TransactionStatus.IDLE
        if not (self.kept_for and is_at_rest and keep(self)):
            super().close()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        """Commit, or undo, and close."""
        try:
            super().__exit__(exc_type, exc_val, exc_tb)
        except psycopg.OperationalError as error:
            raise explain_loss(self.place, error) from None
        finally:
            self.close()
        if isinstance(exc_val, psycopg.OperationalError):
            raise explain_loss(self.place, exc_val) from None
        if isinstance(exc_val, psycopg.errors.InsufficientPrivilege):
            raise _explain_privilege(self.place, exc_val) from None

    def commit(self) -> None:
        """Commit, if no lock has gone."""
        if self.info.transaction_status == TransactionStatus.INTRANS:
            check_locks()
        super().commit()

    @contextmanager
    def transaction(
        self, savepoint_name: str | None = None, force_rollback: bool = False
    ) -> Iterator[psycopg.Transaction]:
        """Make the statements inside one transaction, which is undone if a lock has gone."""
        with super().transaction(savepoint_name, force_rollback) as transaction:
            yield transaction
            check_locks()


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

    from callkeeper_assets.postgres.url import NAME_THE_SERVER, describe, explain_failure  # noqa: PLC0415 -- it looks here

    try:
        if _ask(connection) == connection.info.backend_pid:
            return
        problem = _find_problem(url)
    except psycopg.Error as error:
        raise explain_failure(url, error) from None
    if problem:
        raise DatabaseError(
            tr(
                "At {database} a connection pooler answers, PgBouncer or another, that {problem}. "
                "{remedy}",
                database=describe(url),
                problem=problem,
                remedy=look_up(NAME_THE_SERVER),
            )
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

    from callkeeper_assets.postgres.url import build_conninfo  # noqa: PLC0415 -- it looks here

    conninfo = make_conninfo(build_conninfo(url), options=f"-c search_path={_PROBE}")
    with psycopg.connect(conninfo) as one, psycopg.connect(conninfo) as other:
        for connection in (one, other):
            # A pooler that keeps a session to a client once it has set something is fine.
            connection.execute("SET application_name = 'callkeeper'")
            connection.commit()
        asked = {(turn, _ask((one, other)[turn])) for turn in _TURNS}
        path = one.execute("SHOW search_path").fetchone()
    if len(asked) > _CLIENTS or len({process for _, process in asked}) < _CLIENTS:
        return tr("gives each transaction another session (pool_mode = transaction or statement)")
    return (
        "" if path == (_PROBE,) else tr("drops the parameter `options`, with the search path in it")
    )
