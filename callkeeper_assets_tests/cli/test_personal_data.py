"""`forget`, `export`, `erasures` as they are typed: the number's ways in, and what can go wrong."""

import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from callkeeper_assets.home import home as installation_home
from callkeeper_assets.raw.store import RawStore
from callkeeper_assets_tests.cli.conftest import Done, callkeeper, write_source
from callkeeper_assets_tests.templates import from_nothing
from callkeeper_assets_tests.warm import WarmPopen
from callkeeper_assets_tests.webhooks.inbox_of import Office, answered

NUMBER: Final = "79161234567"


@pytest.fixture
def office(database: str, defs: Path, monkeypatch: pytest.MonkeyPatch) -> Office:
    """The source `main_office` with one call of the client and one of another."""
    monkeypatch.setenv("MAIN_OFFICE_API_KEY", "0" * 32)
    write_source(defs, "main_office", "start_date: 2026-01-01")
    office = Office(database, RawStore(str(installation_home() / "raw")))
    calls = [answered(1, phone2=f"+{NUMBER}"), answered(2, minute=1, phone2="+79031112233")]
    office.load_answer(calls)
    return office


def whisper(said: str, *arguments: str) -> Done:
    """Run a command that reads standard input."""
    with WarmPopen(
        [sys.executable, "-m", "callkeeper_assets.cli.main", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        out, err = process.communicate(said, timeout=120)
    return Done(process.returncode, out, err)


@from_nothing
@pytest.mark.usefixtures("office")
def test_a_number_comes_by_standard_input_and_its_erasure_is_shown(home: Path) -> None:
    done = whisper("8 (916) 123-45-67\n", "forget", "-", "--reference", "request 17 of 2026-11-20")
    assert done.code == 0, done
    assert "Erased, and looked for again in two ways." in done.out
    shown = callkeeper("erasures", "--json").document()["erasures"]
    assert [(one["reference"], one["calls"], one["left_over"]) for one in shown] == [
        ("request 17 of 2026-11-20", 1, {})
    ]
    request = shown[0]["request_id"]
    assert request in done.out
    of_number = whisper(f"+{NUMBER}\n", "erasures", "-")
    assert request in of_number.out
    assert "request 17 of 2026-11-20" in of_number.out
    assert "No request is recorded." in whisper("+79031112233\n", "erasures", "-").out
    again = callkeeper("erasures", "--verify", request, "--json")
    assert again.code == 0, again
    [verified] = again.document()["erasures"]
    assert verified["verified_at"] > shown[0]["verified_at"]
    printed = done.out + done.err + of_number.out + again.err
    assert not any(one in printed for one in ("9161234567", "123-45-67"))
    texts = [
        file.read_bytes()
        for folder in ("requests", "exports", "logs", "raw")
        for file in (home / folder).rglob("*")
        if file.is_file()
    ]
    assert not any(b"9161234567" in one or b"123-45-67" in one for one in texts)


@pytest.mark.usefixtures("office")
def test_a_terminal_asks_for_the_number() -> None:
    primary, secondary = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "callkeeper_assets.cli.main", "forget", "--dry-run", "--json"],
        stdin=secondary,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(secondary)
    os.write(primary, f"+{NUMBER}\n".encode())
    out, err = process.communicate(timeout=120)
    os.close(primary)
    assert process.returncode == 0, err
    assert "The client's number" in err
    assert '"calls": 1' in out


@pytest.mark.usefixtures("office")
def test_similar_digits_end_the_command_with_1_and_say_where(home: Path) -> None:
    (home / "raw" / "main_office" / "notes.txt").write_text("8 916 123‑45‑67")
    dry = callkeeper("forget", NUMBER, "--dry-run")
    assert dry.code == 0, dry
    assert "main_office/notes.txt" in dry.out
    done = callkeeper("forget", NUMBER)
    assert done.code == 1
    assert "main_office/notes.txt: 1" in done.err
    assert "a person has to look at each" in done.err
    assert "In callkeeper_erasures: forget-" in done.out


@pytest.mark.parametrize("command", ["forget", "export"])
@pytest.mark.parametrize(
    ("typed", "said", "why"),
    [
        (["call me"], "", "this one has 0"),
        (["12345"], "", "this one has 5"),
        (["-"], "garbage\n", "this one has 0"),
        (["-"], "", "There is no number."),
        ([], "", "There is no number."),
    ],
)
def test_what_is_no_number_is_wrong_usage(
    defs: Path, command: str, typed: list[str], said: str, why: str
) -> None:
    write_source(defs, "main_office")
    done = whisper(said, command, *typed)
    assert (done.code, done.out) == (2, "")
    assert why in done.err


def test_a_reference_with_a_number_is_wrong_usage_and_not_repeated(defs: Path) -> None:
    write_source(defs, "main_office")
    done = callkeeper("forget", NUMBER, "--reference", "call 8 (916) 123-45-67")
    assert (done.code, done.out) == (2, "")
    assert "The reference has a phone number in it" in done.err
    assert "123-45" not in done.err


def test_a_database_that_is_away_is_said_and_nothing_is_left_behind(
    defs: Path, home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    write_source(defs, "main_office")
    monkeypatch.setenv("CALLKEEPER_DATABASE_URL", "postgresql://somebody:word@127.0.0.1:9/nowhere")
    output = tmp_path / "client.json"
    for words in (["forget", NUMBER], ["export", NUMBER, "--output", str(output)], ["erasures"]):
        done = callkeeper(*words)
        assert done.code == 1, done
        assert "No connection to the database" in done.err
        assert NUMBER not in done.err
        assert "word" not in done.err.replace("password", "")
    assert not output.exists()
    assert not (home / "exports").exists()


@pytest.mark.usefixtures("office")
def test_an_export_is_printed_or_written_and_stays_nowhere_else(home: Path, tmp_path: Path) -> None:
    printed = callkeeper("export", NUMBER)
    assert printed.code == 0, printed
    file = tmp_path / "client.json"
    assert callkeeper("export", NUMBER, "--output", str(file)).code == 0
    assert file.stat().st_mode & 0o777 == 0o600
    assert "main_office" in printed.document()["sources"]
    assert list((home / "exports").iterdir()) == []
    assert callkeeper("export", NUMBER, "--output", str(file)).code == 2
    missing = callkeeper("export", NUMBER, "--output", str(tmp_path / "none" / "client.json"))
    assert missing.code == 2
    assert "cannot be written: No such file or directory." in missing.err
