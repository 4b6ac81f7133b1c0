"""Which fields of a raw call hold what: phone numbers, addresses, ids, texts, or nothing personal.

For a phone field also which numbers its value has, in each form that the source sends, and what
becomes of it under a rule.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal

from callkeeper_assets.privacy.numbers import (
    ERASED,
    GAP,
    LONGEST_NUMBER,
    SEPARATOR,
    SHORTEST_SOUGHT,
    SIGN,
    fold,
    is_planned,
    match_extension,
    match_run,
    read_number,
)
from callkeeper_assets.raw.fields import FIELDS_BY_PATH

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

_TOKEN: Final = re.compile(r"tel_[a-p]{20}")
# As masking leaves a number: so many digits at most, then those that are hidden.
MOST_SHOWN: Final = 9
_MASKED: Final = re.compile(
    rf"\+?{SEPARATOR}{{0,2}}(?:[0-9]{GAP}){{0,{MOST_SHOWN}}}\*(?:{SEPARATOR}{{0,4}}\*){{3,}}(?![0-9*])"
    r"|\*{3}(?![0-9*])"
)
_GROUP: Final = re.compile(r"[0-9]+")
_WORD: Final = re.compile(r"[^\W_]+")
# Of a SIP address: it may name a person, or be an address of the network.
_HOST: Final = re.compile(r"@[^\s;,^_>]+")
_FLOAT: Final = re.compile(r"\s*(\+?[0-9]{7,15})\.0+\s*")
_POWER: Final = re.compile(r"\s*[0-9](?:\.[0-9]+)?[eE]\+?[0-9]{1,2}\s*")
_LONGEST: Final = 200
# Words beside a number that say nothing of anybody.
_HARMLESS: Final = frozenset(("tel", "sip", "sips", "callto", "phone", "тел", "моб", "телефон"))
# What stands where there is no number.
_NOBODY: Final = frozenset(
    (
        *("anonymous", "unknown", "private", "restricted", "unavailable", "withheld", "hidden"),
        *("none", "null", "no", "number", "true", "false", "аноним", "анонимный", "скрыт"),
        *("скрытый", "номер", "неизвестен", "неизвестно", "не", "определен", "определён", "нет"),
    )
)
_MOST_EXTENSION_DIGITS: Final = 6
# Of several numbers; nobody writes more into one field.
_MOST_DIGITS: Final = 60

PieceKind = Literal["number", "extension", "hidden"]


def build_kinds(renamed: Mapping[str, str]) -> dict[str, Kind]:
    """Return the kinds of declared fields by path.

    Args:
        renamed: By path in a raw call, the name under which an account's webhooks have it.

    Raises:
        KeyError: A declared field has no kind.
    """
    kinds = {path: KINDS[field.name] for path, field in FIELDS_BY_PATH.items()}
    return kinds | {name: kinds[path] for path, name in renamed.items()}


def is_personal_by_name(name: str) -> bool:
    """Whether an undeclared field's name says that it holds something personal."""
    lower = name.lower()
    return _PHONE_NAME.search(lower) is not None or any(
        pattern.search(lower) for pattern, _ in _NAMES
    )


def find_kind_of_unknown(path: str, value: str) -> Kind:
    """Return the kind of an undeclared field, by its name and its value."""
    name = path.lower()
    for pattern, kind in _NAMES:
        if pattern.search(name):
            return kind
    if _PHONE_NAME.search(name) and _PHONE_VALUE.fullmatch(value.strip()):
        return "manager_phone" if _MANAGER_NAME.search(name) else "client_phone"
    return "unknown"


@dataclass(frozen=True)
class Piece:
    """A piece of a field.

    Attributes:
        start: Where it stands.
        end: Behind it.
        readings: Of a number: what it can mean, the likeliest first.
    """

    part: PieceKind
    start: int
    end: int
    readings: tuple[str, ...] = ()


@dataclass(frozen=True)
class PhoneField:
    """A field's value, taken apart.

    Attributes:
        pieces: In order; none if there is no number.
        is_read: Whether it is understood whole; if not, it must not be seen.
        is_plain: Whether beside its pieces there is nothing but signs.
    """

    text: str
    pieces: tuple[Piece, ...]
    is_read: bool
    is_plain: bool

    @property
    def numbers(self) -> tuple[tuple[str, ...], ...]:
        """The readings of each of its numbers that is long enough to be looked for."""
        return tuple(
            piece.readings
            for piece in self.pieces
            if piece.part == "number" and len(piece.readings[0]) >= SHORTEST_SOUGHT
        )

    @property
    def is_hidden(self) -> bool:
        """Whether all its numbers are hidden already, and it has some."""
        return bool(self.pieces) and all(piece.part != "number" for piece in self.pieces)


@lru_cache(maxsize=8192)
def read_field(text: str) -> PhoneField:
    """Take a phone field's value apart."""
    if len(text) > _LONGEST:
        return PhoneField(text, (), is_read=False, is_plain=False)
    view = fold(text)
    folded = view.text
    # As spreadsheets and some JSON have whole numbers.
    if whole := _FLOAT.fullmatch(folded):
        return read_field(whole[1])
    if _POWER.fullmatch(folded) and float(folded).is_integer():
        return read_field(str(int(float(folded))))
    pieces, rest = _split(folded)
    if pieces is None:
        return PhoneField(text, (), is_read=False, is_plain=False)
    words = {word.lower() for word in _WORD.findall("".join(rest))}
    located = tuple(
        Piece(one.part, *view.locate(one.start, one.end), one.readings) for one in pieces
    )
    is_plain = words <= _HARMLESS
    if not is_plain and any(_is_long(one) for one in located):
        # Other digits of a text around a number are no numbers.
        located = tuple(one for one in located if one.part != "number" or _is_long(one))
    is_nobody = not located and words <= _NOBODY
    return PhoneField(text, located, is_read=bool(located) or is_nobody, is_plain=is_plain)


def _is_long(piece: Piece) -> bool:
    return piece.part == "number" and len(piece.readings[0]) >= SHORTEST_SOUGHT


def _split(text: str) -> tuple[list[Piece] | None, list[str]]:
    """Return a folded text's pieces, and the text between them; no pieces if it cannot be read."""
    pieces: list[Piece] = []
    rest: list[str] = []
    at = 0
    while at < len(text):
        if host := _HOST.match(text, at):
            rest.append("@host")
            at = host.end()
            continue
        hidden = _TOKEN.match(text, at) or _MASKED.match(text, at)
        extension = match_extension(text, at) if pieces and not hidden else None
        if hidden:
            pieces.append(Piece("hidden", at, hidden.end()))
            at = hidden.end()
        elif extension and pieces[-1].part != "extension":
            pieces.append(Piece("extension", extension.start(1), extension.end()))
            at = extension.end()
        elif run := match_run(text, at):
            numbers = _read_run(text, at, run.end())
            if numbers is None:
                return None, rest
            pieces += numbers
            at = run.end()
        else:
            rest.append(text[at])
            at += 1
    return pieces, rest


def _read_run(text: str, start: int, end: int) -> list[Piece] | None:
    """Return the numbers of a run of digits and separators; None if they cannot be told apart."""
    groups = [found.span() for found in _GROUP.finditer(text, start, end)]
    digits = sum(end - start for start, end in groups)
    found = _part_run(text, groups) if digits <= _MOST_DIGITS else None
    if found is not None:
        return found
    if digits > LONGEST_NUMBER:
        return None
    written = "".join(text[one:other] for one, other in groups)
    return [Piece("number", start, end, read_number(written, has_plus=text[start] == "+"))]


def _part_run(text: str, groups: list[tuple[int, int]]) -> list[Piece] | None:
    """Return a run as numbers of known forms, the fewest; a short rest is an extension."""
    if not groups:
        return []
    left = sum(end - start for start, end in groups)
    sign = SIGN.search(text, max(0, groups[0][0] - 3), groups[0][0])
    start = sign.start() if sign else groups[0][0]
    for size in range(len(groups), 0, -1):
        digits = "".join(text[one:other] for one, other in groups[:size])
        if not SHORTEST_SOUGHT <= len(digits) <= LONGEST_NUMBER + 3:
            continue
        numbers = read_number(digits, has_plus=sign is not None)
        if not is_planned(numbers[0]):
            continue
        piece = Piece("number", start, groups[size - 1][1], numbers)
        if size < len(groups) and left - len(digits) <= _MOST_EXTENSION_DIGITS:
            return [piece, Piece("extension", groups[size][0], groups[-1][1])]
        rest = _part_run(text, groups[size:])
        if rest is not None:
            return [piece, *rest]
    return None


# Gets a number and how it is written; gives what is put in its place.
Replace = Callable[[Piece, str], str]


def hide_field(field: PhoneField) -> str:
    """Return what is left of a field without a number that can be read."""
    return field.text if field.is_read and not field.pieces else ERASED


def replace_in_field(field: PhoneField, replace: Replace) -> str:
    """Return a field with each number replaced, and all else as it is."""
    done, end = [], 0
    for piece in field.pieces:
        if piece.part == "number":
            written = field.text[piece.start : piece.end]
            done += [field.text[end : piece.start], replace(piece, written)]
            end = piece.end
    return "".join((*done, field.text[end:]))


def join_field(field: PhoneField, replace: Replace, *, keeps_extensions: bool) -> str:
    """Return what replaces a field's numbers, each once, and nothing else that was in it."""
    return ";".join(dict.fromkeys(_list_parts(field, replace, keeps_extensions=keeps_extensions)))


def _list_parts(field: PhoneField, replace: Replace, *, keeps_extensions: bool) -> Iterator[str]:
    shown = ""
    for piece in field.pieces:
        written = field.text[piece.start : piece.end]
        if piece.part == "extension":
            shown += f"^{written}" if keeps_extensions else ""
            continue
        if shown:
            yield shown
        shown = replace(piece, written) if piece.part == "number" else written
    yield shown
