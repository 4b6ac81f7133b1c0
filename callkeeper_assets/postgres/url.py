"""Which PostgreSQL is used, what must be true of it, and what each of our connections sets.

Settings of roles, databases and servers that would change what our statements mean are overridden
in libpq's `options` (docs/decisions/0025). Drivers are loaded where they are used: stays light.
"""

import os
import threading
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, unquote, urlsplit

from callkeeper_assets.home import configured_database_url, home
from callkeeper_assets.language import look_up, mark, tr
from callkeeper_assets.postgres.binaries import OLDEST_VERSION
from callkeeper_assets.postgres.embedded import EmbeddedPostgres
from callkeeper_assets.postgres.errors import DatabaseError
from callkeeper_assets.postgres.keeping import is_keeping, take_kept
from callkeeper_assets.postgres.schemas import SEARCH_PATH

if TYPE_CHECKING:
    import psycopg

# Known to every version that will do.
SETTINGS: Final = {
    # ADBC tells types by the text of their functions' names as it connects.
    "quote_all_identifiers": "off",
    # A role's own, or a schema named like it, would hide the tables or make them anew elsewhere.
    "search_path": SEARCH_PATH,
    # psycopg reads no other forms.
    "DateStyle": "ISO, MDY",
    "IntervalStyle": "postgres",
    "bytea_output": "hex",
    # Moments that come as texts are the same text everywhere.
    "TimeZone": "UTC",
    # A double that comes as a text is the very same double again.
    "extra_float_digits": "1",
    # Drivers write values and lists so.
    "standard_conforming_strings": "on",
    "array_nulls": "on",
    "transform_null_equals": "off",
    # Locks keep apart what must not run at once; runs side by side would fail each other.
    "default_transaction_isolation": "read committed",
    "default_transaction_deferrable": "off",
    # A run holds its locks for hours in a session that is idle, and some wait for them as long.
    "statement_timeout": "0",
    "lock_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "idle_session_timeout": "0",
    # A table that is not there yet is an answer, not an end.
    "exit_on_error": "off",
}
# Of 17 and newer: an older server would refuse a connection that asks for it.
NEWER_SETTINGS: Final = {"transaction_timeout": "0"}
_FIRST_WITH_NEWER: Final = 170_000

# To be run on each new connection that did not know its server's version: nothing on an older one.
SET_NEWER: Final = "; ".join(
    f"SELECT set_config('{name}', '{value}', false) WHERE current_setting('{name}', true) <> ''"
    for name, value in NEWER_SETTINGS.items()
)

_DIFFERING: Final = """
    SELECT w.name, current_setting(w.name, true)
    FROM unnest(%s::text[], %s::text[]) AS w (name, value)
    WHERE current_setting(w.name, true) <> w.value
    ORDER BY 1
"""

_SCHEME: Final = "postgresql"
# What the URL does not say. A connection that a firewall has forgotten is noticed within a minute,
# and kept from being forgotten: a load may be silent for long while days are fetched.
_PARAMETERS: Final = {
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
}
# libpq's numbers of versions have the major one before four digits.
VERSION_FACTOR: Final = 10_000

# What is known to be no pooler, or one that keeps sessions apart: a process asks once.
_direct: set[str] = set()
_embedded: dict[Path, EmbeddedPostgres] = {}
_embedded_guard = threading.Lock()

NAME_THE_SERVER: Final = mark(
    "Put the address and port of PostgreSQL itself (as a rule 5432) into CALLKEEPER_DATABASE_URL, "
    "not the pooler's: locks and settings of a session are relied on."
)
# What libpq says, and what helps. Its texts are all there is: a connection that fails has no code.
_REMEDIES: Final = (
    ("password authentication failed", mark("Check the user and the password in the URL.")),
    (
        "no password supplied",
        mark("Put the password into the URL: postgresql://user:password@host/db."),
    ),
    ("does not exist", mark("Create it (createdb, createuser), or correct the name in the URL.")),
    ("no pg_hba.conf entry", mark("Allow this machine in the server's pg_hba.conf.")),
    ("SSL", mark("Check sslmode in the URL against what the server offers.")),
    ("unsupported startup parameter", NAME_THE_SERVER),
    ("statement pooling", NAME_THE_SERVER),
    ("too many clients", mark("Raise max_connections, or end idle sessions.")),
)
_UNREACHABLE: Final = mark("Check that the server runs, and the host and port in the URL.")


def build_options(given: str = "", *, server_version: int = 0) -> str:
    """Return libpq's `options`: those that were given, then ours, which win.

    Args:
        given: of the URL; empty means those of PGOPTIONS, as libpq does it.
        server_version: as libpq numbers it; 0 if it is not known.
    """
    wanted = SETTINGS | (NEWER_SETTINGS if server_version >= _FIRST_WITH_NEWER else {})
    ours = (f"-c {name}={_escape(value)}" for name, value in wanted.items())
    return " ".join([given or os.environ.get("PGOPTIONS", ""), *ours]).strip()


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace(" ", "\\ ")


def find_differing(connection: "psycopg.Connection[tuple[object, ...]]") -> dict[str, str]:
    """Return what is in force otherwise than we need it, by name: nothing, if all is well."""
    wanted = SETTINGS | NEWER_SETTINGS
    rows = connection.execute(_DIFFERING, (list(wanted), list(wanted.values()))).fetchall()
    return {str(name): str(value) for name, value in rows}


if TYPE_CHECKING:
    import psycopg

    from callkeeper_assets.postgres.connection import Connection


def normalise_url(url: str) -> str:
    """Return a PostgreSQL URL with the scheme that every library here understands.

    Accepts `postgres://`, `postgresql://` and SQLAlchemy's `postgresql+driver://`.

    Raises:
        DatabaseError: it is not a URL of PostgreSQL, or names no database.
    """
    scheme, separator, rest = url.strip().partition("://")
    if not separator or scheme.partition("+")[0] not in {"postgres", _SCHEME}:
        raise DatabaseError(
            tr(
                "CALLKEEPER_DATABASE_URL is not a PostgreSQL URL (it begins with {scheme!r}). "
                "Write postgresql://user:password@host:port/database.",
                scheme=scheme.partition("+")[0][:20] if separator else "no scheme",
            )
        )
    normal = f"{_SCHEME}://{rest}"
    try:
        parts = urlsplit(normal)
        _ = parts.port
    except ValueError as error:
        raise DatabaseError(
            tr(
                "CALLKEEPER_DATABASE_URL cannot be read: its port is not a number, or its host is "
                "malformed. In a user or password write the characters / ? # [ ] @ : as %2F %3F "
                "%23 %5B %5D %40 %3A."
            )
        ) from error
    if not parts.path.strip("/") and "dbname=" not in parts.query:
        raise DatabaseError(
            tr(
                "CALLKEEPER_DATABASE_URL names no database: {database}. Write "
                "postgresql://user:password@host:port/database.",
                database=describe(normal),
            )
        )
    return normal


def describe(url: str) -> str:
    """Name a database for people: `postgresql://user@host:port/database`, never the password."""
    parts = urlsplit(url)
    user = f"{quote(unquote(parts.username))}@" if parts.username else ""
    host = parts.netloc.rpartition("@")[2] or "localhost"
    return f"{_SCHEME}://{user}{host}{parts.path}"


def database_url() -> str:
    """Return the URL of the database, with its password.

    Without `CALLKEEPER_DATABASE_URL` the embedded PostgreSQL serves this process from the first
    call until the process ends. Cheap to call again; a server that died meanwhile is started anew.

    Raises:
        DatabaseError: the variable is no PostgreSQL URL, or the embedded server does not start.
    """
    configured = configured_database_url()
    if configured is not None:
        return normalise_url(configured)
    folder = home()
    with _embedded_guard:
        server = _embedded.setdefault(folder, EmbeddedPostgres(folder))
        return server.start()


def release_database() -> None:
    """Use the embedded server no longer, where this process did; its end would do the same.

    Raises:
        DatabaseError: nobody else uses the server, and it does not stop.
    """
    with _embedded_guard:
        for server in _embedded.values():
            server.stop()


def is_embedded() -> bool:
    """Whether the database is the embedded one."""
    return configured_database_url() is None


def check_version(connection: "psycopg.Connection[tuple[object, ...]]") -> None:
    """Refuse a server that is too old.

    Raises:
        DatabaseError: it is older than PostgreSQL 15.
    """
    major = connection.info.server_version // VERSION_FACTOR
    if major < OLDEST_VERSION:
        info = connection.info
        raise DatabaseError(
            tr(
                "The PostgreSQL at {user}@{host}:{port}/{dbname} is version {major}; "
                "{oldest_version} or newer is needed (MERGE). Update the server, or unset "
                "CALLKEEPER_DATABASE_URL to use the embedded one.",
                user=info.user,
                host=info.host,
                port=info.port,
                dbname=info.dbname,
                major=major,
                oldest_version=OLDEST_VERSION,
            )
        )


def _check_encoding(connection: "psycopg.Connection[tuple[object, ...]]") -> None:
    """Refuse a database that cannot hold every text.

    Raises:
        DatabaseError: its encoding is another than UTF-8.
    """
    info = connection.info
    encoding = info.parameter_status("server_encoding")
    if encoding != "UTF8":
        raise DatabaseError(
            tr(
                "The database {dbname} at {user}@{host}:{port} has the encoding {encoding}, which "
                "cannot hold every text of a call; UTF8 is needed. Make one and name it in "
                "CALLKEEPER_DATABASE_URL: CREATE DATABASE callkeeper ENCODING 'UTF8' LOCALE 'C' "
                "TEMPLATE template0;",
                dbname=info.dbname,
                user=info.user,
                host=info.host,
                port=info.port,
                encoding=encoding,
            )
        )


def check_writable(connection: "psycopg.Connection[tuple[object, ...]]") -> None:
    """Refuse a database that takes no writing; who only reads need not ask.

    Raises:
        DatabaseError: its role, database or server is read-only, or it is a standby.
    """
    info = connection.info
    where = tr(
        "The PostgreSQL at {user}@{host}:{port}/{dbname}",
        user=info.user,
        host=info.host,
        port=info.port,
        dbname=info.dbname,
    )
    if info.parameter_status("in_hot_standby") == "on":
        raise DatabaseError(
            tr(
                "{where} is a standby: nothing can be written to it. Name the primary server in "
                "CALLKEEPER_DATABASE_URL; of several hosts, target_session_attrs=read-write finds "
                "it.",
                where=where,
            )
        )
    if info.parameter_status("default_transaction_read_only") == "on":
        raise DatabaseError(
            tr(
                "{where} takes no writing: default_transaction_read_only is on, for the role, the "
                "database or the server. Providers set it when a disk is nearly full: look at "
                "that first; then ALTER ROLE {user} RESET default_transaction_read_only; or the "
                "same for the database.",
                where=where,
                user=info.user,
            )
        )


def build_conninfo(
    url: str,
    *,
    application_name: str = "callkeeper",
    parameters: Mapping[str, str | int] = MappingProxyType({}),
) -> str:
    """Return what libpq connects by, for any driver over it.

    Texts come and go in UTF-8, and the settings are ours, whatever the shell (PGCLIENTENCODING),
    role or database say.

    Args:
        url: as `database_url` returns it; what it says counts before `parameters`.
        application_name: by which an administrator sees the connection.
        parameters: more of libpq's.

    Raises:
        DatabaseError: the URL says what libpq does not know.
    """
    import psycopg  # noqa: PLC0415 -- as `connect`
    from psycopg.conninfo import conninfo_to_dict, make_conninfo  # noqa: PLC0415

    try:
        given = conninfo_to_dict(url)
    except psycopg.ProgrammingError as error:
        raise explain_failure(url, error) from None
    unsaid = {
        name: value for name, value in {**_PARAMETERS, **parameters}.items() if name not in given
    }
    return make_conninfo(
        url,
        client_encoding="UTF8",
        application_name=application_name,
        options=build_options(str(given.get("options") or "")),
        **unsaid,
    )


def explain_failure(url: str, error: Exception) -> DatabaseError:
    """Say why a connection failed, to what, and what to do; for any driver's exception."""
    text = " ".join(str(error).split())
    password = urlsplit(url).password
    if password:
        text = text.replace(unquote(password), "***").replace(password, "***")
    remedy = next((help_ for words, help_ in _REMEDIES if words in text), _UNREACHABLE)
    return DatabaseError(
        tr(
            "No connection to the database {database}: {said} {remedy}",
            database=describe(url),
            said=text,
            remedy=look_up(remedy),
        )
    )


def connect(
    url: str | None = None,
    *,
    autocommit: bool = False,
    parameters: Mapping[str, str | int] = MappingProxyType({}),
) -> "Connection":
    """Connect to the database (psycopg 3), and check that it will do.

    Args:
        url: as `database_url` returns it; None asks it.
        autocommit: whether each statement is a transaction of its own.
        parameters: more of libpq's.

    Raises:
        DatabaseError: no connection, wrong password, no such database, too old a server, a
            database of another encoding than UTF-8, or a pooler that shares sessions.
    """
    import psycopg  # noqa: PLC0415 -- 0.1 s, which a command without a database need not pay

    from callkeeper_assets.postgres.connection import (  # noqa: PLC0415
        Connection,
        check_pooler,
    )

    target = database_url() if url is None else url
    kept = None if parameters else take_kept(target)
    try:
        connection = kept or Connection.connect(
            build_conninfo(target, parameters=parameters), autocommit=True
        )
        connection.execute(SET_NEWER)
        connection.autocommit = autocommit
    except psycopg.Error as error:
        raise explain_failure(target, error) from None
    if kept:
        return connection
    connection.place = describe(target)
    try:
        check_version(connection)
        _check_encoding(connection)
        if target not in _direct:
            check_pooler(connection, target)
            _direct.add(target)
    except DatabaseError:
        connection.close()
        raise
    if is_keeping() and not parameters:
        connection.kept_for = target
    return connection


def _renew_guard() -> None:
    """Make the guard usable in a forked child: who held it in the parent is gone there."""
    global _embedded_guard  # noqa: PLW0603 -- the one lock of this module
    _embedded_guard = threading.Lock()


os.register_at_fork(after_in_child=_renew_guard)
