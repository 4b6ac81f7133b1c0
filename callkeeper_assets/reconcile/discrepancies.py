"""What reconciliation compares and what it finds, as names and frozen records.

Used by the comparison and its callers; imports nothing heavy.
"""

from dataclasses import dataclass
from datetime import date
from typing import Any, Final, Literal

from callkeeper_assets.postgres import connect
from callkeeper_assets.warehouse.records import LoadedDay

DiscrepancyKind = Literal["missing_in_warehouse", "missing_in_source", "differs"]
# heal: load what differs and log it; log: only log it; dry_run: change nothing.
Mode = Literal["heal", "log", "dry_run"]

CALL_ID: Final = "call_id"
# The numbers of a call that are compared, beside whether the call is there at all.
NUMBERS: Final = ("duration_sec", "duration2_sec", "attempt", "asr_attempts", "playback_tick")

_TREND = """
    SELECT d.day, count(*)::int, count(d.healed_at)::int
    FROM callkeeper_discrepancies AS d
    JOIN general_accounts AS a ON a.account_id = d.account_id
    WHERE a.name = %(name)s AND d.day BETWEEN %(first)s AND %(last)s
    GROUP BY d.day
    ORDER BY d.day
"""


@dataclass(frozen=True, slots=True)
class Discrepancy:
    """One call that differs, in one parameter.

    Attributes:
        parameter: `call_id` if the call itself is missing, else one of `NUMBERS`.
        warehouse_value: as text; None if the warehouse holds nothing.
        source_value: as text; None if the source says nothing.
        is_healed: whether a second comparison found it gone.
    """

    day: date
    call_id: int
    parameter: str
    kind: DiscrepancyKind
    warehouse_value: str | None
    source_value: str | None
    is_healed: bool


@dataclass(frozen=True)
class ComparedDay:
    """A day of the warehouse and of the source, compared.

    Attributes:
        calls: that either side holds, without the two kinds below and what filters leave out.
        non_final: calls whose status can still change, on either side: no discrepancies.
        waiting: calls known only from a webhook, still within their grace period.
        discrepancies: by call and parameter.
        loaded: what healing did to the tables; None where nothing was to be changed.
    """

    day: date
    calls: int
    non_final: int
    waiting: int
    discrepancies: tuple[Discrepancy, ...]
    loaded: LoadedDay | None = None


@dataclass(frozen=True)
class DayTrend:
    """Discrepancies of one day, whichever run found them: all, and those that are not open."""

    day: date
    found: int
    healed: int


def read_discrepancy_trend(url: str, account_name: str, first: date, last: date) -> list[DayTrend]:
    """Return the days of [first, last] on which something differed, sorted."""
    values = {"name": account_name, "first": first, "last": last}
    with connect(url) as connection:
        rows: list[Any] = list(connection.execute(_TREND, values).fetchall())
    return [DayTrend(*row) for row in rows]
