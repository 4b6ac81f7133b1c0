"""What becomes of each field of a raw call, as data: its column, and its odd forms.

Beside `raw.fields`, which says where a field lies and what it means. docs/fields.md is made of
both, and a test sends each form of each field through the APIs, webhooks and a report. A field that
is added there gets its row here.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from callkeeper_assets.raw.fields import CALL_FIELDS, CallField

FILE: Final = Path(__file__).parents[2] / "docs" / "fields.md"

Value = str | int | None


@dataclass(frozen=True)
class Form:
    """One form that a field's value can have.

    Attributes:
        sent: as JSON.
        becomes: the column's value; a moment as text, in UTC.
    """

    sent: str
    becomes: Value


@dataclass(frozen=True)
class Fate:
    """Where a field goes.

    Attributes:
        column: table and column; empty: raw calls, and whatever report asks for it.
        forms: its usual form, then odd ones.
        rule: how the column's value differs from the field's own; empty where it does not.
    """

    column: str
    forms: tuple[Form, ...]
    rule: str = ""


_BLANKS: Final = tuple(Form(sent, None) for sent in ("null", '""', '" "', "[]"))
_NUMBERS: Final = (
    Form("65", 65),
    Form('"65"', 65),
    Form('" 65 "', 65),
    Form('"+65"', 65),
    Form("0", 0),
    Form('"12.7"', None),
    Form("12.7", None),
    Form("12.0", None),
    Form('"0x1F"', None),
    Form('"1_000"', None),
    Form('"1e3"', None),
    Form("99999999999", None),
    *_BLANKS,
)
_COUNTS: Final = tuple(form for form in _NUMBERS if form.becomes != 0)
_MOMENTS: Final = (
    Form('"2026-03-02 09:00:00"', "2026-03-02 09:00:00"),
    Form('"2026-03-02T09:00:00Z"', "2026-03-02 09:00:00"),
    Form('"2026-03-02 12:00:00+0300"', "2026-03-02 09:00:00"),
    Form('"2026-03-02 12:00:00 +03:00"', "2026-03-02 09:00:00"),
    Form("1772442000", "2026-03-02 09:00:00"),
    Form('"1772442000"', "2026-03-02 09:00:00"),
    Form('"0000-00-00 00:00:00"', None),
    Form("0", None),
    Form('"soon"', None),
    *_BLANKS,
)


def _text(column: str, *forms: Form) -> Fate:
    """A text stays as received; a number keeps its characters."""
    usual = (Form('"abc"', "abc"), Form("7.10", "7.10"), Form('"7.10"', "7.10"))
    exact = (Form("1155834011.1600000010", "1155834011.1600000010"), Form("12", "12"))
    return Fate(column, (*usual, *exact, *forms, *_BLANKS))


def _text_or_none(column: str) -> Fate:
    return Fate(column, (*_text("").forms, Form('"(none)"', None)), "`(none)` is NULL; T")


def _mark(column: str) -> Fate:
    forms = (*_text("").forms, Form('"(none)"', None), Form('"(not set)"', None))
    return Fate(column, forms, "`(none)`, `(direct)`, `(not set)`, `(not provided)` are NULL")


def _place(column: str) -> Fate:
    forms = (Form('"Москва"', "Москва"), Form('"N/A"', None), Form('"-"', None), *_BLANKS)
    return Fate(column, forms, "`N/A` and `-` are NULL")


def _phone(column: str, *forms: Form, rule: str = "") -> Fate:
    return Fate(
        column,
        (
            Form('"74950000001"', "74950000001"),
            Form('"+74950000001"', "+74950000001"),
            Form("74950000001", "74950000001"),
            Form("74950000001.0", "74950000001"),
            Form('"sip:user_name@host.example"', "sip:user_name@host.example"),
            *forms,
            *_BLANKS,
        ),
        f"{rule}a number that went through floating point (`74950000001.0`) is that number",
    )


_KINDS_OF_VISITS: Final = tuple(
    Form(f'"{sent}"', becomes)
    for sent, becomes in (
        *(("typein", "direct"), ("organic", "organic"), ("referral", "referral"), ("utm", "paid")),
        *(("cpc", "paid"), ("Organic Search", "organic"), ("paid_search", "paid")),
        ("messenger", "messenger"),
    )
)
_NOT_STORED: Final = Fate("", ())

_CALLS: Final = "callkeeper_calls"
_FACTS: Final = "callkeeper_calls_facts"
_TRAFFIC: Final = "general_traffic"


def _visit_fates(visit: str, table: str, prefix: str) -> dict[str, Fate]:
    marks = {"source": "source", "medium": "medium", "campaign": "campaign", "content": "content"}
    pages = {"entry_point": "landing_page"}
    return {
        f"{visit}_type": Fate(
            f"{table}.{prefix}grouping",
            _KINDS_OF_VISITS,
            "the kind of the visit: `paid`, `organic`, `referral`, `direct`, found from the other "
            "marks where it is missing; another word as received, in small letters",
        ),
        **{f"{visit}_{mark}": _mark(f"{table}.{prefix}{mark}") for mark in marks},
        f"{visit}_term": _mark(f"{table}.{prefix}keyword"),
        **{
            f"{visit}_{name}": _text_or_none(f"{table}.{prefix}{column}")
            for name, column in pages.items()
        },
    }


FATES: Final[Mapping[str, Fate]] = {
    **_visit_fates("current", _TRAFFIC, ""),
    **_visit_fates("first", _CALLS, "first_"),
    "first_referrer": _mark(f"{_CALLS}.first_referrer"),
    "first_started": Fate(f"{_CALLS}.first_visit_at", _MOMENTS),
    "pgs": Fate(f"{_FACTS}.pages", _COUNTS),
    "vst": Fate(f"{_FACTS}.visit", _COUNTS),
    "cpg": _text_or_none(f"{_CALLS}.page"),
    "uag": _text(f"{_CALLS}.user_agent"),
    "ip": _text_or_none(f"{_CALLS}.ip"),
    "status_code": Fate(f"{_CALLS}.status_code", _COUNTS),
    "status2_code": Fate(f"{_CALLS}.status2_code", _NUMBERS),
    "status_reason": _text(f"{_CALLS}.status_reason"),
    "status2_reason": _text(f"{_CALLS}.status2_reason"),
    "country": Fate(
        "general_locations.country_iso",
        (Form('"RU"', "RU"), Form('"ru"', "RU"), Form('"N/A"', None), Form('"-"', None), *_BLANKS),
        "a name goes to `country`; `N/A` and `-` are NULL",
    ),
    "region": _place("general_locations.region"),
    "city": _place("general_locations.city"),
    "site": _text("general_sites.domain"),
    "ga_clientid": _text("general_clientids.clientid"),
    "ya_clientid": _text("general_clientids.userid"),
    "phone1": _phone(
        f"{_CALLS}.manager_phone",
        Form('"74950000001^12"', "74950000001"),
        Form('"74950000001^12_74950000003^34"', "74950000001"),
        Form('"74950000001^_"', "74950000001"),
        Form('"74950000001^_sip:user_name@host.example^_"', "74950000001"),
        Form('"user_name@host.example^12"', "user_name@host.example"),
        rule="the first number; its extension, behind ^, goes to `manager_extension`, a list as "
        "received to `manager_phones`; ",
    ),
    "phone2": _phone(f"{_CALLS}.client_phone"),
    "widget_hash": _text(f"{_CALLS}.widget_hash"),
    "widget_name": _text(f"{_CALLS}.widget_name"),
    "order_date": Fate(f"{_CALLS}.ordered_at", _MOMENTS),
    **{
        name: Fate(f"{_FACTS}.{name}", _NUMBERS)
        for name in (
            *("duration_sec", "duration_min", "duration2_sec", "duration2_min"),
            *("playback_tick", "asr_attempts"),
        )
    },
    "attempt": Fate(f"{_FACTS}.attempt", _COUNTS),
    "record_url": _text(f"{_CALLS}.record_url"),
    "a_type": Fate(
        f"{_CALLS}.connection_type",
        (
            *(
                Form("4", "voice_smartcall"),
                Form('"5"', "automatic"),
                Form('"smartcall"', "voice_smartcall"),
            ),
            *(Form('"dtmf"', "dtmf"), Form('"new"', "new"), *_BLANKS),
        ),
        "a word for each of the numbers; another one as received",
    ),
    "tags": Fate(
        f"{_CALLS}.tags",
        (Form('"VIP"', "VIP"), Form('["VIP","a"]', "VIP, a"), Form("[]", None), *_BLANKS),
        "a list is joined by commas",
    ),
    "event_source": _text(f"{_CALLS}.event_source"),
    "status_word": Fate(
        f"{_CALLS}.status",
        (Form('"success"', "success"), Form('"fail"', "failed"), Form('"new"', None)),
        "counts only where there are no codes",
    ),
    "service_type": _text(f"{_CALLS}.service", Form('"calltracking"', "calltracking")),
    "universalId": Fate(
        f"{_CALLS}.universal_id",
        (
            Form('"23423423434434234"', "23423423434434234"),
            Form("23423423434434234", "23423423434434234"),
        ),
        "of a call that is neither a callback nor call tracking it makes the id",
    ),
    "ivr_count": Fate(f"{_FACTS}.playback_tick", _COUNTS, "a 0 counts once the manager answered"),
    "smart_call_count": Fate(
        f"{_FACTS}.asr_attempts", _COUNTS, "a 0 counts where it was connected somehow"
    ),
}
"""By the field's name; the others are in raw calls alone."""


# The names of the unified API that its other fields' paths do not show by their capitals.
_UNIFIED: Final = frozenset(
    (
        *(
            "duration",
            "site",
            "unique",
            "target",
            "referrer",
            "city",
            "region",
            "country",
            "counts",
        ),
        *("utm_source", "utm_medium", "utm_campaign", "utm_content", "utm_term", "device", "tags"),
        *("hooks", "page", "status"),
    )
)
_BOTH: Final = frozenset(("site", "city", "region", "country", "tags"))


def is_unified(path: str) -> bool:
    """Whether a path is one of the unified API's names."""
    return path in _UNIFIED or path != path.lower()


def list_names(field: CallField) -> tuple[list[str], list[str]]:
    """Return a field's names in the statistics API and its webhooks, and in the unified API."""
    unified = [path for path in field.paths if is_unified(path)]
    names = [path for path in dict.fromkeys(field.paths) if path not in unified or path in _BOTH]
    return names, unified


def render_guide() -> str:
    """Return docs/fields.md."""
    return _HEAD + "".join(f"{_render_row(field)}\n" for field in CALL_FIELDS) + _RULES


_HEAD: Final = """\
# The source's fields

Every field of the statistics API, of its webhooks (the same names, nested or flat) and of the
unified API: what the vendor says it is, where it goes, what becomes of its odd forms. Made from
`callkeeper_assets/raw/fields.py` and `callkeeper_assets_tests/warehouse/field_guide.py`; a
test sends each form through both APIs, webhooks (JSON, form, query) and a report.

| field | in the unified API | is | goes to | odd forms |
|---|---|---|---|---|
"""
_RULES: Final = """
- **All**: missing, `null` and blank are NULL. Of a key that stands twice in its object the last one
  counts. `visit_info`, and what lies in it, may be text: JSON, or Sourcebuster's cookie
  (`typ=utm|||src=yandex`, URL-encoded or not). Anything else in its place is named by the check
  `no_unknown_fields`.
- **T**: a text as received. A JSON number keeps its characters: `7.10` stays `7.10`. Blanks and an
  empty list (`[]`) are NULL, here and below.
- **W**: a whole number in plain decimal digits, as number or text, with a sign or without, blanks
  around it allowed. `12.7`, `12.0`, `0x1F`, `1_000`, `1e3` and what does not fit four bytes are
  NULL, and counted by the check `values_readable`. A report does not take them, either.
- **M**: a time in UTC, `2026-03-02 09:00:00`, also with `T`, with a zone (`+03:00`, `+0300`, `Z`),
  or as ten digits of seconds since 1970. `0000-00-00 00:00:00` and `0` are no time; what cannot be
  read is NULL, and counted by the same check.
- A **report** has a field as received, whatever the column's rule makes of it: `N/A`, a list of
  numbers, `(none)`.
"""


def _render_row(field: CallField) -> str:
    names, unified = list_names(field)
    fate = FATES.get(field.name, _NOT_STORED)
    cells = (
        ", ".join(f"`{name}`" for name in names),
        ", ".join(f"`{name}`" for name in unified),
        field.meaning,
        f"`{fate.column}`" if fate.column else "raw calls, reports",
        "; ".join(_list_odd(field, fate)),
    )
    return f"| {' | '.join(cells)} |".replace("|  |", "| |")


def _list_odd(field: CallField, fate: Fate) -> Iterator[str]:
    if fate.rule:
        yield fate.rule
    if field.zero_is_none:
        yield f"a 0 in {', '.join(f'`{path}`' for path in field.zero_is_none)} is NULL"
    if fate.column and field.kind == "whole":
        yield "W"
    elif fate.column and field.kind == "moment":
        yield "M"
    elif fate.column and not fate.rule:
        yield "T"


if __name__ == "__main__":
    FILE.write_text(render_guide(), encoding="utf-8")
