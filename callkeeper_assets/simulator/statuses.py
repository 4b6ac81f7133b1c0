"""Statuses of calls: every documented pair of SIP codes with its weight, texts and kind.

The pairs and their Russian labels are the vendor's own (`statuses.csv`); the weights are ours, by
how often a site's callback ends so. What a status does to a call's durations is in `calls.py`.
"""

import csv
from importlib import resources
from typing import Final, Literal, NamedTuple

CallStatus = Literal["success", "failed", "in_progress", "planned", "pending"]
LegOutcome = Literal["talked", "client_failed", "manager_failed", "not_dialled"]

_SIP_REASONS: Final = {
    200: "OK",
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    406: "Not Acceptable",
    408: "Request Timeout",
    410: "Gone",
    461: "Call Forbidden",
    480: "Temporarily Unavailable",
    484: "Address Incomplete",
    486: "Busy Here",
    487: "Request Terminated",
    488: "Not Acceptable Here",
    491: "Request Pending",
    500: "Server Internal Error",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Server Time-out",
    600: "Busy Everywhere",
    603: "Decline",
    604: "Does Not Exist Anywhere",
}
# Per 10,000 calls; a pair that is not named gets _RARE, so that a month of 1,000 calls a day shows
# every one.
_WEIGHTS: Final = {
    (200, 200): 5600,
    (200, 487): 1050,
    (200, 486): 420,
    (200, 480): 330,
    (200, 603): 210,
    (200, 0): 180,
    (200, 1): 160,
    (200, 404): 120,
    (487, 0): 520,
    (486, 0): 190,
    (480, 0): 160,
    (701, 0): 230,
    (702, 0): 190,
    (708, 0): 70,
    (200, 708): 50,
    (813, 0): 120,
    (815, 0): 90,
    (790, 0): 40,
    (667, 0): 35,
    (709, 0): 35,
}
_RARE: Final = 12


class Status(NamedTuple):
    """A pair of codes that a call can end with."""

    code: int
    code2: int
    weight: int


def _read_labels() -> dict[tuple[int, int], str]:
    text = resources.files(__package__).joinpath("statuses.csv").read_text(encoding="utf-8")
    rows = csv.DictReader(text.splitlines())
    return {
        (int(row["status_code"]), int(row["status2_code"])): row["label_ru"].strip() for row in rows
    }


LABELS: Final = _read_labels()
NOT_FINAL: Final[dict[int, CallStatus]] = {1: "in_progress", 2: "planned", 707: "pending"}
FINAL: Final = tuple(
    Status(code, code2, _WEIGHTS.get((code, code2), _RARE))
    for code, code2 in LABELS
    if code not in NOT_FINAL
)


# A voice message was delivered; passed to voice mail; only the lead was taken: no talk was to come.
APART: Final = frozenset(((101, 200), (200, 199), (200, 201)))


def classify(code: int, code2: int) -> CallStatus | None:
    """The warehouse's word for a pair of codes; None for what is neither success nor failure."""
    if (code, code2) == (200, 200):
        return "success"
    return None if (code, code2) in APART else NOT_FINAL.get(code, "failed")


def outcome_of(code: int, code2: int) -> LegOutcome:
    """How far the call came: decides which durations it can have."""
    if (code, code2) in APART:
        return "not_dialled"
    if code == 200:  # noqa: PLR2004 - SIP's OK
        return "talked" if code2 == code else "client_failed"
    return "manager_failed" if code in _SIP_REASONS else "not_dialled"


def reason_of(code: int, code2: int) -> str | None:
    """The text of the manager's leg: SIP's phrase, or the cabinet's label of CallKeeper's codes."""
    return _SIP_REASONS.get(code) or LABELS.get((code, code2))


def reason2_of(code2: int) -> str | None:
    """The text of the client's leg, None when it was not dialled."""
    return _SIP_REASONS.get(code2) if code2 else None
