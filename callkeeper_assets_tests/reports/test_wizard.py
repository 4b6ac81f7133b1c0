"""The wizard's test: twenty reports of one day against an oracle written without the product.

The oracle walks the calls as plain Python does, and knows nothing of JMESPath, of staging or of the
product's rules of values but what docs/reports.md says of them.
"""

import json
from collections.abc import Callable, Iterator
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from callkeeper_assets.reports.definition import Report
from callkeeper_assets.warehouse.filters import Filter
from callkeeper_assets_tests.reports.building import build_all, fetch, table
from callkeeper_assets_tests.warehouse.raw_days import DAY, Call, call, day_of

_CITIES = ("Москва", "Санкт-Петербург", "Ёлкино; DROP TABLE callkeeper_calls", "", "Tab\tand\\N")


def _calls() -> list[Call]:
    """Calls whose every report-relevant field varies, as strings and as numbers."""
    calls = []
    for n in range(1, 61):
        made = call(
            1000 + n,
            status2_code=200 if n % 3 else 486,
            city=_CITIES[n % len(_CITIES)],
            duration2_sec=str(n * 7) if n % 2 else n * 7,
            date=f"2026-03-02 0{n % 10}:1{n % 6}:00",
            date_timestamp=1772409600 + n,
            tags=[f"тег {t}" for t in range(n % 4)],
            price=f"{n}.{n:02d}0" if n % 5 else None,
            share=n / 8,
            is_new="yes" if n % 2 else 0,
            born=f"1990-0{n % 9 + 1}-15",
            hooks=[
                {
                    "name": f"hook{h}",
                    "code": 200 + h,
                    "tries": [{"at": h * 10 + t} for t in range(h)],
                }
                for h in range(n % 3)
            ],
            **{"новое поле": {"вложено": [n, None, {"глубоко": f"значение {n}"}]}},
        )
        made["visit_info"]["current"]["utm_campaign"] = f"кампания {n % 7}"
        calls.append(made)
    return calls


CALLS = _calls()


def _int(value: Any) -> int | None:  # noqa: ANN401
    return None if value in (None, "", " ") else int(value)


def _text(value: Any) -> str | None:  # noqa: ANN401
    return None if value in (None, "", " ") else str(value)


def _get(one: Call, *names: str) -> Any:  # noqa: ANN401
    value: Any = one
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _json_rows(**paths: tuple[str, ...]) -> Iterator[tuple[Any, ...]]:
    for one in CALLS:
        yield one["id"], {name: _get(one, *path) for name, path in paths.items()}


Oracle = Callable[[], Iterator[tuple[Any, ...]]]

# Report, the query that shows what it made, and what that must be.
CASES: list[tuple[Report, str, Oracle]] = [
    (
        Report("plain", fields=(("id", "id"), ("city", "city"))),
        "SELECT call_id, data FROM callkeeper_reports WHERE report = 'plain'",
        lambda: _json_rows(id=("id",), city=("city",)),
    ),
    (
        Report("renamed", fields=(("кампания", "visit_info.current.utm_campaign"),)),
        "SELECT call_id, data FROM callkeeper_reports WHERE report = 'renamed'",
        lambda: _json_rows(кампания=("visit_info", "current", "utm_campaign")),
    ),
    (
        Report("whole", fields=(("all", "@"),)),
        "SELECT call_id, data->'all' FROM callkeeper_reports WHERE report = 'whole'",
        lambda: ((one["id"], one) for one in CALLS),
    ),
    (
        Report("unknown_field", fields=(("f", '"новое поле"."вложено"'), ("none", "no.such.path"))),
        "SELECT call_id, data FROM callkeeper_reports WHERE report = 'unknown_field'",
        lambda: _json_rows(f=("новое поле", "вложено"), none=("no", "such", "path")),
    ),
    (
        Report("functions", fields=(("tags", "length(tags)"), ("first", "tags[0]"))),
        "SELECT call_id, data FROM callkeeper_reports WHERE report = 'functions'",
        lambda: (
            (o["id"], {"tags": len(o["tags"]), "first": o["tags"][0] if o["tags"] else None})
            for o in CALLS
        ),
    ),
    (
        Report(
            "filtered",
            fields=(("id", "id"),),
            filters=(Filter("status", "eq", "success"), Filter("duration2_sec", "ge", 70)),
        ),
        "SELECT call_id, data FROM callkeeper_reports WHERE report = 'filtered'",
        lambda: (
            (o["id"], {"id": o["id"]})
            for o in CALLS
            if o["status2_code"] == 200 and int(o["duration2_sec"]) >= 70
        ),
    ),
    (
        Report("by_raw_path", fields=(("id", "id"),), filters=(Filter("city", "eq", "Москва"),)),
        "SELECT call_id, data FROM callkeeper_reports WHERE report = 'by_raw_path'",
        lambda: ((o["id"], {"id": o["id"]}) for o in CALLS if o["city"] == "Москва"),
    ),
    (
        Report("nothing", fields=(("id", "id"),), filters=(Filter("city", "eq", "нет"),)),
        "SELECT call_id, data FROM callkeeper_reports WHERE report = 'nothing'",
        lambda: iter(()),
    ),
    (
        Report("t_bigint", structure=(table("w_bigint", "id", {"id": ("id", "bigint")}),)),
        "SELECT id FROM w_bigint",
        lambda: ((o["id"],) for o in CALLS),
    ),
    (
        Report(
            "t_integer",
            structure=(
                table(
                    "w_integer",
                    "id",
                    {"id": ("id", "integer"), "talk": ("duration2_sec", "integer")},
                ),
            ),
        ),
        "SELECT id, talk FROM w_integer",
        lambda: ((o["id"], _int(o["duration2_sec"])) for o in CALLS),
    ),
    (
        Report(
            "t_numeric",
            structure=(
                table("w_numeric", "id", {"id": ("id", "bigint"), "price": ("price", "numeric")}),
            ),
        ),
        "SELECT id, price FROM w_numeric",
        lambda: ((o["id"], Decimal(o["price"]) if o["price"] else None) for o in CALLS),
    ),
    (
        Report(
            "t_double",
            structure=(
                table("w_double", "id", {"id": ("id", "bigint"), "s": ("share", "double")}),
            ),
        ),
        "SELECT id, s FROM w_double",
        lambda: ((o["id"], o["share"]) for o in CALLS),
    ),
    (
        Report(
            "t_boolean",
            structure=(
                table("w_boolean", "id", {"id": ("id", "bigint"), "n": ("is_new", "boolean")}),
            ),
        ),
        "SELECT id, n FROM w_boolean",
        lambda: ((o["id"], o["is_new"] == "yes") for o in CALLS),
    ),
    (
        Report(
            "t_text",
            structure=(
                table(
                    "w_text",
                    "id",
                    {"id": ("id", "bigint"), "город": ("city", "text"), "s": ("share", "text")},
                ),
            ),
        ),
        'SELECT id, "город", s::float FROM w_text',
        lambda: ((o["id"], _text(o["city"]), o["share"]) for o in CALLS),
    ),
    (
        Report(
            "t_date",
            structure=(
                table(
                    "w_date",
                    "id",
                    {"id": ("id", "bigint"), "b": ("born", "date"), "d": ("date", "date")},
                ),
            ),
        ),
        "SELECT id, b, d FROM w_date",
        lambda: (
            (o["id"], date.fromisoformat(o["born"]), date.fromisoformat(o["date"][:10]))
            for o in CALLS
        ),
    ),
    (
        Report(
            "t_timestamp",
            structure=(
                table(
                    "w_timestamp",
                    "id",
                    {
                        "id": ("id", "bigint"),
                        "at": ("date", "timestamp"),
                        "epoch": ("date_timestamp", "timestamp"),
                    },
                ),
            ),
        ),
        "SELECT id, at, extract(epoch FROM epoch)::bigint FROM w_timestamp",
        lambda: ((o["id"], datetime.fromisoformat(o["date"]), o["date_timestamp"]) for o in CALLS),
    ),
    (
        Report(
            "t_jsonb",
            structure=(
                table("w_jsonb", "id", {"id": ("id", "bigint"), "j": ('"новое поле"', "jsonb")}),
            ),
        ),
        "SELECT id, j FROM w_jsonb",
        lambda: ((o["id"], o["новое поле"]) for o in CALLS),
    ),
    (
        Report(
            "one_to_many_twice",
            structure=(
                table(
                    "w_tags", "id tag", {"id": ("^id", "bigint"), "tag": ("@", "text")}, "tags[]"
                ),
                table(
                    "w_hooks",
                    "id hook",
                    {
                        "id": ("^id", "bigint"),
                        "hook": ("name", "text"),
                        "code": ("code", "integer"),
                        "campaign": ("^visit_info.current.utm_campaign", "text"),
                    },
                    "hooks[]",
                ),
            ),
        ),
        (
            "SELECT id, tag, NULL, NULL FROM w_tags "
            "UNION ALL SELECT id, hook, code, campaign FROM w_hooks"
        ),
        lambda: (
            row
            for o in CALLS
            for row in (
                *((o["id"], tag, None, None) for tag in o["tags"]),
                *(
                    (o["id"], h["name"], h["code"], o["visit_info"]["current"]["utm_campaign"])
                    for h in o["hooks"]
                ),
            )
        ),
    ),
    (
        Report(
            "nested_lists",
            structure=(
                table(
                    "w_tries",
                    "id at",
                    {"id": ("^id", "bigint"), "at": ("at", "integer")},
                    "hooks[].tries[]",
                ),
            ),
        ),
        "SELECT id, at FROM w_tries",
        lambda: ((o["id"], t["at"]) for o in CALLS for h in o["hooks"] for t in h["tries"]),
    ),
    (
        Report(
            "one_object",
            structure=(
                table(
                    "w_visit",
                    "id",
                    {"id": ("^id", "bigint"), "src": ("src", "text")},
                    "visit_info.current",
                ),
            ),
            filters=(Filter("call_id", "le", 1010),),
        ),
        "SELECT id, src FROM w_visit",
        lambda: ((o["id"], "yandex") for o in CALLS if o["id"] <= 1010),
    ),
]


def _sorted(rows: Iterator[tuple[Any, ...]] | list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    return sorted(rows, key=lambda row: json.dumps(row, sort_keys=True, default=str))


def test_twenty_reports_of_one_day_are_what_an_oracle_says(database: str) -> None:
    assert len(CASES) == 20
    built = build_all(database, [day_of(DAY, CALLS)], *(report for report, _, _ in CASES))
    assert {one.report for one in built} == {report.name for report, _, _ in CASES}
    for report, query, oracle in CASES:
        expected = list(oracle())
        assert _sorted(fetch(database, query)) == _sorted(expected), report.name
        (one,) = [each for each in built if each.report == report.name]
        assert (one.rejects, sum(one.rows.values())) == (0, len(expected)), report.name
    assert fetch(database, "SELECT count(*) FROM callkeeper_rejects") == [(0,)]
    again = build_all(database, [day_of(DAY, CALLS)], *(report for report, _, _ in CASES))
    assert {(c.added, c.updated, c.deleted) for one in again for c in one.counts.values()} == {
        (0, 0, 0)
    }
