"""`callkeeper unusable`: what came and is no call, as it is stored."""

from collections.abc import Iterator
from datetime import date
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from callkeeper_assets.language import tr

if TYPE_CHECKING:
    from callkeeper_assets.raw.store import RawStore


class Unusable(NamedTuple):
    """A record, as it is stored; `call_id` is None where it has none that can be read."""

    day: date
    reason: str
    call_id: int | None
    record: str


def unusable(
    source: Annotated[str, typer.Argument(help="Name of the source.")],
    *,
    first: Annotated[
        str | None, typer.Option("--from", help="First day, written 2026-01-31. Default: all.")
    ] = None,
    last: Annotated[
        str | None, typer.Option("--to", help="Last day. Default: the newest that is loaded.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document in place of the list.")
    ] = False,
) -> None:
    """List what came and is no call: without an id, a time, or no JSON at all."""
    from callkeeper_assets.cli.console import (  # noqa: PLC0415
        UsageProblemError,
        print_json,
        print_text,
    )
    from callkeeper_assets.cli.selection import (  # noqa: PLC0415
        choose_good_sources,
        read_day,
    )
    from callkeeper_assets.config.errors import say_count  # noqa: PLC0415
    from callkeeper_assets.home import raw_url  # noqa: PLC0415
    from callkeeper_assets.raw.store import RawStore  # noqa: PLC0415

    (chosen,) = choose_good_sources([source])
    begin = read_day("--from", first) if first else date.min
    end = read_day("--to", last) if last else date.max
    if end < begin:
        raise UsageProblemError(tr("--from {begin} is after --to {end}.", begin=begin, end=end))
    found = _read(RawStore(raw_url()), chosen.name, begin, end)
    if as_json:
        records = [one._asdict() for one in found]
        print_json({"source": chosen.name, "count": len(records), "records": records})
        return
    count = 0
    for count, one in enumerate(found, start=1):  # noqa: B007 -- the count is printed
        call = "" if one.call_id is None else tr("call {call_id}, ", call_id=one.call_id)
        print_text(f"{one.day}  {call}{one.reason}")
        print_text(f"  {one.record}")
    print_text(
        tr("{count} of {name} cannot be used.", count=say_count(count, "record"), name=chosen.name)
    )


def _read(store: "RawStore", source: str, first: date, last: date) -> Iterator[Unusable]:
    for day in sorted(store.list_days(source)):
        if not first <= day <= last:
            continue
        for row in store.read_unusable(source, day):
            call_id = row.key if row.key >= 0 else None
            yield Unusable(day, row.reason, call_id, row.payload.decode("utf-8", "replace"))
