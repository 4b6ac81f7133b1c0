"""Facts have what most questions ask of their call: the wide views answer without the calls.

Who reads facts waits while they are filled, some 7 s for each million. What no fact may lack has to
be there: a process of the version before, which still loads, is refused, and its days are loaded by
the next run. `migrate` makes the views after its migrations, from their declaration.
"""

from typing import Final

from alembic import op

from callkeeper_assets.warehouse.outcomes import build_outcome_sql

revision: Final = "0015"
down_revision: Final = "0014"

_ADD: Final = """
    ALTER TABLE callkeeper_calls_facts
    ADD COLUMN IF NOT EXISTS began_at timestamptz,
    ADD COLUMN IF NOT EXISTS outcome text,
    ADD COLUMN IF NOT EXISTS has_recording boolean,
    ADD COLUMN IF NOT EXISTS manager text,
    ADD COLUMN IF NOT EXISTS client text
"""
_FILL: Final = f"""
    UPDATE callkeeper_calls_facts AS f
    SET began_at = c.called_at,
        outcome = {build_outcome_sql()},
        has_recording = c.record_url IS NOT NULL,
        manager = CASE
            WHEN c.manager_extension IS NULL THEN c.manager_phone
            ELSE concat(c.manager_phone, ' ext. ', c.manager_extension)
        END,
        client = c.client_phone
    FROM callkeeper_calls AS c
    WHERE c.account_id = f.account_id AND c.id = f.calls_id
"""
# Facts without their call, which only others can have left behind, are of no use to anybody.
_DROP: Final = "DELETE FROM callkeeper_calls_facts WHERE outcome IS NULL"
_REQUIRE: Final = """
    ALTER TABLE callkeeper_calls_facts
    ALTER COLUMN began_at SET NOT NULL,
    ALTER COLUMN outcome SET NOT NULL,
    ALTER COLUMN has_recording SET NOT NULL
"""
# They come day by day, as for the minutes.
_INDEX: Final = """
    CREATE INDEX IF NOT EXISTS callkeeper_calls_facts_began ON callkeeper_calls_facts
    USING brin (began_at) WITH (autosummarize = on)
"""
_FLAG: Final = """
    ALTER TABLE general_accounts ADD COLUMN IF NOT EXISTS lacks_facts boolean NOT NULL DEFAULT false
"""
_NOTE: Final = """
    UPDATE general_accounts AS a SET lacks_facts = true
    WHERE account_id IN (
        SELECT c.account_id FROM callkeeper_calls AS c
        WHERE NOT EXISTS (
            SELECT FROM callkeeper_calls_facts AS f
            WHERE f.account_id = c.account_id AND f.calls_id = c.id
        )
    )
"""


def upgrade() -> None:
    """Add the columns and fill them; note which sources have calls without facts."""
    for statement in (_ADD, _FILL, _DROP, _REQUIRE, _INDEX, _FLAG, _NOTE):
        op.execute(statement)
