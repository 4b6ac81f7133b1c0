"""What a project of others is given: names that are nobody else's, keys as its team has them.

And nothing that the rest of its process could notice.
"""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import dagster as dg
import pytest
from dagster.components.testing import create_defs_folder_sandbox

import callkeeper_assets as ck
from callkeeper_assets.assets import build_source_definitions, translate
from callkeeper_assets.assets.keys import asset_key
from callkeeper_assets.config.errors import InvalidSourceError, MissingFolderError
from callkeeper_assets.config.loading import load_source_file, read_source
from callkeeper_assets_tests.zones import install_rules

_KEY: Final = {"api_key": {"env": "UNSET"}}
# All that a source can have, so that each kind of asset, job and step is there.
_EVERYTHING: Final = {
    **_KEY,
    "api": "ckct",
    "webhook": {"token": {"env": "UNSET"}},
    "retention": {"keep_days": 400},
    "reports": [{"name": "talks", "fields": ["id"]}],
}


def _list_names(definitions: dg.Definitions) -> set[str]:
    """Return every name that must be one of a kind in a code location."""
    repository = definitions.get_repository_def()
    steps = {
        node.name
        for job in repository.get_all_jobs()
        for node in job.graph.iterate_node_defs()
        if not node.name.startswith("__")
    }
    jobs = {name for name in repository.job_names if not name.startswith("__")}
    sensors = {sensor.name for sensor in repository.sensor_defs}
    return steps | jobs | sensors | {schedule.name for schedule in repository.schedule_defs}


def _specs(definitions: dg.Definitions) -> Mapping[str, dg.AssetSpec]:
    return {spec.key.to_user_string(): spec for spec in definitions.resolve_all_asset_specs()}


def test_every_name_begins_with_ours_and_no_resource_or_executor_is_brought() -> None:
    definitions = ck.build_definitions({"office": _EVERYTHING, "shop": _EVERYTHING})
    names = _list_names(definitions)
    # Two sources' steps, jobs and schedules, and what is shared.
    assert len(names) > 30
    assert {name for name in names if not name.startswith("callkeeper_")} == set()
    # Dagster itself brings its own store for what steps return.
    required = set(definitions.get_repository_def().get_top_level_resources())
    assert required <= {"io_manager"}
    assert (definitions.executor, definitions.loggers) == (None, {})


def test_names_of_a_project_of_ours_are_what_they_were() -> None:
    office = read_source("office", _EVERYTHING)
    names = _list_names(build_source_definitions(office))
    assert names == {
        "office__callkeeper_calls_webhooks_arrive",
        "office__raw_calls",
        "office__reconciliation",
        "office__reports",
        "office__retention",
        "office__tables",
        "office__watch",
        "office__webhook_audit",
        "office_historic_load",
        "office_protect",
        "office_protect_calls",
        "office_reconciliation",
        "office_refresh",
        "office_report_talks",
        "office_reports",
        "office_retention",
    }


# What Dagster notes of each component of its own tree.
@pytest.mark.filterwarnings("ignore:.*is currently in beta")
def test_what_sources_share_is_there_once_in_dagsters_tree() -> None:
    with create_defs_folder_sandbox() as sandbox:
        for name in ("shop", "telephony/office", "warehouse_shop"):
            sandbox.scaffold_component(
                component_cls=ck.CallKeeperSource,
                defs_path=name,
                defs_yaml_contents={
                    "type": "callkeeper_assets.CallKeeperSource",
                    "attributes": {**_KEY, "webhook": {"token": {"env": "UNSET"}}},
                },
            )
        with sandbox.build_all_defs() as definitions:
            dg.Definitions.validate_loadable(definitions)
            sensors = [sensor.name for sensor in definitions.sensors or ()]
            assert sorted(sensors) == [
                "callkeeper_run_janitor",
                "callkeeper_source_watch",
                "callkeeper_webhook_inbox",
            ]
            specs = _specs(definitions)
            # One step for the webhooks of all of them.
            assert {"shop/webhook_calls", "office/webhook_calls", "warehouse_shop/raw_calls"} <= {
                *specs
            }
            job = definitions.resolve_job_def("callkeeper_webhook_inbox")
            assert len(job.asset_layer.selected_asset_keys) == 3


# What Dagster notes of each component of its own tree.
@pytest.mark.filterwarnings("ignore:.*is currently in beta")
def test_two_sources_of_one_name_are_refused_in_words() -> None:
    with create_defs_folder_sandbox() as sandbox:
        for name in ("east/office", "west/office"):
            sandbox.scaffold_component(
                component_cls=ck.CallKeeperSource,
                defs_path=name,
                defs_yaml_contents={
                    "type": "callkeeper_assets.CallKeeperSource",
                    "attributes": _KEY,
                },
            )
        with (
            pytest.raises(Exception, match="Error while building definitions") as caught,
            sandbox.build_all_defs(),
        ):
            pass
        causes = []
        error: BaseException | None = caught.value
        while error:
            causes.append(error)
            error = error.__cause__
        (refusal,) = [one for one in causes if isinstance(one, InvalidSourceError)]
        assert "would be named like one of the source 'office': rename the folder" in str(refusal)


def test_a_prefix_and_a_group_are_those_of_every_asset() -> None:
    attributes = {**_EVERYTHING, "key_prefix": "sales/telephony", "group_name": "calls"}
    specs = _specs(ck.build_definitions({"office": attributes}))
    assert {key.rpartition("office/")[0] for key in specs} == {"sales/telephony/"}
    assert {spec.group_name for spec in specs.values()} == {"calls"}
    facts = specs["sales/telephony/office/callkeeper_calls_facts"]
    assert dg.AssetKey(["sales", "telephony", "office", "raw_calls"]) in {
        dep.asset_key for dep in facts.deps
    }


def test_a_translation_says_key_and_attributes_of_each_asset() -> None:
    attributes = {
        **_EVERYTHING,
        "translation": {
            "key": "calls/{{ spec.key.path | join('_') }}",
            "group_name": "telephony",
            "owners": ["team:sales"],
            "tags": {"office": "{{ source }}"},
            "metadata": {"kind": "{{ spec.kinds | sort | join(' ') }}"},
        },
    }
    definitions = ck.build_definitions({"office": attributes})
    dg.Definitions.validate_loadable(definitions)
    specs = _specs(definitions)
    assert {key.rpartition("/")[0] for key in specs} == {"calls"}
    assert "calls/office_reports_talks" in specs
    for spec in specs.values():
        assert (spec.group_name, list(spec.owners)) == ("telephony", ["team:sales"])
        assert spec.tags["office"] == "office"
    facts = specs["calls/office_callkeeper_calls_facts"]
    # What is ours to know stays: days, what it is made from, its columns.
    assert facts.partitions_def is not None
    assert dg.AssetKey(["calls", "office_raw_calls"]) in {dep.asset_key for dep in facts.deps}
    assert facts.metadata["kind"] == "fact postgres"
    assert "dagster/column_schema" in facts.metadata
    job = definitions.resolve_job_def("callkeeper_office_historic_load")
    assert dg.AssetKey(["calls", "office_raw_calls"]) in job.asset_layer.selected_asset_keys


def test_a_translation_may_be_an_expression_that_gives_an_asset() -> None:
    attributes = {**_KEY, "translation": "{{ spec.replace_attributes(group_name='calls') }}"}
    specs = _specs(ck.build_definitions({"office": attributes}))
    assert {spec.group_name for spec in specs.values()} == {"calls"}


@pytest.mark.parametrize(
    ("translation", "said"),
    [
        ({"keey": "x"}, r"the attributes of office: translation: .*keey"),
        ({"group_name": "{{ nothing }}"}, r"translation: .*'nothing' not found in scope"),
        ({"owners": ["somebody"]}, r"translation: Invalid owner 'somebody'"),
        ({"key": "calls"}, r"translation: several assets would have the key calls; let it depend"),
        (7, r"the attributes of office: translation: must be a mapping of attributes, or one '{{"),
    ],
)
def test_a_translation_that_cannot_be_applied_is_refused(translation: object, said: str) -> None:
    with pytest.raises(InvalidSourceError, match=f"(?s){said}"):
        ck.build_definitions({"office": {**_KEY, "translation": translation}})


@pytest.mark.parametrize(
    ("attributes", "said"),
    [
        ({"key_prefix": "a//b"}, r"key_prefix\[1\]: must be letters, digits, '_', '-' and '.'."),
        ({"key_prefix": [7]}, r"key_prefix\[0\]: must be text"),
        ({"group_name": "a b"}, r"group_name: must be Latin letters, digits and '_'."),
        ({"captoin": "x"}, r"the attributes of office: captoin: there is no attribute 'captoin'"),
        ({"api_key": "0123456789abcdef"}, r"api_key: must name the environment variable"),
    ],
)
def test_attributes_from_python_are_refused_as_those_of_a_file(
    attributes: dict[str, Any], said: str
) -> None:
    with pytest.raises(InvalidSourceError, match=said):
        ck.build_definitions({"office": {**_KEY, **attributes}})


def test_what_is_no_sources_name_and_no_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidSourceError, match=r"Main Office: a source's name is a lower-case"):
        ck.build_definitions({"Main Office": _KEY})
    with pytest.raises(MissingFolderError, match="There is no folder"):
        ck.build_definitions(tmp_path / "none")


def test_a_folder_gives_what_its_files_say_and_refuses_all_that_is_wrong(tmp_path: Path) -> None:
    for name, more in (("office", ""), ("shop", "  captoin: x\n"), ("store", "  tables: []\n")):
        file = tmp_path / name / "defs.yaml"
        file.parent.mkdir()
        head = "type: callkeeper_assets.CallKeeperSource\nattributes:\n  api_key: {env: UNSET}\n"
        file.write_text(head + more)
    with pytest.raises(InvalidSourceError) as caught:
        ck.build_definitions(tmp_path)
    assert [text.partition("defs.yaml:")[2][0] for text in caught.value.problems] == ["4", "4"]
    for name in ("shop", "store"):
        (tmp_path / name / "defs.yaml").unlink()
    assert "office/raw_calls" in _specs(ck.build_definitions(tmp_path))


def test_a_project_of_ours_goes_by_the_same_attributes(tmp_path: Path) -> None:
    file = tmp_path / "office" / "defs.yaml"
    file.parent.mkdir()
    file.write_text(
        "type: callkeeper_assets.CallKeeperSource\nattributes:\n  api_key: {env: UNSET}\n"
        "  key_prefix: [sales]\n  translation: {key: '{{ spec.key.path[-1] }}'}\n"
    )
    source = translate(load_source_file(file))
    assert source.folder == ("sales", "office")
    assert asset_key(source, "raw_calls") == dg.AssetKey("raw_calls")


_STATE: Final = """
import gc, logging, os, signal, sys, warnings, zoneinfo
import dagster as dg
def look():
    return {
        "filters": list(warnings.filters), "garbage": (gc.get_threshold(), gc.get_freeze_count()),
        "environment": dict(os.environ), "finders": list(sys.meta_path), "zones": zoneinfo.TZPATH,
        "signals": [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)],
        "loggers": [list(logging.getLogger(one).filters) for one in ("", "dagster", "urllib3")],
        "levels": logging.getLogger().level, "hooks": (sys.excepthook, warnings.showwarning),
    }
# Whatever of Dagster's is warned of while ours is built would be an error.
for kind in (dg.BetaWarning, dg.PreviewWarning):
    warnings.filterwarnings("error", category=kind)
before = look()
import callkeeper_assets as ck
definitions = ck.build_definitions({
    "office": {"api_key": {"env": "UNSET"}, "webhook": {"token": {"env": "UNSET"}}},
    "shop": {"api_key": {"env": "UNSET"}, "translation": {"group_name": "calls"}},
})
dg.Definitions.validate_loadable(definitions)
ck.CallKeeperSource
after = look()
print([name for name in before if before[name] != after[name]])
print(sorted({"duckdb", "pandas", "psycopg", "pyarrow", "requests"} & sys.modules.keys()))
"""


def test_nothing_in_the_process_is_changed_by_importing_or_building() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _STATE], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["[]", "[]"]
    assert "Warning" not in done.stderr


def test_days_begin_by_the_newest_rules_although_the_process_goes_by_others(
    tmp_path: Path,
) -> None:
    """The same day is the same calls, whoever loads it: the command line goes by the newest."""
    folder = install_rules(tmp_path, "2025b", America__Vancouver="America/Los_Angeles")
    code = (
        "import zoneinfo; from datetime import date, datetime\n"
        "from callkeeper_assets.config.loading import read_source\n"
        "attributes = {'api_key': {'env': 'K'}, 'time_zone': 'America/Vancouver'}\n"
        "office = read_source('office', attributes)\n"
        "print(office.start_of(date(2026, 11, 28)).hour, office.time_zone.key)\n"
        "theirs = zoneinfo.ZoneInfo('America/Vancouver')\n"
        "print(datetime(2026, 11, 28, tzinfo=theirs).utcoffset())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONTZPATH": str(folder), "PATH": "/usr/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == ["7 America/Vancouver", "-1 day, 16:00:00"]
