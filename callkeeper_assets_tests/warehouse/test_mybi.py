"""What a public dbt package for mybi's warehouse expects of the `general_*` tables.

Its seven staging models, written anew as views, and its tests of them. Held on tables with calls,
and before the first one came.
"""

from collections.abc import Iterator
from datetime import date

import pytest

from callkeeper_assets.postgres import connect
from callkeeper_assets_tests.templates import MakeDatabase, Template
from callkeeper_assets_tests.warehouse.raw_days import DAY, call, day_of, load_all, rows

_DATES = (
    "id, full_date, year, quarter, quarter_label, month, month_label, week, weekday, "
    "weekday_label, day, hour, minute, simple_date"
)
_COSTS = "account_id, dates_id, sites_id, traffic_id, impressions, clicks, cost, vat_included"
_MODELS = {
    "accounts": "SELECT id, account_id, caption, service, enabled, status, interval_start, "
    "interval_end FROM general_accounts",
    "clientids": "SELECT id, clientid, userid, phone, email FROM general_clientids",
    "dates": f"SELECT {_DATES}, date_trunc('week', simple_date)::date AS week_start "
    "FROM general_dates",
    "locations": "SELECT id, country_iso, country, region_iso, region, city, latitude, longitude "
    "FROM general_locations",
    "sites": "SELECT id, domain, description FROM general_sites",
    "traffic": 'SELECT id, "grouping", source, medium, campaign, content, keyword, landing_page '
    "FROM general_traffic",
    "costs_facts": f"SELECT {_COSTS}, simple_date, full_date FROM general_costs_facts AS c "
    "LEFT JOIN model_dates AS d ON d.id = c.dates_id",
}
_UNIQUE = ("accounts", "clientids", "dates", "locations", "sites", "traffic")
# Model and column, each not null; and each of the columns named `id` unique.
_NOT_NULL = (
    *((model, "id") for model in _UNIQUE),
    ("dates", "full_date"),
    ("dates", "simple_date"),
    *(("costs_facts", name) for name in ("account_id", "dates_id", "sites_id", "traffic_id")),
)


@pytest.fixture(scope="module", params=["loaded", "empty"])
def models(make_database: MakeDatabase, request: pytest.FixtureRequest) -> Iterator[str]:
    """A database with the models, some calls or none; its URL."""
    with make_database(Template.WAREHOUSE) as url:
        if request.param == "loaded":
            place = dict.fromkeys(("country", "region", "city", "site", "visit_info"))
            load_all(url, [day_of(DAY, [call(n) for n in range(5)] + [call(9, **place)])])
        with connect(url, autocommit=True) as connection:
            for name, statement in _MODELS.items():
                connection.execute(f"CREATE VIEW model_{name} AS {statement}".encode())
        yield url


@pytest.mark.parametrize(("model", "column"), _NOT_NULL)
def test_a_column_is_never_null(models: str, model: str, column: str) -> None:
    assert rows(models, f"SELECT count(*) FROM model_{model} WHERE {column} IS NULL") == [(0,)]


@pytest.mark.parametrize("model", _UNIQUE)
def test_an_id_is_unique(models: str, model: str) -> None:
    repeated = f"SELECT id FROM model_{model} GROUP BY id HAVING count(*) > 1"
    assert rows(models, repeated) == []
    assert rows(models, f"SELECT count(*) > 0 FROM model_{model} WHERE id = 1") == [(True,)]


def test_costs_are_there_and_empty(models: str) -> None:
    assert rows(models, "SELECT count(*) FROM model_costs_facts") == [(0,)]


def test_the_row_for_unknown_says_what_its_id_means(models: str) -> None:
    found = rows(models, f"SELECT {_DATES}, week_year FROM general_dates WHERE id = 1")
    minute = rows(models, "SELECT timestamp '1970-01-01' + interval '1 minute'")[0][0]
    first = (1970, 1, "I", 1, "Январь", 1, 4, "Четверг", 1, 0, 1, date(1970, 1, 1), 1970)
    assert found == [(1, minute, *first)]


@pytest.mark.parametrize(
    ("day", "week", "year"),
    [
        (date(2025, 12, 29), 1, 2026),
        (date(2026, 1, 1), 1, 2026),
        (date(2021, 1, 3), 53, 2020),
        (date(2024, 12, 30), 1, 2025),
        (date(2026, 12, 31), 53, 2026),
    ],
)
def test_a_week_is_of_the_year_that_has_most_of_it(
    database: str, day: date, week: int, year: int
) -> None:
    load_all(database, [day_of(day, [call(1)])])
    found = "SELECT DISTINCT week, week_year, simple_date FROM general_dates WHERE id <> 1"
    assert rows(database, found) == [(week, year, day)]
