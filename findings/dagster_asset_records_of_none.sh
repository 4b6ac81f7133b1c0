#!/bin/sh
# Reading assets' records that are all complete, Dagster's storage in a database looks besides for the
# materializations of no asset at all: a join over the event log whose list of assets is empty. It is
# there for records of another form, and is asked for each time, also for each input of an asset whose
# data version is worked out while a run goes on.
# Seen: dagster 1.13.27, by its storage in SQLite.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet dagster==1.13.27 'sqlalchemy<2.1'
DAGSTER_HOME= FOLDER="$folder" "$folder/venv/bin/python" -W ignore - <<'PYTHON'
import os
import sys

import dagster as dg
import sqlalchemy as sa

statements = []


@dg.asset
def calls() -> None:
    pass


with dg.DagsterInstance.local_temp(os.environ["FOLDER"]) as instance:
    quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    assert dg.materialize([calls], instance=instance, run_config=quiet).success

    def note(_connection, _cursor, statement, parameters, *_):
        statements.append((" ".join(statement.split()), parameters))

    sa.event.listen(sa.Engine, "before_cursor_execute", note)
    (record,) = instance.get_asset_records([calls.key])

assert record.asset_entry.last_materialization_record is not None
of_events = [one for one in statements if "event_logs" in one[0]]
for statement, parameters in of_events:
    print(statement[:400], parameters)
# The asset's key is in no parameter: nothing is looked for.
is_so = len(of_events) == 1 and "calls" not in str(of_events[0][1])
sys.exit(0 if is_so else 1)
PYTHON
