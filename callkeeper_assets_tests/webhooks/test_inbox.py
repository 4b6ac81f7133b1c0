"""The inbox in a real database: each payload once, each coming counted once."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from callkeeper_assets.postgres import connect
from callkeeper_assets.webhooks.inbox import STORES_AT_ONCE, Connections, Inbox, InboxAwayError
from callkeeper_assets.webhooks.inbox_queries import (
    count_entries,
    list_entries,
    replay_rejected,
)
from callkeeper_assets.webhooks.payload import Delivery, number_receipts
from callkeeper_assets_tests.extent import examples
from callkeeper_assets_tests.waiting import wait_until
from callkeeper_assets_tests.webhooks.installation import PATIENCE_SEC

_NOW: Final = datetime(2026, 11, 1, 12, 30, 0, 123456, tzinfo=UTC)
_receipts = number_receipts()


def _deliver(body: bytes, source: str = "office", reason: str | None = None) -> Delivery:
    return Delivery(source, next(_receipts), _NOW, "json", body, "Call is over", 5, reason)


async def _store(*groups: Sequence[Delivery]) -> list[int]:
    inbox = Inbox()
    await inbox.connect()
    try:
        return [await inbox.store(group) for group in groups]
    finally:
        await inbox.close()


def store(*groups: Sequence[Delivery]) -> list[int]:
    """Store groups in their order by a new connection; return the repeats of each."""
    return asyncio.run(_store(*groups))


def test_a_payload_is_stored_as_received_with_all_that_is_known_of_it(database: str) -> None:
    assert store([_deliver(b"\0\xff{}"), _deliver(b"?", "clinic", "it is not JSON")]) == [0]
    with connect(database) as connection:
        rows = connection.execute(
            "SELECT a.name, received_at, event, call_id, format, body, digest, state, reason,"
            " processed_at FROM callkeeper_webhooks JOIN general_accounts AS a USING (account_id)"
            " ORDER BY 1 DESC"
        ).fetchall()
    good, bad = rows
    assert good[:6] == ("office", _NOW, "Call is over", 5, "json", b"\0\xff{}")
    # sha256sum of: json, a line's end, the body.
    assert good[6:] == (
        "b6eac30760b4ef573e0a045e78a157733558faf691d4081cf35215198691d53a",
        "new",
        None,
        None,
    )
    assert (bad[0], bad[5], bad[7:]) == ("clinic", b"?", ("rejected", "it is not JSON", _NOW))


def test_a_payload_that_comes_again_is_kept_once_and_counted(database: str) -> None:
    first, again, other = _deliver(b"a"), _deliver(b"a"), _deliver(b"a", "clinic")
    assert store([first, other], [again], [_deliver(b"a"), _deliver(b"a"), _deliver(b"b")]) == [
        0,
        1,
        2,
    ]
    counts = {each.source: each for each in count_entries(database, ["office", "clinic", "none"])}
    assert (counts["office"].new, counts["office"].repeats) == (2, 3)
    assert (counts["clinic"].new, counts["clinic"].repeats) == (1, 0)
    assert "none" not in counts
    entries = list_entries(database, ["office"], "new", 10)
    # The newest first.
    assert [entry.repeats for entry in entries] == [0, 3]


def test_a_repeat_does_not_wait_for_the_end_of_a_run_that_holds_the_row(database: str) -> None:
    """A load's transaction may take minutes; everybody who posts would wait with the repeat."""
    store([_deliver(b"a")])
    with connect(database) as run:
        run.execute("UPDATE callkeeper_webhooks SET state = 'processed'")
        assert store([_deliver(b"a"), _deliver(b"b")]) == [1]


@settings(max_examples=examples(8))
@given(
    st.lists(
        st.tuples(st.sampled_from(["office", "clinic"]), st.integers(0, 3)),
        min_size=1,
        max_size=12,
    ),
    st.data(),
)
def test_storing_again_changes_nothing_whatever_the_groups(
    database: str, comings: list[tuple[str, int]], data: st.DataObject
) -> None:
    """As after a commit that nobody heard of, or a drain that was killed: any part, any order."""
    with connect(database, autocommit=True) as connection:
        asyncio.run(_reach())
        connection.execute("TRUNCATE callkeeper_webhooks, callkeeper_webhook_repeats")
    everything = [_deliver(b"%d" % number, source) for source, number in comings]
    some = st.lists(st.sampled_from(everything), min_size=1)
    store(*data.draw(st.lists(some, max_size=4)), everything)
    with connect(database) as connection:
        rows: list[tuple[Any, ...]] = connection.execute(
            "SELECT a.name, body, (SELECT count(*) FROM callkeeper_webhook_repeats AS r"
            " WHERE r.account_id = w.account_id AND r.webhook_id = w.id)"
            " FROM callkeeper_webhooks AS w JOIN general_accounts AS a USING (account_id)"
        ).fetchall()
    found = {(name, int(body)): 1 + repeats for name, body, repeats in rows}
    assert found == Counter(comings)


async def _reach() -> None:
    inbox = Inbox()
    await inbox.connect()
    await inbox.close()


def test_several_receivers_store_the_same_payloads_side_by_side(database: str) -> None:
    async def store_side_by_side() -> list[int]:
        inboxes = [Inbox() for _ in range(4)]
        for inbox in inboxes:
            await inbox.connect()
        repeats = [0] * len(inboxes)

        async def run(number: int) -> None:
            for round_ in range(20):
                bodies = [b"%d-%d" % (round_, each) for each in range(10)]
                group = [_deliver(body) for body in (bodies if number % 2 else reversed(bodies))]
                repeats[number] += await inboxes[number].store(group)

        await asyncio.gather(*(run(number) for number in range(4)))
        for inbox in inboxes:
            await inbox.close()
        return repeats

    assert sum(asyncio.run(store_side_by_side())) == 3 * 200
    [counts] = count_entries(database, ["office"])
    assert (counts.new, counts.repeats) == (200, 600)


_WAIT: Final = (
    "SELECT count(*) FROM pg_stat_activity"
    " WHERE datname = current_database() AND application_name = 'callkeeper webhooks'"
    " AND wait_event_type = 'Lock'"
)
_END_ALL: Final = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE datname = current_database() AND application_name = 'callkeeper webhooks'"
)


def test_stores_that_are_cut_off_together_say_so_and_can_be_done_again(database: str) -> None:
    """All under way, and who waits for a connection, hear of it; then it is connected anew."""
    groups = [[_deliver(b"%d" % number)] for number in range(STORES_AT_ONCE + 1)]

    async def cut_off(inbox: Inbox) -> None:
        with connect(database) as other:
            other.execute("LOCK TABLE callkeeper_webhooks")
            stores = [asyncio.create_task(inbox.store(group)) for group in groups]
            await asyncio.to_thread(
                wait_until,
                lambda: other.execute(_WAIT).fetchone() == (STORES_AT_ONCE,),
                "they wait",
                PATIENCE_SEC,
            )
            other.execute(_END_ALL)
        results = await asyncio.gather(*stores, return_exceptions=True)
        assert [type(result) for result in results] == [InboxAwayError] * len(groups)
        assert not inbox.is_connected

    async def run() -> list[int]:
        inbox = Inbox()
        await inbox.connect()
        await inbox.store([_deliver(b"before")])
        await cut_off(inbox)
        await inbox.connect()
        repeats = [await inbox.store(group) for group in groups]
        await inbox.close()
        return repeats

    assert asyncio.run(run()) == [0] * len(groups)
    [counts] = count_entries(database, ["office"])
    assert (counts.new, counts.repeats) == (1 + len(groups), 0)


def test_a_store_under_way_ends_well_on_its_own_connection_when_others_are_made(
    database: str,
) -> None:
    group = [_deliver(b"1"), _deliver(b"2", "clinic")]

    async def run() -> int:
        inbox = Inbox()
        await inbox.connect()
        await inbox.store([_deliver(b"0"), _deliver(b"0", "clinic")])
        with connect(database) as other:
            other.execute("LOCK TABLE callkeeper_webhooks")
            store = asyncio.create_task(inbox.store(group))
            await asyncio.to_thread(
                wait_until,
                lambda: other.execute(_WAIT).fetchone() == (1,),
                "it waits",
                PATIENCE_SEC,
            )
            await inbox.connect()
        repeats = await store
        assert await inbox.store(group) == 0
        await inbox.close()
        return repeats

    assert asyncio.run(run()) == 0
    counts = count_entries(database, ["office", "clinic"])
    assert [(each.new, each.repeats) for each in counts] == [(2, 0), (2, 0)]


def test_no_connection_is_unused_for_long(database: str) -> None:
    """A balancer between would end it without a word."""

    async def run() -> list[int]:
        connections = await Connections.open(database, 2)
        pids = []
        for _ in range(4):
            async with connections.take() as connection:
                pids.append(connection.info.backend_pid)
        await connections.give_up()
        return pids

    first, second, *again = asyncio.run(run())
    assert first != second
    assert again == [first, second]


def test_a_load_and_a_webhook_make_one_account(database: str) -> None:
    """Whoever is first; the webhook's number is the load's."""
    store([_deliver(b"a")])
    store([_deliver(b"b")])
    with connect(database) as connection:
        rows = connection.execute(
            "SELECT id = account_id, caption, status, service FROM general_accounts"
            " WHERE name = 'office'"
        ).fetchall()
    assert rows == [(True, "office", "new", "CallKeeper")]


def test_a_database_that_is_not_there_is_said_without_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CALLKEEPER_DATABASE_URL", "postgresql://me:word-of-pass@127.0.0.1:1/x")
    with pytest.raises(InboxAwayError) as caught:
        store([])
    assert "postgresql://me@127.0.0.1:1/x" in str(caught.value)
    assert "word-of-pass" not in str(caught.value)


def test_rejected_payloads_are_listed_and_wait_again_after_a_replay(database: str) -> None:
    store([_deliver(b"a", reason="it is not JSON"), _deliver(b"b"), _deliver(b"c", "clinic", "x")])
    [entry] = list_entries(database, ["office"], "rejected", 10)
    assert (entry.source, entry.size_bytes, entry.reason) == ("office", 1, "it is not JSON")
    assert replay_rejected(database, ["office"]) == 1
    assert list_entries(database, ["office"], "rejected", 10) == []
    assert {each.reason for each in list_entries(database, ["office"], "new", 10)} == {None}
    [clinic] = count_entries(database, ["clinic"])
    assert (clinic.new, clinic.rejected) == (0, 1)
    [office] = count_entries(database, ["office"])
    assert (office.new, office.oldest_new_at, office.newest_at) == (2, _NOW, _NOW)
    assert office.oldest_new_at is not None
    assert office.oldest_new_at.utcoffset() == timedelta(0)
