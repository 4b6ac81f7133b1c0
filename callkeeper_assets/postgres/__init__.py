"""The PostgreSQL under everything: the user's by URL, else an embedded one that starts by itself.

Add here what concerns reaching and running the server. Tables, migrations and SQL do not belong
here: they are the warehouse's. Stays light to import: drivers are loaded where they are used.
"""

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
]
