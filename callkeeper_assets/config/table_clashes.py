"""Tables that reports of several sources fill: they must agree, or the later source is refused.

Seen only where all sources are loaded; what one file alone tells is in `report_checks`. A load
finds the same in the database, for its own report.
"""

from collections.abc import Iterator, Sequence

from callkeeper_assets.config.problems import Location, Problem
from callkeeper_assets.config.report_checks import describe_difference
from callkeeper_assets.config.source import Source
from callkeeper_assets.config.yaml_file import read_yaml_file
from callkeeper_assets.reports.definition import ReportTable


def _list_tables(source: Source) -> Iterator[tuple[Location, ReportTable]]:
    for index, report in enumerate(source.reports):
        for place, table in enumerate(report.structure):
            yield ("attributes", "reports", index, "structure", place, "table"), table


def find_table_clashes(
    sources: Sequence[Source],
) -> list[tuple[Source, list[tuple[int, Problem]]]]:
    """Return the sources whose reports contradict those of a source before them.

    Returns:
        Each with its problems and their lines; in the order of `sources`.
    """
    forms: dict[str, tuple[Source, dict[str, str]]] = {}
    clashes = []
    for source in sources:
        found: list[Problem] = []
        for location, table in _list_tables(source):
            form = table.form
            first, known = forms.get(table.name, (source, form))
            if known != form:
                text = (
                    f"'{table.name}' is filled by a report of the source '{first.name}' too, which "
                    f"says otherwise ({describe_difference(form, known)}). Make them agree, or "
                    f"choose another name."
                )
                found.append(Problem(location, text))
        if found:
            lines = read_yaml_file(source.file)
            clashes.append((source, [(lines.line(one.location), one) for one in found]))
            continue
        for _, table in _list_tables(source):
            forms.setdefault(table.name, (source, table.form))
    return clashes
