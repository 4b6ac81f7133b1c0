"""How much is run: what `make test` leaves to the long forms is decided here.

With LONG=1 in the environment (`make test LONG=1`, `make chaos`) property tests get thirty times
their examples, every test that asks for an API runs on both, corpora are tried with every rule, and
tests marked `chaos` are run, too.
"""

import os
import random
from collections.abc import Iterable, Sequence
from typing import Final, TypeVar, get_args

import pytest

from callkeeper_assets.callkeeper.records import ApiName

IS_LONG: Final = bool(os.environ.get("LONG"))
_APIS: Final[tuple[ApiName, ...]] = get_args(ApiName)
# Of a test that asks for the fixture `api`: what is built on a source knows neither of them.
APIS: Final = _APIS if IS_LONG else _APIS[:1]
# Marks the tests that are run on both in any case: where the APIs themselves differ.
each_api: Final = pytest.mark.parametrize("api", _APIS)
_Item = TypeVar("_Item")


def examples(number: int) -> int:
    """Return how many examples a property test gets: `number`, or thirty times as many."""
    return number * 30 if IS_LONG else number


def share(items: Iterable[_Item], number: int, of: int) -> Sequence[_Item]:
    """Return the `number`-th of so many shares of the items; in the long form, all of them.

    For a corpus that is tried under several rules: each item comes under one, each rule has its
    part of every kind, and together they have all. The shares are the same in every run.
    """
    every = list(items)
    if IS_LONG:
        return every
    random.Random(of).shuffle(every)  # noqa: S311 -- not a secret
    return every[number % of :: of]


def one_of(steps: Iterable[str], chosen: str) -> list[object]:
    """Return a test's parameters, of which all but the chosen one are for the long form."""
    return [
        step if step == chosen else pytest.param(step, marks=pytest.mark.chaos) for step in steps
    ]
