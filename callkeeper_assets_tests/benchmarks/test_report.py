"""The report: aligned text for people, JSON for machines."""

import json
from pathlib import Path

from callkeeper_assets_tests.benchmarks.report import (
    Section,
    Target,
    format_section,
    write_json,
)

_SECTION = Section(
    "historic",
    "Historic load",
    [
        {"loader": "callkeeper", "calls": 400_000, "seconds": 12.345, "raw": 162.4},
        {"loader": "dlt", "calls": 400_000, "seconds": 50.0, "raw": None},
    ],
    (Target("4 x dlt", 4.05, is_reached=True), Target("2 x COPY", 0.5, is_reached=False)),
)


def test_columns_are_aligned_and_targets_say_whether_they_were_reached() -> None:
    assert format_section(_SECTION).splitlines() == [
        "Historic load",
        "",
        "loader        calls  seconds  raw",
        "callkeeper  400,000     12.3  162",
        "dlt         400,000     50.0    -",
        "reached: 4 x dlt; measured 4.05",
        "MISSED: 2 x COPY; measured 0.50",
    ]


def test_the_json_file_has_every_number_unrounded(tmp_path: Path) -> None:
    file = write_json([_SECTION], tmp_path / "results", is_short=True)
    found = json.loads(file.read_text(encoding="utf-8"))
    assert found["is_short"] is True
    assert found["sections"][0]["rows"][0]["seconds"] == 12.345
    assert found["sections"][0]["targets"][1]["is_reached"] is False
