"""Facts have what most questions ask of their call: the wide views answer without the calls.

Who reads facts waits while they are filled, some 7 s for each million. `migrate` makes the
views after its migrations, from their declaration.
"""

from typing import Final

from alembic import op

from callkeeper_assets.warehouse.outcomes import build_outcome_sql

revision: Final = "0015"
down_revision: Final = "0014"

_ADD: Final = """
    ALTER TABLE callkeeper_calls_facts
    ADD COLUMN IF NOT EXISTS outcome text,
    ADD COLUMN IF NOT EXISTS has_recording boolean,
    ADD COLUMN IF NOT EXISTS manager text,
    ADD COLUMN IF NOT EXISTS client text
"""
_FILL: Final = f"""
    UPDATE callkeeper_calls_facts AS f
    SET outcome = {build_outcome_sql()},
        has_recording = c.record_url IS NOT NULL,
        manager = CASE
            WHEN c.manager_extension IS NULL THEN c.manager_phone
            ELSE concat(c.manager_phone, ' ext. ', c.manager_extension)
        END,
        client = c.client_phone
    FROM callkeeper_calls AS c
    WHERE c.account_id = f.account_id AND c.id = f.calls_id
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
    op.execute(_ADD)
    op.execute(_FILL)
    op.execute(_FLAG)
    op.execute(_NOTE)
