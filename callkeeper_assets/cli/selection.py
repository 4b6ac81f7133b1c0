"""Which sources and which days a command is for, as they were typed."""

import re
from collections.abc import Callable, Iterator, Sequence
from datetime import date, timedelta

from callkeeper_assets.cli.console import UsageProblemError, print_note
from callkeeper_assets.config.errors import capitalise, describe_unknown
from callkeeper_assets.config.loading import BrokenSource, defs_folder, load_sources
from callkeeper_assets.config.source import Source
from callkeeper_assets.language import tr
from callkeeper_assets.warehouse.schema import CALLS

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_DAYS_AGO = {"today": 0, "yesterday": 1}


def explain_no_source() -> str:
    """Say how to make the first source."""
    return tr(
        "There is no source in {defs_folder} yet. Make one:\n  callkeeper add main_office\nwhich "
        "asks for the account's API key and checks it.",
        defs_folder=defs_folder(),
    )


def describe_broken(broken: BrokenSource) -> str:
    """Say what is wrong with a source that is refused."""
    problems = "\n".join(f"  {problem}" for problem in broken.problems)
    return tr(
        "Source '{name}' is not loaded, its configuration is refused:\n{problems}",
        name=broken.name,
        problems=problems,
    )


def has_sources() -> bool:
    """Whether any source is configured, refused ones included.

    Raises:
        MissingFolderError: `CALLKEEPER_DEFS` names a folder that does not exist.
    """
    return any(load_sources())


def choose_sources(names: Sequence[str]) -> tuple[list[Source], list[BrokenSource]]:
    """Return the named sources in the order of their names as typed, or all if none is named.

    Raises:
        UsageProblemError: A name that no source has, or no source is configured at all.
        MissingFolderError: `CALLKEEPER_DEFS` names a folder that does not exist.
    """
    sources, broken = load_sources()
    if not sources and not broken:
        raise UsageProblemError(explain_no_source())
    if not names:
        return sources, broken
    by_name = {source.name: source for source in sources}
    refused = {source.name: source for source in broken}
    unknown = [name for name in names if name not in by_name and name not in refused]
    if unknown:
        known = (*by_name, *refused)
        raise UsageProblemError(
            "\n".join(capitalise(describe_unknown("source", name, known)) for name in unknown)
        )
    wanted = tuple(dict.fromkeys(names))
    return (
        [by_name[name] for name in wanted if name in by_name],
        [refused[name] for name in wanted if name in refused],
    )


def choose_good_sources(names: Sequence[str]) -> list[Source]:
    """Return the named sources, all of them usable.

    Raises:
        UsageProblemError: One is not known, or its configuration is refused.
        MissingFolderError: `CALLKEEPER_DEFS` names a folder that does not exist.
    """
    sources, broken = choose_sources(names)
    if broken:
        raise UsageProblemError("\n".join(describe_broken(source) for source in broken))
    return sources


def choose_several(names: Sequence[str], *, everything: bool) -> list[Source]:
    """Return the named sources, or all if that is said, all of them usable.

    Raises:
        UsageProblemError: Both or neither was said, or as `choose_good_sources`.
        MissingFolderError: `CALLKEEPER_DEFS` names a folder that does not exist.
    """
    if bool(names) == everything:
        raise UsageProblemError(
            tr("Name sources, or say --all, not both.")
            if names
            else tr("Name a source, or say --all.")
        )
    return choose_good_sources(names)


def _choose_fitting(
    names: Sequence[str], find_problem: Callable[[Source], str | None], *, everything: bool
) -> list[Source]:
    """Return those that a command has anything to do for.

    A named one must be; of all, the others are left out, and named.
    """
    sources = choose_several(names, everything=everything)
    problems = {source.name: find_problem(source) for source in sources}
    unfit = [problem for problem in problems.values() if problem]
    if unfit and (names or len(unfit) == len(sources)):
        raise UsageProblemError("\n".join(unfit))
    for problem in unfit:
        print_note(tr("Left out: {problem}", problem=problem))
    return [source for source in sources if not problems[source.name]]


def choose_reported(names: Sequence[str], report: str, *, everything: bool) -> list[Source]:
    """Return the named sources, which have the report; or all that have it.

    Raises:
        UsageProblemError: None is named, one of them is not known, its configuration is refused, or
            it has no such report.
        MissingFolderError: `CALLKEEPER_DEFS` names a folder that does not exist.
    """

    def find_problem(source: Source) -> str | None:
        if source.report(report):
            return None
        if not source.reports:
            return tr(
                "Source '{name}' has no reports. They are made in {file}, under reports.",
                name=source.name,
                file=source.file,
            )
        known = [one.name for one in source.reports]
        of = "" if len(names) == 1 else tr("Source '{name}': ", name=source.name)
        text = describe_unknown("report", report, known)
        return f"{of}{text}" if of else capitalise(text)

    return _choose_fitting(names, find_problem, everything=everything)


def choose_reconcilable(names: Sequence[str], *, everything: bool) -> list[Source]:
    """Return the named sources, whose tables hold calls to compare; or all of which that is so.

    Raises:
        UsageProblemError: None is named, one of them is not known, its configuration is refused, or
            it has no calls.
        MissingFolderError: `CALLKEEPER_DEFS` names a folder that does not exist.
    """

    def find_problem(source: Source) -> str | None:
        if CALLS in source.tables:
            return None
        return tr(
            "Source '{name}' has nothing to compare: {calls} is not among its tables in {file}.",
            name=source.name,
            calls=CALLS,
            file=source.file,
        )

    return _choose_fitting(names, find_problem, everything=everything)


def choose_retained(names: Sequence[str], *, everything: bool) -> list[Source]:
    """Return the named sources, which do not keep calls for ever; or all that do not.

    Raises:
        UsageProblemError: None is named, one of them is not known, its configuration is refused, or
            it has no retention.
        MissingFolderError: `CALLKEEPER_DEFS` names a folder that does not exist.
    """

    def find_problem(source: Source) -> str | None:
        if source.retention is not None:
            return None
        return tr(
            "Source '{name}' keeps its calls for ever. To have older ones deleted, add to {file}: "
            "retention: {{keep_days: 730}}",
            name=source.name,
            file=source.file,
        )

    return _choose_fitting(names, find_problem, everything=everything)


def read_day(option: str, text: str, today: date | None = None) -> date:
    """Read a day: written 2026-01-31, or the word today or yesterday.

    Args:
        option: What it was given by.
        text: As it was typed.
        today: The source's current day; None where no source gives the words a meaning.

    Raises:
        UsageProblemError: It is neither.
    """
    if today is not None and text in _DAYS_AGO:
        return today - timedelta(days=_DAYS_AGO[text])
    try:
        # fromisoformat alone would take 20260131 and 2026-W05-6 too.
        day = date.fromisoformat(text) if _DAY.fullmatch(text) else None
    except ValueError:
        day = None
    if day is None:
        words = "" if today is None else tr(", or today, or yesterday")
        raise UsageProblemError(
            tr(
                "{option} {said}: a day of the calendar is written 2026-01-31{words}.",
                option=option,
                said=text,
                words=words,
            )
        )
    return day


def read_periods(
    sources: Sequence[Source], first: str | None, last: str | None
) -> list[tuple[date, date]]:
    """Read the days that each of the sources is to load: the words mean its own current day.

    Args:
        sources: In whose order the periods are returned.
        first: As it was typed; None means the first day that the source gives.
        last: The same; None means today.

    Raises:
        UsageProblemError: A day is none, is in the future, or before a source's first day; or the
            days are reversed.
    """
    periods = []
    for source in sources:
        today = source.today()
        begin = source.first_day(today) if first is None else read_day("--from", first, today)
        periods.append((begin, today if last is None else read_day("--to", last, today)))
    # All that is wrong at once, and what is wrong with all of them once.
    problems = [
        text
        for source, (begin, end) in zip(sources, periods, strict=True)
        for text in (
            [tr("--from {begin} is after --to {end}.", begin=begin, end=end)]
            if end < begin
            else _find_problems(source, begin, end)
        )
    ]
    if problems:
        raise UsageProblemError("\n".join(dict.fromkeys(problems)))
    return periods


def read_compared_periods(
    sources: Sequence[Source], first: str | None, last: str | None
) -> list[tuple[date, date, int]]:
    """Read the days that each of the sources is compared for, by default those of its schedule.

    Returns:
        In their order, each with how many days before it are left alone: the source does not give
        them any more.

    Raises:
        UsageProblemError: As `read_periods`.
    """
    periods = []
    for source in sources:
        today = source.today()
        default = max(source.first_day(today), today - timedelta(days=source.reconciliation.days))
        begin = read_day("--from", first, today) if first else default
        end = read_day("--to", last or "yesterday", today)
        allowed = source.first_day(today)
        given = allowed if begin < allowed <= end else begin
        read_periods([source], given.isoformat(), end.isoformat())
        periods.append((given, end, (given - begin).days))
    return periods


def read_report_period(source: Source, begin: str | None, end: str | None) -> tuple[date, date]:
    """Read the days that a report is built for: further back than the plan gives, too.

    Raises:
        UsageProblemError: The days are reversed, in the future, or before the source's start_date.
    """
    today = source.today()
    first = read_day("--from", begin, today) if begin else source.first_held_day(today)
    last = read_day("--to", end or "today", today)
    if last < first:
        raise UsageProblemError(tr("--from {first} is after --to {last}.", first=first, last=last))
    if last > today:
        raise UsageProblemError(
            tr(
                "--to {last} is in the future for source '{name}': today is {today} in {key}.",
                last=last,
                name=source.name,
                today=today,
                key=source.time_zone.key,
            )
        )
    held = source.first_held_day(today)
    if first < held:
        limit = (
            tr("the start_date") if held == source.start_date else tr("what retention keeps, from")
        )
        raise UsageProblemError(
            tr(
                "--from {first} is before {limit} {held} of source '{name}', in {file}.",
                first=first,
                limit=limit,
                held=held,
                name=source.name,
                file=source.file,
            )
        )
    return first, last


def _find_problems(source: Source, first: date, last: date) -> Iterator[str]:
    today = source.today()
    if last > today:
        yield (
            tr(
                "--to {last} is in the future for source '{name}': today is {today} in {key}.",
                last=last,
                name=source.name,
                today=today,
                key=source.time_zone.key,
            )
        )
    allowed = source.first_day(today)
    if first >= allowed:
        return
    yield (
        tr(
            "--from {first} is too early for source '{name}': {first_day}. The first day allowed "
            "is {allowed}. The limit stands in {file}.",
            first=first,
            name=source.name,
            first_day=source.explain_first_day(today),
            allowed=allowed,
            file=source.file,
        )
    )
