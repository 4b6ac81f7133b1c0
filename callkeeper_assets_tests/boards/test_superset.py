"""Superset itself: installed from the package index, the board imported by its own commands.

Minutes of work, so for `make boards` alone. Looks at the boards in Chromium where there is one.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest

from callkeeper_assets.postgres import EmbeddedPostgres
from callkeeper_assets_tests.boards.bundles import (
    LANGUAGES,
    ROOT,
    SUPERSET,
    Bundle,
    build_query,
    build_sql,
)
from callkeeper_assets_tests.boards.conftest import Loaded
from callkeeper_assets_tests.boards.superset import PATIENCE_SEC, Superset

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(3000)]

_TITLE: Final = "Calls and outcomes, day by day"


@pytest.fixture(scope="module")
def superset(loaded: Loaded, tmp_path_factory: pytest.TempPathFactory) -> Superset:
    """Superset with both bundles, imported as docs/boards.md says."""
    installed = Superset(tmp_path_factory.mktemp("superset"))
    installed.install()
    for language in LANGUAGES:
        folder = installed.folder / language
        script = [sys.executable, str(SUPERSET / "bundle.py"), language, str(folder)]
        subprocess.run(script, check=True, timeout=PATIENCE_SEC)
        installed.run("import-dashboards", "-p", f"{folder}.zip", "-u", "admin")
    _point(installed, loaded.bi)
    return installed


def _point(superset: Superset, url: str) -> None:
    url = url.replace("postgresql://", "postgresql+psycopg2://")
    superset.run("set-database-uri", "-d", "CallKeeper", "-u", url)


def test_superset_answers_each_chart_and_shows_the_board(
    superset: Superset, loaded: Loaded
) -> None:
    with superset.serve():
        charts = superset.list_charts()
        for language in LANGUAGES:
            bundle = Bundle(language)
            for key, chart in bundle.charts.items():
                rows = _ask(superset, charts[chart["slice_name"]], chart["params"])
                statement = build_sql(chart, bundle.dataset_of(chart)).encode()
                with psycopg.connect(loaded.bi) as connection:
                    assert len(rows) == connection.execute(statement).rowcount, key
            if shutil.which("chromium"):
                _look(superset, bundle)
        # The period of the board: of ten days, those that lie within it.
        params = Bundle("en").charts["calls_by_day"]["params"]
        (period,) = params["adhoc_filters"]
        narrow = {**params, "adhoc_filters": [{**period, "comparator": "Last week"}]}
        days = {row["local_time"] for row in _ask(superset, charts[_title("calls_by_day")], narrow)}
        assert 6 <= len(days) <= 8


def _title(key: str) -> str:
    title: str = Bundle("en").charts[key]["slice_name"]
    return title


def _ask(
    superset: Superset, dataset: Mapping[str, Any], params: Mapping[str, Any]
) -> list[dict[str, Any]]:
    query = {
        "datasource": dataset,
        "queries": [build_query(params)],
        "result_format": "json",
        "result_type": "full",
    }
    (result,) = superset.ask("chart/data", query)["result"]
    assert result["error"] is None
    rows: list[dict[str, Any]] = result["data"]
    return rows


def _look(superset: Superset, bundle: Bundle) -> None:
    """See that the board's page has every chart, and no message in a chart's place."""
    seen = superset.look(bundle.dashboard["slug"], "--dump-dom")
    for chart in bundle.charts.values():
        assert chart["slice_name"] in seen
    assert seen.count("<canvas") >= 6
    for message in (
        *("Data error", "DB engine Error", "Unexpected error", "Expected &#39;", "Expected '"),
        *("No results were returned", "not-found"),
    ):
        assert message not in seen, message


def test_the_boards_of_a_demo_are_whole(superset: Superset, tmp_path: Path) -> None:
    """Their pictures are in build/boards; with RENEW=1 those of the documentation are renewed."""
    if not shutil.which("chromium"):
        pytest.skip("there is no Chromium")
    pictures = ROOT / "docs" / "images" if "RENEW" in os.environ else ROOT / "build" / "boards"
    pictures.mkdir(parents=True, exist_ok=True)
    with _run_demo(tmp_path) as url:
        _point(superset, url)
        with superset.serve():
            charts = superset.list_charts()
            for language in LANGUAGES:
                bundle = Bundle(language)
                for chart in bundle.charts.values():
                    assert _ask(superset, charts[chart["slice_name"]], chart["params"])
                _look(superset, bundle)
                name = "superset.png" if language == "en" else "superset-ru.png"
                superset.look(bundle.dashboard["slug"], f"--screenshot={pictures / name}")


@contextmanager
def _run_demo(folder: Path) -> Iterator[str]:
    """Run the demo in a home of its own; yield the address that it prints for BI."""
    environment = {**os.environ, "CALLKEEPER_HOME": str(folder), "CALLKEEPER_LANG": "en"}
    told = subprocess.run(
        [sys.executable, "-m", "callkeeper_assets.cli.main", "demo"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SEC,
        check=True,
    ).stdout
    address = re.search(r"For BI: +(\S+)", told)
    assert address is not None
    with EmbeddedPostgres(folder / "demo"):
        yield address[1]


def test_a_newer_bundle_replaces_charts_and_adds_none(superset: Superset, loaded: Loaded) -> None:
    """As docs/boards.md says: `import-dashboards` would leave charts that are there as they are."""
    folder = superset.folder / "en"
    chart = folder / "charts" / "calls_by_day.yaml"
    chart.write_text(chart.read_text("utf-8").replace(_title("calls_by_day"), _TITLE), "utf-8")
    superset.run("import-directory", "--overwrite", folder)
    _point(superset, loaded.bi)
    with superset.serve():
        charts = superset.list_charts()
        assert len(charts) == 2 * len(Bundle("en").charts)
        assert _TITLE in charts
        for key in ("freshness", "campaigns"):
            assert _ask(superset, charts[_title(key)], Bundle("en").charts[key]["params"])
