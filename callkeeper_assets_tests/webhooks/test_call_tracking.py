"""Webhooks of call tracking: what is one, on which days its call can be, what is noted of it."""

import json
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from callkeeper_assets.config.source import Webhook
from callkeeper_assets.raw.store import RawStore
from callkeeper_assets.webhooks.inbox_queries import count_entries, list_hinted_days
from callkeeper_assets.webhooks.payload import read_document
from callkeeper_assets.webhooks.raw_call import Hint, guess_days, read_hint
from callkeeper_assets_tests.webhooks.inbox_of import Office, payload

MOSCOW = ZoneInfo("Europe/Moscow")
TOLD: dict[str, Any] = {
    "client_number": "79160000001",
    "calltracking_number": "74950000002",
    "time_start": "2026-03-02 12:00:00",
    "call_status": "success",
}
HINTS = "SELECT day, hinted_at FROM callkeeper_webhook_hints ORDER BY day"


def read(document: dict[str, Any], **fields: str) -> Hint | None:
    return read_hint(read_document("json", json.dumps(document).encode()), fields)


@pytest.fixture
def office(database: str, tmp_path: Path) -> Office:
    """A source whose API shows calls of call tracking."""
    return Office(database, RawStore(str(tmp_path / "raw"))).with_source(
        api="ckct", start_date=date(2026, 1, 1)
    )


def pending(office: Office) -> list[date]:
    return [one.day for one in list_hinted_days(office.url)]


@pytest.mark.parametrize(
    "name", ["client_number", "calltracking_number", "call_type", "time_start"]
)
def test_one_of_its_parameters_tells_a_webhook_of_call_tracking(name: str) -> None:
    assert read({name: "x", "utm_source": "y"}) == Hint(None)


def test_renamed_parameters_are_read_by_the_accounts_names() -> None:
    reported = {"tel": "79160000001", "when": "2026-03-02 12:00:00"}
    assert read(reported) is None
    assert read(reported, phone2="tel") == Hint(None)
    assert read(reported, phone2="tel", date="when") == Hint(datetime(2026, 3, 2, 12))  # noqa: DTZ001


@pytest.mark.parametrize(
    "document", [{}, {"utm_source": "y"}, {**TOLD, "hook_event": "Call is over"}, {"phone2": "7"}]
)
def test_a_callbacks_webhook_without_an_id_is_none(document: dict[str, Any]) -> None:
    assert read(document) is None


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("2026-03-02 12:00:00", datetime(2026, 3, 2, 12)),  # noqa: DTZ001
        ("02.03.2026 12:00", datetime(2026, 3, 2, 12)),  # noqa: DTZ001
        (1772452800, datetime(2026, 3, 2, 12, tzinfo=UTC)),
        ("2026-03-02T12:00:00+00:00", datetime(2026, 3, 2, 12, tzinfo=UTC)),
        ("yesterday", None),
        ("9" * 18, None),
        ({"a": 1}, None),
    ],
)
def test_a_time_is_read_in_whatever_form(written: object, expected: datetime | None) -> None:
    assert read({"time_start": written}) == Hint(expected)


@given(
    called=st.datetimes(datetime(2026, 1, 1), datetime(2026, 12, 31)),  # noqa: DTZ001
    delay=st.timedeltas(timedelta(), timedelta(minutes=59)),
    written_in=st.integers(2, 12),
    ours=st.sampled_from(["Europe/Moscow", "Asia/Vladivostok", "UTC", "America/New_York"]),
    has_time=st.booleans(),
)
def test_the_calls_day_is_always_among_the_hinted_ones_and_these_are_few(
    called: datetime, delay: timedelta, written_in: int, ours: str, *, has_time: bool
) -> None:
    """Whatever zone of Russia its time is told in."""
    moment = called.replace(tzinfo=UTC)
    reported = moment.astimezone(timezone(timedelta(hours=written_in))).replace(tzinfo=None)
    zone = ZoneInfo(ours)
    days = guess_days(Hint(reported if has_time else None), moment + delay, zone)
    assert moment.astimezone(zone).date() in days
    assert len(days) <= 3
    assert max(days) <= (moment + delay).astimezone(zone).date()


def test_a_call_of_long_ago_is_looked_for_then() -> None:
    came = datetime(2026, 3, 20, 9, tzinfo=UTC)
    noon, night = (datetime(2026, 3, 2, hour) for hour in (12, 1))  # noqa: DTZ001
    assert guess_days(Hint(noon), came, MOSCOW) == {date(2026, 3, 2)}
    assert guess_days(Hint(night), came, MOSCOW) == {date(2026, 3, 1), date(2026, 3, 2)}


@pytest.mark.parametrize("form", ["json", "form", "query"])
def test_a_hint_is_noted_with_its_day_and_counted(office: Office, form: str) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    today = now.astimezone(MOSCOW).date()
    reported = {**TOLD, "time_start": f"{now.astimezone(MOSCOW):%Y-%m-%d %H:%M:%S}"}
    body = json.dumps(reported).encode() if form == "json" else urlencode(reported).encode()
    office.receive(body, form=form, at=now)
    processed = office.process()
    assert (processed.payloads, processed.hints, processed.rejected) == (1, 1, 0)
    assert office.states() == [(None, "hint", None)]
    assert today in pending(office)
    [counts] = count_entries(office.url, [office.source.name])
    assert (counts.new, counts.hints, counts.rejected) == (0, 1, 0)
    # Read by nobody's later look again.
    assert office.process().payloads == 0


def test_a_day_that_was_asked_for_after_the_hint_is_read_no_more(office: Office) -> None:
    came = datetime.now(UTC) - timedelta(minutes=3)
    office.receive(TOLD, at=came)
    office.process()
    assert date(2026, 3, 2) in pending(office)
    office.load_answer([], fetched_at=came - timedelta(seconds=1))
    assert date(2026, 3, 2) in pending(office)
    office.load_answer([], fetched_at=came + timedelta(seconds=1))
    assert pending(office) == []


def test_a_hint_that_comes_again_hints_again(office: Office) -> None:
    """Two calls may be told of by the same bytes."""
    first = datetime.now(UTC) - timedelta(minutes=30)
    office.receive(TOLD, at=first)
    office.process()
    office.load_answer([], fetched_at=first + timedelta(minutes=1))
    assert pending(office) == []
    office.receive(TOLD, at=first + timedelta(minutes=20))
    assert office.process().hints == 1
    assert date(2026, 3, 2) in pending(office)
    assert office.states() == [(None, "hint", None)]


def test_many_hints_are_one_day(office: Office) -> None:
    """Telephone exchanges have busy hours."""
    came = datetime.now(UTC) - timedelta(minutes=5)
    office.receive(*({**TOLD, "user_id": number} for number in range(50)), at=came)
    office.receive(TOLD, at=came + timedelta(seconds=30))
    assert office.process().hints == 51
    with psycopg.connect(office.url) as connection:
        assert connection.execute(HINTS).fetchall() == [
            (date(2026, 3, 2), came + timedelta(seconds=30))
        ]


def test_what_the_api_never_shows_is_rejected_in_words(office: Office) -> None:
    statistics = office.with_source(api="callkeeper")
    statistics.receive(TOLD)
    assert statistics.process().rejected == 1
    [(_, state, reason)] = statistics.states()
    assert state == "rejected"
    assert reason is not None
    assert "call tracking's and names no call" in reason
    assert pending(office) == []


def test_renamed_without_mapping_says_how_to_name_them_and_is_a_hint_when_replayed(
    office: Office,
) -> None:
    office.receive({"tel": "79160000001", "when": "2026-03-02 12:00:00"})
    office.process()
    [(_, state, reason)] = office.states()
    assert state == "rejected"
    assert reason is not None
    assert "webhook.fields" in reason
    with psycopg.connect(office.url) as connection:
        connection.execute("UPDATE callkeeper_webhooks SET state = 'new'")
    named = office.with_source(webhook=Webhook("T", {"phone2": "tel"}, timedelta(hours=48)))
    assert named.process().hints == 1


def test_hints_of_days_that_the_source_gives_no_more_start_nothing(office: Office) -> None:
    short = office.with_source(history_days=2)
    short.receive({**TOLD, "time_start": "2026-01-05 12:00:00"})
    assert short.process().hints == 1
    assert pending(office) == []


def test_callbacks_beside_hints_are_merged_as_ever(office: Office) -> None:
    office.receive(TOLD, payload(7))
    processed = office.process()
    assert (processed.payloads, processed.hints, len(processed.days)) == (2, 1, 1)
