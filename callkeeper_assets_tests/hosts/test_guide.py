"""docs/dagster-projects.md: each block of code in it, as who follows it would have it."""

import re
from pathlib import Path
from typing import Any, Final

import dagster as dg
import pytest
import yaml

import callkeeper_assets as ck
from callkeeper_assets.simulator.server import RunningSimulator
from callkeeper_assets_tests.hosts.host import (
    CALLS_PER_DAY,
    DAY,
    SOURCES,
    Host,
    attributes_of,
    make_folder,
    read_newest_run,
)
from callkeeper_assets_tests.side_environments import build_profile, find_dbt
from callkeeper_assets_tests.templates import MakeDatabase, Template

_ROOT: Final = Path(ck.__file__).parents[1]
_GUIDE: Final = _ROOT / "docs" / "dagster-projects.md"
_BLOCK: Final = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def _read_blocks(heading: str) -> list[tuple[str, str]]:
    """Return language and text of a section's blocks."""
    sections = _GUIDE.read_text("utf-8").split("\n## ")
    (section,) = [one for one in sections if one.startswith(f"{heading}\n")]
    return _BLOCK.findall(section)


def _build(code: str) -> dict[str, Any]:
    names: dict[str, Any] = {}
    exec(compile(code, "guide", "exec"), names)  # noqa: S102 -- our own page's
    return names


def test_the_plain_definitions_of_the_guide_load() -> None:
    ((language, code),) = _read_blocks("A plain `Definitions`")
    assert language == "python"
    # What stands for the reader's own.
    code = code.replace("assets=[...]", "assets=[]").replace('"warehouse": ...', '"warehouse": 1')
    definitions = _build(code)["defs"]
    dg.Definitions.validate_loadable(definitions)
    keys = {spec.key.to_user_string() for spec in definitions.resolve_all_asset_specs()}
    assert {"main_office/raw_calls", "shop/callkeeper_calls"} <= keys


def test_the_names_that_the_guide_lets_a_team_choose_are_given() -> None:
    prefixed, translated = (
        yaml.safe_load(text)["attributes"]
        for _, text in _read_blocks("What is in it, and under which names")
    )
    specs = {
        spec.key.to_user_string(): spec
        for attributes in (prefixed, translated)
        for spec in ck.build_definitions({"main_office": attributes}).resolve_all_asset_specs()
    }
    first = specs["sales/telephony/main_office/raw_calls"]
    assert (first.group_name, list(first.owners)) == ("calls", ["team:sales"])
    second = specs["telephony/main_office_raw_calls"]
    assert (second.group_name, second.tags["office"]) == ("telephony", "main_office")


def test_an_asset_of_the_guide_is_made_after_our_table() -> None:
    ((_, code),) = _read_blocks("Your assets after ours")
    talk_time = _build(code)["talk_time"]
    ours = ck.build_definitions({"main_office": {"api_key": {"env": "MAIN_OFFICE_API_KEY"}}})
    graph = dg.Definitions.merge(ours, dg.Definitions(assets=[talk_time]))
    node = graph.resolve_asset_graph().get(dg.AssetKey("talk_time"))
    assert node.parent_keys == {dg.AssetKey(["main_office", "callkeeper_calls_facts"])}


@pytest.mark.e2e
@pytest.mark.timeout(900)
def test_models_of_dbt_are_built_after_the_tables_that_they_read(
    make_database: MakeDatabase,
    accounts: RunningSimulator,
    keys: dict[str, str],
) -> None:
    blocks = dict(_read_blocks("Models of dbt after ours"))
    with make_database(Template.WAREHOUSE) as url:
        host = Host(make_folder(f"dbt-{DAY}"), url, keys, programs=find_dbt())
        host.write("dagster.yaml", "telemetry: {enabled: false}\nnux: {enabled: false}\n")
        code = blocks["python"]
        for name in SOURCES:
            written = f'{{"api_key": {{"env": "{name.upper()}_API_KEY"}}}}'
            assert written in code
            code = code.replace(written, repr(attributes_of(name, accounts.base_url)))
        host.write("theirs.py", code)
        host.write("dbt/models/sources.yml", blocks["yaml"])
        host.write("dbt/models/calls_by_status.sql", blocks["sql"])
        host.write("dbt/dbt_project.yml", "name: sales\nprofile: sales\n")
        host.write("dbt/profiles.yml", yaml.safe_dump(build_profile("sales", url)))
        host.run("dbt", "parse", "--project-dir", "dbt", "--profiles-dir", "dbt", "--quiet")

        materialize = ("dagster", "asset", "materialize", "-f", "theirs.py", "--select", "*")
        in_process = '{"execution": {"config": {"in_process": {}}}}'
        host.run(*materialize, "--partition", DAY, "--config-json", in_process)

        with host.instance() as instance:
            told = read_newest_run(instance)
        order = list(told.days)
        assert order.index("calls_by_status") > order.index("shop/callkeeper_calls")
        assert order.index("calls_by_status") > order.index("main_office/callkeeper_calls")
        query = "SELECT source, sum(calls)::int FROM calls_by_status GROUP BY 1"
        assert host.ask(query) == dict.fromkeys(SOURCES, CALLS_PER_DAY)
