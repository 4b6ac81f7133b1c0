"""Reports in a defs.yaml: what they come to, and in which words a wrong one is refused."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from textwrap import dedent, indent

import pytest

from callkeeper_assets.config.errors import InvalidSourceError
from callkeeper_assets.config.loading import load_source_file, load_sources
from callkeeper_assets.reports.definition import Report, ReportColumn, ReportTable
from callkeeper_assets.warehouse.filters import Filter

HEAD = "type: callkeeper_assets.CallKeeperSource\nattributes:\n  api_key: {env: OFFICE_KEY}\n"
NOW = datetime(2026, 3, 31, 22, 30, tzinfo=UTC)

# The interface's own.
EXAMPLE = """\
reports:
  - name: calls_by_campaign
    type: calls
    fields: [id, date, visit_info.current.utm_campaign, duration2_sec, tags]
    refresh: {cron: "30 5 * * *", overlap_days: 3}
    structure:                          # left out: JSON rows in callkeeper_reports
      - table: campaign_calls
        key: [call_id]
        columns:
          call_id: {path: id, type: bigint}
          campaign: {path: visit_info.current.utm_campaign, type: text}
          talk_sec: {path: duration2_sec, type: integer}
      - table: campaign_call_tags
        rows: tags[]                    # one row for each element (JMESPath)
        key: [call_id, tag]
        columns:
          call_id: {parent: id, type: bigint}
          tag: {path: "@", type: text}
"""

WriteSource = Callable[..., Path]


@pytest.fixture
def write_source(tmp_path: Path) -> WriteSource:
    """Writes a defs.yaml; the text is put below `HEAD`, as more of its attributes."""

    def write(text: str, *, name: str = "office") -> Path:
        file = tmp_path / name / "defs.yaml"
        file.parent.mkdir(parents=True)
        file.write_text(HEAD + indent(dedent(text), "  "), encoding="utf-8")
        return file

    return write


def refusal(file: Path) -> list[str]:
    """The lines of the refusal, without the file's path."""
    with pytest.raises(InvalidSourceError) as caught:
        load_source_file(file, NOW)
    return [problem.removeprefix(f"{file}:") for problem in caught.value.problems]


def test_the_example_of_the_interface_means_what_it_says(write_source: WriteSource) -> None:
    (report,) = load_source_file(write_source(EXAMPLE), NOW).reports
    assert report == Report(
        name="calls_by_campaign",
        fields=tuple(
            (path, path)
            for path in (
                "id",
                "date",
                "visit_info.current.utm_campaign",
                "duration2_sec",
                "tags",
            )
        ),
        structure=(
            ReportTable(
                name="campaign_calls",
                key=("call_id",),
                columns=(
                    ReportColumn("call_id", "id", "bigint"),
                    ReportColumn("campaign", "visit_info.current.utm_campaign", "text"),
                    ReportColumn("talk_sec", "duration2_sec", "integer"),
                ),
            ),
            ReportTable(
                name="campaign_call_tags",
                key=("call_id", "tag"),
                columns=(
                    ReportColumn("call_id", "id", "bigint", is_parent=True),
                    ReportColumn("tag", "@", "text"),
                ),
                rows="tags[]",
            ),
        ),
        on_new_field="warn",
        cron="30 5 * * *",
        overlap_days=3,
    )


def test_a_short_report_has_the_documented_defaults(write_source: WriteSource) -> None:
    file = write_source("""\
        reports:
          - name: r
            fields: {номер: id, "первый тег": "tags[0]"}
            filters: [{field: status, op: eq, value: success}]
            on_new_field: fail
    """)
    (report,) = load_source_file(file, NOW).reports
    assert report == Report(
        name="r",
        fields=(("номер", "id"), ("первый тег", "tags[0]")),
        filters=(Filter("status", "eq", "success"),),
        on_new_field="fail",
        cron="30 5 * * *",
        overlap_days=3,
    )


def test_the_digest_is_of_what_makes_the_rows(write_source: WriteSource) -> None:
    (report,) = load_source_file(write_source(EXAMPLE), NOW).reports
    variants = {
        "cron": EXAMPLE.replace("30 5", "31 5"),
        "fields, where tables are made": EXAMPLE.replace("[id, date, ", "[id, "),
        "path": EXAMPLE.replace("path: duration2_sec", "path: duration_sec"),
        "type": EXAMPLE.replace("type: integer", "type: bigint"),
        "parent": EXAMPLE.replace("parent: id", "path: id"),
        "filter": EXAMPLE.replace(
            "    structure", "    filters: [{field: city, op: eq, value: x}]\n    structure"
        ),
    }
    digests = {}
    for name, text in variants.items():
        file = write_source(text, name=name.partition(",")[0])
        (variant,) = load_source_file(file, NOW).reports
        digests[name] = variant.digest == report.digest
    assert digests == {
        "cron": True,
        "fields, where tables are made": True,
        "path": False,
        "type": False,
        "parent": False,
        "filter": False,
    }


ONE_TABLE = "{table: t, key: [a], columns: {a: {path: id, type: text}}}"
TABLE = "- {{name: r, structure: [{{table: {table}, key: {key}, columns: {columns}}}]}}"


def structured(
    table: str = "t", key: str = "[a]", columns: str = "{a: {path: id, type: text}}"
) -> str:
    return "reports:\n  " + TABLE.format(table=table, key=key, columns=columns)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("reports: {}", "4: reports: must be a list."),
        ("reports:\n  - {fields: [id]}", "5: reports[0].name: is required and missing."),
        (
            "reports:\n  - {name: r, fields: [id], feilds: x}",
            "5: reports[0].feilds: there is no attribute 'feilds'. Did you mean 'fields'? Allowed:",
        ),
        (
            "reports:\n  - {name: Calls, fields: [id]}",
            "5: reports[0].name: 'Calls' cannot be a report's name: a lower-case Latin letter, the",
        ),
        (
            f"reports:\n  - {{name: {'r' * 300}, fields: [id]}}",
            f"5: reports[0].name: '{'r' * 40}…' cannot be a report's name",
        ),
        (
            "reports:\n  - {name: r, fields: [id]}\n  - {name: r, fields: [id]}",
            "6: reports[1].name: there is a report 'r' before it.",
        ),
        (
            "reports:\n  - {name: r, type: leads, fields: [id]}",
            "5: reports[0].type: there is no type 'leads'. Allowed: calls.",
        ),
        ("reports:\n  - {name: r}", "5: reports[0]: fields are missing: list paths, or give it a"),
        (
            "reports:\n  - {name: r, fields: id}",
            "5: reports[0].fields: must be a list of paths, or",
        ),
        ("reports:\n  - {name: r, fields: []}", "5: reports[0].fields: is empty: choose at least"),
        (
            "reports:\n  - name: r\n    fields:\n      - id\n      - 7",
            "8: reports[0].fields[1]: must be text; in quotes if it looks like a number",
        ),
        (
            "reports:\n  - {name: r, fields: [id, a..b]}",
            "5: reports[0].fields[1]: 'a..b' is not JMESPath at character 3.",
        ),
        (
            "reports:\n  - {name: r, fields: {кампания: visit_info.кампания}}",
            "5: reports[0].fields.кампания: 'visit_info.кампания' is not JMESPath at character 12.",
        ),
        (
            f"reports:\n  - {{name: r, fields: {{{'ы' * 300}: id}}}}",
            f"5: reports[0].fields.{'ы' * 300}: '{'ы' * 40}…' has 300 characters, a field's name a",
        ),
        (
            "reports:\n  - {name: r, fields: [id, id]}",
            "5: reports[0].fields[1]: 'id' is asked for twice: keep one.",
        ),
        (
            "reports:\n  - {name: r, fields: [id], refresh: {cron: '0 5 * *'}}",
            "5: reports[0].refresh.cron: '0 5 * *' has 4 fields; a cron expression has 5",
        ),
        (
            "reports:\n  - {name: r, fields: [id], refresh: {overlap: 3}}",
            (
                "5: reports[0].refresh.overlap: there is no attribute 'overlap'. Did you mean "
                "'overlap_days'? Allowed: cron, overlap_days."
            ),
        ),
        (
            "reports:\n  - {name: r, fields: [id], filters: [{field: statsu, op: eq, value: x}]}",
            "5: reports[0].filters[0]: A filter of callkeeper_calls_facts names the field 'statsu'",
        ),
        (
            "reports:\n  - {name: r, fields: [id], filters: [{field: status, op: is}]}",
            "5: reports[0].filters[0].op: there is no op 'is'. Allowed: contains, eq, ge, ",
        ),
        (
            "reports:\n  - {name: r, fields: [id], on_new_field: stop}",
            "5: reports[0].on_new_field: there is no on_new_field 'stop'. Allowed: fail, ignore, w",
        ),
        (
            "reports:\n  - {name: r, structure: []}",
            "5: reports[0].structure: is empty: choose at least one, or leave it out for the def",
        ),
        (
            "reports:\n  - {name: r, structure: [{table: t, key: [a]}]}",
            "5: reports[0].structure[0].columns: is required and missing.",
        ),
        (structured(key="[]"), "5: reports[0].structure[0].key: is empty: choose at least one"),
        (structured(columns="{}"), "5: reports[0].structure[0].columns: is empty: choose at leas"),
        (
            structured(key="[b]"),
            "5: reports[0].structure[0].key[0]: there is no column 'b'. Allowed: a.",
        ),
        (
            structured(key="[a, a]"),
            "5: reports[0].structure[0].key[1]: 'a' is in the key twice: ke",
        ),
        (
            structured(columns="{a: {path: id, type: jsonb}}"),
            "5: reports[0].structure[0].key[0]: 'a' is jsonb, which cannot be in a key.",
        ),
        (
            structured(columns="{a: {path: id, type: string}}"),
            (
                "5: reports[0].structure[0].columns.a.type: there is no type 'string'. Allowed: "
                "bigint, boolean, date, double, integer, jsonb, numeric, text, timestamp."
            ),
        ),
        (
            structured(columns="{a: {type: text}}"),
            "5: reports[0].structure[0].columns.a: must have either path or parent.",
        ),
        (
            structured(columns="{a: {path: id, parent: id, type: text}}"),
            "5: reports[0].structure[0].columns.a: must have either path or parent.",
        ),
        (
            structured(columns="{a: {parent: id, type: text}}"),
            "5: reports[0].structure[0].columns.a.parent: goes with rows, which this table has not",
        ),
        (
            structured(columns="{a: {path: 'tags[', type: text}}"),
            "5: reports[0].structure[0].columns.a.path: 'tags[' is not JMESPath",
        ),
        (
            structured(columns="{a: {path: id, type: text, unit: s}}"),
            (
                "5: reports[0].structure[0].columns.a.unit: there is no attribute 'unit'. Allowed: "
                "parent, path, type."
            ),
        ),
        (
            structured(columns="{a: {path: id, type: text}, A b: {path: id, type: text}}"),
            "5: reports[0].structure[0].columns.A b: 'A b' cannot be a column's name: lower-case",
        ),
        (
            structured(columns="{a: {path: id, type: text}, account_id: {path: id, type: text}}"),
            "5: reports[0].structure[0].columns.account_id: 'account_id' cannot be a column of a",
        ),
        (
            structured(
                columns="{a: {path: id, type: text}, callkeeper_day: {path: id, type: text}}"
            ),
            "5: reports[0].structure[0].columns.callkeeper_day: 'callkeeper_day' cannot be a colum",
        ),
        (
            structured(columns="{a: {path: id, type: text}, ctid: {path: id, type: text}}"),
            "5: reports[0].structure[0].columns.ctid: 'ctid' is a column of PostgreSQL's own",
        ),
        (
            structured(columns="{a: {path: id, type: text}, order: {path: id, type: text}}"),
            (
                "5: reports[0].structure[0].columns.order: 'order' is a reserved word of SQL: each "
                "query would have to quote it. Choose another name, such as 'order_'."
            ),
        ),
        (structured(table="select"), "5: reports[0].structure[0].table: 'select' is a reserved wo"),
        (structured(table="My-Table"), "5: reports[0].structure[0].table: 'My-Table' cannot be a"),
        (
            structured(table="2nd"),
            "5: reports[0].structure[0].table: '2nd' cannot be a table's nam",
        ),
        (
            structured(table="t" * 64),
            f"5: reports[0].structure[0].table: '{'t' * 40}…' has 64 bytes, a table's name in Post",
        ),
        (
            structured(table="ы" * 32),
            f"5: reports[0].structure[0].table: '{'ы' * 32}' has 64 bytes, a table's name in Postg",
        ),
        (
            structured(table="t" * 300),
            f"5: reports[0].structure[0].table: '{'t' * 40}…' has 300 bytes, a table's name in",
        ),
        (
            structured(table="callkeeper_calls"),
            "5: reports[0].structure[0].table: 'callkeeper_calls' begins with 'callkeeper_': such",
        ),
        (
            structured(table="general_dates"),
            "5: reports[0].structure[0].table: 'general_dates' begins with 'general_': such tables",
        ),
        (
            structured(table="dagster_runs"),
            "5: reports[0].structure[0].table: 'dagster_runs' begins with 'dagster': such tables a",
        ),
        (
            structured(table="pg_class"),
            "5: reports[0].structure[0].table: 'pg_class' begins with 'pg_': such tables are not",
        ),
        (
            f"reports:\n  - name: r\n    structure:\n      - {ONE_TABLE}\n      - {ONE_TABLE}",
            "8: reports[0].structure[1].table: 't' is filled by this report already: a table has",
        ),
        (
            (
                f"reports:\n  - {{name: r, structure: [{ONE_TABLE}]}}\n"
                f"  - {{name: s, structure: [{ONE_TABLE.replace('text', 'date')}]}}"
            ),
            (
                "6: reports[1].structure[0].table: 't' is filled by the report 'r' too, which says "
                "otherwise (a: date here, text there). Make them agree, or choose another name."
            ),
        ),
    ],
)
def test_a_mistake_is_named_by_line_with_what_is_allowed(
    write_source: WriteSource, text: str, expected: str
) -> None:
    (problem,) = refusal(write_source(f"{text}\n"))
    assert problem.startswith(expected), problem


def test_names_that_need_no_quotes_are_taken(write_source: WriteSource) -> None:
    columns = "{номер: {path: id, type: text}, _x1: {path: id, type: text}}"
    file = write_source(structured(table="отчёт_2", key="[номер]", columns=columns) + "\n")
    (report,) = load_source_file(file, NOW).reports
    assert report.structure[0].name == "отчёт_2"


def test_two_reports_may_fill_one_table_if_they_agree(write_source: WriteSource) -> None:
    table = (
        "{table: t, key: [a, b], columns: {a: {path: id, type: text}, b: {path: x, type: date}}}"
    )
    other = "{table: t, key: [b, a], columns: {b: {path: y, type: date}, a: {path: z, type: text}}}"
    file = write_source(
        f"reports:\n  - {{name: r, structure: [{table}]}}\n  - {{name: s, structure: [{other}]}}\n"
    )
    assert len(load_source_file(file, NOW).reports) == 2


def test_sources_whose_tables_disagree_are_reported_and_the_first_stays(
    tmp_path: Path, write_source: WriteSource
) -> None:
    write_source(structured() + "\n", name="a")
    file = write_source(structured(columns="{a: {path: id, type: date}}") + "\n", name="b")
    write_source(structured() + "\n", name="c")
    sources, broken = load_sources(tmp_path)
    assert [source.name for source in sources] == ["a", "c"]
    (refused,) = broken
    assert refused.problems == (
        (
            f"{file}:5: reports[0].structure[0].table: 't' is filled by a report of the source 'a' "
            "too, which says otherwise (a: date here, text there). Make them agree, or choose "
            "another name."
        ),
    )


def test_a_report_whose_job_would_be_named_like_another_sources_is_refused(
    tmp_path: Path, write_source: WriteSource
) -> None:
    """Dagster refuses two jobs of one name, and all sources with them."""
    write_source("reports: [{name: x_refresh, fields: [id]}]\n", name="a")
    file = write_source("caption: x\n", name="a_report_x")
    sources, broken = load_sources(tmp_path)
    assert [source.name for source in sources] == ["a"]
    ((problem,),) = [one.problems for one in broken]
    assert problem == (
        f"{file}:1: the source's job 'a_report_x_refresh' would be named like one of the source "
        "'a': rename the folder, or the report 'x_refresh' there."
    )
