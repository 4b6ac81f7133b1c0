"""Values read from Arrow: what Arrow itself says, without the import that it needs to say it."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import Final

import pyarrow as pa
import pytest

from callkeeper_assets.warehouse.arrow import list_values

_MOMENT: Final = datetime(2026, 3, 29, 0, 59, 59, tzinfo=UTC)
_READ: Final = """
import sys
from datetime import UTC, datetime
from callkeeper_assets.warehouse.arrow import MOMENT, build_array, list_values
import pyarrow as pa
moment = datetime(2026, 3, 29, tzinfo=UTC)
assert list_values(pa.chunked_array([build_array([moment], MOMENT)])) == [moment]
print("pandas" in sys.modules)
"""


@pytest.mark.parametrize("unit", ["s", "ms", "us"])
def test_moments_are_read_as_arrow_reads_them(unit: str) -> None:
    moments = [_MOMENT, None, datetime(1969, 12, 31, tzinfo=UTC), _MOMENT + timedelta(days=9)]
    array = pa.array(moments, pa.timestamp(unit, "UTC"))
    column = pa.chunked_array([array, array.slice(1, 2), array.slice(0, 0)])
    assert list_values(column) == column.to_pylist() == [*moments, *moments[1:3]]


def test_a_moments_fraction_is_kept() -> None:
    moment = _MOMENT + timedelta(microseconds=123_456)
    column = pa.chunked_array([pa.array([moment], pa.timestamp("us", "UTC"))])
    assert list_values(column) == [moment]


def test_other_values_are_read_as_they_are() -> None:
    assert list_values(pa.chunked_array([["a", None], ["b"]])) == ["a", None, "b"]


def test_no_pandas_is_imported_for_it() -> None:
    """It would cost each load a sixth of a second."""
    done = subprocess.run([sys.executable, "-c", _READ], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
