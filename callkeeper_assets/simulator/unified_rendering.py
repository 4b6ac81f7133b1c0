"""A call as the unified API sends it: JSON bytes with all of its fields, none of them null.

Written from the documentation's own sample; the number of the page, which differs from answer to
answer, is put before it by the server.
"""

import json
import time
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from callkeeper_assets.simulator.generation import Service, SimulatedCall, count_minutes
from callkeeper_assets.simulator.scenery import COUNTRY_NAMES, NONE_MARK, Marks
from callkeeper_assets.simulator.webhook_settings import SentDelivery
from callkeeper_assets.webhooks.raw_call import HOOK_EVENTS

_CONNECTIONS: Final = ("", "auto", "dtmf", "dtmf", "smartcall", "auto")
# Of 17 digits: more than a JavaScript number holds.
_UNIVERSAL: Final[dict[Service, int]] = {
    "callback": 21_000_000_000_000_000,
    "calltracking": 22_000_000_000_000_000,
    "import": 23_000_000_000_000_000,
}
_NO_HOOKS: Final = "[]"
_OFFICES: Final = 3
# The periods and limits that an account has unless it sets others.
_UNIQUE_DAYS: Final = 180
_TARGET_SEC: Final = 120
_DAY_SEC: Final = 86_400
_MORE: Final = ',"aiSummary":{"score":7,"text":"новое поле"},"callRating":""'
# A webhook that was lost on its way: the source believes that it arrived.
_BELIEVED: Final = 200


@lru_cache(maxsize=4096)
def _quote(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _mark(value: str) -> str:
    return _quote("" if value == NONE_MARK else value)


@lru_cache(maxsize=4096)
def _marks_json(marks: Marks) -> str:
    return (
        f'"referrer":{_mark(marks.referrer)},"utm_source":{_mark(marks.source)}'
        f',"utm_medium":{_mark(marks.medium)},"utm_campaign":{_mark(marks.campaign)}'
        f',"utm_content":{_mark(marks.content)},"utm_term":{_mark(marks.term)}'
        f',"entryPoint":{_mark(marks.entry_point)},"entryPointQuery":""'
    )


_NO_MARKS: Final = _marks_json(Marks("", "", "", "", "", "", "", ""))


def _moment(ts: int, separator: str = " ") -> str:
    return time.strftime(f"%Y-%m-%d{separator}%H:%M:%S", time.gmtime(ts))


def _hooks_json(deliveries: Sequence[SentDelivery]) -> str:
    if not deliveries:
        return _NO_HOOKS
    return json.dumps(
        [
            {
                "hookEventName": HOOK_EVENTS[each.event],
                "hookAddress": each.address,
                "hookMethod": each.method,
                "hookResponseStatus": _BELIEVED if each.outcome == "lost" else each.status or 0,
            }
            for each in deliveries
        ]
    )


def _list_hooks(deliveries: Sequence[SentDelivery]) -> str:
    return f',"hooks":{_hooks_json(deliveries)}'


def _visit_json(call: SimulatedCall) -> str:
    visit = call.visit
    if visit is None:
        return f'{_NO_MARKS},"pagesCount":0,"callPage":"","counts":0,"userAgent":"","device":""'
    return (
        f'{_marks_json(visit.current)},"pagesCount":{visit.pages},"callPage":{_quote(visit.page)}'
        f',"counts":{visit.ordinal},"userAgent":{_quote(visit.user_agent)},"device":"desktop"'
    )


def _service_json(call: SimulatedCall) -> str:
    """What belongs to callbacks, and what to call tracking; the other one's is empty."""
    tags = call.tags.split(", ") if call.tags else []
    if call.service == "callback":
        return (
            f'"cbWidgetHash":"{call.widget_hash}","cbToolId":1000,"cbCallId":{call.call_id}'
            f',"cbUid":1000,"cbToolName":{_quote(call.widget_name)},"cbSmatrisSession":62345'
            f',"cbOfficeNumber":"{call.style % _OFFICES}","cbOfficeName":"Офис"'
            f',"cbOrderDate":"{_moment(call.ordered_ts)}","cbAttempt":{call.attempt}'
            f',"cbAttemptsQueue":{_attempts_json(call)}'
            f',"cbConnectType":"{_CONNECTIONS[call.connection_type]}"'
            f',"cbSmartCallCount":{call.asr_attempts or 0},"cbIvrCount":{call.playback_tick or 0}'
            f',"cbEventSource":"{call.event_source}","ctCallId":0,"ctCampaignId":0'
            f',"ctCampaignName":"","ctIsListened":"0","tags":{_quote_list(tags)}'
        )
    own = call.call_id if call.service == "calltracking" else 0
    return (
        '"cbWidgetHash":"","cbToolId":0,"cbCallId":0,"cbUid":0,"cbToolName":"","cbSmatrisSession":0'
        ',"cbOfficeNumber":"","cbOfficeName":"","cbOrderDate":"","cbAttempt":0'
        ',"cbAttemptsQueue":[],"cbConnectType":"","cbSmartCallCount":0,"cbIvrCount":0'
        f',"cbEventSource":"","ctCallId":{own},"ctCampaignId":1000,"ctCampaignName":"Реклама"'
        f',"ctIsListened":"1","tags":{_quote_list(tags)}'
    )


def _attempts_json(call: SimulatedCall) -> str:
    """The ids of the order's attempts before this one."""
    return json.dumps([call.call_id - back for back in range(call.attempt - 1, 0, -1)])


def _is_unique(call: SimulatedCall) -> bool:
    """Whether the client is new: no attempt before, and no visit within the period."""
    if call.attempt > 1:
        return False
    visit = call.visit
    if visit is None or visit.ordinal == 1:
        return True
    return call.called_ts - visit.first_ts > _UNIQUE_DAYS * _DAY_SEC


def _quote_list(texts: Sequence[str]) -> str:
    return json.dumps(texts, ensure_ascii=False) if texts else "[]"


def build_universal_id(call: SimulatedCall) -> str:
    """The id that is one over all services."""
    return str(_UNIVERSAL[call.service] + call.call_id)


def render_unified_call(
    call: SimulatedCall,
    deliveries: Sequence[SentDelivery],
    offset_sec: int,
    *,
    has_more: bool,
    has_hooks: bool = True,
    has_time: bool = True,
) -> bytes:
    """One call, from after the number of its page to its end.

    Args:
        call: As it is shown now.
        deliveries: Of its webhooks.
        offset_sec: The distance of the client's clock from UTC at the call's time.
        has_more: Adds fields that no document names.
        has_hooks: Lists the webhooks; an account's answers may not.
        has_time: Whether `callTime` is sent.
    """
    is_good = (call.status_code, call.status2_code) == (200, 200)
    is_unique, is_target = _is_unique(call), call.duration2_sec > _TARGET_SEC
    manager, client = call.manager_phone.removeprefix("+"), call.client_phone.removeprefix("+")
    sign, minutes = "-" if offset_sec < 0 else "+", abs(offset_sec) // 60
    visited = "visitSite" if call.style & 1 else "siteVisit"
    country = COUNTRY_NAMES[call.place.country] if call.place.country else ""
    return (
        f'"universalId":"{build_universal_id(call)}"'
        f',"serviceType":"{call.service}","clientNumber":"{client}","managerNumber":"{manager}"'
        f',"callerIdToManager":"{client}","callerIdToClient":"{manager}"'
        f',"statusFirst":{call.status_code},"statusSecond":{call.status2_code}'
        f',"status":"{"success" if is_good else "fail"}"'
        f',"callTime":"{_moment(call.called_ts) if has_time else ""}"'
        f',"localDate":"{_moment(call.called_ts + offset_sec)}"'
        f',"timezoneOffset":"{sign}{minutes // 60:02d}{minutes % 60:02d}"'
        f',"duration":{call.duration2_sec},"tariffTime":{count_minutes(call.duration2_sec)}'
        f',"site":{_quote(call.site)},"recordUrl":"{call.record_url or ""}"'
        f',"unique":{_flag(is_unique)},"target":{_flag(is_target)}'
        f',"uniqueTarget":{_flag(is_unique and is_target)},"{visited}":{_quote(call.site)}'
        f',{_visit_json(call)},"yaClid":"{call.ya_clientid or ""}"'
        f',"gaClid":"{call.ga_clientid or ""}","roistatClid":"{call.roistat_visit or ""}"'
        f',"calltouchClid":"","comagicClid":"","city":{_quote(call.place.city or "")}'
        f',"region":{_quote(call.place.region or "")},"country":"{country}"'
        f',"ipAddress":"{call.ip or ""}",{_service_json(call)}'
        f"{_list_hooks(deliveries) if has_hooks else ''}"
        f"{_MORE if has_more else ''}}}"
    ).encode()


def _flag(value: bool) -> str:
    return "true" if value else "false"
