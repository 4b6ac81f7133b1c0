"""`make dist`: builds what is published, into `dist/`, and checks it; docs/releasing.md.

With SHORT=1 without what takes long or asks a service outside: the audit, and the validation of the
SBOM.
"""

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Final, Literal

from callkeeper_assets_tests.release.audit import audit
from callkeeper_assets_tests.release.environments import (
    ROOT,
    CommandFailedError,
    build,
    make_environment,
    run,
    run_uv,
)

_DIST: Final = ROOT / "dist"
_BUILD: Final = ROOT / "build"
_TOOLS: Final = _BUILD / "release"
_TESTED: Final = _BUILD / "tested"
_WORKFLOWS: Final = ROOT / ".github" / "workflows"


def _find_epoch() -> str:
    """Return the time that files in the packages bear: the commit's, so that it builds the same."""
    try:
        return run(["git", "log", "-1", "--format=%ct"]).strip()
    except (CommandFailedError, OSError):
        return os.environ.get("SOURCE_DATE_EPOCH", "1580601600")


def build_packages() -> Path:
    """Build the sdist, and of it the wheel; return the wheel.

    Raises:
        CommandFailedError: It cannot be built, or the checkout makes another wheel than the sdist.
    """
    shutil.rmtree(_DIST, ignore_errors=True)
    epoch = _find_epoch()
    sdist = build("sdist", ROOT, _DIST, SOURCE_DATE_EPOCH=epoch)
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(sdist) as archive:
            # The Python of Debian 12, 3.11.2, has no filter to name.
            archive.extraction_filter = getattr(tarfile, "data_filter", lambda member, _: member)
            archive.extractall(folder)  # noqa: S202 -- made a moment ago
        (unpacked,) = Path(folder).iterdir()
        wheel = build("wheel", unpacked, _DIST, SOURCE_DATE_EPOCH=epoch)
        other = build("wheel", ROOT, Path(folder, "other"), SOURCE_DATE_EPOCH=epoch)
        if wheel.read_bytes() != other.read_bytes():
            raise CommandFailedError(
                f"The sdist and the checkout do not make the same {wheel.name}"
            )
    for file in (sdist, wheel):
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        print(f"{digest}  dist/{file.name}  {file.stat().st_size:,} bytes")
    return wheel


def prepare_tools() -> Path:
    """Make the environment of the tools, if need be; return the folder of its programs."""
    requirements = ROOT / "requirements-release.txt"
    stamp = _TOOLS / "installed"
    wanted = hashlib.sha256(requirements.read_bytes()).hexdigest()
    if not stamp.exists() or stamp.read_text() != wanted:
        python = make_environment(_TOOLS)
        run_uv("pip", "sync", "--quiet", "--require-hashes", "--python", python, requirements)
        stamp.write_text(wanted)
    return _TOOLS / "bin"


def check_packages(tools: Path, wheel: Path) -> None:
    """Let what an index and an installer would refuse, or wonder at, be found here.

    Raises:
        CommandFailedError: Something was found; it is the text.
    """
    packages = sorted(_DIST.iterdir())
    run([tools / "twine", "check", "--strict", *packages])
    run([tools / "check-wheel-contents", wheel])
    print("twine check --strict, check-wheel-contents: nothing found")


def check_workflows(tools: Path) -> None:
    """Read the forge's workflows, which run nowhere but there, by their schema and for risks.

    Raises:
        CommandFailedError: Something was found; it is the text.
    """
    files = sorted(_WORKFLOWS.glob("*.yml"))
    schema = ["--builtin-schema", "vendor.github-workflows"]
    run([tools / "check-jsonschema", *schema, *files])
    run([tools / "zizmor", "--offline", "--quiet", "--persona", "pedantic", *files])
    print("workflows: check-jsonschema, zizmor: nothing found (not run: that is the forge's)")


def write_sbom(tools: Path, wheel: Path, *, is_short: bool) -> Path:
    """Install the wheel with the tested versions, and list these; return the list's file.

    Raises:
        CommandFailedError: They cannot be installed, or the wheel does not say its version.
    """
    version = wheel.name.split("-")[1]
    python = make_environment(_TESTED)
    where = ("--quiet", "--python", python)
    run_uv("pip", "sync", *where, "--require-hashes", ROOT / "requirements.txt")
    run_uv("pip", "install", *where, "--no-deps", wheel)
    said = run([python.with_name("callkeeper"), "--version"], cwd=_TESTED)
    if said != f"callkeeper {version}\n":
        raise CommandFailedError(f"{wheel.name} says that it is {said}")
    file = _BUILD / f"callkeeper_assets-{version}.cdx.json"
    words = ["environment", "--output-reproducible", "--mc-type", "application"]
    words += ["--pyproject", "pyproject.toml", "--output-file", str(file)]
    words += ["--no-validate"] if is_short else []
    run([tools / "cyclonedx-py", *words, python])
    # pyproject.toml does not say the version, and the index must know which wheel is meant.
    document = json.loads(file.read_text("utf-8"))
    package = document["metadata"]["component"]
    package |= {"version": version, "purl": f"pkg:pypi/{package['name']}@{version}"}
    file.write_text(json.dumps(document, indent=2) + "\n", "utf-8")
    print(f"{file.relative_to(ROOT)}: {len(document['components'])} packages")
    return file


def main() -> int:
    """Build and check; 1 if anything is found."""
    parser = argparse.ArgumentParser(prog="make dist", description=__doc__)
    parser.add_argument(
        "--audit", choices=("no", "try", "must"), help="whether it must be answered"
    )
    options = parser.parse_args()
    is_short = bool(os.environ.get("SHORT"))
    wish: Literal["no", "try", "must"] = options.audit or ("no" if is_short else "try")
    try:
        wheel = build_packages()
        tools = prepare_tools()
        check_packages(tools, wheel)
        check_workflows(tools)
        write_sbom(tools, wheel, is_short=is_short)
        return 0 if wish == "no" else audit(tools, must=wish == "must")
    except (CommandFailedError, subprocess.SubprocessError) as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
