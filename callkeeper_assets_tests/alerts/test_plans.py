"""What is told when: whatever comes and goes, a beginning and an end by turns, and no more."""

from datetime import UTC, datetime, timedelta
from typing import Final

from hypothesis import given, settings
from hypothesis import strategies as st

from callkeeper_assets.alerts.findings import KINDS, Finding
from callkeeper_assets.alerts.plans import Cause, Change, Plan, plan_changes

_START: Final = datetime(2026, 3, 1, tzinfo=UTC)
_MINUTE: Final = timedelta(minutes=1)
_FAILED: Final = Finding("load_failed", "main_office", "error")
_SPOOLING: Final = Finding("receiver_spooling", "/spool", "error", place="here")


class _Table:
    """Keeps causes as the database does."""

    def __init__(self) -> None:
        self.causes: dict[int, Cause] = {}
        self.begun: list[datetime] = []
        self.told: list[tuple[datetime, Change]] = []

    def look(self, findings: list[Finding], now: datetime, machine: str = "here") -> Plan:
        plan = plan_changes(
            list(self.causes.values()), findings, now, looked_at=KINDS, machine=machine
        )
        for cause, finding in plan.seen:
            self._keep(cause, finding, now, is_told=False)
        for cause in plan.dropped:
            del self.causes[cause.id]
        for change in plan.changes:
            self.told.append((now, change))
            if change.state == "ended":
                assert change.cause is not None
                del self.causes[change.cause.id]
            else:
                if change.cause is None or change.cause.told_at is None:
                    self.begun.append(now)
                self._keep(change.cause, change.finding, now, is_told=True)
        return plan

    def _keep(self, cause: Cause | None, finding: Finding, now: datetime, *, is_told: bool) -> None:
        number = cause.id if cause else len(self.told) + len(self.causes) + 1
        recent = [one for one in self.begun if now - one < timedelta(days=1)]
        self.causes[number] = Cause(
            number,
            finding,
            cause.first_seen_at if cause else now,
            now,
            now if is_told else (cause.told_at if cause else None),
            len(recent),
        )

    def states(self) -> list[str]:
        return [change.state for _, change in self.told]


@settings(max_examples=200)
@given(st.lists(st.tuples(st.booleans(), st.integers(1, 600)), max_size=80))
def test_whatever_comes_and_goes_it_begins_and_ends_by_turns(
    looks: list[tuple[bool, int]],
) -> None:
    table, now = _Table(), _START
    for is_found, minutes in looks:
        now += minutes * _MINUTE
        table.look([_SPOOLING] if is_found else [], now)
    assert "".join(state[0] for state in table.states() if state != "lasts").replace("be", "") in (
        "",
        "b",
    )
    for (before, _), (after, change) in zip(table.told, table.told[1:], strict=False):
        if change.state == "lasts":
            assert after - before >= timedelta(days=1)


def test_a_cause_that_lasts_is_told_daily_and_its_end_once() -> None:
    table = _Table()
    for minute in range(2 * 24 * 60 + 30):
        table.look([_FAILED], _START + minute * _MINUTE)
    assert table.states() == ["began", "lasts", "lasts"]
    for minute in range(2 * 24 * 60 + 30, 3 * 24 * 60):
        table.look([], _START + minute * _MINUTE)
    assert table.states() == ["began", "lasts", "lasts", "ended"]


def test_what_flaps_each_minute_is_told_some_times_a_day_and_not_hundreds() -> None:
    """Each time that it comes back, it has to be gone twice as long before its end is told."""
    table = _Table()
    for minute in range(24 * 60):
        is_found = minute // 15 % 2 == 0
        table.look([_FAILED] if is_found else [], _START + minute * _MINUTE)
    assert table.states() == ["began", "ended", "began"]


def test_what_lasts_a_moment_is_not_told_at_all() -> None:
    table = _Table()
    table.look([_SPOOLING], _START)
    table.look([], _START + _MINUTE)
    assert (table.states(), table.causes) == ([], {})


def test_what_is_tried_again_is_neither_told_nor_over() -> None:
    pending = Finding("load_failed", "main_office", "error", is_pending=True)
    table = _Table()
    table.look([pending], _START)
    assert table.states() == []
    table.look([_FAILED], _START + _MINUTE)
    table.look([pending], _START + 60 * _MINUTE)
    table.look([_FAILED], _START + 61 * _MINUTE)
    assert table.states() == ["began"]


def test_a_machine_ends_nothing_of_another_one() -> None:
    table = _Table()
    for minute in (0, 5, 60):
        table.look([_SPOOLING] if minute < 60 else [], _START + minute * _MINUTE)
    assert table.states() == ["began", "ended"]
    table = _Table()
    table.look([_SPOOLING], _START)
    table.look([_SPOOLING], _START + 5 * _MINUTE)
    table.look([], _START + 60 * _MINUTE, machine="there")
    assert table.states() == ["began"]


def test_what_gets_worse_is_told_at_once() -> None:
    late = Finding("not_fresh", "main_office", "warning")
    table = _Table()
    table.look([late], _START)
    table.look([Finding("not_fresh", "main_office", "error")], _START + 5 * _MINUTE)
    assert [(c.state, c.finding.severity) for _, c in table.told] == [
        ("began", "warning"),
        ("began", "error"),
    ]
