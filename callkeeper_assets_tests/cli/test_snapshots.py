"""What people and machines see stays as it is: help, keys of `--json` documents, names of metrics.

Each is compared with a file of `callkeeper_assets_tests/snapshots/`. A change that is meant is a
line of the changelog, and is taken over by RENEW=1 with this file's tests.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from callkeeper_assets.cli.main import app
from callkeeper_assets.webhooks.intake import Metrics
from callkeeper_assets_tests.cli.conftest import callkeeper, days_ago

_FOLDER: Final = Path(__file__).parents[1] / "snapshots"
_DAY: Final = re.compile(r"\d{4}-\d\d-\d\d")


def _compare(name: str, text: str) -> None:
    file = _FOLDER / name
    if os.environ.get("RENEW"):
        file.write_text(text, "utf-8")
    assert text == file.read_text("utf-8")


def test_help_says_what_it_said() -> None:
    names = [
        command.callback.__name__.replace("_", "-")
        for command in app.registered_commands
        if command.callback
    ]
    texts = [callkeeper(*filter(None, [name]), "--help").out for name in ("", *names)]
    _compare("help.txt", "\n".join(texts))


def test_metrics_have_the_names_that_they_had() -> None:
    lines = Metrics().render().decode().splitlines()
    described = [line for line in lines if line.startswith("#") and " callkeeper_" in line]
    _compare("metrics.txt", "".join(f"{line}\n" for line in described))


def _list_keys(document: Any, place: str = "") -> Iterator[str]:  # noqa: ANN401 -- JSON
    """Yield the place of each value; all of a list's have one, and all of a day's."""
    if isinstance(document, dict):
        for key, value in document.items():
            yield from _list_keys(value, f"{place}.{_DAY.sub('DAY', key)}")
    elif isinstance(document, list):
        for value in document:
            yield from _list_keys(value, f"{place}[]")
    yield place


@pytest.mark.usefixtures("main_office", "database")
def test_json_documents_have_the_keys_that_they_had() -> None:
    days = ("main_office", "--from", days_ago(2), "--to", days_ago(1))
    commands = {
        "load": ("load", *days),
        "reconcile": ("reconcile", *days),
        "rebuild": ("rebuild",),
        "status": ("status",),
        "check": ("check",),
        "unusable": ("unusable", *days),
        "inbox": ("inbox",),
        "erasures": ("erasures",),
        "upgrade": ("upgrade", "--dry-run"),
    }
    lines: list[str] = []
    for name, words in commands.items():
        done = callkeeper(*words, "--json")
        assert done.code == 0, (name, done.err)
        places = sorted({place for place in _list_keys(done.document()) if place})
        lines += [f"{name} {place}\n" for place in places]
    _compare("json.txt", "".join(lines))
