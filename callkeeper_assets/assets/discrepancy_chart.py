"""The chart of the discrepancies of the last days, for Dagster's UI; `day_chart` draws it."""

from collections.abc import Sequence
from datetime import date

from callkeeper_assets.assets.day_chart import DayBar, DayChart, draw_days
from callkeeper_assets.warehouse.discrepancies import DayTrend


def draw_trend(days: Sequence[DayTrend], first: date, last: date) -> str:
    """Return Markdown with the picture, and the same in words.

    Args:
        days: those on which something differed, in order, inside the period.
        first: the period's first day.
        last: its last day.
    """
    found, healed = sum(day.found for day in days), sum(day.healed for day in days)
    chart = DayChart(
        title="Discrepancies by day of the call",
        name="Discrepancies by day",
        axis="calls × parameters",
        legend=(f"found and healed: {healed:,}", f"found and still open: {found - healed:,}"),
        nothing="Nothing differed.",
    )
    words = f"{found:,} found from {first} to {last}, {healed:,} healed, {found - healed:,} open"
    bars = [DayBar(day.day, day.healed, day.found) for day in days]
    return draw_days(chart, bars, first, last, words)
