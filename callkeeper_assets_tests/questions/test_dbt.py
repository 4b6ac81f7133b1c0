"""The package in `dbt`, built by dbt itself; its marts say what the view says."""

import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest
import yaml

from callkeeper_assets_tests.side_environments import build_profile, find_dbt
from callkeeper_assets_tests.warehouse.raw_days import rows

_PACKAGE: Final = Path(__file__).parents[2] / "dbt"
_WEEKS: Final = """
    SELECT week_start, campaign, count(*), count(*) FILTER (WHERE outcome = 'answered')
    FROM calls WHERE outcome NOT IN ('test', 'duplicate') GROUP BY 1, 2 ORDER BY 1, 2
"""
_MARTS: Final = """
    SELECT week_start, campaign, sum(calls), sum(answered)
    FROM marts.campaigns_by_week GROUP BY 1, 2 ORDER BY 1, 2
"""


@pytest.mark.e2e
@pytest.mark.timeout(900)
def test_the_package_is_built_and_its_marts_agree_with_the_view(
    office: str, tmp_path: Path
) -> None:
    dbt = find_dbt() / "dbt"
    project = tmp_path / "dbt"
    shutil.copytree(_PACKAGE, project)
    profile = build_profile("callkeeper", office, "marts")
    (project / "profiles.yml").write_text(yaml.safe_dump(profile), "utf-8")
    command = (dbt, "build", "--project-dir", project, "--profiles-dir", project)
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    # Tests of columns, too.
    assert "WARN=0 ERROR=0 SKIP=0" in done.stdout
    assert rows(office, _MARTS) == rows(office, _WEEKS)
    heat = "SELECT count(*), count(DISTINCT date), min(calls), sum(calls) FROM marts.calls_by_hour"
    ((hours, days, least, calls),) = rows(office, heat)
    assert hours == days * 24
    assert least == 0
    asked = "SELECT count(*) FROM calls WHERE outcome NOT IN ('test', 'duplicate')"
    assert rows(office, asked) == [(calls,)]
