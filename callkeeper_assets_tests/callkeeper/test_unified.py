"""The unified API: both shapes, ends and errors, and lists that move while they are read.

The moving lists are a scripted source's, which changes before any of its answers: what was there
all the time is there once, whatever came and went meanwhile.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from callkeeper_assets.callkeeper import apis
from callkeeper_assets.callkeeper.apis import Page, build_mask, mask_token, read_page
from callkeeper_assets.callkeeper.client import CallKeeperClient
from callkeeper_assets.callkeeper.keys import key_unified_calls
from callkeeper_assets.callkeeper.records import AbortError, RetryLaterError
from callkeeper_assets.simulator.server import RunningSimulator, run_simulator
from callkeeper_assets.simulator.settings import AccountSettings, AnswerSettings
from callkeeper_assets_tests.callkeeper.conftest import KEY, QUICK, ConnectTo, fetch_day
from callkeeper_assets_tests.callkeeper.fake_source import (
    Answer,
    Asked,
    json_answer,
    run_fake_source,
)
from callkeeper_assets_tests.extent import IS_LONG

DAY = date(2026, 3, 2)
START = int(datetime(2026, 3, 1, 21, tzinfo=UTC).timestamp())
MOSCOW = ZoneInfo("Europe/Moscow")


def call(call_id: int, epoch: int = START, **fields: object) -> dict[str, object]:
    """A callback of the unified API."""
    moment = datetime.fromtimestamp(epoch, UTC)
    return {
        "page": 0,
        "universalId": str(10**16 + call_id),
        "serviceType": "callback",
        "callTime": f"{moment:%Y-%m-%d %H:%M:%S}",
        "status": "success",
        "cbCallId": call_id,
        "ctCallId": 0,
        **fields,
    }


def failure(error: str) -> Answer:
    return json_answer({"inbound": {"error": error}, "info": {"versions": ["v1"]}, "payload": []})


def read_path(asked: Asked) -> tuple[int, int, int]:
    """Page, and the window's bounds."""
    [path] = asked.parameters
    *_, page, start, end = path.split("/")
    return int(page), int(start), int(end)


@pytest.mark.parametrize("page_length", [7, 1000])
@pytest.mark.parametrize("shape", ["list", "wrapped"])
@pytest.mark.parametrize("order", ["newest", "oldest"])
def test_a_day_is_whole_whatever_shape_order_and_length_pages_have(
    shape: str, order: str, page_length: int
) -> None:
    account = AccountSettings(
        key=KEY, name="m", calls_per_day=130, calltracking_per_day=40, imports_per_day=3
    )
    now = datetime(2026, 6, 1, tzinfo=UTC)
    answers = AnswerSettings(
        unified_shape=shape,  # type: ignore[arg-type]
        unified_order=order,  # type: ignore[arg-type]
        unified_page_length=page_length,
    )
    with run_simulator([account], now=now, answers=answers) as sim, open_client(sim) as client:
        days = [DAY + timedelta(days=n) for n in range(3)]
        for found in client.fetch_days(days):
            truth = sim.account("m").truth(found.day, found.day, api="ckct").calls
            assert found.call_ids == [one["call_id"] for one in sorted(truth, key=in_order)]
            assert len({one["service"] for one in truth}) == 3


def in_order(one: Mapping[str, Any]) -> Any:  # noqa: ANN401 - what can be sorted
    return one["called_at"], one["call_id"]


def open_client(sim: RunningSimulator, **settings: object) -> CallKeeperClient:
    """A client of the simulator's unified API."""
    return CallKeeperClient(
        source="m",
        api_key=KEY,
        time_zone=MOSCOW,
        api="ckct",
        base_url=sim.base_urls["ckct"],
        retry=QUICK,
        **settings,  # type: ignore[arg-type]
    )


def test_ids_of_services_do_not_collide_and_show_the_own_id() -> None:
    """The same own id in two services; the documentation's sample has ids of both at once."""
    raws = [
        call(77, ctCallId=77),
        call(77, serviceType="calltracking", ctCallId="77"),
        call(77, serviceType="import", universalId="23423423434434234"),
        call(0, universalId=5),
    ]
    found = key_unified_calls([msgspec.Raw(json.dumps(one).encode()) for one in raws])
    assert list(found)[:2] == [77, 4_000_000_000_000_077]
    assert all(5_000_000_000_000_000 <= one < 2**53 for one in list(found)[2:])
    assert len(found) == len(raws)


@pytest.mark.parametrize(
    "body", [b"[]", failure("No rows found").body, failure("Incorrect page is set.").body]
)
def test_ends_are_no_failures(body: bytes) -> None:
    page = read_page(body)
    assert (page.rows, page.calls) == (0, {})  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("reason", "remedy"),
    [
        ("User is not recognized", "Check the key"),
        ("It is wrong API version", "base_url"),
        ("Entity does not exist", "base_url"),
        ("Method does not exist", "base_url"),
        ("Start date has wrong type. Use YYYY-MM-DD", "base_url"),
        ("Something new", "ask CallKeeper's support"),
    ],
)
def test_every_other_error_is_one_that_asking_again_does_not_help(
    connect_to: ConnectTo, reason: str, remedy: str
) -> None:
    client, source = connect_to(lambda _: failure(reason), api="ckct")
    with pytest.raises(AbortError) as caught:
        fetch_day(client, DAY)
    assert reason in str(caught.value)
    assert remedy in str(caught.value)
    assert "call/get" in str(caught.value)
    assert KEY not in str(caught.value)
    assert len(source.asked) == 1


def test_the_token_in_an_address_is_masked_and_the_rest_stays() -> None:
    mask = build_mask("main")
    hooks = [{"hookAddress": "https://x.example/webhooks/main/se-cr_et?a=1"}]
    for body in (json.dumps(hooks), json.dumps(hooks).replace("/", "\\/")):
        masked = mask_token(body.encode(), mask).decode()
        assert "se-cr_et" not in masked
        assert json.loads(masked)[0]["hookAddress"] == "https://x.example/webhooks/main/***?a=1"
    other = b'"https://x.example/webhooks/other/token"'
    assert mask_token(other, mask) == other


@contextmanager
def pages_of(calls: int) -> Iterator[None]:
    """Pages are known to have so many calls; a list of several is then quick to make."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(apis, "PAGE_LENGTH", calls)
        yield


class MovingList:
    """A list of one second's calls, which no window divides: before each answer one more move."""

    def __init__(
        self, calls: int, moves: list[tuple[bool, int]], length: int, *, has_total: bool
    ) -> None:
        self.calls = list(range(1, calls + 1))
        self.moves = moves
        self.length = length
        self.has_total = has_total
        self.gone: set[int] = set()
        self.next_id = 1000

    def move(self) -> None:
        if not self.moves:
            return
        comes, place = self.moves.pop(0)
        if comes:
            self.calls.insert(place % (len(self.calls) + 1), self.next_id)
            self.next_id += 1
        elif self.calls:
            self.gone.add(self.calls.pop(place % len(self.calls)))

    def answer(self, asked: Asked) -> Answer:
        page, start, end = read_path(asked)
        self.move()
        shown = self.calls if start <= START <= end else []
        rows = [call(one) for one in shown[page * self.length : (page + 1) * self.length]]
        if not rows:
            return failure("Incorrect page is set" if page else "No rows found")
        if self.has_total:
            return json_answer(
                {"inbound": {}, "info": {"totalLength": len(shown)}, "payload": rows}
            )
        return json_answer(rows)


@settings(max_examples=200 if IS_LONG else 3, suppress_health_check=list(HealthCheck))
@given(
    calls=st.integers(0, 45),
    moves=st.lists(st.tuples(st.booleans(), st.integers(0, 60)), max_size=14),
    has_total=st.booleans(),
)
@example(calls=25, moves=[(True, 0), (False, 3), (True, 12), (False, 20)], has_total=False)
@example(calls=41, moves=[(False, 40), (True, 9), (False, 0)], has_total=True)
def test_a_moving_list_loses_and_doubles_nothing(
    calls: int, moves: list[tuple[bool, int]], *, has_total: bool
) -> None:
    moving = MovingList(calls, list(moves), 10, has_total=has_total)
    with run_fake_source(moving.answer) as source, pages_of(moving.length):
        client = CallKeeperClient(
            source="m",
            api_key=KEY,
            time_zone=MOSCOW,
            api="ckct",
            base_url=source.base_url,
            retry=QUICK,
        )
        with client:
            try:
                found = fetch_day(client, DAY)
            except RetryLaterError:
                # It said so; what it read it does not hand out.
                assert moves
                return
    assert len(found.call_ids) == len(set(found.call_ids))
    assert set(range(1, calls + 1)) - moving.gone <= set(found.call_ids)
    assert set(found.call_ids) <= set(range(1, calls + 1)) | set(range(1000, moving.next_id))


def test_a_list_that_never_stands_still_is_asked_for_later(connect_to: ConnectTo) -> None:
    moving = MovingList(25, [(True, 0)] * 10_000, 10, has_total=False)
    client, _ = connect_to(moving.answer, api="ckct", retry=QUICK)
    with pytest.raises(RetryLaterError, match="another one each time"):
        fetch_day(client, DAY)


def test_calls_that_come_and_go_at_the_simulator_are_there_once() -> None:
    account = AccountSettings(key=KEY, name="m", calls_per_day=120, rhythm="flat")
    answers = AnswerSettings(unified_page_length=8, unified_moves=0.3)
    now = datetime(2026, 6, 1, tzinfo=UTC)
    with run_simulator([account], now=now, answers=answers) as sim, pages_of(8):
        before = {one["call_id"] for one in sim.account("m").truth(DAY, DAY).calls}
        with open_client(sim) as client:
            found = fetch_day(client, DAY).call_ids
        after = {one["call_id"] for one in sim.account("m").truth(DAY, DAY).calls}
    assert before != after
    assert len(found) == len(set(found))
    assert before & after <= set(found) <= before | after


@pytest.mark.parametrize(
    ("role", "method"), [("own", "get"), ("by_role", "getByRole"), ("with_role", "getWithRole")]
)
def test_the_role_chooses_the_method(connect_to: ConnectTo, role: str, method: str) -> None:
    client, source = connect_to(
        lambda asked: json_answer([] if read_path(asked)[0] else [call(3)]), api="ckct", role=role
    )
    assert fetch_day(client, DAY).call_ids == [3]
    assert list(source.asked[0].parameters) == [
        f"json/v3/{KEY}/call/{method}/0/{START - 1}/{START + 86_401}"
    ]


def test_a_full_account_is_learned_and_costs_no_page_twice() -> None:
    """1,000 calls a day fill a page: from the second day on the halves are asked for at once."""
    account = AccountSettings(key=KEY, name="m", calls_per_day=1000, rhythm="flat")
    now = datetime(2026, 6, 1, tzinfo=UTC)
    with run_simulator([account], now=now) as sim, open_client(sim, parallel_days=1) as client:
        requests = [fetch_day(client, DAY + timedelta(days=n)).details.requests for n in range(5)]
    assert sum(requests[1:]) <= 4 * 4
    assert max(requests[2:]) <= 4


def test_a_list_of_which_php_took_members_out_is_a_list() -> None:
    rows = {"0": call(5), "2": call(6)}
    page = read_page(json.dumps({"inbound": {}, "payload": rows}).encode())
    assert isinstance(page, Page)
    assert (sorted(page.calls), page.rows) == ([5, 6], 2)
