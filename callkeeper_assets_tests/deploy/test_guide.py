"""docs/deploy.md: its commands, typed by a shell in a tree of their own.

What needs the machine itself (packages, users, systemd, Caddy) is recorded and not done; the rest
is done: database, project, source, secrets, units, and what is typed afterwards.
"""

import os
import re
import stat
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import pytest

from callkeeper_assets.postgres import connect
from callkeeper_assets.simulator.server import RunningSimulator, run_simulator
from callkeeper_assets.simulator.settings import AccountSettings
from callkeeper_assets_tests.deploy.conftest import DEPLOY

_KEY: Final = "0123456789abcdef0123456789abcdef"
_GUIDE: Final = DEPLOY.parent / "docs" / "deploy.md"
_BLOCK: Final = re.compile(r"^```\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_PLACES: Final = ("/opt/callkeeper", "/etc/", "/var/lib/callkeeper", "/usr/local/bin")
_RECORDED: Final = ("apt-get", "useradd", "systemctl", "curl", "chgrp", "caddy")
# Says what it was given, and does nothing.
_RECORDER: Final = '#!/bin/sh\necho "$(basename "$0") $*" >> "{root}/recorded"\n'
# Does it without other users, whom a test must not make.
_OTHERS: Final = {
    "install": """#!/bin/bash
words=()
while [ $# -gt 0 ]; do
  case "$1" in -o|-g) shift 2 ;; *) words+=("$1"); shift ;; esac
done
exec /usr/bin/install "${words[@]}"
""",
    "setpriv": '#!/bin/sh\nwhile [ "${1#--}" != "$1" ]; do shift; done\nexec "$@"\n',
    "python3": """#!/bin/sh
[ "$1 $2" = "-m venv" ] || exit 1
mkdir -p "$3/bin" "$3/share"
cp -r "{deploy}" "$3/share/callkeeper"
sed -i {substitutions} "$3/share/callkeeper/systemd/callkeeper"
printf '#!/bin/sh\\nexec {python} -m callkeeper_assets.cli.main "$@"\\n' > "$3/bin/callkeeper"
printf '#!/bin/sh\\necho "pip $*" >> {root}/recorded\\n' > "$3/bin/pip"
chmod +x "$3/bin/callkeeper" "$3/bin/pip"
""",
    "runuser": """#!{python}
import sys
from callkeeper_assets.postgres import connect
statement = sys.stdin.read().replace("ROLE callkeeper", "ROLE {name}")
statement = statement.replace("DATABASE callkeeper", "DATABASE {name}")
statement = statement.replace("OWNER callkeeper", "OWNER {name}")
assert sys.argv[1:] == ["-u", "postgres", "--", "psql"]
with connect("{server}", autocommit=True) as connection:
    connection.execute(statement)
""",
}


@pytest.fixture
def simulator() -> Iterator[RunningSimulator]:
    """CallKeeper with one account."""
    with run_simulator([AccountSettings(key=_KEY, name="main_office")]) as running:
        yield running


@pytest.fixture
def name(database: str) -> Iterator[str]:
    """A name for the guide's role and database, which are dropped after the test."""
    made = f"guide_{uuid.uuid4().hex[:8]}"
    yield made
    with connect(database, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {made} WITH (FORCE)".encode())
        connection.execute(f"DROP ROLE IF EXISTS {made}".encode())


def _list_commands() -> str:
    text = _GUIDE.read_text("utf-8")
    section = text.partition("\n## systemd\n")[2].partition("\n## Containers\n")[0]
    return "\n".join(_BLOCK.findall(section))


def _move(text: str, root: Path) -> str:
    for place in _PLACES:
        text = re.sub(rf"(?<![\w/.-]){place}", f"{root}{place}", text)
    return text


def _write_programs(root: Path, name: str, server: str) -> Path:
    folder = root / "programs"
    folder.mkdir()
    values = {
        "{root}": str(root),
        "{python}": sys.executable,
        "{deploy}": str(DEPLOY),
        "{name}": name,
        "{server}": server,
        "{substitutions}": " ".join(
            f"-e 's|\\([ =]\\){place}|\\1{root}{place}|g'" for place in _PLACES
        ),
    }
    texts = {**dict.fromkeys(_RECORDED, _RECORDER), **_OTHERS}
    for program, text in texts.items():
        for word, value in values.items():
            text = text.replace(word, value)  # noqa: PLW2901 -- one after another
        (folder / program).write_text(text, "utf-8")
        (folder / program).chmod(0o755)
    return folder


@pytest.mark.e2e
def test_the_guides_commands_lead_to_an_installation_that_is_well(
    tmp_path: Path, database: str, name: str, simulator: RunningSimulator
) -> None:
    place = urlsplit(database)
    script = _move(_list_commands(), tmp_path)
    assert "callkeeper add main_office" in script
    script = script.replace("add main_office", f"add main_office --base-url {simulator.base_url}")
    script = script.replace(
        "postgresql://callkeeper:$PASSWORD@127.0.0.1:5432/callkeeper",
        f"postgresql://{name}:$PASSWORD@{place.hostname}:{place.port}/{name}",
    )
    for folder in ("etc/caddy", "etc/systemd/system", "usr/local/bin"):
        (tmp_path / folder).mkdir(parents=True)
    programs = _write_programs(tmp_path, name, database)
    done = subprocess.run(
        ["/bin/bash", "-eu", "-o", "pipefail", "-c", script],
        input=f"{_KEY}\n",
        cwd=tmp_path,
        env={"PATH": f"{programs}:{tmp_path}/usr/local/bin:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr

    secrets = tmp_path / "etc/callkeeper/secrets"
    assert {file.name for file in secrets.iterdir()} == {
        "CALLKEEPER_DATABASE_URL",
        "MAIN_OFFICE_API_KEY",
    }
    for file in secrets.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o640, file
    assert not (tmp_path / "etc/callkeeper/project/.env").exists(), "the key is in its file alone"
    assert (tmp_path / "etc/systemd/system/callkeeper-.service.d/common.conf").is_file()
    assert "CALLKEEPER_WEBHOOK_URL=" in (tmp_path / "etc/callkeeper/callkeeper.env").read_text()
    # By `upgrade`, as the owner of the database and with its address from the file.
    home = tmp_path / "var/lib/callkeeper"
    assert not (home / "postgres").exists(), "no embedded database was made"
    assert _KEY not in done.stdout + done.stderr
    recorded = (tmp_path / "recorded").read_text().splitlines()
    assert "systemctl enable --now callkeeper.target callkeeper-code callkeeper-runs " in (
        "\n".join(recorded)
    )
