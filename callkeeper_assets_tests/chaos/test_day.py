"""The compressed day in its short form: four sources, and everything is killed at once, under load.

The long form is `make chaos-day`: a hundred sources, and every fault of `day.faults`.
"""

import pytest

from callkeeper_assets_tests.chaos.day.__main__ import live_through
from callkeeper_assets_tests.chaos.day.faults import FAULTS
from callkeeper_assets_tests.chaos.day.plant import Size, build_plant

_SIZE = Size(sources=4, rate=2.0, every_min=1, runs=2)
_STRUCK = ("power loss of everything under load",)


@pytest.mark.e2e
@pytest.mark.timeout(600)
def test_a_day_ends_with_all_calls_webhooks_and_alerts_once_whatever_is_killed() -> None:
    faults = [fault for fault in FAULTS if fault.name in _STRUCK]
    assert len(faults) == len(_STRUCK)
    with build_plant(_SIZE) as plant:
        outcomes, problems, traffic = live_through(plant, faults, minutes=0, longest=180, calm=0)
    assert [(one.fault, one.problems) for one in outcomes] == [(name, []) for name in _STRUCK]
    assert problems == []
    assert traffic.list_accepted()
