"""dlt with what its own guide to performance says, and nothing that measuring added.

Pages not rows, its HTTP client and its JSON, a parallel transformer, 8 extract workers, rotated
files, 2 normalize workers, Parquet; merged by `merge`, whose default is to delete and insert. All
types are inferred.
"""

# mypy: disable-error-code="import-not-found"

from callkeeper_assets_tests.benchmarks.peers.dlt_json import run
from callkeeper_assets_tests.benchmarks.peers.dlt_settings import GUIDE, apply_settings
from callkeeper_assets_tests.benchmarks.peers.job import read_arguments

if __name__ == "__main__":
    given = read_arguments()
    apply_settings(given, GUIDE)
    run(given, "dlt_guide", "merge", {})
