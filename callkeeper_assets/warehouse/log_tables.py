"""Tables of what was loaded, received, found to differ, reported and erased, declared."""

from typing import Final

from callkeeper_assets.warehouse.schema import Column, Table
from callkeeper_assets.warehouse.star import ACCOUNT_ID

CALLKEEPER_LOADS: Final = Table(
    name="callkeeper_loads",
    role="log",
    grain="run × table × day",
    key=("account_id", "id"),
    description="The load log: what each run did to each table for each day, or why it failed.",
    columns=(
        Column("id", "bigint", "Surrogate key, in the order of loading", nullable=False),
        ACCOUNT_ID,
        Column("table_name", "text", "The table; NULL if the day failed before any"),
        Column("day", "date", "The day, in the source's time zone", nullable=False),
        Column(
            "origin", "text", "Who told: `api` or `webhook`; `retention` deleted", nullable=False
        ),
        Column("rows_added", "integer", "Rows that were not there before", nullable=False),
        Column("rows_updated", "integer", "Rows of which a value changed", nullable=False),
        Column("rows_deleted", "integer", "Rows that are gone", nullable=False),
        Column("started_at", "timestamp with time zone", "Start of the load", nullable=False),
        Column("finished_at", "timestamp with time zone", "Its end", nullable=False),
        Column("run_id", "text", "The run", nullable=False),
        Column("error", "text", "Why it failed; NULL if it did not"),
        Column(
            "fetched_at",
            "timestamp with time zone",
            "When the source's answer was fetched that was loaded; NULL if it was none",
        ),
        Column("report", "text", "The custom report that filled the table; NULL if it is none"),
    ),
)

CALLKEEPER_DAYS: Final = Table(
    name="callkeeper_days",
    role="log",
    grain="source × day",
    key=("account_id", "day"),
    description=(
        "The days loaded, and what the source sent for each before any filter: what the guard "
        "compares the next load with, and what says which days must be read again."
    ),
    columns=(
        ACCOUNT_ID,
        Column("day", "date", "The day, in the source's time zone", nullable=False),
        Column("raw_calls", "integer", "Calls the source sent", nullable=False),
        Column("non_final", "integer", "Those whose status can still change", nullable=False),
        Column(
            "reconciled_at",
            "timestamp with time zone",
            "When reconciliation last compared the day with the source; NULL if never",
        ),
        Column(
            "reading",
            "integer",
            "By which version of reading raw calls the day's rows were made; days of an older one "
            "are made again",
            nullable=False,
        ),
        Column(
            "most_calls",
            "integer",
            "The most calls the source ever sent of the day, since a load with `--force`: what "
            "the guard counts losses from",
            nullable=False,
        ),
    ),
)

CALLKEEPER_DISCREPANCIES: Final = Table(
    name="callkeeper_discrepancies",
    role="finding",
    grain="run × call × parameter",
    key=("account_id", "run_id", "day", "call_id", "parameter"),
    description=(
        "What reconciliation found to differ between the warehouse and the source. A discrepancy "
        "stands here once while it is open, however many runs find it."
    ),
    columns=(
        ACCOUNT_ID,
        Column("day", "date", "The day, in the source's time zone", nullable=False),
        Column("call_id", "bigint", "The call's id in CallKeeper", nullable=False),
        Column(
            "parameter",
            "text",
            "The column that differs: `call_id` (the call itself is missing), `duration_sec`, "
            "`duration2_sec`, `attempt`, `asr_attempts`, `playback_tick`",
            nullable=False,
        ),
        Column(
            "kind",
            "text",
            "`missing_in_warehouse`, `missing_in_source` or `differs`",
            nullable=False,
        ),
        Column("warehouse_value", "text", "What the warehouse held, last; NULL if nothing"),
        Column("source_value", "text", "What the source said, last; NULL if nothing"),
        Column("found_at", "timestamp with time zone", "When it was found first", nullable=False),
        Column(
            "healed_at",
            "timestamp with time zone",
            "When reconciliation healed it, or found it gone; NULL if it is open",
        ),
        Column("run_id", "text", "The run that found it first", nullable=False),
        Column(
            "healed_run_id",
            "text",
            "The run that healed it; NULL if it is open, or if it was found gone: a load had "
            "brought the day up to date, or the source had changed back",
        ),
    ),
)

CALLKEEPER_WEBHOOKS: Final = Table(
    name="callkeeper_webhooks",
    role="inbox",
    grain="payload received",
    key=("account_id", "id"),
    description=(
        "The webhook inbox: every payload that the receiver took, as received. A payload that "
        "comes again, byte for byte, is kept once; callkeeper_webhook_repeats counts it."
    ),
    columns=(
        Column("id", "bigint", "Surrogate key, in the order of storing", nullable=False),
        ACCOUNT_ID,
        Column(
            "received_at", "timestamp with time zone", "When it came the first time", nullable=False
        ),
        Column("event", "text", "`hook_event` of the payload, as received"),
        Column("call_id", "bigint", "The call's id in CallKeeper; NULL if none could be read"),
        Column(
            "format",
            "text",
            "How the body is to be read: `json`, `form` or `query`",
            nullable=False,
        ),
        Column("body", "bytea", "As received; of a GET its query", nullable=False),
        Column("digest", "text", "SHA-256 of format and body, hexadecimal", nullable=False),
        Column("receipt", "uuid", "The receiver's number for its first coming", nullable=False),
        Column(
            "state",
            "text",
            "`new`, `processed`; `hint`: call tracking's, it names no call, and its day is read "
            "again; or `rejected`: it can be no call, see `reason`",
            nullable=False,
        ),
        Column("reason", "text", "Why it was rejected, or why it changed nothing"),
        Column("processed_at", "timestamp with time zone", "When it got its state; NULL if new"),
        Column(
            "called_at",
            "timestamp with time zone",
            "When the call was; NULL until it is processed, and if it cannot be read",
        ),
    ),
)

CALLKEEPER_WEBHOOK_REPEATS: Final = Table(
    name="callkeeper_webhook_repeats",
    role="inbox",
    grain="coming of a payload that had come before",
    key=("account_id", "receipt"),
    description=(
        "Payloads that came again, byte for byte: when, and which. A table of its own, so that the "
        "receiver need not change a row of the inbox that a run is processing, and so that a "
        "coming is counted once, however often it is stored."
    ),
    columns=(
        ACCOUNT_ID,
        Column("receipt", "uuid", "The receiver's number for this coming", nullable=False),
        Column(
            "webhook_id",
            "bigint",
            "What it repeats",
            nullable=False,
            references="callkeeper_webhooks.id",
        ),
        Column("received_at", "timestamp with time zone", "When it came", nullable=False),
        Column(
            "is_waiting",
            "boolean",
            "Whether it waits to be processed: what came last may be the last word on its call",
            nullable=False,
        ),
    ),
)

CALLKEEPER_WEBHOOK_HINTS: Final = Table(
    name="callkeeper_webhook_hints",
    role="inbox",
    grain="source × day",
    key=("account_id", "day"),
    description=(
        "The days on which webhooks of call tracking hint at calls that they do not name: a day "
        "whose newest answer was asked for before the newest hint is read again at once."
    ),
    columns=(
        ACCOUNT_ID,
        Column("day", "date", "The day, in the source's time zone", nullable=False),
        Column("hinted_at", "timestamp with time zone", "When the newest came", nullable=False),
    ),
)

CALLKEEPER_WEBHOOK_DAYS: Final = Table(
    name="callkeeper_webhook_days",
    role="log",
    grain="source × day",
    key=("account_id", "day"),
    description=(
        "The audit of webhooks, by day of the call: how many CallKeeper says that it sent to this "
        "receiver, and how many came to nothing. Only of migrated accounts: their API lists them."
    ),
    columns=(
        ACCOUNT_ID,
        Column("day", "date", "The day, in the source's time zone", nullable=False),
        Column("sent", "integer", "Webhooks sent, as CallKeeper says", nullable=False),
        Column("lost", "integer", "Those that the inbox does not hold", nullable=False),
        Column("refused", "integer", "Those answered with anything but 2xx", nullable=False),
        Column("audited_at", "timestamp with time zone", "When it was compared", nullable=False),
        Column("run_id", "text", "The run that compared it", nullable=False),
        Column(
            "is_listed",
            "boolean",
            "Whether the source's answer lists webhooks at all: where not, nothing was audited; "
            "NULL on a day without calls",
        ),
    ),
)

CALLKEEPER_LOST_WEBHOOKS: Final = Table(
    name="callkeeper_lost_webhooks",
    role="log",
    grain="webhook that is lost or was refused",
    key=("account_id", "day", "call_id", "position"),
    description=(
        "Webhooks that CallKeeper says it sent to this receiver, and that the inbox does not hold "
        "or that the receiver is said to have refused. One that is found after all is deleted."
    ),
    columns=(
        ACCOUNT_ID,
        Column("day", "date", "The call's day, in the source's time zone", nullable=False),
        Column("call_id", "bigint", "callkeeper_calls.call_id", nullable=False),
        Column(
            "position", "integer", "Its place in the call's list `hooks`, from 0", nullable=False
        ),
        Column("event", "text", "The event, as CallKeeper names it"),
        Column("method", "text", "`POST`, `GET`, `PUT` or `DELETE`"),
        Column("status", "integer", "The answer that CallKeeper saw; NULL if it saw none"),
        Column(
            "kind",
            "text",
            "`refused` if the answer was not 2xx, else `lost`: the answer was good or there was "
            "none, and the inbox does not hold it",
            nullable=False,
        ),
        Column("is_held", "boolean", "Whether the inbox holds it all the same", nullable=False),
        Column("found_at", "timestamp with time zone", "When it was found first", nullable=False),
        Column("run_id", "text", "The run that found it first", nullable=False),
    ),
)


_REPORT: Final = Column("report", "text", "The report's name in `defs.yaml`", nullable=False)
_DAY: Final = Column("day", "date", "The day, in the source's time zone", nullable=False)
_CALL_ID: Final = Column("call_id", "bigint", "The call's id in CallKeeper", nullable=False)

CALLKEEPER_REPORTS: Final = Table(
    name="callkeeper_reports",
    role="report",
    grain="report × call",
    key=("account_id", "report", "call_id"),
    description="Custom reports without a structure: the fields asked for, as JSON.",
    columns=(
        ACCOUNT_ID,
        _REPORT,
        _CALL_ID,
        Column("called_at", "timestamp with time zone", "When it was called", nullable=False),
        Column("data", "jsonb", "The fields under their names; missing ones null", nullable=False),
        Column(
            "loaded_at",
            "timestamp with time zone",
            "When a value of this row last changed",
            nullable=False,
        ),
        Column("day", "date", "The day whose raw calls had it", nullable=False, is_internal=True),
    ),
)

CALLKEEPER_REJECTS: Final = Table(
    name="callkeeper_rejects",
    role="log",
    grain="report × row × column that does not fit",
    key=("account_id", "report", "day", "table_name", "call_id", "position", "column_name"),
    description=(
        "Values that kept rows out of a report's table, as of the day's last load; a day's rejects "
        "are replaced with its rows."
    ),
    columns=(
        ACCOUNT_ID,
        _REPORT,
        _DAY,
        Column("table_name", "text", "The table without the row", nullable=False),
        _CALL_ID,
        Column(
            "position",
            "integer",
            "Which of the call's rows of the table, from 1; 0 if `rows` itself failed",
            nullable=False,
        ),
        Column(
            "column_name",
            "text",
            "The column whose value does not fit; empty if it is the row as a whole",
            nullable=False,
        ),
        Column("value", "text", "The value as JSON, its first 1,000 characters; NULL if none"),
        Column("reason", "text", "Why it does not fit", nullable=False),
        Column("run_id", "text", "The run that found it first", nullable=False),
    ),
)

CALLKEEPER_REPORT_TABLES: Final = Table(
    name="callkeeper_report_tables",
    role="log",
    grain="table",
    key=("table_name",),
    description=(
        "The tables that reports have made. A report writes to no other: not to one that was there "
        "before it, whatever its name."
    ),
    columns=(
        Column("table_name", "text", "The table, in the same schema", nullable=False),
        Column("made_by", "text", "`source/report` that asked for it first", nullable=False),
        Column("made_at", "timestamp with time zone", "When it was made", nullable=False),
    ),
)

CALLKEEPER_REPORT_DAYS: Final = Table(
    name="callkeeper_report_days",
    role="log",
    grain="report × day",
    key=("account_id", "report", "day"),
    description=(
        "The days that each report is built for, and from which definition: what says which days "
        "its next refresh builds again."
    ),
    columns=(
        ACCOUNT_ID,
        _REPORT,
        _DAY,
        Column("definition", "text", "Digest of the report's definition", nullable=False),
        Column("calls", "integer", "Calls that its filters let pass", nullable=False),
        Column("built_at", "timestamp with time zone", "When it was last built", nullable=False),
    ),
)

CALLKEEPER_REPORT_FIELDS: Final = Table(
    name="callkeeper_report_fields",
    role="log",
    grain="report × field",
    key=("account_id", "report", "field"),
    description=(
        "Fields of raw calls that the API's documentation does not name, as a report's loads met "
        "them: on every other day than its first a field is known."
    ),
    columns=(
        ACCOUNT_ID,
        _REPORT,
        Column("field", "text", "Its path in the raw call", nullable=False),
        Column(
            "day", "date", "The first day loaded that had it; NULL: the report's first day of all"
        ),
    ),
)


CALLKEEPER_FORGOTTEN_CALLS: Final = Table(
    name="callkeeper_forgotten_calls",
    role="log",
    grain="call",
    key=("account_id", "call_id"),
    description=(
        "Calls whose client was forgotten: whoever tells of such a call again, the person is taken "
        "out of it before it is written."
    ),
    columns=(
        ACCOUNT_ID,
        Column(
            "call_id",
            "bigint",
            "The call's id in CallKeeper; negative for a record of raw calls that has none",
            nullable=False,
        ),
        Column(
            "scope",
            "text",
            "`client`: the call was the client's, nothing of the client is left in it; `mention`: "
            "the number stood in a text of the call, no number is left in its texts",
            nullable=False,
        ),
        Column("day", "date", "The call's day; NULL if no raw call and no row told it"),
        Column("request_id", "text", "The request, as in callkeeper_erasures", nullable=False),
        Column("forgotten_at", "timestamp with time zone", "When it was noted", nullable=False),
    ),
)

CALLKEEPER_ERASURES: Final = Table(
    name="callkeeper_erasures",
    role="log",
    grain="request × source",
    key=("account_id", "request_id"),
    description="The requests to forget a client, for each source that was searched; no number.",
    columns=(
        ACCOUNT_ID,
        Column("request_id", "text", "The request; runs of the load log name it", nullable=False),
        Column("requested_at", "timestamp with time zone", "When it was begun", nullable=False),
        Column(
            "finished_at",
            "timestamp with time zone",
            "When all of it was erased; NULL while it is not: `callkeeper forget` ends it",
        ),
        Column("found", "jsonb", "What was found, by place: rows, calls, payloads", nullable=False),
        Column("reference", "text", "On whose word, as `--reference` says; NULL if nobody said"),
        Column(
            "number_hash",
            "text",
            "The keyed hash of the number's last nine digits, see `callkeeper erasures`",
        ),
        Column(
            "verified_at",
            "timestamp with time zone",
            "When everything was last searched for these digits, apart from what erases by them",
        ),
        Column(
            "left_over",
            "jsonb",
            "Where they were found then, by place; {} if nowhere, NULL if nobody has looked",
        ),
    ),
)

CALLKEEPER_PRIVACY_SETTINGS: Final = Table(
    name="callkeeper_privacy_settings",
    role="log",
    grain="source × change of its privacy settings",
    key=("account_id", "used_from"),
    description=(
        "The privacy settings under which calls were written, from when on; a source that always "
        "kept everything has no row."
    ),
    columns=(
        ACCOUNT_ID,
        Column(
            "used_from",
            "timestamp with time zone",
            "When calls were first written so",
            nullable=False,
        ),
        Column(
            "setting", "text", "The settings; of a key only what tells it apart", nullable=False
        ),
        Column(
            "applied_at",
            "timestamp with time zone",
            "When older calls were brought to it, or began with it; NULL if they were not",
        ),
    ),
)

CALLKEEPER_KEYS: Final = Table(
    name="callkeeper_keys",
    role="log",
    grain="source",
    key=("account_id",),
    description="What each source said of its API key when it was last asked, once a day.",
    columns=(
        ACCOUNT_ID,
        Column("checked_at", "timestamp with time zone", "When it was asked", nullable=False),
        Column(
            "paid_till",
            "timestamp with time zone",
            "Until when the account is paid; NULL if the source does not say",
        ),
        Column("error", "text", "Why it refused the key; NULL if it took it"),
    ),
)

CALLKEEPER_ALERTS: Final = Table(
    name="callkeeper_alerts",
    role="log",
    grain="cause, from its beginning to its end",
    key=("id",),
    description=(
        "What needed a person: each cause once from its beginning to its end, however many runs "
        "failed of it. For 90 days after its end."
    ),
    columns=(
        Column("id", "bigint", "Surrogate key, in the order of beginning", nullable=False),
        Column("kind", "text", "What it is, as docs/alerts.md lists them", nullable=False),
        Column("subject", "text", "Of what: a source, a job, a check, a folder", nullable=False),
        Column("place", "text", "The machine; empty if it is about none", nullable=False),
        Column("severity", "text", "`error` or `warning`", nullable=False),
        Column("since", "timestamp with time zone", "Since when it is so, if that is known"),
        Column("facts", "jsonb", "What its text is filled with", nullable=False, is_internal=True),
        Column("text", "text", "What was found last, in English", nullable=False),
        Column("first_seen_at", "timestamp with time zone", "When it was found", nullable=False),
        Column("last_seen_at", "timestamp with time zone", "When it last was", nullable=False),
        Column(
            "began_at", "timestamp with time zone", "When it was first told; NULL if it was not"
        ),
        Column("told_at", "timestamp with time zone", "When it was last told"),
        Column("ended_at", "timestamp with time zone", "When it was over; NULL while it is not"),
    ),
)

CALLKEEPER_ALERT_MESSAGES: Final = Table(
    name="callkeeper_alert_messages",
    role="log",
    grain="message × channel",
    key=("id",),
    description=(
        "The outbox of alerts: a message for each channel, written with what it tells, and sent "
        "from here until it is delivered. For 90 days."
    ),
    columns=(
        Column("id", "bigint", "Surrogate key, in the order of telling", nullable=False),
        Column(
            "channel",
            "text",
            "To whom: the kind of address and a digest of it, no secret",
            nullable=False,
        ),
        Column("key", "uuid", "Tells it apart, however often it is sent", nullable=False),
        Column("title", "text", "Its title", nullable=False),
        Column("body", "text", "Its text", nullable=False),
        Column("document", "jsonb", "What a webhook is sent", nullable=False, is_internal=True),
        Column("created_at", "timestamp with time zone", "When it was written", nullable=False),
        Column(
            "state",
            "text",
            "`waiting`; `sending`: by a process, or by one that was killed; `sent`; `given_up`: "
            "undelivered for three days",
            nullable=False,
        ),
        Column("attempts", "integer", "How often it was tried", nullable=False),
        Column("due_at", "timestamp with time zone", "Not tried before", nullable=False),
        Column("sent_at", "timestamp with time zone", "When it was delivered; NULL if not"),
        Column("error", "text", "Why it was not, the last time"),
    ),
)

CALLKEEPER_RECEIVERS: Final = Table(
    name="callkeeper_receivers",
    role="log",
    grain="receiver of webhooks (a home)",
    key=("receiver_id",),
    description=(
        "The receivers of webhooks: what may wait in a machine's spool is known of on all. One "
        "that stops with an empty spool has no row."
    ),
    columns=(
        Column("receiver_id", "text", "The spool's own name", nullable=False),
        Column("host", "text", "The machine", nullable=False),
        Column("process", "integer", "Its process there", nullable=False),
        Column(
            "seen_at",
            "timestamp with time zone",
            "When it last had the database; every two seconds while it has",
            nullable=False,
        ),
        Column(
            "spool_files", "integer", "Files in its spool then; 0: nothing waits", nullable=False
        ),
    ),
)
