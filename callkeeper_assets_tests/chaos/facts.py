"""The warehouse's content and the simulator's truth in one form, so that they can be compared.

Written from the specification of the warehouse; uses none of the product's own queries.
"""

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any, Final, TypeAlias
from zoneinfo import ZoneInfo

from callkeeper_assets.simulator.truth import SUMMED, ApiName, Scalar, Truth
from callkeeper_assets.warehouse.outcomes import outcome_of
from callkeeper_assets_tests.chaos.installation import SOURCE, Installation

# Day -> call id -> all its values, those of its dimensions included.
Days: TypeAlias = dict[date, dict[int, tuple[Any, ...]]]

_PLAIN: Final = (
    "called_at",
    "ordered_at",
    "status",
    "is_final",
    "status_code",
    "status_reason",
    "status2_code",
    "status2_reason",
    "event_source",
    "manager_phone",
    "manager_extension",
    "client_phone",
    "widget_hash",
    "widget_name",
    "record_url",
    "tags",
    "ip",
    "page",
    "user_agent",
    "service",
)
_CONNECTIONS: Final[dict[ApiName, tuple[str | None, ...]]] = {
    "callkeeper": (
        *("unknown", "without_smartcall", "analogue_dtmf", "digital_dtmf", "voice_smartcall"),
        "automatic",
    ),
    # It has fewer words.
    "ckct": (None, "automatic", "dtmf", "dtmf", "voice_smartcall", "automatic"),
}
_KINDS: Final = {"utm": "paid", "typein": "direct"}
_NO_MARK: Final = ("(none)", "(direct)")

_READ: Final = f"""
    SELECT (c.called_at AT TIME ZONE %s)::date, c.call_id,
        {", ".join(f"c.{name}" for name in _PLAIN)},
        {", ".join(f"f.{name}" for name in SUMMED)},
        f.outcome, f.manager, f.client, f.has_recording,
        c.connection_type, d.full_date, s.domain,
        coalesce(l.country_iso, l.country), l.region, l.city,
        nullif(v.clientid, 'not available'), v.userid, v.phone,
        t.grouping, t.source, t.medium, t.campaign, t.content, t.keyword, t.landing_page
    FROM general_accounts AS a
    JOIN callkeeper_calls AS c USING (account_id)
    JOIN callkeeper_calls_facts AS f ON f.account_id = c.account_id AND f.calls_id = c.id
    JOIN general_dates AS d ON d.id = f.dates_id
    JOIN general_sites AS s ON s.id = f.sites_id
    JOIN general_locations AS l ON l.id = f.locations_id
    JOIN general_clientids AS v ON v.id = f.clientids_id
    JOIN general_traffic AS t ON t.id = f.traffic_id
    WHERE a.name = %s
"""

_COUNT: Final = """
    SELECT
        (SELECT count(*) FROM callkeeper_calls JOIN general_accounts AS a USING (account_id)
         WHERE a.name = %s),
        (SELECT count(*) FROM callkeeper_calls_facts JOIN general_accounts AS a USING (account_id)
         WHERE a.name = %s)
"""


def _mark(value: Scalar) -> Scalar:
    return None if value in _NO_MARK else value


def describe_copies(call: Mapping[str, Any]) -> tuple[Any, ...]:
    """What facts have of their call: its outcome, manager, client, and whether it was recorded."""
    outcome: str = outcome_of(call["status_code"], call["status2_code"], call["service"])
    if call["status_code"] is None and call["status"] == "success":
        outcome = "answered"
    manager, extension = call["manager_phone"], call["manager_extension"]
    return (
        outcome,
        manager if extension is None else f"{manager or ''} ext. {extension}",
        call["client_phone"],
        call["record_url"] is not None,
    )


def _describe(call: Mapping[str, Any], zone: ZoneInfo, api: ApiName) -> tuple[Any, ...]:
    local = call["called_at"].astimezone(zone)
    kind = call["utm_type"]
    return (
        *(call[name] for name in _PLAIN),
        *(call[name] for name in SUMMED),
        *describe_copies(call),
        _CONNECTIONS[api][call["connection_type"]],
        local.replace(second=0, tzinfo=None),
        call["site"],
        call["country"],
        call["region"],
        call["city"],
        call["ga_clientid"],
        call["ya_clientid"],
        call["client_phone"],
        _KINDS.get(kind, kind),
        *(_mark(call[f"utm_{name}"]) for name in ("source", "medium", "campaign", "content")),
        _mark(call["utm_term"]),
        call["entry_point"],
    )


def tell_days(truth: Truth, first: date, last: date, zone: ZoneInfo) -> Days:
    """What a right warehouse holds of the truth; days without calls are there too."""
    days: Days = {first + timedelta(days=n): {} for n in range((last - first).days + 1)}
    for call in truth.calls:
        row = _describe(call, zone, truth.api)
        days[row[0].astimezone(zone).date()][int(str(call["call_id"]))] = row
    return days


def read_days(
    installation: Installation, first: date, last: date, zone: ZoneInfo, source: str = SOURCE
) -> Days:
    """What the warehouse holds; every call must have a fact, and its row in each dimension."""
    days: Days = {first + timedelta(days=n): {} for n in range((last - first).days + 1)}
    rows = installation.query(_READ, zone.key, source)
    for day, call_id, *values in rows:
        days.setdefault(day, {})[call_id] = tuple(values)
    [counts] = installation.query(_COUNT, source, source)
    assert counts == (len(rows), len(rows)), "a call without its fact, or a fact without its rows"
    return days


def describe_difference(found: Days, expected: Days) -> str:
    """Say in which days and calls two states differ; empty if they do not."""
    lines = []
    for day in sorted({*found, *expected}):
        have, want = found.get(day, {}), expected.get(day, {})
        if have == want:
            continue
        differing = [key for key in have.keys() & want.keys() if have[key] != want[key]]
        lines.append(
            f"{day}: {len(want.keys() - have.keys())} missing, {len(have.keys() - want.keys())} "
            f"too many, {len(differing)} different"
        )
        lines += [
            f"  {key}: {a!r} in place of {b!r}"
            for key in differing[:2]
            for a, b in zip(have[key], want[key], strict=True)
            if a != b
        ]
    return "\n".join(lines[:30])
