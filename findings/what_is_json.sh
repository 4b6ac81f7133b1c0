#!/bin/sh
# Which texts are JSON depends on who is asked, and the answers do not nest: each reads something that
# another refuses. Half a surrogate pair, as JavaScript leaves it when it cuts a text inside an emoji,
# is legal by RFC 8259; msgspec refuses it even in parts that it is told to hand out raw, undecoded,
# while a number that no double holds passes there. DuckDB's json_valid takes NaN and a comma too many.
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

READERS = {
    "json": json.loads,
    "msgspec": msgspec.json.decode,
    "msgspec, raw": msgspec.json.Decoder(list[msgspec.Raw]).decode,
    "orjson": orjson.loads,
}
# By text: whether each of the readers, and json_valid, take it.
EXPECTED = {
    '[{"t": "cut \\ud83d"}]': (True, False, False, False, False),
    '[{"n": NaN}]': (True, False, False, False, True),
    '[{"n": 1,}]': (False, False, False, False, True),
    '[{"n": 1e400}]': (True, False, True, False, True),
}


def reads(reader, text):
    try:
        reader(text)
    except ValueError:
        return False
    return True


is_so = True
print("".join(f"{name:>14}" for name in ("", *READERS, "json_valid")))
for text, expected in EXPECTED.items():
    valid = duckdb.execute("SELECT json_valid($1)", [text]).fetchone()[0]
    seen = (*(reads(reader, text) for reader in READERS.values()), valid)
    print(f"{text:>24}", *("reads" if one else "refuses" for one in seen))
    is_so = is_so and seen == expected
sys.exit(0 if is_so else 1)
PYTHON
