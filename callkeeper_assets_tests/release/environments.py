"""Environments made by uv, and the Pythons of this machine.

uv makes in seconds what takes pip a minute: packages are linked from its cache. It asks the
package index that pip is configured for, of which it knows nothing by itself.
"""

import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[2]
_SETTING: Final = re.compile(
    r"^(?:global|install|site|user|:env:)\.(index-url|cert)='(.+)'$", re.MULTILINE
)
_VARIABLES: Final = {"index-url": "UV_DEFAULT_INDEX", "cert": "SSL_CERT_FILE"}
_PYTHON: Final = re.compile(r"Programming Language :: Python :: (3\.\d+)")


class CommandFailedError(AssertionError):
    """A command ended with another code than 0; what it printed is the text."""


def run(
    words: Sequence[str | Path], *, cwd: Path = ROOT, variables: Mapping[str, str] | None = None
) -> str:
    """Run a command and return its standard output.

    Raises:
        CommandFailedError: It failed.
    """
    done = subprocess.run(
        words,
        cwd=cwd,
        env={**os.environ, **(variables or {})},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        told = f"ended with {done.returncode}\n{done.stdout}{done.stderr}"
        raise CommandFailedError(f"{shlex.join(map(str, words))}\n{told}")
    return done.stdout


@cache
def _find_index() -> dict[str, str]:
    listed = run([sys.executable, "-m", "pip", "config", "list"])
    settings = {_VARIABLES[name]: value for name, value in _SETTING.findall(listed)}
    return {name: value for name, value in settings.items() if name not in os.environ}


def run_uv(*words: str | Path) -> str:
    """Run uv and return its standard output.

    Raises:
        CommandFailedError: It failed.
    """
    return run([sys.executable, "-m", "uv", *words], variables=_find_index())


def make_environment(folder: Path, python: str | Path = sys.executable) -> Path:
    """Make an environment without packages, and return its interpreter."""
    run_uv("venv", "--quiet", "--clear", "--no-project", "--python", python, folder)
    return folder / "bin" / "python"


def build(kind: str, source: Path, target: Path, **variables: str) -> Path:
    """Build the `wheel` or the `sdist` of a source tree, without a look at the package index."""
    words = [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(target)]
    run(words, cwd=source, variables=variables)
    (file,) = target.glob("*.whl" if kind == "wheel" else "*.tar.gz")
    return file


@cache
def read_metadata() -> dict[str, Any]:
    """Return what `pyproject.toml` says."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def list_declared() -> list[str]:
    """Return the versions of Python that the package declares, the oldest first."""
    text = "\n".join(read_metadata()["project"]["classifiers"])
    return sorted(_PYTHON.findall(text), key=lambda version: int(version.partition(".")[2]))


def _list_candidates(version: str) -> Iterator[str]:
    yield f"python{version}"
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    for folder in sorted(pyenv.glob(f"versions/{version}.*")):
        yield str(folder / "bin" / "python")


def find_python(version: str) -> str | None:
    """Return an interpreter of this version, or None: on the path, of pyenv, or of uv."""
    asked = "import sys; print(sys.executable) if sys.version_info[:2] == (3, {}) else exit(1)"
    for candidate in _list_candidates(version):
        try:
            return run([candidate, "-c", asked.format(version.partition(".")[2])]).strip()
        except (CommandFailedError, OSError):
            continue
    try:
        return run_uv("python", "find", "--no-python-downloads", "--no-project", version).strip()
    except CommandFailedError:
        return None
