"""Everything that uses parts of Dagster which are not public, in a package of its own.

Add here what imports from `dagster._…`, touches an underscored attribute of Dagster's objects, or
overrides a method of a class that Dagster does not mean to be extended; behind a function or class
of ours, whose docstring says why. The rest of the product uses what `dagster` exports.
What Dagster has to keep is listed in `callkeeper_assets_tests/dagster_ext/test_contract.py`, which
says on a newer Dagster what broke.
"""

# Dagster's script names an interpreter in its first line, which has no room for a long path; ours
# is the only one of its database.
DAEMON_MODULE = "callkeeper_assets.dagster_ext.daemon"
# The code location's name, in each workspace.yaml.
LOCATION = "callkeeper_assets"
# By this the code server tells who keeps it alive that it has ended to be started with newer code.
RELOADED = 75
