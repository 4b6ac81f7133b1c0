"""The messages of a run's process to the command that started it: JSON lines, one message each."""

from collections.abc import Iterator
from datetime import date
from typing import IO, Any, Literal

import msgspec

from callkeeper_assets.reconcile.discrepancies import ComparedDay
from callkeeper_assets.warehouse.records import RetentionResult, RowCounts

# Days are loaded, or compared; what waits in the inbox is processed, what is old is deleted, calls
# are brought to privacy settings, a client is looked for: these have no days.
Purpose = Literal["load", "compare", "process", "delete", "protect", "client"]


class Planned(msgspec.Struct, frozen=True, tag=True):
    """How many days the source's runs are for, in how many runs, and what is done with them."""

    source: str
    days: int
    runs: int
    purpose: Purpose = "load"


class Started(msgspec.Struct, frozen=True, tag=True):
    """A run has begun; days are inclusive, ISO; empty if it has none."""

    source: str
    run_id: str
    first: str
    last: str


class Waiting(msgspec.Struct, frozen=True, tag=True):
    """The source's key is in use by another run; this one begins when that has ended."""

    source: str
    run_id: str


class Progress(msgspec.Struct, frozen=True, tag=True):
    """So many days of the run have reached a phase."""

    source: str
    phase: Literal["fetched", "loaded", "compared", "deleted"]
    days_done: int
    days_total: int


class Compared(msgspec.Struct, frozen=True, tag=True):
    """A day is compared with the source, and healed if that was wanted."""

    source: str
    day: ComparedDay


class RetentionEnded(msgspec.Struct, frozen=True, tag=True):
    """A retention is over."""

    source: str
    retained: RetentionResult


class Said(msgspec.Struct, frozen=True, tag=True):
    """What a run does that takes long."""

    source: str
    text: str


class Concluded(msgspec.Struct, frozen=True, tag=True):
    """What `forget`, `export` or `protect` came to; no phone number is in it."""

    source: str
    document: dict[str, Any]


class Finished(msgspec.Struct, frozen=True, tag=True):
    """A run has succeeded; days as of `Started`, and `others` outside of them."""

    source: str
    run_id: str
    first: str
    last: str
    tables: dict[str, RowCounts]
    others: tuple[str, ...] = ()

    @property
    def days(self) -> int:
        """How many days it had."""
        first, last = date.fromisoformat(self.first), date.fromisoformat(self.last)
        return (last - first).days + 1 + len(self.others)


class Failed(msgspec.Struct, frozen=True, tag=True):
    """A run, or the process before it, has failed; the text says what to do."""

    source: str
    error: str
    run_id: str = ""


class Ended(msgspec.Struct, frozen=True, tag=True):
    """A worker that was forked has ended: its exit code, or a signal's number below zero."""

    status: int


Message = (
    Planned
    | Started
    | Waiting
    | Progress
    | Compared
    | RetentionEnded
    | Said
    | Concluded
    | Finished
    | Failed
)


def write_message(stream: IO[str], message: Message | Ended) -> None:
    """Write a message as a line, at once."""
    stream.write(msgspec.json.encode(message).decode() + "\n")
    stream.flush()


def read_messages(stream: IO[str]) -> Iterator[Message | Ended]:
    """Read messages until the stream ends; other lines (a library's prints) are left out."""
    decoder = msgspec.json.Decoder(Message | Ended)
    for line in stream:
        try:
            yield decoder.decode(line)
        except msgspec.DecodeError:
            continue
