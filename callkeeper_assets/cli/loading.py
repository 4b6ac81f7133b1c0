"""What `load`, `refresh` and `demo` share: run the workers, show progress, say what they did."""

import sys
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Final, Protocol, Self

from callkeeper_assets.cli.console import (
    INTERRUPTED,
    open_console,
    print_error,
    print_json,
    print_note,
)
from callkeeper_assets.cli.processes import InterruptedRunError, SourceOutcome, Task, run_tasks
from callkeeper_assets.cli.summary import Destination, build_document, print_place, print_summary
from callkeeper_assets.config.errors import say_count
from callkeeper_assets.config.source import Source
from callkeeper_assets.home import raw_url
from callkeeper_assets.language import look_up, mark, say_number, tr
from callkeeper_assets.postgres import read_sql_of
from callkeeper_assets.postgres.url import connect, database_url, describe
from callkeeper_assets.privacy.redaction import register_secret
from callkeeper_assets.worker.messages import (
    Failed,
    Finished,
    Message,
    Planned,
    Progress,
    Purpose,
    Said,
    Waiting,
)

if TYPE_CHECKING:
    # Not at run time: Dagster comes with it, which takes longer than all else that commands do.
    from callkeeper_assets.assets.progress import Phase

# More bars than this would not fit on a screen: then each goes when its source is done.
_MOST_BARS: Final = 12
_BETWEEN_LINES_SEC: Final = 5.0
_DONE: Final[dict[Purpose, str]] = {
    "load": mark("loaded"),
    "compare": mark("compared"),
}
_REACHED: Final[dict["Phase", str]] = {
    "fetched": mark("{done} of {days} fetched"),
    "loaded": mark("{done} of {days} loaded"),
    "compared": mark("{done} of {days} compared"),
    "deleted": mark("{done} of {days} deleted"),
}
# What a run without days is for, and what is said at its end.
_WITHOUT_DAYS: Final[dict[Purpose, tuple[str, str]]] = {
    "process": (
        mark("what waits in the inbox to process"),
        mark("what waits in the inbox processed"),
    ),
    # Not that anything is deleted: it may be a dry run.
    "delete": (mark("looks for calls older than are kept"), mark("done")),
    "protect": (mark("looks for calls that are stored otherwise"), mark("done")),
    "client": (mark("looks for the client"), mark("done")),
}


class ProgressView(AbstractContextManager["ProgressView"], Protocol):
    """Shows messages while it is open."""

    def show(self, message: Message) -> None:
        """Show what a worker said."""


class _Lines:
    """Plain lines, so many that a log of them can be read."""

    def __init__(self) -> None:
        self._reported_at: dict[str, float] = {}
        self._purposes: dict[str, Purpose] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        return

    def show(self, message: Message) -> None:
        name = message.source
        if isinstance(message, Planned):
            self._reported_at[name] = time.monotonic()
            self._purposes[name] = message.purpose
            print_note(f"{name}: {_describe_plan(message)}")
        elif isinstance(message, Waiting):
            print_note(
                tr(
                    "{name}: waits, run {run_id} uses the source's API key",
                    name=name,
                    run_id=message.run_id,
                )
            )
        elif isinstance(message, Progress):
            self._show_days(name, message)
        elif isinstance(message, Said):
            print_note(message.text)
        elif isinstance(message, Finished):
            purpose = self._purposes[name]
            if message.first:
                others = tr(" and {count} apart", count=say_count(len(message.others), "day"))
                days = tr("{first} to {last}", first=message.first, last=message.last)
                days += others if message.others else ""
                print_note(f"{name}: {days} {look_up(_DONE[purpose])}")
            else:
                print_note(f"{name}: {look_up(_WITHOUT_DAYS[purpose][1])}")
        elif isinstance(message, Failed):
            print_error(f"{name}: {message.error}")

    def _show_days(self, name: str, message: Progress) -> None:
        now = time.monotonic()
        if now - self._reported_at.get(name, 0.0) >= _BETWEEN_LINES_SEC:
            self._reported_at[name] = now
            print_note(f"{name}: {_describe_phase(message)}")


class _Bars:
    """A bar a source, from the start on: importing Dagster takes seconds."""

    def __init__(self, sources: Sequence[str]) -> None:
        from rich.progress import BarColumn, TextColumn, TimeElapsedColumn  # noqa: PLC0415
        from rich.progress import Progress as Bars  # noqa: PLC0415

        self._bars = Bars(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.fields[state]}", markup=False),
            TimeElapsedColumn(),
            console=open_console(stderr=True),
        )
        self._hides = len(sources) > _MOST_BARS
        self._tasks = {
            name: self._bars.add_task(name, total=None, state="starting", visible=not self._hides)
            for name in sources
        }
        self._days = dict.fromkeys(sources, 0)
        self._done = dict.fromkeys(sources, 0)
        self._reached: dict[str, dict[str, int]] = {name: {} for name in sources}

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bars.stop()

    def show(self, message: Message) -> None:
        name = message.source
        if isinstance(message, Planned):
            self._days[name] = message.days
            total = 2 * message.days or None
            state = _describe_plan(message)
            self._bars.update(self._tasks[name], total=total, visible=True, state=state)
        elif isinstance(message, Waiting):
            self._bars.update(self._tasks[name], state=tr("waits: its API key is in use"))
        elif isinstance(message, Said):
            self._bars.console.print(message.text)
        elif isinstance(message, Progress):
            # Fetching is half of the way, whether all of it comes first or goes on meanwhile.
            reached = self._reached[name]
            reached[message.phase] = message.days_done
            steps = 2 * self._done[name] + sum(reached.values())
            self._show(name, steps, _describe_phase(message))
        elif isinstance(message, Finished) and not message.first:
            self._bars.update(self._tasks[name], total=1, completed=1, state=tr("done"))
        elif isinstance(message, Finished):
            self._done[name] += message.days
            self._reached[name].clear()
            days = say_count(self._days[name], "day")
            self._show(
                name,
                2 * self._done[name],
                tr("{done} of {days} done", done=self._done[name], days=days),
            )
        elif isinstance(message, Failed):
            self._bars.console.print(f"{name}: {message.error}", style="red")
            self._bars.update(self._tasks[name], state=tr("failed"))

    def _show(self, name: str, steps: int, state: str) -> None:
        task = self._tasks[name]
        self._bars.update(task, completed=steps, state=state)
        if self._hides and steps == 2 * self._days[name]:
            self._bars.update(task, visible=False)


def _describe_plan(message: Planned) -> str:
    if message.purpose in _WITHOUT_DAYS:
        return look_up(_WITHOUT_DAYS[message.purpose][0])
    days = say_count(message.days, "day")
    return (
        tr("{days} to load", days=days)
        if message.purpose == "load"
        else tr("{days} to compare", days=days)
    )


def _describe_phase(message: Progress) -> str:
    days = say_count(message.days_total, "day")
    text = look_up(_REACHED[message.phase])
    return text.format(done=say_number(message.days_done), days=days)


def open_progress(sources: Sequence[str]) -> ProgressView:
    """Return the view that fits where standard error goes, for these sources."""
    return _Bars(sources) if sys.stderr.isatty() else _Lines()


def register_keys(sources: Sequence[Source]) -> None:
    """Have the sources' keys masked in whatever is printed or kept from here on.

    Raises:
        MissingSecretError: A key is not in the environment.
    """
    for source in sources:
        register_secret(source.read_api_key())


def run_and_show(tasks: Sequence[Task]) -> list[SourceOutcome]:
    """Run the tasks and show their progress.

    Raises:
        DatabaseError: The database cannot be reached, or is too old.
        SystemExit: Somebody interrupted the command.
    """
    with open_progress([task.source for task in tasks]) as view:
        try:
            # Checked while the workers still import Dagster, so that it takes no time of its own.
            return run_tasks(tasks, view.show, meanwhile=lambda: connect().close())
        except InterruptedRunError:
            print_note(tr("Stopped. Days that were loaded stay loaded; run the command again."))
            raise SystemExit(INTERRUPTED) from None


def run_and_report(
    tasks: Sequence[Task], *, as_json: bool, refused: Sequence[SourceOutcome] = ()
) -> bool:
    """Run the tasks, show their progress, print what they did.

    Args:
        tasks: One for each source that is ready.
        as_json: Whether a machine reads it.
        refused: Of sources that are not ready, with the reason.

    Returns:
        Whether all went well.

    Raises:
        DatabaseError: The database cannot be reached, or is too old.
        SystemExit: Somebody interrupted the command.
    """
    for outcome in refused:
        for error in outcome.errors:
            print_error(error)
    outcomes = [*run_and_show(tasks), *refused]
    calls = count_calls(outcomes)
    place = Destination(database=describe(database_url()), raw=raw_url())
    if as_json:
        print_json(build_document(outcomes, calls, place))
    else:
        print_summary(outcomes, calls)
        print_place(place)
    return not any(outcome.errors for outcome in outcomes)


def count_calls(outcomes: Sequence[SourceOutcome]) -> dict[str, int]:
    """Return how many calls each source sent for the days of its runs, before filters.

    A source whose runs have no days is left out.
    """
    query = read_sql_of("callkeeper_assets.cli")("count_calls")
    counts: dict[str, int] = {}
    with connect(autocommit=True) as connection:
        for outcome in outcomes:
            for run in (one for one in outcome.runs if one.first):
                values = {
                    "name": outcome.source,
                    "first": run.first,
                    "last": run.last,
                    "others": list(run.others),
                }
                row = connection.execute(query, values).fetchone()
                calls = int(str(row[0])) if row else 0
                counts[outcome.source] = counts.get(outcome.source, 0) + calls
    return counts
