"""A database with calls of every kind that the boards ask for, and a BI tool's role on it."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from urllib.parse import urlsplit, urlunsplit

import pytest

from callkeeper_assets.postgres import connect
from callkeeper_assets.warehouse.grants import grant
from callkeeper_assets_tests.templates import MakeDatabase, Template
from callkeeper_assets_tests.warehouse.raw_days import call, day_of, load_all

_DAYS = 10
_CODES = (("200", 200), ("486", 0), ("200", 487), ("200", 708), ("200", 200))


@dataclass(frozen=True)
class Loaded:
    """URLs of one database, of its owner and of a role with what `grant --for bi` gives."""

    owner: str
    bi: str


@pytest.fixture(scope="session")
def loaded(make_database: MakeDatabase) -> Iterator[Loaded]:
    """Ten days up to today, five calls each; one client calls daily; a discrepancy is open."""
    today = date.today()  # noqa: DTZ011 -- the boards' period ends with the machine's day
    days = [
        day_of(
            today - timedelta(days=back),
            [
                call(
                    back * 10 + number,
                    status_code=first,
                    status2_code=second,
                    attempt=number % 3 + 1,
                    phone2="+70009999999" if number == 0 else f"+7000{back}{number}00000",
                )
                for number, (first, second) in enumerate(_CODES)
            ],
        )
        for back in range(1, _DAYS + 1)
    ]
    with make_database(Template.WAREHOUSE) as url:
        load_all(url, days)
        with connect(url, autocommit=True) as connection:
            connection.execute(
                "INSERT INTO callkeeper_discrepancies "
                "(account_id, day, call_id, parameter, kind, found_at, run_id) "
                "SELECT account_id, current_date, 11, 'attempt', 'differs', now(), 'run' "
                "FROM general_accounts WHERE id <> 1"
            )
            # Roles are the server's, and the tests of another process have theirs.
            role = f"bi_{connection.info.dbname}"
            connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'bi'".encode())
        grant(url, role, "bi")
        parts = urlsplit(url)
        place = parts.netloc.rpartition("@")[2]
        yield Loaded(url, urlunsplit(parts._replace(netloc=f"{role}:bi@{place}")))
        with connect(url, autocommit=True) as connection:
            connection.execute(f"DROP OWNED BY {role}; DROP ROLE {role}".encode())
