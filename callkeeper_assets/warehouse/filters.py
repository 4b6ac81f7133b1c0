"""Filters of a source: what one is, and whether it makes sense."""

from dataclasses import dataclass
from typing import Literal

FilterOp = Literal[
    "eq",
    "ne",
    "lt",
    "le",
    "gt",
    "ge",
    "in",
    "not_in",
    "contains",
    "starts_with",
    "is_null",
    "not_null",
]


@dataclass(frozen=True)
class Filter:
    """One condition on a row; all conditions of a table must hold."""

    field: str
    op: FilterOp
    value: object = None


def check_filter(table: str, f: Filter) -> None:
    """Refuse a filter that cannot be meant.

    Raises:
        FilterError: the table or field is unknown, or the value does not fit.
    """
    raise NotImplementedError
