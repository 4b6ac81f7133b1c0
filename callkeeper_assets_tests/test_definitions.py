"""The code location: which sources it shows, and that one of them cannot take it down."""

import importlib
from pathlib import Path

import dagster as dg
import pytest

from callkeeper_assets.config.errors import MissingFolderError

# Dagster 1.13 itself uses what pydantic 2 deprecates, and marks parts that we use as beta.

SOURCE = "type: callkeeper_assets.CallKeeperSource\nattributes:\n  api_key: {env: UNSET_KEY}\n"


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


def test_a_missing_folder_is_an_error_and_not_an_empty_location(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(MissingFolderError, match="which CALLKEEPER_DEFS names"):
        load(tmp_path / "none", monkeypatch)


def test_the_project_as_it_is_shipped_loads() -> None:
    module = importlib.import_module("callkeeper_assets.definitions")
    dg.Definitions.validate_loadable(module.build_definitions())
