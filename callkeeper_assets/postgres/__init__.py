"""The PostgreSQL under everything: the user's by URL, else an embedded one that starts by itself.

Add here what concerns reaching and running the server. Tables, migrations and SQL do not belong
here: they are the warehouse's. Stays light to import: drivers are loaded where they are used.
"""

from collections.abc import Callable
from functools import cache
from importlib.resources import files

from callkeeper_assets.postgres.binaries import OLDEST_VERSION
from callkeeper_assets.postgres.embedded import EmbeddedPostgres
from callkeeper_assets.postgres.errors import DatabaseError
from callkeeper_assets.postgres.url import (
    build_conninfo,
    check_version,
    connect,
    database_url,
    describe,
    explain_failure,
    is_embedded,
    normalise_url,
)

__all__ = [
    "OLDEST_VERSION",
    "DatabaseError",
    "EmbeddedPostgres",
    "build_conninfo",
    "check_version",
    "connect",
    "database_url",
    "describe",
    "explain_failure",
    "is_embedded",
    "normalise_url",
    "read_sql_of",
]


def read_sql_of(package: str) -> Callable[[str], str]:
    """Return what reads a package's statements, `sql/<name>.sql`, by their names, each file once.

    Comments at a file's beginning are left out: the server would be sent them each time.
    """

    @cache
    def read_sql(name: str) -> str:
        lines = (files(package) / "sql" / f"{name}.sql").read_text("utf-8").splitlines()
        while lines and lines[0].startswith("--"):
            lines.pop(0)
        return "\n".join(lines).strip()

    return read_sql
