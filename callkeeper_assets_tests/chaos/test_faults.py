"""Every fault of the simulator during a load: it ends right, or says what happened and what to do.

Each fault has a source of its own, and one command loads them all side by side: a source in trouble
must not disturb the others.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Final
from zoneinfo import ZoneInfo

import pytest

from callkeeper_assets.simulator.account import SimulatedAccount
from callkeeper_assets.simulator.server import RunningSimulator
from callkeeper_assets.simulator.settings import AccountSettings, Fault
from callkeeper_assets_tests.chaos.facts import describe_difference, read_days, tell_days
from callkeeper_assets_tests.chaos.installation import Ended, Installation
from callkeeper_assets_tests.extent import IS_LONG

FIRST, LAST = date(2026, 1, 10), date(2026, 1, 12)
_ZONE: Final = ZoneInfo("Europe/Moscow")
_LATER: Final = "Try again later"
_METHOD: Final = ("getCallsInfo",)


@dataclass(frozen=True)
class Case:
    """What a source does, and what the command has to say of it; nothing if the load ends right."""

    faults: tuple[Fault, ...] = ()
    answers: Mapping[str, Any] = field(default_factory=dict)
    said: tuple[str, ...] = ()
    calls: int = 15


def _limit(over_limit: str, **limit: float) -> Case:
    return Case(answers={"over_limit": over_limit, "hang_sec": 0.2, **limit})


def _refuse(refusal: str, *said: str, **answers: str) -> Case:
    return Case(answers={"refusal": refusal, **answers}, said=said)


# Faults that pass, one after another: the load must end right.
_PASSING: Final[dict[str, Case]] = {
    "errors": Case(
        (
            Fault("latency", seconds=0.1),
            Fault("server_error", status=500, times=2),
            Fault("html", status=200, times=1),
        )
    ),
    "too_often": Case(
        (
            Fault("too_many_requests", times=2),
            Fault("too_many_requests", times=2, retry_after="1"),
        )
    ),
    "cuts": Case(
        (
            Fault("cut_body", times=3),
            Fault("cut_body", times=1, kept_share=0.0),
            Fault("cut_connection", times=3),
            Fault("hang", times=2, seconds=0.3),
        )
    ),
}
# What smaller windows avoid, and the shapes of nothing: the same.
_AVOIDED: Final[dict[str, Case]] = {
    "max_calls_error": _limit("server_error", max_calls=8),
    "max_calls_hang": _limit("hang", max_calls=8),
    "max_calls_cut": _limit("cut_body", max_calls=8),
    "max_days_closed": _limit("cut_connection", max_days=0.3),
    "list_shape": Case(answers={"success_shape": "list", "empty_period": "bare_list"}, calls=0),
    "no_rows_ok": Case(answers={"empty_period": "failure", "failure_shape": "object"}, calls=0),
    "no_rows_404": Case(answers={"empty_period": "failure", "empty_failure_status": 404}, calls=0),
    "bare_list": Case(answers={"success_shape": "list", "nesting": "beside"}),
}
# What asking again cannot mend, or not in time: the load must say so, and keep out of the tables.
_LASTING: Final[dict[str, Case]] = {
    "wrong_key_bare": _refuse(
        "wrong_key", "Not the correct key api", "WRONG_KEY_BARE_API_KEY", failure_shape="object"
    ),
    "unauthorized_ok": _refuse(
        "unauthorized_host",
        "HTTP 200",
        "Unauthorized host!",
        "allowed hosts",
        failure_status="ok",
        failure_shape="object",
    ),
    "unknown_user": _refuse("unknown_user", "HTTP 412", "Unknown user", "UNKNOWN_USER_API_KEY"),
    "long_wait": Case(
        (Fault("too_many_requests", retry_after="9999"),),
        said=("HTTP 429", "after 9999 s", "Try again after that time"),
    ),
    "maintenance": Case(
        (Fault("html", methods=_METHOD),),
        said=(
            "no JSON but '<!DOCTYPE html>",
            "(request 4)",
            "If that is maintenance, try again later",
        ),
    ),
}
# One of each kind; what the client makes of each is tested at the client, in `callkeeper`.
_OF_SHORT_FORM: Final = frozenset(
    ("cuts", "max_calls_cut", "no_rows_404", "unknown_user", "maintenance")
)
# The same in other shapes, and with all the patience that the client has.
_PATIENT: Final[dict[str, Case]] = {
    "wrong_key": _refuse("wrong_key", "HTTP 403", "Not the correct key api", "WRONG_KEY_API_KEY"),
    "wrong_key_ok": _refuse(
        "wrong_key", "HTTP 200", "Not the correct key api", "Check the key", failure_status="ok"
    ),
    "unauthorized_host": _refuse(
        "unauthorized_host", "HTTP 401", "Unauthorized host!", "allowed hosts in CallKeeper's"
    ),
    "always_502": Case((Fault("server_error", status=502),), said=("HTTP 502", _LATER)),
    "always_429": Case((Fault("too_many_requests"),), said=("HTTP 429", "(request 6)", _LATER)),
    "always_cut": Case((Fault("cut_body"),), said=("cut or broken", _LATER)),
    "always_closed": Case((Fault("cut_connection"),), said=("cut short", _LATER)),
    "drops_all": Case((Fault("hang", seconds=0.05),), said=("connection was closed", _LATER)),
    "tiny_limit": Case(
        answers={"max_days": 0.0001, "over_limit": "server_error"}, said=("HTTP 504", _LATER)
    ),
}


@pytest.fixture
def sources(installation: Installation) -> Iterator[list[str]]:
    """Names of sources that the test has made; their files go with it."""
    names: list[str] = []
    yield names
    for name in names:
        (installation.defs / name / "defs.yaml").unlink()


def _open(
    installation: Installation, simulator: RunningSimulator, name: str, case: Case
) -> SimulatedAccount:
    number = len(simulator.simulator.accounts)
    settings = AccountSettings(
        key=f"{number:032x}", name=name, calls_per_day=case.calls, rhythm="flat", seed=number
    )
    account = simulator.simulator.add_account(settings)
    account.set_faults(*case.faults)
    account.set_answers(**case.answers)
    installation.add_source(simulator.base_url, name=name, key=settings.key)
    return account


def _differs(installation: Installation, account: SimulatedAccount) -> str:
    truth = account.truth(FIRST, LAST, _ZONE.key)
    found = read_days(installation, FIRST, LAST, _ZONE, account.settings.name)
    return describe_difference(found, tell_days(truth, FIRST, LAST, _ZONE))


def _errors(ended: Ended) -> dict[str, list[str]]:
    return {one["source"]: one["errors"] for one in ended.document["sources"]}


def _hurt_and_mend(
    installation: Installation, accounts: Mapping[str, SimulatedAccount], cases: Mapping[str, Case]
) -> None:
    names = list(cases)
    ended = installation.load(FIRST, LAST, *names)
    assert ended.code == (1 if any(case.said for case in cases.values()) else 0), ended
    errors = _errors(ended)
    for name, case in cases.items():
        if not case.said:
            assert errors[name] == []
            assert _differs(installation, accounts[name]) == "", name
            continue
        [error] = errors[name]
        parts = (f"source '{name}'", "getCallsInfo for 2026-01-1", " UTC)", "127.0.0.1", *case.said)
        assert [part for part in parts if part not in error] == [], error
        assert accounts[name].settings.key not in error
        # As it was in the terminal, too.
        assert error in ended.stderr
        assert read_days(installation, FIRST, LAST, _ZONE, name)[FIRST] == {}
    failed = [name for name, case in cases.items() if case.said]
    for name in failed:
        accounts[name].set_faults()
        accounts[name].set_answers(refusal="none", max_days=None, failure_status="documented")
    if failed:
        ended = installation.load(FIRST, LAST, *failed)
        assert ended.code == 0, ended
        assert [_differs(installation, accounts[name]) for name in failed] == [""] * len(failed)


def test_every_fault_side_by_side_ends_right_or_is_reported_and_mended(
    installation: Installation, simulator: RunningSimulator, sources: list[str]
) -> None:
    cases = {**_PASSING, **_AVOIDED, **_LASTING}
    if not IS_LONG:
        cases = {name: case for name, case in cases.items() if name in _OF_SHORT_FORM}
        assert cases.keys() == _OF_SHORT_FORM
    accounts = {name: _open(installation, simulator, name, case) for name, case in cases.items()}
    sources += cases
    _hurt_and_mend(installation, accounts, cases)


@pytest.mark.chaos
@pytest.mark.timeout(900)
def test_faults_that_last_are_reported_after_all_patience(
    installation: Installation, simulator: RunningSimulator, sources: list[str]
) -> None:
    accounts = {name: _open(installation, simulator, name, case) for name, case in _PATIENT.items()}
    sources += _PATIENT
    _hurt_and_mend(installation, accounts, _PATIENT)


@pytest.mark.chaos
@pytest.mark.timeout(900)
def test_a_source_that_hangs_until_the_time_out_is_asked_for_less_and_loaded(
    installation: Installation, simulator: RunningSimulator, sources: list[str]
) -> None:
    case = Case(answers={"over_limit": "hang", "max_calls": 8, "hang_sec": 90})
    account = _open(installation, simulator, "slow", case)
    sources.append("slow")
    _hurt_and_mend(installation, {"slow": account}, {"slow": case})


@pytest.mark.chaos
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", range(8))
def test_any_mixture_of_faults_ends_in_the_truth_after_enough_loads(
    installation: Installation, simulator: RunningSimulator, sources: list[str], seed: int
) -> None:
    name = f"mixture_{seed}"
    kinds = ("server_error", "too_many_requests", "cut_body", "cut_connection", "html")
    faults = [Fault(kind, probability=0.02 * (1 + seed)) for kind in kinds]  # type: ignore[arg-type]
    faults.append(Fault("latency", probability=0.3, seconds=0.05))
    case = Case(tuple(faults), {"max_calls": 20 + seed, "over_limit": "cut_body"}, calls=40)
    account = _open(installation, simulator, name, case)
    sources.append(name)
    for _ in range(6):
        ended = installation.load(FIRST, LAST, name)
        if ended.code == 0:
            break
        assert f"source '{name}': getCallsInfo for 2026-01-1" in ended.stderr
        days = read_days(installation, FIRST, LAST, _ZONE, name)
        assert all(len(calls) in (0, 40) for calls in days.values())
    else:
        account.set_faults()
        assert installation.load(FIRST, LAST, name).code == 0
    assert _differs(installation, account) == ""
