"""A person in what is no call: protected, found, exported and forgotten as in a call.

Nobody can say whose a number in such a record is, and it has no id by which it could be noted.
"""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from callkeeper_assets.callkeeper.keys import UnusableRecord
from callkeeper_assets.config.source import Privacy
from callkeeper_assets.personal_data.applying import apply_privacy
from callkeeper_assets.personal_data.exporting import export_client
from callkeeper_assets.personal_data.forgetting import Forgetter
from callkeeper_assets.personal_data.shield import Shield, build_shield, name_record
from callkeeper_assets.postgres import connect
from callkeeper_assets.privacy.rewriting import Eraser, Protector
from callkeeper_assets.privacy.rule import Rule
from callkeeper_assets.raw.store import RawStore, add_unusable
from callkeeper_assets.warehouse.migrate import ensure_schema
from callkeeper_assets_tests.warehouse.raw_days import DAY
from callkeeper_assets_tests.webhooks.inbox_of import Office, answered

NUMBER = "79161234567"
DIGITS = "9161234567"
RECORDS = [
    b'{"id": null, "phone2": "+79161234567", "tags": "Ivan", "date_timestamp": 1772400000}',
    b'{"id": 12, "date": null, "phone2": 79161234567}',
    b'{"id": 13, "date": null, "comment": "call 8 (916) 123-45-67"}',
    b'["79161234567"]',
    b"79161234567",
    b'"+7 916 123-45-67"',
    b'{"id": 14, "phone2": "79161234567", "city": "a\nb"}',
]


def _records(*payloads: bytes) -> list[UnusableRecord]:
    ids = {RECORDS[1]: 12, RECORDS[2]: 13}
    return [UnusableRecord(one, "it has no time", ids.get(one)) for one in payloads]


@pytest.fixture
def office(database: str, tmp_path: Path) -> Office:
    """A source with an empty database and no raw calls."""
    ensure_schema(database)
    return Office(database, RawStore(str(tmp_path / "raw")))


def _fetch(office: Office, *payloads: bytes) -> None:
    """Store a day as a load does: one call of another client, and these records."""
    office.load_answer([answered(1, phone2="+79031112233")])
    day = office.store.read(office.source.name, DAY)
    with connect(office.url) as connection:
        shield = build_shield(connection, office.source)
    rows = shield.pass_unusable(_records(*payloads))
    office.store.write(add_unusable(day.calls, rows), day.details)


def _stored(office: Office) -> str:
    rows = office.store.read_unusable(office.source.name, DAY)
    return "\n".join(one.payload.decode() for one in rows)


@pytest.mark.parametrize("action", ["mask", "hash"])
@pytest.mark.parametrize("record", RECORDS)
def test_no_number_is_written_in_clear_whatever_the_record_is(record: bytes, action: str) -> None:
    rule = Rule(phones=action, manager_phones=action, key=b"k" * 32)  # type: ignore[arg-type]
    shield = Shield(Protector(rule), Eraser(), {})
    [row] = shield.pass_unusable(_records(record))
    bare = row.payload.decode()
    assert DIGITS not in "".join(letter for letter in bare if letter.isdigit())
    # What is masked is recognised: `protect` may come over it again.
    assert shield.protector.protect_record(row.payload) == row.payload


def test_kept_as_received_where_everything_is_kept() -> None:
    shield = Shield(Protector(Rule()), Eraser(), {})
    assert [one.payload for one in shield.pass_unusable(_records(*RECORDS))] == RECORDS


def test_a_forgotten_client_goes_from_them_and_does_not_come_back(office: Office) -> None:
    _fetch(office, *RECORDS[:-1])
    forgetter = Forgetter(office.url, office.store, [office.source], lambda _: None)
    dry = forgetter.forget(NUMBER, is_dry=True)
    assert dry.found.sources[0].raw_calls == len(RECORDS) - 1
    done = forgetter.forget(NUMBER, is_dry=False)
    assert done.problems == []
    assert done.found == dry.found
    left = _stored(office)
    assert DIGITS not in "".join(letter for letter in left if letter.isdigit() or letter == "\n")
    assert "Ivan" not in left
    assert [one.reason for one in office.store.read_unusable(office.source.name, DAY)] == [
        "it has no time"
    ] * (len(RECORDS) - 1)
    _fetch(office, *RECORDS[:-1])
    assert _stored(office) == left
    assert forgetter.forget(NUMBER, is_dry=True).found.is_empty
    # A record whose id can be read is the call of that id, also when it has its time one day.
    with connect(office.url) as connection:
        shield = build_shield(connection, office.source)
    payload = b'{"id": 12, "phone2": "79161234567"}'
    (passed,) = shield.pass_calls([12], [payload], shield.protector.protect_all)
    assert NUMBER not in passed.decode()


def test_the_key_of_a_record_tells_nothing_of_the_person() -> None:
    """Else who tries all numbers there are would find the one that gives this key."""
    keys = {
        name_record(UnusableRecord(RECORDS[0].replace(b"1234567", digits), ""), Eraser())
        for digits in (b"1234567", b"7654321", b"0000000")
    }
    assert len(keys) == 1
    assert max(keys) < 0
    other = RECORDS[0].replace(b"1772400000", b"1772400060")
    assert name_record(UnusableRecord(other, ""), Eraser()) not in keys


def test_protect_reaches_them(office: Office) -> None:
    _fetch(office, *RECORDS)
    masked = replace(office.source, privacy=Privacy(Rule("mask", "mask")))
    done = apply_privacy(office.url, office.store, masked, lambda _: None, is_dry=False, run_id="r")
    assert done.problems == ()
    text = _stored(office)
    assert "Ivan" in text
    assert all(
        DIGITS not in "".join(letter for letter in line if letter.isdigit())
        for line in text.splitlines()
    )


def test_export_gives_them_with_the_reason(office: Office) -> None:
    _fetch(office, *RECORDS[:-1])
    found = export_client(office.url, office.store, [office.source], NUMBER, lambda _: None)
    given = found["sources"]["main_office"]["raw_calls"]
    assert [one["record"].encode() for one in given] == RECORDS[:-1]
    assert {one["unusable"] for one in given} == {"it has no time"}
    assert json.dumps(given)
