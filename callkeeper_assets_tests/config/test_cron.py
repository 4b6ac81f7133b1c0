"""Cron expressions: what is accepted Dagster accepts too, and it is due some day."""

import dagster as dg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from callkeeper_assets.config.models import find_cron_problem

_FIELDS = (
    st.one_of(
        st.sampled_from(["*", "*/7", "1-5", "1-9/2", "3,5", "mon", "jan", "feb", "0", "7", "31"]),
        st.integers(-1, 61).map(str),
        st.tuples(st.integers(0, 60), st.integers(0, 60)).map(lambda ends: f"{ends[0]}-{ends[1]}"),
        st.text("0123456789*/,-LW#?", min_size=1, max_size=6),
    ),
) * 5


@given(st.tuples(*_FIELDS).map(" ".join))
def test_what_is_accepted_makes_a_schedule(cron: str) -> None:
    """Dagster decides only when the code location loads: then all sources would be gone."""
    if find_cron_problem(cron) is None:
        dg.ScheduleDefinition(name="s", cron_schedule=cron, job_name="j")


@pytest.mark.parametrize(
    "cron",
    [
        "* * * * *",
        "*/15 * * * *",
        "0 5 * * *",
        "0 5 1,15 * *",
        "0 5 29 2 *",
        "0 5 31 2 mon",
        "0 5 * jan-mar/2 Mon-Fri",
        "0 5 * * 7",
    ],
)
def test_usual_expressions_are_accepted(cron: str) -> None:
    assert find_cron_problem(cron) is None


@pytest.mark.parametrize(
    "cron",
    [
        *("", "daily", "@daily", "0 5 * * * *", "60 5 * * *", "0 5 0 * *", "0 5 * 13 *"),
        *("0 5 * * 8", "5-1 * * * *", "5-5 * * * *", "*/0 * * * *", "1/2 * * * *"),
        *("1,,2 * * * *", "* * 30 feb *", "² * * * *"),
    ],
)
def test_impossible_expressions_are_refused(cron: str) -> None:
    assert find_cron_problem(cron)
