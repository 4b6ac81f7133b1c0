"""How long the code location takes to load with many sources, beside `import dagster` alone."""

import statistics
import sys
from pathlib import Path
from typing import Final

from callkeeper_assets_tests.benchmarks.contenders import write_sources
from callkeeper_assets_tests.benchmarks.measure import Usage, run_measured
from callkeeper_assets_tests.benchmarks.report import Row, Section, Target
from callkeeper_assets_tests.benchmarks.stand import ROOT, plain_environment, today

_MOST_RATIO: Final = 2
_IMPORTS: Final = {
    "import dagster": "import dagster",
    # With the repository, which Dagster builds when it serves the location.
    "the code location": (
        "from callkeeper_assets.definitions import defs; defs.get_repository_def()"
    ),
}


def compare_loading(folder: Path, sources: int, rounds: int) -> Section:
    """Measure both, by turns, so many times.

    Args:
        folder: where the sources are written; must exist.
        sources: how many.
        rounds: how often.
    """
    names = [f"source_{number}" for number in range(sources)]
    defs = folder / "many_sources"
    write_sources(defs, names, api_url="http://127.0.0.1:1", start=today().replace(day=1))
    environment = {
        **plain_environment(),
        "CALLKEEPER_DEFS": str(defs),
        "CALLKEEPER_HOME": str(folder / "many_sources_home"),
    }
    usages: dict[str, list[Usage]] = {what: [] for what in _IMPORTS}
    # The first round compiles what has not been imported before: it is left out.
    for number in range(rounds + 1):
        for what, code in _IMPORTS.items():
            command = [sys.executable, "-c", code]
            usage = run_measured(command, environment=environment, folder=ROOT, watched={})
            if number:
                usages[what].append(usage)
    seconds = {
        what: statistics.median(usage.seconds for usage in each) for what, each in usages.items()
    }
    bare, loaded = seconds.values()
    rows: list[Row] = [
        {
            "process": what,
            "sources": sources if what != "import dagster" else None,
            "runs": rounds,
            "seconds, median": seconds[what],
            "CPU s": statistics.median(usage.cpu_sec for usage in usages[what]),
            "MB": max(usage.process_mb for usage in usages[what]),
        }
        for what in _IMPORTS
    ]
    ratio = loaded / bare
    return Section(
        "location",
        f"Loading the code location with {sources} sources",
        rows,
        (Target(f"below {_MOST_RATIO} x import dagster", ratio, ratio < _MOST_RATIO),),
    )
