"""A warehouse that holds millions of calls of years, in minutes: loaded days, multiplied in SQL.

A copied call is in every column one that the product has loaded, but for its ids, its time and its
client: a fifth of the clients call on four days, the others on one. Minutes, the load log and the
days' records are made to match. Raw calls are there only of the days that were loaded.
"""

import datetime as dt
from collections.abc import Iterator, Mapping
from typing import Final

from callkeeper_assets.postgres import connect
from callkeeper_assets.warehouse.tables import TABLES
from callkeeper_assets_tests.benchmarks.stand import CALLS_A_DAY, TIME_ZONE

_MOST_DAYS: Final = 1_066
# On days before the loaded ones lie copies of these, by time, as after a historic load. The first
# {single} days have one copy each: as many calls as a loaded day. A client who returns is the same
# in four copies of a day.
_COPIES: Final = """
    CREATE TEMP TABLE copies AS
    SELECT
        n AS copy,
        n - n / {loaded} % 4 * {loaded} AS shared,
        date '{first}' + n % {loaded} AS base,
        date '{first}' - {days} + CASE
            WHEN n < {single} THEN n
            ELSE {single} + (n - {single}) * ({days} - {single}) / greatest({many} - {single}, 1)
        END AS day
    FROM generate_series(0, {many} - 1) AS n
"""
_LOADED: Final = """
    CREATE TEMP TABLE loaded AS
    SELECT
        (called_at AT TIME ZONE '{zone}')::date AS base,
        c.id AS loaded_id,
        f.clientids_id AS visitor,
        f.clientids_id % 5 = 0 AS returns,
        row_number() OVER (ORDER BY c.called_at, c.id) AS place
    FROM callkeeper_calls AS c
    JOIN callkeeper_calls_facts AS f ON f.account_id = c.account_id AND f.calls_id = c.id
    WHERE (called_at AT TIME ZONE '{zone}')::date >= '{first}'
"""
_PREPARED: Final = (
    (
        "CREATE TEMP TABLE loaded_general_clientids AS SELECT * FROM general_clientids AS t JOIN"
        " (SELECT base, visitor, returns, min(place) AS place FROM loaded GROUP BY 1, 2, 3) AS l"
        " ON l.visitor = t.id AND l.visitor <> 1"
    ),
    (
        "CREATE TEMP TABLE loaded_callkeeper_calls AS"
        " SELECT * FROM callkeeper_calls AS t JOIN loaded AS l ON l.loaded_id = t.id"
    ),
    (
        "CREATE TEMP TABLE loaded_callkeeper_calls_facts AS"
        " SELECT * FROM callkeeper_calls_facts AS t JOIN loaded AS l ON l.loaded_id = t.calls_id"
    ),
)
# The outer loop keeps the order: to sort ten million rows takes longer than to write them.
_INSERT: Final = """
    INSERT INTO {table} ({columns})
    SELECT {values}
    FROM (SELECT * FROM copies ORDER BY copy) AS k
    CROSS JOIN LATERAL (
        SELECT * FROM loaded_{table} WHERE base = k.base {condition} ORDER BY place OFFSET 0
    ) AS t
"""
_COPY: Final = "CASE WHEN t.returns THEN k.shared ELSE k.copy END"
_CALL: Final = "t.{} + (k.copy + 1) * (SELECT max(loaded_id) FROM loaded)"
_CLIENT: Final = f"({_COPY} + 1) * (SELECT max(visitor) FROM loaded)"
_LAST: Final = "(SELECT count(*) + 1 FROM copies) * (SELECT max({}) FROM loaded)"
_LATER: Final = "t.{} + (k.day - k.base) * interval '1 day'"


def _shift_phone(phone: str) -> str:
    digits = f"((right({phone}, 9)::bigint + ({_COPY}) * 7919) % 1000000000)::text"
    return f"left({phone}, -9) || lpad({digits}, 9, '0')"


# By table: what a copy has in place of the loaded row's columns.
_CHANGED: Final[Mapping[str, Mapping[str, str]]] = {
    "general_clientids": {
        "id": f"t.id + {_CLIENT}",
        "clientid": f"t.clientid || ({_COPY})",
        "userid": f"t.userid || ({_COPY})",
        "phone": _shift_phone("t.phone"),
        "key_hash": f"md5(t.key_hash::text || ({_COPY}))::uuid",
    },
    "callkeeper_calls": {
        "id": _CALL.format("id"),
        # Below all ids of the simulator, and rising with the day.
        "call_id": f"k.copy * {2 * CALLS_A_DAY} + t.call_id % {2 * CALLS_A_DAY}",
        "client_phone": _shift_phone("t.client_phone"),
        **{name: _LATER.format(name) for name in ("called_at", "ordered_at", "first_visit_at")},
    },
    "callkeeper_calls_facts": {
        "calls_id": _CALL.format("calls_id"),
        "dates_id": "t.dates_id + (k.day - k.base) * 1440",
        "began_at": _LATER.format("began_at"),
        "client": _shift_phone("t.client"),
        "clientids_id": f"CASE t.clientids_id WHEN 1 THEN 1 ELSE t.clientids_id + {_CLIENT} END",
    },
}
# Each client once: in the copy that those who return are counted from.
_CONDITIONS: Final = {"general_clientids": "AND (NOT returns OR k.shared = k.copy)"}
_MINUTES: Final = """
    INSERT INTO general_dates ({columns})
    SELECT {values}
    FROM (
        SELECT m.id, timestamp '1970-01-01' + m.id * interval '1 minute' AS at
        FROM (SELECT DISTINCT dates_id AS id FROM callkeeper_calls_facts) AS m
        WHERE NOT EXISTS (SELECT FROM general_dates AS d WHERE d.id = m.id)
        ORDER BY m.id
    ) AS m
    CROSS JOIN LATERAL (
        SELECT * FROM (VALUES
            ('I', ARRAY['Январь', 'Февраль', 'Март']), ('II', ARRAY['Апрель', 'Май', 'Июнь']),
            ('III', ARRAY['Июль', 'Август', 'Сентябрь']),
            ('IV', ARRAY['Октябрь', 'Ноябрь', 'Декабрь'])
        ) AS q (quarter_label, months) OFFSET extract(quarter FROM at)::integer - 1 LIMIT 1
    ) AS q
"""
_MINUTE: Final = {
    "id": "m.id",
    "full_date": "at",
    "simple_date": "at::date",
    "week_year": "extract(isoyear FROM at)",
    "weekday": "extract(isodow FROM at)",
    "quarter_label": "quarter_label",
    "month_label": "months[1 + (extract(month FROM at)::integer - 1) % 3]",
    "weekday_label": "(ARRAY['Понедельник', 'Вторник', 'Среда', 'Четверг', 'Пятница', 'Суббота',"
    " 'Воскресенье'])[extract(isodow FROM at)]",
    **{part: f"extract({part} FROM at)" for part in ("year", "quarter", "month", "week", "day")},
    **{part: f"extract({part} FROM at)" for part in ("hour", "minute")},
}
# Rows of a day, each as often as the day has copies, in one.
_LOGGED: Final = """
    INSERT INTO {table} ({columns})
    SELECT {values}
    FROM (SELECT day, min(base) AS base, count(*) AS times FROM copies GROUP BY day) AS k
    JOIN {table} AS t ON t.day = k.base
    ORDER BY k.day
"""
_TIMES: Final = ("started_at", "finished_at", "fetched_at")
_LOG_CHANGED: Final[Mapping[str, Mapping[str, str]]] = {
    "callkeeper_loads": {
        "day": "k.day",
        "rows_added": "t.rows_added * k.times",
        **{name: _LATER.format(name) for name in _TIMES},
    },
    "callkeeper_days": {
        "day": "k.day",
        **{name: f"t.{name} * k.times" for name in ("raw_calls", "non_final", "most_calls")},
    },
}
# Ids go on behind those of the last copy.
_SETTLED: Final = (
    f"SELECT setval(pg_get_serial_sequence('callkeeper_calls', 'id'), {_LAST.format('loaded_id')})",
    f"SELECT setval(pg_get_serial_sequence('general_clientids', 'id'), {_LAST.format('visitor')})",
    "UPDATE general_accounts SET interval_start = (SELECT min(day) FROM copies) WHERE id <> 1",
    "VACUUM (ANALYZE)",
)


def _fill(
    statement: str, table: str, changed: Mapping[str, str], left_out: str = "", **more: str
) -> str:
    columns = [name for name in TABLES[table].column_names if name != left_out]
    values = [changed.get(name, f't."{name}"') for name in columns]
    quoted = ", ".join(f'"{name}"' for name in columns)
    return statement.format(table=table, columns=quoted, values=", ".join(values), **more)


def _list_statements(first: dt.date, loaded: int, many: int, single: int) -> Iterator[str]:
    days = min(many, _MOST_DAYS)
    yield _COPIES.format(first=first, loaded=loaded, days=days, single=single, many=many)
    yield _LOADED.format(zone=TIME_ZONE, first=first)
    yield from _PREPARED
    for table, changed in _CHANGED.items():
        yield f"CREATE INDEX ON loaded_{table} (base, place)"
        yield f"ANALYZE loaded_{table}"
        yield _fill(_INSERT, table, changed, condition=_CONDITIONS.get(table, ""))
    yield _fill(_MINUTES, "general_dates", _MINUTE)
    yield _fill(_LOGGED, "callkeeper_loads", _LOG_CHANGED["callkeeper_loads"], left_out="id")
    yield _fill(_LOGGED, "callkeeper_days", _LOG_CHANGED["callkeeper_days"])
    yield from _SETTLED


def multiply_calls(
    database_url: str, first: dt.date, loaded: int, copies: int, single: int
) -> dt.date:
    """Put copies of the loaded days on older days; return the oldest.

    Args:
        database_url: of a database that holds the loaded days of one account alone.
        first: the first loaded day.
        loaded: how many days are loaded.
        copies: how many copies of a day are made.
        single: how many of the oldest days have one copy alone.
    """
    with connect(database_url, autocommit=True) as connection:
        connection.execute("SET work_mem = '256MB'")
        for statement in _list_statements(first, loaded, copies, single):
            connection.execute(statement.encode())
        row = connection.execute("SELECT min(day)::text FROM copies").fetchone()
    assert row is not None
    return dt.date.fromisoformat(str(row[0]))
