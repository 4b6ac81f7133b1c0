"""The days of a historic load, as typed: read, and checked against each source's limits."""

import re
from collections.abc import Iterator, Sequence
from datetime import date

from callkeeper_assets.cli.exits import UsageProblemError
from callkeeper_assets.config.source import Source

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")


def read_day(option: str, text: str) -> date:
    """Read a day.

    Raises:
        UsageProblemError: It is not a day of the calendar, written 2026-01-31.
    """
    try:
        # fromisoformat alone would take 20260131 and 2026-W05-6 too.
        day = date.fromisoformat(text) if _DAY.fullmatch(text) else None
    except ValueError:
        day = None
    if day is None:
        raise UsageProblemError(f"{option} {text}: a day of the calendar is written 2026-01-31.")
    return day


def check_period(sources: Sequence[Source], first: date, last: date) -> None:
    """Check that each source has all the days.

    Raises:
        UsageProblemError: The days are reversed, in the future, or before a source's first day.
    """
    if last < first:
        raise UsageProblemError(f"--from {first} is after --to {last}.")
    problems = [text for source in sources for text in _find_problems(source, first, last)]
    if problems:
        raise UsageProblemError("\n".join(problems))


def check_report_period(source: Source, first: date, last: date) -> None:
    """Check that a report can be built for the days: further back than the plan gives, too.

    Raises:
        UsageProblemError: The days are reversed, in the future, or before the source's start_date.
    """
    if last < first:
        raise UsageProblemError(f"--from {first} is after --to {last}.")
    today = source.today()
    if last > today:
        raise UsageProblemError(
            f"--to {last} is in the future for source '{source.name}': today is {today} in "
            f"{source.time_zone.key}."
        )
    held = source.first_held_day(today)
    if first < held:
        limit = "the start_date" if held == source.start_date else "what retention keeps, from"
        raise UsageProblemError(
            f"--from {first} is before {limit} {held} of source '{source.name}', in {source.file}."
        )


def _find_problems(source: Source, first: date, last: date) -> Iterator[str]:
    today = source.today()
    if last > today:
        yield (
            f"--to {last} is in the future for source '{source.name}': "
            f"today is {today} in {source.time_zone.key}."
        )
    allowed = source.first_day(today)
    if first >= allowed:
        return
    yield (
        f"--from {first} is too early for source '{source.name}': "
        f"{source.explain_first_day(today)}. "
        f"The first day allowed is {allowed}. The limit stands in {source.file}."
    )
