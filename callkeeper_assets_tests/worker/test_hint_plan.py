"""What hints of call tracking lead to: few runs of a source's refresh, and an end to vain ones."""

from datetime import UTC, date, datetime, timedelta

from callkeeper_assets.plans import DayRange
from callkeeper_assets.webhooks.inbox_queries import HintedDay
from callkeeper_assets.webhooks.plans import (
    HintPlan,
    InboxCursor,
    plan_hint_runs,
    read_cursor,
    write_cursor,
)

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
TODAY = date(2026, 3, 2)


class Clock:
    """A sensor's ticks, whose cursor goes through its text each time."""

    def __init__(self) -> None:
        self.cursor = InboxCursor()

    def tick(self, after_sec: float, *hinted: HintedDay, running: tuple[str, ...] = ()) -> HintPlan:
        found = plan_hint_runs(
            hinted,
            takers=("a", "b"),
            running=running,
            attempts=self.cursor.hints,
            now=NOW + timedelta(seconds=after_sec),
        )
        self.cursor = read_cursor(write_cursor(InboxCursor(hints=found.attempts)))
        return found


def hint(after_sec: float = 0, source: str = "a", day: date = TODAY) -> HintedDay:
    return HintedDay(source, day, NOW + timedelta(seconds=after_sec))


def test_a_hint_starts_the_refresh_of_its_day_at_once() -> None:
    found = Clock().tick(10, hint(), hint(source="b"))
    assert [(run.source, run.days) for run in found.runs] == [
        ("a", DayRange(TODAY, TODAY)),
        ("b", DayRange(TODAY, TODAY)),
    ]
    assert "a: its refresh starts for 2026-03-02 to 2026-03-02" in found.text


def test_a_burst_of_hints_starts_few_runs() -> None:
    """One each second for ten minutes, each run asking ten seconds after it is started."""
    clock, asked, started = Clock(), -1.0, []
    for second in range(0, 600, 10):
        newest = hint(second)
        pending = [newest] if second > asked else []
        if clock.tick(second, *pending).runs:
            started.append(second)
            asked = second + 5
    assert started == [0, 120, 240, 360, 480]


def test_a_refresh_under_way_is_waited_for() -> None:
    clock = Clock()
    assert clock.tick(0, hint(), running=("a",)).text.endswith("a: its refresh is under way.")
    assert clock.tick(10, hint()).runs


def test_a_hint_right_after_a_run_waits_for_the_two_minutes_and_is_not_lost() -> None:
    clock = Clock()
    assert clock.tick(0, hint()).runs
    assert clock.tick(20).text == ""
    later = hint(30)
    assert (
        clock.tick(40, later).text == "Hints of call tracking: a: the next run is at 12:02:00 UTC."
    )
    assert clock.tick(120, later).runs


def test_runs_in_vain_come_later_each_time_and_end_at_the_nightly_refresh() -> None:
    clock, started = Clock(), []
    for second in range(0, 4 * 3600, 10):
        found = clock.tick(second, hint())
        started += [second for _ in found.runs]
    assert started == [0, 120, 360, 840, 1800, 3600]
    assert found.text.endswith("a: 6 runs were in vain, it is left to the nightly refresh.")
    # Another hint may find the cause mended.
    assert clock.tick(5 * 3600, hint(5 * 3600 - 5)).runs


def test_the_same_look_asks_for_the_same_run() -> None:
    """The daemon may die between a run's start and the cursor: the key starts it once."""
    assert Clock().tick(0, hint()).runs == Clock().tick(0, hint()).runs
    clock = Clock()
    first, second = clock.tick(0, hint()).runs, clock.tick(120, hint()).runs
    assert first[0].key != second[0].key


def test_days_far_from_each_other_take_turns() -> None:
    clock = Clock()
    old = hint(day=TODAY - timedelta(days=60))
    days = [clock.tick(second, hint(5), old).runs[0].days.first for second in (0, 120, 360)]
    assert days == [TODAY, old.day, TODAY]
    near = Clock().tick(0, hint(), hint(day=TODAY - timedelta(days=1)))
    assert [run.days for run in near.runs] == [DayRange(TODAY - timedelta(days=1), TODAY)]


def test_a_source_that_is_gone_or_changed_starts_nothing() -> None:
    found = Clock().tick(0, hint(source="gone"))
    assert found.runs == ()
    assert "gone: it is not configured, or its API tells of no such calls" in found.text
