"""The code location: which sources it shows, and that one of them cannot take it down."""

import importlib
from pathlib import Path

import dagster as dg
import pytest

from callkeeper_assets.config.errors import MissingFolderError

# Dagster 1.13 itself uses what pydantic 2 deprecates, and marks parts that we use as beta.

SOURCE = "type: callkeeper_assets.CallKeeperSource\nattributes:\n  api_key: {env: UNSET_KEY}\n"

_EVERYTHING = """\
  caption: Офис на Тверской
  api: ckct
  webhook: {token: {env: OFFICE_WEBHOOK_TOKEN}}
  retention: {keep_days: 400}
  reports:
    - name: talks
      fields: [duration2_sec]
"""


def load(folder: Path, monkeypatch: pytest.MonkeyPatch) -> dg.Definitions:
    """The definitions as a code location's process gets them."""
    monkeypatch.setenv("CALLKEEPER_DEFS", str(folder))
    module = importlib.import_module("callkeeper_assets.definitions")
    definitions = module.build_definitions()
    assert isinstance(definitions, dg.Definitions)
    return definitions


def write(folder: Path, name: str, more: str = "") -> Path:
    file = folder / name / "defs.yaml"
    file.parent.mkdir()
    file.write_text(SOURCE + more, encoding="utf-8")
    return file


def test_sources_load_without_their_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "office", "  tables: [general_dates, callkeeper_calls]\n")
    write(tmp_path, "shop")
    definitions = load(tmp_path, monkeypatch)
    dg.Definitions.validate_loadable(definitions)
    keys = {spec.key.to_user_string() for spec in definitions.resolve_all_asset_specs()}
    assert {"office/raw_calls", "office/callkeeper_calls", "shop/general_traffic"} <= keys
    assert "office/general_traffic" not in keys, "only chosen tables are assets"


def test_a_broken_source_is_logged_and_shown_and_takes_no_other_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path, "office")
    broken = write(tmp_path, "Second Office", "  retention: {}\n")
    definitions = load(tmp_path, monkeypatch)
    dg.Definitions.validate_loadable(definitions)

    specs = {spec.key: spec for spec in definitions.resolve_all_asset_specs()}
    assert dg.AssetKey(["office", "raw_calls"]) in specs
    shown = specs[dg.AssetKey(["Second Office", "configuration_error"])]
    assert shown.group_name == "second_office"
    assert shown.description is not None
    refusal = f"{broken}:4: retention.keep_days: is required and missing."
    assert refusal in shown.description
    (record,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert record.message.startswith("Source 'Second Office' is not loaded, its configuration is")
    assert refusal in record.message


def test_everything_of_a_source_names_its_caption_where_group_and_name_must_be_identifiers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dagster's UI shows a group by its name alone, which takes letters, digits, _ and /."""
    with pytest.raises(dg.DagsterInvalidDefinitionError, match="is not a valid"):
        dg.AssetSpec("calls", group_name="Офис на Тверской")
    write(tmp_path, "office", _EVERYTHING)
    definitions = load(tmp_path, monkeypatch)
    schedules = definitions.schedules or ()
    described = {
        spec.key.path[-1]: spec.description for spec in definitions.resolve_all_asset_specs()
    }
    described |= {
        one.name: one.description
        for one in (*definitions.resolve_all_job_defs(), *schedules)
        if one.name.startswith("office_")
    }
    assert {"raw_calls", "webhook_audit", "retention", "talks", "office_report_talks"} <= set(
        described
    )
    unnamed = {name for name, text in described.items() if "Офис на Тверской" not in (text or "")}
    assert unnamed == set()


def test_a_missing_folder_is_an_error_and_not_an_empty_location(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(MissingFolderError, match="which CALLKEEPER_DEFS names"):
        load(tmp_path / "none", monkeypatch)


def test_the_project_as_it_is_shipped_loads() -> None:
    module = importlib.import_module("callkeeper_assets.definitions")
    dg.Definitions.validate_loadable(module.build_definitions())
