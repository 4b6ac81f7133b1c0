"""Keys and phone numbers never survive, times and windows do."""

import logging
from urllib.parse import quote

import pytest

from callkeeper_assets.privacy.redaction import RedactingFilter, excerpt, redact, register_secret

KEY = "0f1e2d3c4b5a69788796a5b4c3d2e1f0"


@pytest.mark.parametrize(
    "text",
    [
        f"/getCallsInfo?api_key={KEY}&date%5Bfrom%5D=2026-01-01",
        f"/getCallsInfo?a=1&API_KEY={KEY.upper()}",
        quote(f"https://x.ru/getUserInfo?api_key={KEY}&a=1", safe=""),
        quote(quote(f"?api_key={KEY}&a=1", safe=""), safe=""),
        f"{{'api_key': '{KEY}', 'date': 1}}",
        f'"{{\\"api_key\\": \\"{KEY}\\"}}"',
        f"path/{KEY}/call",
    ],
)
def test_a_key_is_masked_in_every_form_of_a_url(text: str) -> None:
    assert KEY.lower() not in redact(text).lower()
    assert "***" in redact(text)


def test_an_old_key_of_16_characters_is_masked_beside_its_name_and_once_registered() -> None:
    assert redact("?api_key=Ab12Cd34Ef56Gh78&x=1") == "?api_key=***&x=1"
    register_secret("Zb12Cd34Ef56Gh7/")
    assert redact("json/v3/zb12cd34ef56gh7%2f/call") == "json/v3/***/call"


@pytest.mark.parametrize(
    "phone",
    ["+74951234567", "74951234567", "%2B74951234567", "+7 (495) 123-45-67", "8 495 123-45-67"],
)
def test_phone_numbers_are_masked(phone: str) -> None:
    assert redact(f"call to {phone}^4342 failed") == "call to ***^4342 failed"


@pytest.mark.parametrize(
    "text",
    [
        "getCallsInfo for 2026-01-05 (2026-01-04T20:59:59 to 2026-01-05T21:00:01 UTC)",
        "2026-01-05 10:11:12 HTTP 503 after 1.234567890123 s, 127.0.0.1:54321",
        "run 3f0c8e5e-93b8-4d0f-8c8e-0a5f6c7d8e9f",
    ],
)
def test_times_addresses_and_run_ids_stay(text: str) -> None:
    assert redact(text) == text


@pytest.mark.parametrize("call_id", [4123456789, 89161234567, 12])
def test_the_ids_that_a_text_is_known_to_name_stay_and_nothing_else(call_id: int) -> None:
    text = f"call {call_id}, [{call_id}], of 9161234567, 1{call_id}0, api_key=0123abcd"
    found = excerpt(text, call_ids=[call_id, 7])
    assert f"call {call_id}, [{call_id}], of ***, " in found
    assert "0123abcd" not in found
    if call_id > 10**9:
        assert f"1{call_id}0" not in found
        assert excerpt(text).startswith("call ***, [***], of ***, ***")


def test_an_excerpt_is_redacted_before_it_is_cut() -> None:
    text = "x" * 190 + " " + KEY
    assert excerpt(text) == "x" * 190 + " ***"
    assert len(excerpt("long " * 100)) == 200


def _fail(text: str) -> None:
    raise ConnectionError(text)


def test_the_filter_redacts_messages_arguments_and_tracebacks(
    caplog: pytest.LogCaptureFixture,
) -> None:
    logger = logging.getLogger("callkeeper_assets_tests.redaction")
    redacting = RedactingFilter()
    logger.addFilter(redacting)
    try:
        _fail(f"url: /getUserInfo?api_key={KEY}")
    except ConnectionError:
        logger.exception("asked %s", f"/getUserInfo?api_key={KEY}")
    finally:
        logger.removeFilter(redacting)
    assert "asked /getUserInfo?api_key=***" in caplog.text
    assert "url: /getUserInfo?api_key=***" in caplog.text
    assert KEY not in caplog.text
