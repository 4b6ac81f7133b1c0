"""Erases what was found of a forgotten client, of one account.

The calls are noted as forgotten first: from then on nothing brings the person back, and whoever is
killed in the middle finds in the book what is left to do. Then raw calls and payloads lose the
person, and the tables follow by the code that fills them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Final

from psycopg import sql
from psycopg.types.json import Jsonb

from callkeeper_assets.database.sql_files import read_sql_of
from callkeeper_assets.personal_data.reloading import Reloader
from callkeeper_assets.personal_data.rewriting import (
    Rewritten,
    rewrite_payloads,
    rewrite_raw_days,
)
from callkeeper_assets.personal_data.searching import PayloadHit, SourceHits
from callkeeper_assets.personal_data.targets import Connection, Target, make_account_of
from callkeeper_assets.privacy.rewriting import Eraser, NotJsonError, Scope
from callkeeper_assets.raw.store import RawStore
from callkeeper_assets.reports.structure import CALL_COLUMN, DAY_COLUMN, REPORT_COLUMN
from callkeeper_assets.warehouse.forgotten_calls import ForgottenCall, note_forgotten_calls
from callkeeper_assets.warehouse.session import Session
from callkeeper_assets.webhooks.document import Format
from callkeeper_assets.webhooks.protection import erase_body

_REPORT_ROWS: Final = (
    "DELETE FROM {table} WHERE account_id = %(account_id)s AND {call} = ANY(%(calls)s)"
)
_NOT_REBUILT: Final = " AND NOT ({report} = ANY(%(reports)s) AND {day} = ANY(%(days)s))"
_OF_USERS: Final = "SELECT table_name FROM callkeeper_report_tables"
_BEGIN: Final = """
    INSERT INTO callkeeper_erasures
        (account_id, request_id, requested_at, found, reference, number_hash)
    VALUES (%(account_id)s, %(request_id)s, now(), %(found)s, %(reference)s, %(number_hash)s)
    ON CONFLICT (account_id, request_id) DO NOTHING
"""
_UNFINISHED: Final = """
    SELECT FROM callkeeper_erasures WHERE account_id = %(account_id)s AND finished_at IS NULL
"""
_FINISH: Final = """
    UPDATE callkeeper_erasures SET finished_at = now()
    WHERE account_id = %(account_id)s AND finished_at IS NULL
"""

read_sql = read_sql_of("callkeeper_assets.personal_data")


@dataclass(frozen=True)
class Request:
    """What the book of erasures has of a request.

    Attributes:
        reference: on whose word; None if nobody said.
        number_hash: of the number's last digits, see `erasures`.
    """

    request_id: str
    reference: str | None
    number_hash: str


@dataclass(frozen=True)
class Erasure:
    """Erases in one account; the source's lock must be held alone.

    Attributes:
        url: of the database.
        request: what is noted of the request.
    """

    url: str
    connection: Connection
    store: RawStore
    target: Target
    request: Request

    def begin(self, hits: SourceHits, found: Mapping[str, object]) -> dict[int, ForgottenCall]:
        """Note what is to be forgotten, in one transaction; return all calls that are to be erased.

        Those of requests that did not come to their end are among them.
        """
        account_id = make_account_of(self.connection, self.target)
        calls = _gather_calls(hits)
        with self.connection.transaction():
            noted = {**vars(self.request), "account_id": account_id, "found": Jsonb(dict(found))}
            self.connection.execute(_BEGIN, noted)
            request_id = self.request.request_id
            note_forgotten_calls(self.connection, account_id, request_id, calls.values())
        rows = self.connection.execute(read_sql("list_open"), {"account_id": account_id})
        return {call_id: ForgottenCall(call_id, scope, day) for call_id, scope, day in rows}

    def erase(self, calls: Mapping[int, ForgottenCall], hits: SourceHits) -> list[str]:
        """Erase everywhere; return why something could not be.

        Raises:
            WarehouseError: The database went away, or refuses; the command ends it when run again.
            StoreError: The raw calls' place cannot be reached.
        """
        account_id = make_account_of(self.connection, self.target)
        for path in hits.unfinished:
            self.store.delete(path)
        done = self._rewrite(account_id, {one.call_id: one.scope for one in calls.values()}, hits)
        problems = list(done.unreadable)
        days = {one.day for one in calls.values() if one.day} | done.days
        built: set[date] = set()
        if self.target.source is not None:
            reloader = Reloader(
                self.url,
                self.connection,
                self.store,
                self.target.source,
                account_id,
                self.request.request_id,
            )
            reloaded = reloader.reload(days, calls.keys())
            problems += reloaded.problems
            built = reloaded.built
        self._erase_rows(account_id, calls, built)
        return problems

    def has_open(self) -> bool:
        """Whether a request before this one did not come to its end."""
        account_id = self.target.account_id
        values = {"account_id": account_id}
        return account_id is not None and (
            self.connection.execute(_UNFINISHED, values).fetchone() is not None
        )

    def finish(self) -> None:
        """Note that all is erased."""
        account_id = make_account_of(self.connection, self.target)
        self.connection.execute(_FINISH, {"account_id": account_id})

    def _rewrite(self, account_id: int, scopes: Mapping[int, Scope], hits: SourceHits) -> Rewritten:
        done = Rewritten()
        eraser = Eraser()

        def erase_call(call_id: int, payload: bytes) -> bytes:
            scope = scopes.get(call_id)
            try:
                return payload if scope is None else eraser.erase(payload, scope)
            except NotJsonError:
                return b"{}"

        rewrite_raw_days(self.store, self.target.name, erase_call, done)
        webhook_eraser = Eraser(self.target.renamed)
        callless = {one.row_id for one in hits.payloads if one.call_id is None}

        def erase_payload(
            row_id: int, call_id: int | None, form: Format, body: bytes
        ) -> tuple[Format, bytes]:
            scope = scopes.get(call_id) if call_id is not None else None
            if row_id in callless:
                scope = "client"
            return erase_body(form, body, webhook_eraser, scope) if scope else (form, body)

        with Session(self.url) as session, session.lock(account_id):
            rewrite_payloads(self.connection, session, account_id, erase_payload, done)
        return done

    def _erase_rows(
        self, account_id: int, calls: Mapping[int, ForgottenCall], built: set[date]
    ) -> None:
        """Erase rows that nothing fills anew, of reports too."""
        source = self.target.source
        values: dict[str, object] = {
            "account_id": account_id,
            "calls": [one.call_id for one in calls.values() if one.scope == "client"],
            "reports": [report.name for report in source.reports] if source else [],
            "days": sorted(built),
        }
        with self.connection.transaction():
            self.connection.execute(read_sql("erase_facts"), values)
            self.connection.execute(read_sql("erase_calls"), values)
            values["calls"] = list(calls)
            made = [name for (name,) in self.connection.execute(_OF_USERS).fetchall()]
            for table in ("callkeeper_reports", "callkeeper_rejects", *made):
                self._delete_report_rows(table, values, is_made=table in made)

    def _delete_report_rows(
        self, table: str, values: Mapping[str, object], *, is_made: bool
    ) -> None:
        names = (CALL_COLUMN, REPORT_COLUMN, DAY_COLUMN)
        if not is_made:
            names = ("call_id", "report", "day")
        call, report, day = (sql.Identifier(name) for name in names)
        statement = sql.SQL(_REPORT_ROWS + _NOT_REBUILT).format(
            table=sql.Identifier(table), call=call, report=report, day=day
        )
        self.connection.execute(statement, values)


def _gather_calls(hits: SourceHits) -> dict[int, ForgottenCall]:
    """Return the calls to forget; those that are the client's own count before mentions."""
    calls: dict[int, ForgottenCall] = {}
    for one in hits.list_hits():
        call_id, role = one.call_id, one.role
        if role == "manager" or call_id is None:
            continue
        day = None if isinstance(one, PayloadHit) else one.day
        known = calls.get(call_id)
        scope: Scope = "client" if "client" in (role, known.scope if known else "") else "mention"
        calls[call_id] = ForgottenCall(call_id, scope, day or (known.day if known else None))
    return calls
