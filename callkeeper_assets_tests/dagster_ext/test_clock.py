"""What Dagster noted while the clock was ahead; with the clock itself: `make chaos-day`."""

import time

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
    InstigatorTick,
    InstigatorType,
    ScheduleInstigatorData,
    SensorInstigatorData,
    TickData,
    TickStatus,
)

from callkeeper_assets.dagster_ext.clock import WallClock, forget_future
from callkeeper_assets.home import set_dagster_home
from callkeeper_assets_tests.templates import Template

_HOUR = 3600.0


@pytest.fixture(scope="module")
def template() -> Template:
    """Dagster's tables are needed."""
    return Template.INSTALLATION


def test_a_clock_that_is_set_back_is_told_once_and_one_that_is_set_ahead_is_not() -> None:
    wall, steady = [1000.0], [5.0]
    clock = WallClock(lambda: wall[0], lambda: steady[0])
    for ahead, expected in ((5, 0), (_HOUR, 0), (-_HOUR, _HOUR), (0, 0), (-30, 0), (-70, 70)):
        steady[0] += 5
        wall[0] += 5 + ahead
        assert clock.measure_setback() == expected, ahead


def test_schedules_and_sensors_that_looked_into_the_future_look_from_now_on(
    database: str,
) -> None:
    set_dagster_home()
    place = RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("here"), "repository")
    now = time.time()
    cursor, kept = "as it was", now - 10
    states = [
        InstigatorState(RemoteInstigatorOrigin(place, name), kind, InstigatorStatus.RUNNING, data)
        for name, kind, data in (
            (
                "refresh",
                InstigatorType.SCHEDULE,
                ScheduleInstigatorData("0 5 * * *", kept, last_iteration_timestamp=now + _HOUR),
            ),
            (
                "inbox",
                InstigatorType.SENSOR,
                SensorInstigatorData(
                    cursor=cursor,
                    last_tick_timestamp=now + _HOUR,
                    last_tick_start_timestamp=now + _HOUR,
                ),
            ),
            (
                "janitor",
                InstigatorType.SENSOR,
                SensorInstigatorData(last_tick_timestamp=kept, last_tick_start_timestamp=kept),
            ),
        )
    ]
    with dg.DagsterInstance.get() as instance:
        for state in states:
            instance.add_instigator_state(state)
            for at in (kept, now + _HOUR):
                tick = TickData(
                    state.instigator_origin_id,
                    state.instigator_name,
                    state.instigator_type,
                    TickStatus.SUCCESS,
                    at,
                    run_ids=[],
                    selector_id=state.selector_id,
                )
                instance.create_tick(tick)
        assert forget_future(instance, database) == 2
        assert forget_future(instance, database) == 0
        schedule, inbox, janitor = (
            instance.get_instigator_state(one.instigator_origin_id, one.selector_id)
            for one in states
        )
        assert schedule is not None
        assert inbox is not None
        assert isinstance(schedule.instigator_data, ScheduleInstigatorData)
        assert schedule.instigator_data.start_timestamp == kept
        assert schedule.instigator_data.last_iteration_timestamp == pytest.approx(now, abs=60)
        assert inbox.sensor_instigator_data
        assert inbox.sensor_instigator_data.cursor == cursor
        assert inbox.sensor_instigator_data.last_tick_start_timestamp == pytest.approx(now, abs=60)
        assert janitor == states[2]
        for state in states:
            ticks: list[InstigatorTick] = list(
                instance.get_ticks(state.instigator_origin_id, state.selector_id)
            )
            assert [one.timestamp for one in ticks] == [kept]
