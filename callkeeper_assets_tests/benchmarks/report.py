"""What the benchmarks found, as aligned tables on the terminal and as JSON in `bench-results/`."""

import datetime as dt
import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

Value = str | int | float | None
Row = dict[str, Value]


@dataclass(frozen=True)
class Target:
    """A number that was aimed at, beside the one that was measured."""

    text: str
    measured: float
    is_reached: bool


@dataclass(frozen=True)
class Section:
    """One benchmark's result; all rows have the same columns, in the order shown."""

    name: str
    title: str
    rows: Sequence[Row]
    targets: Sequence[Target] = ()


def _show(value: Value) -> str:
    if value is None:
        return "-"
    if isinstance(value, str):
        return value
    if isinstance(value, int) or value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def format_section(section: Section) -> str:
    """The section as text: texts to the left, numbers to the right."""
    columns = list(section.rows[0])
    shown = [columns, *([_show(row[column]) for column in columns] for row in section.rows)]
    widths = [max(len(line[number]) for line in shown) for number in range(len(columns))]
    is_text = [isinstance(section.rows[0][column], str) for column in columns]
    lines = [section.title, ""]
    for line in shown:
        cells = [
            cell.ljust(width) if left else cell.rjust(width)
            for cell, width, left in zip(line, widths, is_text, strict=True)
        ]
        lines.append("  ".join(cells).rstrip())
    for target in section.targets:
        word = "reached" if target.is_reached else "MISSED"
        lines.append(f"{word}: {target.text}; measured {_show(target.measured)}")
    return "\n".join(lines) + "\n"


def write_json(sections: Sequence[Section], folder: Path, *, is_short: bool) -> Path:
    """Write all sections, and the machine that they hold for, into a new file of the folder."""
    now = dt.datetime.now(dt.UTC)
    folder.mkdir(exist_ok=True)
    file = folder / f"{now:%Y-%m-%dT%H%M%S}.json"
    found = {
        "at": now.isoformat(timespec="seconds"),
        "is_short": is_short,
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "system": platform.system(),
        "python": platform.python_version(),
        "sections": [asdict(section) for section in sections],
    }
    file.write_text(json.dumps(found, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return file
