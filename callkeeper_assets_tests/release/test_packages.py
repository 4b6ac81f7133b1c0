"""Wheel and sdist: the same bytes of the same files, and a version that tells what they are of."""

import os
import re
import shutil
import sys
import tarfile
from pathlib import Path
from typing import Final

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from callkeeper_assets_tests.release.audit import Audit, read_audit, read_pins
from callkeeper_assets_tests.release.environments import (
    ROOT,
    build,
    list_declared,
    read_metadata,
    run,
)

_HEADING: Final = re.compile(r"^## (.+)$", re.MULTILINE)
_RELEASE: Final = re.compile(r"(\d+\.\d+\.\d+) – (\d{4}-\d\d-\d\d)")
_NOBODY: Final = ("-c", "user.name=nobody", "-c", "user.email=nobody@example.org")


def _copy_checkout(target: Path) -> Path:
    """Copy what a build reads; users' sources and caches, as may lie there, included."""
    shutil.copytree(ROOT / "callkeeper_assets", target / "callkeeper_assets")
    for name in ("pyproject.toml", "README.md", "LICENSE", ".gitignore"):
        shutil.copy(ROOT / name, target)
    return target


def _read_version(checkout: Path) -> str:
    """Ask the copy of the program in a checkout, as an editable installation of it runs."""
    words = [sys.executable, "-m", "callkeeper_assets.cli.main", "--version"]
    said = run(words, cwd=checkout, variables={"PYTHONPATH": str(checkout)})
    return said.removeprefix("callkeeper ").strip()


def _git(checkout: Path, *words: str) -> None:
    run(["git", *_NOBODY, *words], cwd=checkout)


def list_releases() -> list[tuple[str, str]]:
    """Return each release of the changelog, the newest first: version and day."""
    first, *others = _HEADING.findall((ROOT / "CHANGELOG.md").read_text("utf-8"))
    releases = [_RELEASE.fullmatch(heading) for heading in (first, *others)]
    assert first == "Unreleased" or releases[0], first
    assert all(releases[1:]), "a heading is no release: `## 1.2.3 – 2026-11-30`"
    return [(release[1], release[2]) for release in releases if release]


def test_two_builds_of_the_same_files_are_the_same_bytes(tmp_path: Path) -> None:
    """Whatever the folder, the files' times, their modes and the machine's zone."""
    one = _copy_checkout(tmp_path / "one")
    other = _copy_checkout(tmp_path / "a longer name")
    for file in other.rglob("*"):
        os.utime(file, (0, 1e9))
        file.chmod(file.stat().st_mode & 0o700)
    variables = {"SOURCE_DATE_EPOCH": "1700000000"}
    first = build("wheel", one, tmp_path / "first", TZ="UTC", **variables)
    second = build("wheel", other, tmp_path / "second", TZ="Asia/Tokyo", **variables)
    assert first.name == second.name
    assert first.read_bytes() == second.read_bytes()


def test_the_sdist_has_nothing_of_who_built_it(tmp_path: Path) -> None:
    """That it makes the same wheel as the checkout is asked by `make dist`."""
    checkout = _copy_checkout(tmp_path / "checkout")
    (checkout / ".env").write_text("MAIN_OFFICE_API_KEY=secret")
    (checkout / "notes.txt").write_text("mine")
    own = checkout / "callkeeper_assets" / "defs" / "main_office"
    own.mkdir()
    (own / "defs.yaml").write_text("type: callkeeper_assets.CallKeeperSource")
    sdist = build("sdist", checkout, tmp_path)
    with tarfile.open(sdist) as archive:
        names = [name.partition("/")[2] for name in archive.getnames()]
    assert {"PKG-INFO", "pyproject.toml", "callkeeper_assets/py.typed"} <= set(names)
    assert [name for name in names if name in {".env", "notes.txt"} or "main_office" in name] == []


def test_a_checkout_says_its_tag_or_the_commits_since(tmp_path: Path) -> None:
    """Also after its metadata was written: an editable installation is not made anew by a pull."""
    checkout = _copy_checkout(tmp_path / "checkout")
    newest, _ = list_releases()[0]
    after = f"{newest.rpartition('.')[0]}.{int(newest.rpartition('.')[2]) + 1}"
    _git(checkout, "init", "--quiet", "--initial-branch", "main")
    _git(checkout, "add", "--all")
    _git(checkout, "commit", "--quiet", "--message", "all")
    untagged = _read_version(checkout)
    assert re.fullmatch(re.escape(after) + r"\.dev1\+g[0-9a-f]+", untagged), untagged

    _git(checkout, "tag", "v9.8.7")
    _git(checkout, "tag", "backup-2026-11-28")
    assert _read_version(checkout) == "9.8.7"
    (checkout / "README.md").write_text("changed")
    assert re.fullmatch(r"9\.8\.8\.dev0\+g[0-9a-f]+\.d\d{8}", _read_version(checkout))
    _git(checkout, "commit", "--quiet", "--all", "--message", "changed")
    assert re.fullmatch(r"9\.8\.8\.dev1\+g[0-9a-f]+", _read_version(checkout))

    shutil.rmtree(checkout / ".git")
    bare = build("wheel", checkout, tmp_path / "bare")
    assert bare.name == f"callkeeper_assets-{after}.dev0-py3-none-any.whl"


def test_a_checkout_without_what_builds_it_does_not_pretend_to_know(tmp_path: Path) -> None:
    checkout = _copy_checkout(tmp_path / "checkout")
    _git(checkout, "init", "--quiet")
    # Nothing to import: as an installation with pip's own isolated build leaves it.
    (checkout / "hatchling.py").write_text("raise ImportError")
    assert "or newer: a checkout" in _read_version(checkout)


def test_releases_of_the_changelog_are_dated_and_in_order() -> None:
    releases = list_releases()
    assert releases == sorted(releases, key=lambda one: Version(one[0]), reverse=True)
    assert releases == sorted(releases, key=lambda one: one[1], reverse=True)
    newest = Version(releases[0][0])
    after = f"{newest.major}.{newest.minor}.{newest.micro + 1}.dev0"
    assert read_metadata()["tool"]["hatch"]["version"]["fallback-version"] == after


def test_every_tag_has_its_release_in_the_changelog() -> None:
    try:
        tags = run(["git", "tag", "--list", "v[0-9]*.[0-9]*"]).split()
    except (AssertionError, OSError):
        pytest.skip("no repository: an unpacked sdist")
    finals = {tag.removeprefix("v") for tag in tags if not Version(tag).is_prerelease}
    assert finals - {version for version, _ in list_releases()} == set()


def test_the_tested_versions_are_within_the_bounds() -> None:
    pins = read_pins((ROOT / "requirements.txt").read_text("utf-8"))
    project = read_metadata()["project"]
    wanted = [Requirement(one) for one in project["dependencies"]]
    assert len(wanted) > 20
    outside = [
        f"{one}, tested: {pins.get(one.name)}"
        for one in wanted
        if one.name not in pins or not one.specifier.contains(pins[one.name])
    ]
    assert outside == []


def test_all_lists_of_tested_versions_agree() -> None:
    """Both are installed into one environment."""
    product = read_pins((ROOT / "requirements.txt").read_text("utf-8"))
    for name in ("requirements-dev.txt", "requirements-release.txt"):
        other = read_pins((ROOT / name).read_text("utf-8"))
        shared = product.keys() & other.keys()
        assert {one for one in shared if product[one] != other[one]} == set(), name


def test_an_audit_without_answers_is_not_taken_for_a_clean_one() -> None:
    """pip-audit itself ends with 0 and says that nothing was found."""
    unanswered = '{"dependencies": [{"name": "six", "skip_reason": "not found"}], "fixes": []}'
    assert read_audit(unanswered) == Audit(judged=0, skipped=1, found=())
    assert read_audit("") == Audit(judged=0, skipped=0, found=())
    advisory = '{"id": "X-1", "fix_versions": ["1.17"], "aliases": [], "description": ""}'
    package = f'{{"name": "six", "version": "1.16", "vulns": [{advisory}]}}'
    told = read_audit(f'{{"dependencies": [{package}], "fixes": []}}')
    assert told == Audit(judged=1, skipped=0, found=("six 1.16: X-1, mended in 1.17",))


def test_the_workflow_tests_every_python_that_is_declared() -> None:
    text = (ROOT / ".github" / "workflows" / "release.yml").read_text("utf-8")
    (matrix,) = re.findall(r"^ +python: \[(.+)\]$", text, re.MULTILINE)
    assert matrix.replace('"', "").split(", ") == list_declared()
    assert list_declared()[0] == read_metadata()["project"]["requires-python"].removeprefix(">=")
