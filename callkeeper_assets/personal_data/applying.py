"""`callkeeper protect`: a source's privacy settings applied to the calls that are stored already.

Raw calls and payloads are rewritten in place, then the tables follow by the code that fills them:
the source is asked nothing. Killed in the middle it is run again: what is done already stays.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from psycopg import sql

from callkeeper_assets.config.source import Source
from callkeeper_assets.local_time import find_day, list_stretches
from callkeeper_assets.personal_data.rewriting import (
    Reloaded,
    Reloader,
    Rewritten,
    delete_leftovers,
    drain_spool,
    rewrite_payloads,
    rewrite_raw_days,
    spool_folder,
)
from callkeeper_assets.personal_data.searching import list_searched_tables
from callkeeper_assets.personal_data.shield import Connection, Target, make_account_of, read_rule
from callkeeper_assets.postgres import connect
from callkeeper_assets.postgres.locks import held_source_lock_alone
from callkeeper_assets.privacy.rewriting import Protector
from callkeeper_assets.raw.store import RawStore
from callkeeper_assets.reports.rows import JSON_TABLE, REJECTS_TABLE
from callkeeper_assets.reports.structure import DAY_COLUMN, REPORT_COLUMN, list_report_tables
from callkeeper_assets.warehouse.accounts import find_account_by_name, note_applied, note_setting
from callkeeper_assets.warehouse.migrate import ensure_schema
from callkeeper_assets.warehouse.session import Session
from callkeeper_assets.webhooks.inbox import protect_body
from callkeeper_assets.webhooks.payload import Format
from callkeeper_assets.webhooks.receivers import wait_for_others

_WEBHOOK_CALLS: Final = """
    SELECT call_id FROM callkeeper_calls WHERE account_id = %(account_id)s AND origin = 'webhook'
"""
_LEFT_CALLS: Final = """
    SELECT count(*), min(called_at), max(called_at) FROM callkeeper_calls
    WHERE account_id = %(account_id)s AND origin = 'api' AND NOT EXISTS (
        SELECT FROM unnest(%(starts)s::timestamptz[], %(ends)s::timestamptz[]) AS done (s, e)
        WHERE called_at >= done.s AND called_at < done.e
    )
"""
_LEFT_ROWS: Final = """
    SELECT count(*) FROM {table}
    WHERE account_id = %(account_id)s
        AND NOT ({report} = ANY(%(reports)s) AND {day} = ANY(%(days)s))
"""


@dataclass(frozen=True)
class Applied:
    """What was, or would be, rewritten.

    Attributes:
        calls: raw calls that changed.
        payloads: of webhooks that changed.
        rule: the settings as text.
        problems: what is still as it was, with the reason.
    """

    files: int
    calls: int
    payloads: int
    rule: str
    problems: tuple[str, ...] = ()


def apply_privacy(
    url: str,
    store: RawStore,
    source: Source,
    say: Callable[[str], None],
    *,
    is_dry: bool,
    run_id: str,
) -> Applied:
    """Bring the stored calls of a source to its privacy settings.

    Args:
        url: Of the database.
        store: Where raw calls lie.
        source: Whose calls.
        say: Called with a text for each step that takes long.
        is_dry: Count, and change nothing.
        run_id: Goes into the load log.

    Raises:
        MissingSecretError: The source hashes, and its key is not in the environment.
        DatabaseError: The database cannot be reached.
        WarehouseError: It refuses or went away; run again, what is left is done then.
        StoreError: The raw calls' place cannot be reached or written.
    """
    ensure_schema(url)
    rule = read_rule(source)
    with connect(url, autocommit=True) as connection:
        account_id = find_account_by_name(connection, source.name)
        target = Target(source.name, account_id, source, rule)
        if is_dry:
            done = _rewrite(url, connection, store, target, is_dry=True)
            return Applied(done.files, done.calls, done.payloads, rule.setting)
        waiting = f"Waiting for runs of {source.name} that are under way."
        with held_source_lock_alone(url, source.name, lambda: say(waiting)):
            return _apply(url, connection, store, target, say, run_id=run_id)


def _apply(
    url: str,
    connection: Connection,
    store: RawStore,
    target: Target,
    say: Callable[[str], None],
    *,
    run_id: str,
) -> Applied:
    source = target.source
    assert source is not None  # noqa: S101 -- it was asked for by its name
    account_id = make_account_of(connection, target)
    target = Target(target.name, account_id, source, target.rule)
    setting = target.rule.setting
    note_setting(connection, source.name, target.rule)
    silent = wait_for_others(connection, spool_folder(), say)
    is_drained = drain_spool({source.name: target.renamed})
    say(f"Rewriting raw calls and payloads of {source.name}.")
    for path in store.list_unfinished(source.name):
        store.delete(path)
    done = _rewrite(url, connection, store, target, is_dry=False)
    say("Loading its days anew from them.")
    # All of them, not just those rewritten now: a run before may have been killed in between.
    sent = connection.execute(_WEBHOOK_CALLS, {"account_id": account_id}).fetchall()
    reloader = Reloader(url, connection, store, source, account_id, run_id)
    reloaded = reloader.reload(store.list_days(source.name), {call for (call,) in sent})
    left = delete_leftovers(connection, list_searched_tables(connection))
    problems = [*done.unreadable, *reloaded.problems, *left]
    problems += _find_left(connection, source, account_id, reloaded)
    if not is_drained:
        problems.append("Webhooks wait in the spool for a receiver without a database.")
    problems += [f"{one}: run it again when a receiver has that home again." for one in silent]
    if not problems:
        note_applied(connection, source.name, setting)
    return Applied(done.files, done.calls, done.payloads, setting, tuple(problems))


def _rewrite(
    url: str, connection: Connection, store: RawStore, target: Target, *, is_dry: bool
) -> Rewritten:
    done = Rewritten()
    protector = Protector(target.rule)

    def protect_call(_call_id: int, payload: bytes) -> bytes:
        return protector.protect_record(payload)

    rewrite_raw_days(store, target.name, protect_call, done, is_dry=is_dry)
    if target.account_id is None:
        return done
    of_webhooks = Protector(target.rule, target.renamed)

    def protect_payload(
        _row_id: int, _call_id: int | None, form: Format, body: bytes
    ) -> tuple[Format, bytes]:
        return protect_body(form, body, of_webhooks)

    with Session(url) as session, session.lock(target.account_id):
        rewrite_payloads(
            connection, session, target.account_id, protect_payload, done, is_dry=is_dry
        )
    return done


def _find_left(
    connection: Connection, source: Source, account_id: int, reloaded: Reloaded
) -> list[str]:
    """Say which rows are as they were: those that no raw call fills anew."""
    stretches = list_stretches(reloaded.days, source.time_zone)
    values = {
        "account_id": account_id,
        "starts": [start for start, _ in stretches],
        "ends": [end for _, end in stretches],
        "reports": [report.name for report in source.reports],
        "days": sorted(reloaded.built),
    }
    row = connection.execute(_LEFT_CALLS, values).fetchone()
    problems = []
    if row and row[0]:
        first, last = (find_day(moment, source.time_zone) for moment in row[1:])
        problems.append(
            f"{row[0]} calls of {first} to {last} are in the tables as they were: their raw "
            f"calls are not there. Load these days again: callkeeper load {source.name} "
            f"--from {first} --to {last}, or delete their rows, facts first."
        )
    for table in list_report_tables(connection):
        problems += _find_left_rows(connection, table, (REPORT_COLUMN, DAY_COLUMN), values)
    for table in (JSON_TABLE, REJECTS_TABLE):
        problems += _find_left_rows(connection, table, ("report", "day"), values)
    return problems


def _find_left_rows(
    connection: Connection, table: str, columns: tuple[str, str], values: dict[str, object]
) -> list[str]:
    report, day = (sql.Identifier(name) for name in columns)
    statement = sql.SQL(_LEFT_ROWS).format(table=sql.Identifier(table), report=report, day=day)
    row = connection.execute(statement, values).fetchone()
    if not row or not row[0]:
        return []
    text = (
        f"{row[0]} rows of {table} are as they were: their report is configured no more, or no raw "
        f"calls are there. Delete them, or load these days again."
    )
    return [text]
