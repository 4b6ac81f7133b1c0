#!/bin/sh
# DuckDB that is told to use one thread starts others when it is opened, for reading files
# asynchronously, whether it reads any or not (eight where there are two cores): "threads" does not count them, and a process that has
# opened it, and forks, leaves them behind. "async_threads": 0 starts none, and queries work.
# Seen: duckdb 2.0.0, Linux.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet duckdb==2.0.0
"$folder/venv/bin/python" - <<'PYTHON'
import os
import sys

import duckdb


def count_threads():
    return len(os.listdir("/proc/self/task"))


seen = {}
for name, config in {
    "threads: 1": {"threads": 1},
    "threads: 1, async_threads: 0": {"threads": 1, "async_threads": 0},
}.items():
    before = count_threads()
    with duckdb.connect(config=config) as connection:
        total = connection.sql("SELECT sum(range) FROM range(1000)").fetchall()[0][0]
        setting = connection.sql("SELECT current_setting('threads')").fetchall()[0][0]
        seen[name] = count_threads() - before, setting, total
    print(f"{name:30} {seen[name][0]} threads more, setting 'threads' {setting}, sum {total}")
others, alone = seen.values()
sys.exit(0 if others[0] > 0 and others[1:] == (1, 499500) and alone == (0, 1, 499500) else 1)
PYTHON
