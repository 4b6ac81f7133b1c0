"""What sources have in common and must agree on: tables that reports fill, names of jobs.

Seen only where all sources are loaded: the later source is refused. What one file alone tells is
in `report_checks`; of a table a load finds the same in the database.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from callkeeper_assets.config.problems import Location, Problem
from callkeeper_assets.config.report_checks import describe_difference
from callkeeper_assets.config.source import Source
from callkeeper_assets.config.yaml_file import read_yaml_file
from callkeeper_assets.reports.definition import ReportTable

# Of each source's jobs beside those of its reports; with more of them the check only grows.
_JOBS: Final = ("historic_load", "refresh", "reconciliation", "retention", "webhooks", "reports")


def _list_tables(source: Source) -> Iterator[tuple[Location, ReportTable]]:
    for index, report in enumerate(source.reports):
        for place, table in enumerate(report.structure):
            yield ("attributes", "reports", index, "structure", place, "table"), table


def _list_jobs(source: Source) -> Iterator[tuple[Location, str, str]]:
    """Yield where a job's name comes from, the name, and what of the source has it."""
    for name in _JOBS:
        yield (), f"{source.name}_{name}", "the folder"
    for index, report in enumerate(source.reports):
        location = ("attributes", "reports", index, "name")
        yield location, f"{source.name}_report_{report.name}", f"the report '{report.name}'"


class _Known:
    """What the sources before have."""

    def __init__(self) -> None:
        self._forms: dict[str, tuple[str, dict[str, str]]] = {}
        self._jobs: dict[str, tuple[str, str]] = {}

    def find_problems(self, source: Source) -> Iterator[Problem]:
        for location, table in _list_tables(source):
            first, known = self._forms.get(table.name, ("", table.form))
            if known != table.form:
                yield Problem(
                    location,
                    f"'{table.name}' is filled by a report of the source '{first}' too, which says "
                    f"otherwise ({describe_difference(table.form, known)}). Make them agree, or "
                    f"choose another name.",
                )
        for location, job, mine in _list_jobs(source):
            if job in self._jobs:
                first, theirs = self._jobs[job]
                yield Problem(
                    location,
                    f"the source's job '{job}' would be named like one of the source '{first}': "
                    f"rename {mine}, or {theirs} there.",
                )

    def add(self, source: Source) -> None:
        for _, table in _list_tables(source):
            self._forms.setdefault(table.name, (source.name, table.form))
        self._jobs.update((job, (source.name, mine)) for _, job, mine in _list_jobs(source))


def find_clashes(sources: Sequence[Source]) -> list[tuple[Source, list[tuple[int, Problem]]]]:
    """Return the sources that contradict one before them, in the order of `sources`.

    Returns:
        Each with its problems and their lines.
    """
    known = _Known()
    clashes = []
    for source in sources:
        found = list(known.find_problems(source))
        if found:
            lines = read_yaml_file(source.file)
            clashes.append((source, [(lines.line(one.location), one) for one in found]))
        else:
            known.add(source)
    return clashes
