"""A source that takes webhooks, its inbox and its raw calls, for the tests of processing."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import psycopg

from callkeeper_assets.config.source import Reconciliation, Refresh, Source, Webhook
from callkeeper_assets.raw.store import Day, DayDetails, RawStore, build_calls
from callkeeper_assets.warehouse.load_log import find_account
from callkeeper_assets.warehouse.loader import Loader
from callkeeper_assets.warehouse.migrate import ensure_schema
from callkeeper_assets.warehouse.records import Account
from callkeeper_assets.warehouse.session import Session
from callkeeper_assets.warehouse.tables import SELECTABLE_TABLES
from callkeeper_assets.webhooks.payload import Delivery, Format, read_delivery
from callkeeper_assets.webhooks.processing import InboxRun, Processed
from callkeeper_assets_tests.warehouse.raw_days import (
    DAY,
    MOSCOW,
    Call,
    call,
    load_days,
    moment_of,
)

OVER, PROCESSING = "Call is over", "Call is processing"

SOURCE = Source(
    name="main_office",
    caption="Main office",
    api_key_env="MAIN_OFFICE_API_KEY",
    api="callkeeper",
    base_url="https://api.callkeeper.ru",
    time_zone=ZoneInfo("Europe/Moscow"),
    start_date=DAY - timedelta(days=60),
    history_days=None,
    tables=SELECTABLE_TABLES,
    filters={},
    refresh=Refresh(cron="0 5 * * *", overlap_days=3),
    webhook=Webhook("MAIN_OFFICE_TOKEN", {}, timedelta(hours=48)),
    reconciliation=Reconciliation(cron="0 6 * * 0", days=30, heal=True),
    owners=("team:data",),
    max_lost_share=0.3,
    parallel_days=4,
    file=Path("defs/main_office/defs.yaml"),
)


def payload(call_id: int, event: str | None = OVER, *, minute: int = 0, **fields: object) -> Call:
    """Return a webhook's body: at the start of a call nothing is known of its end."""
    at = moment_of(DAY, minute)
    body = call(call_id, date=f"{at:%Y-%m-%d %H:%M:%S}", date_timestamp=int(at.timestamp()))
    for name in ("duration2_sec", "duration2_min"):
        del body[name]
    if event == PROCESSING:
        for name in ("duration_sec", "duration_min", "record_url"):
            del body[name]
        body |= {"status_code": 1, "status2_code": 0, "status_reason": "", "status2_reason": ""}
    return body | ({"hook_event": event} if event else {}) | fields


def answered(call_id: int, *, minute: int = 0, **fields: object) -> Call:
    """Return the same call as the API shows it later."""
    at = moment_of(DAY, minute)
    return call(
        call_id,
        date=f"{at:%Y-%m-%d %H:%M:%S}",
        date_timestamp=int(at.timestamp()),
        **{"tags": "from the API", **fields},
    )


def build_delivery(
    form: Format,
    body: bytes,
    event: str | None = None,
    call_id: int | None = None,
    reason: str | None = None,
) -> Delivery:
    """Return a delivery of the office's."""
    at = datetime(2026, 11, 1, tzinfo=UTC)
    return Delivery("office", b"receipt", at, form, body, event, call_id, reason)


def read_payload(
    content_type: str, query: bytes, body: bytes, fields: Mapping[str, str]
) -> Delivery:
    """Read what a request brought to the office, as the receiver does."""
    at = datetime(2026, 11, 1, tzinfo=UTC)
    return read_delivery(
        content_type, query, body, fields, source="office", receipt=b"receipt", received_at=at
    )


@dataclass
class Office:
    """One source with its database and its raw calls."""

    url: str
    store: RawStore
    source: Source = SOURCE

    @property
    def account(self) -> Account:
        """The source as the warehouse knows it."""
        return self.source.account

    def receive(
        self, *bodies: Mapping[str, Any] | bytes, form: str = "json", at: datetime | None = None
    ) -> None:
        """Put bodies into the inbox, one after another; they come now, or at another moment.

        One that is there already has come again, as the receiver stores it.
        """
        ensure_schema(self.url)
        with Session(self.url) as session, psycopg.connect(self.url) as connection:
            account_id = find_account(session, self.account).account_id
            for body in bodies:
                text = body if isinstance(body, bytes) else json.dumps(body).encode()
                given = body.get("id") if isinstance(body, dict) else None
                stored = connection.execute(
                    "INSERT INTO callkeeper_webhooks "
                    "(account_id, received_at, call_id, format, body, digest) "
                    "VALUES (%s, coalesce(%s, clock_timestamp()), %s, %s, %s, md5(%s)) "
                    "ON CONFLICT DO NOTHING",
                    (account_id, at, given, form, text, text),
                )
                if not stored.rowcount:
                    connection.execute(
                        "INSERT INTO callkeeper_webhook_repeats "
                        "(account_id, receipt, webhook_id, received_at) "
                        "SELECT account_id, gen_random_uuid(), id, "
                        "coalesce(%s, clock_timestamp()) FROM callkeeper_webhooks "
                        "WHERE (account_id, digest) = (%s, md5(%s))",
                        (at, account_id, text),
                    )

    def process(self, run_id: str = "inbox") -> Processed:
        """Process all that waits."""
        return process_together([self], run_id)[0]

    def store_answer(self, calls: Sequence[Call], fetched_at: datetime | None = None) -> Day:
        """Store the API's answer for the day, as the step `raw_calls` does."""
        ordered = sorted(calls, key=lambda one: (one["date_timestamp"], one["id"]))
        table = build_calls(
            [one["id"] for one in ordered],
            [one["date_timestamp"] for one in ordered],
            [json.dumps(one).encode() for one in ordered],
        )
        fetched_at = fetched_at or moment_of(DAY, 24 * 60)
        details = details_of(self.source.name, fetched_at)
        self.store.write(table, details)
        return Day(DAY, table, details)

    def load_answer(self, calls: Sequence[Call], fetched_at: datetime | None = None) -> None:
        """Store the API's answer for the day and load it, as a refresh does."""
        day = self.store_answer(calls, fetched_at)
        list(
            load_days(
                self.url,
                self.account,
                [day],
                tables=self.source.tables,
                filters=self.source.filters,
                run_id="refresh",
                guard=None,
            )
        )

    def with_source(self, **changes: Any) -> "Office":  # noqa: ANN401 -- attributes of a Source
        """Return the same with the source configured otherwise."""
        return replace(self, source=replace(self.source, **changes))

    def states(self) -> list[tuple[int | None, str, str | None]]:
        """Return call id, state and reason of each payload, in the order of receipt."""
        with psycopg.connect(self.url) as connection:
            return connection.execute(
                "SELECT call_id, state, reason FROM callkeeper_webhooks ORDER BY id"
            ).fetchall()


def process_together(offices: Sequence[Office], run_id: str = "inbox") -> list[Processed]:
    """Process all that waits of several sources of one database in one run."""
    with Loader(offices[0].url) as loader:
        run = InboxRun(loader, [one.source for one in offices], offices[0].store, run_id)
        run.process()
    for failure in run.failures.values():
        raise failure
    return [run.processed[one.source.name] for one in offices]


def details_of(source: str, fetched_at: datetime) -> DayDetails:
    return DayDetails(
        source=source,
        day=DAY,
        time_zone=MOSCOW.key,
        window_from=moment_of(DAY, 0),
        window_to=moment_of(DAY, 24 * 60),
        requests=1,
        fetched_at=fetched_at.astimezone(UTC),
        run_id="refresh",
    )
