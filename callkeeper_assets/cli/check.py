"""`callkeeper check`: what is right and what is not, with remedies, before anything is loaded."""

from typing import Annotated

import typer

from callkeeper_assets.cli.console import FAILED


def check(
    source: Annotated[
        list[str] | None, typer.Argument(help="Names of sources. Default: all.")
    ] = None,
    *,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document in place of the table.")
    ] = False,
) -> None:
    """Check configuration, keys, database and folders. Loads nothing."""
    from dataclasses import asdict  # noqa: PLC0415

    from callkeeper_assets.cli.checks import (  # noqa: PLC0415  # noqa: PLC0415
        SUBJECT,
        Finding,
        check_dagster_home,
        check_database,
        check_home,
        check_privacy,
        check_raw_store,
        check_zone_rules,
        print_findings,
    )
    from callkeeper_assets.cli.console import print_json  # noqa: PLC0415
    from callkeeper_assets.cli.selection import (  # noqa: PLC0415
        choose_sources,
        explain_no_source,
        has_sources,
    )
    from callkeeper_assets.cli.source_checks import (  # noqa: PLC0415
        check_sources,
        describe_refused,
    )

    database = check_database()
    # Of the embedded one that is yet to be made there is one finding, of tables none.
    has_database = len(database) > 1
    installation = [check_dagster_home(), check_home(), check_zone_rules()]
    findings = [*installation, *database, check_raw_store()]
    if not source and not has_sources():
        findings.append(Finding(SUBJECT, "sources", "warning", explain_no_source()))
    else:
        sources, broken = choose_sources(source or [])
        findings += check_sources(sources, has_database=has_database)
        findings += check_privacy(sources, has_database=has_database)
        findings += [finding for refused in broken for finding in describe_refused(refused)]
    has_failed = any(finding.state == "bad" for finding in findings)
    if as_json:
        print_json({"ok": not has_failed, "findings": [asdict(finding) for finding in findings]})
    else:
        print_findings(findings)
    if has_failed:
        raise typer.Exit(FAILED)
