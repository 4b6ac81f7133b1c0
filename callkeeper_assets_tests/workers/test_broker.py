"""What `callkeeper check` says of the broker."""

from pathlib import Path

import pytest

from callkeeper_assets.cli.checks import Finding, check_broker
from callkeeper_assets_tests.workers.machines import Broker, Machines


def _check(machines: Machines, monkeypatch: pytest.MonkeyPatch, **changed: str) -> Finding:
    for name, value in {**machines.first.environment, **changed}.items():
        monkeypatch.setenv(name, value)
    (found,) = check_broker()
    return found


def test_a_broker_is_reached_and_one_that_forgets_is_told_of(
    machines: Machines, broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = _check(machines, monkeypatch)
    assert (found.state, found.text) == ("good", f"{broker.url}, answers")
    forgetful = Broker(tmp_path / "forgetful", keeps="no")
    forgetful.start()
    try:
        found = _check(machines, monkeypatch, CALLKEEPER_BROKER_URL=forgetful.url)
    finally:
        forgetful.kill()
    assert found.state == "warning"
    assert "appendonly yes" in found.text


def test_one_that_is_away_or_not_named_is_told_of_without_its_password(
    machines: Machines, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker.kill()
    secret = broker.url.replace("//", "//:secret@")
    found = _check(machines, monkeypatch, CALLKEEPER_BROKER_URL=secret)
    assert found.state == "bad"
    assert "cannot be reached" in found.text
    assert "secret" not in found.text
    found = _check(machines, monkeypatch, CALLKEEPER_BROKER_URL="")
    assert (found.state, "No broker is named" in found.text) == ("bad", True)


def test_the_broker_that_dagster_yaml_names_by_a_variable_is_the_one_that_is_tried(
    machines: Machines, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = next(machines.first.home.parent.glob("dagster/dagster.yaml"))
    text = file.read_text("utf-8")
    before, launcher, after = text.partition("CeleryLauncher\n  config: {}")
    assert launcher
    file.write_text(before + launcher[:-1] + "broker: {env: OUR_BROKER}}" + after, "utf-8")
    found = _check(machines, monkeypatch, OUR_BROKER=broker.url, CALLKEEPER_BROKER_URL="")
    assert (found.state, found.text) == ("good", f"{broker.url}, answers")


def test_where_runs_stay_nothing_is_said_of_one() -> None:
    assert check_broker() == []
