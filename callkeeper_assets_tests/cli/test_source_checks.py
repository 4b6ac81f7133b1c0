"""What `check` says of the day until which an account is paid."""

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from callkeeper_assets.callkeeper.records import ApiName, find_other_api
from callkeeper_assets.cli.source_checks import check_payment
from callkeeper_assets.config.loading import load_source_file
from callkeeper_assets_tests.cli.conftest import write_source

NOW = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("paid_till", "state"),
    [
        (None, "good"),
        (datetime(2026, 4, 1, tzinfo=UTC), "good"),
        (datetime(9999, 12, 31, 23, 59, tzinfo=UTC), "good"),
        (datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=3))), "warning"),
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
    assert check_payment(source, paid_till, NOW).state == state


@pytest.mark.parametrize(
    ("api", "base_url", "other", "address"),
    [
        ("callkeeper", "https://api.callkeeper.ru", "ckct", "https://ckct.ru/api/"),
        ("ckct", "https://ckct.ru/api", "callkeeper", "https://api.callkeeper.ru"),
        ("ckct", "https://ckct.ru/api/", "callkeeper", "https://api.callkeeper.ru"),
        ("ckct", "https://ckct.ru/api/index.php", "callkeeper", "https://api.callkeeper.ru"),
        ("callkeeper", "http://x:1", "ckct", "http://x:1/api/"),
        ("ckct", "http://x:1/api", "callkeeper", "http://x:1"),
        ("ckct", "http://x:1/api/index.php", "callkeeper", "http://x:1"),
    ],
)
def test_the_other_api_is_callkeepers_own_or_at_the_same_host(
    api: ApiName, base_url: str, other: ApiName, address: str
) -> None:
    """A key goes to no host but CallKeeper's and the one that the source names."""
    assert find_other_api(api, base_url) == (other, address)
