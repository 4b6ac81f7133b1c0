"""Checks of the warehouse, as set-based SQL over a range of days of a source."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Literal

CheckName = Literal["keys_unique", "foreign_keys_found", "row_counts"]


@dataclass(frozen=True)
class Violations:
    """Rows of one day that break a rule of one table.

    Attributes:
        rule: what is broken, for people: `sites_id finds no row of general_sites`.
        count: exact.
        sample: ids of up to 10 of the rows (call_id where the table has one).
    """

    day: date
    table: str
    rule: str
    count: int
    sample: tuple[int, ...]


def check_keys_unique(url: str, account_name: str, first: date, last: date) -> list[Violations]:
    """Find keys that occur twice, days `first` to `last` inclusive; an empty list is good."""
    raise NotImplementedError


def check_foreign_keys(url: str, account_name: str, first: date, last: date) -> list[Violations]:
    """Find keys of facts without their row, days inclusive; an empty list is good."""
    raise NotImplementedError


def count_rows(
    url: str, account_name: str, first: date, last: date
) -> Mapping[date, Mapping[str, int]]:
    """Count rows of calls and facts by day and table, days inclusive; a day without any has 0."""
    raise NotImplementedError
