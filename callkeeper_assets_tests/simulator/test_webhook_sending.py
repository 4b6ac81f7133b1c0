"""Webhooks on demand: which are sent, in which order, how fast, and what the record says."""

import datetime as dt
import logging
import time
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from callkeeper_assets.simulator.account import SimulatedAccount
from callkeeper_assets.simulator.server import RunningSimulator
from callkeeper_assets.simulator.settings import AccountSettings, Clock
from callkeeper_assets.simulator.webhook_settings import EVENTS, SentDelivery
from callkeeper_assets_tests.extent import examples
from callkeeper_assets_tests.simulator.conftest import DAY, KEY, NOW
from callkeeper_assets_tests.simulator.receiver import Receiver, Reply, run_receiver
from callkeeper_assets_tests.waiting import wait_until

_STARTED, _OVER = EVENTS


@pytest.fixture
def account(sim: RunningSimulator, receiver: Receiver) -> SimulatedAccount:
    """The main account, with webhooks that go to the receiver."""
    account = sim.account("main")
    account.set_webhooks(url=receiver.url)
    return account


def _reported(receiver: Receiver) -> list[tuple[int, str]]:
    """Call and event of each webhook, as they came."""
    return [(int(each.json["id"]), each.json["hook_event"]) for each in receiver.received]


def _facts(deliveries: list[SentDelivery]) -> list[tuple[object, ...]]:
    return [
        (each.call_id, each.event, each.outcome, each.is_duplicate, each.payload)
        for each in deliveries
    ]


def _day_ids(account: SimulatedAccount) -> list[int]:
    return [int(str(call["call_id"])) for call in account.truth(DAY, DAY).calls]


def test_each_call_of_a_day_has_its_start_sent_and_then_its_end(
    account: SimulatedAccount, receiver: Receiver
) -> None:
    done = account.send_webhooks(DAY)
    ids = _day_ids(account)
    reported = _reported(receiver)
    assert Counter(reported) == Counter(
        (call_id, event) for call_id in ids for event in (_STARTED, _OVER)
    )
    for call_id in ids:
        assert [event for each, event in reported if each == call_id] == [_STARTED, _OVER]
    assert {(each.outcome, each.status, each.method) for each in done} == {
        ("answered", 200, "POST")
    }
    assert {each.path for each in receiver.received} == {"/webhooks/main/s3cret-t0ken"}
    assert {each.content_type for each in receiver.received} == {"application/json"}


def test_days_given_calls_new_calls_and_single_events_can_be_sent(
    account: SimulatedAccount, receiver: Receiver
) -> None:
    window = account.send_webhooks(DAY, DAY + dt.timedelta(days=1))
    truth = account.truth(DAY, DAY + dt.timedelta(days=1))
    assert {each.call_id for each in window} == {call["call_id"] for call in truth.calls}
    ids = _day_ids(account)[:2]
    given_ids = account.send_webhooks(DAY, call_ids=ids, events=[_OVER])
    assert [(each.call_id, each.event) for each in given_ids] == [(each, _OVER) for each in ids]
    new = account.send_webhooks(DAY, new=3)
    assert {each.call_id for each in new} == set(_day_ids(account)) - {
        each.call_id for each in window
    }
    assert len(new) == 6
    assert len(receiver.received) == len(window) + 2 + 6


def test_a_call_that_is_not_final_has_no_end_to_tell(
    account: SimulatedAccount, receiver: Receiver
) -> None:
    (held,) = {change.call_id for change in account.hold(DAY)}
    account.set_webhooks(wrong_order=1.0)
    account.send_webhooks(DAY, call_ids=[held])
    assert _reported(receiver) == [(held, _STARTED)]
    account.finalise(DAY)
    account.send_webhooks(DAY, call_ids=[held])
    assert _reported(receiver)[1:] == [(held, _OVER), (held, _STARTED)]


def test_lost_webhooks_are_recorded_and_never_arrive(
    account: SimulatedAccount, receiver: Receiver
) -> None:
    account.set_webhooks(loss=0.3)
    done = account.send_webhooks(DAY)
    lost = [each for each in done if each.outcome == "lost"]
    assert 0.15 * len(done) < len(lost) < 0.45 * len(done)
    assert {(each.status, each.problem, each.answer_sec) for each in lost} == {(None, None, None)}
    assert Counter(_reported(receiver)) == Counter(
        (each.call_id, each.event) for each in done if each.outcome == "answered"
    )
    assert account.list_deliveries() == sorted(done, key=lambda each: each.number)


def test_duplicates_are_the_same_bytes_once_more(
    account: SimulatedAccount, receiver: Receiver
) -> None:
    account.set_webhooks(duplicate=0.4)
    done = account.send_webhooks(DAY)
    copies = [each for each in done if each.is_duplicate]
    assert 0.2 * len(_day_ids(account)) < len(copies) < 1.2 * len(_day_ids(account))
    came = Counter(each.payload for each in receiver.received)
    assert came == Counter(each.payload for each in done)
    assert sorted(set(came.values())) == [1, 2]


def test_a_duplicate_can_race_with_its_original(
    account: SimulatedAccount, receiver: Receiver
) -> None:
    account.set_webhooks(duplicate=1.0, connections=2)
    receiver.replies.extend([Reply(delay_sec=0.05)] * 40)
    account.send_webhooks(DAY, call_ids=_day_ids(account)[:10])
    arrivals = defaultdict(list)
    for each in receiver.received:
        arrivals[each.payload].append(each)
    assert {len(each) for each in arrivals.values()} == {2}
    apart = [second.at - first.at for first, second in arrivals.values()]
    assert min(apart) < 0.04, "while the original was being answered"
    connections = [{first.connection, second.connection} for first, second in arrivals.values()]
    assert all(len(each) == 2 for each in connections)


def test_wrong_order_tells_the_end_first(account: SimulatedAccount, receiver: Receiver) -> None:
    account.set_webhooks(wrong_order=0.5)
    account.send_webhooks(DAY)
    orders: dict[int, list[str]] = defaultdict(list)
    for call_id, event in _reported(receiver):
        orders[call_id].append(event)
    counts = Counter(tuple(events) for events in orders.values())
    assert set(counts) == {(_STARTED, _OVER), (_OVER, _STARTED)}
    assert min(counts.values()) > 0.25 * len(orders)


def test_the_same_script_sends_the_same_and_another_seed_does_not() -> None:
    def run(seed: int) -> list[list[tuple[object, ...]]]:
        account = SimulatedAccount(
            AccountSettings(key=KEY, calls_per_day=40, seed=seed), clock=Clock(NOW)
        )
        with run_receiver() as receiver:
            account.set_webhooks(url=receiver.url, loss=0.2, duplicate=0.2, wrong_order=0.2)
            rounds = [_facts(account.send_webhooks(DAY)) for _ in range(2)]
            account.webhooks.close()
        return rounds

    first = run(5)
    assert run(5) == first
    assert run(6) != first
    assert first[0] != first[1], "the second round draws anew"


@settings(max_examples=examples(8))
@given(
    shares=st.tuples(*[st.sampled_from([0.0, 0.3, 1.0])] * 3),
    connections=st.integers(1, 9),
    statuses=st.lists(st.sampled_from([200, 204, 404, 500, 503, 0]), max_size=30),
)
def test_whatever_goes_wrong_the_record_is_what_came(
    account: SimulatedAccount,
    receiver: Receiver,
    shares: tuple[float, float, float],
    connections: int,
    statuses: list[int],
) -> None:
    """Every original once, lost or not; every payload answered with 2xx is one that came."""
    receiver.received.clear()
    receiver.replies.clear()
    receiver.replies.extend(Reply(status, hangs_up=status == 0) for status in statuses)
    loss, duplicate, wrong_order = shares
    account.set_webhooks(
        loss=loss, duplicate=duplicate, wrong_order=wrong_order, connections=connections
    )
    ids = _day_ids(account)[:12]
    done = account.send_webhooks(DAY, call_ids=ids)
    originals = Counter((each.call_id, each.event) for each in done if not each.is_duplicate)
    assert originals == Counter((each, event) for each in ids for event in (_STARTED, _OVER))
    came = Counter(each.payload for each in receiver.received)
    assert came == Counter(each.payload for each in done if each.outcome != "lost")
    assert not Counter(each.payload for each in done if each.is_accepted) - came
    assert Counter(each.status or 0 for each in done if each.outcome != "lost") == Counter(
        [*statuses, *[200] * 200][: len(receiver.received)]
    )


def test_a_burst_keeps_its_rate_over_several_kept_connections(
    account: SimulatedAccount, receiver: Receiver
) -> None:
    account.set_webhooks(connections=8)
    receiver.replies.extend([Reply(delay_sec=0.02)] * 1000)
    started = time.monotonic()
    done = account.send_webhooks(DAY, rate=100)
    seconds = time.monotonic() - started
    assert len(done) > 80
    assert seconds >= (len(done) - 1) / 100
    sent = sorted(each.sent_at.timestamp() for each in done)
    early = [at for n, at in enumerate(sent) if at - sent[0] < n / 100 - 0.05]
    assert not early
    assert len({each.connection for each in receiver.received}) == 8
    assert 2 <= receiver.most_at_once <= 8


def test_connections_are_kept_between_rounds_and_made_anew_when_dropped(
    account: SimulatedAccount, receiver: Receiver
) -> None:
    account.set_webhooks(connections=1)
    for _ in range(2):
        account.send_webhooks(DAY, new=1)
    assert len({each.connection for each in receiver.received}) == 1
    receiver.hang_up()
    time.sleep(0.05)
    done = account.send_webhooks(DAY, new=1)
    assert [each.status for each in done] == [200, 200]
    assert len({each.connection for each in receiver.received}) == 2


@pytest.mark.parametrize(
    ("reply", "outcome", "status", "problem"),
    [
        (Reply(404), "answered", 404, None),
        (Reply(503), "answered", 503, None),
        (Reply(hangs_up=True), "unanswered", None, "RemoteDisconnected"),
        (Reply(delay_sec=1.2), "unanswered", None, "TimeoutError"),
    ],
)
def test_a_failed_webhook_is_recorded_and_not_sent_again(
    account: SimulatedAccount,
    receiver: Receiver,
    *,
    reply: Reply,
    outcome: str,
    status: int | None,
    problem: str | None,
) -> None:
    account.set_webhooks(timeout_sec=0.5, connections=1)
    receiver.replies.append(reply)
    first, second = account.send_webhooks(DAY, new=1)
    assert (first.outcome, first.status, first.problem) == (outcome, status, problem)
    assert not first.is_accepted
    assert (second.outcome, second.status) == ("answered", 200)
    assert _reported(receiver) == [(first.call_id, _STARTED), (first.call_id, _OVER)]


def test_a_failed_webhook_is_tried_again_if_the_settings_say_so(
    account: SimulatedAccount, receiver: Receiver
) -> None:
    account.set_webhooks(tries=3, retry_wait_sec=0.05, connections=1)
    receiver.replies.extend([Reply(503), Reply(hangs_up=True), Reply(200), *[Reply(500)] * 3])
    done = account.send_webhooks(DAY, new=1)
    assert [(each.event, each.attempt, each.status) for each in done] == [
        *((_STARTED, 1, 503), (_STARTED, 2, None), (_STARTED, 3, 200)),
        *((_OVER, 1, 500), (_OVER, 2, 500), (_OVER, 3, 500)),
    ]
    assert (done[1].sent_at - done[0].sent_at).total_seconds() >= 0.05


def test_a_receiver_that_is_away_costs_no_more_than_its_webhooks(
    account: SimulatedAccount, receiver: Receiver
) -> None:
    with run_receiver() as other:
        account.set_webhooks(url=other.url)
    done = account.send_webhooks(DAY, new=2)
    assert {(each.outcome, each.problem) for each in done} == {
        ("unanswered", "ConnectionRefusedError")
    }
    account.set_webhooks(url=receiver.url)
    assert {each.status for each in account.send_webhooks(DAY, new=2)} == {200}


def test_the_record_is_asked_by_call_and_by_number(
    account: SimulatedAccount, receiver: Receiver
) -> None:
    done = account.send_webhooks(DAY, new=3)
    assert [each.number for each in account.list_deliveries()] == [1, 2, 3, 4, 5, 6]
    one = done[0].call_id
    assert {each.call_id for each in account.list_deliveries([one])} == {one}
    assert [each.number for each in account.list_deliveries(after=4)] == [5, 6]
    assert {each.address for each in account.list_deliveries()} == {receiver.url}
    assert all(each.sent_at.tzinfo is dt.UTC for each in done)
    assert all(each.answer_sec is not None and 0 < each.answer_sec < 5 for each in done)


def test_a_query_of_the_url_stays_before_that_of_the_call(
    account: SimulatedAccount, receiver: Receiver
) -> None:
    account.set_webhooks(url=f"{receiver.url}?kind=call", method="GET")
    done = account.send_webhooks(DAY, new=1, events=[_OVER])
    assert receiver.received[0].query == f"kind=call&{done[0].payload.decode()}"
    account.set_webhooks(method="POST")
    account.send_webhooks(DAY, new=1, events=[_OVER])
    assert receiver.received[1].query == "kind=call"


def test_no_log_record_and_no_text_shows_the_token(
    account: SimulatedAccount, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    receiver.replies.extend([Reply(500), Reply(hangs_up=True)])
    done = account.send_webhooks(DAY, new=2)
    account.set_webhooks(live=True)
    shown = f"{caplog.text} {done} {account.webhooks.settings}"
    with pytest.raises(ValueError, match="url is none; it is as http://host:8080/path") as caught:
        account.set_webhooks(url="ftp://host/s3cret-t0ken")
    assert "s3cret" not in shown + str(caught.value)


@pytest.mark.parametrize(
    ("switches", "message"),
    [
        ({"url": "http://ho st/x"}, "the webhooks' url is none"),
        ({"url": "http://host:99999/x"}, "the webhooks' url is none"),
        ({"url": "", "live": True}, "cannot be live without a url"),
        ({"loss": 1.5}, "loss is 1.5; it is a probability, 0 to 1"),
        ({"connections": 0}, "tries and connections are at least 1"),
        ({"names": {"colour": "x"}}, "no webhook has colour; names are given to a_type, "),
    ],
)
def test_impossible_settings_are_refused(
    account: SimulatedAccount, switches: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        account.set_webhooks(**switches)


def test_what_cannot_be_sent_is_refused(sim: RunningSimulator, receiver: Receiver) -> None:
    with pytest.raises(ValueError, match="account main sends no webhooks: set the url"):
        sim.account("main").send_webhooks(DAY)
    sim.account("main").set_webhooks(url=receiver.url)
    with pytest.raises(ValueError, match=r"rate is 0; it is more than 0"):
        sim.account("main").send_webhooks(DAY, rate=0)
    with pytest.raises(
        ValueError, match="2 calls of 2026-03-02 to 2026-03-02 were asked for; there"
    ):
        sim.account("main").send_webhooks(DAY, call_ids=[1, 2])
    assert receiver.received == []


def test_closing_ends_a_burst_that_is_under_way(sim: RunningSimulator, receiver: Receiver) -> None:
    account = sim.account("main")
    account.set_webhooks(url=receiver.url, duplicate=0.5)
    with ThreadPoolExecutor(1) as pool:
        burst = pool.submit(account.send_webhooks, DAY, rate=20)
        wait_until(lambda: len(receiver.received) > 2, "some are sent")
        account.webhooks.close()
        done = burst.result(timeout=60)
    assert 0 < len(done) < 30
    assert len(receiver.received) == len(done)
