"""`forget`, `export` and `protect` as Dagster has them: started in its UI, with no number in it.

Each job runs as a launchpad starts it. What Dagster keeps of the runs is searched for the number.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import dagster as dg
import pytest

from callkeeper_assets.assets import build_shared_definitions, build_source_definitions
from callkeeper_assets.config.loading import load_sources
from callkeeper_assets.personal_data import requests
from callkeeper_assets.raw.store import RawStore
from callkeeper_assets_tests.templates import from_nothing
from callkeeper_assets_tests.warehouse.raw_days import rows
from callkeeper_assets_tests.webhooks.inbox_of import Office, answered

NUMBER: Final = "79161234567"
_DEFS: Final = """\
type: callkeeper_assets.CallKeeperSource
attributes:
  api_key: {env: UNSET_KEY}
  start_date: 2026-01-01
"""


@pytest.fixture
def office(database: str, home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Office:
    """A source in a file, with two calls of the client and one of another."""
    file = tmp_path / "defs" / "main_office" / "defs.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(_DEFS)
    monkeypatch.setenv("CALLKEEPER_DEFS", str(tmp_path / "defs"))
    monkeypatch.setattr(requests, "_handed_over", {})
    [source], _ = load_sources()
    office = Office(database, RawStore(str(home / "raw")), source)
    calls = [answered(1, phone2=f"+{NUMBER}"), answered(2, minute=1, phone2="8 916 123-45-67")]
    office.load_answer([*calls, answered(3, minute=2, phone2="+79031112233")])
    return office


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """An instance whose storage is in one folder."""
    with dg.instance_for_test(temp_dir=str(tmp_path)) as made:
        yield made


def run(
    instance: dg.DagsterInstance, office: Office, job: str, op: str, **config: object
) -> dg.ExecuteInProcessResult:
    """Run a job as the launchpad does."""
    definitions = dg.Definitions.merge(
        build_shared_definitions([office.source]), build_source_definitions(office.source)
    )
    return definitions.resolve_job_def(job).execute_in_process(
        instance=instance, raise_on_error=False, run_config={"ops": {op: {"config": config}}}
    )


def read_metadata(result: dg.ExecuteInProcessResult) -> dict[str, Any]:
    """What the UI shows of the one step."""
    [event] = [one for one in result.all_events if one.is_successful_output]
    return {name: one.value for name, one in event.step_output_data.metadata.items()}


def describe_failure(result: dg.ExecuteInProcessResult) -> str:
    """Why the one step failed."""
    [event] = [one for one in result.all_events if one.is_step_failure]
    data = event.step_failure_data
    assert data.user_failure_data is not None
    assert data.user_failure_data.description is not None
    return data.user_failure_data.description


def write_number(home: Path, name: str, mode: int = 0o600) -> Path:
    """Hand a number over as a person does who will use the UI."""
    file = home / "requests" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("8 (916) 123-45-67\n")
    file.chmod(mode)
    return file


def list_runs_texts(instance: dg.DagsterInstance) -> str:
    """All that Dagster keeps of runs: configuration, tags, events with their metadata."""
    texts = []
    for record in instance.get_run_records():
        run = record.dagster_run
        texts += [json.dumps(run.run_config), str(run.tags)]
        texts += [dg.serialize_value(one) for one in instance.all_logs(run.run_id)]
    return "\n".join(texts)


def has_number(text: str) -> bool:
    """Whether the client's number is there, in the writings of these tests."""
    return any(one in text for one in ("9161234567", "916 123-45-67", "916) 123-45-67"))


@from_nothing
def test_a_client_is_forgotten_from_the_ui_and_verified_again_there(
    office: Office, instance: dg.DagsterInstance, home: Path
) -> None:
    file = write_number(home, "request-17")
    config = {"request": "request-17", "reference": "letter of 2026-11-20"}
    dry = run(instance, office, "forget", "forget_client", **config, dry_run=True)
    assert dry.success
    assert read_metadata(dry)["found"]["sources"][0]["calls"] == 2
    assert not file.exists(), "it is handed over for one run"
    write_number(home, "request-17")
    done = run(instance, office, "forget", "forget_client", **config)
    assert done.success
    shown = read_metadata(done)
    assert (shown["request_id"], shown["problems"], shown["similar"]) == ("request-17", [], [])
    assert rows(office.url, "SELECT count(client_phone) FROM callkeeper_calls") == [(1,)]
    assert rows(office.url, "SELECT reference FROM callkeeper_erasures") == [(config["reference"],)]
    # The same run once more, as a person clicks it: there is no number any more.
    again = run(instance, office, "forget", "forget_client", **config)
    assert again.success
    assert read_metadata(again) == {"verified": "request-17", "left_over": []}
    assert not has_number(list_runs_texts(instance))
    assert list((home / "requests").iterdir()) == []


def test_what_is_left_ends_the_run_as_failed_and_is_shown(
    office: Office, instance: dg.DagsterInstance, home: Path
) -> None:
    notes = home / "raw" / "main_office" / "notes.txt"
    notes.write_text("+7 916 123-45-67")
    write_number(home, "request-17")
    done = run(instance, office, "forget", "forget_client", request="request-17")
    assert not done.success
    said = describe_failure(done)
    assert "a person has to look at each" in said
    assert "main_office/notes.txt: 1" in said
    assert read_metadata(done)["similar"][0]["place"] == "main_office/notes.txt"
    assert not has_number(list_runs_texts(instance))


def test_an_export_is_a_private_file_and_its_content_in_no_log(
    office: Office, instance: dg.DagsterInstance, home: Path
) -> None:
    write_number(home, "access-3")
    done = run(instance, office, "export", "export_client", request="access-3")
    assert done.success
    shown = read_metadata(done)
    file = Path(shown["file"])
    assert file == home / "exports" / "access-3.json"
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700
    assert len(json.loads(file.read_text())["sources"]["main_office"]["raw_calls"]) == 2
    assert shown["rows"]["callkeeper_calls"] == 2
    assert not has_number(list_runs_texts(instance))


@pytest.mark.parametrize(
    ("job", "op", "name", "said"),
    [
        ("forget", "forget_client", "request-1", "There is no request request-1"),
        ("export", "export_client", "request-1", "put the number into the file requests/request-1"),
        ("forget", "forget_client", "open", "chmod 600"),
    ],
)
def test_a_run_without_a_number_says_how_to_hand_it_over(  # noqa: PLR0917
    office: Office,
    instance: dg.DagsterInstance,
    home: Path,
    job: str,
    op: str,
    name: str,
    said: str,
) -> None:
    write_number(home, "open", 0o644)
    done = run(instance, office, job, op, request=name)
    assert not done.success
    assert said in describe_failure(done)
    assert not has_number(list_runs_texts(instance))


def test_privacy_settings_are_applied_from_the_ui(
    office: Office, instance: dg.DagsterInstance
) -> None:
    file = office.source.file
    file.write_text(f"{_DEFS}  privacy: {{phones: mask}}\n")
    [source], _ = load_sources()
    office = Office(office.url, office.store, source)
    job, op = "main_office_protect", "main_office_protect_calls"
    dry = run(instance, office, job, op, dry_run=True)
    assert (read_metadata(dry)["calls"], read_metadata(dry)["dry_run"]) == (3, True)
    assert rows(
        office.url, "SELECT count(*) FROM callkeeper_calls WHERE client_phone LIKE '%**'"
    ) == [(0,)]
    done = run(instance, office, job, op)
    assert done.success
    assert read_metadata(done)["calls"] == 3
    assert rows(
        office.url, "SELECT count(*) FROM callkeeper_calls WHERE client_phone LIKE '%**'"
    ) == [(3,)]
    [(run_id,)] = rows(
        office.url, "SELECT DISTINCT run_id FROM callkeeper_loads WHERE run_id <> 'refresh'"
    )
    assert run_id == done.run_id
