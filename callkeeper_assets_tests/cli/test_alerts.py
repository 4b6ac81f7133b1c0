"""`callkeeper alert` and `callkeeper alerts`, as they are typed."""

from pathlib import Path

import pytest

from callkeeper_assets_tests.alerts.receivers import find_port, run_mail_server, run_receiver
from callkeeper_assets_tests.cli.conftest import callkeeper, write_source


@pytest.mark.usefixtures("main_office", "database")
def test_a_test_message_reaches_each_address_or_it_is_said_why_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    none = callkeeper("alert", "--test")
    assert none.code == 2
    assert "CALLKEEPER_ALERT_URLS" in none.err
    nobody = f"json://user:s3cret-word@127.0.0.1:{find_port()}/"
    with run_receiver() as receiver, run_mail_server() as (mail, mails):
        monkeypatch.setenv("CALLKEEPER_ALERT_WEBHOOK_URL", receiver.url)
        monkeypatch.setenv("CALLKEEPER_ALERT_URLS", mail)
        done = callkeeper("alert", "--test")
        assert (done.code, done.err) == (0, "")
        assert [line.partition("-")[0] for line in done.out.splitlines()] == ["mailto", "webhook"]
        assert [one.subject.partition(":")[2] for one in mails] == [" a test"]
        assert [post.document["alerts"] for post in receiver.posts] == [[]]
        monkeypatch.setenv("CALLKEEPER_ALERT_URLS", f"{mail} {nobody} nonsense://there")
        done = callkeeper("alert", "--test")
    assert done.code == 1
    assert len([line for line in done.out.splitlines() if line.endswith(": delivered")]) == 2
    assert "json-" in done.err
    assert "Apprise does not know this kind of address" in done.err
    assert "s3cret" not in done.err + done.out


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("CALLKEEPER_ALERT_LANGUAGE", "de", "must be en or ru"),
        ("CALLKEEPER_ALERT_URLS", "123456:s3cret", "no kind before ://"),
        ("CALLKEEPER_ALERT_WEBHOOK_URL", "hooks.example.com/s3cret", "begins with https://"),
        ("CALLKEEPER_ALERT_PING_URL", "http://a/s3cret http://b/", "takes one address"),
    ],
)
@pytest.mark.usefixtures("main_office")
def test_a_variable_that_cannot_be_meant_is_refused_without_its_value(
    variable: str, value: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    done = callkeeper("alert", "--test")
    assert done.code == 1
    assert variable in done.err
    assert said in done.err
    assert "s3cret" not in done.err


@pytest.mark.usefixtures("main_office", "database")
def test_what_was_told_and_is_not_over_is_shown(
    defs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "No alert is open." in callkeeper("alert").out
    assert callkeeper("alerts").code == 2
    monkeypatch.setenv("CALLKEEPER_ALERT_WEBHOOK_URL", f"http://127.0.0.1:{find_port()}/s3cret-x")
    write_source(defs, "branch", "tabels: []")
    for _ in range(2):
        assert callkeeper("alerts", "--once").code == 0
    shown = callkeeper("alert")
    assert "source_refused" in shown.out
    assert "not yet" in shown.out
    assert "tabels" in shown.out
    document = callkeeper("alert", "--json").document()
    (told,) = document["alerts"]
    assert (told["kind"], told["subject"], told["told_at"]) == ("source_refused", "branch", None)
    assert document["undelivered"] == []
    assert "s3cret" not in str(document)
