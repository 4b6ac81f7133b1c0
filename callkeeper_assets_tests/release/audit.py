"""Known vulnerabilities of the tested versions: pip-audit, and what it leaves unsaid.

Where its service does not know the packages, pip-audit skips each, says that it found no known
vulnerability, and ends with 0: so the answers are counted here. An index that mirrors another one's
files often has not its advisories.
"""

import json
import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from callkeeper_assets_tests.release.environments import ROOT, run_uv

# By the advisory's name, why it does not concern this product.
EXPLAINED: Final[dict[str, str]] = {}

_REQUIREMENTS: Final = ROOT / "requirements.txt"
_PIN: Final = re.compile(r"^([a-z0-9.\-]+)(?:\[[a-z,]+\])?==([^\s;\\]+)", re.MULTILINE)


@dataclass(frozen=True)
class Audit:
    """What the service said: packages that it judged, that it did not, and advisories."""

    judged: int
    skipped: int
    found: tuple[str, ...]


def read_audit(document: str) -> Audit:
    """Read what `pip-audit --format json` printed; without a document, nothing was judged."""
    packages = json.loads(document)["dependencies"] if document.strip() else []
    found = [
        f"{one['name']} {one['version']}: {advisory['id']}, mended in "
        f"{', '.join(advisory['fix_versions']) or 'no version yet'}"
        for one in packages
        for advisory in one.get("vulns", ())
        if advisory["id"] not in EXPLAINED
    ]
    skipped = sum("skip_reason" in one for one in packages)
    return Audit(len(packages) - skipped, skipped, tuple(found))


def read_pins(text: str) -> dict[str, str]:
    """Return the versions of a requirements file, by name."""
    return dict(_PIN.findall(text))


def list_newer(text: str) -> list[str]:
    """Return each package of which the bounds admit a newer version than the tested one."""
    pins = read_pins(text)
    with tempfile.NamedTemporaryFile("w", suffix=".in") as wanted:
        wanted.write("editables\nhatch-vcs\nhatchling\nsetuptools-scm\n")
        wanted.flush()
        found = run_uv(
            *("pip", "compile", "--quiet", "--universal", "--python-version", "3.11"),
            *("--no-header", "--no-annotate", "--no-emit-index-url"),
            *(ROOT / "pyproject.toml", wanted.name),
        )
    newest = read_pins(found)
    return [f"{name} {pins[name]} -> {newest[name]}" for name in pins if name in newest
            and newest[name] != pins[name]]  # fmt: skip


def audit(tools: Path, *, must: bool) -> int:
    """Ask for advisories about `requirements.txt`, and print what is known; return an exit code.

    Args:
        tools: Folder with `pip-audit`.
        must: Whether silence is a failure, too.
    """
    done = subprocess.run(
        [
            *(tools / "pip-audit", "--requirement", _REQUIREMENTS, "--no-deps", "--disable-pip"),
            *("--progress-spinner", "off", "--timeout", "15", "--format", "json"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    result = read_audit(done.stdout)
    pins = read_pins(_REQUIREMENTS.read_text("utf-8"))
    for advisory in result.found:
        print(f"pip-audit: {advisory}")
    for name, reason in EXPLAINED.items():
        print(f"pip-audit: {name} does not concern us: {reason}")
    if result.judged >= len(pins):
        print(f"pip-audit: {result.judged} packages judged, {len(result.found)} advisories")
        return 1 if result.found else 0
    newer = list_newer(_REQUIREMENTS.read_text("utf-8"))
    why = (done.stderr.strip().splitlines() or ["no answer"])[-1] if not result.skipped else ""
    print(
        f"pip-audit: NOT AUDITED: of {len(pins)} packages {result.judged} could be judged. The "
        f"service for advisories does not answer here. {why}\n"
        f"What was looked at instead: each is installed by its hash; {len(pins) - len(newer)} are "
        f"the newest that their bounds admit{', not: ' if newer else '.'}{', '.join(newer)}"
    )
    return 1 if result.found or must else 0
