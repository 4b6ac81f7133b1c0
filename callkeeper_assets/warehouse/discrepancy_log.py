"""The log of discrepancies, callkeeper_discrepancies: one row for each that is open, however often.

- Found and not known: a row. Found while its row is open: that row gets the newest kind and
  values, and keeps `found_at` and `run_id` of the first time.
- Healed: `healed_at`, and the run in `healed_run_id`. If it comes again, that is a new row.
- Open, and found no more: `healed_at` alone; a load had brought the day up to date, or the source
  had changed back. Days that were not compared keep their rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final

import pyarrow as pa

from callkeeper_assets.warehouse.call_sql import read_sql
from callkeeper_assets.warehouse.session import Parameters, Session

_COLUMNS: Final = (
    "day",
    "call_id",
    "parameter",
    "kind",
    "warehouse_value",
    "source_value",
    "is_healed",
)
_NOTE_DAYS: Final = """
    UPDATE callkeeper_days SET reconciled_at = $1 WHERE account_id = $2 AND day = ANY($3)
"""


@dataclass(frozen=True)
class DiscrepancyLog:
    """The log as one run of a source writes and reads it, inside a transaction of the session."""

    session: Session
    account_id: int
    run_id: str

    def write(
        self, days: Sequence[date], found: pa.Table, *, found_at: datetime, healed_at: datetime
    ) -> None:
        """Bring the log to what was found, and note when the days were compared.

        Needs the source's lock around it.

        Args:
            days: all that were compared.
            found: as `comparison.judge` returns it.
            found_at: the moment of the comparison.
            healed_at: the moment of the one after healing.
        """
        self.session.execute(
            read_sql("log_discrepancies"),
            {
                **self._scope(days),
                "healed_at": healed_at,
                "found_at": found_at,
                **{name: found[name] for name in _COLUMNS},
            },
        )
        self.session.execute(
            _NOTE_DAYS,
            {
                "at": healed_at,
                "account_id": self.account_id,
                "days": days,
            },
        )

    def read(self, days: Sequence[date]) -> pa.Table:
        """Read what the run has to tell of the days: what it found or healed, and what is open.

        From the log, not from the comparison: a step that Dagster runs again tells of its first
        try too.
        """
        return self.session.query(read_sql("run_discrepancies"), self._scope(days))

    def _scope(self, days: Sequence[date]) -> Parameters:
        return {
            "account_id": self.account_id,
            "run_id": self.run_id,
            "days": days,
        }
