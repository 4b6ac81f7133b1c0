"""Whatever the order, doubled, lost or cut off: the tables end as a clean load of the same facts.

Each example has a source of its own in one database: what it holds in the end is compared with what
another source got by loading the facts at once.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Final

import psycopg
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from callkeeper_assets.raw.store import RawStore
from callkeeper_assets.warehouse.filters import Filter
from callkeeper_assets.warehouse.records import UnavailableError
from callkeeper_assets.warehouse.session import Session
from callkeeper_assets_tests.extent import examples
from callkeeper_assets_tests.warehouse.raw_days import Call
from callkeeper_assets_tests.webhooks.inbox_of import (
    OVER,
    PROCESSING,
    SOURCE,
    Office,
    answered,
    payload,
)

CALLS: Final = range(1, 6)
_NUMBERS = itertools.count()
# Of a call that has ended, told by what is no end by its name.
END: Final = {"status_code": 200, "duration_sec": 77, "tags": "another end"}
# What a call's row says, and its dimensions; not the keys, which differ from source to source.
_HELD: Final = """
    SELECT to_jsonb(c) - '{id,account_id,loaded_at}'::text[],
        to_jsonb(f) - '{account_id,calls_id}'::text[]
    FROM callkeeper_calls AS c
    JOIN general_accounts AS a USING (account_id)
    LEFT JOIN callkeeper_calls_facts AS f ON f.account_id = c.account_id AND f.calls_id = c.id
    WHERE a.name = %s
    ORDER BY c.call_id
"""
_LEFT: Final = """
    SELECT
        (SELECT count(*) FROM callkeeper_webhooks AS w
            WHERE w.account_id = a.account_id AND state <> 'processed')
        + (SELECT count(*) FROM callkeeper_webhook_repeats AS r
            WHERE r.account_id = a.account_id AND is_waiting)
    FROM general_accounts AS a WHERE a.name = %s
"""


@dataclass(frozen=True)
class Step:
    """Something that happens; `crash_at`: the statement before which the process dies."""

    kind: str
    call_id: int = 0
    crash_at: int | None = None


# What webhooks tell of a call: two ends, and two statuses that change, one of them as an end.
ENDS: Final = (OVER, "over otherwise")
TOLD: Final = (*ENDS, PROCESSING, "over and pending")
CRASHES = st.none() | st.integers(0, 30)
STEPS = st.lists(
    st.one_of(
        st.builds(Step, st.sampled_from(TOLD), st.sampled_from(CALLS)),
        st.builds(Step, st.just("process"), crash_at=CRASHES),
        st.builds(Step, st.just("show"), st.sampled_from(CALLS)),
        st.builds(Step, st.just("refresh"), crash_at=CRASHES),
    ),
    min_size=4,
    max_size=24,
)
FILTERS: Final[Sequence[Mapping[str, tuple[Filter, ...]]]] = (
    {},
    {"callkeeper_calls": (Filter("status", "eq", "success"),)},
    {"callkeeper_calls": (Filter("tags", "ne", "from the API"),)},
)


@contextmanager
def crashing(at: int | None) -> Iterator[None]:
    """Let the process lose its database before one of its statements."""
    if at is None:
        yield
        return
    left = itertools.count(at, -1)
    real = {name: getattr(Session, name) for name in ("execute", "query", "copy")}

    def build(name: str) -> Any:  # noqa: ANN401 -- a method
        def method(self: Session, *arguments: Any, **named: Any) -> Any:  # noqa: ANN401
            if next(left) == 0:
                # Really gone: the server undoes the transaction and lets go of the locks.
                self.close()
                raise UnavailableError("gone")
            return real[name](self, *arguments, **named)

        return method

    with pytest.MonkeyPatch.context() as patch:
        for name in real:
            patch.setattr(Session, name, build(name))
        yield


class History:
    """One source to which things happen."""

    def __init__(self, office: Office) -> None:
        self.office = office
        self.shown: set[int] = set()
        self.received: list[tuple[int, str]] = []

    def happen(self, step: Step) -> None:
        try:
            with crashing(step.crash_at):
                self._happen(step)
        except UnavailableError:
            assert step.crash_at is not None

    def _happen(self, step: Step) -> None:
        if step.kind == "process":
            self.office.process()
        elif step.kind == "refresh":
            self.office.load_answer(self.answer())
        elif step.kind == "show":
            self.shown.add(step.call_id)
        else:
            self.office.receive(reported(step.call_id, step.kind))
            self.received.append((step.call_id, step.kind))

    def answer(self) -> list[Call]:
        return [answered(n, minute=n) for n in sorted(self.shown)]

    def facts(self) -> list[Call]:
        """The last word of webhooks on each call that the source does not show: an end, if any."""
        words = {
            n: reported(n, kind)
            for n, kind in sorted(self.received, key=lambda one: one[1] in ENDS)
        }
        return [words[n] for n in sorted(words) if n not in self.shown]


def reported(call_id: int, event: str) -> Call:
    """Return a webhook's body; every third call comes to nothing."""
    failed = {"status2_code": 486} if call_id % 3 == 0 and event in ENDS else {}
    if event == "over otherwise":
        return payload(call_id, PROCESSING.upper(), minute=call_id, **END, **failed)
    if event == "over and pending":
        return payload(call_id, OVER, minute=call_id, status_code=707, status2_code=0)
    return payload(call_id, event, minute=call_id, **failed)


@pytest.fixture
def one_database(database: str, tmp_path_factory: pytest.TempPathFactory) -> Office:
    """One for all examples."""
    return Office(database, RawStore(str(tmp_path_factory.mktemp("raw"))))


def begin(office: Office, filters: Mapping[str, tuple[Filter, ...]]) -> Office:
    name = f"office_{next(_NUMBERS)}"
    return replace(office, source=replace(SOURCE, name=name, filters=filters))


def held(office: Office) -> list[tuple[Any, ...]]:
    with psycopg.connect(office.url) as connection:
        return connection.execute(_HELD, (office.source.name,)).fetchall()


@example(  # shown, and kept out by a filter, when its webhook comes
    steps=[Step("show", 1), Step(OVER, 1)], filters=FILTERS[2], refresh_first=True
)
@example(  # the end is processed before the beginning comes
    steps=[Step(OVER, 1), Step("process"), Step(PROCESSING, 1)],
    filters=FILTERS[1],
    refresh_first=False,
)
@example(  # byte for byte the same comes again, when both are processed
    steps=[Step(OVER, 1), Step(ENDS[1], 1), Step("process"), Step(OVER, 1)],
    filters=FILTERS[0],
    refresh_first=False,
)
@example(  # an end by its name has a status that changes
    steps=[Step(ENDS[1], 1), Step("process"), Step(TOLD[-1], 1), Step(PROCESSING, 1)],
    filters=FILTERS[0],
    refresh_first=False,
)
@given(steps=STEPS, filters=st.sampled_from(FILTERS), refresh_first=st.booleans())
@settings(max_examples=examples(2))
def test_the_tables_end_as_after_a_clean_load_of_the_same_facts(
    one_database: Office,
    steps: list[Step],
    filters: Mapping[str, tuple[Filter, ...]],
    refresh_first: bool,
) -> None:
    history = History(begin(one_database, filters))
    for step in steps:
        history.happen(step)
    # The last to come is no better than the first.
    for kind in ("process", "refresh")[:: -1 if refresh_first else 1]:
        history.happen(Step(kind))

    clean = begin(one_database, filters)
    clean.load_answer(history.answer())
    clean.receive(*history.facts())
    clean.process()
    assert held(history.office) == held(clean)
    with psycopg.connect(one_database.url) as connection:
        assert connection.execute(_LEFT, (history.office.source.name,)).fetchall() == [(0,)]
