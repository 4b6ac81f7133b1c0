"""Two charts by day for Dagster's UI, as an SVG inside Markdown: discrepancies, lost webhooks.

Dagster's own plots show one number of each run's; these, two numbers of each day. The picture
brings its own light ground: an image cannot see whether the page around it is light or dark. Drawn
by hand: a plotting library would cost a run seconds, and this is bars.
"""

import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from html import escape
from typing import Final

from callkeeper_assets.reconcile.discrepancies import DayTrend
from callkeeper_assets.webhooks.audit import DayLoss, rate_loss

# On a day with fewer webhooks one that is lost is no rate.
_FEW_SENT: Final = 10

# The picture, and the plot's edges inside it.
_WIDTH, _HEIGHT = 760, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 740, 74, 250
_GROUND, _INK, _FAINT = "#ffffff", "#1f2937", "#d1d5db"
# Told apart by their lightness, too: also without seeing red and green.
_COLOURS: Final = ("#7cb5ec", "#c2410c")

_TICKS: Final = 4
_DAYS_BETWEEN_LABELS: Final = 14
_MOST_IN_FULL: Final = 100_000


@dataclass(frozen=True)
class _DayBar:
    """One day's bar: up to `low` in the first colour, from there to `high` in the second."""

    day: date
    low: float
    high: float


@dataclass(frozen=True)
class _Chart:
    """A chart of a period, whose bars are in order of their days; days without one are left out.

    Attributes:
        title: above the bars.
        name: what the picture is in one or two words, where it cannot be seen.
        words: what it shows.
        axis: what is counted.
        legend: what each of the two colours is.
        nothing: said in the place of bars.
        unit: behind the axis' numbers.
    """

    first: date
    last: date
    bars: Sequence[_DayBar]
    title: str
    name: str
    words: str
    axis: str
    legend: tuple[str, str]
    nothing: str
    unit: str = ""


def draw_trend(days: Sequence[DayTrend], first: date, last: date) -> str:
    """Return Markdown with the picture of a period's discrepancies, and the same in words.

    Args:
        days: those on which something differed, in order, inside the period.
        first: the period's first day.
        last: its last day.
    """
    found, healed = sum(day.found for day in days), sum(day.healed for day in days)
    return _draw(
        _Chart(
            first,
            last,
            [_DayBar(day.day, day.healed, day.found) for day in days],
            title="Discrepancies by day of the call",
            name="Discrepancies by day",
            words=f"{found:,} found from {first} to {last}, {healed:,} healed, "
            f"{found - healed:,} open",
            axis="calls × parameters",
            legend=(f"found and healed: {healed:,}", f"found and still open: {found - healed:,}"),
            nothing="Nothing differed.",
        )
    )


def draw_losses(days: Sequence[DayLoss], first: date, last: date) -> str:
    """Return Markdown with the picture of the rate at which webhooks are lost, and in words.

    Args:
        days: those on which webhooks were sent, in order, inside the period.
        first: the period's first day.
        last: its last day.
    """
    sent, lost = sum(day.sent for day in days), sum(day.lost for day in days)
    rates = [(day, 100 * rate_loss(day.sent, day.lost)) for day in days]
    return _draw(
        _Chart(
            first,
            last,
            [
                _DayBar(day.day, low=percent if day.sent < _FEW_SENT else 0.0, high=percent)
                for day, percent in rates
                if percent
            ],
            title="Webhooks lost, by day of the call",
            name="Webhooks lost by day",
            words=f"{lost:,} of {sent:,} sent from {first} to {last} are lost "
            f"({rate_loss(sent, lost):.2%})",
            axis="lost, of those sent",
            legend=(f"of fewer than {_FEW_SENT} sent", f"of {_FEW_SENT} and more"),
            nothing="No webhook was lost.",
            unit="%",
        )
    )


def _draw(chart: _Chart) -> str:
    shown = f"{chart.name}: {chart.words}"
    svg = "".join(_draw_parts(chart, shown))
    encoded = base64.b64encode(svg.encode()).decode()
    return f"![{shown}](data:image/svg+xml;base64,{encoded})\n\n{chart.words}."


def _draw_parts(chart: _Chart, shown: str) -> Iterator[str]:
    most = max((bar.high for bar in chart.bars), default=0)
    step = _step(most)
    top = step * max(-int(-most // step), 1)
    width = (_RIGHT - _LEFT) / ((chart.last - chart.first).days + 1)
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{_HEIGHT}" '
        f'viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif" font-size="12" '
        f'fill="{_INK}" role="img"><title>{escape(shown)}</title>'
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" rx="6" fill="{_GROUND}" stroke="{_FAINT}"/>'
        f'<text x="16" y="26" font-size="16" font-weight="bold">{escape(chart.title)}</text>'
    )
    for x, colour, text in zip((_LEFT, _LEFT + 190), _COLOURS, chart.legend, strict=True):
        yield f'<rect x="{x}" y="43" width="12" height="12" fill="{colour}"/>'
        yield _text(x + 18, 53, text, "start")
    yield from _draw_values(chart, top, step)
    yield from _draw_axis(chart.first, chart.last, width)
    for bar in chart.bars:
        yield from _draw_bar(bar, _LEFT + width * (bar.day - chart.first).days, width, top)
    if not chart.bars:
        yield _text((_LEFT + _RIGHT) / 2, (_TOP + _BOTTOM) / 2, chart.nothing)
    yield "</svg>"


def _text(x: float, y: float, text: str, anchor: str = "middle") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _draw_values(chart: _Chart, top: int, step: int) -> Iterator[str]:
    for value in range(0, top + 1, step):
        y = _y(value, top)
        colour = _INK if value == 0 else _FAINT
        yield f'<path d="M{_LEFT} {y:.1f}H{_RIGHT}" stroke="{colour}"/>'
        # More digits would run into the axis' name.
        label = f"{value:,}" if top < _MOST_IN_FULL else f"{value // 1000:,}k"
        yield _text(_LEFT - 8, y + 4, label + chart.unit, "end")
    yield (
        f'<text transform="translate(18 {(_TOP + _BOTTOM) / 2}) rotate(-90)" '
        f'text-anchor="middle">{escape(chart.axis)}</text>'
    )


def _draw_axis(first: date, last: date, width: float) -> Iterator[str]:
    total = (last - first).days + 1
    # From the newest day back, so that it has its label.
    for back in range(0, total, _DAYS_BETWEEN_LABELS):
        x = _LEFT + width * (total - back - 0.5)
        yield f'<path d="M{x:.1f} {_BOTTOM}v5" stroke="{_INK}"/>'
        yield _text(x, _BOTTOM + 19, f"{last - timedelta(days=back):%m-%d}")
    yield _text((_LEFT + _RIGHT) / 2, _BOTTOM + 39, f"day ({first} to {last})")


def _draw_bar(bar: _DayBar, x: float, width: float, top: int) -> Iterator[str]:
    """Draw both parts, one on the other; a bar of one in a thousand can still be seen."""
    base, middle = _y(0, top), _y(bar.low, top)
    for low, high, colour in (
        (base, middle, _COLOURS[0]),
        (middle, _y(bar.high, top), _COLOURS[1]),
    ):
        if low > high:
            height = max(low - high, 1.5)
            yield (
                f'<rect x="{x + width * 0.1:.1f}" y="{low - height:.1f}" '
                f'width="{width * 0.8:.1f}" height="{height:.1f}" fill="{colour}"/>'
            )


def _y(value: float, top: int) -> float:
    return _BOTTOM - (_BOTTOM - _TOP) * value / top


def _step(most: float) -> int:
    """Return the distance of the lines: 1, 2 or 5 and zeros, some four of them in all."""
    step = 1
    while step * _TICKS < most:
        step = step * 5 // 2 if str(step)[0] == "2" else step * 2
    return step
