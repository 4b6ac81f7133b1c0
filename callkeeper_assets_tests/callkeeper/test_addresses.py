"""The unified API at either of its addresses, however `base_url` is written.

A key goes to no other host: a redirect is never followed.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest

from callkeeper_assets.callkeeper.client import CallKeeperClient
from callkeeper_assets.callkeeper.records import BASE_URLS, AbortError, list_addresses
from callkeeper_assets.simulator.server import RunningSimulator, run_simulator
from callkeeper_assets.simulator.settings import AccountSettings, AnswerSettings, Fault
from callkeeper_assets_tests.callkeeper.conftest import KEY, QUICK, ConnectTo, fetch_day
from callkeeper_assets_tests.callkeeper.fake_source import (
    Answer,
    Asked,
    json_answer,
    run_fake_source,
)
from callkeeper_assets_tests.callkeeper.test_unified import call, failure, read_path

DAY = date(2026, 3, 2)
WRITTEN = ["/api/", "/api", "/api?", "/api/?", "/api/index.php", "/api/index.php?", "", "/"]


@contextmanager
def _open(written: str, **switches: object) -> Iterator[tuple[CallKeeperClient, RunningSimulator]]:
    account = AccountSettings(key=KEY, name="m", calls_per_day=30, only_api="ckct")
    answers = AnswerSettings(**switches)  # type: ignore[arg-type]
    with (
        run_simulator([account], answers=answers, now=datetime(2026, 6, 1, tzinfo=UTC)) as sim,
        CallKeeperClient(
            source="m",
            api_key=KEY,
            api="ckct",
            base_url=sim.base_url + written,
            time_zone=ZoneInfo("Europe/Moscow"),
            retry=QUICK,
            timeout_sec=5,
        ) as client,
    ):
        yield client, sim


def _first_page(asked: Asked) -> Answer:
    page, _, _ = read_path(asked)
    return failure("Incorrect page is set") if page else json_answer([call(3)])


def test_the_folder_is_the_default() -> None:
    assert BASE_URLS["ckct"] == "https://ckct.ru/api/"
    assert list_addresses("ckct", BASE_URLS["ckct"]) == (
        "https://ckct.ru/api/",
        "https://ckct.ru/api/index.php",
    )


@pytest.mark.parametrize("written", WRITTEN)
@pytest.mark.parametrize("elsewhere", ["not_found", "redirect"])
@pytest.mark.parametrize("place", ["both", "folder", "index_php"])
def test_calls_come_from_whichever_address_answers(
    written: str, elsewhere: str, place: str
) -> None:
    with _open(written, unified_address=place, unified_elsewhere=elsewhere) as (client, sim):
        day = fetch_day(client, DAY)
        assert len(day) == sim.account("m").truth(DAY, DAY, api="ckct").count > 10
        assert client.get_user_info().paid_till is None
        ends = {"folder": "/api/", "index_php": "/api/index.php"}
        if place != "both":
            assert client.address == sim.base_url + ends[place]


@pytest.mark.parametrize(
    ("written", "paths"),
    [
        ("/api", ["/api/", "/api/index.php"]),
        ("/api/index.php", ["/api/index.php", "/api/"]),
        ("/gate/api", ["/gate/api/", "/gate/api/index.php"]),
    ],
)
def test_the_written_one_is_tried_first_and_the_one_that_answers_is_remembered(
    written: str, paths: list[str]
) -> None:
    asked: list[str] = []

    def answer(request: Asked) -> Answer:
        asked.append(f"/{request.method}")
        is_here = asked[-1].rstrip("/") == paths[1].rstrip("/")
        return _first_page(request) if is_here else Answer(b"<html>nothing</html>", 404)

    with (
        run_fake_source(answer) as source,
        CallKeeperClient(
            source="m",
            api_key=KEY,
            api="ckct",
            base_url=source.base_url + written,
            time_zone=ZoneInfo("Europe/Moscow"),
        ) as client,
    ):
        assert [fetch_day(client, DAY).call_ids for _ in range(3)] == [[3]] * 3
        assert client.address == source.base_url + paths[1]
    assert [each.rstrip("/") for each in asked[:2]] == [each.rstrip("/") for each in paths]
    assert asked[0].rstrip("/") not in {each.rstrip("/") for each in asked[1:]}


def test_a_redirect_to_another_host_is_never_followed_and_is_named_without_the_key(
    connect_to: ConnectTo,
) -> None:
    with run_fake_source(lambda _: json_answer([])) as thief:
        target = f"{thief.base_url}/api/?json/v3/{KEY}/call/get"
        client, source = connect_to(lambda _: Answer(b"", 302, {"Location": target}), api="ckct")
        with pytest.raises(AbortError) as caught:
            fetch_day(client, DAY)
        assert not thief.asked
    text = str(caught.value)
    assert "HTTP 302 'a redirect to http://127.0.0.1'" in text
    assert "and nothing better at /api/, /api/index.php" in text
    assert KEY not in text
    assert len(source.asked) == 3


@pytest.mark.parametrize("status", [403, 404, 405, 410])
def test_a_web_servers_refusal_is_answered_by_the_other_address_and_the_apis_own_is_not(
    connect_to: ConnectTo, status: int
) -> None:
    def refuse(asked: Asked) -> Answer:
        if asked.method == "api/index.php":
            return _first_page(asked)
        return Answer(b"<html>Forbidden</html>", status)

    client, source = connect_to(refuse, api="ckct")
    assert fetch_day(client, DAY).call_ids == [3]
    assert len(source.asked) == 3 + 1, "three addresses, then the page after the first"
    words = failure("User is not recognized").body
    client, source = connect_to(lambda _: Answer(words, status), api="ckct")
    with pytest.raises(AbortError, match="User is not recognized"):
        fetch_day(client, DAY)
    assert len(source.asked) == 1


def test_a_passing_problem_changes_no_address() -> None:
    with _open("/api/") as (client, sim):
        sim.account("m").set_faults(Fault("server_error", times=2))
        assert len(fetch_day(client, DAY)) > 10
        assert client.address == f"{sim.base_url}/api/"
