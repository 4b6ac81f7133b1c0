"""Brings what waits in the inbox into the tables: the last word of webhooks on each call.

All payloads of a call count, those processed before as well: neither the order in which they came
nor a crash decides what a call's row says. A call that the source itself has told of, or could have
told of long ago and has not, is left to it. What is processed, and its rows, commit together.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Final

import duckdb

from callkeeper_assets.api.redaction import excerpt
from callkeeper_assets.config.source import Source
from callkeeper_assets.local_time import find_day
from callkeeper_assets.raw.days import Day, build_table
from callkeeper_assets.raw.store import RawStore
from callkeeper_assets.warehouse.account_row import find_account
from callkeeper_assets.warehouse.errors import BadDataError
from callkeeper_assets.warehouse.joint_batch import Part
from callkeeper_assets.warehouse.load_log import read_newest_fetches
from callkeeper_assets.warehouse.loader import BatchAtCommit, Loader
from callkeeper_assets.warehouse.records import LoadedDay
from callkeeper_assets.warehouse.session import Session
from callkeeper_assets.webhooks.call_tracking import Hint, guess_days, read_hint
from callkeeper_assets.webhooks.document import UnreadableError, read_document
from callkeeper_assets.webhooks.forgotten_told import ForgottenTold, read_forgotten_told
from callkeeper_assets.webhooks.inbox_rows import (
    Row,
    Verdict,
    read_processed,
    read_waiting,
    write_hints,
    write_verdicts,
)
from callkeeper_assets.webhooks.last_words import Told, group_by_call, read_told
from callkeeper_assets.webhooks.raw_call import UnusablePayloadError

# A clock that is a little fast is nobody's mistake; a call of next week is.
_FUTURE: Final = timedelta(days=1)

_NOR_A_HINT: Final = (
    ", nor a parameter of call tracking's (webhook.fields says what this account calls "
    "client_phone, manager_phone and called_at)"
)
_NEVER: Final = datetime.min.replace(tzinfo=UTC)

SUPERSEDED: Final = "another webhook says more of this call"
TOLD_BY_SOURCE: Final = "the source's own record of this call is there"
TOO_LATE: Final = "the source did not show this call within the grace period"
TOO_EARLY: Final = "the call is older than the source's start_date"
NOT_TOLD_BY_SOURCE: Final = (
    "it is call tracking's and names no call; the statistics API does not tell of such calls, "
    "`api: ckct` would"
)
TOO_OLD: Final = "the call is older than what the source's retention keeps"


@dataclass(frozen=True)
class _Word:
    """The last word on a call, and the payloads that wait for it."""

    best: Told
    waiting: tuple[Told, ...]

    def judge(self, best: str | None) -> list[Verdict]:
        """Return the verdicts on the waiting payloads; `best` is why the last word is not used."""
        return [
            Verdict(
                one.row,
                "processed",
                best if one is self.best else SUPERSEDED,
                one.call.call_id,
                one.call.event,
                one.call.called_at,
            )
            for one in self.waiting
        ]


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
    """One source's side of processing: `rounds` drives those of all sources.

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
        self._wanted: dict[date, list[_Word]] = {}
        self._forgotten = ForgottenTold(self._session, self.account_id, {}, {})
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
        self._forgotten = read_forgotten_told(self._session, self.account_id, self._webhook.fields)
        self._forgotten.erase_bodies(waiting)
        first = min(row.received_at for row in waiting)
        self.processed.oldest = min(first, self.processed.oldest or first)
        self._hinted_at = {}
        words, verdicts = self._take_apart(waiting)
        wanted, not_needed = self._leave_to_source(words)
        self.processed.not_needed += len(not_needed)
        for word, reason in not_needed:
            verdicts += word.judge(reason)
        write_hints(self._session, self.account_id, self._hinted_at)
        self._settle(verdicts)
        self._wanted = wanted
        return True

    @property
    def has_part(self) -> bool:
        """Whether something is taken that is to be loaded."""
        return bool(self._wanted)

    def build_part(self) -> Part:
        """Return what is taken, for a load together with others."""
        days = [_build_day(day, self._wanted[day]) for day in sorted(self._wanted)]
        return Part(self._account, days)

    def settle_part(self, batch: BatchAtCommit) -> None:
        """Settle what is loaded, in the transaction that loads it."""
        settled = [one for day in batch.batch.days for one in _judge(self._wanted[day])]
        write_verdicts(batch.session, self.account_id, settled, batch.started_at)

    def note_loaded(self, day: LoadedDay) -> None:
        """Count a day that is loaded; it is not taken any more."""
        self._count(_judge(self._wanted.pop(day.day)))
        self.processed.days.append(day)

    def load_alone(self) -> None:
        """Load what is taken; what the tables do not take is found by halving, and rejected alone.

        Raises:
            UnavailableError: The database went away.
        """
        wanted, self._wanted = self._wanted, {}
        self._load(wanted)

    def _settle(self, verdicts: Sequence[Verdict]) -> None:
        """Settle payloads that change nothing in the tables."""
        if verdicts:
            write_verdicts(self._session, self.account_id, verdicts, datetime.now(UTC))
            self._count(verdicts)

    def _count(self, verdicts: Sequence[Verdict]) -> None:
        self.processed.payloads += len(verdicts)
        self.processed.rejected += sum(one.state == "rejected" for one in verdicts)
        self.processed.hints += sum(one.state == "hint" for one in verdicts)

    def _take_apart(self, waiting: Sequence[Row]) -> tuple[list[_Word], list[Verdict]]:
        """Find the last word on each call, and the payloads that can be no call."""
        fresh, verdicts = [], []
        for row in waiting:
            told = self._read(row)
            if isinstance(told, Told):
                fresh.append(told)
            else:
                verdicts.append(told)
        ids = sorted({one.call.call_id for one in fresh})
        waits = {row.id for row in waiting}
        # One that has come again is among both.
        older = [
            self._read(row)
            for row in read_processed(self._session, self.account_id, ids)
            if row.id not in waits
        ]
        known = [told for told in older if isinstance(told, Told)]
        words = [
            _Word(best=told[0], waiting=tuple(one for one in told if one.row.id in waits))
            for told in group_by_call((*fresh, *known)).values()
        ]
        return words, verdicts

    def _read(self, row: Row) -> "Told | Verdict":
        try:
            told = self._forgotten.erase(read_told(row, self._webhook.fields))
        except UnusablePayloadError as error:
            return self._judge_unusable(row, str(error))
        call = told.call
        if call.called_at > datetime.now(UTC) + _FUTURE:
            reason = f"the call's time lies in the future: {call.called_at:%Y-%m-%d %H:%M:%S} UTC"
            return Verdict(row, "rejected", reason, call.call_id, call.event, call.called_at)
        return told

    def _judge_unusable(self, row: Row, reason: str) -> Verdict:
        """Judge a payload that can be no call: at best it hints at one."""
        fields = self._webhook.fields
        try:
            hint = read_hint(read_document(row.format, row.body), fields)
        except UnreadableError:
            hint = None
        if hint is None:
            if self.source.takes_hints and row.call_id is None:
                reason += _NOR_A_HINT
            return Verdict(row, "rejected", reason, row.call_id, row.event)
        if not self.source.takes_hints:
            return Verdict(row, "rejected", NOT_TOLD_BY_SOURCE, row.call_id, row.event)
        self._note_hint(row, hint)
        return Verdict(row, "hint", None, row.call_id, row.event)

    def _note_hint(self, row: Row, hint: Hint) -> None:
        first, last = self.source.first_day(self.source.today()), self.source.today()
        for day in guess_days(hint, row.came_at, self.source.time_zone):
            if first <= day <= last:
                self._hinted_at[day] = max(row.came_at, self._hinted_at.get(day, _NEVER))

    def _leave_to_source(
        self, words: Iterable[_Word]
    ) -> tuple[dict[date, list[_Word]], list[tuple[_Word, str | None]]]:
        """Part the calls, by day, from those that webhooks have no more say on, with the reason."""
        by_day: dict[date, list[_Word]] = {}
        not_needed: list[tuple[_Word, str | None]] = []
        for word in words:
            if word.best not in word.waiting:
                not_needed.append((word, None))
                continue
            day = find_day(word.best.call.called_at, self.source.time_zone)
            by_day.setdefault(day, []).append(word)
        wanted: dict[date, list[_Word]] = {}
        loaded = read_newest_fetches(self._session, self.account_id, by_day) if by_day else {}
        for day, told in by_day.items():
            judge = self._find_judge(day, loaded)
            for word in told:
                reason = judge(word)
                if reason is None:
                    wanted.setdefault(day, []).append(word)
                else:
                    not_needed.append((word, reason))
        return wanted, not_needed

    def _find_judge(
        self, day: date, loaded: Mapping[date, datetime | None]
    ) -> Callable[[_Word], str | None]:
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
        last_moment = self.source.webhooks_stay_from(details.fetched_at)

        def judge(word: _Word) -> str | None:
            if word.best.call.call_id in ids:
                return TOLD_BY_SOURCE
            is_late = last_moment is not None and word.best.call.called_at < last_moment
            return TOO_LATE if is_late else None

        return judge

    def _load(self, wanted: Mapping[date, Sequence[_Word]]) -> None:
        if not wanted:
            return
        verdicts = {day: _judge(words) for day, words in wanted.items()}

        def settle(batch: BatchAtCommit) -> None:
            settled = [verdict for day in batch.batch.days for verdict in verdicts[day]]
            write_verdicts(batch.session, self.account_id, settled, batch.started_at)

        try:
            for result in self._loader.load(
                self._account,
                [_build_day(day, wanted[day]) for day in sorted(wanted)],
                tables=self.source.tables,
                filters=self.source.filters,
                run_id=self._run_id,
                origin="webhook",
                within=settle,
            ):
                self._count(verdicts[result.day])
                wanted = {day: words for day, words in wanted.items() if day != result.day}
                if isinstance(result, LoadedDay):
                    self.processed.days.append(result)
        except (BadDataError, duckdb.Error) as error:
            for part in _halve(wanted):
                self._load(part)
            if sum(map(len, wanted.values())) == 1:
                self._reject(next(iter(wanted.values()))[0].best, str(error))

    def _reject(self, told: Told, error: str) -> None:
        """Reject a payload; others of its call wait on, one of them has the last word now."""
        # DuckDB's own errors repeat what they were given: the call, with its phone numbers.
        call = told.call
        reason = f"the tables do not take it: {excerpt(error, call_ids=[call.call_id])}"
        self._settle(
            [Verdict(told.row, "rejected", reason, call.call_id, call.event, call.called_at)]
        )


def _judge(words: Iterable[_Word]) -> list[Verdict]:
    """Return the verdicts on calls that are loaded."""
    return [verdict for word in words for verdict in word.judge(None)]


def _build_day(day: date, words: Sequence[_Word]) -> Day:
    calls = sorted(
        (word.best.call for word in words), key=lambda call: (call.called_at, call.call_id)
    )
    return Day(
        day,
        build_table(
            [call.call_id for call in calls],
            [int(call.called_at.timestamp()) for call in calls],
            [call.payload for call in calls],
        ),
    )


def _halve(wanted: Mapping[date, Sequence[_Word]]) -> list[dict[date, Sequence[_Word]]]:
    """Part calls into two halves; one alone is not parted."""
    calls = [(day, word) for day in sorted(wanted) for word in wanted[day]]
    middle = len(calls) // 2
    halves: list[dict[date, Sequence[_Word]]] = []
    for part in (calls[:middle], calls[middle:]) if middle else ():
        by_day: dict[date, list[_Word]] = {}
        for day, word in part:
            by_day.setdefault(day, []).append(word)
        halves.append(dict(by_day))
    return halves
