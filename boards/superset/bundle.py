"""Writes the board of `board.yaml` as a bundle that Apache Superset imports, in either language.

    python boards/superset/bundle.py ru [FOLDER]

makes FOLDER with the files that `superset export-dashboards` would write, and FOLDER.zip of them.
What a chart is called, asks and shows is said in `board.yaml` alone; names of columns and outcomes
come from the views' own declaration. docs/boards.md says how it is imported.
"""

import argparse
import re
import shutil
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Literal, get_args

import yaml

from callkeeper_assets.warehouse.outcomes import OUTCOMES
from callkeeper_assets.warehouse.views import (
    CALLS_VIEW,
    COLUMNS,
    RUSSIAN_CALLS_VIEW,
    ViewColumn,
    ViewName,
    name_of,
)

Language = Literal["en", "ru"]

LANGUAGES: Final[tuple[Language, ...]] = get_args(Language)
_BOARD: Final = Path(__file__).with_name("board.yaml")
_VERSION: Final = "1.0.0"
_DATABASE: Final = "CallKeeper"
# What `superset set-database-uri` replaces, with its password: a bundle has none.
_ADDRESS: Final = "postgresql+psycopg2://callkeeper_bi@127.0.0.1:5432/callkeeper"
_ROW_LIMIT: Final = 1000
_WIDTH: Final = 12
_PLACEHOLDER: Final = re.compile(r"<(=?)(\w+)>")
# Outcomes keep their colours in every chart.
_COLOURS: Final = {
    "answered": "#5AC189",
    "missed_by_manager": "#E04355",
    "missed_by_client": "#FF7F44",
}


def _id(*parts: str) -> str:
    """Return the same id for the same thing: what is imported again replaces what is there."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, "/".join(("callkeeper-assets", *parts))))


class Bundle:
    """The board in one language."""

    def __init__(self, language: Language) -> None:
        self.language = language
        self.view: ViewName = CALLS_VIEW if language == "en" else RUSSIAN_CALLS_VIEW
        self._columns: dict[str, ViewColumn] = {name_of(one, self.view): one for one in COLUMNS}
        self._names = {one.name: name for name, one in self._columns.items()} | {"view": self.view}
        self.outcomes: dict[str, str] = {
            one.name: one.name if language == "en" else one.label_ru for one in OUTCOMES
        }
        self.board = self._say(yaml.safe_load(_BOARD.read_text("utf-8")))
        # Ids that the charts had where they were exported, if they had been: the import maps them.
        self._numbers = {key: number for number, key in enumerate(self.board["charts"], start=1)}

    def _say(self, told: Any) -> Any:  # noqa: ANN401 -- YAML
        """Put in texts of the language and names of the view."""
        if isinstance(told, dict):
            if told.keys() == set(LANGUAGES):
                return self._say(told[self.language])
            return {self._say(key): self._say(value) for key, value in told.items()}
        if isinstance(told, list):
            return [self._say(one) for one in told]
        if isinstance(told, str):
            return _PLACEHOLDER.sub(self._name, told)
        return told

    def _name(self, match: re.Match[str]) -> str:
        return (self.outcomes if match[1] else self._names)[match[2]]

    def build(self) -> dict[str, dict[str, Any]]:
        """Return the files' contents by their paths."""
        board = self.board
        return {
            "metadata.yaml": {"version": _VERSION, "type": "Dashboard"},
            f"databases/{_DATABASE}.yaml": {
                "database_name": _DATABASE,
                "sqlalchemy_uri": _ADDRESS,
                "expose_in_sqllab": True,
                "allow_file_upload": False,
                "extra": {"allows_virtual_table_explore": True},
                "uuid": _id("database"),
                "version": _VERSION,
            },
            **{
                f"datasets/{_DATABASE}/{key}.yaml": self._build_dataset(key, told)
                for key, told in board["datasets"].items()
            },
            **{
                f"charts/{key}.yaml": self._build_chart(key, told)
                for key, told in board["charts"].items()
            },
            f"dashboards/{board['slug']}.yaml": self._build_dashboard(),
        }

    def _build_dataset(self, key: str, told: Mapping[str, Any]) -> dict[str, Any]:
        named = told.get("columns", self._columns)
        columns = [
            _column(
                name,
                self._columns[name].type,
                name.replace("_", " ").capitalize() if self.language == "en" else name,
                self._describe(self._columns[name]),
            )
            for name in named
        ]
        for name, one in {**told.get("own", {}), **told.get("added", {})}.items():
            columns.append(_column(name, one["type"], one["title"], None, one.get("sql")))
        return {
            "table_name": told.get("table", told["title"]),
            "main_dttm_col": told.get("time"),
            "description": told.get("description"),
            "schema": "public",
            "sql": told.get("sql"),
            "source_db_engine": "postgresql",
            "params": None,
            "template_params": None,
            "filter_select_enabled": True,
            "extra": None,
            "normalize_columns": False,
            "always_filter_main_dttm": False,
            "uuid": _id(self.language, "dataset", key),
            "metrics": [
                {
                    "metric_name": name,
                    "verbose_name": one["title"],
                    "expression": one["sql"],
                    "description": one.get("description"),
                    "d3format": one.get("format"),
                }
                for name, one in told["metrics"].items()
            ],
            "columns": columns,
            "version": _VERSION,
            "database_uuid": _id("database"),
        }

    def _describe(self, column: ViewColumn) -> str:
        return column.description if self.language == "en" else column.description_ru

    def _show(self, outcome: str) -> str:
        """Return an outcome as the board shows it: `outcome_shown` in `board.yaml`."""
        name = self.outcomes[outcome]
        return name.capitalize().replace("_", " ") if self.language == "en" else name

    def _find_others(self, filtered: str | None) -> list[int]:
        """Return the charts that a filter cannot narrow, the period's too: a chart would say so."""
        apart = {
            key
            for key, told in self.board["datasets"].items()
            if not (
                told.get("time")
                if filtered is None
                else filtered in (*told.get("columns", self._columns), *told.get("own", ()))
            )
        }
        charts = self.board["charts"].items()
        return [self._numbers[key] for key, one in charts if one.get("dataset", "calls") in apart]

    def _build_chart(self, key: str, told: Mapping[str, Any]) -> dict[str, Any]:
        groups, metrics = told.get("groups", []), told.get("metrics", [])
        filters = [
            {"clause": clause, "expressionType": "SQL", "sqlExpression": told[clause.lower()]}
            for clause in ("WHERE", "HAVING")
            if clause.lower() in told
        ]
        dataset = told.get("dataset", "calls")
        if time := self.board["datasets"][dataset].get("time"):
            # What the board's period is put into: a chart without it shows all of time, although
            # its badge says that the period applies.
            filters.append(
                {
                    "clause": "WHERE",
                    "expressionType": "SIMPLE",
                    "subject": time,
                    "operator": "TEMPORAL_RANGE",
                    "comparator": "No filter",
                }
            )
        params: dict[str, Any] = {
            "viz_type": told["type"],
            "adhoc_filters": filters,
            "row_limit": _ROW_LIMIT,
            "groupby": groups,
            "metrics": metrics,
            "color_scheme": "supersetColors",
        }
        if "axis" in told:
            params |= {"x_axis": told["axis"], "time_grain_sqla": told.get("grain")}
            params |= {"show_legend": True, "rich_tooltip": True, "y_axis_format": "SMART_NUMBER"}
        if told["type"] == "table":
            params |= {"query_mode": "aggregate", "order_desc": True, "include_search": False}
        if told["type"] == "heatmap_v2":
            params |= {"groupby": groups[0], "metric": metrics[0]}
        params |= told.get("params", {})
        return {
            "slice_name": told["title"],
            "description": told.get("description"),
            "viz_type": told["type"],
            "params": params,
            # Superset's own page makes it. One from here would name datasets by numbers, which
            # `superset import-directory` leaves as they are.
            "query_context": None,
            "cache_timeout": None,
            "uuid": _id(self.language, "chart", key),
            "version": _VERSION,
            "dataset_uuid": _id(self.language, "dataset", dataset),
        }

    def _build_dashboard(self) -> dict[str, Any]:
        board = self.board
        metrics = board["datasets"]["calls"]["metrics"]
        return {
            "dashboard_title": board["board"],
            "description": None,
            "css": "",
            "slug": f"callkeeper-{board['slug']}",
            "uuid": _id(self.language, "dashboard"),
            "published": True,
            "position": dict(self._build_position()),
            "metadata": {
                "color_scheme": "supersetColors",
                "label_colors": {
                    **{self._show(name): colour for name, colour in _COLOURS.items()},
                    **{metrics[name]["title"]: colour for name, colour in _COLOURS.items()},
                    **_COLOURS,
                },
                "cross_filters_enabled": True,
                "refresh_frequency": 0,
                "native_filter_configuration": [
                    self._build_filter(key, told) for key, told in board["filters"].items()
                ],
            },
            "version": _VERSION,
        }

    def _build_position(self) -> Iterator[tuple[str, Any]]:
        rows = self.board["rows"]
        yield "DASHBOARD_VERSION_KEY", "v2"
        yield "ROOT_ID", {"type": "ROOT", "id": "ROOT_ID", "children": ["GRID_ID"]}
        yield (
            "GRID_ID",
            {
                "type": "GRID",
                "id": "GRID_ID",
                "parents": ["ROOT_ID"],
                "children": [f"ROW-{number}" for number in range(len(rows))],
            },
        )
        yield (
            "HEADER_ID",
            {"type": "HEADER", "id": "HEADER_ID", "meta": {"text": self.board["board"]}},
        )
        for number, keys in enumerate(rows):
            row = f"ROW-{number}"
            yield (
                row,
                {
                    "type": "ROW",
                    "id": row,
                    "parents": ["ROOT_ID", "GRID_ID"],
                    "children": [f"CHART-{key}" for key in keys],
                    "meta": {"background": "BACKGROUND_TRANSPARENT"},
                },
            )
            for key in keys:
                chart = self.board["charts"][key]
                width, height = chart["size"]
                yield (
                    f"CHART-{key}",
                    {
                        "type": "CHART",
                        "id": f"CHART-{key}",
                        "parents": ["ROOT_ID", "GRID_ID", row],
                        "children": [],
                        "meta": {
                            "chartId": self._numbers[key],
                            "uuid": _id(self.language, "chart", key),
                            "sliceName": chart["title"],
                            "width": width,
                            "height": height,
                        },
                    },
                )

    def _build_filter(self, key: str, told: Mapping[str, Any]) -> dict[str, Any]:
        value, column = told.get("value"), told.get("column")
        is_time = column is None
        target = {
            "column": {"name": column},
            "datasetUuid": _id(self.language, "dataset", told.get("dataset", "calls")),
        }
        asked: dict[str, Any] = {}
        if is_time:
            asked = {"time_range": value}
        elif value is not None:
            asked = {"filters": [{"col": column, "op": "IN", "val": [value]}]}
            value = [value]
        return {
            "id": f"NATIVE_FILTER-{key}",
            "type": "NATIVE_FILTER",
            "name": told["title"],
            "description": "",
            "filterType": told.get("type", "filter_select"),
            "targets": [{}] if is_time else [target],
            "controlValues": {
                # A filter with a value of its own is a parameter: one value, and never none.
                "enableEmptyFilter": value is not None and not is_time,
                "multiSelect": value is None,
                "searchAllOptions": False,
                "inverseSelection": False,
            },
            "defaultDataMask": {"extraFormData": asked, "filterState": {"value": value}},
            "cascadeParentIds": [],
            "scope": {"rootPath": ["ROOT_ID"], "excluded": self._find_others(column)},
        }


def _column(
    name: str, kind: str, title: str, description: str | None, expression: str | None = None
) -> dict[str, Any]:
    return {
        "column_name": name,
        "verbose_name": title,
        "is_dttm": kind.startswith("timestamp") or kind == "date",
        "is_active": True,
        "type": kind.upper(),
        "groupby": True,
        "filterable": True,
        "expression": expression,
        "description": description,
    }


def write(language: Language, folder: Path) -> Path:
    """Write the bundle into a folder, which is made anew, and return the archive beside it."""
    shutil.rmtree(folder, ignore_errors=True)
    for path, contents in Bundle(language).build().items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        text = yaml.safe_dump(contents, allow_unicode=True, sort_keys=False, width=10_000)
        file.write_text(text, "utf-8")
    return Path(
        shutil.make_archive(str(folder), "zip", root_dir=folder.parent, base_dir=folder.name)
    )


def main() -> None:
    """Write one bundle, and say where."""
    parser = argparse.ArgumentParser(description="Write the board as a bundle for Superset.")
    parser.add_argument("language", choices=LANGUAGES)
    parser.add_argument("folder", type=Path, nargs="?", help="Default: callkeeper-LANGUAGE.")
    given = parser.parse_args()
    folder: Path = given.folder or Path(f"callkeeper-{given.language}")
    print(write(given.language, folder.resolve()))


if __name__ == "__main__":
    main()
