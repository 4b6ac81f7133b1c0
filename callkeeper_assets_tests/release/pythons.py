"""`make pythons`: the tests, in their short form, on each Python that is declared and is here.

`ARGS="3.13 -- callkeeper_assets_tests/raw"` names versions, and what pytest is to run. Each version
has an environment of the tested versions in `build/`. Of one that is not here it is said, and that
at least every package of the tested set has a wheel for it.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from callkeeper_assets_tests.release.environments import (
    ROOT,
    CommandFailedError,
    find_python,
    list_declared,
    make_environment,
    run_uv,
)

_LOCKS: Final = (ROOT / "requirements.txt", ROOT / "requirements-dev.txt")


def prepare(version: str, python: str) -> Path:
    """Make the environment of a version, with this checkout in it; return its interpreter."""
    made = make_environment(ROOT / "build" / f"python{version}", python)
    where = ("--quiet", "--python", made)
    run_uv("pip", "sync", *where, "--require-hashes", *_LOCKS)
    run_uv("pip", "install", *where, "--no-deps", "--no-build-isolation", "--editable", ROOT)
    return made


def find_wheels(version: str) -> str:
    """Say whether each tested package has a wheel for a version, without that Python."""
    with tempfile.TemporaryDirectory() as folder:
        words = ("--dry-run", "--quiet", "--no-deps", "--only-binary", ":all:", "--target", folder)
        try:
            run_uv("pip", "install", *words, "--python-version", version, "-r", _LOCKS[0])
        except CommandFailedError as error:
            return f"not here, and not installable: {error}"
    return "not here; every package of requirements.txt has a wheel for it"


def test(version: str, words: Sequence[str]) -> str:
    """Run the tests on a version; return what came of it."""
    python = find_python(version)
    if python is None:
        return find_wheels(version)
    made = prepare(version, python)
    options = words or ["-n", os.environ.get("WORKERS", "auto"), "--dist", "worksteal"]
    done = subprocess.run([made, "-m", "pytest", *options], cwd=ROOT, check=False)
    return "passed" if done.returncode == 0 else f"FAILED ({done.returncode})"


def main() -> int:
    """Run them all, print a line for each version; 1 if one failed."""
    parser = argparse.ArgumentParser(prog="make pythons", description=__doc__)
    parser.add_argument("versions", nargs="*", default=list_declared())
    typed = [*sys.argv[1:], "--"]
    end = typed.index("--")
    options, words = parser.parse_args(typed[:end]), typed[end + 1 : -1]
    results = {version: test(version, words) for version in options.versions}
    for version, result in results.items():
        print(f"Python {version}: {result}")
    return int(any("FAILED" in result or "installable" in result for result in results.values()))


if __name__ == "__main__":
    sys.exit(main())
