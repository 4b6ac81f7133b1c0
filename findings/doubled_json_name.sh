#!/bin/sh
# An object in which a name stands twice is legal JSON, and PHP and hand-made JSON send it. DuckDB
# reads the first value, by each of its ways; the usual Python decoders read the last. A program that
# checks with one and loads with the other judges a value that it does not store.
# Seen: duckdb 2.0.0, msgspec 0.22.0, orjson 3.11.4, Python 3.11's json.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet duckdb==2.0.0 msgspec==0.22.0 orjson==3.11.4
"$folder/venv/bin/python" - <<'PYTHON'
import json
import sys

import duckdb
import msgspec
import orjson

TEXT = '{"talk": 40, "talk": 41}'
query = "SELECT json_transform($1, '{\"talk\": \"INTEGER\"}').talk, ($1::JSON ->> 'talk')::INTEGER"
transformed, extracted = duckdb.execute(query, [TEXT]).fetchone()


class Call(msgspec.Struct):
    talk: int


seen = {
    "duckdb json_transform": transformed,
    "duckdb ->>": extracted,
    "msgspec, any type": msgspec.json.decode(TEXT)["talk"],
    "msgspec, a struct": msgspec.json.decode(TEXT, type=Call).talk,
    "orjson": orjson.loads(TEXT)["talk"],
    "json": json.loads(TEXT)["talk"],
}
for name, value in seen.items():
    print(f"{name:24}{value}")
expected = [40, 40, 41, 41, 41, 41]
sys.exit(0 if list(seen.values()) == expected else 1)
PYTHON
