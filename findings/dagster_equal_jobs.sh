#!/bin/sh
# A job of assets that a sensor or a schedule starts has to be the very object that is in
# Definitions(jobs=...): one that is equal to it, made by the same call once more, is refused as a
# duplicate, though the two compare equal.
# Seen: dagster 1.13.27.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet dagster==1.13.27 'sqlalchemy<2.1'
DAGSTER_HOME= "$folder/venv/bin/python" -W ignore - <<'PYTHON'
import sys

import dagster as dg


@dg.asset
def calls(): ...


def build_job():
    return dg.define_asset_job("refresh", selection=["calls"])


def load(listed, started):
    @dg.sensor(name="hints", job=started)
    def hints(): ...

    definitions = dg.Definitions(assets=[calls], jobs=[listed], sensors=[hints])
    try:
        dg.Definitions.validate_loadable(definitions)
    except dg.DagsterInvalidDefinitionError as error:
        return str(error)
    return "loads"


job = build_job()
same, equal = load(job, job), load(build_job(), build_job())
print("equal jobs compare as", build_job() == build_job())
print("the same object: ", same)
print("an equal one:    ", equal)
is_so = same == "loads" and equal.startswith("Duplicate definition found for unresolved job")
sys.exit(0 if is_so and build_job() == build_job() else 1)
PYTHON
