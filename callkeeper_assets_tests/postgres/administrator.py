"""A role that an administrator has given settings, each of which hurt once."""

import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final
from urllib.parse import urlsplit

import psycopg
from psycopg import sql

# As people have them; times so short that whatever is not our own setting ends at once.
SETTINGS: Final[Mapping[str, str]] = {
    "quote_all_identifiers": "on",
    "DateStyle": "German, DMY",
    "IntervalStyle": "sql_standard",
    "bytea_output": "escape",
    "TimeZone": "Asia/Kathmandu",
    "extra_float_digits": "-10",
    "array_nulls": "off",
    "transform_null_equals": "on",
    "exit_on_error": "on",
    "default_transaction_isolation": "serializable",
    "default_transaction_deferrable": "on",
    "statement_timeout": "1ms",
    "lock_timeout": "1ms",
    "idle_in_transaction_session_timeout": "1ms",
    "idle_session_timeout": "1ms",
    # Longer than ADBC's first query: nothing can be said before it that an older server knows.
    "transaction_timeout": "200ms",
    "standard_conforming_strings": "off",
    "search_path": "nowhere",
}
# Not there before.
FIRST_VERSIONS: Final = {"transaction_timeout": 170_000}


@contextmanager
def role_with(database: str, settings: Mapping[str, str]) -> Iterator[str]:
    """Make a role with such settings that owns the database, no superuser; yield its URL."""
    parts, role = urlsplit(database), f"role_{uuid.uuid4().hex}"
    owner, name = sql.Identifier(role), sql.Identifier(parts.path[1:])
    with psycopg.connect(database, autocommit=True) as connection:
        version = connection.info.server_version
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'secret'").format(owner))
        connection.execute(sql.SQL("ALTER DATABASE {} OWNER TO {}").format(name, owner))
        for setting, value in settings.items():
            if FIRST_VERSIONS.get(setting, 0) <= version:
                connection.execute(
                    sql.SQL("ALTER ROLE {} SET {} = {}").format(
                        owner, sql.Identifier(setting), sql.Literal(value)
                    )
                )
        # As the server has them: one that is not set would prove nothing.
        given = connection.execute(
            "SELECT unnest(setconfig) FROM pg_db_role_setting WHERE setrole = %s::regrole", (role,)
        ).fetchall()
    assert {setting.partition("=")[0].lower() for (setting,) in given} == {
        name.lower() for name in settings
    } - ({name for name, first in FIRST_VERSIONS.items() if first > version})
    netloc = f"{role}:secret@{parts.netloc.rpartition('@')[2]}"
    yield parts._replace(netloc=netloc).geturl()
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(sql.SQL("REASSIGN OWNED BY {} TO CURRENT_USER").format(owner))
        connection.execute(sql.SQL("DROP OWNED BY {}").format(owner))
        connection.execute(sql.SQL("DROP ROLE {}").format(owner))
