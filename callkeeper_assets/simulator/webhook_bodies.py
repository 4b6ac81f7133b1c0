"""A webhook's body: a call as the API sends it, told at its start or at its end, in any layout.

`rendering.py` spells the call; here is what a webhook leaves out, adds, moves and renames, and how
it becomes JSON, a form or a query.
"""

import datetime as dt
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from callkeeper_assets.simulator.calls import Call, see_at
from callkeeper_assets.simulator.rendering import ABSENT, MISSING, render_call
from callkeeper_assets.simulator.settings import AnswerSettings
from callkeeper_assets.simulator.webhook_settings import (
    CALLTRACKING_PARAMETERS,
    FIELD_PATHS,
    WebhookEvent,
    WebhookSettings,
)

Body = dict[str, Any]

# Not known while the call goes on; `duration2_sec` never is.
_KNOWN_AT_END: Final = ("duration_sec", "duration_min", "duration2_min")


def show_event(call: Call, event: WebhookEvent) -> Call:
    """The call as the webhook's moment knows it: going on (1/0), or at its end."""
    if event == "Call is over":
        return call
    return see_at(call._replace(open_code=1), call.called_ts - 1)


def _forget_durations(body: Body, style: int) -> None:
    for position, name in enumerate(_KNOWN_AT_END):
        spelling = style >> (14 + position) & 3
        if spelling == ABSENT:
            del body[name]
        else:
            body[name] = MISSING[spelling]


def _take(body: Body, path: str) -> Iterator[Any]:
    """Take a value out of its place, if it is there."""
    *parents, name = path.split(".")
    inner: Any = body
    for parent in parents:
        inner = inner.get(parent) if isinstance(inner, dict) else None
    if isinstance(inner, dict) and name in inner:
        yield inner.pop(name)


def _rename(body: Body, names: dict[str, str]) -> None:
    # All are taken before any is put back: an owner's name may be another field's own.
    taken = {
        new: value
        for name, new in names.items()
        for path in FIELD_PATHS[name]
        for value in _take(body, path)
    }
    body.update(taken)


def _lay_out(body: Body, layout: str) -> Body:
    """The body in the wanted layout; it comes with all of the visit inside `visit_info`."""
    visit = body.get("visit_info")
    if layout == "inside" or not isinstance(visit, dict):
        return body
    beside = {name: visit.pop(name) for name in ("session", "udata")}
    if layout == "beside":
        return {**body, **beside}
    del body["visit_info"]
    return {**visit, **beside["session"], **beside["udata"], **body}


def build_body(
    call: Call, event: WebhookEvent, answers: AnswerSettings, settings: WebhookSettings
) -> Body:
    """A webhook's fields and values, before they become bytes."""
    if call.service == "calltracking":
        return _build_calltracking_body(call, settings)
    shown = show_event(call, event)
    body: Body = json.loads(render_call(shown, replace(answers, nesting="inside")))
    del body["duration2_sec"]
    if event == "Call is processing":
        _forget_durations(body, call.style)
    body["hook_event"] = event
    if "ip" in body:
        body["uip"] = body["ip"]
    _rename(body, {name: new for name, new in settings.names.items() if name in FIELD_PATHS})
    return _lay_out(body, settings.layout)


def _build_calltracking_body(call: Call, settings: WebhookSettings) -> Body:
    """What a webhook of call tracking says: neither which call it is, nor in which zone it was."""
    marks = call.visit.current if call.visit else None
    started = dt.datetime.fromtimestamp(call.called_ts, ZoneInfo(settings.calltracking_zone))
    is_good = (call.status_code, call.status2_code) == (200, 200)
    values: Body = dict.fromkeys(CALLTRACKING_PARAMETERS, "")
    values |= {
        "record_url": call.record_url or "",
        "ip": call.ip or "",
        "host": call.site,
        "city": call.place.city or "",
        "region": call.place.region or "",
        "country": call.place.country or "",
        "source_type": "utm" if marks else "",
        "client_number": call.client_phone,
        "calltracking_number": call.manager_phone,
        "manager_number": call.manager_phone,
        "time_start": f"{started:%Y-%m-%d %H:%M:%S}",
        "duration": call.duration2_sec,
        "call_status": "success" if is_good else "fail",
        "call_type": "dynamic",
        "ga_clid": call.ga_clientid or "",
    }
    if marks:
        values |= {"utm_source": marks.source, "utm_medium": marks.medium}
        values |= {"utm_campaign": marks.campaign, "utm_term": marks.term}
    return {settings.names.get(name, name): value for name, value in values.items()}


def _list_pairs(body: Body, nested_as: str, prefix: str = "") -> Iterator[tuple[str, object]]:
    """A query's or form's pairs; a null has no spelling there, and is left out."""
    for name, value in body.items():
        full = name
        if prefix:
            full = f"{prefix}[{name}]" if nested_as == "brackets" else f"{prefix}.{name}"
        if not isinstance(value, dict):
            if value is not None:
                yield full, value
        elif nested_as == "json":
            yield full, json.dumps(value, ensure_ascii=False)
        else:
            yield from _list_pairs(value, nested_as, full)


def render_payload(body: Body, settings: WebhookSettings) -> bytes:
    """A body as it is sent: JSON in UTF-8, or the text of a form or query."""
    if settings.method != "GET" and settings.content == "json":
        return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
    return urlencode(list(_list_pairs(body, settings.nested_as))).encode()
