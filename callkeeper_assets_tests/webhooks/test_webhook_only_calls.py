"""What only webhooks have told of comes beside a day's raw calls, as the tables show it."""

import json
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from callkeeper_assets.raw.store import RawStore
from callkeeper_assets.webhooks.inbox_rows import add_webhook_calls
from callkeeper_assets_tests.warehouse.raw_days import DAY, fetched, moment_of
from callkeeper_assets_tests.webhooks.inbox_of import (
    OVER,
    PROCESSING,
    SOURCE,
    Office,
    answered,
    payload,
)

EVENING = moment_of(DAY, 24 * 60)


@pytest.fixture
def office(database: str, tmp_path: Path) -> Office:
    return Office(database, RawStore(str(tmp_path / "raw")))


def reported(office: Office, fetched_at: datetime = EVENING) -> list[tuple[int, str | None]]:
    """Return each call's id and, of those that webhooks told of, the event."""
    day = fetched(office.store.read(office.source.name, DAY), fetched_at)
    both = add_webhook_calls(office.url, office.source, day).calls
    return [
        (row["call_id"], json.loads(row["payload"]).get("hook_event")) for row in both.to_pylist()
    ]


def test_the_last_word_on_each_call_that_the_source_does_not_show(office: Office) -> None:
    office.store_answer([answered(1, minute=5)])
    office.receive(
        payload(1, OVER, minute=5),
        payload(3, OVER, minute=2),
        payload(3, PROCESSING, minute=2),
        payload(2, PROCESSING, minute=9),
        {"hook_event": OVER},
        at=EVENING,
    )
    assert reported(office) == [(3, OVER), (1, None), (2, PROCESSING)]
    office.process()
    assert reported(office) == [(3, OVER), (1, None), (2, PROCESSING)], "processed ones count too"


def test_calls_of_other_days_and_those_past_their_grace_are_left_out(office: Office) -> None:
    office.store_answer([answered(1)])
    tomorrow = payload(7)
    tomorrow["date_timestamp"] += 24 * 60 * 60
    office.receive(tomorrow, payload(8, minute=10), payload(9, minute=30), at=EVENING)
    late = moment_of(DAY, 20) + timedelta(hours=48)
    assert reported(office, late) == [(1, None), (9, OVER)]
    assert reported(office, late + timedelta(days=1)) == [(1, None)]


def test_only_what_came_about_the_day_is_read(office: Office) -> None:
    """Else a day would cost the more, the longer ago it is."""
    office.store_answer([answered(1)])
    grace = timedelta(hours=48)
    office.receive(payload(2, minute=2), at=EVENING + grace - timedelta(seconds=1))
    office.receive(payload(3, minute=3), at=EVENING + grace)
    assert reported(office) == [(1, None), (2, OVER)]


def test_a_source_without_webhooks_has_the_source_s_calls_alone(office: Office) -> None:
    office.store_answer([answered(1)])
    office.receive(payload(8), at=EVENING)
    assert SOURCE.webhook is not None
    assert reported(office.with_source(webhook=None)) == [(1, None)]
