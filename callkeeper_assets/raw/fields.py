"""The fields of a raw call, as data: where each can lie, and what it means.

From the documentation of both APIs and its known deviations: marks under Sourcebuster's keys or utm
names, visit data nested in `visit_info`, beside it, or flat; the unified API's own names. The
transformation reads fields by these paths, filters name them, and what no path covers is reported
as unknown. Add a documented field here; what it becomes in a table is `sql/transform.sql`'s.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

# A text, a whole number, or a moment.
FieldKind = Literal["text", "whole", "moment"]

# A tree of the objects that hold fields; a leaf is None.
FieldTree = dict[str, "FieldTree | None"]


@dataclass(frozen=True)
class CallField:
    """One field.

    Attributes:
        name: its name in `sql/transform.sql`.
        paths: where it can lie, dotted; the first that has a value counts.
        is_read: whether `sql/transform.sql` reads it; others are for filters and reports.
        zero_is_none: those of the paths at which a 0 is no value: the unified API has no null.
        kind: what `sql/transform.sql` makes of its text.
    """

    name: str
    paths: tuple[str, ...]
    meaning: str
    is_read: bool = True
    zero_is_none: tuple[str, ...] = ()
    kind: FieldKind = "text"


def _flat(name: str, meaning: str, *aliases: str) -> CallField:
    return CallField(name, (name, *aliases), meaning)


def _number(name: str, meaning: str, *aliases: str, zero: str = "") -> CallField:
    paths = (name, *aliases, zero) if zero else (name, *aliases)
    return CallField(name, paths, meaning, zero_is_none=(zero,) if zero else (), kind="whole")


def _moment(name: str, meaning: str, *aliases: str) -> CallField:
    return CallField(name, (name, *aliases), meaning, kind="moment")


def _unread(name: str, meaning: str, *aliases: str) -> CallField:
    return CallField(name, (name, *aliases), meaning, is_read=False)


# The unified API sends one visit only, and beside the call's other values.
def _lone(visit: str, name: str) -> tuple[str, ...]:
    return (name,) if visit == "current" and name else ()


def _mark(visit: str, name: str, utm: str, short: str, meaning: str) -> CallField:
    paths = tuple(
        f"{parent}{visit}.{key}" for parent in ("visit_info.", "") for key in (utm, short)
    )
    paths += _lone(visit, utm)
    return CallField(f"{visit}_{name}", paths, f"{meaning} of the {visit} visit")


def _entry(
    visit: str,
    name: str,
    keys: tuple[str, str, str],
    meaning: str,
    kind: FieldKind = "text",
) -> CallField:
    long, short, lone = keys
    paths = tuple(
        f"{parent}{visit}{block}.{key}"
        for parent in ("visit_info.", "")
        for block, keys in (("_add", (long, short)), ("", (long,)))
        for key in keys
    )
    paths += _lone(visit, lone)
    return CallField(f"{visit}_{name}", paths, f"{meaning} of the {visit} visit", kind=kind)


def _visit_fields(visit: str) -> tuple[CallField, ...]:
    return (
        _mark(visit, "type", "utm_type", "typ", "Type"),
        _mark(visit, "source", "utm_source", "src", "Source"),
        _mark(visit, "medium", "utm_medium", "mdm", "Medium"),
        _mark(visit, "campaign", "utm_campaign", "cmp", "Campaign"),
        _mark(visit, "content", "utm_content", "cnt", "Content"),
        _mark(visit, "term", "utm_term", "trm", "Search term"),
        _entry(visit, "entry_point", ("entry_point", "ep", "entryPoint"), "Entry point"),
        _entry(visit, "referrer", ("referrer", "rf", "referrer"), "Referrer"),
        _entry(visit, "started", ("fd", "fd", ""), "Time", "moment"),
    )


def _nested(
    parent: str, name: str, meaning: str, alias: str = "", *, kind: FieldKind = "text"
) -> CallField:
    paths = (f"visit_info.{parent}.{name}", f"{parent}.{name}", name, alias)
    # The unified API writes 0 for no number.
    zeros = (alias,) if kind == "whole" else ()
    return CallField(name, paths, meaning, zero_is_none=zeros, kind=kind)


_COMMON_FIELDS: Final[tuple[CallField, ...]] = (
    _unread("id", "The call's id in CallKeeper"),
    *_visit_fields("current"),
    *_visit_fields("first"),
    _nested("session", "pgs", "Pages seen before the call", "pagesCount", kind="whole"),
    _nested("session", "cpg", "The page from which it was ordered", "callPage"),
    _nested("udata", "vst", "Ordinal of the visit", "counts", kind="whole"),
    _nested("udata", "uag", "User agent", "userAgent"),
    CallField(
        "ip",
        ("ip", "visit_info.udata.uip", "udata.uip", "uip", "ipAddress"),
        "The client's address",
    ),
    _number("status_code", "SIP status of the leg to the manager", zero="statusFirst"),
    _flat("status_reason", "Its text"),
    _number("status2_code", "SIP status of the leg to the client", "statusSecond"),
    _flat("status2_reason", "Its text"),
    _flat("country", "The client's country: a code, in the unified API its name"),
    _flat("region", "The client's region"),
    _flat("city", "The client's city"),
    _unread("district", "The client's district"),
    _flat("site", "The site"),
    _flat("ga_clientid", "Client id of Google Analytics", "ga_clid", "gaClid"),
    _flat("ya_clientid", "Client id of Yandex Metrica", "yaClid"),
    _unread("roistat_visit", "Visit id of Roistat", "roistatClid"),
    _flat(
        "phone1",
        "The manager's number, the extension after ^; or a list of them, parted by _",
        "managerNumber",
    ),
    _flat("phone2", "The client's number", "clientNumber"),
    _flat("widget_hash", "The widget's hash", "cbWidgetHash"),
    _flat("widget_name", "The widget's name", "cbToolName"),
    _unread("date", "The call's time, UTC", "callTime"),
    _unread("date_timestamp", "The call's time, epoch seconds"),
    _moment("order_date", "When the call was ordered, UTC", "cbOrderDate"),
    # The unified API sends the talk's alone, although it calls it the call's.
    _number("duration_sec", "Call duration, s"),
    _number("duration_min", "Call duration, charged minutes"),
    _number("duration2_sec", "Talk duration, s", "duration"),
    _number("duration2_min", "Talk duration, charged minutes", "tariffTime"),
    _flat("record_url", "The recording", "recordUrl"),
    _number("attempt", "Number of the attempt", zero="cbAttempt"),
    _flat("a_type", "How it was connected, 0 to 5, or a word", "cbConnectType"),
    _number("playback_tick", "Times the IVR text was read"),
    _number("asr_attempts", "Recognition attempts"),
    _flat("tags", "Tags"),
    _flat("event_source", "What the call was ordered from", "cbEventSource"),
    _unread("hook_event", "The webhook's event; in no answer of the API"),
)
# Those of the unified API that the statistics API and its webhooks have not.
_UNIFIED_FIELDS: Final[tuple[CallField, ...]] = (
    CallField("status_word", ("status",), "`success` or `fail`; in the unified API"),
    CallField("service_type", ("serviceType",), "The service that it went through"),
    CallField("ivr_count", ("cbIvrCount",), "IVR readings; a 0 may mean none", kind="whole"),
    CallField(
        "smart_call_count", ("cbSmartCallCount",), "Recognition attempts, likewise", kind="whole"
    ),
    CallField("page_number", ("page",), "The page that the call was on", is_read=False),
    CallField("universalId", ("universalId",), "The call's id over all services"),
    _unread("callerIdToManager", "The number that the manager saw: mostly the client's own"),
    _unread("callerIdToClient", "The number that the client saw: mostly the manager's own"),
    _unread("localDate", "The call's time on the client's clock"),
    _unread("timezoneOffset", "That clock's distance from UTC; +0020 has been seen for +0200"),
    _unread("unique", "Whether the client is new within a period, 180 days unless set otherwise"),
    _unread("target", "Whether the talk is longer than a limit, 120 s unless set otherwise"),
    _unread("uniqueTarget", "Both"),
    _unread("siteVisit", "The site that was visited", "visitSite"),
    _unread("calltouchClid", "Client id of Calltouch"),
    _unread("comagicClid", "Client id of Comagic"),
    _unread("entryPointQuery", "Query of the entry point"),
    _unread("device", "The visitor's device"),
    _unread("cbToolId", "The widget's id"),
    _unread("cbCallId", "The callback call's id in CallKeeper"),
    _unread("cbUid", "The callback account's id"),
    _unread("cbSmatrisSession", "Session of Smartis", "cbSmartisSession"),
    _unread("cbOfficeNumber", "The office's ordinal from 0, a text: no phone number"),
    _unread("cbOfficeName", "The office's name"),
    _unread("cbAttemptsQueue", "Ids of the order's previous attempts, a list"),
    _unread("ctCallId", "The call-tracking call's id in CallKeeper"),
    _unread("ctCampaignId", "The call-tracking campaign's id"),
    _unread("ctCampaignName", "The call-tracking campaign's name"),
    _unread("ctIsListened", "Whether the recording was listened to"),
    _unread("hooks", "The webhooks that CallKeeper sent, a list"),
)

CALL_FIELDS: Final[tuple[CallField, ...]] = (*_COMMON_FIELDS, *_UNIFIED_FIELDS)

# What `webhook.fields` may name: each field, and these few by the names of their columns too.
WEBHOOK_FIELDS: Final[dict[str, str]] = {
    **{field.name: field.paths[0] for field in _COMMON_FIELDS},
    "call_id": "id",
    "called_at": "date",
    "client_phone": "phone2",
    "manager_phone": "phone1",
    "event": "hook_event",
}


def _build_tree(paths: Iterable[str]) -> FieldTree:
    tree: FieldTree = {}
    for path in paths:
        *parents, leaf = path.split(".")
        node = tree
        for parent in parents:
            child = node.setdefault(parent, {})
            if child is None:
                raise ValueError(f"{path}: {parent} is declared as a value and as an object")
            node = child
        node[leaf] = None
    return tree


FIELDS_BY_PATH: Final[dict[str, CallField]] = {
    path: field for field in CALL_FIELDS for path in field.paths
}
FIELD_TREE: Final[FieldTree] = _build_tree(FIELDS_BY_PATH)


def object_paths(tree: FieldTree = FIELD_TREE, prefix: str = "") -> list[str]:
    """Return the dotted paths of all objects that hold fields, the call itself (`""`) first."""
    paths = [prefix]
    for name, child in tree.items():
        if child is not None:
            paths += object_paths(child, f"{prefix}.{name}" if prefix else name)
    return paths
