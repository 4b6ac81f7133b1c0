"""Which project is in force, and where it keeps what it writes, with and without variables."""

from pathlib import Path

import pytest

from callkeeper_assets.home import (
    PROJECT_TEMPLATE,
    find_project,
    home,
    project_root,
    raw_url,
    set_dagster_home,
)


def test_without_variables_everything_lies_in_the_project(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CALLKEEPER_HOME")
    assert (project_root() / "pyproject.toml").is_file()
    assert home() == project_root() / ".callkeeper"
    assert raw_url() == str(project_root() / ".callkeeper" / "raw")


def test_a_relative_home_is_the_same_for_processes_in_different_folders(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CALLKEEPER_HOME", "elsewhere")
    monkeypatch.chdir(tmp_path)
    assert home() == project_root() / "elsewhere"


def test_a_url_for_raw_calls_is_taken_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALLKEEPER_RAW_URL", "s3://bucket/calls")
    assert raw_url() == "s3://bucket/calls"


def test_a_dagster_home_that_is_set_stays(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    assert set_dagster_home() == tmp_path


def test_dagster_never_goes_without_the_products_settings(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It would keep its runs in files in the working folder."""
    write_project(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CALLKEEPER_HOME")
    monkeypatch.setenv("DAGSTER_HOME", "")
    assert set_dagster_home() == tmp_path / ".callkeeper" / "dagster"
    written = (tmp_path / ".callkeeper" / "dagster" / "dagster.yaml").read_text("utf-8")
    assert "CallKeeperStorage" in written


def test_a_new_project_has_the_settings_of_dagster_that_the_repository_has() -> None:
    """The wheel has no other copy of them."""
    repository = Path(__file__).resolve().parents[1]
    for name, template in (("dagster.yaml", "dagster.yaml"), (".env.example", "env.example")):
        kept = (PROJECT_TEMPLATE / template).read_text("utf-8")
        assert (repository / name).read_text("utf-8") == kept


def write_project(folder: Path, requirement: str = "callkeeper-assets>=0.1") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "pyproject.toml").write_text(
        f'[project]\nname = "mine"\ndependencies = ["{requirement}"]\n'
        '[tool.dg.project]\nroot_module = "mine"\n'
    )


def test_the_nearest_project_above_the_working_folder_is_in_force(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    write_project(tmp_path / "outer")
    write_project(tmp_path / "outer" / "inner", "Callkeeper_Assets[s3]")
    write_project(tmp_path / "outer" / "inner" / "other", "callkeeper-assets-of-others")
    (tmp_path / "outer" / "inner" / "broken").mkdir()
    (tmp_path / "outer" / "inner" / "broken" / "pyproject.toml").write_text("[tool.dg")
    for below in ("", "other", "broken"):
        monkeypatch.chdir(tmp_path / "outer" / "inner" / below)
        project = find_project()
        assert project is not None
        assert project.root == tmp_path / "outer" / "inner"
        assert project.defs == project.root / "mine" / "defs"
        assert project.module == "mine.definitions"


def test_a_project_that_is_named_comes_before_the_working_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    write_project(tmp_path / "here")
    write_project(tmp_path / "named")
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("CALLKEEPER_PROJECT", str(tmp_path / "named"))
    assert project_root() == tmp_path / "named"
    monkeypatch.setenv("CALLKEEPER_PROJECT", str(tmp_path / "nowhere"))
    assert find_project() is None
    assert project_root() == tmp_path / "nowhere"


def test_processes_of_dagster_find_their_project_from_anywhere(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    write_project(tmp_path / "project")
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "project"))
    monkeypatch.chdir(tmp_path)
    assert project_root() == tmp_path / "project"


def test_the_checkout_is_a_project_of_its_own() -> None:
    project = find_project()
    assert project is not None
    assert project.defs == project.root / "callkeeper_assets" / "defs"
    assert project.module == "callkeeper_assets.definitions"


def test_a_project_that_may_not_be_written_to_has_dagsters_home_in_the_home(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, home: Path
) -> None:
    """A service's: Dagster makes folders for logs beside `dagster.yaml`."""
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "calls"\ndependencies = ["callkeeper-assets"]\n'
        '[tool.dg.project]\nroot_module = "calls"\n',
        "utf-8",
    )
    (tmp_path / "dagster.yaml").write_text("# of the project\n", "utf-8")
    monkeypatch.setenv("CALLKEEPER_PROJECT", str(tmp_path))
    # Root may write everywhere but on a disk that is read-only.
    monkeypatch.setattr("callkeeper_assets.home.os.access", lambda *_: False)
    assert set_dagster_home() == home / "dagster"
    assert (home / "dagster" / "dagster.yaml").read_text("utf-8") == "# of the project\n"
