"""The code location: every source's assets, checks, jobs and schedules.

Sources are read by `config.loading`, not through Dagster's tree of components: there, one refused
`defs.yaml` takes all others away. Here it is logged, and stands in the asset graph as
`<source>/configuration_error` until it is corrected.
"""

import gc

from callkeeper_assets.home import skip_pandas
from callkeeper_assets.local_time import use_newest_rules

# What is imported and built here lives to the end of the process: looking through all of it for
# garbage, again and again while a hundred sources are built, takes a quarter of the time.
gc.set_threshold(50_000, 20, 100)
skip_pandas()
use_newest_rules()

import dagster as dg  # noqa: E402 -- after the settings

from callkeeper_assets.assets import build_shared_definitions, build_source_definitions  # noqa: E402
from callkeeper_assets.assets.build import build_error_asset  # noqa: E402
from callkeeper_assets.assets.translation import translate_all  # noqa: E402
from callkeeper_assets.config.loading import load_sources  # noqa: E402


def build_definitions() -> dg.Definitions:
    """Build the definitions of all sources in `CALLKEEPER_DEFS`, or in the project's `defs`.

    Raises:
        MissingFolderError: `CALLKEEPER_DEFS` names a folder that does not exist.
    """
    sources, refused = translate_all(*load_sources(refuses_others=True))
    for broken in refused:
        problems = "\n".join(broken.problems)
        dg.get_dagster_logger("callkeeper").error(
            f"Source '{broken.name}' is not loaded, its configuration is refused:\n{problems}"
        )
    return dg.Definitions.merge(
        build_shared_definitions(sources),
        *(build_source_definitions(source) for source in sources),
        dg.Definitions(
            assets=[build_error_asset(broken) for broken in refused],
            # Steps are one chain: a process for each would only cost its start.
            executor=dg.in_process_executor,
        ),
    )


defs = build_definitions()
