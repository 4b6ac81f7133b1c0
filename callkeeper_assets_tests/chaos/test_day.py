"""The compressed day in its short form: four sources, and everything is killed at once, under load.

The long form is `make chaos-day`: a hundred sources, and every fault of `day.faults`.
"""

import pytest

from callkeeper_assets_tests.chaos.day.__main__ import conclude
from callkeeper_assets_tests.chaos.day.faults import FAULTS, struck
from callkeeper_assets_tests.chaos.day.parts import soon
from callkeeper_assets_tests.chaos.day.plant import Size, build_plant
from callkeeper_assets_tests.chaos.day.source import Traffic

_SIZE = Size(sources=4, rate=2.0, every_min=1, runs=2, is_warm=True)
_SUCCESS = "SELECT 1 FROM dagster.runs WHERE status = 'SUCCESS'"


@pytest.mark.e2e
@pytest.mark.chaos
@pytest.mark.timeout(600)
def test_a_day_has_all_calls_webhooks_and_alerts_once_though_all_is_killed_under_load() -> None:
    [power_loss] = [fault for fault in FAULTS if fault.name.startswith("power loss")]
    with build_plant(_SIZE) as plant, Traffic(plant.source, plant.names, _SIZE.rate) as traffic:
        soon(lambda: plant.ask(_SUCCESS), "a run has succeeded")
        soon(traffic.list_accepted, "webhooks are accepted")
        with struck(power_loss, plant):
            before = len(traffic.list_accepted())
        soon(lambda: len(traffic.list_accepted()) > before, "webhooks are accepted again")
        assert conclude(plant, traffic, longest=180, calm=0) == []
        assert plant.parts["database"].starts > 1
