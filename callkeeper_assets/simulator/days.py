"""One local day of an account, ready to be served: the calls' bytes in one piece and their index.

A window of the day is one slice of the piece, so that a day of 1,000 calls costs a copy of 1.5 MB
and no more. The calls themselves are not kept: they are made again from the seed when somebody asks
for the truth.
"""

from array import array
from bisect import bisect_left
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass

from callkeeper_assets.simulator.calls import NEVER, Call, see_at
from callkeeper_assets.simulator.rendering import render_call
from callkeeper_assets.simulator.settings import AnswerSettings
from callkeeper_assets.simulator.spoiling import is_spoiled, spoil

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


def build_day(calls: Sequence[Call], answers: AnswerSettings, now: int) -> ServedDay:
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
