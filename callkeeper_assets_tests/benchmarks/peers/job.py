"""What a peer is asked to load, and how it asks the API for a day.

The same for all peers: one request for each day of each account, eight at a time. Light: imported
by each peer.
"""

import argparse
import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

DOWNLOAD_THREADS: Final = 8


@dataclass(frozen=True)
class Job:
    """What to load, from where, into what.

    Attributes:
        api_url: without a slash at its end.
        database_url: as libpq takes it.
        accounts: the API key of each account, by its name.
        first: the first day, in the accounts' zone.
        last: the last day, loaded too.
        folder: where a peer may keep what it needs between two runs.
    """

    api_url: str
    database_url: str
    accounts: dict[str, str]
    time_zone: str
    first: dt.date
    last: dt.date
    folder: Path

    def days(self) -> Iterator[tuple[str, dt.date]]:
        """Each day of each account, the accounts by turns."""
        for number in range((self.last - self.first).days + 1):
            for name in self.accounts:
                yield name, self.first + dt.timedelta(days=number)


def read_arguments() -> Job:
    """The job, from the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--api-url", required=True)
    parser.add_argument("--database-url", required=True)
    parser.add_argument("--account", action="append", required=True, metavar="NAME=KEY")
    parser.add_argument("--time-zone", required=True)
    parser.add_argument("--from", dest="first", type=dt.date.fromisoformat, required=True)
    parser.add_argument("--to", dest="last", type=dt.date.fromisoformat, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    given = parser.parse_args()
    return Job(
        given.api_url,
        given.database_url,
        dict(account.split("=", 1) for account in given.account),
        given.time_zone,
        given.first,
        given.last,
        given.folder,
    )


def day_parameters(key: str, day: dt.date, time_zone: str) -> dict[str, str]:
    """The query of `getCallsInfo` for one day.

    Whole seconds, and `date[to]` is inclusive, as the simulator reads it: unlike the product, the
    peers rely on that.
    """
    return {
        "api_key": key,
        "date[from]": f"{day}T00:00:00",
        "date[to]": f"{day}T23:59:59",
        "time_zone": time_zone,
    }
