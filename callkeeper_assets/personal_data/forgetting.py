"""`callkeeper forget`: one client out of everything that is stored, and a proof that it is so.

The dry run and the real one count alike. Killed at any step, it can be run again.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Final

from psycopg import sql
from psycopg.types.json import Jsonb

from callkeeper_assets.config.errors import ConfigError
from callkeeper_assets.config.source import Source
from callkeeper_assets.language import tr
from callkeeper_assets.personal_data.erasures import (
    hash_number_of,
    note_verified,
    read_hash,
    read_key,
)
from callkeeper_assets.personal_data.requests import check_reference, name_request
from callkeeper_assets.personal_data.rewriting import (
    Reloader,
    Rewritten,
    delete_leftovers,
    drain_spool,
    rewrite_payloads,
    rewrite_raw_days,
    spool_folder,
)
from callkeeper_assets.personal_data.searching import PayloadHit, SourceHits, read_body
from callkeeper_assets.personal_data.shield import (
    Connection,
    Target,
    list_targets,
    make_account_of,
)
from callkeeper_assets.personal_data.verifying import (
    Found,
    FoundPlace,
    Search,
    Verifier,
    look,
    sum_up,
)
from callkeeper_assets.postgres import connect, read_sql_of
from callkeeper_assets.postgres.locks import held_source_lock_alone
from callkeeper_assets.privacy.rewriting import Eraser, NotJsonError, Scope, Seeker
from callkeeper_assets.privacy.tails import HashedTail
from callkeeper_assets.raw.store import RawStore
from callkeeper_assets.reports.rows import JSON_TABLE, REJECTS_TABLE
from callkeeper_assets.reports.structure import (
    CALL_COLUMN,
    DAY_COLUMN,
    REPORT_COLUMN,
    list_report_tables,
)
from callkeeper_assets.warehouse.accounts import ForgottenCall, note_forgotten_calls
from callkeeper_assets.warehouse.migrate import ensure_schema
from callkeeper_assets.warehouse.schema import FACTS
from callkeeper_assets.warehouse.session import Session
from callkeeper_assets.webhooks.inbox import erase_body
from callkeeper_assets.webhooks.payload import Format
from callkeeper_assets.webhooks.receivers import SilentReceiver, wait_for_others

_REPORT_ROWS: Final = (
    "DELETE FROM {table} WHERE account_id = %(account_id)s AND {call} = ANY(%(calls)s)"
)
_NOT_REBUILT: Final = " AND NOT ({report} = ANY(%(reports)s) AND {day} = ANY(%(days)s))"
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
    """What the log of erasures has of a request.

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
            self.connection.execute(read_sql("erase_calls"), values)
            self.connection.execute(read_sql("erase_facts"), values)
            values["calls"] = list(calls)
            made = list_report_tables(self.connection)
            for table in (JSON_TABLE, REJECTS_TABLE, *made):
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


@dataclass(frozen=True)
class Forgotten:
    """What `forget` did.

    Attributes:
        request_id: None for a dry run, and where no source was ever loaded.
        problems: what is not erased, with the reason.
        similar: where else the same last nine digits are, for a person to decide.
    """

    found: Found
    request_id: str | None = None
    problems: list[str] = field(default_factory=list)
    similar: list[FoundPlace] = field(default_factory=list)


@dataclass(frozen=True)
class Forgetter:
    """Forgets clients.

    Args:
        url: Of the database.
        store: Where raw calls lie.
        sources: Those configured.
        say: Called with a text for each step that takes long.
    """

    url: str
    store: RawStore
    sources: Sequence[Source]
    say: Callable[[str], None]

    def forget(
        self, number: str, *, is_dry: bool, request_id: str = "", reference: str = ""
    ) -> Forgotten:
        """Forget a client, or only look.

        Args:
            number: As `normalise_number` returns it.
            is_dry: Only look.
            request_id: Under which it is noted; a new one if it is empty.
            reference: On whose word.

        Raises:
            ConfigError: The reference cannot be kept, the request is another client's, or the
                home's key cannot be read.
            MissingSecretError: A source hashes, and its key is not in the environment.
            DatabaseError: The database cannot be reached.
            WarehouseError: It refuses or went away; run again, what is left is done then.
            StoreError: The raw calls' place cannot be reached or written.
        """
        said = check_reference(reference, number)
        ensure_schema(self.url)
        with connect(self.url, autocommit=True) as connection, ExitStack() as locks:
            targets = list_targets(connection, self.store, self.sources)
            if is_dry:
                search = self._search(connection, targets, number)
                similar = search.verify(connection, self.store, targets, number)[1]
                return Forgotten(search.describe(), similar=similar)
            request = Request(
                request_id or name_request("forget"), said or None, hash_number_of(number)
            )
            _check_unused(connection, request)
            for target in targets:
                locks.enter_context(self._lock(target))
            return self._forget(connection, targets, number, request)

    def _forget(
        self, connection: Connection, targets: Sequence[Target], number: str, request: Request
    ) -> Forgotten:
        # What another machine's spool holds comes into the inbox by its own receiver alone.
        silent = wait_for_others(connection, spool_folder(), self.say)
        # What the spool holds is looked at where it lies, and erased where it goes to.
        search = self._search(connection, targets, number)
        found = search.describe()
        is_drained = drain_spool({one.name: one.renamed for one in targets})
        if search.spooled:
            search = self._search(connection, targets, number)
        problems = self._erase(connection, search, found, request)
        _remove_torn(number, targets)
        if not is_drained:
            problems.append(_explain_spool())
        problems += [_explain_silence(one) for one in silent]
        if not found.is_empty:
            problems += delete_leftovers(connection, {FACTS, *search.rows})
        left = self._search(connection, targets, number)
        problems += _describe_left(left)
        self.say("Searching again, for the last nine digits in any form.")
        places, similar = left.verify(connection, self.store, targets, number)
        is_noted = note_verified(connection, request.request_id, places)
        return Forgotten(found, request.request_id if is_noted else None, problems, similar)

    def _lock(self, target: Target) -> "ExitStack":
        stack = ExitStack()
        stack.enter_context(
            held_source_lock_alone(
                self.url,
                target.name,
                lambda: self.say(f"Waiting for runs of {target.name} that are under way."),
            )
        )
        return stack

    def _search(self, connection: Connection, targets: Sequence[Target], number: str) -> Search:
        return look(connection, self.store, targets, number, self.say)

    def _erase(
        self, connection: Connection, search: Search, found: Found, request: Request
    ) -> list[str]:
        problems: list[str] = []
        by_name = {one.source: one for one in found.sources}
        for name, hits in search.hits.items():
            erasure = Erasure(self.url, connection, self.store, hits.target, request)
            summary = {**vars(by_name[name]), "rows": dict(found.rows)}
            if by_name[name].is_empty and not erasure.has_open() and not hits.unfinished:
                # That nothing was found is noted as well: somebody asked.
                if hits.target.account_id is not None:
                    erasure.begin(hits, summary)
                    erasure.finish()
                continue
            self.say(f"Erasing in {name}.")
            calls = erasure.begin(hits, summary)
            failed = erasure.erase(calls, hits)
            if not failed:
                erasure.finish()
            problems += failed
        return problems


def verify_request(
    url: str, store: RawStore, sources: Sequence[Source], request_id: str
) -> list[FoundPlace]:
    """Search again for the client of a request, by the hash of the number alone, and note it.

    Raises:
        ConfigError: There is no such request.
        DatabaseError: The database cannot be reached.
        StoreError: The raw calls' place cannot be reached.
    """
    ensure_schema(url)
    with connect(url, autocommit=True) as connection:
        hashed = read_hash(connection, request_id)
        if hashed is None:
            raise ConfigError(
                tr(
                    "There is no request {request_id}, and no number was handed over for one. In "
                    "the launchpad name a request of `callkeeper erasures`, to verify it again. "
                    "To forget a client type: callkeeper forget; or put the number into the file "
                    "requests/{request_id} of the home first, readable by its owner alone.",
                    request_id=request_id,
                )
            )
        targets = list_targets(connection, store, sources)
        tail = HashedTail(hashed, read_key())
        places = sum_up(Verifier(connection, store, targets, tail).look())
        note_verified(connection, request_id, places)
    return places


def _check_unused(connection: Connection, request: Request) -> None:
    noted = read_hash(connection, request.request_id)
    if noted not in (None, request.number_hash):
        raise ConfigError(
            tr(
                "The request {request_id} is of another client: choose another name.",
                request_id=request.request_id,
            )
        )


def _remove_torn(number: str, targets: Sequence[Target]) -> None:
    """Remove ends of spool files that nobody answered for, if they hold the number."""
    seekers = [target.build_seeker(number) for target in targets] or [Seeker(number, [])]
    for file in _list_torn():
        text = read_body(file.read_bytes())
        if any(one.is_in(text) for one in seekers):
            file.unlink(missing_ok=True)


def _list_torn() -> list[Path]:
    return sorted(spool_folder().glob("*.torn"))


def _explain_spool() -> str:
    return (
        f"Webhooks wait in {spool_folder()} for a receiver that does not reach the database. Their "
        "numbers are taken out when they move to the inbox; run the command again then."
    )


def _explain_silence(receiver: SilentReceiver) -> str:
    return (
        f"{receiver}. Start a receiver with its home again, then run the command again. If that "
        f"home is no more, delete the row {receiver.receiver_id} of callkeeper_receivers."
    )


def _describe_left(search: Search) -> list[str]:
    """Say where the number still stands, but as a manager's."""
    problems = []
    for name, hits in search.hits.items():
        left = [one.role for one in hits.raw] + [one.role for one in hits.payloads]
        left = [role for role in left if role != "manager"]
        if left:
            problems.append(f"{name}: {len(left)} raw calls or payloads still hold the number.")
        problems += [f"{name}: {text}" for text in hits.unreadable]
    problems += [
        f"{table}: {len(rows)} rows still hold the number." for table, rows in search.rows.items()
    ]
    return problems
