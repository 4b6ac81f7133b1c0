"""The books of personal data, declared: who was forgotten, and which settings were in force.

None of them holds a phone number, nor anything from which one could be found.
"""

from typing import Final

from callkeeper_assets.warehouse.call_tables import ACCOUNT_ID
from callkeeper_assets.warehouse.schema import Column, Table

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
