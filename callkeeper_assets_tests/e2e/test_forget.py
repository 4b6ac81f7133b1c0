"""After `callkeeper forget` one client's number is nowhere, and nothing brings it back.

Not a load of the same days, not a webhook of the same call. A dry run tells what a real run does, a
kill in the middle leaves what the next run ends. Other clients' calls are as they were.
"""

import json
import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from callkeeper_assets.simulator.server import RunningSimulator, run_simulator
from callkeeper_assets_tests.chaos.holds import hold, wait_for_servers_end_of_it
from callkeeper_assets_tests.chaos.installation import Installation
from callkeeper_assets_tests.e2e.clients import (
    FIRST,
    LAST,
    NATIONAL,
    WEBHOOK_CALL,
    build_payloads,
    configure,
    do_everything,
    plant,
    send,
)
from callkeeper_assets_tests.e2e.secret_search import Searcher
from callkeeper_assets_tests.extent import IS_LONG
from callkeeper_assets_tests.privacy.writings import WRITINGS
from callkeeper_assets_tests.processes import children_of

PHONE = "8 (926) 804-73-15"
SEARCHER = Searcher(write(NATIONAL) for write in WRITINGS)

_OTHERS = """
    SELECT c.*, f.*, v.*, t.* FROM callkeeper_calls AS c
    JOIN callkeeper_calls_facts AS f ON (f.account_id, f.calls_id) = (c.account_id, c.id)
    JOIN general_clientids AS v ON v.id = f.clientids_id
    JOIN general_traffic AS t ON t.id = f.traffic_id
    WHERE NOT call_id = ANY(%s) ORDER BY call_id
"""

# Tables in the order in which they are written.
_STEPS = (
    "callkeeper_forgotten_calls",
    "callkeeper_webhooks",
    "callkeeper_loads",
    "callkeeper_reports",
    "general_clientids",
)


@pytest.fixture
def world(installation: Installation) -> Iterator[tuple[RunningSimulator, tuple[int, int, int]]]:
    """The source, its calls loaded, its webhooks taken and processed."""
    with run_simulator([]) as simulator:
        ids = plant(simulator)
        configure(installation, simulator.base_url)
        do_everything(installation, ids)
        # One more answer with the number, which the guard keeps beside the day; half a file.
        day = installation.home / "raw" / "office" / str(LAST.year) / f"{LAST}.parquet"
        day.with_name(f"{LAST}.parquet.refused").write_bytes(day.read_bytes())
        day.with_name(f".{LAST}.parquet.{'a' * 32}").write_bytes(f"+7{NATIONAL}".encode())
        yield simulator, ids


def read_others(installation: Installation, ids: tuple[int, int, int]) -> list[tuple[Any, ...]]:
    """Rows of calls that are not the client's, and do not mention it."""
    return installation.query(_OTHERS, [*ids, WEBHOOK_CALL])


def find(installation: Installation) -> list[str]:
    """Where the number is, in any writing."""
    tables = SEARCHER.search_tables(installation)
    return [*tables, *SEARCHER.search_files(installation.home)]


def check_what_is_left(installation: Installation, ids: tuple[int, int, int]) -> None:
    """The calls are there, without the person; the mention's own client is."""
    rows = installation.query(
        "SELECT call_id, client_phone IS NULL, tags IS NULL, ip IS NULL, user_agent IS NULL,"
        " clientids_id = 1, f.duration_sec IS NOT NULL OR"
        " c.origin = 'webhook'"
        " FROM callkeeper_calls AS c JOIN callkeeper_calls_facts AS f"
        " ON (f.account_id, f.calls_id) = (c.account_id, c.id) WHERE call_id = ANY(%s)",
        [*ids, WEBHOOK_CALL],
    )
    found = {call_id: rest for call_id, *rest in rows}
    assert found.keys() == {*ids, WEBHOOK_CALL}
    for call_id in (*ids[:2], WEBHOOK_CALL):
        assert found[call_id][:5] == [True] * 5
        assert found[call_id][5]
    assert not found[ids[2]][0]
    assert installation.query("SELECT tags FROM callkeeper_calls WHERE call_id = %s", ids[2]) == [
        ("for ***",)
    ]


def check_what_is_exported(installation: Installation, ids: tuple[int, int, int]) -> None:
    """All that is held on the client, wherever the number stands, and nobody else's calls."""
    file = installation.home.parent / "client.json"
    exported = installation.run("export", PHONE, "--output", str(file))
    assert exported.code == 0, exported
    assert not SEARCHER.is_in((exported.stdout + exported.stderr).encode())
    assert file.stat().st_mode & 0o777 == 0o600
    document = json.loads(file.read_text())
    held = document["tables"]
    assert {row["call_id"] for row in held["callkeeper_calls"]} == {*ids, WEBHOOK_CALL}
    assert len(held["callkeeper_calls_facts"]) == 4
    assert {row["call_id"] for row in held["callkeeper_reports"]} >= set(ids)
    assert {row["callkeeper_call_id"] for row in held["client_numbers"]} >= set(ids)
    assert any(SEARCHER.is_in(str(row).encode()) for row in held["general_clientids"])
    source = document["sources"]["office"]
    assert {int(one["call"]["id"]) for one in source["raw_calls"]} == set(ids)
    assert sum(one["refused_answer"] for one in source["raw_calls"]) == 2
    assert len(source["webhook_payloads"]) == 6
    assert installation.run("export", PHONE, "--output", str(file)).code == 2
    assert installation.run("export", "+7 903 000-00-00").document["sources"] == {}


def check_the_record(installation: Installation, request_id: str) -> None:
    """It says what was found, and that nothing is left; Dagster has the runs, as the UI shows."""
    [(found, is_finished, left_over, has_hash)] = installation.query(
        "SELECT found ->> 'calls', finished_at IS NOT NULL, left_over, number_hash LIKE 'last9%%'"
        " FROM callkeeper_erasures WHERE request_id = %s",
        request_id,
    )
    assert (found, is_finished, left_over, has_hash) == ("3", True, {}, True)
    runs = "SELECT pipeline_name, status FROM dagster.runs WHERE pipeline_name IN (%s, %s)"
    found_runs = installation.query(runs, "forget", "export")
    assert found_runs.count(("forget", "SUCCESS")) == 3
    assert found_runs.count(("export", "SUCCESS")) == 2
    verified = installation.run("erasures", "--verify", request_id, "--json")
    assert verified.code == 0, verified
    assert [one["left_over"] for one in verified.document["erasures"]] == [{}]


@pytest.mark.timeout(900)
def test_a_client_is_nowhere_and_does_not_come_back(
    installation: Installation, world: tuple[RunningSimulator, tuple[int, int, int]]
) -> None:
    _, ids = world
    tables = set(find(installation))
    assert {
        "public.callkeeper_calls",
        "public.general_clientids",
        "callkeeper_internal.callkeeper_webhooks",
        "public.callkeeper_reports",
        "public.client_numbers",
        "callkeeper_internal.callkeeper_rejects",
    } <= tables, "else nothing is proved"
    others = read_others(installation, ids)
    before = find(installation)
    check_what_is_exported(installation, ids)
    dry = installation.run("forget", PHONE, "--dry-run", "--json")
    assert dry.code == 0, dry
    assert find(installation) == before
    forgotten = installation.run("forget", PHONE, "--json")
    assert forgotten.code == 0, forgotten
    assert forgotten.document["found"] == dry.document["found"]
    [source] = dry.document["found"]["sources"]
    assert (source["calls"], source["mentions"], source["raw_calls"]) == (3, 1, 5)
    assert source["payloads"] == 6
    assert find(installation) == []
    assert read_others(installation, ids) == others
    check_what_is_left(installation, ids)
    again = installation.run("forget", PHONE)
    assert again.code == 0
    assert "nowhere" in again.stdout
    check_the_record(installation, forgotten.document["request_id"])
    printed = [one.stdout + one.stderr for one in (dry, forgotten, again)]
    assert not SEARCHER.is_in("".join(printed).encode())

    assert installation.load(FIRST, LAST, "office", force=True).code == 0
    send(installation, build_payloads(ids)[:3], away=True)
    send(installation, build_payloads(ids)[:3], away=False)
    for words in (
        ("inbox", "office", "--process"),
        ("reconcile", "office", "--from", str(FIRST), "--to", str(LAST)),
        ("report", "office", "everything", "--from", str(FIRST), "--to", str(LAST)),
    ):
        assert installation.run(*words).code == 0
    assert find(installation) == []
    check_what_is_left(installation, ids)


@pytest.mark.timeout(900)
def test_what_kills_leave_the_next_run_ends(
    installation: Installation, world: tuple[RunningSimulator, tuple[int, int, int]]
) -> None:
    """Killed at each step, again and again, before the calls are noted and after."""
    _, ids = world
    others = read_others(installation, ids)
    for table in _STEPS if IS_LONG else (_STEPS[0], _STEPS[-1]):
        with hold(installation, f"LOCK TABLE {table} IN EXCLUSIVE MODE") as held:
            process = installation.start("callkeeper_assets.cli.main", "forget", PHONE)
            held.wait_for_somebody()
            # The process that erases, not the command that waits for it.
            for worker in children_of(process.pid):
                os.kill(worker, signal.SIGKILL)
            _, said = process.communicate(timeout=60)
        assert process.returncode == 1
        assert "was killed" in said
        wait_for_servers_end_of_it(installation)
        # What it waits to do when it is killed, the server may do all the same.
        assert table == _STEPS[-1] or find(installation), f"killed before it wrote to {table}"
    ended = installation.run("forget", PHONE)
    assert ended.code == 0, ended
    assert find(installation) == []
    check_what_is_left(installation, ids)
    assert read_others(installation, ids) == others
    open_requests = "SELECT count(*) FROM callkeeper_erasures WHERE finished_at IS NULL"
    assert installation.query(open_requests) == [(0,)]
