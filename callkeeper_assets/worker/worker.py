"""One source's Dagster runs in this process: `python -m callkeeper_assets.worker SOURCE …`.

Started by the command line, a process for each source, so that sources load side by side and the
command itself need not wait for Dagster's import. Reports what it does as messages on standard
output; Dagster's own log goes to the instance.
"""

import argparse
import os
import signal
import sys
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from types import FrameType
from typing import IO

import dagster as dg
import psycopg
import sqlalchemy as sa

from callkeeper_assets.assets import (
    build_shared_definitions,
    build_source_definitions,
    progress,
    translate,
)
from callkeeper_assets.assets.days import build_range_tags
from callkeeper_assets.assets.jobs import (
    list_table_keys,
    name_load_job,
    name_refresh_job,
    plan_source_rebuild,
    plan_source_refresh,
)
from callkeeper_assets.assets.personal_data import EXPORT, FORGET, name_protection_job
from callkeeper_assets.assets.raw_calls import name_pool
from callkeeper_assets.assets.reconciliation import name_reconciliation_job
from callkeeper_assets.assets.reports import name_all_reports_job, name_report_job
from callkeeper_assets.assets.retention import name_retention_job
from callkeeper_assets.assets.webhooks import INBOX_JOB
from callkeeper_assets.config.errors import ConfigError
from callkeeper_assets.config.loading import load_sources
from callkeeper_assets.config.source import Source
from callkeeper_assets.dagster_ext.dead_runs import (
    COMMAND_LINE_TAG,
    free_ended_runs,
    mark_dead_runs,
)
from callkeeper_assets.home import keep_memory
from callkeeper_assets.language import tr
from callkeeper_assets.personal_data.requests import hand_over
from callkeeper_assets.plans import DayRange
from callkeeper_assets.postgres.errors import DatabaseError
from callkeeper_assets.postgres.locks import held_run_lock
from callkeeper_assets.postgres.url import database_url, explain_failure
from callkeeper_assets.warehouse.queries import total_run
from callkeeper_assets.warehouse.records import WarehouseError
from callkeeper_assets.worker.forking import FAREWELL
from callkeeper_assets.worker.messages import (
    Compared,
    Concluded,
    Failed,
    Finished,
    Message,
    Planned,
    Progress,
    Purpose,
    RetentionEnded,
    Said,
    Started,
    Waiting,
    write_message,
)

# By which SQLAlchemy and the drivers say that a database has gone.
_LOSSES = {"InterfaceError", "OperationalError"}
_BETWEEN_LOOKS_SEC = 2.0
_BETWEEN_INTERRUPTS_SEC = 2.0
# A day is megabytes.
KEPT_BYTES = 1 << 29
FETCHED_BYTES = 1 << 26
_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


# Where messages go: standard output, which Dagster turns over to a step's log while that runs.
_command: IO[str] = sys.stdout


def run(arguments: Sequence[str] | None = None) -> int:
    """Run what the arguments ask for; return 0 if all went well, 1 if anything failed."""
    global _command  # noqa: PLW0603 -- listeners of steps write to it
    _command = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    options = _parse(arguments)
    keep_memory(KEPT_BYTES, FETCHED_BYTES, in_one_heap=True)
    # Dagster puts off SIGINT and SIGTERM while a step waits for its key.
    for number in (signal.SIGTERM, FAREWELL, signal.SIGALRM):
        signal.signal(number, _interrupt)
    try:
        if options.client:
            _take_whisper(options.request)
        source = None if options.client else translate(_find_source(options.source))
        with dg.DagsterInstance.get() as instance:
            return 0 if _run_all(instance, source, options) else 1
    except (ConfigError, DatabaseError, WarehouseError) as error:
        _say(Failed(source=options.source, error=str(error)))
    except KeyboardInterrupt:
        _say(
            Failed(
                source=options.source,
                error=tr("Interrupted. Days that were loaded stay loaded; run the command again."),
            )
        )
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return 1


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    """Stop, and try again soon: a command that was killed sends its signal just once.

    Dagster takes an interrupt at a bad moment for a step that failed, and waits a minute to run it
    again; and of several runs it ends only the one that is under way.
    """
    signal.setitimer(signal.ITIMER_REAL, _BETWEEN_INTERRUPTS_SEC)
    raise KeyboardInterrupt


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="callkeeper_assets.worker")
    # Of a client's run no source's, but whatever the command calls all of them.
    parser.add_argument("source")
    parser.add_argument("--from", dest="first", type=date.fromisoformat)
    parser.add_argument("--to", dest="last", type=date.fromisoformat)
    parser.add_argument("--refresh", action="store_true")
    parser.add_argument("--rebuild", action="store_true")
    parser.add_argument("--inbox", action="store_true")
    parser.add_argument("--reconcile", action="store_true")
    parser.add_argument("--retain", action="store_true")
    parser.add_argument("--protect", action="store_true")
    parser.add_argument("--client", choices=(FORGET, EXPORT))
    parser.add_argument("--request", default="")
    parser.add_argument("--reference", default="")
    parser.add_argument("--report", metavar="NAME")
    parser.add_argument("--dry-run", action="store_true")
    parser.add_argument("--force", action="store_true")
    return parser.parse_args(arguments)


def _take_whisper(request_id: str) -> None:
    """Keep the number that a client's command hands over; none is a request's verification."""
    whispered = sys.stdin.readline().strip()
    if whispered:
        hand_over(request_id, whispered)


def _find_source(name: str) -> Source:
    sources, _ = load_sources()
    for source in sources:
        if source.name == name:
            return source
    raise ConfigError(tr("There is no source '{name}'.", name=name))


@dataclass(frozen=True)
class _Work:
    """What is run: a job, once for each range of days; None stands for a job without days.

    Attributes:
        config: of each step that takes one.
        needs_key: whether the source is asked for anything.
        assets: of the job, those that are run; None stands for all.
    """

    job: str
    ranges: Sequence[DayRange | None]
    config: Mapping[str, object]
    purpose: Purpose
    needs_key: bool = True
    assets: Sequence[dg.AssetKey] | None = None


def _plan_works(source: Source | None, options: argparse.Namespace) -> list[_Work]:
    """Return what is run, one after the other."""
    if source is None:
        config = {"request": options.request}
        if options.client == FORGET:
            config |= {"reference": options.reference, "dry_run": options.dry_run}
        return [_Work(options.client, [None], config, "client", needs_key=False)]
    if not options.refresh and not options.rebuild:
        return [_plan_work(source, options)]
    today = source.today()
    outdated = plan_source_rebuild(source, today=today)
    job = name_refresh_job(source.name)
    rebuild = _Work(job, outdated, {}, "load", needs_key=False, assets=list_table_keys(source))
    if options.rebuild:
        reports = _Work(name_all_reports_job(source.name), outdated, {}, "load", needs_key=False)
        return [rebuild, reports] if source.reports else [rebuild]
    refresh = _Work(job, plan_source_refresh(source, today=today), {"force": options.force}, "load")
    return [rebuild, refresh]


def _plan_work(source: Source, options: argparse.Namespace) -> _Work:
    force = {"force": options.force}
    if options.inbox:
        return _Work(INBOX_JOB, [None], {}, "process", needs_key=False)
    if options.retain:
        config = {"dry_run": options.dry_run}
        return _Work(name_retention_job(source.name), [None], config, "delete", needs_key=False)
    if options.protect:
        config = {"dry_run": options.dry_run}
        return _Work(name_protection_job(source.name), [None], config, "protect", needs_key=False)
    ranges = [DayRange(options.first, options.last)]
    if options.report:
        job = name_report_job(source.name, options.report)
        return _Work(job, ranges, {}, "load", needs_key=False)
    if options.reconcile:
        config = {**force, "dry_run": options.dry_run}
        return _Work(name_reconciliation_job(source.name), ranges, config, "compare")
    return _Work(name_load_job(source.name), ranges, force, "load")


def _run_all(
    instance: dg.DagsterInstance, source: Source | None, options: argparse.Namespace
) -> bool:
    url, name = database_url(), options.source
    mark_dead_runs(instance, url)
    ours = [source] if source else []
    definitions = dg.Definitions.merge(
        build_shared_definitions(ours), *map(build_source_definitions, ours)
    )
    works = _plan_works(source, options)
    ranges = [one for work in works for one in work.ranges]
    days = sum(one.days for one in ranges if one)
    purpose = works[0].purpose
    _say(Planned(source=name, days=days, runs=len(ranges), purpose=purpose))
    progress.listen(lambda phase, done, total: _say(Progress(name, phase, done, total)))
    progress.listen_to_days(lambda day: _say(Compared(name, day)))
    progress.listen_to_retention(lambda retained: _say(RetentionEnded(name, retained)))
    progress.listen_to_words(lambda text: _say(Said(name, text)))
    progress.listen_to_results(lambda document: _say(Concluded(name, document)))
    with _explained_loss(url):
        # All of them are tried: a day that fails must not keep the others from being loaded.
        done = [
            _run_one(
                instance,
                url,
                definitions.resolve_job_def(work.job),
                name,
                one,
                work=work,
                source=source,
            )
            for work in works
            for one in work.ranges
        ]
    return all(done)


@contextmanager
def _explained_loss(url: str) -> Iterator[None]:
    """Say what it means that the database goes away while Dagster writes to it.

    Raises:
        DatabaseError: It did.
    """
    try:
        yield
    except (sa.exc.OperationalError, sa.exc.InterfaceError, psycopg.OperationalError) as error:
        said = error.orig if isinstance(error, sa.exc.DBAPIError) else error
        raise DatabaseError(_describe_loss(url, str(said))) from None


def _describe_loss(url: str, said: str) -> str:
    return tr(
        "{problem} Days that were loaded stay loaded, no day is half loaded: when the "
        "server runs, run the command again.",
        problem=explain_failure(url, Exception(said)),
    )


def _run_one(
    instance: dg.DagsterInstance,
    url: str,
    job: dg.JobDefinition,
    name: str,
    days: DayRange | None,
    *,
    work: _Work,
    source: Source | None,
) -> bool:
    if work.needs_key and source is not None:
        _wait_for_key(instance, url, source)
    run_id = str(uuid.uuid4())
    first, last = (days.first.isoformat(), days.last.isoformat()) if days else ("", "")
    _say(Started(source=name, run_id=run_id, first=first, last=last))
    with held_run_lock(url, run_id):
        result = job.execute_in_process(
            run_id=run_id,
            instance=instance,
            tags={
                COMMAND_LINE_TAG: "command line",
                **(build_range_tags(days.first, days.last, days.others) if days else {}),
            },
            asset_selection=work.assets,
            run_config={**_QUIET, "ops": _build_op_config(job, work.config)},
            raise_on_error=False,
        )
    if not result.success:
        _say(Failed(source=name, run_id=run_id, error=_describe_failure(url, result)))
        return False
    others = tuple(day.isoformat() for day in days.others) if days else ()
    _say(
        Finished(
            source=name,
            run_id=run_id,
            first=first,
            last=last,
            tables=total_run(url, run_id),
            others=others,
        )
    )
    return True


def _wait_for_key(instance: dg.DagsterInstance, url: str, source: Source) -> None:
    """Wait until no other run uses the source's key, and say so.

    Dagster would wait as well, but at the cost of a whole core and without a word.
    """
    is_reported = False
    while True:
        free_ended_runs(instance, url, name_pool(source))
        pool = instance.event_log_storage.get_concurrency_info(name_pool(source))
        if len(pool.claimed_slots) < max(pool.slot_count, 1):
            return
        if not is_reported:
            _say(Waiting(source=source.name, run_id=pool.claimed_slots[0].run_id))
            is_reported = True
        time.sleep(_BETWEEN_LOOKS_SEC)
        mark_dead_runs(instance, url)


def _build_op_config(job: dg.JobDefinition, config: Mapping[str, object]) -> dict[str, object]:
    """Give the configuration to the steps that take one: neither checks nor the audit do."""
    if not config:
        return {}
    return {
        node.name: {"config": config}
        for node in job.nodes
        if _takes_config(node.definition.config_field)
    }


def _takes_config(field: object) -> bool:
    # A step that declares nothing has a field all the same, an empty one.
    return bool(getattr(getattr(field, "config_type", None), "fields", None))


def _describe_failure(url: str, result: dg.ExecuteInProcessResult) -> str:
    """Return what the first step that failed said; a bug shows as its exception.

    A database that was away while Dagster wrote of a step, and back when it wrote of the run, is
    known from the run alone.
    """
    for event in result.all_events:
        if event.is_step_failure:
            data = event.step_failure_data
            failure = data.user_failure_data
            if failure and failure.description:
                return failure.description
            if data.error:
                return str((data.error.cause or data.error).message).strip()
    for event in result.all_events:
        error = event.job_failure_data.error if event.is_job_failure else None
        if error and error.cls_name in _LOSSES:
            return _describe_loss(url, (error.cause or error).message)
    return tr("The run failed; its log in Dagster's UI says why.")


def _say(message: Message) -> None:
    write_message(_command, message)
