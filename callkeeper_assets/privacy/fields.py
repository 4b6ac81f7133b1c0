"""Which fields of a raw call hold what: phone numbers, addresses, ids, texts, or nothing personal.

By the declared fields (`warehouse.call_fields`), wherever in a call they may lie, and by the names
under which an account sends them in webhooks. Every declared field is in one of the sets below. An
undeclared field, which CallKeeper may add any day, is judged by its name.
"""

import re
from collections.abc import Mapping
from typing import Final, Literal

from callkeeper_assets.warehouse.call_fields import CALL_FIELDS, FIELDS_BY_PATH

Kind = Literal[
    "client_phone",
    "manager_phone",
    "address",
    "agent",
    "recording",
    "visitor",
    "page",
    "words",
    "text",
    "plain",
    "identity",
    "name",
    "unknown",
]

_MARKS: Final = ("type", "source", "medium", "campaign", "content", "term")
# By name of the declared field. `visitor` are ids of a person's browser, `page` addresses of pages,
# `words` what somebody typed about a call, `text` what names no person, `plain` what is no text,
# `identity` what a call or the like is known by. `name` is no field, but the name of one.
KINDS: Final[Mapping[str, Kind]] = {
    "phone1": "manager_phone",
    "phone2": "client_phone",
    "ip": "address",
    "uag": "agent",
    "record_url": "recording",
    **dict.fromkeys(("ga_clientid", "ya_clientid", "roistat_visit"), "visitor"),
    **dict.fromkeys(
        (
            "cpg",
            *(
                f"{visit}_{name}"
                for visit in ("current", "first")
                for name in ("entry_point", "referrer")
            ),
        ),
        "page",
    ),
    "tags": "words",
    **dict.fromkeys(
        (
            *(f"{visit}_{mark}" for visit in ("current", "first") for mark in _MARKS),
            *("status_reason", "status2_reason", "site", "widget_name", "hook_event"),
            *("country", "region", "city", "district", "event_source"),
        ),
        "text",
    ),
    **dict.fromkeys(
        (
            *("date", "date_timestamp", "order_date", "current_started", "first_started"),
            *("status_code", "status2_code", "a_type", "widget_hash", "pgs", "vst", "attempt"),
            *("duration_sec", "duration_min", "duration2_sec", "duration2_min"),
            *("playback_tick", "asr_attempts"),
        ),
        "plain",
    ),
    # The unified API's own.
    # Each side sees the other's own number.
    "callerIdToManager": "client_phone",
    "callerIdToClient": "manager_phone",
    **dict.fromkeys(("calltouchClid", "comagicClid", "cbSmatrisSession"), "visitor"),
    "siteVisit": "page",
    # A query alone: click ids, and whatever a form was filled with.
    "entryPointQuery": "words",
    **dict.fromkeys(("status_word", "service_type", "device"), "text"),
    **dict.fromkeys(("cbOfficeName", "ctCampaignName"), "text"),
    # Addresses of webhooks: a query in one may say anything of the call.
    "hooks": "page",
    **dict.fromkeys(
        (
            *("ivr_count", "smart_call_count", "page_number", "localDate", "cbOfficeNumber"),
            *("timezoneOffset", "unique", "target", "uniqueTarget", "ctIsListened"),
        ),
        "plain",
    ),
    **dict.fromkeys(
        (
            *("id", "universalId", "cbCallId", "cbUid", "cbAttemptsQueue", "ctCallId"),
            *("cbToolId", "ctCampaignId"),
        ),
        "identity",
    ),
}

# Parts of names, in the order in which they are looked for.
_NAMES: Final[tuple[tuple["re.Pattern[str]", Kind], ...]] = (
    (re.compile(r"record.*(url|link|file)|(url|link).*record"), "recording"),
    (re.compile(r"user_?agent|(^|[._])uag?$"), "agent"),
    (re.compile(r"(^|[._])u?ip($|[._]|_?addr)|remote_?addr|ipaddress"), "address"),
)
_PHONE_NAME: Final = re.compile(
    r"phone|(^|[._])tel($|[._])|telefon|number|nomer|msisdn|mobile|caller|callee|контакт|телефон"
)
_MANAGER_NAME: Final = re.compile(r"manager|operator|office|calltracking|employee|company")
# Wholly a phone number, as a field has it.
_PHONE_VALUE: Final = re.compile(r"\+?(?:[\s().\-]*[0-9]){7,15}[\s().\-]*(?:\^.*)?")


def build_kinds(renamed: Mapping[str, str]) -> dict[str, Kind]:
    """Return the kinds of declared fields by path.

    Args:
        renamed: By path in a raw call, the name under which an account's webhooks have it.

    Raises:
        KeyError: A declared field has no kind.
    """
    kinds = {path: KINDS[field.name] for path, field in FIELDS_BY_PATH.items()}
    return kinds | {name: kinds[path] for path, name in renamed.items()}


def list_unkinded() -> list[str]:
    """Return the declared fields that nobody has judged yet: there must be none."""
    return [field.name for field in CALL_FIELDS if field.name not in KINDS]


def is_told_by_name(name: str) -> bool:
    """Whether an undeclared field's name says that it holds something personal."""
    lower = name.lower()
    return _PHONE_NAME.search(lower) is not None or any(
        pattern.search(lower) for pattern, _ in _NAMES
    )


def judge_unknown(path: str, value: str) -> Kind:
    """Return the kind of an undeclared field, by its name and its value."""
    name = path.lower()
    for pattern, kind in _NAMES:
        if pattern.search(name):
            return kind
    if _PHONE_NAME.search(name) and _PHONE_VALUE.fullmatch(value.strip()):
        return "manager_phone" if _MANAGER_NAME.search(name) else "client_phone"
    return "unknown"
