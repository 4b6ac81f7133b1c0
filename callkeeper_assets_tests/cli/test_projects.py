"""`init` makes a project, `add` a source in it; neither overwrites, neither shows a key."""

import os
import pty
import subprocess
import sys
from collections.abc import Sequence
from io import StringIO
from pathlib import Path

import pytest
from dotenv import dotenv_values

from callkeeper_assets.config.loading import load_source_file
from callkeeper_assets.simulator.server import RunningSimulator, run_simulator
from callkeeper_assets.simulator.settings import AccountSettings
from callkeeper_assets_tests.cli.conftest import KEY, Done
from callkeeper_assets_tests.warm import WarmPopen

WRONG_KEY = "fedcba9876543210fedcba9876543210"


def type_in(folder: Path, *arguments: str, text: str = "") -> Done:
    """Run a command in a folder; `text` is its standard input."""
    with WarmPopen(
        [sys.executable, "-m", "callkeeper_assets.cli.main", *arguments],
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        out, err = process.communicate(text)
    return Done(process.returncode, out, err)


def contents_of(folder: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file() and ".callkeeper" not in file.parts
    }


@pytest.fixture
def project(home: Path) -> Path:
    """A new project."""
    folder = home / "my calls"
    folder.mkdir(parents=True)
    assert type_in(folder, "init").code == 0
    return folder


def test_a_second_init_changes_nothing_and_says_what_is_there(project: Path) -> None:
    (project / "README.md").write_text("my own")
    (project / "workspace.yaml").unlink()
    before = contents_of(project)
    again = type_in(project, "init", "--lang", "ru")
    assert again.code == 0
    assert "Made:        workspace.yaml\n" in again.out
    assert "Left as is:  README.md, definitions.py," in again.out
    after = contents_of(project)
    assert after.pop("workspace.yaml")
    assert after == before
    third = type_in(project, "init")
    assert third.out.startswith(f"A project already: {project}\n")
    assert contents_of(project).keys() == before.keys() | {"workspace.yaml"}


def test_the_readme_is_in_the_language_that_is_asked_for(home: Path) -> None:
    home.mkdir()
    assert type_in(home, "init", "russian", "--lang", "ru").code == 0
    assert "Первый день" in (home / "russian" / "README.md").read_text("utf-8")
    assert type_in(home, "init", "english").code == 0
    assert "The first day" in (home / "english" / "README.md").read_text("utf-8")
    refused = type_in(home, "init", "german", "--lang", "de")
    assert refused.code == 2
    assert not (home / "german").exists()


def test_the_project_of_somebody_else_is_left_alone(home: Path) -> None:
    home.mkdir()
    (home / "pyproject.toml").write_text('[project]\nname = "other"\n')
    refused = type_in(home, "init")
    assert refused.code == 2
    assert "is that of another project" in refused.err
    assert [file.name for file in home.iterdir()] == ["pyproject.toml"]


def test_no_project_is_made_within_another_one_nor_in_place_of_a_file(project: Path) -> None:
    before = contents_of(project)
    inside = type_in(project / "defs", "init", "inner")
    assert inside.code == 2
    assert f"{project / 'defs' / 'inner'} lies in the project {project}" in inside.err
    of_file = type_in(project, "init", "README.md")
    assert (of_file.code, "is a file. Name a folder" in of_file.err) == (2, True)
    assert contents_of(project) == before


def test_what_to_type_next_can_be_pasted(home: Path) -> None:
    home.mkdir()
    made = type_in(home, "init", "Мои звонки")
    assert "Next:        cd 'Мои звонки' && callkeeper add main_office\n" in made.out
    elsewhere = type_in(home / "Мои звонки", "init", str(home / "other"))
    assert f"cd {home / 'other'} && callkeeper add main_office\n" in elsewhere.out


def test_the_checkout_is_said_to_be_a_project_already() -> None:
    root = Path(__file__).resolve().parents[2]
    before = sorted(file.name for file in root.iterdir())
    done = type_in(root, "init")
    assert done.code == 0
    assert f"{root} is a project already" in done.out
    assert sorted(file.name for file in root.iterdir()) == before


def test_a_source_is_added_below_the_folder_with_its_key_in_a_closed_file(
    project: Path, simulator: RunningSimulator
) -> None:
    (project / ".env").write_text("OTHER=1\nMAIN_OFFICE_API_KEY=\n")
    (project / ".env").chmod(0o644)
    deeper = project / "notes" / "2026"
    deeper.mkdir(parents=True)
    options = ["--key-stdin", "--base-url", simulator.base_url, "--caption", "Офис: 'yes'"]
    added = type_in(deeper, "add", "main_office", *options, text=f"{KEY}\n")
    assert added.code == 0, added.err
    assert "MAIN_OFFICE_API_KEY is good" in added.out
    assert KEY not in added.out + added.err
    file = project / "defs" / "main_office" / "defs.yaml"
    text = file.read_text("utf-8")
    assert KEY not in text
    assert text.startswith("# yaml-language-server: $schema=../../defs.schema.json\n")
    source = load_source_file(file)
    assert (source.caption, source.api_key_env) == ("Офис: 'yes'", "MAIN_OFFICE_API_KEY")
    assert (project / ".env").read_text() == f"OTHER=1\nMAIN_OFFICE_API_KEY={KEY}\n"
    assert (project / ".env").stat().st_mode & 0o777 == 0o600

    again = type_in(project, "add", "main_office", *options, text=f"{KEY}\n")
    assert again.code == 2
    assert f"Source 'main_office' is there already: {file}" in again.err
    assert file.read_text("utf-8") == text

    elsewhere = type_in(project.parent, "--project", str(project), "check", "--json")
    assert elsewhere.code == 0, elsewhere.out
    assert "MAIN_OFFICE_API_KEY is good" in elsewhere.out


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["main_office"], 1, "Check the key in the environment variable MAIN_OFFICE_API_KEY"),
        (["main_office", "--time-zone", "Europe/Moskow"], 2, "Europe/Moskow"),
        (["main_office", "--start-date", "soon"], 2, "start_date"),
        (["main_office", "--key-env", "not a name"], 2, "api_key"),
        (["Main-Office"], 2, "Choose another, for example 'main_office'."),
        (["Офис"], 2, "'Офис' is no name for a source: a lower-case Latin letter"),
    ],
    ids=["wrong_key", "zone", "day", "variable", "name", "russian"],
)
def test_nothing_is_written_of_a_source_that_is_refused(
    project: Path, simulator: RunningSimulator, options: Sequence[str], code: int, said: str
) -> None:
    before = contents_of(project)
    arguments = [*options, "--key-stdin", "--base-url", simulator.base_url]
    refused = type_in(project, "add", *arguments, text=f"{WRONG_KEY}\n")
    assert refused.code == code, refused.out + refused.err
    assert said in refused.out + refused.err
    assert WRONG_KEY not in refused.out + refused.err
    assert contents_of(project) == before
    assert [one.name for one in (project / "defs").iterdir()] == [".gitkeep"]


@pytest.mark.parametrize("before", ["OTHER=1", "OTHER=1\n", "OTHER=1\r\nMORE='a b'\r\n"])
def test_a_key_is_stored_without_what_was_pasted_along_in_whatever_file_is_there(
    project: Path, simulator: RunningSimulator, before: str
) -> None:
    (project / ".env").write_bytes(before.encode())
    (project / ".env").chmod(0o400)
    added = type_in(
        project,
        *("add", "main_office", "--key-stdin", "--base-url", simulator.base_url),
        text=f' "{KEY}"\t\r\n',
    )
    assert added.code == 0, added.out + added.err
    assert "Next:    callkeeper load main_office --from " in added.err
    values = dotenv_values(project / ".env")
    assert values.pop("MAIN_OFFICE_API_KEY") == KEY
    assert values == dotenv_values(stream=StringIO(before))


def test_a_folder_in_place_of_the_file_of_keys_is_named_and_nothing_is_left(
    project: Path, simulator: RunningSimulator
) -> None:
    (project / ".env").mkdir()
    options = ("--key-stdin", "--base-url", simulator.base_url)
    refused = type_in(project, "add", "main_office", *options, text=f"{KEY}\n")
    assert refused.code == 1
    assert ".env cannot be written: Is a directory. The source was not added" in refused.err
    assert [one.name for one in (project / "defs").iterdir()] == [".gitkeep"]


def test_without_a_key_or_a_terminal_the_ways_to_give_one_are_named(project: Path) -> None:
    refused = type_in(project, "add", "main_office")
    assert refused.code == 2
    assert "Set MAIN_OFFICE_API_KEY in the environment or in .env" in refused.err


def test_a_key_in_the_environment_is_not_copied(
    project: Path, simulator: RunningSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OFFICE_KEY", KEY)
    options = ["--key-env", "OFFICE_KEY", "--base-url", simulator.base_url, "--json"]
    added = type_in(project, "add", "main_office", *options)
    assert added.document()["ok"] is True
    assert added.document()["key_variable"] == "OFFICE_KEY"
    assert not (project / ".env").exists()


def test_the_api_that_takes_the_key_is_found(project: Path) -> None:
    account = AccountSettings(key=KEY, name="main", only_api="ckct")
    with run_simulator([account]) as simulator:
        options = ["--key-stdin", "--base-url", simulator.base_url]
        added = type_in(project, "add", "main_office", *options, text=f"{KEY}\n")
    assert added.code == 0, added.out + added.err
    source = load_source_file(project / "defs" / "main_office" / "defs.yaml")
    assert source.api == "ckct"


def test_on_a_terminal_it_asks_and_does_not_show_the_key(
    project: Path, simulator: RunningSimulator
) -> None:
    theirs, ours = pty.openpty()
    arguments = ["add", "main_office", "--base-url", simulator.base_url]
    answers = [KEY, "Main office", "", "2026-02-03", "31"]
    with subprocess.Popen(
        [sys.executable, "-m", "callkeeper_assets.cli.main", *arguments],
        cwd=project,
        stdin=ours,
        stdout=ours,
        stderr=ours,
        start_new_session=True,
    ) as process:
        os.close(ours)
        shown = b""
        for question, answer in zip(
            (b"API key", b"Caption", b"zone", b"first", b"plan"), answers, strict=True
        ):
            while question not in shown or not shown.endswith(b": "):
                shown += os.read(theirs, 1000)
            os.write(theirs, f"{answer}\n".encode())
            shown += b"|"
        try:
            while more := os.read(theirs, 1000):
                shown += more
        except OSError:  # its end
            pass
    os.close(theirs)
    assert process.returncode == 0, shown.decode()
    assert KEY.encode() not in shown
    source = load_source_file(project / "defs" / "main_office" / "defs.yaml")
    assert source.caption == "Main office"
    assert (str(source.start_date), source.history_days) == ("2026-02-03", 31)


@pytest.mark.usefixtures("database")
def test_what_others_may_read_is_a_warning_and_is_made_so_by_nothing(
    project: Path, simulator: RunningSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CALLKEEPER_HOME")
    options = ["--key-stdin", "--base-url", simulator.base_url]
    assert type_in(project, "add", "main_office", *options, text=f"{KEY}\n").code == 0
    loaded = type_in(project, "load", "main_office", "--from", "yesterday")
    assert loaded.code == 0, loaded.err
    made = project / ".callkeeper"
    files = [file for file in made.rglob("raw/**/*") if file.is_file()]
    assert len(files) == 2
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
    assert {file.parent.stat().st_mode & 0o777 for file in files} == {0o700}
    assert made.stat().st_mode & 0o077 in {0, 0o011}
    assert "may read" not in type_in(project, "check").out
    (project / ".env").chmod(0o644)
    made.chmod(0o755)
    looked = type_in(project, "check")
    assert looked.code == 0
    assert f"may read {project / '.env'}. Type: chmod 600 '{project / '.env'}'" in looked.out
    assert f"may read {made}. Type: chmod 700 '{made}'" in looked.out
