"""The fields of a raw call, as data: where each can lie, and what it means.

From the API's documentation and its known deviations: marks under Sourcebuster's keys or utm
names, visit data nested in `visit_info`, beside it, or flat. The transformation reads fields by
these paths, filters name them, and what no path covers is reported as unknown.
Add a documented field here; what it becomes in a table is `sql/transform.sql`'s.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class CallField:
    """One field.

    Attributes:
        name: its name in `sql/transform.sql`.
        paths: where it can lie, dotted; the first that has a value counts.
    """

    name: str
    paths: tuple[str, ...]
    meaning: str


def _flat(name: str, meaning: str, *aliases: str) -> CallField:
    return CallField(name, (name, *aliases), meaning)


def _mark(visit: str, name: str, utm: str, short: str, meaning: str) -> CallField:
    paths = tuple(
        f"{parent}{visit}.{key}" for parent in ("visit_info.", "") for key in (utm, short)
    )
    return CallField(f"{visit}_{name}", paths, f"{meaning} of the {visit} visit")


def _entry(visit: str, name: str, long: str, short: str, meaning: str) -> CallField:
    paths = tuple(
        f"{parent}{visit}{block}.{key}"
        for parent in ("visit_info.", "")
        for block, keys in (("_add", (long, short)), ("", (long,)))
        for key in keys
    )
    return CallField(f"{visit}_{name}", paths, f"{meaning} of the {visit} visit")


def _visit_fields(visit: str) -> tuple[CallField, ...]:
    return (
        _mark(visit, "type", "utm_type", "typ", "Type"),
        _mark(visit, "source", "utm_source", "src", "Source"),
        _mark(visit, "medium", "utm_medium", "mdm", "Medium"),
        _mark(visit, "campaign", "utm_campaign", "cmp", "Campaign"),
        _mark(visit, "content", "utm_content", "cnt", "Content"),
        _mark(visit, "term", "utm_term", "trm", "Search term"),
        _entry(visit, "entry_point", "entry_point", "ep", "Entry point"),
        _entry(visit, "referrer", "referrer", "rf", "Referrer"),
        _entry(visit, "started", "fd", "fd", "Time"),
    )


def _nested(parent: str, name: str, meaning: str) -> CallField:
    return CallField(name, (f"visit_info.{parent}.{name}", f"{parent}.{name}", name), meaning)


CALL_FIELDS: Final[tuple[CallField, ...]] = (
    _flat("id", "The call's id in CallKeeper"),
    *_visit_fields("current"),
    *_visit_fields("first"),
    _nested("session", "pgs", "Pages seen before the call"),
    _nested("session", "cpg", "The page from which it was ordered"),
    _nested("udata", "vst", "Ordinal of the visit"),
    _nested("udata", "uag", "User agent"),
    CallField("ip", ("ip", "visit_info.udata.uip", "udata.uip", "uip"), "The client's address"),
    _flat("status_code", "SIP status of the leg to the manager"),
    _flat("status_reason", "Its text"),
    _flat("status2_code", "SIP status of the leg to the client"),
    _flat("status2_reason", "Its text"),
    _flat("country", "The client's country, a code"),
    _flat("region", "The client's region"),
    _flat("city", "The client's city"),
    _flat("district", "The client's district"),
    _flat("site", "The site"),
    _flat("ga_clientid", "Client id of Google Analytics", "ga_clid"),
    _flat("ya_clientid", "Client id of Yandex Metrica"),
    _flat("roistat_visit", "Visit id of Roistat"),
    _flat("phone1", "The manager's number, the extension after ^"),
    _flat("phone2", "The client's number"),
    _flat("widget_hash", "The widget's hash"),
    _flat("widget_name", "The widget's name"),
    _flat("date", "The call's time, UTC"),
    _flat("date_timestamp", "The call's time, epoch seconds"),
    _flat("order_date", "When the call was ordered, UTC"),
    _flat("duration_sec", "Call duration, s"),
    _flat("duration_min", "Call duration, charged minutes"),
    _flat("duration2_sec", "Talk duration, s"),
    _flat("duration2_min", "Talk duration, minutes"),
    _flat("record_url", "The recording"),
    _flat("attempt", "Number of the attempt"),
    _flat("a_type", "How it was connected, 0 to 5"),
    _flat("playback_tick", "Times the IVR text was read"),
    _flat("asr_attempts", "Recognition attempts"),
    _flat("tags", "Tags"),
    _flat("event_source", "What the call was ordered from"),
    _flat("hook_event", "The webhook's event; in no answer of the API"),
)

# What `webhook.fields` may name: each field, and these few by the names of their columns too.
WEBHOOK_FIELDS: Final[dict[str, str]] = {
    **{field.name: field.paths[0] for field in CALL_FIELDS},
    "call_id": "id",
    "called_at": "date",
    "client_phone": "phone2",
    "manager_phone": "phone1",
    "event": "hook_event",
}

# A tree of the objects that hold fields; a leaf is None.
FieldTree = dict[str, "FieldTree | None"]


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
