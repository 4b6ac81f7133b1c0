"""`callkeeper reconcile` and `history`, from the simulated source into a real database."""

from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest

from callkeeper_assets.postgres.url import connect
from callkeeper_assets.simulator.server import RunningSimulator
from callkeeper_assets_tests.cli.conftest import (
    CALLS_PER_DAY,
    KEY,
    callkeeper,
    days_ago,
    write_source,
)
from callkeeper_assets_tests.templates import from_nothing

pytestmark = pytest.mark.e2e

# Far enough back that every call is final.
FIRST, MIDDLE, LAST = days_ago(13), days_ago(12), days_ago(11)
PERIOD = ("--from", FIRST, "--to", LAST)


def ask(url: str, statement: str) -> list[tuple[Any, ...]]:
    """Run a statement and return its rows, if it has any."""
    with connect(url) as connection:
        cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


@from_nothing
def test_what_differs_is_reported_healed_and_remembered(
    main_office: RunningSimulator, database: str
) -> None:
    """One story, as each of its steps takes seconds."""
    account = main_office.account("main")
    assert callkeeper("load", "main_office", *PERIOD).code == 0
    (change,) = account.change(date.fromisoformat(MIDDLE), 1, column="attempt")
    (added,) = account.add(date.fromisoformat(LAST), 1)

    looked = callkeeper("reconcile", "main_office", *PERIOD, "--dry-run")
    assert looked.code == 1, "something is left open"
    assert "main_office: 3 days to compare" in looked.err
    assert f"{change.call_id}  attempt " in looked.out
    assert f"{added.call_id}  missing in the warehouse " in looked.out
    assert looked.out.count(" open\n") == 2
    assert f"Compared: 3 days, {3 * CALLS_PER_DAY + 1} calls." in looked.out
    assert "Dry run: nothing was changed." in looked.out
    assert ask(database, "SELECT count(*) FROM callkeeper_discrepancies") == [(0,)]

    healed = callkeeper("reconcile", "main_office", *PERIOD, "--json")
    assert healed.code == 0, healed.err
    document = healed.document()
    assert (document["ok"], document["heals"], document["dry_run"]) == (True, True, False)
    assert (document["found"], document["healed"], document["left"]) == (2, 2, 0)
    assert document["days"] == 3
    assert document["tables"]["callkeeper_calls_facts"] == {"added": 1, "updated": 1, "deleted": 0}
    first, second = document["discrepancies"]
    assert first == {
        "day": MIDDLE,
        "call_id": change.call_id,
        "parameter": "attempt",
        "kind": "differs",
        "warehouse_value": str(change.old),
        "source_value": str(change.new),
        "is_healed": True,
    }
    assert (second["call_id"], second["kind"]) == (added.call_id, "missing_in_warehouse")

    again = callkeeper("reconcile", "main_office", *PERIOD)
    assert (again.code, "nothing differs" in again.out) == (0, True)

    status = callkeeper("status")
    # On this machine's clock, which may have another day than the source.
    its_day = datetime.now().astimezone().date()
    assert f"main_office: compared with the source on {its_day}" in status.out
    assert "2 discrepancies found, 2 healed; open: 0" in status.out

    history = callkeeper("history", str(change.call_id), "--json")
    (reported,) = history.document()["sources"]
    assert reported["source"] == "main_office"
    assert [event["kind"] for event in reported["events"]] == [
        "load",
        "found",
        "load",
        "healed",
        "load",
    ]
    assert reported["events"][0]["details"]["tables"]["callkeeper_calls"]["added"] == CALLS_PER_DAY
    assert reported["events"][1]["run_id"] == reported["events"][3]["run_id"]
    assert (reported["present"]["attempt"], reported["present"]["origin"]) == (change.new, "api")
    plain = callkeeper("history", str(change.call_id), "--source", "main_office")
    assert f"attempt was {change.old}, the source says {change.new}" in plain.out
    assert f"attempt {change.new}" in plain.out


@pytest.mark.usefixtures("main_office")
def test_a_call_that_only_webhooks_know_has_a_history_and_an_unknown_one_has_none(
    database: str,
) -> None:
    assert callkeeper("load", "main_office", *PERIOD).code == 0
    ask(
        database,
        "INSERT INTO callkeeper_webhooks (account_id, id, received_at, event, call_id, format, "
        "body, digest, receipt, state, reason) SELECT account_id, 5, now(), 'Call is over', 77, "
        "'json', '{}', 'd', gen_random_uuid(), 'processed', 'no change' FROM general_accounts "
        "WHERE name = 'main_office'",
    )
    ask(
        database,
        "INSERT INTO callkeeper_webhook_repeats (account_id, receipt, webhook_id, received_at) "
        "SELECT account_id, gen_random_uuid(), id, now() FROM callkeeper_webhooks, "
        "generate_series(1, 2)",
    )
    done = callkeeper("history", "77")
    assert done.code == 0, done.err
    assert "webhook Call is over: processed (no change), came 2 times more" in done.out
    assert "Now: not in the tables." in done.out
    unknown = callkeeper("history", "78")
    assert (unknown.code, unknown.out) == (1, "")
    assert "Nothing is known of call 78 in main_office" in unknown.err


def test_an_answer_that_the_guard_refuses_fails_with_the_command_that_does_it(
    main_office: RunningSimulator, database: str
) -> None:
    assert callkeeper("load", "main_office", *PERIOD).code == 0
    main_office.account("main").remove(date.fromisoformat(MIDDLE), CALLS_PER_DAY)
    done = callkeeper("reconcile", "main_office", *PERIOD)
    assert done.code == 1
    command = f"callkeeper reconcile main_office --from {MIDDLE} --to {MIDDLE} --force"
    assert command in done.err
    assert "Compared: 2 days, 60 calls: nothing differs." in done.out
    assert ask(database, "SELECT count(*) FROM callkeeper_calls") == [(3 * CALLS_PER_DAY,)]
    forced = callkeeper(*command.split()[1:])
    assert (forced.code, forced.out.count("missing at the source")) == (0, CALLS_PER_DAY + 1)


@pytest.mark.usefixtures("database")
def test_days_that_the_source_does_not_give_are_left_alone(
    defs: Path, simulator: RunningSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRIAL_API_KEY", KEY)
    write_source(defs, "trial", f"base_url: {simulator.base_url}", "history_days: 2")
    done = callkeeper("reconcile", "trial", "--from", days_ago(4), "--to", days_ago(1), "--json")
    assert (done.document()["days"], done.document()["days_left_alone"]) == (2, 2)
    early = callkeeper("reconcile", "trial", "--from", days_ago(9), "--to", days_ago(5))
    assert early.code == 2
    assert "is too early for source 'trial': the plan gives 2 days back" in early.err


@pytest.mark.usefixtures("database")
def test_a_source_without_calls_in_its_tables_has_nothing_to_compare(
    defs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATES_API_KEY", KEY)
    write_source(defs, "dates", "tables: [general_dates]")
    done = callkeeper("reconcile", "dates", *PERIOD)
    assert done.code == 2
    assert "'dates' has nothing to compare: callkeeper_calls is not among its tables" in done.err


@pytest.mark.usefixtures("database")
def test_several_sources_are_compared_reported_and_cleared_by_one_command(
    defs: Path, simulator: RunningSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    days = ("start_date: " + days_ago(4), "reconciliation: {days: 3}")
    report = ("reports:", "  - {name: ids, fields: [id]}")
    for name, *more in (
        ("first", *days, *report),
        ("second", *days, *report, "retention: {keep_days: 2}"),
        ("third", *days, "tables: [general_dates]"),
    ):
        monkeypatch.setenv(f"{name.upper()}_API_KEY", KEY)
        write_source(defs, name, f"base_url: {simulator.base_url}", *more)
    # Before its retention begins, the second held more.
    assert callkeeper("load", "--all", "--to", "yesterday").code == 0
    simulator.account("main").change(date.fromisoformat(days_ago(1)), 1, column="attempt")

    looked = callkeeper("reconcile", "--all", "--dry-run", "--json")
    assert looked.code == 1
    assert "Left out: Source 'third' has nothing to compare" in looked.err
    assert [
        (one["source"], one["days"], one["found"], one["left"])
        for one in looked.document()["sources"]
    ] == [("first", 3, 1, 1), ("second", 2, 1, 1)]
    healed = callkeeper("reconcile", "first", "second", "--from", "yesterday")
    assert (healed.code, healed.out.count("healed\n")) == (0, 2)
    assert healed.out.index("first:\n") < healed.out.index("second:\n")

    cleared = callkeeper("retain", "--all", "--json")
    assert cleared.code == 0, cleared.err
    assert [one["source"] for one in cleared.document()["sources"]] == ["second"]
    assert cleared.err.count("keeps its calls for ever") == 2
    both = callkeeper("retain", "first", "second")
    assert (both.code, "Source 'first' keeps its calls for ever" in both.err) == (2, True)

    built = callkeeper(
        "report", "--all", "ids", "--from", days_ago(2), "--to", "yesterday", "--json"
    )
    assert built.code == 0, built.err
    assert [one["days"] for one in built.document()["sources"]] == [2, 2]
    shown = callkeeper("report", "first", "second", "ids", "--preview")
    assert (shown.code, "--preview shows one source: name it." in shown.err) == (2, True)
