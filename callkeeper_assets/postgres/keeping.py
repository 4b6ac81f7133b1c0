"""One connection for a piece of work that connects again and again.

Of a small run's work, connecting would be a good part, of the server's too.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Protocol


class _Keepable(Protocol):
    """A connection of ours; `kept_for` is the URL that it leads to."""

    kept_for: str
    autocommit: bool

    def execute(self, query: str, /) -> Any: ...  # noqa: ANN401 -- the driver's cursor

    def close(self) -> None: ...


class _Thread(threading.local):
    """What a thread keeps."""

    is_keeping = False
    free: _Keepable | None = None


_thread = _Thread()


@contextmanager
def kept_connection() -> Iterator[None]:
    """Have the connections that this thread opens one after another be one.

    Each time it is as if it were new: no setting, lock or temporary table of the time before. Who
    connects while it is in use, or says parameters, gets another.
    """
    if _thread.is_keeping:
        yield
        return
    _thread.is_keeping = True
    try:
        yield
    finally:
        _thread.is_keeping = False
        free, _thread.free = _thread.free, None
        if free is not None:
            free.close()


def is_keeping() -> bool:
    """Whether what this thread opens now may be used again."""
    return _thread.is_keeping


def keep(connection: _Keepable) -> bool:
    """Keep a connection that nobody uses any more; return False if it is to be closed."""
    if _thread.is_keeping and _thread.free is None:
        _thread.free = connection
    return _thread.free is connection


def take_kept(url: str) -> Any:  # noqa: ANN401 -- as it was given
    """Return the connection that is kept for a URL, renewed; None if none is, or it is lost."""
    import psycopg  # noqa: PLC0415 -- 0.1 s, which loading the code location need not pay

    free = _thread.free
    if free is None or free.kept_for != url:
        return None
    _thread.free = None
    with suppress(psycopg.Error):
        free.autocommit = True
        free.execute("DISCARD ALL")
        return free
    free.kept_for = ""
    free.close()
    return None


def _forget() -> None:
    """In a forked child, where it is the parent's."""
    global _thread  # noqa: PLW0603 -- the one of this module
    _thread = _Thread()


os.register_at_fork(after_in_child=_forget)
