"""What `load`, `refresh` and `demo` share: run the workers, show them, tell what they did."""

from collections.abc import Sequence

from callkeeper_assets.api.redaction import register_secret
from callkeeper_assets.cli.console import print_error, print_json, print_note
from callkeeper_assets.cli.exits import INTERRUPTED
from callkeeper_assets.cli.progress import open_progress
from callkeeper_assets.cli.summary import Place, build_document, print_place, print_summary
from callkeeper_assets.cli.workers import InterruptedRunError, Outcome, Task, run_tasks
from callkeeper_assets.config.source import Source
from callkeeper_assets.database.sql_files import read_sql_of
from callkeeper_assets.database.url import connect, database_url, describe
from callkeeper_assets.home import raw_url


def register_keys(sources: Sequence[Source]) -> None:
    """Have the sources' keys masked in whatever is printed or kept from here on.

    Raises:
        MissingSecretError: A key is not in the environment.
    """
    for source in sources:
        register_secret(source.read_api_key())


def run_and_show(tasks: Sequence[Task]) -> list[Outcome]:
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
            print_note("Stopped. Days that were loaded stay loaded; run the command again.")
            raise SystemExit(INTERRUPTED) from None


def run_and_tell(tasks: Sequence[Task], *, as_json: bool, refused: Sequence[Outcome] = ()) -> bool:
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
    place = Place(database=describe(database_url()), raw=raw_url())
    if as_json:
        print_json(build_document(outcomes, calls, place))
    else:
        print_summary(outcomes, calls)
        print_place(place)
    return not any(outcome.errors for outcome in outcomes)


def count_calls(outcomes: Sequence[Outcome]) -> dict[str, int]:
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
