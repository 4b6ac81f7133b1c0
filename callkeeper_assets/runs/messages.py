"""What a run's process tells the command that started it: JSON lines, one message each."""

from collections.abc import Iterator
from typing import IO, Literal

import msgspec


class Planned(msgspec.Struct, frozen=True, tag=True):
    """How many days the source's runs are for, in how many runs."""

    source: str
    days: int
    runs: int


class Started(msgspec.Struct, frozen=True, tag=True):
    """A run has begun; days are inclusive, ISO."""

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
    phase: Literal["fetched", "loaded"]
    days_done: int
    days_total: int


class TableTotal(msgspec.Struct, frozen=True):
    """What a run did to a table: rows."""

    table: str
    added: int
    updated: int
    deleted: int


class Finished(msgspec.Struct, frozen=True, tag=True):
    """A run has succeeded."""

    source: str
    run_id: str
    first: str
    last: str
    tables: list[TableTotal]


class Failed(msgspec.Struct, frozen=True, tag=True):
    """A run, or the process before it, has failed; the text says what to do."""

    source: str
    error: str
    run_id: str = ""


Message = Planned | Started | Waiting | Progress | Finished | Failed


def write_message(stream: IO[str], message: Message) -> None:
    """Write a message as a line, at once."""
    stream.write(msgspec.json.encode(message).decode() + "\n")
    stream.flush()


def read_messages(stream: IO[str]) -> Iterator[Message]:
    """Read messages until the stream ends; other lines (a library's prints) are left out."""
    decoder = msgspec.json.Decoder(Message)
    for line in stream:
        try:
            yield decoder.decode(line)
        except msgspec.DecodeError:
            continue
