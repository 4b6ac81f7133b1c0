"""`.venv-bench`: the environment of the peers with dlt, so that it never sits in the product's.

Made with the standard library alone from `requirements-bench.txt`, and again when that file has
changed.
"""

import hashlib
import shutil
import subprocess
import sys
from typing import Final

from callkeeper_assets_tests.benchmarks.stand import ROOT

_FOLDER: Final = ROOT / ".venv-bench"
_REQUIREMENTS: Final = ROOT / "requirements-bench.txt"
_PYTHON: Final = _FOLDER / "bin" / "python"


_STAMP: Final = _FOLDER / "installed"


def find_peers() -> str:
    """The path of the Python that has dlt; empty if its environment is not there, or not newest."""
    return str(_PYTHON) if _STAMP.exists() and _STAMP.read_text() == _stamp() else ""


def _stamp() -> str:
    return hashlib.sha256(_REQUIREMENTS.read_bytes()).hexdigest()


def prepare_peers() -> str:
    """The path of the Python that has dlt, after making its environment if need be.

    Raises:
        CalledProcessError: the packages cannot be installed; pip has said why.
    """
    if found := find_peers():
        return found
    print("Installing the peers into .venv-bench.", flush=True)  # noqa: T201
    shutil.rmtree(_FOLDER, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", _FOLDER], check=True)
    (_FOLDER / ".gitignore").write_text("*\n")
    # Not compiled beforehand: most of it is never imported, and a load's first day does the rest.
    install = ["-m", "pip", "install", "--quiet", "--no-compile", "--require-hashes"]
    install += ["-r", str(_REQUIREMENTS)]
    subprocess.run([str(_PYTHON), *install], check=True)
    _STAMP.write_text(_stamp())
    return str(_PYTHON)
