"""The number of a request: who may hand it over, and what is said of a file that is none."""

from pathlib import Path

import pytest

from callkeeper_assets.config.errors import ConfigError
from callkeeper_assets.personal_data.requests import take_number


def _write(home: Path, text: str, mode: int) -> None:
    file = home / "requests" / "request-1"
    file.parent.mkdir(parents=True)
    file.write_text(text)
    file.chmod(mode)


def test_a_number_in_a_file_of_its_owner_alone_is_the_request_s(home: Path) -> None:
    assert take_number("request-1") is None
    _write(home, "8 (916) 123-45-67\n", 0o600)
    assert take_number("request-1") == "79161234567"


@pytest.mark.parametrize("name", ["../request", "+7 916 123-45-67", "-".join(["79161234567"] * 3)])
def test_a_name_that_is_a_path_or_a_number_is_refused_and_not_repeated(name: str) -> None:
    with pytest.raises(ConfigError, match="A request's name has letters") as caught:
        take_number(name)
    assert name not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "mode", "said"),
    [
        ("8 (916) 123-45-67\n", 0o644, "chmod 600"),
        ("8 (916) 123-45-67\n", 0o640, "chmod 600"),
        ("\n", 0o600, "this one has 0"),
    ],
)
def test_a_file_that_others_may_read_or_without_a_number_is_refused(
    home: Path, text: str, mode: int, said: str
) -> None:
    _write(home, text, mode)
    with pytest.raises(ConfigError, match=said) as caught:
        take_number("request-1")
    assert "123-45-67" not in str(caught.value)
