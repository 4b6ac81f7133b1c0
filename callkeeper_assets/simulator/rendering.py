"""A call and a day as each API sends them: JSON in all spellings of real answers.

The unified API's follows its documentation's own sample, with all fields, none of them null;
the number of the page, which differs from answer to answer, is put before it by whoever serves it.
"""

import json
import time
from array import array
from bisect import bisect_left
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from callkeeper_assets.simulator.generation import (
    NEVER,
    Service,
    SimulatedCall,
    Visit,
    count_minutes,
    is_spoiled,
    see_at,
    spoil,
)
from callkeeper_assets.simulator.scenery import (
    COUNTRY_NAMES,
    NONE_MARK,
    SOURCEBUSTER_KEYS,
    UTM_KEYS,
    Marks,
    reason2_of,
    reason_of,
)
from callkeeper_assets.simulator.settings import AnswerSettings
from callkeeper_assets.simulator.webhook_settings import SentDelivery
from callkeeper_assets.webhooks.raw_call import HOOK_EVENTS

MISSING: Final = (None, "", " ")
ABSENT: Final = 3
"""A style's last two bits: one of the values of `MISSING`, or no field at all."""
_MISSING_JSON: Final = tuple(map(json.dumps, MISSING))


@lru_cache(maxsize=4096)
def _quote(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _moment(ts: int) -> str:
    at = time.gmtime(ts)
    day = f"{at.tm_year}-{at.tm_mon:02d}-{at.tm_mday:02d}"
    return f"{day} {at.tm_hour:02d}:{at.tm_min:02d}:{at.tm_sec:02d}"


@lru_cache(maxsize=4096)
def _marks_json(marks: Marks, *, is_utm: bool) -> tuple[str, str]:
    """The marks and, open at its end for the visit's time, their `*_add` companion."""
    names, entry, referrer = UTM_KEYS if is_utm else SOURCEBUSTER_KEYS
    current = ",".join(
        f'"{name}":{_quote(value)}' for name, value in zip(names, marks, strict=False)
    )
    added = f'"{entry}":{_quote(marks.entry_point)},"{referrer}":{_quote(marks.referrer)},"fd":"'
    return f"{{{current}}}", f"{{{added}"


def _optional(name: str, quoted: str | None, style: int) -> str:
    """A field that may miss: its value, else one of the four ways of having none."""
    if quoted is None:
        if style & 3 == ABSENT:
            return ""
        quoted = _MISSING_JSON[style & 3]
    return f',"{name}":{quoted}'


def _optional_text(name: str, value: str | None, style: int) -> str:
    return _optional(name, None if value is None else _quote(value), style)


def _optional_raw(name: str, value: str | None, style: int) -> str:
    """As `_optional_text`, for digits and dots: too many to remember, nothing to escape."""
    return _optional(name, None if value is None else f'"{value}"', style)


def _optional_number(name: str, value: int | None, style: int) -> str:
    if value is None:
        return _optional(name, None, style)
    return f',"{name}":"{value}"' if style & 1 else f',"{name}":{value}'


def _visit_json(visit: Visit, ip: str | None, style: int, answers: AnswerSettings) -> str:
    """`visit_info` with what belongs to it, inside or beside."""
    is_utm = answers.mark_keys == "utm"
    current, current_add = _marks_json(visit.current, is_utm=is_utm)
    first, first_add = _marks_json(visit.first, is_utm=is_utm)
    pages, ordinal = (
        (f'"{visit.pages}"', f'"{visit.ordinal}"')
        if style & 1
        else (str(visit.pages), str(visit.ordinal))
    )
    rest = (
        f'"session":{{"pgs":{pages},"cpg":{_quote(visit.page)}}},'
        f'"udata":{{"vst":{ordinal},"uip":"{ip or ""}","uag":{_quote(visit.user_agent)}}}'
    )
    marks = (
        f'"current":{current},"current_add":{current_add}{_moment(visit.current_ts)}"}},'
        f'"first":{first},"first_add":{first_add}{_moment(visit.first_ts)}"}}'
    )
    if answers.nesting == "inside":
        return f',"visit_info":{{{marks},{rest}}}'
    return f',"visit_info":{{{marks}}},{rest}'


def render_call(call: SimulatedCall, answers: AnswerSettings) -> bytes:
    """One call as a JSON object in UTF-8."""
    style = call.style
    place = call.place
    mark = '"' if style & 64 else ""
    extension = f"^{call.manager_extension}" if call.manager_extension else ""
    visit = (
        _visit_json(call.visit, call.ip, style, answers)
        if call.visit
        else _optional("visit_info", None, style)
    )
    reason = reason_of(call.status_code, call.status2_code)
    called_at = _moment(call.called_ts)
    ordered_at = called_at if call.ordered_ts == call.called_ts else _moment(call.ordered_ts)
    clientid = "ga_clid" if style & 512 else "ga_clientid"
    text = (
        f'{{"id":{mark}{call.call_id}{mark}'
        f"{visit}"
        f',"status_code":{mark}{call.status_code}{mark}'
        f"{_optional_text('status_reason', reason, style >> 1)}"
        f',"status2_code":{call.status2_code}'
        f"{_optional_text('status2_reason', reason2_of(call.status2_code), style >> 2)}"
        f"{_optional_raw('ip', call.ip, style >> 3)}"
        f"{_optional_text('country', place.country, style >> 4)}"
        f"{_optional_text('city', place.city, style >> 5)}"
        f"{_optional_text('region', place.region, style >> 6)}"
        f"{_optional_text('district', place.district, style >> 7)}"
        f',"site":{_quote(call.site)}'
        f"{_optional_raw(clientid, call.ga_clientid, style >> 8)}"
        f"{_optional_raw('ya_clientid', call.ya_clientid, style >> 10)}"
        f"{_optional_raw('roistat_visit', call.roistat_visit, style >> 11)}"
        f',"phone1":"{call.manager_phone}{extension}","phone2":"{call.client_phone}"'
        f',"widget_hash":"{call.widget_hash}","widget_name":{_quote(call.widget_name)}'
        f',"date":"{called_at}","date_timestamp":{mark}{call.called_ts}{mark}'
        f',"order_date":"{ordered_at}"'
        f',"duration_sec":{call.duration_sec},"duration_min":"{count_minutes(call.duration_sec)}"'
        f',"duration2_sec":{mark}{call.duration2_sec}{mark}'
        f',"duration2_min":"{count_minutes(call.duration2_sec)}"'
        f',"record_url":"{call.record_url or ""}","attempt":{mark}{call.attempt}{mark}'
        f',"a_type":{call.connection_type}'
        f"{_optional_number('playback_tick', call.playback_tick, style >> 12)}"
        f"{_optional_number('asr_attempts', call.asr_attempts, style >> 13)}"
        f',"tags":{_quote(call.tags or " ")},"event_source":"{call.event_source}"'
    )
    if answers.unknown_fields:
        text += (
            f',"ai_summary":{{"score":{style % 100},"text":"новое поле"}},"callback_rating":null'
        )
    return (text + "}").encode()


StatusPair = tuple[int, int]


@dataclass(frozen=True)
class ServedDay:
    """A day as it looks from `built_at` until `valid_until`, when the next of its calls settles.

    Call n of the day is `body[offsets[n]:offsets[n + 1] - 1]`: the calls are joined by commas.
    """

    body: bytes
    offsets: "array[int]"
    times: "array[int]"
    ids: "array[int]"
    statuses: tuple[StatusPair, ...]
    built_at: int
    valid_until: int

    def is_valid(self, now: int) -> bool:
        """Whether nothing has settled since; a clock set back makes it invalid too."""
        return self.built_at <= now < self.valid_until

    def cut(self, start: int, end: int) -> tuple[int, int]:
        """Positions of the calls from `start` up to, not including, `end`, in epoch seconds."""
        return bisect_left(self.times, start), bisect_left(self.times, end)

    def read(self, low: int, high: int) -> bytes:
        """The calls of positions `low` to `high`, joined by commas."""
        return self.body[self.offsets[low] : self.offsets[high] - 1]

    def read_with_status(
        self, low: int, high: int, wanted: Container[StatusPair]
    ) -> Iterator[bytes]:
        """The calls of those positions that have one of the wanted statuses."""
        for position in range(low, high):
            if self.statuses[position] in wanted:
                yield self.read(position, position + 1)


def build_day(calls: Sequence[SimulatedCall], answers: AnswerSettings, now: int) -> ServedDay:
    """A served day of calls sorted by time."""
    seen = [see_at(call, now) for call in calls]
    pieces = [
        spoil(render_call(call, answers), call.call_id)
        if is_spoiled(call.call_id, answers.unusable)
        else render_call(call, answers)
        for call in seen
    ]
    offsets = array("q", [0])
    position = 0
    for piece in pieces:
        position += len(piece) + 1
        offsets.append(position)
    return ServedDay(
        body=b",".join(pieces),
        offsets=offsets,
        times=array("q", [call.called_ts for call in seen]),
        ids=array("q", [call.call_id for call in seen]),
        statuses=tuple((call.status_code, call.status2_code) for call in seen),
        built_at=now,
        valid_until=min((c.settles_ts for c in calls if c.settles_ts > now), default=NEVER),
    )


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
_MORE_FIELDS: Final = ',"aiSummary":{"score":7,"text":"новое поле"},"callRating":""'
# A webhook that was lost on its way: the source believes that it arrived.
_BELIEVED: Final = 200


def _mark(value: str) -> str:
    return _quote("" if value == NONE_MARK else value)


@lru_cache(maxsize=4096)
def _unified_marks_json(marks: Marks) -> str:
    return (
        f'"referrer":{_mark(marks.referrer)},"utm_source":{_mark(marks.source)}'
        f',"utm_medium":{_mark(marks.medium)},"utm_campaign":{_mark(marks.campaign)}'
        f',"utm_content":{_mark(marks.content)},"utm_term":{_mark(marks.term)}'
        f',"entryPoint":{_mark(marks.entry_point)},"entryPointQuery":""'
    )


_NO_MARKS: Final = _unified_marks_json(Marks("", "", "", "", "", "", "", ""))


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


def _unified_visit_json(call: SimulatedCall) -> str:
    visit = call.visit
    if visit is None:
        return f'{_NO_MARKS},"pagesCount":0,"callPage":"","counts":0,"userAgent":"","device":""'
    return (
        f'{_unified_marks_json(visit.current)},"pagesCount":{visit.pages},"callPage":{_quote(visit.page)}'
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
        f',{_unified_visit_json(call)},"yaClid":"{call.ya_clientid or ""}"'
        f',"gaClid":"{call.ga_clientid or ""}","roistatClid":"{call.roistat_visit or ""}"'
        f',"calltouchClid":"","comagicClid":"","city":{_quote(call.place.city or "")}'
        f',"region":{_quote(call.place.region or "")},"country":"{country}"'
        f',"ipAddress":"{call.ip or ""}",{_service_json(call)}'
        f"{_list_hooks(deliveries) if has_hooks else ''}"
        f"{_MORE_FIELDS if has_more else ''}}}"
    ).encode()


def _flag(value: bool) -> str:
    return "true" if value else "false"
