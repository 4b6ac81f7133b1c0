"""Another's call that mentions a forgotten client loses numbers, not what looks like one."""

import pytest

from callkeeper_assets.privacy.fields import Kind
from callkeeper_assets.privacy.rewriting import erase_in_anothers

_CHROME = (
    "Mozilla/5.0 (Linux; Android 14; SM-S918B Build/UP1A.231005.007) AppleWebKit/537.36 "
    "(KHTML, like Gecko) Chrome/124.0.6367.118 Mobile Safari/537.36"
)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("agent", _CHROME),
        ("agent", "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) Version/17.4.1 Safari/605.1.15"),
        ("visitor", "GA1.2.1234567890.1616161616"),
        ("visitor", "1712345678901234567"),
        ("address", "192.168.100.101"),
        ("address", "2001:db8:1234:5678:9abc:def0:1234:5678"),
        ("text", "windows, 2026"),
    ],
)
def test_what_only_looks_like_a_number_stays(kind: Kind, text: str) -> None:
    assert erase_in_anothers(text, kind) == text


@pytest.mark.parametrize(
    ("kind", "text", "left"),
    [
        ("agent", f"{_CHROME} tel 8 (916) 123-45-67", "Chrome, Android"),
        ("visitor", "+7 916 123-45-67", "***"),
        ("address", "8 (916) 123-45-67", "***"),
        ("text", "for 8 (916) 123-45-67", "for ***"),
    ],
)
def test_a_number_goes_and_a_second_time_changes_nothing(kind: Kind, text: str, left: str) -> None:
    assert erase_in_anothers(text, kind) == left
    assert erase_in_anothers(left, kind) == left
