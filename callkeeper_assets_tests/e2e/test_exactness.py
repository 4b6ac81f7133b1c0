"""What is loaded is what the source has, in every time zone and reading of its documentation.

The full size of it, 200,000 calls, is in `chaos/test_large_load.py`.
"""

from collections.abc import Sequence
from datetime import date
from typing import Any, Final
from zoneinfo import ZoneInfo

from callkeeper_assets.callkeeper.records import ApiName
from callkeeper_assets.simulator.server import run_simulator
from callkeeper_assets.simulator.settings import AccountSettings
from callkeeper_assets_tests.chaos.installation import Installation
from callkeeper_assets_tests.chaos.three_loads import check_three_loads
from callkeeper_assets_tests.extent import IS_LONG, each_api

# Berlin's clocks skip an hour on March 30; Chatham's (12:45 from Greenwich) and Santiago's, at
# midnight, go back on the first weekend of April.
FIRST, LAST = date(2025, 3, 28), date(2025, 4, 8)
_CALLS_A_DAY: Final = 150
_SOURCES: Final[dict[str, tuple[str, str, dict[str, Any]]]] = {
    # Its name: the zone of the source, that of the account, the readings.
    "moscow": (
        "Europe/Moscow",
        "Europe/Moscow",
        {"date_to": "inclusive", "mark_keys": "sourcebuster", "nesting": "inside"},
    ),
    "berlin": (
        "Europe/Berlin",
        "Europe/Moscow",
        {"date_to": "exclusive", "mark_keys": "utm", "nesting": "beside"},
    ),
    "chatham": (
        "Pacific/Chatham",
        "Pacific/Chatham",
        {"date_to": "exclusive", "mark_keys": "sourcebuster", "nesting": "beside"},
    ),
    "santiago": (
        "America/Santiago",
        "America/Santiago",
        {"date_to": "inclusive", "mark_keys": "utm", "nesting": "inside", "unknown_fields": True},
    ),
}


# Each zone and each reading by one API; by both in the long form.
_OF_API: Final[dict[ApiName, Sequence[str]]] = {
    "callkeeper": list(_SOURCES) if IS_LONG else ["moscow", "santiago"],
    "ckct": list(_SOURCES) if IS_LONG else ["berlin", "chatham"],
}


@each_api
def test_loads_are_exact_and_write_only_what_changed_in_every_zone_and_reading(
    installation: Installation, api: ApiName
) -> None:
    sources = {name: _SOURCES[name] for name in _OF_API[api]}
    settings = [
        AccountSettings(
            key=f"{n:032x}",
            name=name,
            time_zone=account_zone,
            calls_per_day=_CALLS_A_DAY,
            seed=n,
            rhythm="week",
            calltracking_per_day=20,
        )
        for n, (name, (_, account_zone, _)) in enumerate(sources.items(), start=1)
    ]
    zones = {name: ZoneInfo(zone) for name, (zone, _, _) in sources.items()}
    with run_simulator(settings) as simulator:
        for one in settings:
            simulator.account(one.name).set_answers(**_SOURCES[one.name][2])
            installation.add_source(
                simulator.base_urls[api],
                name=one.name,
                key=one.key,
                time_zone=zones[one.name].key,
                api=api,
            )
        check_three_loads(installation, simulator.simulator.accounts, zones, FIRST, LAST, api=api)
