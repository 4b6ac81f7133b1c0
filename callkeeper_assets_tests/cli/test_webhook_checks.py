"""What `callkeeper check` says of webhooks: the URL to paste, and what makes it unsafe."""

from pathlib import Path

import pytest

from callkeeper_assets_tests.cli.conftest import callkeeper, write_source

_HOOK = "webhook: {token: {env: %s}}"
_LONG = "token/with+signs-0123456789"


def _check(*names: str) -> dict[str, tuple[str, str]]:
    """State and text of the webhook's finding, by source."""
    done = callkeeper("check", *names, "--json")
    return {
        finding["subject"]: (finding["state"], finding["text"])
        for finding in done.document()["findings"]
        if finding["what"] == "webhook"
    }


def test_a_sources_url_is_ready_to_paste(defs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_TOKEN", _LONG)
    write_source(defs, "a", _HOOK % "A_TOKEN")
    write_source(defs, "silent")
    state, text = _check()["a"]
    assert state == "good"
    assert text.splitlines() == [
        (
            "to be put into CallKeeper's cabinet, Profile → WebhookCall: "
            "http://127.0.0.1:8080/webhooks/a/token%2Fwith%2Bsigns-0123456789"
        ),
        (
            "It is for this machine: set CALLKEEPER_WEBHOOK_URL to the address under which "
            "CallKeeper reaches the receiver."
        ),
    ]
    # Alone on its line, not in a cell, which would break it.
    assert text.splitlines()[0].rpartition(" ")[2] in callkeeper("check").out.splitlines()
    monkeypatch.setenv("CALLKEEPER_WEBHOOK_URL", "https://hooks.example.com/ck/")
    assert _check() == {
        "a": (
            "good",
            (
                "to be put into CallKeeper's cabinet, Profile → WebhookCall: "
                "https://hooks.example.com/ck/webhooks/a/token%2Fwith%2Bsigns-0123456789"
            ),
        )
    }


def test_the_page_is_that_of_the_apis_own_cabinet(
    defs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("A_TOKEN", _LONG)
    write_source(defs, "a", f"api: ckct\n  {_HOOK % 'A_TOKEN'}")
    _, text = _check()["a"]
    assert text.startswith(
        'to be put into CallKeeper\'s cabinet, both lists of its webhooks, "Webhook CallKeeper" '
        '(callbacks) and "Webhook Calltracking": http://127.0.0.1:8080/webhooks/a/'
    )


def test_a_token_that_is_not_set_is_bad(defs: Path) -> None:
    write_source(defs, "a", _HOOK % "A_TOKEN")
    state, text = _check()["a"]
    assert state == "bad"
    assert "the environment variable A_TOKEN, which webhook.token names in" in text


@pytest.mark.parametrize("names", [(), ("a",)])
def test_a_short_or_shared_token_is_a_warning(
    defs: Path, monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...]
) -> None:
    monkeypatch.setenv("A_TOKEN", "short")
    write_source(defs, "a", _HOOK % "A_TOKEN")
    write_source(defs, "b", _HOOK % "A_TOKEN")
    state, text = _check(*names)["a"]
    assert state == "warning"
    assert "The token in A_TOKEN has less than 16 characters" in text
    assert "The token in A_TOKEN is also that of b: who has one URL has the others." in text


@pytest.mark.parametrize(
    ("address", "state", "words"),
    [
        ("http://hooks.example.com", "warning", "Over http the token can be read on its way"),
        ("http://localhost:9000", "good", "http://localhost:9000/webhooks/a/"),
        ("hooks.example.com", "bad", "CALLKEEPER_WEBHOOK_URL must be an address such as https://"),
        ("https://x:y", "bad", "CALLKEEPER_WEBHOOK_URL must be an address such as https://"),
        ("https://x?y", "bad", "CALLKEEPER_WEBHOOK_URL must be an address such as https://"),
    ],
)
def test_the_public_address_is_checked(
    defs: Path, monkeypatch: pytest.MonkeyPatch, address: str, state: str, words: str
) -> None:
    monkeypatch.setenv("A_TOKEN", _LONG)
    monkeypatch.setenv("CALLKEEPER_WEBHOOK_URL", address)
    write_source(defs, "a", _HOOK % "A_TOKEN")
    found, text = _check()["a"]
    assert found == state
    assert words in text
