"""What Dagster keeps of a source goes with it, and nothing of the others."""

import dagster as dg
import pytest
from dagster._core.remote_origin import (  # noqa: TID251 -- what the room is about
    RegisteredCodeLocationOrigin,
    RemoteInstigatorOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.scheduler.instigation import (  # noqa: TID251 -- the same
    InstigatorState,
    InstigatorStatus,
    InstigatorType,
    ScheduleInstigatorData,
)

from callkeeper_assets.assets.build import name_schedules
from callkeeper_assets.dagster_ext.observed import read_stopped
from callkeeper_assets.dagster_ext.removed import drop_assets, drop_states
from callkeeper_assets.home import set_dagster_home
from callkeeper_assets.postgres import connect
from callkeeper_assets_tests.templates import Template


@pytest.fixture(scope="module")
def template() -> Template:
    """Dagster's tables are needed."""
    return Template.INSTALLATION


def test_schedules_that_were_switched_off_are_forgotten(database: str) -> None:
    set_dagster_home()
    place = RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("here"), "repository")
    names = ("main_refresh", "main_retention", "main_report_talks", "main_report_refresh")
    with dg.DagsterInstance.get() as instance:
        for name in names:
            instance.add_instigator_state(
                InstigatorState(
                    RemoteInstigatorOrigin(place, name),
                    InstigatorType.SCHEDULE,
                    InstigatorStatus.STOPPED,
                    ScheduleInstigatorData("0 5 * * *"),
                )
            )
        drop_states(instance, name_schedules("main", ["talks"]))
    with connect(database) as connection:
        # Another source's, `main_report`.
        assert read_stopped(connection) == ["main_report_refresh"]


@pytest.mark.usefixtures("database")
def test_assets_leave_the_catalogue_and_come_back_with_what_is_loaded_anew() -> None:
    set_dagster_home()
    keys = [["main", "calls"], ["renamed"], ["main_office", "calls"], ["other"]]
    with dg.DagsterInstance.get() as instance:
        for key in keys:
            instance.report_runless_asset_event(
                dg.AssetMaterialization(key, partition="2026-01-01")
            )
        drop_assets(instance, ["main"], [["renamed"], ["never_loaded"]])
        assert {tuple(key.path) for key in instance.get_asset_keys()} == {
            ("main_office", "calls"),
            ("other",),
        }
        instance.report_runless_asset_event(
            dg.AssetMaterialization(["main", "calls"], partition="2026-01-02")
        )
        assert dg.AssetKey(["main", "calls"]) in instance.get_asset_keys()
        assert instance.get_materialized_partitions(dg.AssetKey(["main", "calls"])) == {
            "2026-01-02"
        }
