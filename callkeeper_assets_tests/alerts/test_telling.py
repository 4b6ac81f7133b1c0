"""What reaches a receiver: each cause once, all of a moment in one message, and an all-clear."""

from datetime import date
from pathlib import Path

import pytest

from callkeeper_assets.alerts.settings import read_settings
from callkeeper_assets.alerts.watching import Watcher
from callkeeper_assets.home import home
from callkeeper_assets.postgres import connect
from callkeeper_assets.warehouse.loader import log_failure
from callkeeper_assets_tests.alerts.conftest import ACCOUNT, KEY, Clock, know_key, write_source
from callkeeper_assets_tests.alerts.receivers import HttpReceiver, run_mail_server, run_receiver
from callkeeper_assets_tests.warehouse.raw_days import call, day_of, load_all

_DAY = date(2026, 3, 2)
_FAILED = ("load_failed", "main_office")


@pytest.fixture(autouse=True)
def told(
    receiver: HttpReceiver, defs: Path, database: str, monkeypatch: pytest.MonkeyPatch
) -> HttpReceiver:
    """The receiver, which is told by JSON and asked while all is well."""
    assert defs.is_dir()
    know_key(database)
    monkeypatch.setenv("CALLKEEPER_ALERT_WEBHOOK_URL", receiver.url)
    monkeypatch.setenv("CALLKEEPER_ALERT_PING_URL", receiver.ping_url)
    return receiver


def _fail(database: str, error: str = "HTTP 500.") -> None:
    log_failure(database, ACCOUNT, [_DAY], "run 1", error)


def _succeed(database: str) -> None:
    load_all(database, [day_of(_DAY, [call(1)], ACCOUNT.time_zone)], ACCOUNT)


def test_a_cause_is_told_once_then_daily_and_its_end_once(
    database: str, told: HttpReceiver, clock: Clock
) -> None:
    watcher = Watcher(read_settings(), clock)
    assert watcher.look().is_well
    _fail(database)
    for _ in range(5):
        watcher.look()
        clock.go_on(minutes=1)
    assert told.list_told() == [("began", *_FAILED)]
    clock.go_on(days=1)
    watcher.look()
    assert told.list_told() == [("began", *_FAILED), ("lasts", *_FAILED)]
    with connect(database) as connection:
        connection.execute("DELETE FROM callkeeper_loads")
    for _ in range(4):
        watcher.look()
        clock.go_on(minutes=5)
    assert told.list_told()[2:] == [("ended", *_FAILED)]
    assert len({post.key for post in told.posts}) == 3
    with connect(database) as connection:
        rows = connection.execute(
            "SELECT kind, subject, ended_at IS NOT NULL FROM callkeeper_alerts"
        ).fetchall()
    assert rows == [(*_FAILED, True)]


def test_a_clock_that_was_ahead_delays_neither_an_all_clear_nor_a_message(
    database: str, told: HttpReceiver, clock: Clock
) -> None:
    """By an hour, as long as it was ahead."""
    watcher = Watcher(read_settings(), clock)
    clock.go_on(hours=1)
    _fail(database)
    told.status = 503
    watcher.look()
    with connect(database) as connection:
        connection.execute(
            "UPDATE callkeeper_alert_messages SET due_at = due_at + interval '1 hour'"
        )
        connection.execute("UPDATE callkeeper_keys SET checked_at = now() + interval '1 hour'")
        connection.execute("DELETE FROM callkeeper_loads")
    clock.go_on(hours=-1)
    told.status = 200
    watcher.look()
    assert told.list_told() == [("began", *_FAILED)]
    with connect(database) as connection:
        ahead = connection.execute(
            "SELECT count(*) FROM callkeeper_keys WHERE checked_at > now()"
        ).fetchone()
    assert ahead == (0,)
    clock.go_on(minutes=11)
    watcher.look()
    assert told.list_told()[1:] == [("ended", *_FAILED)]


def test_all_of_a_moment_is_one_message_to_each_and_a_restart_tells_nothing_again(
    database: str,
    defs: Path,
    told: HttpReceiver,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("branch", "shop", "depot"):
        write_source(defs, name)
    _fail(database)
    with run_mail_server() as (url, mails):
        monkeypatch.setenv("CALLKEEPER_ALERT_URLS", f"{url} {told.apprise_url}")
        Watcher(read_settings(), clock).look()
        clock.go_on(minutes=4)
        for _ in range(3):
            Watcher(read_settings(), clock).look()
    by_apprise = [post for post in told.posts if "alerts" not in post.document]
    by_hook = [post for post in told.posts if "alerts" in post.document]
    assert [len(post.document["alerts"]) for post in by_hook] == [1, 3]
    assert {one["subject"] for one in by_hook[1].document["alerts"]} == {"branch", "shop", "depot"}
    assert len(by_apprise) == 2
    assert [(mail.to, mail.subject.split(",")[0]) for mail in mails] == [
        (["duty@example.com"], "CallKeeper")
    ] * 2
    assert "main_office: the last load failed, at 2026-03-02. HTTP 500." in mails[0].text
    assert "SHOP_API_KEY is not set" in mails[1].text


def test_no_key_no_number_and_no_address_of_a_channel_is_in_what_is_told(
    database: str, told: HttpReceiver, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CALLKEEPER_ALERT_LANGUAGE", "ru")
    secret = "s3cret-token-of-the-hook"
    _fail(database, f"HTTP 403 for api_key={KEY}, client +7 (912) 345-67-89, see {secret}.")
    Watcher(read_settings(), clock).look()
    (post,) = told.posts
    shown = str(post.document)
    assert "main_office: последняя загрузка не удалась, день 2026-03-02" in shown
    with connect(database) as connection:
        for table in ("callkeeper_alerts", "callkeeper_alert_messages"):
            shown += str(connection.execute(f"SELECT * FROM {table}".encode()).fetchall())
    for hidden in (KEY, "345-67-89", "9123456789", secret):
        assert hidden not in shown
    assert "HTTP 403" in shown


def test_it_is_pinged_while_whatever_was_to_be_told_has_been(
    database: str, told: HttpReceiver, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    with run_receiver() as pinged:
        monkeypatch.setenv("CALLKEEPER_ALERT_PING_URL", pinged.ping_url)
        watcher = Watcher(read_settings(), clock)
        watcher.look()
        _fail(database)
        watcher.look()
        assert (len(told.posts), pinged.pings) == (1, 2)
        told.status = 503
        with connect(database) as connection:
            connection.execute("DELETE FROM callkeeper_loads")
        clock.go_on(minutes=10)
        watcher.look()
        clock.go_on(minutes=6)
        assert not watcher.look().is_well, "the end of the failure is told to nobody"
        assert pinged.pings == 3
    monkeypatch.delenv("CALLKEEPER_ALERT_WEBHOOK_URL")
    monkeypatch.setenv("CALLKEEPER_ALERT_PING_URL", told.ping_url)
    told.status = 200
    with connect(database) as connection:
        connection.execute("DELETE FROM callkeeper_alert_messages")
    _fail(database)
    alone = Watcher(read_settings(), clock)
    alone.look()
    clock.go_on(minutes=6)
    assert not alone.look().is_well, "without a channel, nobody is told but by the silence"


def test_a_database_that_is_away_is_told_once_and_so_is_its_return(
    database: str, told: HttpReceiver, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    Watcher(read_settings(), clock).look()
    monkeypatch.setenv("CALLKEEPER_DATABASE_URL", "postgresql://me:hidden@127.0.0.1:1/calls")
    for minute in range(8):
        # Each by another process: what was told is known to the next.
        watcher = Watcher(read_settings(), clock)
        assert watcher.look().is_well, minute
        clock.go_on(minutes=1)
    assert told.list_told() == [("began", "database_away", "database")]
    assert "hidden" not in str(told.posts)
    assert "127.0.0.1:1/calls" in told.posts[0].document["text"]
    monkeypatch.setenv("CALLKEEPER_DATABASE_URL", database)
    for _ in range(4):
        Watcher(read_settings(), clock).look()
        clock.go_on(minutes=5)
    assert told.list_told()[1:] == [("ended", "database_away", "database")]
    assert not list((home() / "alerts").iterdir())


def test_a_database_that_comes_and_goes_is_told_once_and_its_end_once(
    database: str, told: HttpReceiver, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By two processes of one home, which look by turns."""
    watchers = [Watcher(read_settings(), clock) for _ in range(2)]
    away = "postgresql://me:hidden@127.0.0.1:1/calls"
    for url, minutes in ((away, 6), (database, 5), (away, 6), (database, 35)):
        monkeypatch.setenv("CALLKEEPER_DATABASE_URL", url)
        for minute in range(minutes):
            watchers[minute % 2].look()
            clock.go_on(minutes=1)
    assert told.list_told() == [
        ("began", "database_away", "database"),
        ("ended", "database_away", "database"),
    ]
    assert not list((home() / "alerts").iterdir())


def test_a_database_that_is_away_for_a_moment_is_told_to_nobody(
    database: str, told: HttpReceiver, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    watcher = Watcher(read_settings(), clock)
    monkeypatch.setenv("CALLKEEPER_DATABASE_URL", "postgresql://me:hidden@127.0.0.1:1/calls")
    watcher.look()
    monkeypatch.setenv("CALLKEEPER_DATABASE_URL", database)
    clock.go_on(minutes=5)
    watcher.look()
    assert told.posts == []


def test_an_outage_that_nobody_takes_is_told_when_somebody_does_and_daily(
    told: HttpReceiver, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CALLKEEPER_DATABASE_URL", "postgresql://me:hidden@127.0.0.1:1/calls")
    told.status = 503
    watcher = Watcher(read_settings(), clock)
    watcher.look()
    clock.go_on(minutes=5)
    assert not watcher.look().is_well
    told.status = 200
    assert watcher.look().is_well
    clock.go_on(days=1)
    watcher.look()
    assert told.list_told() == [
        ("began", "database_away", "database"),
        ("lasts", "database_away", "database"),
    ]
    assert len({post.key for post in told.posts}) == 2


def test_a_source_that_comes_or_changes_is_seen_without_a_restart(
    defs: Path, told: HttpReceiver, clock: Clock
) -> None:
    watcher = Watcher(read_settings(), clock)
    watcher.look()
    file = write_source(defs, "shop", "tabels: []")
    watcher.look()
    clock.go_on(minutes=4)
    watcher.look()
    assert told.list_told() == [("began", "source_refused", "shop")]
    file.unlink()
    file.parent.rmdir()
    clock.go_on(minutes=11)
    watcher.look()
    assert told.list_told()[1:] == [("ended", "source_refused", "shop")]


def test_a_cause_that_was_not_told_while_the_clock_was_ahead_is_told(
    defs: Path, told: HttpReceiver, clock: Clock
) -> None:
    """It was taken for told, and its end would have been told alone."""
    watcher = Watcher(read_settings(), clock)
    clock.go_on(hours=1)
    write_source(defs, "shop", "tabels: []")
    watcher.look()
    clock.go_on(hours=-1)
    for _ in range(3):
        watcher.look()
        clock.go_on(minutes=2)
    assert told.list_told() == [("began", "source_refused", "shop")]


def test_an_outage_that_began_while_the_clock_was_ahead_is_told_in_time(
    told: HttpReceiver, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CALLKEEPER_DATABASE_URL", "postgresql://me:hidden@127.0.0.1:1/calls")
    clock.go_on(hours=1)
    Watcher(read_settings(), clock).look()
    clock.go_on(hours=-1)
    for _ in range(3):
        Watcher(read_settings(), clock).look()
        clock.go_on(minutes=2)
    assert told.list_told() == [("began", "database_away", "database")]


def test_an_outage_after_one_that_ended_while_the_clock_was_ahead_is_told(
    database: str, told: HttpReceiver, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = "postgresql://me:hidden@127.0.0.1:1/calls"
    for url, hours_on in ((away, 1), (database, -1), (database, 0), (away, 0)):
        monkeypatch.setenv("CALLKEEPER_DATABASE_URL", url)
        clock.go_on(hours=max(hours_on, 0))
        for _ in range(6):
            Watcher(read_settings(), clock).look()
            clock.go_on(minutes=5)
        clock.go_on(hours=min(hours_on, 0))
    assert [state for state, *_ in told.list_told()] == ["began", "ended", "began"]


def test_telegram_is_sent_what_it_takes_however_much_there_is_to_tell(
    defs: Path, told: HttpReceiver, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Apprise as it is, but for the address of Telegram's API."""
    address = f"http://127.0.0.1:{told.port}/bot"
    monkeypatch.setattr("apprise.plugins.telegram.NotifyTelegram.notify_url", address)
    monkeypatch.delenv("CALLKEEPER_ALERT_WEBHOOK_URL")
    monkeypatch.setenv("CALLKEEPER_ALERT_URLS", "tgram://123456789:AAFexampleexample_example/9876")
    for number in range(40):
        write_source(defs, f"shop_{number}", f"{'tabels' * 20}: []")
    watcher = Watcher(read_settings(), clock)
    watcher.look()
    clock.go_on(minutes=4)
    assert watcher.look().is_well
    (post,) = told.posts
    text = post.document["text"]
    assert "40 to look at" in text
    assert 2_000 < len(text) < 4_096
    assert " more: callkeeper status" in text


def test_a_question_that_the_database_refuses_is_told_as_well(
    database: str, told: HttpReceiver, clock: Clock
) -> None:
    """As of a newer Dagster, whose tables are otherwise: else nobody would hear of anything."""
    with connect(database) as connection:
        connection.execute("ALTER TABLE dagster.runs RENAME COLUMN pipeline_name TO job_name")
    watcher = Watcher(read_settings(), clock)
    watcher.look()
    clock.go_on(minutes=4)
    watcher.look()
    assert told.list_told() == [("began", "database_away", "database")]
    assert "pipeline_name does not exist" in told.posts[0].document["text"]
