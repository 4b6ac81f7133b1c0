"""After erasing, `forget` proves that nothing is left, or says where to look; and it is recorded.

The corpus is of one client's number in the ways in which people and programs write it, in every
field of calls and webhooks. What is left is looked for here by a search of the tests' own.
"""

import html
import json
import re
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Final
from urllib.parse import quote, unquote, urlencode

import psycopg
import pytest

from callkeeper_assets.config.errors import ConfigError
from callkeeper_assets.personal_data.erasures import KEY_FILE, list_erasures
from callkeeper_assets.personal_data.exporting import export_client
from callkeeper_assets.personal_data.forgetting import Forgetter, Forgotten, verify_request
from callkeeper_assets.personal_data.searching import list_searched_tables
from callkeeper_assets.postgres import connect
from callkeeper_assets.raw.store import RawStore, replace_payloads
from callkeeper_assets.warehouse.migrate import ensure_schema
from callkeeper_assets.warehouse.tables import TABLES
from callkeeper_assets_tests.extent import share
from callkeeper_assets_tests.privacy import number_corpus
from callkeeper_assets_tests.privacy.test_tails import FORMS
from callkeeper_assets_tests.privacy.writings import WRITINGS
from callkeeper_assets_tests.warehouse.raw_days import DAY, Call, moment_of, rows
from callkeeper_assets_tests.webhooks.inbox_of import Office, answered, payload

NUMBER: Final = "79161234567"
TAIL: Final = NUMBER[-9:]
OTHER: Final = "+79031112233"
# Another country's number with the same last nine digits.
SIMILAR: Final = "+375161234567"
CORPUS: Final = [*(write(NUMBER[1:]) for write in WRITINGS), *FORMS.values()]


@pytest.fixture
def office(database: str, tmp_path: Path) -> Office:
    """A source with an empty database and no raw calls."""
    ensure_schema(database)
    return Office(database, RawStore(str(tmp_path / "raw")))


def forget(
    office: Office, *, is_dry: bool = False, request_id: str = "", reference: str = ""
) -> Forgotten:
    """Forget the client."""
    forgetter = Forgetter(office.url, office.store, [office.source], lambda _: None)
    return forgetter.forget(NUMBER, is_dry=is_dry, request_id=request_id, reference=reference)


def spell(text: str) -> set[str]:
    """The digits of a text, as it is and with its escapes undone, over and over."""
    spelt = set()
    for _ in range(5):
        digits = (unicodedata.decimal(one, None) for one in text)
        spelt.add("".join(str(one) for one in digits if one is not None))
        text = html.unescape(unquote(re.sub(r"%u(?=[0-9a-fA-F]{4})", r"\\u", text)))
        text = re.sub(r"\\u([0-9a-fA-F]{4})", lambda one: chr(int(one[1], 16)), text)
        text = text.replace("\\\\", "\\").replace("\\r", "").replace("\\n", "")
    return spelt


def list_texts(office: Office) -> dict[str, list[str]]:
    """All that is stored, by place."""
    texts: dict[str, list[str]] = {}
    with psycopg.connect(office.url) as connection:
        for table in TABLES:
            for row in connection.execute(f"SELECT * FROM {table}".encode()):
                for value in row:
                    if isinstance(value, bytes):
                        texts.setdefault(table, []).append(value.decode("utf-8", "replace"))
                    elif isinstance(value, str | dict | list):
                        texts.setdefault(table, []).append(str(value))
    for day in office.store.list_days(office.source.name):
        calls = office.store.read(office.source.name, day).calls
        texts.setdefault("raw", []).extend(calls["payload"].to_pylist())
    return texts


def find_left(office: Office) -> list[str]:
    """Texts that hold the client's last nine digits, by the tests' own search."""
    return [
        f"{place}: {text}"
        for place, texts in list_texts(office).items()
        for text in texts
        if any(TAIL in one for one in spell(text))
    ]


def put_everywhere(call: Callable[..., Call], first: int) -> list[Call]:
    """Calls of the client with each writing in each field, and another's that mention it."""
    found = []
    for place, written in enumerate(CORPUS):
        page = f"https://okna.example/form?a=1&phone={quote(written)}"
        visit = {"udata": {"uag": f"Phone {written}", "uip": "10.0.0.1"}, "session": {"cpg": page}}
        texts = {"tags": f"for {written}, at noon", "status_reason": written, "visit_info": visit}
        fresh = {"client_number": written, "note": {"inside": [f"see {written}"], "n": 7}}
        minute = 2 * place
        found += [
            call(first + minute, minute=minute, phone2=written, **texts, **fresh),
            call(first + minute + 1, minute=minute + 1, phone2=OTHER, **texts),
        ]
    return found


def test_a_corpus_of_writings_is_gone_and_others_are_as_they_were(office: Office) -> None:
    calls = put_everywhere(answered, 1)
    others = [answered(9_000, minute=900, phone2=OTHER, tags="for +7 903 111-22-33")]
    office.load_answer([*calls, *others])
    reported = put_everywhere(payload, 20_000)
    office.receive(*reported, *(json.dumps(one).encode("ascii") for one in reported[:20]))
    forms = [urlencode({**one, "visit_info": json.dumps(one["visit_info"])}) for one in reported]
    office.receive(*(one.encode() for one in forms), form="form")
    office.receive(b'{"id": 5, "phone2": "' + NUMBER.encode(), NUMBER.encode("utf-16"))
    office.process()
    assert len(find_left(office)) > 5 * len(CORPUS), "else nothing is proved"
    before = rows(office.url, "SELECT c.* FROM callkeeper_calls AS c WHERE call_id = 9000")
    managers = "SELECT count(*) FROM callkeeper_calls WHERE manager_phone IS NOT NULL"
    kept = rows(office.url, managers)
    dry = forget(office, is_dry=True)
    done = forget(office, reference="request 17 of 2026-11-20")
    assert done.found == dry.found
    assert done.problems == []
    assert done.similar == []
    assert find_left(office) == []
    assert rows(office.url, "SELECT c.* FROM callkeeper_calls AS c WHERE call_id = 9000") == before
    assert rows(office.url, managers) == kept
    mentions = "SELECT count(*) FROM callkeeper_calls WHERE client_phone LIKE '%%903%%2233'"
    assert rows(office.url, mentions)[0][0] >= len(CORPUS), "others keep their own numbers"
    # What comes again of the same calls comes without the person.
    office.receive(*(reported[:10]))
    office.process()
    assert find_left(office) == []


def test_a_client_of_any_country_is_gone_and_clients_of_others_are_as_they_were(
    office: Office,
) -> None:
    """One of a country is forgotten, out of calls of all numbers in all writings."""
    forgotten = share({one.code: one for one in number_corpus.NUMBERS}.values(), 0, 3)
    calls: list[Call] = []
    owners: dict[int, number_corpus.Number] = {}
    for number, _, written in number_corpus.list_writings():
        call_id = len(calls) + 1
        owners[call_id] = number
        calls.append(
            answered(call_id, minute=len(calls) % 1440, phone2=written, tags=f"see {written}")
        )
    office.load_answer(calls)
    by_call = "SELECT c.*, 0 FROM callkeeper_calls AS c ORDER BY call_id"
    before = {row[2]: row for row in rows(office.url, by_call)}
    assert len(before) == len(calls)
    forgetter = Forgetter(office.url, office.store, [office.source], lambda _: None)
    for number in forgotten:
        done = forgetter.forget(number.whole, is_dry=False)
        assert (done.problems, done.similar) == ([], []), number
        assert done.found.sources[0].calls >= len(number_corpus.WRITINGS) - 2
    stored = [text for texts in list_texts(office).values() for text in texts]
    left = [
        (number, text)
        for number in forgotten
        for text in stored
        if number_corpus.is_in(number, text)
    ]
    assert left == []
    after = {row[2]: row for row in rows(office.url, by_call)}
    others = {one for one, owner in owners.items() if owner not in forgotten}
    assert {one: after[one] for one in others} == {one: before[one] for one in others}


def test_a_number_in_a_name_or_under_a_name_that_stands_twice_is_gone(office: Office) -> None:
    """The stored text has it, though whoever reads the JSON sees the last value alone."""
    call = json.dumps(answered(1, phone2=None))
    twice = call.replace('"phone2": null', f'"phone2": "+{NUMBER}", "phone2": null')
    assert twice != call
    office.load_answer([answered(2, minute=1, phone2=OTHER, note={NUMBER: "asked for"})])
    day = office.store.read(office.source.name, DAY)
    office.store.write(replace_payloads(day.calls, [twice.encode()]), day.details)
    reported = json.dumps(payload(8, phone2=None))
    office.receive(
        reported.replace('"phone2": null', f'"phone2": "8{NUMBER[1:]}", "phone2": null').encode(),
        json.dumps(payload(9, phone2=OTHER, note={NUMBER: "asked for"})).encode(),
    )
    form = urlencode({**payload(10), "phone2": f"+{NUMBER}"}) + "&phone2="
    office.receive(form.encode(), form="form")
    office.process()
    assert len(find_left(office)) >= 4, "else nothing is proved"
    done = forget(office)
    assert (done.problems, done.similar) == ([], [])
    assert find_left(office) == []


@pytest.mark.parametrize("is_dry", [True, False], ids=["dry", "real"])
def test_similar_digits_are_reported_by_place_for_a_person_to_decide(
    office: Office, is_dry: bool
) -> None:
    office.load_answer(
        [answered(1, phone2=f"+{NUMBER}"), answered(2, minute=1, phone2=SIMILAR, tags=SIMILAR)]
    )
    done = forget(office, is_dry=is_dry)
    assert done.problems == []
    reported = {one.place: (one.count, one.calls) for one in done.similar}
    year = DAY.year
    assert reported == {
        "callkeeper_calls.client_phone": (1, (2,)),
        "callkeeper_calls.tags": (1, (2,)),
        "callkeeper_calls_facts.client": (1, (2,)),
        "general_clientids.phone": (1, ()),
        f"main_office/{year}/{DAY}.parquet": (1, (2,)),
    }
    [phone] = rows(office.url, "SELECT client_phone FROM callkeeper_calls WHERE call_id = 2")
    assert phone == (SIMILAR,), "another's number is left"
    with connect(office.url, autocommit=True) as connection:
        records = list_erasures(connection)
    left = {one.place: one.count for one in done.similar}
    assert [one.left_over for one in records] == ([] if is_dry else [left])


def test_ids_moments_and_managers_are_not_similar(office: Office) -> None:
    """Not one false alarm: who is called too often looks no more."""
    chance = int("161234567")
    office.load_answer(
        [
            answered(chance, phone2=OTHER, ga_clientid="g.1", ya_clientid="y.1"),
            answered(2, minute=1, phone2=OTHER, phone1=f"+{NUMBER}^12", order_id=1612345670),
            answered(3, minute=2, phone2=f"+{NUMBER}"),
        ]
    )
    office.receive(payload(4, phone2=OTHER, phone1=NUMBER))
    office.process()
    done = forget(office)
    assert (done.problems, done.similar) == ([], [])
    assert done.found.sources[0].of_manager == 2


def test_whatever_else_lies_among_raw_calls_and_in_the_home_is_searched(
    office: Office, home: Path
) -> None:
    office.load_answer([answered(1, phone2=OTHER)])
    day = Path(office.store.locate(office.source.name, DAY))
    day.with_name("notes.txt").write_text("asked for 8 (916) 123-45-67")
    day.with_name("2020-01-01.parquet.bak").write_bytes(b"PAR1 no more")
    for name in ("exports/old.json", "spool/left.torn"):
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text('{"phone": "8 916 123\\u201145\\u201167"}')
    done = forget(office)
    assert [one.place for one in done.similar] == [
        "exports/old.json",
        f"main_office/{DAY.year}/2020-01-01.parquet.bak (it cannot be read)",
        f"main_office/{DAY.year}/notes.txt",
    ], "an end of a spool's file that nobody answered for is removed"


def test_an_export_tells_the_same_set(office: Office) -> None:
    office.load_answer([answered(1, phone2=f"+{NUMBER}"), answered(2, minute=1, phone2=SIMILAR)])
    dry = forget(office, is_dry=True)
    document = export_client(office.url, office.store, [office.source], NUMBER, lambda _: None)
    assert [one["call"]["id"] for one in document["sources"]["main_office"]["raw_calls"]] == [1]
    assert {table: len(found) for table, found in document["tables"].items()}.keys() >= (
        dry.found.rows.keys()
    )
    assert [one["place"] for one in document["similar"]] == [one.place for one in dry.similar]


def test_no_table_is_left_out_of_the_search_whatever_schema_it_is_in(office: Office) -> None:
    office.load_answer([answered(1, phone2=f"+{NUMBER}")])
    with connect(office.url) as connection:
        searched = set(list_searched_tables(connection))
        connection.execute(
            "INSERT INTO callkeeper_internal.callkeeper_rejects (account_id, report, day, "
            "table_name, call_id, position, column_name, value, reason, run_id) "
            "VALUES (2, 'r', %s, 't', 1, 0, 'c', %s, 'does not fit', '')",
            (DAY, f"+{NUMBER}"),
        )
    with_texts = {
        name
        for name, table in TABLES.items()
        if any(column.type in ("text", "jsonb") for column in table.columns)
    }
    assert searched == with_texts - {"callkeeper_webhooks"}, "its bodies are searched by themselves"
    found = forget(office).found.rows
    assert {"callkeeper_calls", "callkeeper_rejects"} <= found.keys()


def test_an_auditor_who_has_the_number_finds_its_record_and_nobody_else_the_number(
    office: Office, home: Path
) -> None:
    office.load_answer([answered(1, phone2=f"+{NUMBER}")])
    done = forget(office, reference=" request 17 of 2026-11-20 ")
    assert done.request_id is not None
    with connect(office.url, autocommit=True) as connection:
        [record] = list_erasures(connection, NUMBER)
        assert list_erasures(connection, "79031112233") == []
        assert list_erasures(connection) == [record]
    assert (record.request_id, record.source) == (done.request_id, "main_office")
    assert (record.reference, record.calls) == ("request 17 of 2026-11-20", 1)
    assert record.found["rows"]["callkeeper_calls"] == 1
    assert record.left_over == {}
    assert record.finished_at is not None
    assert record.verified_at is not None
    assert record.verified_at >= record.finished_at
    assert TAIL not in "".join(spell(str(record)))
    key = home / KEY_FILE
    assert key.stat().st_mode & 0o777 == 0o600
    assert [one.name for one in home.iterdir() if "erasures" in one.name] == [KEY_FILE]


def test_a_request_that_finds_nothing_is_recorded_too(office: Office) -> None:
    office.load_answer([answered(1, phone2=OTHER)])
    forget(office, reference="letter 4")
    with connect(office.url, autocommit=True) as connection:
        [record] = list_erasures(connection, NUMBER)
    assert (record.reference, record.calls, record.left_over) == ("letter 4", 0, {})
    assert record.finished_at is not None


def test_a_request_is_verified_again_without_the_number(office: Office) -> None:
    office.load_answer([answered(1, phone2=f"+{NUMBER}")])
    done = forget(office, request_id="request-17")
    assert done.request_id == "request-17"
    again = (office.url, office.store, [office.source], "request-17")
    assert verify_request(*again) == []
    office.receive(payload(8, phone2="8 (916) 123-45-67"))
    office.process()
    assert [(one.place, one.calls) for one in verify_request(*again)] == [
        ("callkeeper_calls.client_phone", (8,)),
        ("callkeeper_calls_facts.client", (8,)),
        ("callkeeper_webhooks", (8,)),
        ("general_clientids.phone", ()),
    ], "a new call is a new call, and told"
    with connect(office.url, autocommit=True) as connection:
        [record] = list_erasures(connection)
    assert record.left_over is not None
    assert record.left_over["callkeeper_webhooks"] == 1
    with pytest.raises(ConfigError, match="There is no request request-18"):
        verify_request(*again[:3], "request-18")


def test_a_request_of_another_client_is_refused(office: Office) -> None:
    office.load_answer([answered(1, phone2=f"+{NUMBER}")])
    forget(office, request_id="request-17")
    forgetter = Forgetter(office.url, office.store, [office.source], lambda _: None)
    with pytest.raises(ConfigError, match="is of another client"):
        forgetter.forget("79031112233", is_dry=False, request_id="request-17")
    again = forget(office, request_id="request-17")
    assert again.request_id == "request-17"


@pytest.mark.parametrize(
    "reference",
    [
        "the client, 8 (916) 123-45-67",
        "ticket 1234567",
        "from +44 20 7946 0958",
        "two\nlines",
        "x" * 201,
    ],
)
def test_a_reference_with_a_number_is_refused_before_anything_is_done(
    office: Office, reference: str
) -> None:
    office.load_answer([answered(1, phone2=f"+{NUMBER}")])
    with pytest.raises(ConfigError, match="reference") as caught:
        forget(office, reference=reference)
    assert "1234567" not in "".join(spell(str(caught.value)))
    assert len(find_left(office)) > 0
    assert rows(office.url, "SELECT count(*) FROM callkeeper_erasures") == [(0,)]


def test_a_key_that_cannot_be_read_ends_it_before_anything_is_erased(
    office: Office, home: Path
) -> None:
    office.load_answer([answered(1, phone2=f"+{NUMBER}")], fetched_at=moment_of(DAY, 1440))
    home.mkdir(parents=True, exist_ok=True)
    (home / KEY_FILE).mkdir()
    with pytest.raises(ConfigError, match=r"cannot be read or written.*Nothing was erased"):
        forget(office)
    (home / KEY_FILE).rmdir()
    (home / KEY_FILE).touch()
    with pytest.raises(ConfigError, match="is empty"):
        forget(office)
    assert len(find_left(office)) > 0
