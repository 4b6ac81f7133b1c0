"""`callkeeper export`: everything that is held on one client, as one document.

Read only. What the law calls access: each value is given as it is stored, with where it is. Calls
in which the number is the manager's alone are the company's, and left out.
"""

import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec
from psycopg import sql

from callkeeper_assets.config.errors import ConfigError
from callkeeper_assets.config.source import Source
from callkeeper_assets.home import home
from callkeeper_assets.language import tr
from callkeeper_assets.personal_data.searching import RawHit, Row, SourceHits, list_searched_tables
from callkeeper_assets.personal_data.shield import Connection, list_targets
from callkeeper_assets.personal_data.verifying import look
from callkeeper_assets.postgres import connect
from callkeeper_assets.raw.store import RawStore
from callkeeper_assets.reports.structure import CALL_COLUMN
from callkeeper_assets.warehouse.migrate import ensure_schema
from callkeeper_assets.warehouse.schema import DIMENSIONS, FACTS, WEBHOOKS
from callkeeper_assets.webhooks.inbox import read_as_json

# Rows of these tables are found by the call, whether the number stands in them or not.
_OF_CALL: Final = """
    SELECT * FROM {table} AS t WHERE t.account_id = %(account_id)s AND t.{call} = ANY(%(calls)s)
"""
_FACTS: Final = """
    SELECT f.* FROM callkeeper_calls_facts AS f
    JOIN callkeeper_calls AS c ON c.account_id = f.account_id AND c.id = f.calls_id
    WHERE c.account_id = %(account_id)s AND c.call_id = ANY(%(calls)s)
"""
_DIMENSION: Final = "SELECT * FROM {table} WHERE id = ANY(%(ids)s) AND id <> 1 ORDER BY id"
_CALL_COLUMNS: Final = """
    SELECT c.relname, a.attname FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid
    WHERE pg_table_is_visible(c.oid) AND c.relname = ANY(%(tables)s)
        AND a.attname IN ('call_id', %(call)s) AND NOT a.attisdropped
    ORDER BY a.attname = %(call)s
"""

Document = dict[str, Any]


def export_client(
    url: str,
    store: RawStore,
    sources: Sequence[Source],
    number: str,
    say: Callable[[str], None],
) -> Document:
    """Return what is held on a client.

    Raises:
        MissingSecretError: A source hashes, and its key is not in the environment.
        DatabaseError: The database cannot be reached.
        StoreError: The raw calls' place cannot be reached.
    """
    ensure_schema(url)
    with connect(url, autocommit=True) as connection:
        targets = list_targets(connection, store, sources)
        search = look(connection, store, targets, number, say)
        found = {
            name: _export_source(one, search.spooled.get(name, 0))
            for name, one in search.hits.items()
        }
        tables = _gather_rows(connection, search.hits.values(), search.rows)
        similar = search.verify(connection, store, targets, number)[1]
    return {
        "exported_at": datetime.now(UTC).isoformat(),
        "sources": {name: one for name, one in found.items() if any(one.values())},
        "tables": tables,
        "similar": [asdict(one) for one in similar],
    }


def write_export(request_id: str, document: Document) -> Path:
    """Write a document into a new file of the home that only its owner may read.

    Raises:
        ConfigError: It cannot be written.
    """
    folder = home() / "exports"
    file = folder / f"{request_id}.json"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise ConfigError(
            tr(
                "What is held on the client cannot be written to {file}: {problem}. Mend the "
                "folder's permissions or free space, or choose another name for the request.",
                file=file,
                problem=error.strerror,
            )
        ) from None
    with os.fdopen(descriptor, "w", encoding="utf-8") as written:
        json.dump(document, written, ensure_ascii=False, indent=2, default=str)
        written.write("\n")
    return file


def _export_source(hits: SourceHits, spooled: int) -> Document:
    return {
        "raw_calls": [
            {
                "day": str(one.day),
                "refused_answer": one.version == "refused",
                "replaced_day": one.version == "replaced",
                "as": one.role,
                **_show_call(one),
            }
            for one in hits.raw
            if one.role != "manager"
        ],
        "webhook_payloads": [
            {
                "table": WEBHOOKS,
                "id": one.row_id,
                "state": one.state,
                "as": one.role,
                **_show_body(read_as_json(one.format, one.body), one.body),
            }
            for one in hits.payloads
            if one.role != "manager"
        ],
        "payloads_in_spool": spooled,
        "raw_calls_that_may_be_masked_ones": hits.masked,
        "unreadable_files": hits.unreadable,
    }


def _show_call(hit: RawHit) -> Document:
    if not hit.reason:
        return {"call": msgspec.json.decode(hit.payload)}
    return {"record": hit.payload, "unusable": hit.reason}


def _show_body(as_json: bytes | None, body: bytes) -> Document:
    if as_json is None:
        return {"text": body.decode("utf-8", "replace")}
    return {"payload": msgspec.json.decode(as_json)}


def _gather_rows(
    connection: Connection, hits: Iterable[SourceHits], rows: Mapping[str, Sequence[Row]]
) -> dict[str, list[Row]]:
    """Return rows of the client's calls, of their dimensions, and others with the number."""
    gathered: dict[str, list[Row]] = {}
    tables = list_searched_tables(connection)
    columns: dict[str, str] = dict(
        connection.execute(_CALL_COLUMNS, {"tables": tables, "call": CALL_COLUMN}).fetchall()
    )
    for one in hits:
        calls = sorted(one.roles.keys() - one.of_managers)
        values = {"account_id": one.target.account_id, "calls": calls}
        for table in tables:
            if table in columns:
                statement = sql.SQL(_OF_CALL).format(
                    table=sql.Identifier(table), call=sql.Identifier(columns[table])
                )
                _add(gathered, table, _read(connection, statement, values))
        _add(gathered, FACTS, _read(connection, sql.SQL(_FACTS), values))
    facts = gathered.get(FACTS, ())
    for dimension in DIMENSIONS:
        statement = sql.SQL(_DIMENSION).format(table=sql.Identifier(dimension.table))
        ids = sorted({fact[dimension.fact_column] for fact in facts})
        _add(gathered, dimension.table, _read(connection, statement, {"ids": ids}))
    for table, found in rows.items():
        # Those of facts are told whole, with their calls.
        if table != FACTS:
            _add(gathered, table, found)
    return gathered


def _read(
    connection: Connection, statement: sql.SQL | sql.Composed, values: Mapping[str, object]
) -> list[Row]:
    cursor = connection.execute(statement, values)
    names = [column.name for column in cursor.description or ()]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def _add(gathered: dict[str, list[Row]], table: str, rows: Iterable[Row]) -> None:
    for row in rows:
        held = gathered.setdefault(table, [])
        if row not in held:
            held.append(row)
