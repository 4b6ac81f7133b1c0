"""Bodies of answers, whichever API sent them: what is no JSON, what is a failure, and why.

Only the failures that say so are an empty period; every other one is the `Trouble` that it names.
"""

from collections import Counter
from typing import Final

import msgspec

from callkeeper_assets.api.calls import OF_NO_DAY, KeyedCalls, UnusableRecord
from callkeeper_assets.api.errors import BadDataError
from callkeeper_assets.api.redaction import excerpt
from callkeeper_assets.api.troubles import (
    Trouble,
    cut_trouble,
    is_about_size,
    page_trouble,
    size_trouble,
    trouble_of_reason,
)

BOM: Final = b"\xef\xbb\xbf"
NOT_UTF_8: Final = "its text is not UTF-8"
# The second is what the unified API says of a page past the last one, and of an empty list.
_NO_CALLS: Final = ("no rows found", "incorrect page is set")
_MOST_SAID: Final = 3
_BEGINNING: Final = 2_000  # bytes of a body that is no JSON, of which an excerpt is shown
_REPORT: Final = "The source has changed its answer, or base_url is wrong: report it"


def find_failure(answer: object) -> str | None:
    """Return the failure's reason, if the decoded answer is one."""
    if isinstance(answer, dict) and len(answer) == 1 and next(iter(answer)).isdecimal():
        answer = list(answer.values())  # see `list_rows`
    if isinstance(answer, list) and len(answer) == 1:
        answer = answer[0]
    if not isinstance(answer, dict) or "id" in answer:
        return None
    if "result" in answer and answer.get("status") != "fail":
        return find_failure(answer["result"])
    inbound = answer.get("inbound")
    if isinstance(inbound, dict) and inbound.get("error"):
        return str(inbound["error"])
    for name in ("reason", "error", "message", "status"):
        if answer.get(name):
            return str(answer[name])
    return None


def is_empty_period(reason: str) -> bool:
    """Whether a failure's reason says that there are no calls, or no more of them."""
    return reason.strip(" .!").lower() in _NO_CALLS


def unusable(came_back: str, remedy: str = _REPORT) -> Trouble:
    """Return the trouble with an answer that can be read, but not used."""
    return Trouble(BadDataError, f"HTTP 200 with {came_back}", remedy)


def judge_usable(calls: KeyedCalls) -> Trouble | None:
    """Judge the records of a day: most of them have to be calls.

    What lies elsewhere is a call, though not of what was asked for.
    """
    reasons = Counter(one.reason for one in calls.unusable.values() if one.reason not in OF_NO_DAY)
    count = reasons.total()
    if count <= len(calls):
        return None
    said = "; ".join(f"{number} × {reason}" for reason, number in reasons.most_common(_MOST_SAID))
    return unusable(f"{count + len(calls)} records, of which {count} cannot be used: {said}")


def broken(body: bytes, problem: str) -> Trouble:
    """Return the trouble with JSON that cannot be read to its end."""
    return cut_trouble(f"HTTP 200 with {len(body)} bytes of JSON that is cut or broken ({problem})")


def judge_beginning(body: bytes) -> Trouble | None:
    """Judge a body that is not even the beginning of JSON."""
    beginning = body[:_BEGINNING].decode(errors="replace").strip()
    if beginning.startswith(("{", "[")):
        return None
    if not beginning:
        return cut_trouble("HTTP 200 with an empty body")
    came_back = f"HTTP 200 with no JSON but {excerpt(beginning)!r}"
    return size_trouble(came_back) if is_about_size(beginning) else page_trouble(came_back)


def judge_other(body: bytes) -> Trouble | None:
    """Judge JSON that is not a list of calls; None if it says that there are none."""
    try:
        answer = msgspec.json.decode(body)
    except ValueError as error:
        return broken(body, str(error))
    reason = find_failure(answer)
    if reason is None:
        names = sorted(answer)[:10] if isinstance(answer, dict) else []
        return unusable(f"JSON that is neither calls nor a failure (names: {names})")
    return None if is_empty_period(reason) else trouble_of_reason(reason)


def read_reason(body: bytes) -> str:
    """Return the reason in the body of a failure, else the body's beginning."""
    try:
        reason = find_failure(msgspec.json.decode(body))
    except ValueError:
        reason = None
    return reason if reason is not None else body[:_BEGINNING].decode(errors="replace")


def is_of_unified_api(body: bytes) -> bool:
    """Whether the body is one that only the unified API sends, whatever its status was."""
    try:
        answer = msgspec.json.decode(body)
    except ValueError:
        return False
    return isinstance(answer, dict) and "inbound" in answer


def is_no_calls(status: int, body: bytes) -> bool:
    """Whether a refusal (a 4xx) is the source's way to say that the period is empty."""
    return 400 <= status < 500 and is_empty_period(read_reason(body))  # noqa: PLR2004


def list_rows(rows: list[msgspec.Raw] | dict[str, msgspec.Raw]) -> list[msgspec.Raw] | None:
    """Return the records of a list, or of an object in its place; None if that is no list.

    PHP writes a list of which some members were taken out as an object of their numbers.
    """
    if isinstance(rows, list):
        return rows
    return list(rows.values()) if rows and all(name.isdecimal() for name in rows) else None


def find_failure_of(record: msgspec.Raw) -> str | None:
    """As `find_failure`, of an answer's only record; one that cannot be read is no failure."""
    try:
        return find_failure(msgspec.json.decode(record))
    except (ValueError, RecursionError):
        return None


def part_garbled(
    body: bytes, raws: list[msgspec.Raw]
) -> tuple[list[msgspec.Raw], list[UnusableRecord]]:
    """Part the records from those that are not UTF-8, kept with � for each such byte.

    msgspec passes them: it does not look into the strings of what it hands out raw.
    """
    if body.isascii() or _is_text(body):
        return raws, []
    whole = [raw for raw in raws if _is_text(bytes(raw))]
    garbled = [
        UnusableRecord(text.decode("utf-8", "replace").encode(), NOT_UTF_8)
        for text in map(bytes, raws)
        if not _is_text(text)
    ]
    return whole, garbled


def _is_text(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True
