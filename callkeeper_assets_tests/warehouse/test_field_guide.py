"""Each form of each field gives the same through the APIs, webhooks and a report.

The rows are those of docs/fields.md.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote_plus

import msgspec
import pytest

from callkeeper_assets.callkeeper.keys import key_calls, key_unified_calls
from callkeeper_assets.raw.document import decode
from callkeeper_assets.raw.fields import CALL_FIELDS, FIELDS_BY_PATH, CallField
from callkeeper_assets.reports.definition import ColumnType
from callkeeper_assets.reports.rows import MisfitError, compile_path, find_converter, read_calls
from callkeeper_assets.warehouse.call_sql import list_origins
from callkeeper_assets.warehouse.tables import TABLES
from callkeeper_assets.webhooks.payload import Format
from callkeeper_assets.webhooks.raw_call import build_raw_call
from callkeeper_assets_tests.warehouse.field_guide import (
    FATES,
    FILE,
    Form,
    Value,
    is_unified,
    list_names,
    render_guide,
)
from callkeeper_assets_tests.warehouse.raw_days import DAY, moment_of, raw_day
from callkeeper_assets_tests.warehouse.test_transform import transform_days

_EPOCH: Final = int(moment_of(DAY, 60).timestamp())
_TYPES: Final[dict[str, ColumnType]] = {"text": "text", "whole": "integer", "moment": "timestamp"}
_PREFIXES: Final = {
    "general_traffic": "traffic_",
    "general_locations": "locations_",
    "general_sites": "sites_",
    "general_clientids": "clientids_",
}


@dataclass(frozen=True)
class _Case:
    field: CallField
    path: str
    form: Form

    @property
    def api_payload(self) -> str:
        """The call as its API sends it, with the form at the path and nothing else."""
        own = _nest(self.path, self.form.sent)
        if is_unified(self.path) and self.path not in {"site", "city", "region", "country"}:
            return (
                '{"universalId":"22000000000000001","callTime":"2026-03-02 10:00:00",' + own + "}"
            )
        return f'{{"id":1,"date_timestamp":{_EPOCH},{own}}}'

    def webhook_body(self, form: Format) -> bytes:
        if form == "json":
            own = _nest(self.path, self.form.sent)
            return f'{{"id":1,"date_timestamp":{_EPOCH},{own}}}'.encode()
        value = decode(self.form.sent)
        head, *rest = self.path.split(".")
        name = head + "".join(f"[{one}]" for one in rest)
        pairs = [("id", "1"), ("date_timestamp", str(_EPOCH))]
        if isinstance(value, list):
            pairs += [(f"{name}[]", one) for one in value]
        else:
            pairs.append((name, "" if value is None else str(value)))
        return "&".join(f"{quote_plus(key)}={quote_plus(text)}" for key, text in pairs).encode()


def _nest(path: str, value: str) -> str:
    head, dot, rest = path.partition(".")
    return f'"{head}":{{{_nest(rest, value)}}}' if dot else f'"{head}":{value}'


def _list_cases() -> Iterator[_Case]:
    for field in CALL_FIELDS:
        if field.name in FATES:
            for path in field.paths:
                for form in FATES[field.name].forms:
                    yield _Case(field, path, form)


CASES: Final = list(_list_cases())


def _transform(payloads: list[str]) -> list[dict[str, Any]]:
    calls = [(n, moment_of(DAY, n % 1440), payload) for n, payload in enumerate(payloads)]
    return transform_days(raw_day(DAY, calls))[1]


def _read(case: _Case, row: dict[str, Any]) -> Value:
    table, column = FATES[case.field.name].column.split(".")
    value = row[_PREFIXES.get(table, "") + column]
    if isinstance(value, datetime):
        return value.replace(tzinfo=None).isoformat(" ")
    assert value is None or isinstance(value, str | int)
    return value


def _expect(case: _Case) -> Value:
    if case.path in case.field.zero_is_none and case.form.sent.strip('"') == "0":
        return None
    if case.field.name == "service_type" and case.form.becomes is None:
        return "callback"
    return case.form.becomes


def _compare(rows: list[dict[str, Any]], cases: list[_Case]) -> None:
    wrong = [
        (case.path, case.form.sent, found, wanted)
        for case, row in zip(cases, rows, strict=True)
        if (found := _read(case, row)) != (wanted := _expect(case))
    ]
    assert wrong == []


def test_every_form_goes_where_the_guide_says_through_both_apis() -> None:
    payloads = [case.api_payload for case in CASES]
    for case, payload in zip(CASES, payloads, strict=True):
        key = key_unified_calls if "universalId" in payload else key_calls
        assert key([msgspec.Raw(payload.encode())]), case
    _compare(_transform(payloads), CASES)


@pytest.mark.parametrize("form", ["json", "form", "query"])
def test_every_form_goes_where_the_guide_says_through_a_webhook(form: Format) -> None:
    payloads = [
        build_raw_call(form, case.webhook_body(form), {}).payload.decode() for case in CASES
    ]
    _compare(_transform(payloads), CASES)


def test_a_report_gives_what_the_table_has_or_what_was_received() -> None:
    payloads = [case.api_payload for case in CASES]
    day = raw_day(DAY, [(n, moment_of(DAY, n % 1440), one) for n, one in enumerate(payloads)])
    wrong = []
    for case, call in zip(CASES, read_calls(DAY, day.calls), strict=True):
        kind = _TYPES[case.field.kind]
        value = compile_path(case.path)(call.document)
        if isinstance(value, list):
            continue
        try:
            found = find_converter(kind)(value)
        except MisfitError:
            found = None
        if FATES[case.field.name].rule and case.field.kind == "text":
            sent = decode(case.form.sent)
            wanted = str(sent) if str(sent or "").strip() else None
        else:
            becomes = case.form.becomes
            wanted = None if becomes is None else str(becomes)
        if found != wanted:
            wrong.append((case.path, case.form.sent, found, wanted))
    assert wrong == []


def test_every_field_that_is_read_has_a_row_with_a_column_that_exists() -> None:
    # The referrer of a visit, and when it began, only decide upon its kind, or upon nothing.
    read = {field.name for field in CALL_FIELDS if field.is_read}
    assert read - FATES.keys() == {"current_referrer", "current_started"}
    assert FATES.keys() <= read
    for fate in FATES.values():
        table, column = fate.column.split(".")
        assert column in TABLES[table].column_names
        assert fate.forms


def test_every_name_that_the_unified_api_documents_is_known() -> None:
    sample = Path(__file__).parents[1] / "simulator" / "samples"
    documented = json.loads((sample / "unified_call.json").read_text("utf-8"))[0]
    assert [name for name in documented if name not in FIELDS_BY_PATH] == []
    assert [name for name in documented if not is_unified(name)] == []


def test_the_guide_is_current() -> None:
    names = [name for field in CALL_FIELDS for names in list_names(field) for name in names]
    assert set(names) == FIELDS_BY_PATH.keys()
    assert FILE.read_text("utf-8") == render_guide(), (
        "write it anew: python -m callkeeper_assets_tests.warehouse.field_guide"
    )


def test_each_column_names_the_fields_that_it_is_made_from() -> None:
    """Read from the transformation, they are those of the guide, and of its rules."""
    origins = list_origins()
    for field in CALL_FIELDS:
        fate = FATES.get(field.name)
        table, _, column = (fate.column if fate else "").partition(".")
        if column:
            assert field.paths[0] in origins[f"{_PREFIXES.get(table, '')}{column}"], field.name
    assert origins["is_final"] == ("status_code", "status2_code", "status")
    assert "call_id" not in origins
