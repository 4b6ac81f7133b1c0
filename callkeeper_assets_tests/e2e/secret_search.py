"""Searches everything that an installation has written for a text, however it is wrapped there.

Compressed columns and Parquet files are opened; a text counts in any case, URL-encoded twice, in
base64 and in hexadecimal.
"""

import base64
import zlib
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq
from psycopg import sql

from callkeeper_assets_tests.chaos.installation import Installation

_TABLES: Final = """
    SELECT table_schema, table_name FROM information_schema.tables
    WHERE table_schema IN ('public', 'callkeeper_internal', 'dagster') AND table_type = 'BASE TABLE'
"""


def list_forms(secret: str) -> list[bytes]:
    """Forms in which a secret could be written, in lower case."""
    text = secret.encode()
    # A secret inside a longer text has one of three forms in base64; its edges depend on the rest.
    inside = {base64.b64encode(b"x" * shift + text)[4:-4] for shift in range(3)}
    escaped = quote(secret, safe="")
    plain = {text, text.hex().encode(), escaped.encode(), quote(escaped).encode()}
    return [form.lower() for form in plain | inside]


class Searcher:
    """Looks for any of some secrets."""

    def __init__(self, secrets: Iterable[str]) -> None:
        forms = {form for secret in secrets for form in list_forms(secret)}
        self._forms = sorted(forms, key=len)
        self._lengths = [len(form) for form in self._forms]

    def is_in(self, content: bytes) -> bool:
        """Whether a secret is in the content, in any of its forms."""
        lower = content.lower()
        # Most values of tables are shorter than most forms.
        could_be = self._forms[: bisect_right(self._lengths, len(lower))]
        return any(form in lower for form in could_be)

    def _is_in_value(self, value: Any) -> bool:  # noqa: ANN401 -- whatever a column holds
        if value is None:
            return False
        if not isinstance(value, bytes):
            return self.is_in(str(value).encode())
        if self.is_in(value):
            return True
        try:
            return self.is_in(zlib.decompress(value))
        except zlib.error:
            return False

    def search_tables(self, installation: Installation) -> Iterator[str]:
        """Name the tables of all schemas that hold a secret."""
        with installation.connect() as connection:
            for schema, table in connection.execute(_TABLES).fetchall():
                query = sql.SQL("SELECT * FROM {}").format(sql.Identifier(schema, table))
                if any(
                    self._is_in_value(value) for row in connection.execute(query) for value in row
                ):
                    yield f"{schema}.{table}"

    def search_files(self, folder: Path) -> Iterator[str]:
        """Name the files below a folder that hold a secret, in their name or in their content."""
        for file in sorted(folder.rglob("*")):
            if not file.is_file():
                continue
            if self.is_in(str(file.relative_to(folder)).encode()) or self.is_in(_read(file)):
                yield str(file.relative_to(folder))


def _read(file: Path) -> bytes:
    content = file.read_bytes()
    if ".parquet" in file.name:
        try:
            table = pq.read_table(file)
        except pa.ArrowInvalid:
            # Half of a file, as a kill leaves it.
            return content
        content += str(table.schema.metadata).encode()
        for column in table.columns:
            content += b"\n".join(str(value).encode() for value in column.to_pylist())
    return content
