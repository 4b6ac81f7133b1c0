#!/bin/sh
# A nested CASE over a column that is a constant NULL cannot be bound: a statement that is put together
# for the columns at hand, with NULL for those that are missing, fails for that data alone. With a
# value in the column's place, or without the outer CASE, the same expression works.
# Seen: duckdb 2.0.0.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet duckdb==2.0.0
"$folder/venv/bin/python" - <<'PYTHON'
import sys

import duckdb

INNER = "CASE WHEN split_part(v, '^', 1) >= '!' THEN split_part(v, '^', 1) END"
OUTER = f"CASE WHEN v IS NULL THEN {INNER} ELSE 'x' END"


def run(value, expression):
    try:
        rows = duckdb.execute(f"WITH r AS (SELECT {value} AS v) SELECT {expression} FROM r")
        return repr(rows.fetchone()[0])
    except duckdb.InvalidInputException as error:
        return str(error)


seen = [run("'a^1'", OUTER), run("NULL::VARCHAR", INNER), run("NULL::VARCHAR", OUTER)]
for what, result in zip(("a value", "NULL, inner CASE", "NULL, both"), seen, strict=True):
    print(f"{what}: {result}")
is_so = seen[:2] == ["'x'", "None"] and "BindBuiltinScalarFunction" in seen[2]
sys.exit(0 if is_so else 1)
PYTHON
