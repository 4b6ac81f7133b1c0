"""Databases for tests, each a copy of a template whose schema was made once in the run.

Making the warehouse's schema takes 0.26 s and Dagster's 1.5 s; a copy with both takes 0.08 s.
"""

import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from enum import StrEnum
from typing import Final

import psycopg
import pytest

from callkeeper_assets.dagster_ext.storage import CallKeeperStorage
from callkeeper_assets.postgres import connect
from callkeeper_assets.postgres.schemas import SEARCH_PATH
from callkeeper_assets.warehouse.migrate import ensure_schema

# Held while a template is made: workers that run side by side share them.
_TEMPLATE_LOCK: Final = 0x7465_7374


class Template(StrEnum):
    """What a new database holds."""

    EMPTY = "empty"
    WAREHOUSE = "warehouse"
    # The schema `dagster` too: for tests whose runs are started by the command line or a daemon.
    INSTALLATION = "installation"


# Marks tests that begin before anything is there: who comes first makes the tables.
from_nothing: Final = pytest.mark.parametrize("template", [Template.EMPTY])
MakeDatabase = Callable[[Template], AbstractContextManager[str]]


class Databases:
    """Makes databases on a server."""

    def __init__(self, server: str) -> None:
        self._server = server
        self._templates: dict[Template, str] = {Template.EMPTY: "template0"}

    @contextmanager
    def make(self, template: Template) -> Iterator[str]:
        """Make a database like a template; yield its URL, and drop it at the end."""
        name = f"test_{uuid.uuid4().hex}"
        with connect(self._server, autocommit=True) as connection:
            source = self._find_template(connection, template)
            # The server neither syncs nor keeps much in memory: files are copied the fastest.
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {source} STRATEGY FILE_COPY")
            if template is not Template.EMPTY:
                # Of the template the migration did it; what a role has of a database is no copy's.
                connection.execute(
                    f"ALTER ROLE CURRENT_USER IN DATABASE {name} SET search_path = {SEARCH_PATH}"
                )
        try:
            yield self._url_of(name)
        finally:
            with connect(self._server, autocommit=True) as connection:
                connection.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def _url_of(self, name: str) -> str:
        return f"{self._server.rpartition('/')[0]}/{name}"

    def _find_template(
        self, connection: psycopg.Connection[tuple[object, ...]], template: Template
    ) -> str:
        if template not in self._templates:
            connection.execute("SELECT pg_advisory_lock(%s)", (_TEMPLATE_LOCK,))
            try:
                self._templates[template] = self._make_template(connection, template)
            finally:
                connection.execute("SELECT pg_advisory_unlock(%s)", (_TEMPLATE_LOCK,))
        return self._templates[template]

    def _make_template(
        self, connection: psycopg.Connection[tuple[object, ...]], template: Template
    ) -> str:
        name = f"template_{template}"
        is_there = "SELECT 1 FROM pg_database WHERE datname = %s AND datistemplate"
        if connection.execute(is_there, (name,)).fetchone():
            return name
        # What is left of a worker that was ended while it made it.
        connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        connection.execute(f"CREATE DATABASE {name}")
        ensure_schema(self._url_of(name))
        if template is Template.INSTALLATION:
            _make_dagster_tables(self._url_of(name))
        connection.execute(f"ALTER DATABASE {name} WITH IS_TEMPLATE true ALLOW_CONNECTIONS false")
        # Dagster keeps connections; a template that somebody is connected to is not copied.
        connection.execute(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = %s",
            (name,),
        )
        return name


def _make_dagster_tables(url: str) -> None:
    """Let Dagster's storage make its tables, as the first process of an installation does."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("CALLKEEPER_DATABASE_URL", url)
        # Opening the storage sets it; set here, it is unset afterwards.
        environment.setenv("DAGSTER_EVENT_BATCH_SIZE", "1000")
        CallKeeperStorage.from_config_value(None, {})
