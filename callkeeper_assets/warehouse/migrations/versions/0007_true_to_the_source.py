"""By which reading a day was filled, the most calls it had; universal ids, hints, a week's year.

Days are marked as filled by the first reading of raw calls: they are filled again from these. The
row for "unknown" of general_dates says what its id means: the first minute after 1970 began.
Repeats of webhooks that are there are settled: the source's own record has replaced what they told.
Of days audited so far, those with webhooks listed are known; the others tell at their next audit.
"""

from typing import Final

from alembic import op

revision: Final = "0007"
down_revision: Final = "0006"

_STATEMENTS: Final = (
    "ALTER TABLE callkeeper_days ADD COLUMN reading integer NOT NULL DEFAULT 1",
    "ALTER TABLE callkeeper_days ALTER COLUMN reading DROP DEFAULT",
    "ALTER TABLE callkeeper_calls ADD COLUMN universal_id text",
    "ALTER TABLE callkeeper_calls ADD COLUMN manager_phones text",
    "ALTER TABLE callkeeper_days ADD COLUMN most_calls integer",
    "UPDATE callkeeper_days SET most_calls = raw_calls",
    "ALTER TABLE callkeeper_days ALTER COLUMN most_calls SET NOT NULL",
    "ALTER TABLE general_dates ADD COLUMN week_year smallint",
    """
    UPDATE general_dates
    SET full_date = '1970-01-01 00:01', year = 1970, quarter = 1, quarter_label = 'I', month = 1,
        month_label = 'Январь', week = 1, weekday = 4, weekday_label = 'Четверг', day = 1,
        hour = 0, minute = 1, simple_date = '1970-01-01'
    WHERE id = 1
    """,
    "UPDATE general_dates SET week_year = extract(isoyear FROM full_date)",
    """
    CREATE TABLE general_costs_facts (
        account_id integer NOT NULL,
        dates_id integer NOT NULL,
        sites_id integer NOT NULL,
        traffic_id integer NOT NULL,
        impressions integer,
        clicks integer,
        cost double precision,
        vat_included boolean,
        PRIMARY KEY (account_id, dates_id, sites_id, traffic_id)
    )
    """,
    # In this order, existing rows are settled without being rewritten, and new ones wait.
    "ALTER TABLE callkeeper_webhook_repeats ADD COLUMN is_waiting boolean NOT NULL DEFAULT false",
    "ALTER TABLE callkeeper_webhook_repeats ALTER COLUMN is_waiting SET DEFAULT true",
    """
    CREATE INDEX callkeeper_webhook_repeats_waiting ON callkeeper_webhook_repeats
    (account_id, webhook_id) WHERE is_waiting
    """,
    """
    CREATE TABLE callkeeper_webhook_hints (
        account_id integer NOT NULL,
        day date NOT NULL,
        hinted_at timestamptz NOT NULL,
        PRIMARY KEY (account_id, day)
    )
    """,
    "CREATE INDEX callkeeper_webhook_hints_at ON callkeeper_webhook_hints (hinted_at)",
    "ALTER TABLE callkeeper_webhook_days ADD COLUMN is_listed boolean",
    "UPDATE callkeeper_webhook_days SET is_listed = true WHERE sent > 0",
)


def upgrade() -> None:
    """Change the tables."""
    for statement in _STATEMENTS:
        op.execute(statement)
