"""One run of all reports of a source, as a process: `python -m … SOURCE FIRST LAST`.

What Dagster's UI starts for a backfill of the reports; no command builds several at once.
"""

import sys
from datetime import date

import dagster as dg

from callkeeper_assets.assets import build_shared_definitions, build_source_definitions
from callkeeper_assets.assets.days import build_range_tags
from callkeeper_assets.cli.console import prepare_environment
from callkeeper_assets.config.loading import load_sources


def main() -> None:
    """Run the job in this process."""
    name, first, last = sys.argv[1:]
    prepare_environment()
    sources, _ = load_sources()
    (source,) = (one for one in sources if one.name == name)
    definitions = dg.Definitions.merge(
        build_shared_definitions([source]), build_source_definitions(source)
    )
    with dg.DagsterInstance.get() as instance:
        definitions.resolve_job_def(f"{name}_reports").execute_in_process(
            instance=instance,
            tags=build_range_tags(date.fromisoformat(first), date.fromisoformat(last)),
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        )


if __name__ == "__main__":
    main()
