"""The chart of the rate at which webhooks are lost, for Dagster's UI; `day_chart` draws it."""

from collections.abc import Sequence
from datetime import date
from typing import Final

from callkeeper_assets.assets.day_chart import DayBar, DayChart, draw_days
from callkeeper_assets.webhooks.audit import DayLoss, rate_loss

# On a day with fewer webhooks one that is lost is no rate.
_FEW: Final = 10


def draw_losses(days: Sequence[DayLoss], first: date, last: date) -> str:
    """Return Markdown with the picture, and the same in words.

    Args:
        days: those on which webhooks were sent, in order, inside the period.
        first: the period's first day.
        last: its last day.
    """
    sent, lost = sum(day.sent for day in days), sum(day.lost for day in days)
    chart = DayChart(
        title="Webhooks lost, by day of the call",
        name="Webhooks lost by day",
        axis="lost, of those sent",
        legend=(f"of fewer than {_FEW} sent", f"of {_FEW} and more"),
        nothing="No webhook was lost.",
        unit="%",
    )
    rate = rate_loss(sent, lost)
    words = f"{lost:,} of {sent:,} sent from {first} to {last} are lost ({rate:.2%})"
    bars = [
        DayBar(day.day, low=percent if day.sent < _FEW else 0.0, high=percent)
        for day in days
        if (percent := 100 * rate_loss(day.sent, day.lost))
    ]
    return draw_days(chart, bars, first, last, words)
