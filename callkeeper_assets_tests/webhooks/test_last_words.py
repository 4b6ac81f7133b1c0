"""Which payload has the last word on a call: by what its status says, then by when it came last."""

from pathlib import Path
from typing import Any

import psycopg
import pytest

from callkeeper_assets.raw.store import RawStore
from callkeeper_assets.webhooks import processing
from callkeeper_assets_tests.warehouse.raw_days import row, rows
from callkeeper_assets_tests.webhooks.inbox_of import OVER, PROCESSING, Office, answered, payload

STORED = "SELECT call_id, origin, status, tags FROM callkeeper_calls ORDER BY call_id"
WAITING = "SELECT count(*) FROM callkeeper_webhook_repeats WHERE is_waiting"
PENDING: dict[str, Any] = {"status_code": 707, "status2_code": 0}


@pytest.fixture
def office(database: str, tmp_path: Path) -> Office:
    """A source with an empty inbox."""
    return Office(database, RawStore(str(tmp_path / "raw")))


def last_word(office: Office) -> str | None:
    office.process()
    [(_, _, _, tags)] = rows(office.url, STORED)
    return str(tags) if tags else None


@pytest.mark.parametrize("at_once", [True, False])
def test_a_then_b_then_a_again_ends_as_a(office: Office, *, at_once: bool) -> None:
    a, b = payload(7, tags="a"), payload(7, tags="b")
    for body in (a, b, a):
        office.receive(body)
        if not at_once:
            office.process()
    assert last_word(office) == "a"
    assert rows(office.url, WAITING) == [(0,)]
    office.receive(b)
    assert last_word(office) == "b"


@pytest.mark.parametrize("at_once", [True, False])
def test_a_final_status_outranks_one_that_can_change_whatever_the_event_is_called(
    office: Office, *, at_once: bool
) -> None:
    final = payload(7, PROCESSING) | {"status_code": "200", "status2_code": "486", "tags": "end"}
    office.receive(final)
    if not at_once:
        office.process()
    office.receive(payload(7, OVER, tags="later", **PENDING), payload(7, PROCESSING))
    assert last_word(office) == "end"
    assert row(office.url, "callkeeper_calls")["status"] == "failed"


@pytest.mark.parametrize("code", [(101, 200), (200, 199), (200, 201), (720, 0), (1, 486)])
def test_every_status_that_can_no_longer_change_is_final(
    office: Office, code: tuple[int, int]
) -> None:
    office.receive(payload(7, "other", tags="end", status_code=code[0], status2_code=code[1]))
    office.receive(payload(7, OVER, tags="later", **PENDING))
    assert last_word(office) == "end"


def test_without_a_status_the_event_tells_in_whatever_case(office: Office) -> None:
    silent = {"status_code": None, "status2_code": " "}
    office.receive(payload(7, " CALL IS OVER ", tags="end") | silent)
    office.receive(payload(7, "Ringing", tags="between") | silent)
    office.receive(payload(7, PROCESSING, tags="begin") | silent)
    assert last_word(office) == "end"


def test_of_two_that_can_change_the_newest_counts(office: Office) -> None:
    office.receive(payload(7, OVER, tags="first", **PENDING), payload(7, PROCESSING, tags="second"))
    assert last_word(office) == "second"


def test_a_repeat_that_changes_nothing_leaves_what_came_of_it_the_first_time(
    office: Office,
) -> None:
    office.receive(payload(7, OVER))
    office.process()
    office.load_answer([answered(7)])
    office.receive(payload(7, OVER))
    assert last_word(office) == "from the API"
    assert office.states() == [(7, "processed", None)]
    office.receive(payload(8, PROCESSING), payload(8, OVER))
    office.process()
    office.receive(payload(8, PROCESSING))
    assert office.process().payloads == 1
    assert office.states()[1] == (8, "processed", processing.SUPERSEDED)
    assert rows(office.url, WAITING) == [(0,)]


def test_a_repeat_that_comes_while_the_payload_is_processed_waits_on(office: Office) -> None:
    """Read before it came, the payload is settled without it."""
    office.receive(payload(7, tags="a"), payload(7, tags="b"), payload(7, tags="a"))
    with psycopg.connect(office.url) as connection:
        connection.execute(
            "UPDATE callkeeper_webhook_repeats SET received_at = received_at + interval '1 hour'"
        )
    assert last_word(office) == "a"
    with psycopg.connect(office.url) as connection:
        connection.execute(
            "INSERT INTO callkeeper_webhook_repeats (account_id, receipt, webhook_id, received_at) "
            "SELECT account_id, gen_random_uuid(), max(id), now() + interval '2 hours' "
            "FROM callkeeper_webhooks GROUP BY 1"
        )
    assert rows(office.url, WAITING) == [(1,)]
    assert last_word(office) == "b"
