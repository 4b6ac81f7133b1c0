"""Days of reports: replaced whole, only what changed is written, bad values kept out and told."""

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from callkeeper_assets.raw.store import Day
from callkeeper_assets.reports.definition import ColumnType, Report
from callkeeper_assets.reports.rows import BuiltDay, RefusedReport
from callkeeper_assets.warehouse.migrate import ensure_schema
from callkeeper_assets.warehouse.queries import stale_days_of_report
from callkeeper_assets.warehouse.records import BadDataError, UnavailableError, WarehouseError
from callkeeper_assets_tests.extent import examples
from callkeeper_assets_tests.reports.building import (
    build,
    build_all,
    changes,
    fetch,
    read_tuples,
    table,
)
from callkeeper_assets_tests.templates import from_nothing
from callkeeper_assets_tests.warehouse.raw_days import (
    DAY,
    MAIN,
    call,
    day_of,
    load_all,
    moment_of,
    raw_day,
)

NEXT = DAY + timedelta(days=1)
AS_JSON = Report("as_json", fields=(("id", "id"), ("talk", "duration2_sec")))
TALKS = Report(
    "talks",
    structure=(
        table("talks", "id", {"id": ("id", "bigint"), "talk": ("duration2_sec", "integer")}),
        table("talk_tags", "id tag", {"id": ("^id", "bigint"), "tag": ("@", "text")}, "tags[]"),
    ),
)


def find_stale_days(url: str, report: Report) -> list[date]:
    """Return the days that the report has to be built for."""
    return stale_days_of_report(url, MAIN.name, report.name, report.digest)


@from_nothing
def test_a_second_load_writes_nothing(database: str) -> None:
    days = [
        day_of(
            DAY, [call(n, tags=["a", "b"], duration2_sec="x" if n == 3 else 5) for n in range(9)]
        )
    ]
    first = build_all(database, days, AS_JSON, TALKS)
    assert changes(first) == {
        "callkeeper_reports": (9, 0, 0),
        "talks": (8, 0, 0),
        "talk_tags": (18, 0, 0),
    }
    names = ("callkeeper_reports", "talks", "talk_tags", "callkeeper_rejects")
    before = {name: read_tuples(database, name) for name in names}
    again = build_all(database, days, AS_JSON, TALKS)
    assert set(changes(again).values()) == {(0, 0, 0)}
    assert {name: read_tuples(database, name) for name in names} == before
    logged = fetch(
        database,
        "SELECT report, table_name, rows_added, rows_updated, rows_deleted FROM callkeeper_loads "
        "WHERE report IS NOT NULL ORDER BY id",
    )
    assert logged[:3] == [
        ("as_json", "callkeeper_reports", 9, 0, 0),
        ("talks", "talks", 8, 0, 0),
        ("talks", "talk_tags", 18, 0, 0),
    ]
    assert all(row[2:] == (0, 0, 0) for row in logged[3:])


def test_what_changed_is_counted_on_its_day(database: str) -> None:
    build_all(database, [day_of(DAY, [call(1), call(2)]), day_of(NEXT, [call(3)])], AS_JSON, TALKS)
    built = build_all(
        database,
        [day_of(DAY, [call(2, duration2_sec=7), call(4)]), day_of(NEXT, [call(3)])],
        AS_JSON,
        TALKS,
    )
    by_day = {(one.day, one.report): one.counts for one in built}
    for report, name in (("as_json", "callkeeper_reports"), ("talks", "talks")):
        counts = by_day[DAY, report][name]
        assert (counts.added, counts.updated, counts.deleted) == (1, 1, 1)
        counts = by_day[NEXT, report][name]
        assert (counts.added, counts.updated, counts.deleted) == (0, 0, 0)


def test_a_day_that_is_empty_now_has_no_rows(database: str) -> None:
    build_all(database, [day_of(DAY, [call(1)]), day_of(NEXT, [call(2)])], AS_JSON, TALKS)
    assert changes(build_all(database, [day_of(DAY, [])], AS_JSON, TALKS)) == {
        "callkeeper_reports": (0, 0, 1),
        "talks": (0, 0, 1),
        "talk_tags": (0, 0, 0),
    }


def test_a_call_that_moved_to_another_day_is_one_row(database: str) -> None:
    build_all(database, [day_of(DAY, [call(1)])], AS_JSON, TALKS)
    assert changes(build_all(database, [day_of(NEXT, [call(1)])], AS_JSON, TALKS)) == {
        "callkeeper_reports": (0, 1, 0),
        "talks": (0, 1, 0),
        "talk_tags": (0, 0, 0),
    }
    assert changes(build_all(database, [day_of(DAY, [])], AS_JSON, TALKS))["talks"] == (0, 0, 0)
    both = [day_of(DAY, [call(1)]), day_of(NEXT, [call(1)])]
    build_all(database, both, AS_JSON, TALKS)
    assert fetch(database, "SELECT id, callkeeper_day FROM talks") == [(1, NEXT)]
    assert fetch(database, "SELECT call_id, day FROM callkeeper_reports") == [(1, NEXT)]


def test_bad_values_are_kept_out_and_reported_and_the_rest_loads(database: str) -> None:
    days = [
        day_of(
            DAY,
            [
                call(1, tags=["good", "good", {"bad": 1}, ""]),
                call(2, duration2_sec="12x", tags=["t"]),
                call(3, duration2_sec=[1], tags=None),
                call(4, tags=[" "]),
            ],
        )
    ]
    built = build_all(database, days, TALKS)
    assert fetch(database, "SELECT id FROM talks ORDER BY id") == [(1,), (4,)]
    assert fetch(database, "SELECT id, tag FROM talk_tags ORDER BY id") == [(1, "good"), (2, "t")]
    rejects = fetch(
        database,
        "SELECT report, table_name, call_id, position, column_name, value, reason, day, run_id "
        "FROM callkeeper_rejects ORDER BY table_name, call_id, position",
    )
    assert rejects == [
        (*("talks", "talk_tags", 1, 3, "tag", '{"bad":1}'), rejects[0][6], DAY, "run"),
        ("talks", "talk_tags", 1, 4, "tag", '""', "is empty, and a key cannot be", DAY, "run"),
        ("talks", "talk_tags", 4, 1, "tag", '" "', "is empty, and a key cannot be", DAY, "run"),
        ("talks", "talks", 2, 1, "talk", '"12x"', "is not a whole number", DAY, "run"),
        ("talks", "talks", 3, 1, "talk", "[1]", "is a list, not a whole number", DAY, "run"),
    ]
    assert rejects[0][6].startswith("is an object, not a text")
    (one,) = built
    assert (one.rejects, len(one.sample)) == (5, 5)
    mended = [day_of(DAY, [call(1), call(2)])]
    build_all(database, mended, TALKS)
    assert fetch(database, "SELECT count(*) FROM callkeeper_rejects") == [(0,)]


def test_a_key_that_another_row_has_is_a_reject(database: str) -> None:
    by_city = Report(
        "by_city",
        structure=(
            table("cities", "city", {"city": ("city", "text"), "talk": ("duration2_sec", "text")}),
        ),
    )
    build_all(database, [day_of(DAY, [call(1, city="a"), call(2, city="a"), call(3)])], by_city)
    build_all(database, [day_of(NEXT, [call(4, city="a"), call(5, city="b")])], by_city)
    assert fetch(database, "SELECT city, callkeeper_call_id FROM cities ORDER BY 2") == [
        ("a", 1),
        ("Москва", 3),
        ("b", 5),
    ]
    assert fetch(database, "SELECT call_id, reason FROM callkeeper_rejects ORDER BY 1") == [
        (2, "its key is that of call 1"),
        (4, "its key is that of call 1"),
    ]


def test_one_call_with_two_rows_of_one_key_keeps_the_first(database: str) -> None:
    hooks = Report(
        "hooks",
        structure=(
            table(
                "hooks",
                "id name",
                {"id": ("^id", "bigint"), "name": ("n", "text"), "code": ("c", "integer")},
                "hooks[]",
            ),
        ),
    )
    listed = [{"n": "a", "c": 1}, {"n": "a", "c": 1}, {"n": "a", "c": 2}]
    (one,) = build_all(database, [day_of(DAY, [call(1, hooks=listed)])], hooks)
    assert fetch(database, "SELECT name, code FROM hooks") == [("a", 1)]
    assert [(each.position, each.reason) for each in one.sample] == [
        (3, "another row of the call has its key")
    ]


def test_a_key_too_long_for_an_index_is_a_reject(database: str) -> None:
    by_page = Report("by_page", structure=(table("pages", "p", {"p": ("page", "text")}),))
    (one,) = build_all(
        database, [day_of(DAY, [call(1, page="ы" * 1001), call(2, page="a")])], by_page
    )
    assert one.sample[0].reason == "the key has 2002 bytes, at most 2000 are possible"
    assert fetch(database, "SELECT p FROM pages") == [("a",)]


def _half(name: str, op: str) -> Report:
    columns = TALKS.structure[0]
    from callkeeper_assets.warehouse.filters import Filter  # noqa: PLC0415

    return Report(name, structure=(columns,), filters=(Filter("call_id", op, 2),))  # type: ignore[arg-type]


def test_two_reports_fill_one_table_and_keep_each_its_own_rows(database: str) -> None:
    few, many = _half("few", "le"), _half("many", "gt")
    calls = [call(n) for n in range(1, 6)]
    assert changes(build_all(database, [day_of(DAY, calls)], few, many)) == {"talks": (5, 0, 0)}
    owners = "SELECT callkeeper_report, count(*) FROM talks GROUP BY 1 ORDER BY 1"
    assert fetch(database, owners) == [("few", 2), ("many", 3)]
    (one,) = build(database, [day_of(DAY, [])], few, configured=(few, many))
    assert changes([one]) == {"talks": (0, 0, 2)}
    assert fetch(database, owners) == [("many", 3)]


def test_a_row_of_another_report_is_never_taken_while_that_report_exists(database: str) -> None:
    first, second = (Report(n, structure=TALKS.structure[:1]) for n in ("first", "second"))
    days = [day_of(DAY, [call(1)])]
    build_all(database, days, first)
    (one,) = build(database, days, second, configured=(first, second))
    assert isinstance(one, BuiltDay)
    assert [each.reason for each in one.sample] == ["its key is that of call 1 of the report first"]
    assert fetch(database, "SELECT callkeeper_report FROM talks") == [("first",)]
    # Renamed: nobody fills the table under the old name any more.
    assert changes(build_all(database, days, second)) == {"talks": (0, 1, 0)}
    assert fetch(database, "SELECT callkeeper_report FROM talks") == [("second",)]


@pytest.mark.parametrize("policy", ["ignore", "warn", "fail"])
def test_a_new_field_is_ignored_reported_or_refused(database: str, policy: str) -> None:
    report = Report("r", fields=(("id", "id"),), on_new_field=policy)  # type: ignore[arg-type]
    known = day_of(DAY, [call(1, old_field=1)])
    fresh = day_of(NEXT, [call(2, old_field=1, new_field={"a": 1})])
    (one,) = build_all(database, [known], report)
    assert one.new_fields == (), "nothing is new on the first day of all"
    for _ in range(2):
        (outcome,) = build(database, [fresh], report)
        if policy == "fail":
            assert isinstance(outcome, RefusedReport)
            assert "have fields that no day before had (new_field), and on_new_field is" in (
                outcome.reason
            )
        else:
            assert isinstance(outcome, BuiltDay)
            assert outcome.new_fields == (("new_field",) if policy == "warn" else ())
    count = fetch(database, f"SELECT count(*) FROM callkeeper_reports WHERE day = '{NEXT}'")
    assert count == [(0 if policy == "fail" else 1,)]
    if policy == "fail":
        accepting = Report("r", fields=(("id", "id"),), on_new_field="ignore")
        build_all(database, [fresh], accepting)
    later = day_of(NEXT + timedelta(days=1), [call(3, new_field=1)])
    (one,) = build_all(database, [later], report)
    assert one.new_fields == (), "known from the day before"


def test_a_refused_day_keeps_its_old_rows_and_the_other_reports_are_built(database: str) -> None:
    strict = Report("strict", structure=TALKS.structure, on_new_field="fail")
    build_all(database, [day_of(DAY, [call(1)]), day_of(NEXT, [call(2)])], AS_JSON, strict)
    outcomes = build(
        database, [day_of(DAY, [call(1)]), day_of(NEXT, [call(3, x=1)])], AS_JSON, strict
    )
    assert [type(one).__name__ for one in outcomes] == [
        *["BuiltDay"] * 3,
        "RefusedReport",
    ]
    assert fetch(database, "SELECT id FROM talks ORDER BY 1") == [(1,), (2,)]
    assert fetch(database, "SELECT call_id FROM callkeeper_reports ORDER BY 1") == [(1,), (3,)]


def test_days_are_stale_when_never_built_changed_in_definition_or_loaded_since(
    database: str,
) -> None:
    days = [day_of(DAY + timedelta(days=n), [call(n + 1)]) for n in range(4)]
    load_all(database, days)
    dates = [day.day for day in days]
    assert find_stale_days(database, AS_JSON) == dates
    build_all(database, days[:3], AS_JSON)
    assert find_stale_days(database, AS_JSON) == dates[3:]
    load_all(database, days[1:2])
    assert find_stale_days(database, AS_JSON) == [dates[1], dates[3]]
    changed = Report("as_json", fields=(("id", "id"),))
    assert find_stale_days(database, changed) == dates
    build_all(database, days, changed)
    assert find_stale_days(database, changed) == []


def test_a_call_that_is_no_json_fails_and_its_batch_leaves_no_trace(database: str) -> None:
    build_all(database, [day_of(DAY, [call(1)])], AS_JSON)
    broken = raw_day(DAY, [(2, moment_of(DAY, 1), '{"id": 2'), (3, moment_of(DAY, 2), "{}")])
    with pytest.raises(BadDataError, match=r"one that is not JSON \(call 2\)"):
        build(database, [broken], AS_JSON)
    assert fetch(database, "SELECT call_id FROM callkeeper_reports") == [(1,)]


def test_what_is_legal_json_is_read_whatever_it_holds(database: str) -> None:
    payloads = [
        '{"id": 1, "x": "a\\u0000b"}',
        '{"id": 2, "x": "\\ud800"}',
        '{"id": 3, "x": 1e400}',
        '{"id": 4, "x": {"a\\u0000": ["\\u0000"]}}',
        '{"id": 5, "x": ' + "[" * 300 + "]" * 300 + "}",
        '{"id": 6, "x": 123456789012345678901234567890}',
    ]
    day = raw_day(DAY, [(n, moment_of(DAY, n), text) for n, text in enumerate(payloads, 1)])
    report = Report("r", fields=(("x", "x"),))
    build_all(database, [day], report)
    found = dict(fetch(database, "SELECT call_id, data->>'x' FROM callkeeper_reports"))
    assert found[1] == "ab"
    assert found[2] == "?"
    assert found[3] is None
    assert found[4] == '{"a": [""]}'
    assert found[6] == "123456789012345678901234567890"


def test_a_load_that_dies_midway_leaves_the_old_day(database: str) -> None:
    days = [day_of(DAY + timedelta(days=n), [call(n * 10 + c) for c in range(5)]) for n in range(3)]
    build_all(database, days, AS_JSON, TALKS)
    changed = [
        day_of(d.day, [call(n * 10 + c, duration2_sec=99) for c in range(4)])
        for n, d in enumerate(days)
    ]
    with psycopg.connect(database, autocommit=True) as blocker:
        blocker.execute("BEGIN")
        blocker.execute("LOCK TABLE callkeeper_report_days IN EXCLUSIVE MODE")
        with ThreadPoolExecutor(1) as pool:
            load = pool.submit(build, database, changed, AS_JSON, TALKS)
            pid = _wait_for_blocked(database, blocker.info.backend_pid)
            assert fetch(database, "SELECT count(*), max(talk) FROM talks") == [(15, 50)]
            blocker.execute("SELECT pg_terminate_backend(%s)", (pid,))
            with pytest.raises(UnavailableError, match="Nothing of this batch is stored"):
                load.result()
    assert fetch(database, "SELECT count(*), max(talk) FROM talks") == [(15, 50)]
    assert fetch(database, "SELECT count(*) FROM callkeeper_reports") == [(15,)]
    assert changes(build_all(database, changed, AS_JSON, TALKS))["talks"] == (0, 12, 3)


def _wait_for_blocked(url: str, blocker: int) -> int:
    for _ in range(2000):
        found = fetch(
            url,
            "SELECT pid FROM pg_stat_activity WHERE %s = ANY(pg_blocking_pids(pid))",
            (blocker,),
        )
        if found:
            return int(found[0][0])
        threading.Event().wait(0.01)
    raise AssertionError("nobody came to wait for the lock")


def test_a_reader_sees_a_day_whole_while_it_is_replaced(database: str) -> None:
    """Each version of the day has the same talk in all of its rows, and its own number of rows."""

    def version(n: int) -> list[Day]:
        return [day_of(DAY, [call(c, duration2_sec=n, tags=["t"]) for c in range(100 + n % 3)])]

    build_all(database, version(0), AS_JSON, TALKS)
    ended = threading.Event()
    seen: list[tuple[int, int]] = []

    def read() -> None:
        query = (
            "SELECT count(*), count(DISTINCT talk), min(talk), (SELECT count(*) FROM talk_tags), "
            "(SELECT count(DISTINCT data->>'talk') FROM callkeeper_reports) FROM talks"
        )
        with psycopg.connect(database, autocommit=True) as connection:
            while not ended.is_set():
                rows, talks, talk, tags, in_json = connection.execute(query).fetchall()[0]
                assert (talks, in_json) == (1, 1)
                assert rows == tags == 100 + talk % 3
                seen.append((talk, rows))

    with ThreadPoolExecutor(1) as pool:
        reader = pool.submit(read)
        try:
            for n in range(1, 12):
                build_all(database, version(n), AS_JSON, TALKS)
        finally:
            ended.set()
        reader.result()
    assert len(set(seen)) > 3, "the reader saw several versions"


def test_loads_of_one_source_side_by_side_wait_for_each_other(database: str) -> None:
    ensure_schema(database)
    days = [
        day_of(DAY + timedelta(days=n), [call(n * 100 + c, tags=["x"]) for c in range(50)])
        for n in range(6)
    ]
    with ThreadPoolExecutor(4) as pool:
        orders = (days, days, days[:3], days[3:])
        for done in [pool.submit(build_all, database, one, AS_JSON, TALKS) for one in orders]:
            done.result()
    assert fetch(database, "SELECT count(*) FROM talks") == [(300,)]
    assert fetch(database, "SELECT count(*), count(DISTINCT call_id) FROM callkeeper_reports") == [
        (300, 300)
    ]


_STATES = st.lists(
    st.tuples(
        st.sampled_from([DAY, NEXT]),
        st.lists(
            st.tuples(
                st.integers(1, 6),
                st.sampled_from([1, 2, "3", "x"]),
                st.lists(st.sampled_from("ab"), max_size=2),
            ),
            unique_by=lambda one: one[0],
            max_size=5,
        ),
    ),
    min_size=1,
    max_size=4,
)


def _make(day: date, calls: list[tuple[int, object, list[str]]]) -> Day:
    # A call lies on one day: its id says which.
    offset = 0 if day == DAY else 100
    return day_of(day, [call(c + offset, duration2_sec=t, tags=g) for c, t, g in calls])


def _read(url: str) -> Iterator[list[tuple[object, ...]]]:
    for query in (
        "SELECT id, talk, callkeeper_day, callkeeper_call_id FROM talks ORDER BY 1",
        "SELECT id, tag, callkeeper_day, callkeeper_call_id FROM talk_tags ORDER BY 1, 2",
        "SELECT call_id, data::text, day FROM callkeeper_reports ORDER BY 1",
        "SELECT call_id, table_name, column_name, reason FROM callkeeper_rejects ORDER BY 1, 2",
    ):
        yield fetch(url, query)


@settings(max_examples=examples(3))
@given(_STATES)
def test_any_order_of_loads_ends_as_one_clean_load_of_the_last_states(
    database: str, states: list[tuple[date, list[tuple[int, object, list[str]]]]]
) -> None:
    reset = [day_of(DAY, []), day_of(NEXT, [])]
    build_all(database, reset, AS_JSON, TALKS)
    for day, calls in states:
        build_all(database, [_make(day, calls)], AS_JSON, TALKS)
    found = list(_read(database))
    build_all(database, reset, AS_JSON, TALKS)
    build_all(database, [_make(day, calls) for day, calls in dict(states).items()], AS_JSON, TALKS)
    assert found == list(_read(database))


def test_a_day_more_does_not_read_the_table_for_each_of_its_rows(database: str) -> None:
    """As plans without statistics had it: a long load's time grew with its square."""
    size = 100
    days = [
        day_of(DAY + timedelta(days=n), [call(n * size + c, tags=["t"]) for c in range(size)])
        for n in range(31)
    ]
    build_all(database, days[:-1], AS_JSON, TALKS)
    for expected in (0, size):
        fetch(database, "SELECT pg_stat_reset()")
        build_all(database, days[-1:], AS_JSON, TALKS)
        read = fetch(
            database,
            "SELECT relname, seq_tup_read + coalesce(idx_tup_fetch, 0) FROM pg_stat_user_tables "
            "WHERE relname IN ('talks', 'talk_tags', 'callkeeper_reports')",
        )
        # Its rows by key and by day; and a small table once, which is cheaper than its index.
        assert max(count for _, count in read) <= 2 * expected + len(days) * size, read


_REFUSE_AND_SHOW = """
    CREATE FUNCTION refuse_and_show() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'not with +%', NEW.id; END $$;
    CREATE TRIGGER refuse_and_show BEFORE INSERT ON talks
    FOR EACH ROW EXECUTE FUNCTION refuse_and_show()
"""


def test_what_the_database_says_of_a_row_is_reported_without_its_values(database: str) -> None:
    """A trigger of the user's own, a domain, a rule: any of them may say what the value was."""
    build_all(database, [day_of(DAY, [call(1)])], TALKS)
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(_REFUSE_AND_SHOW)
    with pytest.raises(WarehouseError) as caught:
        build(database, [day_of(DAY, [call(79161234567)])], TALKS)
    assert str(caught.value) == (
        "PostgreSQL did not take the rows of reports: not with … (SQLSTATE P0001)."
    )
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(("digits", "expected"), [(400, 10**400 - 1), (5000, None)])
def test_a_number_of_any_length_keeps_nobody_s_day_out(
    database: str, digits: int, expected: int | None
) -> None:
    """Whatever a source, or a webhook, sends as one; Python itself reads none of 5,000 digits."""
    text = json.dumps({**call(1), "x": 0}).replace('"x": 0', f'"x": {"9" * digits}')
    kinds: tuple[ColumnType, ...] = ("numeric", "jsonb", "bigint", "date")
    reports = [
        Report(
            kind, structure=(table(f"as_{kind}", "id", {"id": ("id", "bigint"), "x": ("x", kind)}),)
        )
        for kind in kinds
    ]
    whole = Report("whole", fields=(("x", "x"),))
    day = raw_day(DAY, [(1, moment_of(DAY, 0), text), (2, moment_of(DAY, 1), json.dumps(call(2)))])
    built = {one.report: one for one in build_all(database, [day], *reports, whole)}
    assert fetch(database, "SELECT data->'x' FROM callkeeper_reports ORDER BY call_id") == [
        (expected,),
        (None,),
    ]
    assert fetch(database, "SELECT id, x::text FROM as_jsonb WHERE id = 1") == [
        (1, "null" if expected is None else str(expected))
    ]
    assert built["bigint"].rejects == built["date"].rejects == 1
    assert built["numeric"].rejects == (expected is None)
