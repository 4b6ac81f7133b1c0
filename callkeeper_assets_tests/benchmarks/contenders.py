"""Who takes part: the product and its peers, as commands, and how to see what they loaded.

Each has a database and a folder of its own in the stand. A command is what a person would type,
process start included.
"""

import datetime as dt
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from callkeeper_assets.callkeeper.records import ApiName
from callkeeper_assets.postgres import connect
from callkeeper_assets.simulator.answers import FOLDER
from callkeeper_assets_tests.benchmarks.measure import Usage, run_measured
from callkeeper_assets_tests.benchmarks.stand import (
    ROOT,
    TIME_ZONE,
    Stand,
    plain_environment,
    today,
)

ContenderName = Literal[
    "callkeeper",
    "dlt_guide",
    "dlt_json",
    "dlt_arrow",
    "ingestr_jsonl",
    "singer_pair",
    "copy_calls",
]
PEERS: Final[dict[ContenderName, str]] = {
    "dlt_guide": "dlt, as its guide says",
    "dlt_json": "dlt, tuned further",
    "dlt_arrow": "dlt fed with Arrow by an expert",
    "ingestr_jsonl": "ingestr, as its guide says",
    "singer_pair": "Singer: a tap and target-postgres",
    "copy_calls": "practical limit: COPY, no framework",
}
# Needs nothing that the product does not.
_WITHOUT_DLT: Final[ContenderName] = "copy_calls"
_PEER_SCHEMAS: Final[dict[ContenderName, str]] = {
    "dlt_guide": "dlt_guide",
    "dlt_json": "dlt_json",
    "dlt_arrow": "dlt_arrow",
    "ingestr_jsonl": "ingestr",
    "singer_pair": "singer",
    "copy_calls": "flat",
}
# Today and the two days before it.
OVERLAP_DAYS: Final = 2
# The variable with the key that hashes are made with.
PRIVACY_KEY: Final = "BENCH_PRIVACY_KEY"
_EARLY: Final = "0 5 * * *"
_SOURCE: Final = """\
type: callkeeper_assets.CallKeeperSource
attributes:
  api_key: {{env: {variable}}}
  api: {api}
  base_url: {api_url}
  time_zone: {time_zone}
  start_date: {start}
  refresh: {{cron: "{cron}", overlap_days: {overlap_days}}}
"""


class WrongLoadError(AssertionError):
    """A contender's tables do not hold what the source has."""


@dataclass(frozen=True)
class Contender:
    """One loader, ready to run in a stand."""

    name: ContenderName
    label: str
    stand: Stand
    database_url: str
    folder: Path
    python: str

    def load(self, accounts: Sequence[str], first: dt.date, last: dt.date) -> Usage:
        """Load days of accounts and measure it."""
        if self.name == "callkeeper":
            return self.run_product("load", *accounts, "--from", str(first), "--to", str(last))
        return self._run_peer(accounts, first, last)

    def refresh(self, account: str) -> Usage:
        """Load an account's last days, as each day's refresh does, and measure it."""
        if self.name == "callkeeper":
            return self.run_product("refresh", account)
        return self._run_peer([account], today() - dt.timedelta(days=OVERLAP_DAYS), today())

    def environment(self) -> dict[str, str]:
        """The environment that the product's commands run in."""
        return {
            **plain_environment(),
            "CALLKEEPER_HOME": str(self.folder),
            "CALLKEEPER_DATABASE_URL": self.database_url,
            "CALLKEEPER_DEFS": str(self.folder / "defs"),
            PRIVACY_KEY: "long enough to hash with",
            **{_key_variable(name): key for name, key in self.stand.keys.items()},
        }

    def run_product(self, *words: str) -> Usage:
        """Run a command of the product and measure it."""
        command = [self.python, "-m", "callkeeper_assets.cli.main", *words]
        return run_measured(
            command, environment=self.environment(), folder=ROOT, watched=self.stand.watched
        )

    def _run_peer(self, accounts: Sequence[str], first: dt.date, last: dt.date) -> Usage:
        module = f"callkeeper_assets_tests.benchmarks.peers.{self.name}"
        command = [self.python, "-m", module, "--api-url", self.stand.api_url]
        command += ["--database-url", self.database_url, "--time-zone", TIME_ZONE]
        for account in accounts:
            command += ["--account", f"{account}={self.stand.keys[account]}"]
        command += ["--from", str(first), "--to", str(last), "--folder", str(self.folder)]
        environment = plain_environment()
        return run_measured(
            command, environment=environment, folder=ROOT, watched=self.stand.watched
        )

    def check(self, days: Sequence[tuple[str, dt.date, dt.date]]) -> None:
        """See that the tables hold the source's calls of these days of accounts, and nothing else.

        Raises:
            WrongLoadError: they do not.
        """
        truth = [self.stand.truth(*each) for each in days]
        wanted = sum(count for count, _ in truth), sum(seconds for _, seconds in truth)
        if self.name == "callkeeper":
            query = (
                "SELECT count(*), sum(duration2_sec) FROM callkeeper_calls_facts f"
                " JOIN callkeeper_calls c ON c.id = f.calls_id"
            )
        else:
            # Where dlt inferred the type, it is that of the first call: text or a number.
            query = (
                "SELECT count(*), sum(duration2_sec::text::bigint)::bigint"
                f" FROM {_PEER_SCHEMAS[self.name]}.calls"
            )
        with connect(self.database_url) as connection:
            row = connection.execute(query).fetchone()
        assert row is not None
        if row != wanted:
            raise WrongLoadError(
                f"{self.label}: {row[0]} calls of {row[1]} s are in the tables; the source has"
                f" {wanted[0]} of {wanted[1]} s"
            )

    def stored_bytes(self) -> tuple[int, int]:
        """Bytes that the calls take: in the database without Dagster's own tables, in raw files."""
        with connect(self.database_url) as connection:
            row = connection.execute(
                "SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint FROM pg_class c"
                " JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'm', 'p')"
                " AND n.nspname NOT IN ('dagster', 'information_schema') AND n.nspname !~ '^pg_'"
            ).fetchone()
        assert row is not None
        raw = self.folder / "raw"
        files = sum(file.stat().st_size for file in raw.rglob("*") if file.is_file())
        return int(str(row[0])), files


def _key_variable(account: str) -> str:
    return f"BENCH_KEY_{account.upper()}"


def write_sources(
    folder: Path,
    accounts: Sequence[str],
    *,
    api_url: str,
    start: dt.date,
    cron: str = _EARLY,
    api: ApiName = "callkeeper",
) -> None:
    """Write each account as a source of the product, in a folder for `CALLKEEPER_DEFS`."""
    for account in accounts:
        source = folder / account
        source.mkdir(parents=True)
        text = _SOURCE.format(
            variable=_key_variable(account),
            api=api,
            api_url=api_url,
            time_zone=TIME_ZONE,
            start=start,
            cron=cron,
            overlap_days=OVERLAP_DAYS,
        )
        (source / "defs.yaml").write_text(text)


def enter_product(
    stand: Stand,
    accounts: Sequence[str],
    name: str,
    cron: str = _EARLY,
    api: ApiName = "callkeeper",
) -> Contender:
    """The product with these accounts as its sources, in an empty database of that name."""
    folder = stand.folder / f"callkeeper_{name}"
    write_sources(
        folder / "defs",
        accounts,
        api_url=stand.api_url + (FOLDER if api == "ckct" else ""),
        start=stand.first_day,
        cron=cron,
        api=api,
    )
    database_url = stand.database(f"callkeeper_{name}")
    return Contender("callkeeper", "callkeeper", stand, database_url, folder, sys.executable)


def choose_peers(names: Iterable[ContenderName], python: str) -> list[ContenderName]:
    """Those of the peers that can take part; `python` is that which has dlt, or empty."""
    return [name for name in names if python or name == _WITHOUT_DLT]


def enter_peer(stand: Stand, name: ContenderName, python: str, purpose: str = "") -> Contender:
    """A peer, in an empty database; `purpose` tells two of a kind apart."""
    python = python or sys.executable
    folder = stand.folder / f"{name}{purpose}"
    folder.mkdir()
    database_url = stand.database(f"{name}{purpose}")
    return Contender(name, PEERS[name], stand, database_url, folder, python)
