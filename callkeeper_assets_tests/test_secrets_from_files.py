"""Secrets from files: what counts of several, and what is said of one that cannot be had."""

from pathlib import Path

import pytest

from callkeeper_assets.config.errors import MissingSecretError
from callkeeper_assets.config.loading import load_sources
from callkeeper_assets.home import UnreadableSecretError, configured_database_url, read_secret
from callkeeper_assets_tests.cli.conftest import callkeeper, write_source

_KEY = "0123456789abcdef0123456789abcdef"


def _write(file: Path, text: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, "utf-8")
    return file


def test_a_secret_is_had_from_its_variable_its_file_or_the_credentials(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert read_secret("OFFICE_KEY") == ""
    credentials = tmp_path / "credentials"
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(credentials))
    assert read_secret("OFFICE_KEY") == ""
    _write(credentials / "callkeeper_OFFICE_KEY", "of a folder\n")
    assert read_secret("OFFICE_KEY") == "of a folder"
    _write(credentials / "OFFICE_KEY", "of its own\n")
    assert read_secret("OFFICE_KEY") == "of its own"
    file = _write(tmp_path / "key", " in a file\n")
    monkeypatch.setenv("OFFICE_KEY_FILE", str(file))
    assert read_secret("OFFICE_KEY") == "in a file"
    _write(file, "replaced")
    assert read_secret("OFFICE_KEY") == "replaced"


def test_a_container_has_its_secrets_as_files_of_their_names(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _write(tmp_path / "CALLKEEPER_DATABASE_URL", "postgresql://one@db/calls")
    monkeypatch.setattr("callkeeper_assets.home._CONTAINER_SECRETS", tmp_path)
    assert configured_database_url() == "postgresql://one@db/calls"


def test_what_cannot_be_had_is_said_with_the_file_and_never_taken_for_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "key"
    monkeypatch.setenv("OFFICE_KEY_FILE", str(file))
    with pytest.raises(UnreadableSecretError, match=f"{file}, the file that OFFICE_KEY_FILE names"):
        read_secret("OFFICE_KEY")
    _write(file, "\n")
    with pytest.raises(UnreadableSecretError, match="is empty"):
        read_secret("OFFICE_KEY")
    monkeypatch.setenv("OFFICE_KEY", "another")
    with pytest.raises(UnreadableSecretError, match="OFFICE_KEY and OFFICE_KEY_FILE are both set"):
        read_secret("OFFICE_KEY")


def test_a_source_reads_its_secrets_from_files_and_says_which_it_cannot_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, home: Path
) -> None:
    defs = home / "defs"
    defs.mkdir(parents=True)
    write_source(defs, "main_office")
    monkeypatch.setenv("CALLKEEPER_DEFS", str(defs))
    (source,), _ = load_sources()
    monkeypatch.setenv(f"{source.api_key_env}_FILE", str(_write(tmp_path / "key", _KEY)))
    assert source.read_api_key() == _KEY
    (tmp_path / "key").unlink()
    with pytest.raises(MissingSecretError, match=r"'main_office' has no API key: .*No such file"):
        source.read_api_key()

    monkeypatch.setenv("CALLKEEPER_DATABASE_URL_FILE", str(tmp_path / "url"))
    done = callkeeper("status")
    assert done.code == 1
    assert f"{tmp_path / 'url'}, the file that CALLKEEPER_DATABASE_URL_FILE names" in done.err
