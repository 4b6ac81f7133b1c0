"""What Dagster has to keep for `callkeeper_assets.dagster_ext`: on a newer one, what broke.

Dagster promises none of it. Each breach is a sentence: what is gone or reads otherwise, and what of
ours relies on it. That it does the same as before is seen by the tests of the storage and of loads.
"""

import ast
import importlib
import importlib.util
import inspect
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import dagster as dg
import dagster_postgres
import pytest

import callkeeper_assets.dagster_ext as room

_EVENTS: Final = "dagster._core.events"
_CHECKS: Final = "dagster._core.definitions.asset_checks.asset_check_evaluation"
_METADATA: Final = "dagster._core.execution.context.metadata_logging"
_JOBS: Final = "dagster._core.definitions.unresolved_asset_job_definition"
_LOGS: Final = "dagster._core.storage.local_compute_log_manager"
_TABLES: Final = "dagster._core.storage.event_log.schema"
_STATUS: Final = "dagster._core.storage.asset_check_execution_record"

# Where our classes are, and what of their base's methods they override. Whatever else they define
# must not be Dagster's as well.
_OVERRIDDEN: Final = {
    ("event_log", "BatchingEventLogStorage"): {
        "__init__",
        "_has_asset_key_col_on_connection",
        "_get_latest_materialization_records",
        "has_asset_key_col",
        "has_table",
        "store_event",
        "store_event_batch",
    },
    ("storage", "LockingRunStorage"): {
        "__init__",
        "add_run",
        "handle_run_event",
        "has_run_stats_index_cols",
    },
    ("storage", "RecallingScheduleStorage"): {
        "_has_instigators_table",
        "has_built_index",
        "has_instigators_table",
    },
    ("storage", "CallKeeperStorage"): {"config_type", "from_config_value"},
    ("storage", "CallKeeperLogs"): {"capture_logs", "config_type", "from_config_value"},
    ("shared_logs", "SharedLogs"): {
        "__init__",
        "cloud_storage_has_logs",
        "delete_logs",
        "display_path_for_type",
        "download_from_cloud_storage",
        "download_url_for_type",
        "local_manager",
        "upload_interval",
        "upload_to_cloud_storage",
    },
    ("queue_daemon", "PromptQueueDaemon"): {"_get_runs_to_dequeue", "run_iteration"},
    ("celery_launcher", "CeleryLauncher"): {
        "__init__",
        "check_run_worker_health",
        "config_type",
        "get_run_worker_debug_info",
        "launch_run",
        "register_instance",
        "supports_resume_run",
        "terminate",
    },
}


class _Called(NamedTuple):
    """A class of Dagster's or a method of one, and what we pass to it."""

    module: str
    path: str
    by_position: int = 0
    by_name: tuple[str, ...] = ()


# Methods count themselves, `self`, among what is passed by position.
_CALLED: Final = (
    *(
        _Called("dagster_postgres", f"PostgresEventLogStorage.{name}", count, by_name)
        for name, count, by_name in (
            ("__init__", 2, ("should_autocreate_tables",)),
            ("_event_to_row", 2, ()),
            ("_get_asset_entry_values", 4, ()),
            ("_store_asset_event_tags", 4, ()),
            ("has_secondary_index", 2, ()),
            ("index_connection", 1, ()),
            ("index_transaction", 1, ()),
            ("free_concurrency_slots_for_run", 2, ()),
            ("get_concurrency_info", 2, ()),
            ("get_concurrency_run_ids", 1, ()),
            ("get_latest_storage_id_by_partition", 4, ()),
        )
    ),
    _Called("dagster_postgres", "PostgresRunStorage.__init__", 2, ("should_autocreate_tables",)),
    _Called("dagster_postgres", "PostgresRunStorage._get_run_by_id", 2),
    _Called(
        "dagster_postgres", "PostgresScheduleStorage.__init__", 2, ("should_autocreate_tables",)
    ),
    _Called("dagster_postgres", "PostgresRunStorage.add_run", 2),
    _Called("dagster", "DagsterRun.with_job_origin", 2),
    _Called("dagster._core.remote_origin", "RemoteJobOrigin", 2),
    _Called("dagster._core.remote_origin", "RemoteRepositoryOrigin", 2),
    _Called("dagster._core.remote_origin", "GrpcServerCodeLocationOrigin", 1, ("location_name",)),
    _Called("dagster_postgres", "PostgresRunStorage.add_run_tags", 3),
    _Called(
        "dagster_postgres",
        "DagsterPostgresStorage.__init__",
        2,
        ("should_autocreate_tables", "inst_data"),
    ),
    _Called(_LOGS, "LocalComputeLogManager.__init__", 2, ("inst_data",)),
    _Called(_LOGS, "LocalComputeLogManager.get_captured_local_path", 3),
    _Called(_LOGS, "LocalComputeLogManager.complete_artifact_path", 2),
    _Called("dagster._core.execution.compute_logs", "redirect_to_file", 2),
    _Called(
        _CHECKS,
        "AssetCheckEvaluationTargetMaterializationData",
        0,
        ("storage_id", "run_id", "timestamp"),
    ),
    _Called(_EVENTS, "StepMaterializationData", 1),
    _Called(_EVENTS, "AssetObservationData", 1),
    _Called(_METADATA, "OutputMetadataAccumulator", 0, ("per_output_metadata",)),
    _Called(_METADATA, "AssetMetadataHandle", 0, ("asset_key", "partition_key")),
    _Called("dagster", "AssetExecutionContext.get_step_execution_context", 1),
    _Called("dagster", "EventLogEntry.get_dagster_event", 1),
    # The daemon's is replaced.
    _Called("dagster._daemon.controller", "QueuedRunCoordinatorDaemon", 0, ("interval_seconds",)),
)

# Numbers of theirs that are read at each turn, and that we set.
_SET: Final = (
    ("dagster._daemon.controller", "RELOAD_WORKSPACE_INTERVAL"),
    ("dagster._grpc.server_watcher", "WATCH_INTERVAL"),
    ("grpc._common", "MAXIMUM_WAIT_TIMEOUT"),
)
_COLUMNS: Final = {
    "SqlEventLogStorageTable": {
        *("id", "run_id", "event", "dagster_event_type", "timestamp", "asset_key", "partition"),
    },
    "AssetCheckExecutionsTable": {
        *("asset_key", "check_name", "partition", "run_id", "execution_status"),
        *("evaluation_event", "evaluation_event_timestamp", "evaluation_event_storage_id"),
        *("materialization_event_storage_id", "id", "create_timestamp"),
    },
    "AssetKeyTable": {"asset_key", "cached_status_data"},
    "RunsTable": {
        *("id", "run_id", "pipeline_name", "status", "start_time", "end_time", "backfill_id"),
        "update_timestamp",
    },
    "RunTagsTable": {"run_id", "key", "value"},
    "DaemonHeartbeatsTable": {"daemon_type", "timestamp"},
}
# Of tables that are not the event log's.
_TABLES_OF_RUNS: Final = "dagster._core.storage.runs.schema"


def _list_imports() -> Iterator[tuple[str, str]]:
    """Yield what the room imports of Dagster, as module and name; types for checkers as well."""
    for file in sorted(Path(room.__file__).parent.glob("*.py")):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith("dagster"):
                yield from ((str(node.module), one.name) for one in node.names)


def _find(module: str, path: str) -> Any:  # noqa: ANN401 -- whatever is there; None if nothing is
    try:
        found: Any = importlib.import_module(module)
        for name in path.split("."):
            found = getattr(found, name)
    except AttributeError:
        return _find_module(f"{module}.{path}")
    except ImportError:
        return None
    return found


def _find_module(name: str) -> Any:  # noqa: ANN401 -- None if there is none
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def _find_table(name: str) -> Any:  # noqa: ANN401 -- SQLAlchemy's
    return (
        _find(_TABLES, name) if _find(_TABLES, name) is not None else _find(_TABLES_OF_RUNS, name)
    )


def _describe_overrides(ours: type, listed: set[str]) -> Iterator[str]:
    (base,) = ours.__bases__
    methods = {
        name
        for name, value in vars(ours).items()
        if inspect.isfunction(value) or isinstance(value, classmethod | property)
    }
    assert listed <= methods, "the list names what is ours"
    found = {name for name in methods if hasattr(base, name)}
    for name in sorted(listed - found):
        yield f"{base.__name__} has no `{name}` any more: {ours.__name__}'s is never called."
    for name in sorted(found - listed):
        yield f"{base.__name__} has a `{name}` of its own now, which {ours.__name__}'s hides."
    for name in sorted(listed & found - {"__init__"}):
        if isinstance(getattr(base, name), property):
            continue
        expected, got = (
            list(inspect.signature(getattr(one, name)).parameters) for one in (ours, base)
        )
        if expected != got:
            yield (
                f"{base.__name__}.{name} takes ({', '.join(got)}) now; {ours.__name__}'s takes "
                f"({', '.join(expected)})."
            )


def _describe_call(called: _Called) -> str:
    function = _find(called.module, called.path)
    if function is None:
        return f"`{called.path}` is not in {called.module} any more."
    signature = inspect.signature(function)
    try:
        signature.bind(*[None] * called.by_position, **dict.fromkeys(called.by_name))
    except TypeError as error:
        return f"`{called.path}{signature}` does not take what we pass to it: {error}."
    return ""


def describe_breaches() -> list[str]:
    """Return a sentence for each thing that Dagster does not keep; none if all is as it was."""
    gone = [
        f"`{name}` is not in {module} any more."
        for module, name in _list_imports()
        if _find(module, name) is None
    ]
    if gone:  # ours could not be imported
        return gone
    found: list[str] = []
    for (module, name), listed in _OVERRIDDEN.items():
        found += _describe_overrides(_find(f"{room.__name__}.{module}", name), listed)
    found += filter(None, map(_describe_call, _CALLED))
    found += [
        f"`{name}` is no number of {module} any more: what is idle does more."
        for module, name in _SET
        if not isinstance(_find(module, name), int | float)
    ]
    for name, columns in _COLUMNS.items():
        found += [
            f"Dagster's table {name} has no column `{column}` any more."
            for column in sorted(columns - set(_find_table(name).columns.keys()))
        ]
    found += [
        f"A check's execution has no status {name} any more."
        for name in ("PLANNED", "SUCCEEDED", "FAILED")
        if not hasattr(_find(_STATUS, "AssetCheckExecutionRecordStatus"), name)
    ]
    if not callable(getattr(importlib.import_module("dagster._daemon.cli"), "main", None)):
        found.append(f"`python -m {room.DAEMON_MODULE}` does not start the daemon any more.")
    return found


def test_dagster_keeps_what_is_used_of_its_private_parts() -> None:
    breaches = describe_breaches()
    assert breaches == [], "\n".join(
        [f"With Dagster {dg.__version__}, callkeeper_assets/dagster_ext breaks:", *breaches]
    )


_SQL_EVENT_LOG: Final = dagster_postgres.PostgresEventLogStorage.__mro__[1]
_SQL_RUNS: Final = dagster_postgres.PostgresRunStorage.__mro__[1]


@pytest.mark.parametrize(
    ("owner", "name", "becomes", "sentence"),
    [
        pytest.param(
            importlib.import_module(_EVENTS),
            "StepMaterializationData",
            None,
            "`StepMaterializationData` is not in dagster._core.events any more.",
            id="a name is gone",
        ),
        pytest.param(
            _SQL_EVENT_LOG,
            "_event_to_row",
            None,
            "`PostgresEventLogStorage._event_to_row` is not in dagster_postgres any more.",
            id="a method is gone",
        ),
        pytest.param(
            _SQL_EVENT_LOG,
            "_get_asset_entry_values",
            lambda self, event: None,  # noqa: ARG005
            "`PostgresEventLogStorage._get_asset_entry_values(self, event)` does not take what we "
            "pass to it: too many positional arguments.",
            id="a method takes less",
        ),
        pytest.param(
            _SQL_RUNS,
            "handle_run_event",
            lambda self, run_id, event: None,  # noqa: ARG005
            "PostgresRunStorage.handle_run_event takes (self, run_id, event) now; "
            "LockingRunStorage's takes (self, run_id, event, update_timestamp).",
            id="an overridden method takes less",
        ),
        pytest.param(
            _SQL_EVENT_LOG,
            "_has_asset_key_col_on_connection",
            None,
            "PostgresEventLogStorage has no `_has_asset_key_col_on_connection` any more: "
            "BatchingEventLogStorage's is never called.",
            id="an overridden method is gone",
        ),
        pytest.param(
            _SQL_EVENT_LOG,
            "delete_days",
            lambda self: None,  # noqa: ARG005
            "PostgresEventLogStorage has a `delete_days` of its own now, which "
            "BatchingEventLogStorage's hides.",
            id="Dagster makes a method of our name",
        ),
    ],
)
def test_a_dagster_that_changed_is_described_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch,
    owner: object,
    name: str,
    becomes: Callable[..., None] | None,
    sentence: str,
) -> None:
    for module, _ in _OVERRIDDEN:  # made before, as by whoever runs on the Dagster of today
        importlib.import_module(f"{room.__name__}.{module}")
    if becomes is None:
        monkeypatch.delattr(owner, name)
    else:
        monkeypatch.setattr(owner, name, becomes, raising=False)
    assert describe_breaches() == [sentence]


def test_a_job_of_assets_is_of_the_type_that_ours_is_named_by() -> None:
    assert type(dg.define_asset_job("any")) is _find(_JOBS, "UnresolvedAssetJobDefinition")


def test_the_storages_are_where_ours_replace_them() -> None:
    """Dagster asks for them by properties, which read the attributes that are set."""
    storage = object.__new__(dagster_postgres.DagsterPostgresStorage)
    for name in ("run_storage", "event_log_storage", "schedule_storage"):
        mark = object()
        setattr(storage, f"_{name}", mark)
        assert getattr(storage, name) is mark


def test_a_step_keeps_what_is_said_of_its_outputs_where_ours_adds_to_it() -> None:
    @dg.asset(partitions_def=dg.StaticPartitionsDefinition(["2026-03-01"]))
    def described(context: dg.AssetExecutionContext) -> None:
        context.add_asset_metadata({"calls": 1}, partition_key="2026-03-01")
        (kept,) = context.get_step_execution_context()._metadata_accumulator.per_output_metadata
        assert (kept.asset_key, kept.partition_key) == (context.asset_key, "2026-03-01")

    assert dg.materialize([described], partition_key="2026-03-01").success


def test_a_dagster_yaml_of_before_still_names_its_classes() -> None:
    for old, name in (
        ("database.dagster_storage", "CallKeeperStorage"),
        ("run_logs", "CallKeeperLogs"),
    ):
        module = importlib.import_module(f"callkeeper_assets.{old}")
        assert getattr(module, name) is _find(f"{room.__name__}.storage", name)


def test_a_schedule_that_is_off_is_stored_as_it_is_read() -> None:
    """`observed.read_stopped` asks for these."""
    origins, scheduler = "dagster._core.remote_origin", "dagster._core.scheduler.instigation"
    kind = _find("dagster._core.definitions.run_request", "InstigatorType").SCHEDULE
    location = _find(origins, "RegisteredCodeLocationOrigin")("callkeeper")
    repository = _find(origins, "RemoteRepositoryOrigin")(location, "__repository__")
    state = _find(scheduler, "InstigatorState")(
        _find(origins, "RemoteInstigatorOrigin")(repository, "office_refresh"),
        kind,
        _find(scheduler, "InstigatorStatus").STOPPED,
        _find(scheduler, "ScheduleInstigatorData")("0 5 * * *"),
    )
    assert state.status.value == "STOPPED"
    stored = json.loads(_find("dagster_shared.serdes", "serialize_value")(state))
    assert stored["origin"]["job_name"] == "office_refresh"
    table = _find("dagster._core.storage.schedules.schema", "InstigatorsTable")
    assert {"status", "instigator_body"} <= set(table.c.keys())
