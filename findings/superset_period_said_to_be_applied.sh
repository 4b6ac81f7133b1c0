#!/bin/sh
# Apache Superset says that a period was applied to a chart, and by its answer's `from_dttm` and
# `to_dttm` to which, when no condition of the query has it: a time range is put into the SQL of a
# query that has a granularity or a TEMPORAL_RANGE filter, while `applied_filters`, from which a
# dashboard's badge is made, looks only whether the dataset has a column of time.
# Seen: apache-superset 6.1.0, SQLite.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet apache-superset==6.1.0 flask-limiter==3.12 \
    flask-caching==2.3.1 cachetools==8.0.2
cat > "$folder/config.py" <<PYTHON
SECRET_KEY = "of a script that is over in a minute"
SQLALCHEMY_DATABASE_URI = "sqlite:///$folder/superset.db"
PYTHON
export SUPERSET_CONFIG_PATH="$folder/config.py" SUPERSET_HOME="$folder" FOLDER="$folder"
export FLASK_APP="superset.app:create_app()"
"$folder/venv/bin/superset" db upgrade > "$folder/upgrade.log" 2>&1
"$folder/venv/bin/python" - 2> "$folder/log" <<'PYTHON'
import os
import sqlite3
import sys

from superset.app import create_app

data = f"{os.environ['FOLDER']}/data.db"
with sqlite3.connect(data) as connection:
    connection.execute("CREATE TABLE calls (called_at DATETIME)")
    connection.executemany(
        "INSERT INTO calls VALUES (?)", [("2026-01-15 10:00:00",), ("2026-02-15 10:00:00",)]
    )

with create_app().app_context():
    from superset import db
    from superset.commands.chart.data.get_data_command import ChartDataCommand
    from superset.common.query_context_factory import QueryContextFactory
    from superset.connectors.sqla.models import SqlaTable, TableColumn
    from superset.models.core import Database

    database = Database(database_name="data", sqlalchemy_uri=f"sqlite:///{data}")
    column = TableColumn(column_name="called_at", is_dttm=True, type="DATETIME")
    table = SqlaTable(
        table_name="calls", database=database, columns=[column], main_dttm_col="called_at"
    )
    db.session.add_all([database, table])
    db.session.commit()
    count = {"expressionType": "SQL", "sqlExpression": "count(*)", "label": "calls"}
    february = "2026-02-01 : 2026-03-01"
    # What a dashboard with a filter of time asks.
    query = {
        "metrics": [count],
        "columns": [],
        "time_range": february,
        "applied_time_extras": {"__time_range": february},
    }
    period = {"col": "called_at", "op": "TEMPORAL_RANGE", "val": february}

    def ask(**more):
        context = QueryContextFactory().create(
            datasource={"id": table.id, "type": "table"}, queries=[{**query, **more}]
        )
        (answer,) = ChartDataCommand(context).run()["queries"]
        return answer["data"][0]["calls"], answer["applied_filters"]

    plain, filtered = ask(), ask(filters=[period])
    print("with the range alone:        calls %s, applied %s" % plain)
    print("with a filter of the column: calls %s, applied %s" % filtered)
said = {"column": "__time_range"}
sys.exit(0 if plain[0] == 2 and said in plain[1] and filtered[0] == 1 else 1)
PYTHON
