"""Our connection (psycopg 3): an error of ours if the database goes away, a look before commits.

In a file of its own since it needs the driver, 0.1 s that a command without a database need not
pay: `url.connect` imports it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

import psycopg
from psycopg.pq import TransactionStatus

from callkeeper_assets.database.errors import DatabaseLostError
from callkeeper_assets.database.locks import check_locks

_Row = tuple[object, ...]


def explain_loss(place: str, error: psycopg.Error) -> DatabaseLostError:
    """Say that a database which had been reached went away, or ended the work.

    Args:
        place: The database, as `describe` names it.
        error: The driver's.
    """
    said = (error.diag.message_primary or str(error)).partition("\n")[0].rstrip(". ")
    return DatabaseLostError(
        f"The database {place} went away, or ended the work: {said}. What was stored before "
        "stays, nothing is half stored; try again when it runs."
    )


class Connection(psycopg.Connection[_Row]):
    """A connection which commits only while this process has the locks that it holds.

    Left as a context, it raises an operational error of the driver's as `DatabaseLostError`.

    Attributes:
        place: The database, as `describe` names it.
    """

    place = ""

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
