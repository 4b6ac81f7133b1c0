"""The sensor that buries runs whose process is gone: they hold no key and deceive nobody."""

import dagster as dg

from callkeeper_assets.database.url import database_url
from callkeeper_assets.runs.burial import bury_dead_runs, free_ended_runs


def build_janitor() -> dg.SensorDefinition:
    """Build the sensor; it runs from the start on."""

    @dg.sensor(
        name="run_janitor",
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=(
            "Marks runs as failed whose process is gone (a kill, a power failure), and frees "
            "the API keys that they held. Dagster's daemon runs them again, once."
        ),
    )
    def run_janitor(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        url = database_url()
        buried = bury_dead_runs(context.instance, url)
        free_ended_runs(context.instance, url)
        if not buried:
            return dg.SkipReason("Every run in progress is alive.")
        return dg.SkipReason(f"Marked as failed, their process was gone: {', '.join(buried)}.")

    return run_janitor
