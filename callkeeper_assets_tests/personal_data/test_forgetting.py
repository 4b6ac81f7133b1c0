"""One client out of tables, raw files and the inbox, whatever of them is there.

The whole way, by processes, is in `e2e/test_forget.py`; here are the cases that it does not meet:
files that are gone, sources that are configured no more, hashes, managers, loads under way.
"""

import json
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from callkeeper_assets.config.source import Privacy
from callkeeper_assets.personal_data.exporting import export_client
from callkeeper_assets.personal_data.forgetting import Forgetter, Forgotten
from callkeeper_assets.personal_data.shield import build_shield
from callkeeper_assets.postgres import connect
from callkeeper_assets.postgres.locks import held_source_lock
from callkeeper_assets.privacy.numbers import has_number
from callkeeper_assets.privacy.rule import Rule, hash_number, mask_number
from callkeeper_assets.raw.store import RawStore
from callkeeper_assets.warehouse.migrate import ensure_schema
from callkeeper_assets.warehouse.tables import TABLES
from callkeeper_assets_tests.extent import examples
from callkeeper_assets_tests.privacy.writings import WRITINGS
from callkeeper_assets_tests.waiting import wait_until
from callkeeper_assets_tests.warehouse.raw_days import DAY, Call, moment_of, rows
from callkeeper_assets_tests.webhooks.inbox_of import PROCESSING, Office, answered, payload

NUMBER: Final = "79161234567"
WRITTEN: Final = "8 (916) 123-45-67"


@pytest.fixture
def office(database: str, tmp_path: Path) -> Office:
    """A source with an empty database and no raw calls."""
    ensure_schema(database)
    return Office(database, RawStore(str(tmp_path / "raw")))


def forget(office: Office, *, is_dry: bool = False, configured: bool = True) -> Forgotten:
    """Forget the client."""
    sources = [office.source] if configured else []
    forgetter = Forgetter(office.url, office.store, sources, lambda _: None)
    return forgetter.forget(NUMBER, is_dry=is_dry)


def list_places(office: Office, number: str = NUMBER) -> list[str]:
    """Where the number stands: tables, and raw days."""
    found = []
    with psycopg.connect(office.url) as connection:
        for table in TABLES:
            for row in connection.execute(f"SELECT * FROM {table}".encode()).fetchall():
                texts = [
                    bytes(value).decode() if isinstance(value, bytes | memoryview) else str(value)
                    for value in row
                ]
                if any(has_number(text, number) for text in texts):
                    found.append(table)
    for day in office.store.list_days(office.source.name):
        calls = office.store.read(office.source.name, day).calls
        if any(has_number(text, number) for text in calls["payload"].to_pylist()):
            found.append(str(day))
    return sorted(set(found))


def read_calls(office: Office) -> dict[int, Mapping[str, Any]]:
    """Each call's row."""
    with psycopg.connect(office.url, row_factory=psycopg.rows.dict_row) as connection:
        found = connection.execute("SELECT * FROM callkeeper_calls ORDER BY call_id").fetchall()
    return {row["call_id"]: row for row in found}


def calls_of_client() -> list[Call]:
    """Two calls of the client, one of another."""
    return [
        answered(1, minute=1, phone2=f"+{NUMBER}"),
        answered(2, minute=2, phone2=WRITTEN, tags="asked for Ivan"),
        answered(3, minute=3, phone2="+79031112233"),
    ]


@pytest.mark.parametrize("configured", [True, False], ids=["configured", "folder_deleted"])
@pytest.mark.parametrize("has_raw", [True, False], ids=["raw_there", "raw_gone"])
def test_a_client_goes_whatever_is_left_of_the_source(
    office: Office, configured: bool, has_raw: bool
) -> None:
    office.load_answer(calls_of_client())
    other = read_calls(office)[3]
    if not has_raw:
        Path(office.store.locate(office.source.name, DAY)).unlink()
    dry = forget(office, is_dry=True, configured=configured)
    done = forget(office, configured=configured)
    assert done.found == dry.found
    assert done.problems == []
    [found] = done.found.sources
    assert (found.calls, found.raw_calls) == (2, 2 if has_raw else 0)
    assert list_places(office) == []
    left = read_calls(office)
    assert left[3] == other
    for call_id in (1, 2):
        gone = ("client_phone", "ip", "user_agent", "record_url", "tags")
        assert [left[call_id][name] for name in gone] == [None] * len(gone)
        assert left[call_id]["manager_phone"] == "+70000000001"
        assert left[call_id]["status"] == "success"
    asked = "SELECT client, manager, has_recording FROM callkeeper_calls_facts"
    gone_from_facts = [(None, "+70000000001 ext. 42", False)] * 2
    assert rows(office.url, f"{asked} WHERE clientids_id = 1") == gone_from_facts
    assert forget(office, configured=configured).found.is_empty


def test_a_number_that_facts_alone_still_have_is_found_told_and_erased(office: Office) -> None:
    """Somebody has taken it out of the calls by hand."""
    office.load_answer([answered(1, phone2=f"+{NUMBER}"), answered(2, minute=1)])
    Path(office.store.locate(office.source.name, DAY)).unlink()
    with connect(office.url, autocommit=True) as connection:
        connection.execute("UPDATE callkeeper_calls SET client_phone = NULL WHERE call_id = 1")
        connection.execute("UPDATE general_clientids SET phone = NULL")
        connection.execute("DELETE FROM general_traffic WHERE id <> 1")
    assert list_places(office) == ["callkeeper_calls_facts"]
    told = export_client(office.url, office.store, [office.source], NUMBER, print)
    assert [one["client"] for one in told["tables"]["callkeeper_calls_facts"]] == [f"+{NUMBER}"]
    done = forget(office)
    assert done.problems == []
    assert list_places(office) == []
    assert forget(office).found.is_empty


def test_a_call_that_only_webhooks_reported_keeps_its_row_without_the_person(
    office: Office,
) -> None:
    office.receive(
        payload(7, PROCESSING, phone2=f"+{NUMBER}"),
        payload(7, phone2=WRITTEN),
        b'{"phone2": "+79161234567", "no": "call"}',
    )
    office.process()
    assert "callkeeper_calls" in list_places(office)
    assert forget(office).problems == []
    assert list_places(office) == []
    [row] = read_calls(office).values()
    assert (row["client_phone"], row["origin"], row["status"]) == (None, "webhook", "success")
    [states] = rows(office.url, "SELECT array_agg(state ORDER BY id) FROM callkeeper_webhooks")
    assert "new" not in states[0][:2]


def test_a_hint_of_call_tracking_loses_the_person_and_stays_a_hint(office: Office) -> None:
    tracked = office.with_source(api="ckct")
    tracked.receive({"client_number": NUMBER, "manager_number": "74950000001", "call_type": "x"})
    assert tracked.process().hints == 1
    assert list_places(office) == ["callkeeper_webhooks"]
    assert forget(office).problems == []
    assert list_places(office) == []
    assert office.states() == [(None, "hint", None)]


def test_what_comes_later_of_a_forgotten_call_comes_without_the_person(office: Office) -> None:
    calls = calls_of_client()
    office.load_answer(calls)
    forget(office)
    with connect(office.url) as connection:
        shield = build_shield(connection, office.source)
    passed = shield.pass_calls(
        [1, 3], [json.dumps(calls[n]).encode() for n in (0, 2)], shield.protector.protect_all
    )
    assert not has_number(passed[0].decode(), NUMBER)
    assert json.loads(passed[1]) == calls[2]
    office.receive(payload(1, phone2=WRITTEN, tags=WRITTEN))
    assert list_places(office) == ["callkeeper_webhooks"], "stored before the receiver knew"
    office.process()
    assert list_places(office) == []
    office.receive(payload(8, phone2=WRITTEN))
    office.process()
    assert "callkeeper_webhooks" in list_places(office), "a new call is a new call"


def test_a_number_in_anothers_texts_goes_and_the_other_stays(office: Office) -> None:
    office.load_answer([answered(3, phone2="+79031112233", tags=f"for {WRITTEN}")])
    done = forget(office)
    assert (done.found.sources[0].calls, done.found.sources[0].mentions) == (0, 1)
    [row] = read_calls(office).values()
    assert (row["client_phone"], row["tags"], row["ip"]) == ("+79031112233", "for ***", "10.0.0.2")
    assert list_places(office) == []


def test_a_managers_number_is_reported_and_left(office: Office) -> None:
    office.load_answer([answered(3, phone1=f"{WRITTEN}^12", phone2="+79031112233")])
    before = read_calls(office)
    done = forget(office)
    assert done.found.sources[0].of_manager == 1
    assert done.found.is_empty
    assert (done.problems, done.similar) == ([], [])
    assert read_calls(office) == before


def test_hashes_of_the_client_are_found_and_masked_numbers_counted(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRIVACY_KEY", "a long random key")
    privacy = Privacy(Rule("hash", "hash"), "PRIVACY_KEY")
    office = office.with_source(privacy=privacy)
    token = hash_number(NUMBER, b"a long random key")
    office.load_answer(
        [answered(1, phone2=token, tags=token), answered(2, minute=2, phone2=mask_number(WRITTEN))]
    )
    done = forget(office)
    assert (done.found.sources[0].calls, done.found.sources[0].masked) == (1, 1)
    assert done.problems == []
    assert read_calls(office)[1]["client_phone"] is None
    assert read_calls(office)[2]["client_phone"] == mask_number(WRITTEN)
    assert rows(office.url, f"SELECT count(*) FROM general_clientids WHERE phone = '{token}'") == [
        (0,)
    ]


def test_a_client_of_two_sources_goes_from_both(office: Office) -> None:
    """They share the visitor's row, which goes when neither refers to it any more."""
    second = office.with_source(name="second", caption="Second")
    same = [answered(1, phone2=f"+{NUMBER}", ga_clientid="x", ya_clientid="y")]
    office.load_answer(same)
    second.load_answer(same)
    sources = [office.source, second.source]
    done = Forgetter(office.url, office.store, sources, lambda _: None).forget(NUMBER, is_dry=False)
    assert [one.calls for one in done.found.sources] == [1, 1]
    assert done.problems == []
    assert list_places(office) == list_places(second) == []


def test_forgetting_waits_for_loads_and_loads_for_it(office: Office) -> None:
    office.load_answer(calls_of_client())
    said: list[str] = []
    done: list[Forgotten] = []
    forgetter = Forgetter(office.url, office.store, [office.source], said.append)
    thread = threading.Thread(target=lambda: done.append(forgetter.forget(NUMBER, is_dry=False)))
    with held_source_lock(office.url, office.source.name):
        thread.start()
        wait_until(lambda: any("Waiting for runs" in one for one in said), "it waits")
        assert list_places(office) != []
    thread.join(60)
    assert done[0].problems == []
    assert list_places(office) == []


def test_requests_are_recorded_without_the_number(office: Office) -> None:
    office.load_answer(calls_of_client())
    done = forget(office)
    [(request_id, found, is_finished)] = rows(
        office.url, "SELECT request_id, found, finished_at IS NOT NULL FROM callkeeper_erasures"
    )
    assert request_id == done.request_id
    assert is_finished
    assert found["calls"] == 2
    assert not has_number(str(found), NUMBER)
    assert rows(
        office.url, "SELECT call_id, scope, day FROM callkeeper_forgotten_calls ORDER BY 1"
    ) == [(1, "client", DAY), (2, "client", DAY)]
    # The load log names the request, as it would a run.
    assert rows(office.url, "SELECT DISTINCT run_id FROM callkeeper_loads ORDER BY 1") == [
        (request_id,),
        ("refresh",),
    ]


_ROLES = st.sampled_from(["client", "mention", "manager", "nobody"])
_CASE = st.tuples(_ROLES, st.sampled_from(WRITINGS[:10]), st.sampled_from(["api", "told", "both"]))


@settings(max_examples=examples(4))
@given(cases=st.lists(_CASE, min_size=1, max_size=5))
def test_any_mixture_of_calls_ends_without_the_number_and_with_all_else(
    office: Office, cases: list[tuple[str, Any, str]]
) -> None:
    """However the number is written, as whoever's, and whoever told of the call."""
    with connect(office.url, autocommit=True) as connection:
        for table in TABLES:
            where = " WHERE id <> 1" if TABLES[table].key == ("id",) else ""
            connection.execute(f"DELETE FROM {table}{where}".encode())
    answers, reported = [], []
    for call_id, (role, write, origin) in enumerate(cases, start=1):
        written = write(NUMBER[1:])
        fields = {
            "client": {"phone2": written},
            "mention": {"phone2": f"+7903111223{call_id}", "tags": f"see {written}"},
            "manager": {"phone1": written, "phone2": f"+7903111223{call_id}"},
            "nobody": {"phone2": f"+7903111223{call_id}"},
        }[role]
        if origin != "told":
            answers.append(answered(call_id, minute=call_id, **fields))
        if origin != "api":
            reported.append(payload(call_id, minute=call_id, **fields))
    # The source may still show what it has not shown yet.
    office.load_answer(answers, fetched_at=moment_of(DAY, 60))
    office.receive(*reported)
    office.process()
    before = read_calls(office)
    assert len(before) == len(cases), "what only webhooks told of is there as well"
    dry, done = forget(office, is_dry=True), forget(office)
    assert done.found == dry.found
    assert done.problems == []
    after = read_calls(office)
    assert after.keys() == before.keys()
    for call_id, (role, _, _) in enumerate(cases, start=1):
        if role in ("manager", "nobody"):
            assert after.get(call_id) == before.get(call_id)
        if role == "client" and call_id in after:
            assert after[call_id]["client_phone"] is None
            assert after[call_id]["status"] == before[call_id]["status"]
    managers = any(role == "manager" for role, _, _ in cases)
    tables = {"callkeeper_calls", "callkeeper_calls_facts", "callkeeper_webhooks"}
    allowed = {*tables, str(DAY)} if managers else set()
    assert set(list_places(office)) <= allowed
    again = forget(office)
    assert again.found.is_empty
