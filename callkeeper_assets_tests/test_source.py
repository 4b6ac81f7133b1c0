"""The component in Dagster's own hands: its tools read, write and check a source."""

import shutil
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest
from dagster.components.testing import create_defs_folder_sandbox

import callkeeper_assets
from callkeeper_assets.assets import build_shared_definitions
from callkeeper_assets.config.errors import InvalidSourceError
from callkeeper_assets.config.loading import load_source_file
from callkeeper_assets.source import CallKeeperSource

# Dagster 1.13 itself uses what pydantic 2 deprecates, and marks parts that we use as beta.

PROJECT = Path(callkeeper_assets.__file__).parents[1]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the project, where `dg` may write."""
    copy = tmp_path / "project"
    shutil.copytree(
        PROJECT / "callkeeper_assets",
        copy / "callkeeper_assets",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    shutil.copy(PROJECT / "pyproject.toml", copy)
    (copy / "dagster.yaml").touch()
    return copy


def run_dg(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Dagster's `dg` in the project, as its user would."""
    return subprocess.run(
        [str(Path(sys.executable).with_name("dg")), *arguments],
        cwd=project,
        env={
            "PATH": str(Path(sys.executable).parent),
            "PYTHONPATH": str(project),
            "DAGSTER_HOME": str(project),
            "COLUMNS": "200",
        },
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.e2e
@pytest.mark.package
def test_a_scaffolded_source_passes_every_check_of_dg(project: Path) -> None:
    made = run_dg(project, "scaffold", "defs", "callkeeper_assets.CallKeeperSource", "main_office")
    assert made.returncode == 0, made.stderr
    file = project / "callkeeper_assets" / "defs" / "main_office" / "defs.yaml"
    source = load_source_file(file)
    assert (source.name, source.api_key_env) == ("main_office", "MAIN_OFFICE_API_KEY")

    # Runs `dg check yaml` first.
    checked = run_dg(project, "check", "defs")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "All component YAML validated successfully" in checked.stdout
    assert "All definitions loaded successfully" in checked.stdout + checked.stderr

    listed = run_dg(project, "list", "defs", "--json")
    assert '"main_office/raw_calls"' in listed.stdout, listed.stderr


@pytest.mark.e2e
@pytest.mark.package
def test_dg_knows_the_component_and_refuses_what_its_schema_refuses(project: Path) -> None:
    components = run_dg(project, "list", "components")
    assert "callkeeper_assets.CallKeeperSource" in components.stdout, components.stderr

    refused = run_dg(
        project, "scaffold", "defs", "callkeeper_assets.CallKeeperSource", "Main-Office"
    )
    assert refused.returncode == 1
    assert "Rename the folder, for example to 'main_office'" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert not (project / "callkeeper_assets" / "defs" / "Main-Office").exists()

    file = project / "callkeeper_assets" / "defs" / "shop" / "defs.yaml"
    file.parent.mkdir()
    file.write_text(
        "type: callkeeper_assets.CallKeeperSource\n"
        "attributes: {api_key: {env: KEY}, captoin: x, tables: [general_date]}\n"
    )
    checked = run_dg(project, "check", "yaml")
    assert checked.returncode == 1
    assert "'captoin' was unexpected" in checked.stdout
    assert "'general_date' is not one of ['general_accounts', " in checked.stdout


# What Dagster notes of each component of its own tree.
@pytest.mark.filterwarnings("ignore:.*is currently in beta")
def test_the_component_builds_a_source_in_dagsters_own_tree() -> None:
    with create_defs_folder_sandbox() as sandbox:
        path = sandbox.scaffold_component(
            component_cls=CallKeeperSource,
            defs_path="office",
            defs_yaml_contents={
                "type": "callkeeper_assets.CallKeeperSource",
                "attributes": {"api_key": {"env": "KEY"}, "tables": ["general_dates"]},
            },
        )
        with sandbox.load_component_and_build_defs(defs_path=path) as (component, definitions):
            assert isinstance(component, CallKeeperSource)
            complete = dg.Definitions.merge(definitions, build_shared_definitions([]))
            keys = {spec.key.to_user_string() for spec in complete.resolve_all_asset_specs()}
            assert {"office/raw_calls", "office/general_dates"} <= keys


def test_a_contradiction_is_refused_in_dagsters_own_tree_too() -> None:
    with create_defs_folder_sandbox() as sandbox:
        path = sandbox.scaffold_component(
            component_cls=CallKeeperSource,
            defs_path="office",
            defs_yaml_contents={
                "type": "callkeeper_assets.CallKeeperSource",
                "attributes": {"api_key": {"env": "KEY"}, "tables": ["callkeeper_calls_facts"]},
            },
        )
        with (
            pytest.raises(Exception, match="Error while building definitions") as caught,
            sandbox.load_component_and_build_defs(defs_path=path),
        ):
            pass
        assert isinstance(caught.value.__cause__, InvalidSourceError)
        assert "cannot be loaded without callkeeper_calls" in str(caught.value.__cause__)


def test_importing_the_package_does_not_import_dagster() -> None:
    """The command line would pay for it at every start."""
    code = (
        "import sys, callkeeper_assets.config.loading as loading; loading.load_sources();"
        "assert 'CallKeeperSource' in dir(sys.modules['callkeeper_assets']);"
        "print([name for name in sys.modules if name.partition('.')[0] in "
        "('dagster', 'duckdb', 'pandas', 'pyarrow', 'psycopg', 'requests')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
