"""What `check` says of the day until which an account is paid."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from callkeeper_assets.cli.source_checks import judge_payment
from callkeeper_assets.config.loading import load_source_file
from callkeeper_assets_tests.cli.conftest import write_source

NOW = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("paid_till", "state"),
    [
        (None, "good"),
        (datetime(2026, 4, 1, tzinfo=UTC), "good"),
        (datetime(2026, 3, 24, 12, 0, tzinfo=UTC), "good"),
        (datetime(2026, 3, 24, 11, 59, tzinfo=UTC), "warning"),
        (datetime(2026, 3, 10, 12, 0, tzinfo=UTC), "warning"),
        (datetime(2026, 3, 10, 11, 59, tzinfo=UTC), "warning"),
    ],
)
def test_the_last_two_weeks_are_a_warning(
    defs: Path, paid_till: datetime | None, state: str
) -> None:
    write_source(defs, "main_office")
    source = load_source_file(defs / "main_office" / "defs.yaml")
    assert judge_payment(source, paid_till, NOW).state == state
