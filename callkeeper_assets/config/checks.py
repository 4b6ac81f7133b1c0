"""What no attribute shows alone: contradictions within a source and within its reports."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from typing import Any

from callkeeper_assets.config.errors import Location, Problem, describe_unknown
from callkeeper_assets.config.models import (
    ReportAttributes,
    ReportTableAttributes,
    SourceAttributes,
)
from callkeeper_assets.language import tr
from callkeeper_assets.reports.definition import (
    PathError,
    Report,
    ReportColumn,
    ReportTable,
    find_column_name_problem,
    find_field_name_problem,
    find_table_name_problem,
)
from callkeeper_assets.warehouse.filters import Filter, check_filter
from callkeeper_assets.warehouse.records import FilterError
from callkeeper_assets.warehouse.schema import CALLS, DATES, FACTS

# The facts' rows are found by these two; any other dimension can be left at "unknown".
_FACTS_NEED = (CALLS, DATES)


def find_table_problems(attributes: SourceAttributes) -> Iterator[Problem]:
    """Tables chosen twice, and facts without what they stand on."""
    tables = attributes.tables
    for table, count in Counter(tables).items():
        if count > 1:
            again = len(tables) - 1 - tables[::-1].index(table)
            yield Problem(
                ("attributes", "tables", again),
                tr("'{table}' is chosen twice: keep one.", table=table),
            )
    missing = [table for table in _FACTS_NEED if table not in tables]
    if FACTS in tables and missing:
        yield Problem(
            ("attributes", "tables", tables.index(FACTS)),
            tr(
                "'{facts}' cannot be loaded without {names}: add to tables, or leave '{facts}' "
                "out.",
                facts=FACTS,
                names=tr(" and ").join(missing),
            ),
        )


def find_filter_problems(attributes: SourceAttributes, *, tables_known: bool) -> Iterator[Problem]:
    """Filters of tables that are not chosen, and filters that cannot be meant.

    Args:
        attributes: The attributes.
        tables_known: False where `tables` itself is refused: what is chosen is not known then.
    """
    for table, filters in attributes.filters.items():
        location = ("attributes", "filters", table)
        if tables_known and table not in attributes.tables:
            yield Problem(
                location,
                tr(
                    "'{table}' is not in tables: choose it there, or remove its filters.",
                    table=table,
                ),
            )
        for index, item in enumerate(filters):
            try:
                check_filter(table, Filter(field=item.field, op=item.op, value=item.value))
            except FilterError as error:
                yield Problem((*location, index), str(error))


def find_api_problems(attributes: SourceAttributes) -> Iterator[Problem]:
    """A role where there are none."""
    if attributes.role and attributes.api != "ckct":
        yield Problem(
            ("attributes", "role"),
            tr(
                "'{role}' means nothing to api: {api}, which knows no roles: remove it, or set "
                "api: ckct.",
                role=attributes.role,
                api=attributes.api,
            ),
        )


def find_day_problems(attributes: SourceAttributes, today: date) -> Iterator[Problem]:
    """A source that begins after today."""
    if attributes.start_date and date.fromisoformat(attributes.start_date) > today:
        yield Problem(
            ("attributes", "start_date"),
            tr(
                "{start_date} is in the future; today is {today} in {time_zone}.",
                start_date=attributes.start_date,
                today=today,
                time_zone=attributes.time_zone,
            ),
        )


def find_privacy_problems(attributes: SourceAttributes, name: str) -> Iterator[Problem]:
    """Hashing without a key, and a key that nothing is hashed with."""
    privacy = attributes.privacy
    hashed = [
        attribute
        for attribute in ("phones", "manager_phones")
        if getattr(privacy, attribute) == "hash"
    ]
    if hashed and privacy.key is None:
        yield Problem(
            ("attributes", "privacy", hashed[0]),
            tr(
                "hash needs a key: add key: {{env: {prefix}_PRIVACY_KEY}}, and set that variable "
                "to a long random text.",
                prefix=name.upper(),
            ),
        )
    if privacy.key is not None and not hashed:
        yield Problem(
            ("attributes", "privacy", "key"),
            tr("is for phones: hash, and nothing is hashed: remove it, or write phones: hash."),
        )


def _build_fields(given: Any) -> tuple[tuple[str, str], ...]:  # noqa: ANN401 -- list or mapping
    if isinstance(given, Mapping):
        return tuple(given.items())
    return tuple((path, path) for path in given or ())


def build_report_table(attributes: ReportTableAttributes) -> ReportTable:
    """Build one table of a report."""
    return ReportTable(
        name=attributes.table,
        key=tuple(attributes.key),
        columns=tuple(
            ReportColumn(
                name=name,
                path=column.parent or column.path or "",
                type=column.type,
                is_parent=column.parent is not None,
            )
            for name, column in attributes.columns.items()
        ),
        rows=attributes.rows,
    )


def build_reports(reports: Iterable[ReportAttributes]) -> tuple[Report, ...]:
    """Build the reports; `find_report_problems` has found nothing wrong with them."""
    return tuple(
        Report(
            name=one.name,
            fields=_build_fields(one.fields),
            structure=tuple(build_report_table(table) for table in one.structure or ()),
            filters=tuple(
                Filter(field=each.field, op=each.op, value=each.value) for each in one.filters
            ),
            on_new_field=one.on_new_field,
            cron=one.refresh.cron,
            overlap_days=one.refresh.overlap_days,
        )
        for one in reports
    )


def _find_path_problem(path: str) -> str | None:
    # JMESPath, which only a source with reports need pay for.
    from callkeeper_assets.reports.rows import compile_path  # noqa: PLC0415

    try:
        compile_path(path)
    except PathError as error:
        return str(error)
    return None


def _find_fields_problems(fields: Any, location: Location) -> Iterator[Problem]:  # noqa: ANN401
    if isinstance(fields, Mapping):
        entries = [(str(name), name, path) for name, path in fields.items()]
    elif isinstance(fields, list):
        entries = [(index, path, path) for index, path in enumerate(fields)]  # type: ignore[misc]
    else:
        yield Problem(location, tr("must be a list of paths, or a mapping of names to paths."))
        return
    if not entries:
        yield Problem(location, tr("is empty: choose at least one field."))
    seen = set()
    for place, name, path in entries:
        here = (*location, place)
        if not isinstance(name, str) or not isinstance(path, str):
            yield Problem(here, tr("must be text; in quotes if it looks like a number or yes/no."))
            continue
        problem = find_field_name_problem(name) or _find_path_problem(path)
        if problem:
            yield Problem(here, problem)
        elif name in seen:
            yield Problem(here, tr("'{name}' is asked for twice: keep one.", name=name))
        seen.add(name)


def _find_column_problems(table: ReportTableAttributes, location: Location) -> Iterator[Problem]:
    for name, column in table.columns.items():
        here = (*location, "columns", name)
        problem = find_column_name_problem(name)
        if problem:
            yield Problem(here, problem)
        if (column.path is None) == (column.parent is None):
            yield Problem(here, tr("must have either path or parent."))
            continue
        kind = "path" if column.parent is None else "parent"
        if kind == "parent" and table.rows is None:
            yield Problem(
                (*here, kind),
                tr("goes with rows, which this table has not: write path in its place."),
            )
        problem = _find_path_problem(column.path or column.parent or "")
        if problem:
            yield Problem((*here, kind), problem)


def _find_key_problems(table: ReportTableAttributes, location: Location) -> Iterator[Problem]:
    for index, name in enumerate(table.key):
        here = (*location, "key", index)
        if name not in table.columns:
            yield Problem(here, describe_unknown("column", name, table.columns))
        elif name in table.key[:index]:
            yield Problem(here, tr("'{name}' is in the key twice: keep one.", name=name))
        elif table.columns[name].type == "jsonb":
            yield Problem(
                here,
                tr("'{name}' is jsonb, which cannot be in a key. Use another type.", name=name),
            )


def _find_structure_problems(report: ReportAttributes, location: Location) -> Iterator[Problem]:
    names: set[str] = set()
    for index, table in enumerate(report.structure or ()):
        here = (*location, "structure", index)
        problem = find_table_name_problem(table.table)
        if problem is None and table.table in names:
            problem = tr(
                "'{table}' is filled by this report already: a table has one entry.",
                table=table.table,
            )
        if problem:
            yield Problem((*here, "table"), problem)
        names.add(table.table)
        problem = _find_path_problem(table.rows) if table.rows else None
        if problem:
            yield Problem((*here, "rows"), problem)
        yield from _find_column_problems(table, here)
        yield from _find_key_problems(table, here)


def _find_filter_problems(report: ReportAttributes, location: Location) -> Iterator[Problem]:
    for index, item in enumerate(report.filters):
        try:
            # Its filters may name the columns of calls too.
            check_filter(FACTS, Filter(field=item.field, op=item.op, value=item.value))
        except FilterError as error:
            yield Problem((*location, "filters", index), str(error))


def describe_difference(mine: Mapping[str, str], other: Mapping[str, str]) -> str:
    """Say in what two forms of a table differ."""
    no_mine, no_other = tr("not here"), tr("not there")
    return "; ".join(
        tr(
            "{name}: {mine} here, {other} there",
            name=name,
            mine=mine.get(name, no_mine),
            other=other.get(name, no_other),
        )
        for name in (*mine, *(name for name in other if name not in mine))
        if mine.get(name) != other.get(name)
    )


def find_report_problems(attributes: SourceAttributes) -> Iterator[Problem]:
    """Everything that is wrong with a source's reports, each alone and beside the others."""
    names: set[str] = set()
    forms: dict[str, tuple[str, dict[str, str]]] = {}
    for index, report in enumerate(attributes.reports):
        location: Location = ("attributes", "reports", index)
        if report.name in names:
            yield Problem(
                (*location, "name"), tr("there is a report '{name}' before it.", name=report.name)
            )
        names.add(report.name)
        if report.fields is not None:
            yield from _find_fields_problems(report.fields, (*location, "fields"))
        elif report.structure is None:
            yield Problem(location, tr("fields are missing: list paths, or give it a structure."))
        yield from _find_filter_problems(report, location)
        yield from _find_structure_problems(report, location)
        for place, table in enumerate(report.structure or ()):
            form = build_report_table(table).form
            first, known = forms.setdefault(table.table, (report.name, form))
            if known != form and first != report.name:
                yield Problem(
                    (*location, "structure", place, "table"),
                    tr(
                        "'{table}' is filled by the report '{first}' too, which says otherwise "
                        "({difference}). Make them agree, or choose another name.",
                        table=table.table,
                        first=first,
                        difference=describe_difference(form, known),
                    ),
                )
