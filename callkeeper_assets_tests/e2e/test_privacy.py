"""After masking and hashing no number is in clear anywhere: every table, every file, all printed.

Dagster's event log and what runs printed are among the tables and files. A planted number proves
that the search would find one.
"""

import os
from pathlib import Path

import pytest

from callkeeper_assets.simulator.server import run_simulator
from callkeeper_assets_tests.chaos.holds import hold, wait_for_servers_end_of_it
from callkeeper_assets_tests.chaos.installation import Installation
from callkeeper_assets_tests.e2e.clients import (
    FIRST,
    LAST,
    configure,
    do_everything,
    list_numbers,
    plant,
)
from callkeeper_assets_tests.e2e.clients import KEY as CLIENTS_KEY
from callkeeper_assets_tests.e2e.secret_search import Searcher
from callkeeper_assets_tests.extent import one_of
from callkeeper_assets_tests.privacy.writings import WRITINGS

KEY = "a key to hash with, long enough"


_MASK = "{phones: mask, ips: mask, user_agents: mask, recordings: mask}"
_HASH = "{phones: hash, key: {env: OFFICE_PRIVACY_KEY}, ips: drop, recordings: drop}"


# Masked, the same places are searched below, with the other API and after a change.
@pytest.mark.parametrize("privacy", one_of([_MASK, _HASH], chosen=_HASH))
def test_no_number_is_in_clear_anywhere(
    installation: Installation, postgres_server: object, privacy: str
) -> None:
    assert postgres_server
    installation.home.mkdir(parents=True)
    installation.variables["OFFICE_PRIVACY_KEY"] = KEY
    with run_simulator([]) as simulator:
        ids = plant(simulator)
        configure(installation, simulator.base_url, privacy)
        numbers = list_numbers(simulator)
        assert len(numbers) > 10
        searcher = Searcher([*(write(one) for one in numbers for write in WRITINGS), KEY])
        printed, spooled = do_everything(installation, ids)
        checked = installation.run("check", "office", "--json").document["findings"]
    assert [one["state"] for one in checked if one["what"] == "privacy"] == ["good"]
    assert spooled
    assert not searcher.is_in(printed.encode())
    assert list(searcher.search_tables(installation)) == []
    assert list(searcher.search_files(installation.home)) == []
    server_log = Path(os.environ["CALLKEEPER_TESTS_FOLDER"], "server", "postgres").resolve()
    logged = (server_log / "data" / "server.log").read_bytes().splitlines()
    assert [line for line in logged if searcher.is_in(line)] == []
    _check_what_is_left(installation, privacy)
    _check_that_the_search_finds(installation, searcher, next(iter(numbers)))


def test_no_number_of_the_unified_api_is_in_clear_anywhere(
    installation: Installation, postgres_server: object
) -> None:
    """Its fields have other names, and the list of webhooks repeats what they told."""
    assert postgres_server
    with run_simulator([]) as simulator:
        plant(simulator)
        installation.add_source(
            simulator.base_urls["ckct"], name="office", key=CLIENTS_KEY, api="ckct"
        )
        file = installation.defs / "office" / "defs.yaml"
        file.write_text(
            file.read_text()
            + "  privacy: {phones: mask, ips: mask, user_agents: mask, recordings: mask}\n"
            + "  reports:\n    - {name: all, fields: [clientNumber, managerNumber, hooks, tags]}\n"
        )
        searcher = Searcher(write(one) for one in list_numbers(simulator) for write in WRITINGS)
        period = ("--from", str(FIRST), "--to", str(LAST))
        for command in (
            ("load", "office", *period),
            ("refresh", "office"),
            ("reconcile", "office", *period),
            ("report", "office", "all", *period),
        ):
            ended = installation.run(*command)
            assert ended.code == 0, ended
    assert installation.query(
        "SELECT count(*) > 20, bool_and(client_phone LIKE '%%**') FROM callkeeper_calls "
        "WHERE client_phone IS NOT NULL"
    ) == [(True, True)]
    assert list(searcher.search_tables(installation)) == []
    assert list(searcher.search_files(installation.home)) == []


def test_a_changed_setting_is_applied_to_stored_calls(
    installation: Installation, postgres_server: object
) -> None:
    """Told by `check`, counted by a dry run, done by `protect`: nothing is asked of the source."""
    assert postgres_server
    with run_simulator([]) as simulator:
        ids = plant(simulator)
        configure(installation, simulator.base_url)
        do_everything(installation, ids)
        numbers = list_numbers(simulator)
        configure(installation, simulator.base_url, "{phones: mask, ips: mask}")
        hint = installation.run("check", "office", "--json")
    searcher = Searcher(write(one) for one in numbers for write in WRITINGS)
    assert "public.general_clientids" in list(searcher.search_tables(installation))
    [finding] = [one for one in hint.document["findings"] if one["what"] == "privacy"]
    assert finding["state"] == "warning"
    assert "callkeeper protect office" in finding["text"]
    dry = installation.run("protect", "office", "--dry-run", "--json")
    assert (dry.code, dry.document["calls"] > 20, dry.document["payloads"]) == (0, True, 6)
    assert "public.general_clientids" in list(searcher.search_tables(installation))
    with hold(installation, "LOCK TABLE callkeeper_loads IN EXCLUSIVE MODE") as held:
        process = installation.start("callkeeper_assets.cli.main", "protect", "office")
        held.wait_for_somebody()
        process.kill()
        process.communicate(timeout=60)
    wait_for_servers_end_of_it(installation)
    assert list(searcher.search_files(installation.home)) == []
    assert "public.general_clientids" in list(searcher.search_tables(installation))
    ended = installation.run("protect", "office", "--json")
    assert ended.code == 0, ended
    assert ended.document["calls"] == 0, "the killed one had rewritten them"
    assert list(searcher.search_tables(installation)) == []
    assert list(searcher.search_files(installation.home)) == []
    again = installation.run("check", "office", "--json").document["findings"]
    assert [one["state"] for one in again if one["what"] == "privacy"] == ["good"]


def _check_what_is_left(installation: Installation, privacy: str) -> None:
    """All was loaded, and where numbers are hashed, calls of one client have one hash."""
    rows = installation.query(
        "SELECT count(*), count(client_phone), count(DISTINCT client_phone) FILTER ("
        " WHERE call_id IN (SELECT call_id FROM callkeeper_calls WHERE tags LIKE 'Ivan%%')"
        " OR origin = 'webhook') FROM callkeeper_calls"
    )
    [(calls, phones, of_client)] = rows
    assert calls > 20
    assert phones == calls
    assert of_client == (1 if "hash" in privacy else 2)
    assert installation.query("SELECT count(*) FROM client_numbers WHERE phone IS NOT NULL")[0][0]
    assert installation.query("SELECT count(*) FROM callkeeper_rejects")[0][0]
    [(payloads,)] = installation.query("SELECT count(*) FROM callkeeper_webhooks")
    assert payloads == 6, "what came again, masked to the same, is kept once"


def _check_that_the_search_finds(
    installation: Installation, searcher: Searcher, number: str
) -> None:
    with installation.connect() as connection:
        connection.execute("UPDATE client_numbers SET words = %s", (f"+7{number}",))
    assert list(searcher.search_tables(installation)) == ["public.client_numbers"]
    (installation.home / "logs" / "planted.log").write_text(f"tel:8-{number[:3]}-{number}")
    assert list(searcher.search_files(installation.home)) == ["logs/planted.log"]
