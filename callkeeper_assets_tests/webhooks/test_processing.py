"""What waits in the inbox comes into the tables: the last word on each call, once, and no other."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
import psycopg
import pytest

from callkeeper_assets.raw.store import RawStore
from callkeeper_assets.warehouse import loader as loader_module
from callkeeper_assets.warehouse.filters import Filter
from callkeeper_assets.warehouse.records import BadDataError, UnavailableError
from callkeeper_assets.webhooks import inbox_rows, processing
from callkeeper_assets_tests.templates import from_nothing
from callkeeper_assets_tests.warehouse.raw_days import DAY, moment_of, row, rows
from callkeeper_assets_tests.webhooks.inbox_of import (
    OVER,
    PROCESSING,
    SOURCE,
    Office,
    answered,
    payload,
    process_together,
)

BERLIN = ZoneInfo("Europe/Berlin")
STORED = "SELECT call_id, origin, status FROM callkeeper_calls ORDER BY call_id"


@pytest.fixture
def office(database: str, tmp_path: Path) -> Office:
    """A source with an empty inbox."""
    return Office(database, RawStore(str(tmp_path / "raw")))


@from_nothing
def test_both_webhooks_of_a_call_make_one_row(office: Office, database: str) -> None:
    office.receive(payload(7, PROCESSING))
    assert office.process().payloads == 1
    assert rows(database, STORED) == [(7, "webhook", "in_progress")]
    office.receive(payload(7, OVER))
    office.process()
    assert rows(database, STORED) == [(7, "webhook", "success")]
    assert row(database, "callkeeper_calls_facts")["duration_sec"] == 65
    assert row(database, "callkeeper_calls_facts")["duration2_sec"] is None
    assert office.states() == [(7, "processed", None), (7, "processed", None)]


def test_a_text_that_was_cut_inside_an_emoji_is_a_call_s_like_any_other(
    office: Office, database: str
) -> None:
    body = json.dumps(payload(7, OVER, tags="cut \ud83d")).encode()
    office.receive(body)
    office.process()
    assert office.states() == [(7, "processed", None)]
    assert rows(database, "SELECT tags FROM callkeeper_calls") == [("cut ?",)]
    assert rows(database, "SELECT body FROM callkeeper_webhooks") == [(body,)]


@pytest.mark.parametrize("at_once", [True, False])
def test_the_end_of_a_call_counts_whichever_webhook_comes_last(
    office: Office, database: str, at_once: bool
) -> None:
    office.receive(payload(7, OVER))
    if not at_once:
        office.process()
    office.receive(payload(7, PROCESSING))
    office.process()
    assert rows(database, STORED) == [(7, "webhook", "success")]
    assert office.states() == [
        (7, "processed", None),
        (7, "processed", processing.SUPERSEDED),
    ]


def test_a_call_that_the_source_has_reported_is_left_to_it(office: Office, database: str) -> None:
    office.load_answer([answered(7)])
    office.receive(payload(7, OVER, duration_sec=1))
    processed = office.process()
    assert (processed.payloads, processed.not_needed, processed.days) == (1, 1, [])
    assert rows(database, STORED) == [(7, "api", "success")]
    assert row(database, "callkeeper_calls")["tags"] == "from the API"
    assert office.states() == [(7, "processed", inbox_rows.KNOWN_FROM_SOURCE)]


def test_a_call_that_filters_keep_out_of_the_source_s_day_does_not_come_in_by_webhook(
    office: Office, database: str
) -> None:
    """The table has no row that would say so: the raw calls do."""
    office = office.with_source(
        filters={"callkeeper_calls": (Filter("record_url", "eq", "https://records.example/1.mp3"),)}
    )
    office.load_answer([answered(7, record_url="")])
    office.receive(payload(7, OVER))
    office.process()
    assert rows(database, STORED) == []


def test_a_late_webhook_of_a_call_that_the_source_never_showed_is_told_from_an_early_one(
    office: Office, database: str
) -> None:
    early, late = payload(7, minute=10), payload(8, minute=0)
    office.load_answer([answered(1)], fetched_at=moment_of(DAY, 10) + timedelta(hours=48))
    office.receive(early, late)
    office.process()
    assert rows(database, STORED) == [(1, "api", "success"), (7, "webhook", "success")]
    assert office.states() == [(7, "processed", None), (8, "processed", inbox_rows.TOO_LATE)]


def test_calls_before_the_source_begins_are_left_out(office: Office, database: str) -> None:
    office = office.with_source(start_date=DAY + timedelta(days=1))
    office.receive(payload(7))
    office.process()
    assert rows(database, STORED) == []
    assert office.states() == [(7, "processed", processing.TOO_EARLY)]


def test_what_can_be_no_call_is_rejected_with_its_reason_and_holds_nobody_up(
    office: Office, database: str
) -> None:
    tomorrow = int((datetime.now(UTC) + timedelta(days=3)).timestamp())
    office.receive({"hook_event": OVER}, payload(8, date_timestamp=tomorrow), payload(9))
    processed = office.process()
    assert (processed.payloads, processed.rejected) == (3, 2)
    assert rows(database, STORED) == [(9, "webhook", "success")]
    (no_id, future, good) = office.states()
    assert no_id == (None, "rejected", "it has no call id (id)")
    assert future[:2] == (8, "rejected")
    assert "lies in the future" in str(future[2])
    assert good == (9, "processed", None)


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00+03:00", "0001-01-01 00:00:00"])
def test_a_time_that_no_calendar_has_holds_nobody_up(
    office: Office, database: str, moment: str
) -> None:
    """West of Greenwich the year 1 begins in a year that Python does not know."""
    office = office.with_source(time_zone=ZoneInfo("America/New_York"))
    office.receive({"id": 8, "date": moment, "hook_event": OVER}, payload(9))
    assert office.process().rejected == 1
    assert rows(database, STORED) == [(9, "webhook", "success")]
    reason = "it has no time: date_timestamp is missing or null, date is unreadable"
    assert office.states() == [(8, "rejected", reason), (9, "processed", None)]


def test_a_replayed_payload_is_read_by_the_names_that_are_configured_now(
    office: Office, database: str
) -> None:
    body = payload(9)
    body["my_id"] = body.pop("id")
    office.receive(body)
    assert office.process().rejected == 1
    with psycopg.connect(database) as connection:
        connection.execute("UPDATE callkeeper_webhooks SET state = 'new'")
    assert SOURCE.webhook is not None
    renamed = replace(SOURCE.webhook, fields={"id": "my_id"})
    office.with_source(webhook=renamed).process()
    assert rows(database, STORED) == [(9, "webhook", "success")]
    assert office.states() == [(9, "processed", None)]


@pytest.fixture
def _no_row_of_13(database: str, office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """The database takes no call 13: a value that none of our rules has foreseen."""
    # Finding it takes many loads, on a machine that may have much else to do.
    monkeypatch.setattr(processing, "_LONGEST_SEC", 300.0)
    office.receive()
    with psycopg.connect(database) as connection:
        connection.execute(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
            "IF NEW.call_id = 13 AND NEW.status = 'success' THEN "
            "RAISE EXCEPTION 'no' USING ERRCODE = '22003'; END IF; RETURN NEW; END $$"
        )
        connection.execute(
            "CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON callkeeper_calls "
            "FOR EACH ROW EXECUTE FUNCTION refuse()"
        )


@pytest.mark.usefixtures("_no_row_of_13")
def test_a_payload_that_the_tables_do_not_take_is_found_and_rejected_alone(
    office: Office, database: str
) -> None:
    office.receive(*(payload(n, minute=n) for n in range(10, 20)), payload(13, PROCESSING))
    processed = office.process()
    assert (processed.payloads, processed.rejected) == (11, 1)
    expected = [(n, "webhook", "success" if n != 13 else "in_progress") for n in range(10, 20)]
    assert rows(database, STORED) == expected
    rejected = [one for one in office.states() if one[1] == "rejected"]
    assert [one[0] for one in rejected] == [13]
    assert "the tables do not take it" in str(rejected[0][2])


def test_why_the_tables_do_not_take_a_payload_is_reported_without_its_phone_numbers(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DuckDB shows the text that it could not read; the transformation leaves it none, so far."""

    def fail(*_: object) -> None:
        duckdb.execute("SELECT 'phone2: +79161234567'::INTEGER").fetchall()

    monkeypatch.setattr(loader_module, "write_log", fail)
    office.receive(payload(7))
    office.process()
    [(call_id, state, reason)] = office.states()
    assert (call_id, state) == (7, "rejected")
    assert "Could not convert string 'phone2: ***' to INT32" in str(reason)


def test_why_the_tables_do_not_take_a_payload_names_the_call_whatever_its_length(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An id of ten digits looks like a phone number."""
    call_id = 4123456789

    def fail(*_: object) -> None:
        raise BadDataError(f"of the call {call_id} (phone2 9161234567): no")

    monkeypatch.setattr(loader_module, "write_log", fail)
    office.receive(payload(call_id))
    office.process()
    [(found, state, reason)] = office.states()
    assert (found, state) == (call_id, "rejected")
    assert f"of the call {call_id} (phone2 ***): no" in str(reason)


def test_what_is_not_stored_is_not_processed(
    office: Office, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database goes away as the batch's log is written, which is inside its transaction."""
    office.receive(payload(7), {"hook_event": OVER})

    def fail(*_: object) -> None:
        raise UnavailableError("gone")

    with monkeypatch.context() as broken:
        broken.setattr(loader_module, "write_log", fail)
        with pytest.raises(UnavailableError):
            office.process()
    assert rows(database, STORED) == []
    assert [state for _, state, _ in office.states()] == ["new", "rejected"]
    office.process()
    assert rows(database, STORED) == [(7, "webhook", "success")]


def test_more_than_one_round_takes_are_all_processed(
    office: Office, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both webhooks of a call may come in different rounds."""
    monkeypatch.setattr(processing, "_MOST_ROWS", 3)
    monkeypatch.setattr(processing, "_LEAST_ROWS", 3)
    office.receive(*(payload(n, PROCESSING, minute=n) for n in range(10)))
    office.receive(*(payload(n, OVER, minute=n) for n in range(10)))
    assert office.process().payloads == 20
    assert rows(database, STORED) == [(n, "webhook", "success") for n in range(10)]


def build_offices(office: Office, *changes: dict[str, Any]) -> list[Office]:
    """Return sources of one database that differ in their names, and as given."""
    return [
        office.with_source(name=f"office_{number}", **changed)
        for number, changed in enumerate(changes)
    ]


def test_sources_that_are_loaded_together_keep_their_calls_apart(
    office: Office, database: str
) -> None:
    """Same call ids, days in part the same; other tables, filters or zones load beside them."""
    tables = tuple(name for name in SOURCE.tables if name != "general_sites")
    only_failed = {"callkeeper_calls": (Filter("status", "eq", "failed"),)}
    offices = build_offices(
        office, {}, {}, {}, {"tables": tables}, {"filters": only_failed}, {"time_zone": BERLIN}
    )
    for number, one in enumerate(offices):
        one.receive(*(payload(n, minute=700 * n, tags=f"of {number}") for n in range(number + 1)))
    processed = process_together(offices)
    assert [one.payloads for one in processed] == [1, 2, 3, 4, 5, 6]
    stored = "SELECT a.name, c.call_id, c.tags, f.sites_id > 1 FROM callkeeper_calls AS c "
    stored += "JOIN callkeeper_calls_facts AS f ON f.calls_id = c.id "
    stored += "JOIN general_accounts AS a ON a.account_id = c.account_id ORDER BY 1, 2"
    assert rows(database, stored) == [
        (f"office_{number}", n, f"of {number}", number != 3)
        for number in (0, 1, 2, 3, 5)
        for n in range(number + 1)
    ]
    logged = "SELECT table_name, sum(rows_added) FROM callkeeper_loads GROUP BY 1"
    for table, added in rows(database, logged):
        # A dimension has a row for "unknown" from the beginning, and a source is no webhook's.
        unknown = table.startswith("general_")
        [(held,)] = rows(database, f"SELECT count(*) - {unknown:d} FROM {table}")
        assert added == (0 if table == "general_accounts" else held), table


@pytest.mark.usefixtures("_no_row_of_13")
def test_a_source_whose_call_the_tables_do_not_take_costs_the_others_nothing(
    office: Office, database: str
) -> None:
    offices = build_offices(office, {}, {}, {})
    for one, call_id in zip(offices, (12, 13, 14), strict=True):
        one.receive(payload(call_id), payload(99))
    processed = process_together(offices)
    assert [(one.payloads, one.rejected) for one in processed] == [(2, 0), (2, 1), (2, 0)]
    assert rows(database, "SELECT call_id FROM callkeeper_calls ORDER BY 1") == [
        (n,) for n in (12, 14, 99, 99, 99)
    ]


def test_an_answer_that_is_stored_and_not_loaded_yet_leaves_the_webhook_its_say(
    office: Office, database: str
) -> None:
    """The run that stored it was killed, or is about to load it."""
    office.store_answer([answered(7)])
    office.receive(payload(7))
    office.process()
    assert rows(database, STORED) == [(7, "webhook", "success")]
    office.load_answer([answered(7)])
    assert rows(database, STORED) == [(7, "api", "success")]
