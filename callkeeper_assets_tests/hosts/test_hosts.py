"""Our sources in projects of others: one run each, by Dagster's own programs, of all that is there.

A run is of one day of every asset: raw calls, tables and reconciliation, with their checks, and
what the project's owner has beside them.
"""

import json
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Final

import dagster as dg
import pytest
import yaml

from callkeeper_assets.simulator.server import RunningSimulator
from callkeeper_assets_tests.extent import IS_LONG
from callkeeper_assets_tests.hosts.host import (
    CALLS_PER_DAY,
    DAY,
    OWN_ASSETS,
    SOURCES,
    Host,
    Told,
    attributes_of,
    first_day,
    make_folder,
    read_newest_run,
)
from callkeeper_assets_tests.templates import MakeDatabase, Template

# Its processes import Dagster one by one.
pytestmark = [pytest.mark.e2e, pytest.mark.package, pytest.mark.timeout(900)]

# Of each source: on raw calls' tables, and of the reconciliation.
_CHECKS: Final = 10 + 7
# One process a step is seen with the first of the projects.
_IN_PROCESS: Final = '{"execution": {"config": {"in_process": {}}}}'
# As a project may have it whose steps are many: they do not import one by one what all of them do.
_IMPORTED: Final = ["callkeeper_assets.assets.build", "callkeeper_assets.warehouse.loader"]
_FORKED: Final = {"start_method": {"forkserver": {"preload_modules": _IMPORTED}}}
_QUIET: Final = "telemetry: {enabled: false}\nnux: {enabled: false}\n"
# By what of ours Dagster's warnings are about: they would be the owner's to live with.
_OURS: Final = ("callkeeper_assets/", "AssetCheckSpec", "backfill_policy")
MakeHost = Callable[[str], Host]


@pytest.fixture
def make_host(make_database: MakeDatabase, keys: dict[str, str]) -> Iterator[MakeHost]:
    """Makes a project's empty folder, with a database of its own."""
    with make_database(Template.WAREHOUSE) as url:
        yield lambda name: Host(make_folder(f"{name}-{uuid.uuid4().hex}"), url, keys)


def _list_warnings(said: str) -> list[str]:
    """Return the warnings that are ours; Dagster's programs have some of their own."""
    lines = [line for line in said.splitlines() if "Warning:" in line]
    return [line for line in lines if any(one in line for one in _OURS)]


def _assert_loaded(
    host: Host, told: Told, prefix: str = "", sources: Sequence[str] = SOURCES
) -> None:
    """The day of these sources is in raw calls and tables, checked, and reconciled."""
    assert told.run.status == dg.DagsterRunStatus.SUCCESS
    for name in sources:
        folder = f"{prefix}{name}/"
        checks = {key: passed for key, passed in told.checks.items() if key[0].startswith(folder)}
        assert len(checks) >= _CHECKS, sorted(checks)
        # A refresh is due today, and this day is older.
        failed = {(f"{folder}callkeeper_calls", "newest_day_loaded")}
        assert {key for key, passed in checks.items() if not passed} == failed
        assert (f"{folder}reconciliation", "missing_in_warehouse") in checks
        days = {key: day for key, day in told.days.items() if key.startswith(folder)}
        assert {f"{folder}raw_calls", f"{folder}callkeeper_calls", f"{folder}reconciliation"} <= {
            *days
        }
        assert all(found == [DAY] for found in days.values()), days
    assert host.count("callkeeper_calls") == dict.fromkeys(sources, CALLS_PER_DAY)
    assert host.count("callkeeper_calls_facts") == dict.fromkeys(sources, CALLS_PER_DAY)


def test_a_project_made_by_create_dagster_with_sqlite_and_a_process_a_step(
    make_host: MakeHost, accounts: RunningSimulator
) -> None:
    parent = make_host("dg")
    parent.run("create-dagster", "project", "sales", "--no-uv-sync")
    host = replace(
        parent,
        folder=parent.folder / "sales",
        # As `dg` has it where the project is not installed.
        variables={**parent.variables, "PYTHONPATH": str(parent.folder / "sales" / "src")},
    )
    host.write("dagster.yaml", _QUIET)
    key = ["telephony", "shop", "callkeeper_calls"]
    host.write("src/sales/defs/own.py", OWN_ASSETS.format(start=first_day(), key=key))
    for name in SOURCES:
        attributes = attributes_of(name, accounts.base_url)
        attributes["key_prefix"] = "telephony"
        # As Dagster's own integrations have it.
        attributes["translation"] = {
            "group_name": "telephony",
            "tags": {"office": "{{ source }}"},
            "owners": ["team:sales"],
        }
        text = yaml.safe_dump(
            {"type": "callkeeper_assets.CallKeeperSource", "attributes": attributes}
        )
        # One folder deeper than in a project of ours: Dagster's tree is the project's.
        host.write(f"src/sales/defs/telephony/{name}/defs.yaml", text)

    listed, warned = host.run("dg", "list", "defs", "--json")
    assert _list_warnings(warned) == []
    found = json.loads(listed)
    # Made once, whichever of the sources brings them.
    assert sorted(sensor["name"] for sensor in found["sensors"]) == [
        "callkeeper_run_janitor",
        "callkeeper_source_watch",
    ]
    ours = [asset for asset in found["assets"] if asset["asset_key"].startswith("telephony/")]
    assert {asset["group_name"] for asset in ours} == {"telephony"}
    assert {tag["value"] for asset in ours for tag in asset["tags"]} == set(SOURCES)
    assert all(asset["owners"] == [{"team": "sales"}] for asset in ours)
    assert {asset["asset_key"] for asset in found["assets"]} - {
        asset["asset_key"] for asset in ours
    } == {"headcount", "calls_a_head"}

    sources: Sequence[str] = SOURCES
    launch = ["--assets", "*"]
    if not IS_LONG:
        # Each step's process would import Dagster.
        sources = SOURCES[1:]
        launch = ["--assets", 'key:"telephony/shop/*" or key:"headcount" or key:"calls_a_head"']
        config = {"execution": {"config": {"multiprocess": _FORKED}}}
        launch += ["--config-json", json.dumps(config)]
    _, warned = host.run("dg", "launch", *launch, "--partition", DAY)
    assert _list_warnings(warned) == []
    with host.instance() as instance:
        told = read_newest_run(instance)
        assert "Sqlite" in type(instance.run_storage).__name__
    _assert_loaded(host, told, "telephony/", sources)
    assert told.events["STEP_WORKER_STARTED"] > len(sources) * 3
    assert [note["asset"] for note in host.notes] == ["headcount", "calls_a_head"]
    assert host.notes[1]["headcount"] == 12
    assert len({note["process"] for note in host.notes}) == 2
    assert told.days["calls_a_head"] == [DAY]


_PLAIN: Final = """
import callkeeper_assets as ck

class Warehouse(dg.ConfigurableResource):
    url: str = "theirs"

class Store(dg.IOManager):
    def handle_output(self, context, obj):
        note("stored", of=context.asset_key.to_user_string())
        self.kept = obj
    def load_input(self, context):
        return self.kept

# Named as ours once were.
@dg.asset
def stock(
    warehouse: Warehouse, callkeeper: dg.ResourceParam[str], raw_store: dg.ResourceParam[str]
):
    note("stock", warehouse=warehouse.url, others=[callkeeper, raw_store])
    return 3

@dg.op(name="main_office__tables")
def an_op(): ...

@dg.job
def main_office_refresh(): an_op()

@dg.job
def forget(): an_op()

defs = dg.Definitions.merge(
    dg.Definitions(
        assets=[headcount, calls_a_head, stock],
        jobs=[main_office_refresh, forget],
        resources={{
            "warehouse": Warehouse(), "callkeeper": "theirs, too", "raw_store": "and this",
            "io_manager": Store(),
        }},
        executor=dg.in_process_executor,
    ),
    ck.build_definitions({sources}),
)
"""


def test_plain_definitions_with_a_resource_named_warehouse(
    make_host: MakeHost, accounts: RunningSimulator
) -> None:
    host = make_host("plain")
    host.write("dagster.yaml", _QUIET)
    sources = {name: attributes_of(name, accounts.base_url) for name in SOURCES}
    own = OWN_ASSETS.format(start=first_day(), key=["main_office", "callkeeper_calls_facts"])
    host.write("theirs.py", own + _PLAIN.format(sources=sources))

    materialize = ("dagster", "asset", "materialize", "-f", "theirs.py")
    _, warned = host.run(*materialize, "--select", "*", "--partition", DAY)

    assert _list_warnings(warned) == []
    with host.instance() as instance:
        told = read_newest_run(instance)
    _assert_loaded(host, told)
    # Theirs is the executor: no process is started for a step.
    assert "STEP_WORKER_STARTED" not in told.events
    assert len({note["process"] for note in host.notes}) == 1
    (stock,) = [note for note in host.notes if note["asset"] == "stock"]
    assert stock["warehouse"] == "theirs"
    assert stock["others"] == ["theirs, too", "and this"]
    # Nothing of ours went through their store, and theirs as ever.
    stored = {note["of"] for note in host.notes if note["asset"] == "stored"}
    assert stored == {"headcount", "calls_a_head", "stock"}


_FOLDER: Final = """
import callkeeper_assets as ck

defs = dg.Definitions.merge(
    dg.Definitions(assets=[headcount, calls_a_head]), ck.build_definitions("telephony")
)
"""


def test_dagster_postgres_on_a_database_of_the_projects_own(
    make_host: MakeHost, make_database: MakeDatabase, accounts: RunningSimulator
) -> None:
    host = make_host("postgres")
    for name in SOURCES:
        text = yaml.safe_dump(
            {
                "type": "callkeeper_assets.CallKeeperSource",
                "attributes": attributes_of(name, accounts.base_url),
            }
        )
        host.write(f"telephony/{name}/defs.yaml", text)
    own = OWN_ASSETS.format(start=first_day(), key=["shop", "callkeeper_calls"])
    host.write("theirs.py", own + _FOLDER)
    with make_database(Template.EMPTY) as url:
        storage = f"storage: {{postgres: {{postgres_url: {url}}}}}\n"
        host.write("dagster.yaml", _QUIET + storage)

        materialize = ("dagster", "asset", "materialize", "-f", "theirs.py")
        host.run(*materialize, "--select", "*", "--partition", DAY, "--config-json", _IN_PROCESS)

        with host.instance() as instance:
            told = read_newest_run(instance)
            _assert_loaded(host, told)
            assert "Postgres" in type(instance.run_storage).__name__
        assert [note["asset"] for note in host.notes] == ["headcount", "calls_a_head"]
