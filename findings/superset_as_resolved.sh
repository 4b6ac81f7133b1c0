#!/bin/sh
# Apache Superset 6.1.0 does not start as pip installs it. It imports rich and cachetools and requires
# neither: flask-limiter brought the one until its version 4. Where they are there, its cache in its
# own database refuses an argument that Flask-Caching has given every cache since 2.5, which its
# bound (<3) lets in.
# Seen: apache-superset 6.1.0, flask-limiter 4.1.1, flask-caching 2.5.1, rich 15.0.0, Python 3.11.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet apache-superset==6.1.0 flask-limiter==4.1.1 \
    flask-caching==2.5.1
cat > "$folder/config.py" <<PYTHON
SECRET_KEY = "of a script that is over in a minute"
SQLALCHEMY_DATABASE_URI = "sqlite:///$folder/superset.db"
PYTHON
export SUPERSET_CONFIG_PATH="$folder/config.py" SUPERSET_HOME="$folder"
seen=0
expect() {
    wanted=$1
    shift
    last=$("$@" 2>&1 | tail -n 1) || true
    echo "$last"
    [ "$last" = "$wanted" ] || seen=1
}
expect "ModuleNotFoundError: No module named 'rich'" "$folder/venv/bin/superset" --help
expect "ModuleNotFoundError: No module named 'cachetools'" \
    "$folder/venv/bin/python" -c "import superset.db_engine_specs.aws_iam"
"$folder/venv/bin/pip" install --quiet rich==15.0.0 cachetools==8.0.2
argument="'ignore_delete_many_errors'"
expect "TypeError: SupersetMetastoreCache.__init__() got an unexpected keyword argument $argument" \
    "$folder/venv/bin/python" -c "from superset.app import create_app; create_app()"
exit $seen
