"""How much is run: what `make test` leaves to the long forms is decided here.

With LONG=1 in the environment (`make test LONG=1`, `make chaos`) property tests get ten times their
examples, every test that asks for an API runs on both, and tests marked `chaos` are run, too.
"""

import os
from collections.abc import Iterable
from typing import Final, get_args

import pytest

from callkeeper_assets.callkeeper.records import ApiName

IS_LONG: Final = bool(os.environ.get("LONG"))
_APIS: Final[tuple[ApiName, ...]] = get_args(ApiName)
# Of a test that asks for the fixture `api`: what is built on a source knows neither of them.
APIS: Final = _APIS if IS_LONG else _APIS[:1]
# Marks the tests that are run on both in any case: where the APIs themselves differ.
each_api: Final = pytest.mark.parametrize("api", _APIS)


def examples(number: int) -> int:
    """Return how many examples a property test gets: `number`, or ten times as many."""
    return number * 10 if IS_LONG else number


def one_of(steps: Iterable[str], chosen: str) -> list[object]:
    """Return a test's parameters, of which all but the chosen one are for the long form."""
    return [
        step if step == chosen else pytest.param(step, marks=pytest.mark.chaos) for step in steps
    ]
