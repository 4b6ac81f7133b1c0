"""`callkeeper dev` as a process; its web server is asked by GraphQL, as Dagster's pages ask it."""

import json
import subprocess
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from callkeeper_assets.cli.serving import find_free_port
from callkeeper_assets_tests.chaos.installation import Installation

_LAUNCH: Final = """mutation($p: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $p) {
    __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message }
  }
}"""
_BACKFILL: Final = """query($id: String!) {
  partitionBackfillOrError(backfillId: $id) { ... on PartitionBackfill { status numCancelable } }
}"""


@dataclass(frozen=True)
class Dev:
    """A running `callkeeper dev`; nothing listens at `webhook_port` without a source for it."""

    process: "subprocess.Popen[str] | subprocess.Popen[bytes]"
    port: int
    webhook_port: int

    def ask(self, query: str, **variables: object) -> dict[str, Any]:
        """Return the data of an answer without errors."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/graphql",
            json.dumps({"query": query, "variables": variables}).encode(),
            {"content-type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            document: dict[str, Any] = json.load(answer)
        assert "errors" not in document, document
        data: dict[str, Any] = document["data"]
        return data

    def backfill(self, source: str, assets: Sequence[str], days: Sequence[str]) -> str:
        """Launch a backfill of a source's assets and return its id."""
        launched = self.ask(
            _LAUNCH,
            p={
                "assetSelection": [{"path": [source, name]} for name in assets],
                "partitionNames": days,
            },
        )["launchPartitionBackfill"]
        assert launched["__typename"] == "LaunchBackfillSuccess", launched
        return str(launched["backfillId"])

    def status_of(self, launched: str) -> str:
        """Return a backfill's status."""
        return str(self.ask(_BACKFILL, id=launched)["partitionBackfillOrError"]["status"])


@contextmanager
def run_dev(installation: Installation) -> Iterator[Dev]:
    """Run it while the block does."""
    with run_dev_by(lambda *words: installation.start("callkeeper_assets.cli.main", *words)) as dev:
        yield dev


@contextmanager
def run_dev_by(start: Callable[..., "subprocess.Popen[str]"]) -> Iterator[Dev]:
    """Run it while the block does; `start` types a command with the arguments it is given."""
    port, webhook_port = find_free_port(), find_free_port()
    process = start("dev", "--port", str(port), "--webhook-port", str(webhook_port))
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("Stop:"):
                break
        assert process.poll() is None, process.communicate()[1]
        yield Dev(process, port, webhook_port)
    finally:
        process.terminate()
        process.communicate(timeout=60)
