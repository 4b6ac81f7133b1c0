#!/bin/sh
# After gc.freeze(), as servers call it before they fork, a process that has imported DuckDB says at its
# end that nanobind has leaked instances and types, on standard error; exit code and work are untouched.
# Without it, nothing is said.
# Seen: duckdb 2.0.0, Python 3.11.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet duckdb==2.0.0
"$folder/venv/bin/python" - <<'PYTHON'
import subprocess
import sys

said = {}
for name, code in (
    ("plain", "import duckdb, gc; gc.collect()"),
    ("frozen", "import duckdb, gc; gc.collect(); gc.freeze()"),
):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    said[name] = done.stderr
    print(f"{name}: {done.stderr.splitlines()[:1] or 'nothing'}")
sys.exit(0 if not said["plain"] and "nanobind: leaked" in said["frozen"] else 1)
PYTHON
