"""Brings what waits in the inbox into the tables: the last word of webhooks on each call.

By rounds over sources: in each a bounded number of payloads of each source, those of sources with
tables, filters and zone in common together.
"""

import time
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Final, Literal

import duckdb

from callkeeper_assets.config.source import Source
from callkeeper_assets.local_time import find_day
from callkeeper_assets.postgres.errors import DatabaseLostError
from callkeeper_assets.privacy.redaction import excerpt
from callkeeper_assets.raw.store import Day, RawStore, build_calls
from callkeeper_assets.warehouse.load_log import find_account, read_newest_fetches
from callkeeper_assets.warehouse.loader import BatchAtCommit, Loader, LoadPart
from callkeeper_assets.warehouse.records import BadDataError, LoadedDay, UnavailableError
from callkeeper_assets.warehouse.session import Session
from callkeeper_assets.webhooks.inbox_rows import (
    InboxRow,
    PayloadReader,
    Verdict,
    explain_leaving,
    group_by_call,
    read_processed,
    read_waiting,
    write_hints,
    write_verdicts,
)
from callkeeper_assets.webhooks.payload import UnreadableError, read_document
from callkeeper_assets.webhooks.raw_call import (
    Hint,
    RawCall,
    UnusablePayloadError,
    guess_days,
    read_hint,
)

# A clock that is a little fast is nobody's mistake; a call of next week is.
_FUTURE: Final = timedelta(days=1)

_NOR_A_HINT: Final = (
    ", nor a parameter of call tracking's (webhook.fields says what this account calls "
    "client_phone, manager_phone and called_at)"
)
_NEVER: Final = datetime.min.replace(tzinfo=UTC)

SUPERSEDED: Final = "another webhook says more of this call"
TOO_EARLY: Final = "the call is older than the source's start_date"
UNKNOWN_TO_SOURCE: Final = (
    "it is call tracking's and names no call; the statistics API does not tell of such calls, "
    "`api: ckct` would"
)
TOO_OLD: Final = "the call is older than what the source's retention keeps"


# The payloads of one call, the last word first.
_Words = list[RawCall]

# Of one round: so many bodies are in memory at once, and at least so many of each source.
_MOST_ROWS: Final = 2_000
_LEAST_ROWS: Final = 20
_LONGEST_SEC: Final = 20.0
# No source's fault: the database went away, or a lock that the run relies on.
_AWAY: Final = (UnavailableError, DatabaseLostError)


@dataclass
class Processed:
    """What came of the payloads of one source.

    Attributes:
        payloads: processed, rejected ones included.
        rejected: those that can be no call, whose reasons the inbox holds.
        hints: call tracking's, which name no call.
        not_needed: calls that were left to the source.
        days: what changed in the tables; a day may occur several times.
        oldest: when the first of the payloads came.
    """

    payloads: int = 0
    rejected: int = 0
    hints: int = 0
    not_needed: int = 0
    days: list[LoadedDay] = field(default_factory=list)
    oldest: datetime | None = None


class InboxProcessor:
    """One source's side of processing: `InboxRun` drives those of all sources.

    Attributes:
        processed: what has come of its payloads.

    Args:
        loader: An open one; sources may share it.
        source: Takes webhooks.
        store: Where its raw calls lie.
        run_id: Goes into the load log.
    """

    def __init__(self, loader: Loader, source: Source, store: RawStore, run_id: str) -> None:
        assert source.webhook is not None  # noqa: S101 -- see above
        self._webhook = source.webhook
        self._loader = loader
        self._session: Session = loader.session
        self.source = source
        self._store = store
        self._run_id = run_id
        self._account = source.account
        self.account_id = find_account(self._session, self._account).account_id
        self.processed = Processed()
        self._wanted: dict[date, list[_Words]] = {}
        self._reader = PayloadReader(self._session, self.account_id, self._webhook.fields, {})
        # Rows that wait, of what was taken last.
        self._waiting: set[int] = set()
        self._hinted_at: dict[date, datetime] = {}

    def take_some(self, most: int) -> bool:
        """Take some of what waits, and settle what changes nothing; return whether any waits.

        The account must be locked, from here until what is taken is loaded: the source's own load
        waits, or is over.

        Raises:
            UnavailableError: The database went away; what is not stored is not processed.
            StoreError: The raw calls cannot be read.
        """
        self._wanted = {}
        waiting = read_waiting(self._session, self.account_id, most)
        if not waiting:
            return False
        self._waiting = {row.id for row in waiting}
        self._reader = PayloadReader.open(self._session, self.account_id, self._webhook.fields)
        self._reader.erase_bodies(waiting)
        first = min(row.received_at for row in waiting)
        self.processed.oldest = min(first, self.processed.oldest or first)
        self._hinted_at = {}
        calls, verdicts = self._take_apart(waiting)
        wanted, not_needed = self._part_calls(calls)
        self.processed.not_needed += len(not_needed)
        for words, reason in not_needed:
            verdicts += self._decide(words, reason)
        write_hints(self._session, self.account_id, self._hinted_at)
        self._settle(verdicts)
        self._wanted = wanted
        return True

    @property
    def has_part(self) -> bool:
        """Whether something is taken that is to be loaded."""
        return bool(self._wanted)

    def build_part(self) -> LoadPart:
        """Return what is taken, for a load together with others."""
        days = [_build_day(day, self._wanted[day]) for day in sorted(self._wanted)]
        return LoadPart(self._account, days)

    def settle_part(self, batch: BatchAtCommit) -> None:
        """Settle what is loaded, in the transaction that loads it."""
        settled = [one for day in batch.batch.days for one in self._decide_day(day)]
        write_verdicts(batch.session, self.account_id, settled, batch.started_at)

    def note_loaded(self, day: LoadedDay) -> None:
        """Count a day that is loaded; it is not taken any more."""
        self._count(self._decide_day(day.day))
        del self._wanted[day.day]
        self.processed.days.append(day)

    def load_alone(self) -> None:
        """Load what is taken; what the tables do not take is found by halving, and rejected alone.

        Raises:
            UnavailableError: The database went away.
        """
        try:
            load_parts(self._loader, [self], self._run_id)
        except (BadDataError, duckdb.Error) as error:
            left = [(day, words) for day in sorted(self._wanted) for words in self._wanted[day]]
            self._wanted = {}
            if len(left) == 1:
                self._reject(left[0][1][0], str(error))
                return
            middle = len(left) // 2
            for half in (left[:middle], left[middle:]):
                for day, words in half:
                    self._wanted.setdefault(day, []).append(words)
                self.load_alone()

    def _settle(self, verdicts: Sequence[Verdict]) -> None:
        """Settle payloads that change nothing in the tables."""
        if verdicts:
            write_verdicts(self._session, self.account_id, verdicts, datetime.now(UTC))
            self._count(verdicts)

    def _count(self, verdicts: Sequence[Verdict]) -> None:
        self.processed.payloads += len(verdicts)
        self.processed.rejected += sum(one.state == "rejected" for one in verdicts)
        self.processed.hints += sum(one.state == "hint" for one in verdicts)

    def _take_apart(self, waiting: Sequence[InboxRow]) -> tuple[list[_Words], list[Verdict]]:
        """Find the last word on each call, and the payloads that can be no call."""
        read = [self._read(row) for row in waiting]
        verdicts = [one for one in read if isinstance(one, Verdict)]
        calls = [one for one in read if isinstance(one, RawCall)]
        ids = sorted({call.call_id for call in calls})
        older = [
            self._read(row)
            for row in read_processed(self._session, self.account_id, ids)
            # One that has come again is among both.
            if row.id not in self._waiting
        ]
        known = [one for one in older if isinstance(one, RawCall)]
        return group_by_call((*calls, *known)), verdicts

    def _read(self, row: InboxRow) -> "RawCall | Verdict":
        try:
            call = self._reader.read_call(row)
        except UnusablePayloadError as error:
            return self._decide_unusable(row, str(error))
        if call.called_at > datetime.now(UTC) + _FUTURE:
            reason = f"the call's time lies in the future: {call.called_at:%Y-%m-%d %H:%M:%S} UTC"
            return _build_verdict(call, "rejected", reason)
        return call

    def _decide(self, words: _Words, reason: str | None = None) -> list[Verdict]:
        """Return the verdicts on those that wait; `reason`: why the last word is not used."""
        return [
            _build_verdict(one, "processed", reason if one is words[0] else SUPERSEDED)
            for one in words
            if one.row_id in self._waiting
        ]

    def _decide_day(self, day: date) -> list[Verdict]:
        return [verdict for words in self._wanted[day] for verdict in self._decide(words)]

    def _decide_unusable(self, row: InboxRow, reason: str) -> Verdict:
        """Decide on a payload that can be no call: at best it hints at one."""
        fields = self._webhook.fields
        try:
            hint = read_hint(read_document(row.format, row.body), fields)
        except UnreadableError:
            hint = None
        if hint is None:
            if self.source.takes_hints and row.call_id is None:
                reason += _NOR_A_HINT
            return Verdict(row.id, row.came_at, "rejected", reason, row.call_id, row.event)
        if not self.source.takes_hints:
            reason = UNKNOWN_TO_SOURCE
            return Verdict(row.id, row.came_at, "rejected", reason, row.call_id, row.event)
        self._note_hint(row, hint)
        return Verdict(row.id, row.came_at, "hint", None, row.call_id, row.event)

    def _note_hint(self, row: InboxRow, hint: Hint) -> None:
        first, last = self.source.first_day(self.source.today()), self.source.today()
        for day in guess_days(hint, row.came_at, self.source.time_zone):
            if first <= day <= last:
                self._hinted_at[day] = max(row.came_at, self._hinted_at.get(day, _NEVER))

    def _part_calls(
        self, calls: Iterable[_Words]
    ) -> tuple[dict[date, list[_Words]], list[tuple[_Words, str | None]]]:
        """Part the calls, by day, from those that webhooks have no more say on, with the reason."""
        by_day: dict[date, list[_Words]] = {}
        not_needed: list[tuple[_Words, str | None]] = []
        for words in calls:
            if words[0].row_id not in self._waiting:
                not_needed.append((words, None))
                continue
            day = find_day(words[0].called_at, self.source.time_zone)
            by_day.setdefault(day, []).append(words)
        wanted: dict[date, list[_Words]] = {}
        loaded = read_newest_fetches(self._session, self.account_id, by_day) if by_day else {}
        for day, of_day in by_day.items():
            find_reason = self._find_rule(day, loaded)
            for words in of_day:
                reason = find_reason(words[0])
                if reason is None:
                    wanted.setdefault(day, []).append(words)
                else:
                    not_needed.append((words, reason))
        return wanted, not_needed

    def _find_rule(
        self, day: date, loaded: Mapping[date, datetime | None]
    ) -> Callable[[RawCall], str | None]:
        """Return what says why a call of the day is left to the source, or None.

        An answer that is stored and not loaded yet (that run was killed, or is about to) shows in
        no table: until then the webhook's word stands there.
        """
        if day < self.source.start_date:
            return lambda _: TOO_EARLY
        if self.source.find_retention_problem(day):
            return lambda _: TOO_OLD
        found = self._store.look_up(self.source.name, day)
        if found is None:
            return lambda _: None
        ids, details = found
        loaded_at = loaded.get(day, _NEVER)
        if loaded_at is not None and loaded_at < details.fetched_at:
            return lambda _: None
        stay_from = self.source.account.webhooks_stay_from(details.fetched_at)
        return lambda call: explain_leaving(call, ids, stay_from)

    def _reject(self, call: RawCall, error: str) -> None:
        """Reject a payload; others of its call wait on, one of them has the last word now."""
        # DuckDB's own errors repeat what they were given: the call, with its phone numbers.
        reason = f"the tables do not take it: {excerpt(error, call_ids=[call.call_id])}"
        self._settle([_build_verdict(call, "rejected", reason)])


def load_parts(loader: Loader, processors: Sequence[InboxProcessor], run_id: str) -> None:
    """Load what these have taken: of sources with tables, filters and time zone in common.

    Raises:
        BadDataError: The tables do not take a call; nothing of its source's is loaded.
        UnavailableError: The database went away.
    """
    processors = [one for one in processors if one.has_part]
    if not processors:
        return
    source = processors[0].source
    for place, day in loader.load_together(
        [one.build_part() for one in processors],
        lambda place, batch: processors[place].settle_part(batch),
        tables=source.tables,
        filters=source.filters,
        run_id=run_id,
    ):
        processors[place].note_loaded(day)


def _build_verdict(
    call: RawCall, state: Literal["processed", "rejected"], reason: str | None
) -> Verdict:
    return Verdict(
        call.row_id, call.came_at, state, reason, call.call_id, call.event, call.called_at
    )


def _build_day(day: date, of_day: Sequence[_Words]) -> Day:
    calls = sorted((words[0] for words in of_day), key=lambda call: (call.called_at, call.call_id))
    return Day(
        day,
        build_calls(
            [call.call_id for call in calls],
            [int(call.called_at.timestamp()) for call in calls],
            [call.payload for call in calls],
        ),
    )


class InboxRun:
    """Processes all that waits for sources.

    Attributes:
        processed: what came of each source's payloads, by name, failed ones included.
        failures: by source's name; it has payloads that still wait.
    """

    def __init__(
        self, loader: Loader, sources: Iterable[Source], store: RawStore, run_id: str
    ) -> None:
        self._loader = loader
        self._run_id = run_id
        processors = [InboxProcessor(loader, source, store, run_id) for source in sources]
        # The order in which every run locks accounts: no two wait for each other.
        self._processors = sorted(processors, key=lambda one: one.account_id)
        self.failures: dict[str, Exception] = {}

    @property
    def processed(self) -> dict[str, Processed]:
        """What came of each source's payloads, by name."""
        return {one.source.name: one.processed for one in self._processors}

    def process(self) -> None:
        """Process until nothing waits, but for sources that fail, or until it has taken long.

        What still waits then is the next run's: payloads of sources that this run is not for must
        not wait for the end of a great backlog.
        """
        active: Sequence[InboxProcessor] = self._processors
        until = time.monotonic() + _LONGEST_SEC
        while active and time.monotonic() < until:
            active = [one for group in _group(active) for one in self._process_some(group)]

    def _process_some(self, group: Sequence[InboxProcessor]) -> list[InboxProcessor]:
        """Process some payloads of each source of a group; return those that may have more."""
        most = max(_LEAST_ROWS, _MOST_ROWS // len(group))
        taken: list[InboxProcessor] = []
        try:
            with ExitStack() as locks:
                for one in group:
                    locks.enter_context(self._loader.session.lock(one.account_id))
                    with self._noting_failure(one):
                        if one.take_some(most):
                            taken.append(one)
                self._load(taken)
        except _AWAY as error:
            # The connection is gone, and with it the locks and what was not committed.
            for one in group:
                self.failures.setdefault(one.source.name, error)
        return [one for one in taken if one.source.name not in self.failures]

    def _load(self, processors: Sequence[InboxProcessor]) -> None:
        """Load together what is taken; if that fails, each alone, so that only the culprit does."""
        try:
            load_parts(self._loader, processors, self._run_id)
        except _AWAY:
            raise
        except Exception:  # noqa: BLE001 -- it comes again, from the source that it is about
            for one in processors:
                with self._noting_failure(one):
                    one.load_alone()

    @contextmanager
    def _noting_failure(self, processor: InboxProcessor) -> Iterator[None]:
        try:
            yield
        except _AWAY:
            raise
        except Exception as error:  # noqa: BLE001 -- whoever asks for the failures tells a bug
            self.failures[processor.source.name] = error


def _group(processors: Sequence[InboxProcessor]) -> list[list[InboxProcessor]]:
    """Group what can be loaded together, in the given order."""
    groups: dict[Hashable, list[InboxProcessor]] = {}
    for one in processors:
        source = one.source
        # As text: a filter's value may be a list, which is no key.
        filters = repr(sorted(source.filters.items()))
        groups.setdefault((source.time_zone, source.tables, filters), []).append(one)
    return list(groups.values())
