"""A Singer pair as its guides say: a tap on singer-sdk, piped into meltanolabs-target-postgres.

The target merges (`load_method: upsert`) and copies (`use_copy`, which its settings recommend).
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Final

from callkeeper_assets_tests.benchmarks.peers.job import Job, read_arguments

_TAP: Final = "callkeeper_assets_tests.benchmarks.peers.singer_tap"
_SCHEMA: Final = "singer"


def _write(folder: Path, name: str, settings: dict[str, object]) -> Path:
    file = folder / name
    file.write_text(json.dumps(settings))
    return file


def run(job: Job) -> None:
    """Load the job's days."""
    tap: dict[str, object] = {"api_url": job.api_url, "accounts": job.accounts}
    tap |= {"time_zone": job.time_zone, "first": str(job.first), "last": str(job.last)}
    url = job.database_url.replace("postgresql://", "postgresql+psycopg://", 1)
    target: dict[str, object] = {"sqlalchemy_url": url, "default_target_schema": _SCHEMA}
    target |= {"load_method": "upsert", "use_copy": True}
    tapping = [sys.executable, "-m", _TAP, "--config", str(_write(job.folder, "tap.json", tap))]
    loading = [str(Path(sys.executable).with_name("target-postgres")), "--config"]
    loading.append(str(_write(job.folder, "target.json", target)))
    with subprocess.Popen(tapping, stdout=subprocess.PIPE) as source:
        subprocess.run(loading, stdin=source.stdout, stdout=subprocess.DEVNULL, check=True)
    if source.returncode:
        raise subprocess.CalledProcessError(source.returncode, tapping)


if __name__ == "__main__":
    run(read_arguments())
