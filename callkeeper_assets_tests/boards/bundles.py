"""Superset's bundles as tests read them: what each chart asks, as a query and as SQL."""

import importlib.util
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[2]
SUPERSET: Final = ROOT / "boards" / "superset"
LANGUAGES: Final = ("en", "ru")
_GRAINS: Final = {"P1D": "day"}

Contents = dict[str, Any]


@cache
def script() -> Any:  # noqa: ANN401 -- a module that no package has
    """Import `boards/superset/bundle.py`."""
    spec = importlib.util.spec_from_file_location("bundle", SUPERSET / "bundle.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Bundle:
    """One language's files."""

    def __init__(self, language: str) -> None:
        self.files: dict[str, Contents] = script().Bundle(language).build()
        self.datasets = {one["uuid"]: one for one in self._of("datasets/").values()}
        self.charts = {Path(path).stem: one for path, one in self._of("charts/").items()}
        (self.dashboard,) = self._of("dashboards/").values()

    def _of(self, folder: str) -> dict[str, Contents]:
        return {path: one for path, one in self.files.items() if path.startswith(folder)}

    def dataset_of(self, chart: Contents) -> Contents:
        """Return the dataset that a chart asks."""
        return self.datasets[chart["dataset_uuid"]]


def list_columns(params: Mapping[str, Any]) -> list[str]:
    """Return the columns by which a chart's parameters group, the axis first."""
    axis, groups = params.get("x_axis"), params["groupby"]
    return [*([axis] if axis else []), *([groups] if isinstance(groups, str) else groups)]


def build_query(params: Mapping[str, Any]) -> Contents:
    """Build the query that Superset's page makes of a chart's parameters."""
    columns: list[Any] = list_columns(params)
    grain = params.get("time_grain_sqla")
    if grain:
        columns[0] = {
            "columnType": "BASE_AXIS",
            "expressionType": "SQL",
            "isColumnReference": True,
            "label": columns[0],
            "sqlExpression": columns[0],
            "timeGrain": grain,
        }
    texts = {one["clause"]: one.get("sqlExpression", "") for one in params["adhoc_filters"]}
    return {
        "columns": columns,
        "metrics": params["metrics"],
        "filters": [
            {"col": one["subject"], "op": one["operator"], "val": one["comparator"]}
            for one in params["adhoc_filters"]
            if one["expressionType"] == "SIMPLE"
        ],
        "extras": {
            "where": next(
                (
                    one["sqlExpression"]
                    for one in params["adhoc_filters"]
                    if one["clause"] == "WHERE" and one["expressionType"] == "SQL"
                ),
                "",
            ),
            "having": texts.get("HAVING", ""),
        },
        "row_limit": params["row_limit"],
    }


def build_sql(chart: Contents, dataset: Contents) -> str:
    """Build the statement of a chart, its columns first, then its metrics."""
    query = build_query(chart["params"])
    own = {one["column_name"]: one["expression"] for one in dataset["columns"]}
    metrics = {one["metric_name"]: one["expression"] for one in dataset["metrics"]}
    columns = []
    for one in query["columns"]:
        if isinstance(one, str):
            columns.append(own[one] or f'"{one}"')
        else:
            columns.append(f"date_trunc('{_GRAINS[one['timeGrain']]}', \"{one['label']}\")")
    source = f"({dataset['sql']})" if dataset["sql"] else f'"{dataset["table_name"]}"'
    groups = ", ".join(str(number) for number in range(1, len(columns) + 1))
    parts = [
        f"SELECT {', '.join([*columns, *(metrics[name] for name in query['metrics'])])}",
        f"FROM {source} AS asked",
        f"WHERE {query['extras']['where']}" if query["extras"]["where"] else "",
        f"GROUP BY {groups}",
        f"HAVING {query['extras']['having']}" if query["extras"]["having"] else "",
    ]
    return " ".join(part for part in parts if part)


def has_cyrillic(text: str) -> bool:
    """Whether a text has a letter that Russian alone of the two languages has."""
    return re.search("[а-яё]", text, re.IGNORECASE) is not None
