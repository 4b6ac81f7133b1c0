"""One number in all its writings is found, and nothing else is."""

from urllib.parse import unquote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from callkeeper_assets.privacy.numbers import (
    erase_numbers,
    find_number,
    find_sure,
    has_number,
    may_have,
    normalise_number,
)
from callkeeper_assets_tests.privacy.writings import WRITINGS

_NATIONAL = st.from_regex(r"[3489][0-9]{9}", fullmatch=True)
_WRITINGS = st.sampled_from(WRITINGS)
_BESIDE = st.text(st.characters(blacklist_categories=("Nd", "Cs"), blacklist_characters="+%(.-"))


@given(_NATIONAL, st.sampled_from(WRITINGS[:-2]))
def test_all_writings_of_a_number_have_one_form(national: str, write: object) -> None:
    assert callable(write)
    assert normalise_number(write(national)) == f"7{national}"
    assert normalise_number(f"{write(national)}^4342") == f"7{national}"


@pytest.mark.parametrize(
    ("written", "number"),
    [
        ("+81312345678", "81312345678"),
        ("0081312345678", "81312345678"),
        ("81081312345678", "81312345678"),
        ("+1 (415) 555-26-71", "14155552671"),
        ("101", "101"),
        ("anonymous", ""),
        ("", ""),
    ],
)
def test_numbers_of_other_countries_and_extensions_stay_themselves(
    written: str, number: str
) -> None:
    assert normalise_number(written) == number


@given(_NATIONAL, _WRITINGS, _BESIDE, _BESIDE)
@example("9161234567", WRITINGS[3], "tel:", ";")
def test_a_number_is_found_in_any_writing_and_whole(
    national: str, write: object, before: str, after: str
) -> None:
    assert callable(write)
    text = f"{before} {write(national)} {after}"
    (place,) = find_number(text, f"7{national}")
    found = unquote(text[place.start : place.end])
    assert normalise_number(found.replace("+7+", "+7 ").replace("+", " ")) == f"7{national}"
    assert text[: place.start].rstrip("(+").strip() == before.strip()
    assert text[place.end :].strip() == after.strip()
    assert may_have(text, [national])


@pytest.mark.parametrize(
    "text",
    [
        "5479161234567",
        "91612345670",
        "1650279443891612345678",
        "916123456",
        "9161234 567890",
        "https://a.example/?x=91612345678",
    ],
)
def test_a_part_of_a_longer_number_is_another_number(text: str) -> None:
    assert not has_number(text, "79161234567")


def test_two_numbers_beside_each_other_are_two() -> None:
    text = "+7 916 123-45-67 +7 495 765-43-21 and 8 (903) 111-22-33"
    found = [text[one.start : one.end] for one in find_sure(text, also_bare=False)]
    assert found == ["+7 916 123-45-67", "+7 495 765-43-21", "8 (903) 111-22-33"]


@pytest.mark.parametrize(
    "text", ["2026-03-02 12:00:00", "cid|12345678|gid|4512345678", "1543925694", "203.0.113.17"]
)
def test_dates_ids_and_addresses_are_not_surely_numbers(text: str) -> None:
    assert list(find_sure(text, also_bare=True)) == []


@given(_NATIONAL, _WRITINGS, _BESIDE, _BESIDE)
def test_erasing_leaves_no_number_in_any_writing(
    national: str, write: object, before: str, after: str
) -> None:
    assert callable(write)
    assert not has_number(erase_numbers(f"{before}{write(national)}{after}"), f"7{national}")
