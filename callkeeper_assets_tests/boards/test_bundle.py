"""Superset's board without Superset: what it names is there, what it asks is answered."""

from decimal import Decimal
from typing import Any

import psycopg

from callkeeper_assets.warehouse.outcomes import OUTCOMES
from callkeeper_assets_tests.boards.bundles import (
    LANGUAGES,
    Bundle,
    build_sql,
    has_cyrillic,
    list_columns,
    script,
)
from callkeeper_assets_tests.boards.conftest import Loaded

_BUNDLES = {language: Bundle(language) for language in LANGUAGES}
# What the views, and the datasets over them, say in words of their own language.
_WORDS = {
    **{one.label_ru: one.name.replace("_", " ").capitalize() for one in OUTCOMES},
    "не указан": "not told",
    "без кампании": "none",
}
_DAYS_OF_WEEK = "Понедельник Вторник Среда Четверг Пятница Суббота Воскресенье"


def _in_english(value: Any) -> Any:  # noqa: ANN401 -- a value of SQL
    if isinstance(value, str):
        number, _, day = value.partition(" ")
        if day in _DAYS_OF_WEEK.split():
            return number
        return _WORDS.get(value, value.replace(" доб. ", " ext. "))
    return round(value, 6) if isinstance(value, float | Decimal) else value


def _ask(url: str, bundle: Bundle, key: str) -> list[tuple[Any, ...]]:
    chart = bundle.charts[key]
    with psycopg.connect(url) as connection:
        rows = connection.execute(build_sql(chart, bundle.dataset_of(chart)).encode()).fetchall()
    is_weekday = "weekday_shown" in list_columns(chart["params"])
    return sorted(
        (
            tuple(
                value.partition(" ")[0]
                if is_weekday and isinstance(value, str)
                else _in_english(value)
                for value in row
            )
            for row in rows
        ),
        key=str,
    )


def test_both_languages_have_ten_charts_that_answer_the_same(loaded: Loaded) -> None:
    """As the role of a BI tool: a table that it may not read fails here."""
    assert _BUNDLES["en"].charts.keys() == _BUNDLES["ru"].charts.keys()
    assert len(_BUNDLES["en"].charts) == 10
    for key in _BUNDLES["en"].charts:
        rows = _ask(loaded.bi, _BUNDLES["en"], key)
        assert rows, key
        assert rows == _ask(loaded.bi, _BUNDLES["ru"], key), key


def test_charts_count_what_was_loaded(loaded: Loaded) -> None:
    """Of the five calls a day two are answered, the manager and the client miss one each."""
    by_day = _ask(loaded.bi, _BUNDLES["en"], "calls_by_day")
    assert sum(calls for _, outcome, calls in by_day if outcome == "Answered") == 20
    assert sum(calls for _, _, calls in by_day) == 50
    assert _ask(loaded.bi, _BUNDLES["en"], "sources") == [("yandex", 20, 10, 10)]
    ((client, calls, answered, _, last_call),) = _ask(loaded.bi, _BUNDLES["en"], "repeat_callers")
    assert (client, calls, answered) == ("+70009999999", 10, 10)
    assert last_call is not None
    ((_, _, _, _, open_discrepancies),) = _ask(loaded.bi, _BUNDLES["en"], "freshness")
    assert open_discrepancies == 1


def test_the_heat_map_has_every_hour_of_the_week_and_counts_each_call_once(loaded: Loaded) -> None:
    """Hours without calls show 0 in place of a hole."""
    cells = _ask(loaded.bi, _BUNDLES["en"], "heat_map")
    assert len(cells) == 24 * 7
    assert sum(calls for _, _, calls in cells) == 50


def test_a_filter_leaves_out_charts_that_it_cannot_narrow() -> None:
    """Left in, the chart's badge would say that it applies."""
    board = _BUNDLES["en"].dashboard
    charts = {
        one["meta"]["chartId"]: one["meta"]["sliceName"]
        for one in board["position"].values()
        if _is_chart(one)
    }
    left_out = {
        one["name"]: {charts[number] for number in one["scope"]["excluded"]}
        for one in board["metadata"]["native_filter_configuration"]
    }
    freshness = {"Freshness and discrepancies"}
    assert left_out["Account"] == set()
    assert left_out["Period"] == left_out["Source"] == left_out["Manager"] == freshness
    others = set(charts.values()) - {"What missed calls cost by week"}
    assert left_out["What a missed call costs"] == others


def test_missed_calls_cost_nothing_until_one_price_is_chosen(loaded: Loaded) -> None:
    bundle = _BUNDLES["en"]
    chart = bundle.charts["missed_cost"]
    dataset = bundle.dataset_of(chart)
    assert all(cost is None for _, cost in _ask(loaded.bi, bundle, "missed_cost"))
    (price,) = (
        one["defaultDataMask"]["filterState"]["value"][0]
        for one in bundle.dashboard["metadata"]["native_filter_configuration"]
        if one["id"] == "NATIVE_FILTER-price"
    )
    chosen = build_sql(
        chart, {**dataset, "sql": f"SELECT * FROM ({dataset['sql']}) AS o WHERE price = {price}"}
    )
    with psycopg.connect(loaded.bi) as connection:
        assert sum(row[1] for row in connection.execute(chosen.encode())) == 10 * price


def test_all_that_a_bundle_names_is_in_the_database(loaded: Loaded) -> None:
    for bundle in _BUNDLES.values():
        with psycopg.connect(loaded.bi) as connection:
            for dataset in bundle.datasets.values():
                source = dataset["sql"] or f'SELECT * FROM "{dataset["table_name"]}"'
                found = connection.execute(f"SELECT * FROM ({source}) AS o LIMIT 0".encode())
                there = {column.name for column in found.description or ()}
                named = {c["column_name"] for c in dataset["columns"] if not c["expression"]}
                assert named == there
        _check_charts(bundle)


def _check_charts(bundle: Bundle) -> None:
    """Check that charts and filters name columns, metrics and charts that are there."""
    names = {
        uuid: {one["column_name"] for one in dataset["columns"]}
        for uuid, dataset in bundle.datasets.items()
    }
    for chart in bundle.charts.values():
        dataset, params = bundle.dataset_of(chart), chart["params"]
        assert set(list_columns(params)) <= names[dataset["uuid"]]
        assert set(params["metrics"]) <= {one["metric_name"] for one in dataset["metrics"]}
        periods = [one["subject"] for one in params["adhoc_filters"] if "subject" in one]
        # Without it the board's period would do nothing, and its badge would say that it does.
        assert periods == ([dataset["main_dttm_col"]] if dataset["main_dttm_col"] else [])
    for one in bundle.dashboard["metadata"]["native_filter_configuration"]:
        for target in filter(None, one["targets"]):
            assert target["column"]["name"] in names[target["datasetUuid"]]
    shown = [one["meta"]["uuid"] for one in bundle.dashboard["position"].values() if _is_chart(one)]
    assert sorted(shown) == sorted(one["uuid"] for one in bundle.charts.values())


def _is_chart(part: object) -> bool:
    return isinstance(part, dict) and part["type"] == "CHART"


def test_each_text_is_in_the_language_of_its_bundle() -> None:
    english, russian = _BUNDLES["en"], _BUNDLES["ru"]
    assert not has_cyrillic(str(english.files))
    titles = [
        *(one["slice_name"] for one in russian.charts.values()),
        *(
            told["verbose_name"]
            for dataset in russian.datasets.values()
            for told in (*dataset["columns"], *dataset["metrics"])
        ),
        *(one["name"] for one in russian.dashboard["metadata"]["native_filter_configuration"]),
        russian.dashboard["dashboard_title"],
    ]
    # A name, not a word: ClientID Google.
    assert {one for one in titles if not has_cyrillic(one)} == {"ClientID Google"}
    assert "<" not in str([russian.charts, russian.dashboard, english.charts, english.dashboard])
    uuids = [one["uuid"] for bundle in _BUNDLES.values() for one in bundle.charts.values()]
    assert len(set(uuids)) == len(uuids)
    assert script().LANGUAGES == LANGUAGES
