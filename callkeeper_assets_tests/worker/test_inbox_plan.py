"""What a look into the inbox decides: whom a run is started for, and what the tick says."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from callkeeper_assets.webhooks.inbox_queries import WaitingPayloads
from callkeeper_assets.webhooks.plans import (
    InboxCursor,
    InboxPlan,
    plan_inbox_run,
    read_cursor,
    write_cursor,
)

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


def waits(source: str, first_id: int = 1, payloads: int = 2) -> WaitingPayloads:
    return WaitingPayloads(source, payloads, first_id, NOW - timedelta(seconds=8))


def plan(
    *waiting: WaitingPayloads,
    cursor: InboxCursor | None = None,
    running: str | None = None,
    after_sec: float = 0,
    loaded: tuple[str, ...] = ("a", "b"),
) -> InboxPlan:
    return plan_inbox_run(
        waiting,
        loaded=loaded,
        running=running,
        cursor=cursor or InboxCursor(),
        now=NOW + timedelta(seconds=after_sec),
    )


def test_one_run_is_started_for_everything_that_waits() -> None:
    found = plan(waits("a"), waits("b", payloads=1200))
    assert found.sources == ("a", "b")
    assert found.text == "1,202 payloads of 2 sources, the oldest 8 s old: a run starts for a, b."


def test_nothing_is_started_when_nothing_waits() -> None:
    found = plan()
    assert (found.sources, found.text) == ((), "Nothing waits in the inbox.")


def test_a_run_under_way_is_waited_for() -> None:
    found = plan(waits("a", payloads=1), running="f00")
    assert found.sources == ()
    assert found.text == "1 payload of 1 source, the oldest 8 s old, wait for run f00 to end."


def test_a_source_that_cannot_be_processed_is_tried_later_each_time_and_holds_nobody_up() -> None:
    cursor, second, tried = InboxCursor(), 0, []
    while second < 3_600:
        found = plan(waits("a"), waits("b", first_id=second + 1), cursor=cursor, after_sec=second)
        cursor = read_cursor(write_cursor(InboxCursor(found.attempts)))
        assert "b" in found.sources, "its first payload is another one each time"
        if "a" in found.sources:
            tried.append(second)
        else:
            assert "a has failed" in found.text
        second += 10
    assert tried[:5] == [0, 30, 90, 210, 450]
    assert all(later - earlier <= 900 for earlier, later in pairwise(tried))


def test_a_source_that_gets_on_is_not_delayed() -> None:
    first = plan(waits("a", first_id=1))
    assert plan(
        waits("a", first_id=2), cursor=InboxCursor(first.attempts), after_sec=10
    ).sources == ("a",)
    assert (
        plan(waits("a", first_id=1), cursor=InboxCursor(first.attempts), after_sec=10).sources == ()
    )


def test_a_payload_that_comes_again_and_again_is_not_one_that_fails() -> None:
    """It keeps its id, and has been processed each time."""
    first = plan(waits("a"))
    again = replace(waits("a"), oldest=NOW + timedelta(seconds=5))
    cursor = InboxCursor(first.attempts)
    assert plan(again, cursor=cursor, after_sec=10).sources == ("a",)


def test_a_source_that_is_not_configured_any_more_is_named_and_starts_nothing() -> None:
    found = plan(waits("gone"))
    assert found.sources == ()
    assert "gone is not configured, or takes no webhooks" in found.text


def test_a_cursor_of_another_version_is_forgotten() -> None:
    assert read_cursor('{"attempts": [1]}') == read_cursor("nonsense") == InboxCursor()
