"""Values on their way to PostgreSQL and back as Arrow, and what pyarrow imports for that."""

import os
import subprocess
import sys
from datetime import UTC, date, datetime
from typing import Final

import adbc_driver_postgresql
import pyarrow as pa
import pytest

from callkeeper_assets.warehouse.session import Session, prepare_sessions

_MOMENT: Final = datetime(2026, 3, 29, 0, 59, 59, 123_456, tzinfo=UTC)
_READ: Final = """
import sys
from datetime import UTC, datetime
import callkeeper_assets.warehouse.session
import pyarrow as pa
assert pa.array([datetime(2026, 3, 29, tzinfo=UTC)]).to_pylist()
print("pandas" in sys.modules, pa.table({"n": [1]}).to_pandas()["n"][0])
"""


@pytest.mark.parametrize(
    "value",
    [
        7,
        2**40,
        "o'clock",
        b"\x00\xff",
        date(2026, 3, 29),
        _MOMENT,
        [1, None, 2**40],
        ["a", None],
        [date(2026, 3, 29)],
        [_MOMENT, None],
    ],
    ids=repr,
)
def test_a_value_comes_back_from_postgres_as_it_went(database: str, value: object) -> None:
    with Session(database) as session:
        found = session.query("SELECT $1 AS value", {"value": value})
    assert found["value"].to_pylist() == [value]


@pytest.mark.parametrize("chunks", [[], [[]], [[1, 2], [3]]], ids=repr)
def test_a_column_is_one_list(database: str, chunks: list[list[int]]) -> None:
    column = pa.chunked_array(chunks, pa.int64())
    with Session(database) as session:
        found = session.query("SELECT unnest($1) AS value", {"value": column})
    assert found["value"].to_pylist() == column.to_pylist()


@pytest.mark.parametrize(
    "module", ["callkeeper_assets.worker.__main__", "callkeeper_assets.definitions"]
)
def test_a_process_of_ours_reads_and_writes_without_pandas(module: str) -> None:
    """It would cost each load 0.4 s. A frame is to be had all the same."""
    done = _run(f"import {module}\n{_READ}")
    assert done == "False 1\n"


@pytest.mark.parametrize(
    "asked", ["import pandas", "import importlib; pandas = importlib.import_module('pandas')"]
)
def test_an_owners_assets_beside_ours_have_their_pandas(asked: str) -> None:
    """They are in the definitions.py of a project of ours, after ours or in modules before."""
    module = "import callkeeper_assets.definitions"
    assert _run(f"{module}\n{asked}\nprint(pandas.DataFrame({{'a': [1]}}).size)") == "1\n"
    done = _run(f"{module}\n{_READ}\n{asked}\nprint(pandas.DataFrame({{'a': [1]}}).size)")
    assert done == "False 1\n1\n"


def test_pandas_is_not_hidden_in_a_process_of_others() -> None:
    done = _run("import callkeeper_assets.warehouse.loader, pandas\nprint(pandas.__name__)")
    assert done == "pandas\n"


def _run(code: str) -> str:
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_a_fork_does_not_read_the_types_of_the_server_again(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare_sessions(database)
    monkeypatch.setattr(adbc_driver_postgresql, "connect", None)
    number = os.fork()
    if not number:
        code = 1
        try:
            for _ in range(2):
                with Session(database) as session:
                    found = session.query("SELECT ARRAY[1.5::float8] AS list, now() AS at")
                    assert found["list"].to_pylist() == [[1.5]]
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(number, 0)[1]) == 0


def test_a_server_that_is_away_hinders_no_preparation() -> None:
    prepare_sessions("postgresql://somebody:secret@127.0.0.1:1/nowhere")
