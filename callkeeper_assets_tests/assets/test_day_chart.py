"""The chart of discrepancies: a picture that a browser can draw, which says what the log holds."""

import base64
import re
from datetime import date, timedelta
from xml.etree import ElementTree as ET

import pytest

from callkeeper_assets.assets.charts import draw_trend
from callkeeper_assets.reconcile.discrepancies import DayTrend

FIRST, LAST = date(2026, 1, 1), date(2026, 3, 31)
SVG = "{http://www.w3.org/2000/svg}"


def read_picture(markdown: str) -> tuple[ET.Element, str]:
    """Return the picture's root element, and what stands in its place where it cannot be drawn."""
    match = re.match(r"!\[(.*)\]\(data:image/svg\+xml;base64,([A-Za-z0-9+/=]+)\)", markdown)
    assert match is not None
    root = ET.fromstring(base64.b64decode(match[2]))  # noqa: S314 -- our own
    assert root.tag == f"{SVG}svg"
    return root, match[1]


def find_bars(root: ET.Element, colour: str) -> list[tuple[float, float, float]]:
    """Return the bars of a colour, the legend's square left out: left edge, top, height."""
    return [
        (float(one.get("x", 0)), float(one.get("y", 0)), float(one.get("height", 0)))
        for one in root.iter(f"{SVG}rect")
        if one.get("fill") == colour and one.get("width") != "12"
    ]


def test_each_day_has_its_bar_what_is_open_on_what_is_healed() -> None:
    days = [DayTrend(FIRST, 10, 10), DayTrend(FIRST + timedelta(days=30), 8, 2)]
    root, words = read_picture(draw_trend(days, FIRST, LAST))
    healed, still_open = find_bars(root, "#7cb5ec"), find_bars(root, "#c2410c")
    assert (len(healed), len(still_open)) == (2, 1)
    (first, second), (left,) = healed, still_open
    assert first[2] == pytest.approx(5 * second[2], abs=0.2), "ten are five times two"
    assert left[2] == pytest.approx(3 * second[2], abs=0.2)
    assert left[1] + left[2] == pytest.approx(second[1], abs=0.2), "open stands on healed"
    assert left[0] == second[0] > first[0]
    assert (
        words == "Discrepancies by day: 18 found from 2026-01-01 to 2026-03-31, 12 healed, 6 open"
    )


def test_it_has_a_title_axes_a_legend_and_a_ground_of_its_own() -> None:
    root, words = read_picture(draw_trend([DayTrend(LAST, 3, 1)], FIRST, LAST))
    texts = [one.text for one in root.iter(f"{SVG}text")]
    for text in (
        "Discrepancies by day of the call",
        "found and healed: 1",
        "found and still open: 2",
        "calls × parameters",
        "day (2026-01-01 to 2026-03-31)",
        "03-31",
        "0",
    ):
        assert text in texts
    ground = next(root.iter(f"{SVG}rect"))
    assert (ground.get("width"), ground.get("fill")) == (root.get("width"), "#ffffff")
    title = next(root.iter(f"{SVG}title"))
    assert title.text == words


def test_a_time_without_discrepancies_says_so() -> None:
    markdown = draw_trend([], FIRST, LAST)
    root, _ = read_picture(markdown)
    assert "Nothing differed." in [one.text for one in root.iter(f"{SVG}text")]
    assert markdown.endswith("0 found from 2026-01-01 to 2026-03-31, 0 healed, 0 open.")


@pytest.mark.parametrize("most", [1, 3, 7, 19, 100, 12_345, 1_000_000])
def test_no_bar_leaves_the_plot_and_the_lines_are_few(most: int) -> None:
    root, _ = read_picture(
        draw_trend([DayTrend(LAST, most, 0), DayTrend(FIRST, 1, 1)], FIRST, LAST)
    )
    for _, top, height in (*find_bars(root, "#7cb5ec"), *find_bars(root, "#c2410c")):
        assert 74 <= top <= top + height <= 250.1
    labels = [one for one in root.iter(f"{SVG}text") if one.get("text-anchor") == "end"]
    assert 2 <= len(labels) <= 6
    assert all(len(one.text or "") <= 6 for one in labels), "a longer one runs into the axis' name"
